//! Variables that make programs run something else, or something other than it seems.

use super::argument::Arg;
use super::found::Why;

/// Why nothing is known of a command line that sets `name`, if so.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn danger(name: &str, value: &Arg) -> Option<Why> {
    let harmless_program = matches!(value.value(), Some("" | "cat" | "less" | "more" | "true" | ":"));
    let dangerous = match name {
        "PATH"
        | "HOME"
        | "CDPATH"
        | "BASH_ENV"
        | "ENV"
        | "SHELLOPTS"
        | "BASHOPTS"
        | "BASH_XTRACEFD"
        | "PROMPT_COMMAND"
        | "PS0"
        | "PS1"
        | "PS2"
        | "PS4"
        | "GLOBIGNORE"
        | "EXECIGNORE"
        | "GCONV_PATH"
        | "NLSPATH"
        | "PYTHONPATH"
        | "PYTHONHOME"
        | "PYTHONSTARTUP"
        | "PYTHONINSPECT"
        | "PYTHONWARNINGS"
        | "PYTHONBREAKPOINT"
        | "PERLLIB"
        | "PERL5LIB"
        | "PERL5OPT"
        | "PERL5DB"
        | "RUBYOPT"
        | "RUBYLIB"
        | "NODE_OPTIONS"
        | "NODE_PATH"
        | "JAVA_TOOL_OPTIONS"
        | "_JAVA_OPTIONS"
        | "JDK_JAVA_OPTIONS"
        | "CLASSPATH"
        | "LUA_INIT"
        | "LUA_PATH"
        | "LUA_CPATH"
        | "TCLLIBPATH"
        | "AWKPATH"
        | "AWKLIBPATH"
        | "LESSOPEN"
        | "LESSCLOSE"
        | "LESSEDIT"
        | "LESS"
        | "MORE"
        | "TAR_OPTIONS"
        | "RSYNC_RSH"
        | "RSYNC_OLD_ARGS"
        | "RSYNC_CONNECT_PROG"
        | "CVS_RSH"
        | "SVN_SSH"
        | "SSH_ASKPASS"
        | "SUDO_ASKPASS"
        | "VIMINIT"
        | "EXINIT"
        | "MAKEFLAGS"
        | "GNUMAKEFLAGS"
        | "MAKEFILES"
        | "CARGO_BUILD_RUSTC_WRAPPER"
        | "RUSTC_WRAPPER"
        | "DYLD_INSERT_LIBRARIES"
        | "TERMINFO"
        | "TERMCAP"
        | "INPUTRC"
        | "HISTFILE"
        | "MAILCHECK"
        | "MAIL"
        | "MAILPATH"
        | "TMOUT"
        | "FPATH"
        | "ZDOTDIR"
        | "SHELL"
        | "POSIXLY_CORRECT"
        | "PGSERVICEFILE"
        | "PSQLRC"
        | "PSQL_EDITOR"
        | "MANOPT"
        | "MANPATH"
        | "TEXEDIT"
        | "GROFF_COMMAND_PREFIX" => true,
        "PAGER" | "MANPAGER" | "GIT_PAGER" | "SYSTEMD_PAGER" | "PSQL_PAGER" | "AWS_PAGER" | "EDITOR"
        | "VISUAL" | "FCEDIT" | "SUDO_EDITOR" | "SYSTEMD_EDITOR" | "KUBE_EDITOR" | "BROWSER" => {
            !harmless_program
        }
        name if name.starts_with("GIT_") => {
            !name.starts_with("GIT_AUTHOR_")
                && !name.starts_with("GIT_COMMITTER_")
                && name != "GIT_TERMINAL_PROMPT"
        }
        name => name.starts_with("LD_") || name.starts_with("BASH_FUNC_") || name.starts_with("MALLOC_"),
    };
    dangerous.then(|| Why::new(format!("it sets the variable {name}, which changes what programs do")))
}
