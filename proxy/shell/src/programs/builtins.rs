//! Commands of the shell itself. Source: Bash Reference Manual, 4; POSIX.1-2024, 2.14.

use super::super::argument::{Arg, Sort, has_short};
use super::super::found::{FileEffect, Why};
use super::super::walk::Walk;
use super::super::word;
use super::Call;
use super::options::{self, Spec};

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
    let has = |letter| call.args.iter().any(|arg| has_short(arg, letter, ""));
    // a number is evaluated whenever it is assigned, an array when it is declared with a value
    if has('i') {
        call.doubt(walk, "makes variables whose values are evaluated");
    }
    let arrays = has('a') || has('A') || walk.known.has_arrays();
    if has('a') || has('A') {
        walk.seen.array();
    }
    for arg in call.args.iter().filter(|arg| !arg.is_option()) {
        let (name, value) = arg.text.split_once('=').map_or((arg.text.as_str(), None), |(n, v)| (n, Some(v)));
        let bare = name.strip_suffix('+').unwrap_or(name);
        if !word::is_name(bare) {
            walk.found.doubt(Why::new(format!("`{}` evaluates the name `{name}`", call.name())));
            continue;
        }
        let value = value.map(|value| Arg { text: value.to_owned(), sort: arg.sort });
        if arrays
            && value.as_ref().is_some_and(|value| value.sort != Sort::Exact || value.text.starts_with('('))
        {
            call.doubt(walk, "evaluates the values of an array");
        }
        match value {
            Some(value) if plain && name == bare && value.sort == Sort::Exact => walk.assign(name, value),
            Some(value) => {
                walk.danger(bare, &value);
                walk.seen.open(bare);
            }
            None if plain => {}
            None => walk.seen.open(name),
        }
    }
    // functions that other shells take over, and names that stand for other names
    if has('f') || has('n') {
        call.doubt(walk, "changes what names mean");
    }
}

/// Builtins that evaluate the names of variables: `x[$(…)]` runs what is in it.
fn names(walk: &mut Walk, call: &Call<'_>) {
    let checked: Vec<Arg> = match call.name() {
        "printf" => printed(walk, call),
        "test" | "[" => tested(walk, call),
        "read" => read(walk, call),
        "wait" => {
            let spec = Spec { flags: "fn", values: "p", ..Spec::NONE };
            let given = options::leading(call.args, spec);
            if given.is_none() {
                call.doubt(walk, "may evaluate an argument that is not literal");
            }
            given.into_iter().flat_map(|(given, _)| given).filter_map(|option| option.value).collect()
        }
        "getopts" => call.args.get(1).into_iter().cloned().collect(),
        "mapfile" | "readarray" => {
            let spec = Spec { flags: "t", values: "dnOsucC", ..Spec::NONE };
            match options::leading(call.args, spec) {
                Some((given, at))
                    if given.iter().all(|option| !matches!(option.name.as_str(), "c" | "C")) =>
                {
                    walk.seen.array();
                    call.args.get(at..).unwrap_or_default().to_vec()
                }
                Some(_) | None => {
                    call.doubt(walk, "runs what its option -C says");
                    return;
                }
            }
        }
        _ => {
            if call.args.iter().any(|arg| arg.text == "PATH") {
                call.doubt(walk, "changes where programs are looked for");
            }
            call.args.iter().filter(|arg| !arg.is_option()).cloned().collect()
        }
    };
    for arg in &checked {
        if arg.sort != Sort::Exact || !word::is_name(&arg.text) {
            walk.found.doubt(Why::new(format!("`{}` evaluates the name `{}`", call.name(), arg.text)));
        } else if call.name() == "unset" {
            walk.seen.open(&arg.text);
        } else {
            walk.opens(&arg.text);
        }
    }
}

/// The names behind each `-v` of `printf`.
fn printed(walk: &mut Walk, call: &Call<'_>) -> Vec<Arg> {
    let mut found = Vec::new();
    let mut args = call.args.iter();
    while let Some(arg) = args.next() {
        if arg.may_be_option() {
            call.doubt(walk, "may evaluate an argument that is not literal");
            break;
        }
        match arg.text.strip_prefix("-v") {
            Some("") => found.extend(args.next().cloned()),
            Some(name) => found.push(Arg { text: name.to_owned(), sort: arg.sort }),
            None => break,
        }
    }
    found
}

/// The names behind each `-v` and `-R` of `test`, wherever one may stand.
fn tested(walk: &mut Walk, call: &Call<'_>) -> Vec<Arg> {
    let args = match call.args {
        [args @ .., last] if call.name() == "[" && last.text == "]" => args,
        args => args,
    };
    let mut found = Vec::new();
    for (at, arg) in args.iter().enumerate() {
        let next = args.get(at + 1);
        if matches!(arg.value(), Some("-v" | "-R")) {
            found.extend(next.cloned());
        } else if arg.may_be_option()
            && (walk.splits || next.is_some_and(|next| next.sort == Sort::Open || next.text.contains('[')))
        {
            call.doubt(walk, "may evaluate an argument that is not literal: quote it");
        }
    }
    found
}

/// The names that `read` sets.
fn read(walk: &mut Walk, call: &Call<'_>) -> Vec<Arg> {
    let spec = Spec { flags: "eErs", values: "adinNptu", ..Spec::NONE };
    let Some((given, at)) = options::leading(call.args, spec) else {
        call.doubt(walk, "may evaluate an argument that is not literal");
        return Vec::new();
    };
    let array = given.into_iter().find(|option| option.name == "a").and_then(|option| option.value);
    if array.is_some() {
        walk.seen.array();
    }
    call.args.get(at..).unwrap_or_default().iter().cloned().chain(array).collect()
}

impl Walk {
    /// Any variable may have changed, and the directory.
    fn lose(&mut self) {
        self.seen.lose();
        self.moves += 1;
        self.place.enter(&Arg::open(""));
    }

    fn assign(&mut self, name: &str, value: Arg) {
        self.danger(name, &value);
        self.seen.assign(name, Some(value));
        self.is_set(name);
    }

    /// A file that a program reads a script from.
    pub(super) fn reads(&mut self, call: &Call<'_>, path: &Arg) {
        self.file_touch(path, FileEffect::READ, Some(call.program));
    }
}
