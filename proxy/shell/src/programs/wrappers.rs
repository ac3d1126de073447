//! Programs that run the program that their arguments name.

mod table;

use super::super::argument::{Arg, Sort, is_long};
use super::super::environment;
use super::super::found::{FileEffect, Why};
use super::super::walk::{Input, Walk};
use super::Call;
use super::options::{self, Spec};
use table::{Wrapper, wrapper};

/// Whether it is one of them.
pub(super) fn run(walk: &mut Walk, call: &Call<'_>) -> bool {
    match call.name() {
        "command" if matches!(call.value(0), Some("-v" | "-V")) => {}
        "exec" => exec(walk, call),
        "env" => env(walk, call),
        "xargs" => xargs(walk, call),
        "su" | "runuser" => su(walk, call),
        "flock" | "sg" => with_text(walk, call),
        "watch" => watch(walk, call),
        "script" => script(walk, call),
        "setarch" => setarch(walk, call),
        "busybox" | "toybox" => applet(walk, call),
        "nice" if call.value(0).is_some_and(is_old_nice) => {
            inner(walk, call, call.args.get(1..).unwrap_or_default());
        }
        "visudo" if call.args.iter().any(|arg| super::super::argument::has_short(arg, 'c', "fxq")) => {}
        "sudoedit" | "visudo" | "numactl" | "cpulimit" | "choom" | "pkexec" | "run0" | "eatmydata"
        | "hyperfine" | "chpst" | "softlimit" | "logsave" | "aa-exec" | "newgrp" | "sem" | "ssh-agent"
        | "ccache" | "sccache" | "distcc" | "nodemon" | "pm2" | "forever" | "consul" | "etcdctl"
        | "bundle" | "rake" | "flatpak" | "snap" | "tig" | "hg" | "svn" | "bzr" | "mail" | "mailx"
        | "openvpn" | "aria2c" | "wine" | "mono" | "kexec" | "insmod" | "modprobe" | "fd" | "fdfind"
        | "ag" | "ack" | "bat" | "gh" | "trickle" | "tsocks" | "multitime" | "s6-setuidgid"
        | "s6-envuidgid" | "xdg-open" | "vipw" | "vigr" | "parallel" | "expect" | "unbuffer" | "gdb"
        | "lldb" | "screen" | "tmux" | "at" | "batch" | "entr" | "inotifywait" | "socat"
        | "start-stop-daemon" | "cgexec" | "firejail" | "bwrap" | "proot" | "capsh" | "systemd-nspawn"
        | "machinectl" | "dtach" | "abduco" | "daemonize" | "incrontab" | "ptrace" | "valgrind" | "perf"
        | "ltrace" | "npx" | "pipx" | "uvx" | "dbus-run-session" | "xvfb-run" | "run-parts" | "rlwrap"
        | "runcon" | "dbus-launch" | "chronic" | "faketime" | "torify" | "timelimit" | "fakechroot"
        | "uclampset" | "coresched" | "mpirun" | "setlock" | "lockrun" | "ifne" | "nocorrect" => {
            call.doubt(walk, "runs programs in ways that are not analysed");
        }
        name if name.starts_with("ld-linux") || name.starts_with("ld-musl") || name.starts_with("ld.so") => {
            if call.args.first().is_none_or(|arg| arg.sort != Sort::Exact || arg.is_option()) {
                call.doubt(walk, "loads a program in a way that is not analysed");
            } else {
                inner(walk, call, call.args);
            }
        }
        name => match wrapper(name) {
            Some(wrapper) => wrapped(walk, call, wrapper),
            None => return false,
        },
    }
    true
}

fn is_old_nice(arg: &str) -> bool {
    arg.strip_prefix('-').is_some_and(|rest| rest.trim_start_matches(['-', '+']).parse::<u8>().is_ok())
}

