//! Shells, and what they are given to run.

use super::super::argument::{Arg, Sort};
use super::super::found::{FileEffect, Why};
use super::super::walk::{Input, Walk};
use super::Call;
use proxy_policy::Program;
use std::sync::Arc;

/// Whether it is a shell.
pub(super) fn run(walk: &mut Walk, call: &Call<'_>) -> bool {
    match call.name() {
        "sh" | "bash" | "dash" | "ash" | "ksh" | "ksh93" | "mksh" | "rbash" | "hush" | "posh" | "yash" => {
            shell(walk, call);
        }
        "zsh" | "fish" | "csh" | "tcsh" | "rc" | "es" | "nu" | "xonsh" | "elvish" | "pwsh" | "powershell" => {
            call.doubt(walk, "runs a language that is not analysed");
        }
        _ => return false,
    }
    true
}

fn shell(walk: &mut Walk, call: &Call<'_>) {
    let mut at = 0;
    let (mut command, mut stdin) = (false, false);
    while let Some(arg) = call.args.get(at) {
        let Some(text) = arg.value() else {
            walk.found
                .doubt_program(Why::new(format!("the argument `{}` of a shell is not literal", arg.text)));
            return;
        };
        match text {
            "--" | "-" => {
                at += 1;
                break;
            }
            "--version" | "--help" => return,
            "--norc" | "--noprofile" | "--posix" | "--login" | "--noediting" | "--verbose" => at += 1,
            _ if text.starts_with("--") => {
                call.doubt(walk, "has an option that is not analysed");
                return;
            }
            _ if text.starts_with(['-', '+']) => {
                at += 1;
                let letters = text.get(1..).unwrap_or_default();
                let count = letters.matches('o').count();
                let mut options = call.args.iter().skip(at).take(count);
                let plain = options.all(|arg| arg.value().is_some_and(is_plain_option));
                if letters.contains(['i', 'k', 'O', 'D']) || !plain {
                    call.doubt(walk, "is interactive, or changes how it reads its text");
                    return;
                }
                command |= text.starts_with('-') && letters.contains('c');
                stdin |= text.starts_with('-') && letters.contains('s');
                at += count;
            }
            _ => break,
        }
    }
    let rest = call.args.get(at..).unwrap_or_default();
    match (rest, command, stdin) {
        ([text, ..], true, _) => match text.value() {
            Some(text) => walk.shell_text(call.name(), text),
            None => walk
                .found
                .doubt_program(Why::new(format!("a shell runs `{}`, which is not literal", text.text))),
        },
        ([], true, _) => {}
        ([script, ..], false, false) => self::script(walk, call, script),
        ([], false, false) | (_, false, true) => match call.input {
            Input::Literal(text) => walk.shell_text(call.name(), text),
            Input::File(path) => script(walk, call, &Arg::exact(path.clone())),
            Input::Client | Input::Computed | Input::Paths(_) => {
                call.doubt(walk, "runs what it reads from its input");
            }
        },
    }
}

/// Whether an option of `set -o` leaves the meaning of words as it is. `keyword` makes variables of later arguments.
pub(super) fn is_plain_option(name: &str) -> bool {
    matches!(
        name,
        "errexit"
            | "errtrace"
            | "noclobber"
            | "noglob"
            | "nounset"
            | "physical"
            | "pipefail"
            | "verbose"
            | "xtrace"
    )
}

/// A file with commands is run: as a program of its own, so that rules can name it.
pub(super) fn script(walk: &mut Walk, call: &Call<'_>, path: &Arg) {
    let opened =
        path.text.starts_with("/dev/") || path.text.starts_with("/proc/") || path.text.starts_with('<');
    if path.sort != Sort::Exact || opened || path.text == "-" {
        call.doubt(walk, &format!("runs the commands in `{}`, which is not a literal file", path.text));
        return;
    }
    if walk.has_written(&path.text) {
        call.doubt(walk, &format!("runs `{}`, which the command line writes", path.text));
    }
    let after = call.args.iter().position(|arg| arg == path).map_or(call.args.len(), |at| at + 1);
    let args = call.args.get(after..).unwrap_or_default();
    let texts = args.iter().map(|arg| arg.text.clone()).collect();
    let program = Arc::new(Program { word: path.text.clone(), args: texts });
    walk.found.program(&program, args, true);
    walk.file_touch(path, FileEffect::READ, Some(&program));
    if let Some(arg) = args.iter().find(|arg| arg.sort == Sort::Open) {
        call.doubt(walk, &format!("gives `{}` the argument `{}`, which is not literal", path.text, arg.text));
    }
}
