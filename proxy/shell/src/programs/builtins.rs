//! Commands of the shell itself. Source: Bash Reference Manual, 4; POSIX.1-2024, 2.14.

use super::super::argument::{Arg, Sort};
use super::super::found::{FileEffect, Why};
use super::super::walk::Walk;
use super::super::{environment, word};
use super::{Call, options};

/// Whether it is one of them.
pub(super) fn run(walk: &mut Walk, call: &Call<'_>) -> bool {
    match call.name() {
        "eval" => eval(walk, call),
        "." | "source" => source(walk, call),
        "trap" => trap(walk, call),
        "cd" | "pushd" | "popd" => cd(walk, call),
        "export" | "readonly" | "declare" | "typeset" | "local" => declare(walk, call),
        "read" | "mapfile" | "readarray" | "getopts" | "unset" | "wait" | "printf" | "test" | "[" => {
            names(walk, call);
        }
        "let" => {
            call.doubt(walk, "evaluates its arguments");
        }
        "alias" if call.args.iter().any(|arg| arg.sort != Sort::Exact || arg.text.contains('=')) => {
            call.doubt(walk, "changes what later words mean");
        }
        "hash" | "enable" | "shopt" | "bind" | "complete" | "compopt" | "compgen" | "fc" | "history"
        | "select" => {
            call.doubt(walk, "changes what later words mean, or runs words of its own");
        }
        "set" => set(walk, call),
        "shift" | "return" | "exit" | "break" | "continue" | "true" | "false" | ":" | "echo" | "times"
        | "umask" | "jobs" | "bg" | "fg" | "disown" | "dirs" | "alias" | "unalias" | "type" | "ulimit"
        | "caller" | "suspend" | "logout" | "sleep" => {}
        _ => return false,
    }
    true
}

/// Whether what it does it may do to the shell that runs it.
pub(super) fn changes_the_shell(name: &str) -> bool {
    matches!(
        name,
        "eval"
            | "."
            | "source"
            | "trap"
            | "cd"
            | "pushd"
            | "popd"
            | "export"
            | "readonly"
            | "declare"
            | "typeset"
            | "local"
            | "read"
            | "mapfile"
            | "readarray"
            | "getopts"
            | "unset"
            | "wait"
            | "printf"
            | "test"
            | "["
            | "let"
            | "alias"
            | "unalias"
            | "hash"
            | "enable"
            | "shopt"
            | "bind"
            | "complete"
            | "compopt"
            | "compgen"
            | "fc"
            | "history"
            | "select"
            | "set"
            | "command"
            | "builtin"
            | "exec"
    )
}

/// Options of the shell itself.
fn set(walk: &mut Walk, call: &Call<'_>) {
    let mut args = call.args.iter();
    while let Some(arg) = args.next() {
        let Some(text) = arg.value() else {
            return call.doubt(walk, "may be given any option");
        };
        if matches!(text, "--" | "-") || !text.starts_with(['-', '+']) {
            return;
        }
        let count = text.matches('o').count();
        let options: Vec<_> = args.by_ref().take(count).collect();
        let plain = |arg: &&Arg| arg.value().is_some_and(super::shells::is_plain_option);
        if text.contains('k') || !options.iter().all(plain) {
            return call.doubt(walk, "changes what later words mean");
        }
    }
}

fn eval(walk: &mut Walk, call: &Call<'_>) {
    let args = if call.value(0) == Some("--") { call.args.get(1..).unwrap_or_default() } else { call.args };
    if let Some(arg) = args.iter().find(|arg| arg.sort != Sort::Exact) {
        walk.found.doubt(Why::new(format!("`eval` runs `{}`, which is not literal", arg.text)));
        return;
    }
    let text = args.iter().map(|arg| arg.text.as_str()).collect::<Vec<_>>().join(" ");
    walk.inner_text(&text);
    // it may have changed the directory and any variable
    walk.lose();
}

fn source(walk: &mut Walk, call: &Call<'_>) {
    match call.args.first() {
        Some(script) => super::shells::script(walk, call, script),
        None => call.doubt(walk, "runs nothing that can be told"),
    }
    // whatever is in the file, it runs in this shell
    walk.seen.doubt();
    walk.lose();
}

fn trap(walk: &mut Walk, call: &Call<'_>) {
    let args = if call.value(0) == Some("--") { call.args.get(1..).unwrap_or_default() } else { call.args };
    match args {
        [] => {}
        [action, ..]
            if action.sort == Sort::Exact
                && (action.text == "-" || action.text == "-p" || action.text == "-l") => {}
        [action, ..] if action.sort == Sort::Exact => walk.later_text(&action.text),
        [action, ..] => {
            walk.found.doubt(Why::new(format!("`trap` will run `{}`, which is not literal", action.text)));
        }
    }
}