fn wrapped(walk: &mut Walk, call: &Call<'_>, wrapper: Wrapper) {
    let Some((given, mut at)) = options::leading(call.args, wrapper.spec) else {
        call.doubt(walk, "runs a program behind options that are not analysed");
        return;
    };
    let lists = given.iter().any(|option| matches!(option.name.as_str(), "help" | "version"));
    if call.name() == "systemd-run"
        && given.iter().any(|option| matches!(option.name.as_str(), "p" | "E" | "setenv" | "S" | "shell"))
    {
        call.doubt(walk, "runs a program with properties that are not analysed");
    }
    if call.name() == "strace"
        && given.iter().any(|option| matches!(option.name.as_str(), "o" | "output" | "E"))
    {
        call.doubt(walk, "runs a program with options that are not analysed");
    }
    if call.name() == "time" {
        for output in options::values(&given, &["o", "output"]) {
            walk.file_touch(output, FileEffect::WRITE, Some(call.program));
        }
    }
    let interactive =
        given.iter().any(|option| matches!(option.name.as_str(), "i" | "s" | "login" | "shell"));
    elsewhere(walk, call, &given, call.args.get(at..).unwrap_or_default());
    at += wrapper.operands;
    while wrapper.assignments && set_variable(walk, call.args.get(at)) {
        at += 1;
    }
    let rest = call.args.get(at..).unwrap_or_default();
    if call.args.get(at - wrapper.operands..at).unwrap_or_default().iter().any(Arg::may_be_several) {
        call.doubt(walk, "runs a program behind an argument that is not literal");
    }
    if !rest.is_empty() {
        inner(walk, call, rest);
    } else if (wrapper.shell_alone && call.name() != "sudo")
        || (interactive && matches!(call.name(), "sudo" | "doas"))
    {
        call.doubt(walk, "starts a shell whose commands are not known");
    } else if !lists {
        // `sudo -l`, `taskset -p`, `nice` alone: they tell
    }
}

/// Programs that run another one in another directory, or show it other files under the same names.
fn elsewhere(walk: &mut Walk, call: &Call<'_>, given: &[options::Given], operands: &[Arg]) {
    let has = |names: &[&str]| given.iter().any(|option| names.contains(&option.name.as_str()));
    let moved = match call.name() {
        "sudo" => has(&["D", "chdir", "i", "login"]),
        "unshare" => has(&["w", "wd"]),
        "systemd-run" => !has(&["scope", "same-dir", "d"]),
        _ => false,
    };
    if moved {
        walk.place.enter(&Arg::open(""));
    }
    let hidden = match call.name() {
        "chroot" => operands.first().is_some_and(|root| root.value() != Some("/")),
        "sudo" => has(&["R", "chroot"]),
        "unshare" => has(&["R", "root"]),
        "nsenter" => has(&["a", "all", "m", "mount", "r", "w"]),
        _ => false,
    };
    if hidden {
        call.doubt(walk, "shows a program other files under the same names");
    }
}

/// Runs what a program runs.
fn inner(walk: &mut Walk, call: &Call<'_>, args: &[Arg]) {
    if args.is_empty() {
        return;
    }
    walk.run(args.to_vec(), call.input);
}

/// Whether the argument sets a variable of the command that follows.
fn set_variable(walk: &mut Walk, arg: Option<&Arg>) -> bool {
    let Some((name, value)) = arg.and_then(|arg| arg.text.split_once('=')) else { return false };
    let sort = arg.map_or(Sort::Open, |arg| arg.sort);
    if name.is_empty() || arg.is_some_and(Arg::is_option) {
        return false;
    }
    if let Some(why) = environment::danger(name, &Arg { text: value.to_owned(), sort }) {
        walk.found.doubt_program(why);
    }
    true
}

fn exec(walk: &mut Walk, call: &Call<'_>) {
    let spec = Spec { flags: "cl", values: "a", ..Spec::NONE };
    match options::leading(call.args, spec) {
        Some((_, at)) => inner(walk, call, call.args.get(at..).unwrap_or_default()),
        None => call.doubt(walk, "runs a program behind options that are not analysed"),
    }
}

fn env(walk: &mut Walk, call: &Call<'_>) {
    let spec = Spec {
        flags: "i0v",
        values: "uCS",
        long_flags: &["ignore-environment", "null", "debug", "help", "version"],
        long_values: &["unset", "chdir", "split-string"],
        ..Spec::NONE
    };
    let Some((given, mut at)) = options::leading(call.args, spec) else {
        call.doubt(walk, "runs a program behind options that are not analysed");
        return;
    };
    let mut args = Vec::new();
    for option in &given {
        match (option.name.as_str(), &option.value) {
            ("S" | "split-string", Some(text)) => {
                let plain = |c: char| c.is_ascii_alphanumeric() || " -_./=,:@+%".contains(c);
                let Some(text) = text.value().filter(|text| text.chars().all(plain)) else {
                    call.doubt(walk, "splits a text by rules of its own");
                    return;
                };
                args.extend(text.split_ascii_whitespace().map(Arg::exact));
            }
            ("C" | "chdir", _) => walk.place.enter(&Arg::open("")),
            _ => {}
        }
    }
    if call.value(at) == Some("-") {
        at += 1;
    }
    args.extend(call.args.get(at..).unwrap_or_default().iter().cloned());
    let skip = args.iter().take_while(|arg| set_variable(walk, Some(arg))).count();
    inner(walk, call, args.get(skip..).unwrap_or_default());
}

