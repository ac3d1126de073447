//! `find`. Source: POSIX.1-2024, find; GNU findutils manual.

use super::super::argument::{Arg, Sort};
use super::super::found::{FileEffect, Why};
use super::super::walk::{Input, Walk};
use super::Call;

/// Whether it is `find`.
pub(super) fn run(walk: &mut Walk, call: &Call<'_>) -> bool {
    if !matches!(call.name(), "find" | "gfind") {
        return false;
    }
    let (paths, at) = starts(call.args);
    for path in &paths {
        walk.file_touch(path, FileEffect::LIST.below(true), Some(call.program));
    }
    let expression = call.args.get(at..).unwrap_or_default();
    if let Some(arg) = expression.iter().chain(&paths).find(|arg| arg.may_be_option()) {
        walk.found.doubt_program(Why::new(format!("the argument `{}` of `find` may be an action", arg.text)));
    }
    let mut rest = expression.iter().enumerate();
    while let Some((index, arg)) = rest.next() {
        match arg.text.as_str() {
            "-delete" => {
                for path in &paths {
                    walk.file_touch(path, FileEffect::REMOVE.whole(true), Some(call.program));
                }
            }
            "-exec" | "-execdir" | "-ok" | "-okdir" => {
                let command = expression.get(index + 1..).unwrap_or_default();
                let length = length(command, arg.text.starts_with("-exec"));
                let inside = arg.text.ends_with("dir");
                execute(walk, command.get(..length).unwrap_or_default(), &paths, inside);
                rest.by_ref().take(length).for_each(drop);
            }
            "-fprint" | "-fprint0" | "-fls" | "-fprintf" => {
                if let Some(path) = expression.get(index + 1) {
                    walk.file_touch(path, FileEffect::WRITE, Some(call.program));
                }
            }
            "-files0-from" => call.doubt(walk, "reads where it starts from a file"),
            _ => {}
        }
    }
    true
}

/// How many arguments belong to the command of an action: up to a `;`, or to a `+` right behind `{}`.
fn length(command: &[Arg], many: bool) -> usize {
    let mut before = "";
    for (at, arg) in command.iter().enumerate() {
        if arg.text == ";" || many && arg.text == "+" && before == "{}" {
            return at;
        }
        before = &arg.text;
    }
    command.len()
}

/// What `find … -print0` prints, if it does nothing else.
pub(in super::super) fn printed(args: &[Arg]) -> Option<Vec<Arg>> {
    let (paths, at) = starts(args);
    let expression = args.get(at..).unwrap_or_default();
    let acts = |arg: &Arg| {
        arg.may_be_option()
            || ["-exec", "-ok", "-delete", "-fprint", "-printf", "-fls", "-ls", "-print", "-files0"]
                .iter()
                .any(|action| arg.text.starts_with(action) && arg.text != "-print0")
    };
    let ends = expression.last().is_some_and(|arg| arg.text == "-print0");
    (ends && !expression.iter().any(acts)).then(|| trees(&paths))
}

/// Where it starts, and the index of its expression.
fn starts(args: &[Arg]) -> (Vec<Arg>, usize) {
    let mut at = 0;
    while let Some(arg) = args.get(at) {
        at += match arg.text.as_str() {
            "-H" | "-L" | "-P" | "--" => 1,
            "-D" => 2,
            text if text.starts_with("-O") => 1,
            _ => break,
        };
        if arg.text == "--" {
            break;
        }
    }
    let expression =
        |arg: &&Arg| !(arg.text.starts_with('-') || matches!(arg.text.as_str(), "(" | "!" | ")" | ","));
    let paths: Vec<Arg> = args.get(at..).unwrap_or_default().iter().take_while(expression).cloned().collect();
    at += paths.len();
    if paths.is_empty() { (vec![Arg::exact(".")], at) } else { (paths, at) }
}

/// Any file below the paths.
fn trees(paths: &[Arg]) -> Vec<Arg> {
    let tree = |path: &Arg| {
        let sort =
            if path.sort == Sort::Open || path.sort == Sort::AnyNames { Sort::Open } else { Sort::Tree };
        Arg { text: format!("{}/**", path.text.trim_end_matches('/')), sort }
    };
    paths.iter().map(tree).collect()
}

fn execute(walk: &mut Walk, command: &[Arg], paths: &[Arg], inside: bool) {
    let found = if inside { vec![Arg { text: "./**".to_owned(), sort: Sort::Tree }] } else { trees(paths) };
    let mut args = Vec::new();
    for arg in command {
        if arg.text == "{}" {
            args.extend(found.iter().cloned());
        } else if arg.text.contains("{}") {
            args.push(Arg { text: arg.text.clone(), sort: Sort::Open });
        } else {
            args.push(arg.clone());
        }
    }
    if command.first().is_some_and(|arg| arg.text.contains("{}")) {
        walk.found.doubt_program(Why::new("`find` runs the files that it finds"));
        return;
    }
    if inside {
        walk.run_elsewhere(args);
    } else {
        walk.run(args, &Input::Client);
    }
}