fn cd(walk: &mut Walk, call: &Call<'_>) {
    walk.moves += 1;
    let mut dirs = call.args.iter().filter(|arg| !matches!(arg.value(), Some("-P" | "-L" | "-e" | "--")));
    let home = Arg::exact("~");
    let dir = dirs.next().unwrap_or(&home);
    if call.name() == "cd" && dirs.next().is_none() && !walk.known.may_move() {
        walk.place.enter(dir);
    } else {
        walk.place.enter(&Arg::open(""));
    }
}

/// `export NAME=value` and its kin.
fn declare(walk: &mut Walk, call: &Call<'_>) {
    let options = call.args.iter().any(Arg::is_option);
    let plain = matches!(call.name(), "export" | "readonly") && !options;
    for arg in call.args.iter().filter(|arg| !arg.is_option()) {
        let (name, value) = arg.text.split_once('=').map_or((arg.text.as_str(), None), |(n, v)| (n, Some(v)));
        if !word::is_name(name.trim_end_matches('+')) {
            walk.found.doubt(Why::new(format!("`{}` evaluates the name `{name}`", call.name())));
            continue;
        }
        let value = value.map(|value| Arg { text: value.to_owned(), sort: arg.sort });
        if let Some(why) = value.as_ref().and_then(|value| environment::danger(name, value)) {
            walk.found.doubt(why);
        }
        match value {
            Some(value) if plain && value.sort == Sort::Exact => walk.assign(name, value),
            Some(_) => walk.seen.open(name.trim_end_matches('+')),
            None if plain => {}
            None => walk.seen.open(name),
        }
    }
    // functions that other shells take over, and names that stand for other names
    if call.args.iter().any(|arg| {
        super::super::argument::has_short(arg, 'f', "") || super::super::argument::has_short(arg, 'n', "")
    }) {
        call.doubt(walk, "changes what names mean");
    }
}

/// Builtins that evaluate the names of variables: `x[$(…)]` runs what is in it.
fn names(walk: &mut Walk, call: &Call<'_>) {
    let checked: Vec<&Arg> = match call.name() {
        "printf" | "test" | "[" => {
            let at = call
                .args
                .iter()
                .position(|arg| matches!(arg.value(), Some("-v" | "-R")) || arg.may_be_option());
            match at {
                Some(at) if call.args.get(at).is_some_and(Arg::may_be_option) => {
                    // only as the first argument is it an option
                    let first = call.name() == "printf" && at == 0;
                    if first {
                        call.doubt(walk, "may evaluate an argument that is not literal");
                    }
                    return;
                }
                Some(at) => call.args.get(at + 1).into_iter().collect(),
                None => {
                    let attached =
                        call.args.first().filter(|arg| call.name() == "printf" && arg.text.starts_with("-v"));
                    attached.into_iter().collect()
                }
            }
        }
        "read" => options::operands(call.args, "adinNptu")
            .into_iter()
            .chain(
                call.args
                    .windows(2)
                    .filter(|pair| pair.first().is_some_and(|arg| arg.text.ends_with('a') && arg.is_option()))
                    .filter_map(|pair| pair.get(1)),
            )
            .collect(),
        "wait" => call.args.iter().filter(|arg| arg.text.contains('[')).collect(),
        "getopts" => call.args.get(1).into_iter().collect(),
        "mapfile" | "readarray" => {
            if call
                .args
                .iter()
                .any(|arg| super::super::argument::has_short(arg, 'C', "dnOstuc") || arg.may_be_option())
            {
                call.doubt(walk, "runs what its option -C says");
            }
            options::operands(call.args, "dnOstucC")
        }
        _ => call.args.iter().filter(|arg| !arg.is_option()).collect(),
    };
    for arg in checked {
        if arg.sort != Sort::Exact || !word::is_name(arg.text.trim_start_matches("-v")) {
            walk.found.doubt(Why::new(format!("`{}` evaluates the name `{}`", call.name(), arg.text)));
        } else {
            walk.seen.open(arg.text.trim_start_matches("-v"));
        }
    }
}

impl Walk {
    /// Any variable may have changed, and the directory.
    fn lose(&mut self) {
        self.seen.lose();
        self.moves += 1;
        self.place.enter(&Arg::open(""));
    }

    fn assign(&mut self, name: &str, value: Arg) {
        self.seen.assign(name, Some(value));
        self.is_set(name);
    }

    /// A file that a program reads a script from.
    pub(super) fn reads(&mut self, call: &Call<'_>, path: &Arg) {
        self.file_touch(path, FileEffect::READ, Some(call.program));
    }
}