/// Options of `xargs`.
const XARGS: Spec = Spec {
    flags: "0oprtx",
    values: "adEILnPs",
    optional: "eil",
    long_flags: &[
        "null",
        "no-run-if-empty",
        "verbose",
        "exit",
        "open-tty",
        "interactive",
        "help",
        "version",
        "show-limits",
    ],
    long_values: &["arg-file", "delimiter", "max-args", "max-procs", "max-chars", "process-slot-var"],
    long_optional: &["replace", "max-lines", "eof"],
};

fn xargs(walk: &mut Walk, call: &Call<'_>) {
    let Some((given, at)) = options::leading(call.args, XARGS) else {
        call.doubt(walk, "runs a program behind options that are not analysed");
        return;
    };
    let has = |names: [&str; 2]| given.iter().any(|option| names.contains(&option.name.as_str()));
    let replaced = given.iter().find(|option| matches!(option.name.as_str(), "I" | "i" | "replace"));
    let rest = call.args.get(at..).unwrap_or_default();
    let listed = given.iter().filter(|option| matches!(option.name.as_str(), "a" | "arg-file"));
    listed.filter_map(|option| option.value.as_ref()).for_each(|file| read(walk, call, file));
    let from_find = has(["0", "null"]) && !has(["a", "arg-file"]);
    let read: Vec<Arg> = match call.input {
        Input::Paths(paths) if from_find => paths.clone(),
        Input::Client | Input::Computed | Input::Paths(_) | Input::Literal(_) | Input::File(_) => {
            vec![Arg::open("(what xargs reads)")]
        }
    };
    let mut args = if rest.is_empty() { vec![Arg::exact("echo")] } else { rest.to_vec() };
    if let Some(mark) = replaced {
        let usual = Arg::exact("{}");
        let Some(mark) = mark.value.as_ref().unwrap_or(&usual).value() else {
            call.doubt(walk, "replaces a mark that is not literal");
            return;
        };
        for arg in &mut args {
            if arg.text == mark && read.len() == 1 {
                arg.clone_from(read.first().unwrap_or(&Arg::open("")));
            } else if arg.text.contains(mark) {
                arg.sort = Sort::Open;
            }
        }
    } else {
        args.extend(read);
    }
    walk.run(args, &Input::Computed);
}

fn read(walk: &mut Walk, call: &Call<'_>, file: &Arg) {
    walk.file_touch(file, FileEffect::READ, Some(call.program));
}

fn su(walk: &mut Walk, call: &Call<'_>) {
    let spec = Spec {
        flags: "lmpfP",
        values: "usgGcw",
        long_flags: &["login", "preserve-environment", "pty", "fast"],
        long_values: &[
            "user",
            "shell",
            "group",
            "supp-group",
            "command",
            "session-command",
            "whitelist-environment",
        ],
        ..Spec::NONE
    };
    let mut rest = call.args;
    let (mut ran, mut users) = (false, 0);
    let mut by_user = false;
    while !rest.is_empty() {
        let Some((given, at)) = options::leading(rest, spec) else {
            call.doubt(walk, "has options that are not analysed");
            return;
        };
        for option in &given {
            match (option.name.as_str(), &option.value) {
                ("c" | "command" | "session-command", Some(text)) => {
                    ran = true;
                    match text.value() {
                        Some(text) => walk.foreign_text(text),
                        None => call.doubt(walk, &format!("runs `{}`, which is not literal", text.text)),
                    }
                }
                ("s" | "shell", Some(shell))
                    if !matches!(shell.value(), Some("/bin/sh" | "/bin/bash" | "/usr/bin/bash")) =>
                {
                    call.doubt(walk, "starts a shell that is not analysed");
                }
                ("u" | "user", _) => by_user = true,
                _ => {}
            }
        }
        rest = rest.get(at..).unwrap_or_default();
        if by_user && !rest.is_empty() {
            inner(walk, call, rest);
            return;
        }
        let Some(operand) = rest.first() else { break };
        rest = rest.get(1..).unwrap_or_default();
        users += usize::from(operand.value() != Some("-"));
        if users > 1 {
            call.doubt(walk, "gives a shell arguments that are not analysed");
            return;
        }
    }
    if !ran {
        call.doubt(walk, "starts a shell whose commands are not known");
    }
}

/// `flock FILE -c TEXT`, `flock FILE PROGRAM …`, `sg GROUP -c TEXT`.
fn with_text(walk: &mut Walk, call: &Call<'_>) {
    let spec = Spec {
        flags: "esxnuFov",
        values: "wE",
        long_flags: &["shared", "exclusive", "unlock", "nonblock", "nb", "close", "no-fork", "verbose"],
        long_values: &["timeout", "wait", "conflict-exit-code"],
        ..Spec::NONE
    };
    let Some((_, at)) = options::leading(call.args, spec) else {
        call.doubt(walk, "runs a program behind options that are not analysed");
        return;
    };
    if let Some(lock) = call.args.get(at).filter(|lock| call.name() == "flock" && !is_descriptor(lock)) {
        // made where it is not there
        walk.file_touch(lock, FileEffect::WRITE, Some(call.program));
        if lock.may_be_several() {
            call.doubt(walk, "runs a program behind an argument that is not literal");
        }
    }
    let rest = call.args.get(at + 1..).unwrap_or_default();
    match rest {
        [option, text] if matches!(option.value(), Some("-c" | "--command")) => match text.value() {
            Some(text) => walk.foreign_text(text),
            None => call.doubt(walk, &format!("runs `{}`, which is not literal", text.text)),
        },
        [first, ..] if first.is_option() => {
            call.doubt(walk, "runs a program behind options that are not analysed");
        }
        [_, ..] if call.name() == "sg" => call.doubt(walk, "runs a text that is not analysed"),
        rest => inner(walk, call, rest),
    }
}

/// `flock 9` is about an open file.
fn is_descriptor(lock: &Arg) -> bool {
    lock.value().is_some_and(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn watch(walk: &mut Walk, call: &Call<'_>) {
    let spec = Spec {
        flags: "bcdegptwx",
        values: "nq",
        long_flags: &["beep", "color", "differences", "errexit", "chgexit", "precise", "no-title", "exec"],
        long_values: &["interval", "equexit"],
        ..Spec::NONE
    };
    let Some((_, at)) = options::leading(call.args, spec) else {
        call.doubt(walk, "runs a program behind options that are not analysed");
        return;
    };
    let rest = call.args.get(at..).unwrap_or_default();
    if rest.iter().any(|arg| arg.sort != Sort::Exact) {
        call.doubt(walk, "runs a text that is not literal");
        return;
    }
    walk.foreign_text(&rest.iter().map(|arg| arg.text.as_str()).collect::<Vec<_>>().join(" "));
}

fn script(walk: &mut Walk, call: &Call<'_>) {
    let spec = Spec {
        flags: "aefq",
        values: "BEIOTcmo",
        optional: "t",
        long_flags: &["append", "return", "flush", "force", "quiet"],
        long_values: &[
            "command",
            "echo",
            "log-in",
            "log-io",
            "log-out",
            "log-timing",
            "logging-format",
            "output-limit",
        ],
        long_optional: &["timing"],
    };
    let Some((given, files)) = options::parsed(call.args, spec) else {
        call.doubt(walk, "runs a program behind options that are not analysed");
        return;
    };
    let texts: Vec<&Arg> = options::values(&given, &["c", "command"]).collect();
    if texts.is_empty() || call.args.iter().any(|arg| arg.text == "--") {
        call.doubt(walk, "starts a shell whose commands are not known");
    }
    for text in texts {
        match text.value() {
            Some(text) => walk.foreign_text(text),
            None => call.doubt(walk, &format!("runs `{}`, which is not literal", text.text)),
        }
    }
    let logs = ["B", "I", "O", "T", "log-in", "log-io", "log-out", "log-timing"];
    for file in options::values(&given, &logs).chain(&files) {
        walk.file_touch(file, FileEffect::WRITE, Some(call.program));
    }
}

/// `setarch [ARCH] [OPTION]… PROGRAM …`.
fn setarch(walk: &mut Walk, call: &Call<'_>) {
    let from = usize::from(call.args.first().is_some_and(|arg| !arg.is_option()));
    let rest = call.args.get(from..).unwrap_or_default();
    let spec = Spec {
        flags: "RLBFISTXZ3v",
        long_flags: &["addr-no-randomize", "addr-compat-layout", "32bit", "verbose"],
        ..Spec::NONE
    };
    match options::leading(rest, spec) {
        Some((_, at)) => inner(walk, call, rest.get(at..).unwrap_or_default()),
        None => call.doubt(walk, "runs a program behind options that are not analysed"),
    }
}

fn applet(walk: &mut Walk, call: &Call<'_>) {
    match call.args.first() {
        None => {}
        Some(arg) if is_long(arg, "list", 2) || is_long(arg, "help", 2) => {}
        Some(arg) if arg.is_option() => {
            walk.found
                .doubt_program(Why::new(format!("`{}` has options that are not analysed", call.name())));
        }
        Some(_) => inner(walk, call, call.args),
    }
}
