//! `sed` and `awk`: their scripts are read as far as it takes to see that they run nothing.

mod awk;
mod sed;

use super::super::argument::{Arg, Sort};
use super::super::found::{FileEffect, Why};
use super::super::walk::Walk;
use super::super::word;
use super::options::{self, Spec};
use super::{Call, shells};

/// Whether it is one of them.
pub(super) fn run(walk: &mut Walk, call: &Call<'_>) -> bool {
    match call.name() {
        "sed" | "gsed" => sed(walk, call),
        "awk" | "gawk" | "mawk" | "nawk" | "original-awk" => awk(walk, call),
        _ => return false,
    }
    true
}

fn sed(walk: &mut Walk, call: &Call<'_>) {
    let mut scripts: Vec<Arg> = Vec::new();
    let mut operands = Vec::new();
    let (mut in_place, mut ended) = (None, false);
    let mut args = call.args.iter();
    while let Some(arg) = args.next() {
        let Some(text) = arg.value().filter(|text| !ended && text.len() > 1 && text.starts_with('-')) else {
            operands.push(arg);
            continue;
        };
        let (long, value) =
            text.split_once('=').map_or((text, None), |(long, value)| (long, Some(Arg::exact(value))));
        match long {
            "--" => ended = true,
            "--expression" | "-e" => scripts.extend(value.or_else(|| args.next().cloned())),
            "--file" | "-f" => {
                if let Some(path) = value.as_ref().or_else(|| args.next()) {
                    shells::script(walk, call, path);
                    scripts.push(Arg::exact(""));
                }
            }
            "--in-place" => in_place = Some(value.map(|value| value.text).unwrap_or_default()),
            "--quiet" | "--silent" | "--regexp-extended" | "--null-data" | "--unbuffered" | "--separate"
            | "--posix" | "--sandbox" | "--debug" | "--follow-symlinks" | "--version" | "--help"
            | "--binary" => {}
            _ if text.starts_with("--") => {
                call.doubt(walk, "has an option that is not analysed");
                return;
            }
            _ => {
                let letters = text.get(1..).unwrap_or_default();
                let end = letters.find(['e', 'f', 'l', 'i']).unwrap_or(letters.len());
                let behind = letters.get(end + 1..).unwrap_or_default();
                match letters.get(end..).and_then(|rest| rest.chars().next()) {
                    Some('e') if behind.is_empty() => scripts.extend(args.next().cloned()),
                    Some('e') => scripts.push(Arg::exact(behind)),
                    Some('f') => {
                        call.doubt(walk, "runs a script file that is not told apart");
                        return;
                    }
                    Some('i') => in_place = Some(behind.to_owned()),
                    Some(_) if behind.is_empty() => drop(args.next()),
                    Some(_) | None => {}
                }
            }
        }
    }
    if scripts.is_empty() && !operands.is_empty() {
        scripts.push(operands.remove(0).clone());
    }
    // it joins them by lines, so that one may go on in the next
    if let Some(script) = scripts.iter().find(|script| script.sort != Sort::Exact) {
        plain_sed(walk, call, script);
    } else {
        let texts: Vec<&str> = scripts.iter().map(|script| script.text.as_str()).collect();
        plain_sed(walk, call, &Arg::exact(texts.join("\n")));
    }
    edited(walk, call, &operands, in_place.as_deref());
}

/// The files that `sed` reads, or edits in place and keeps copies of.
fn edited(walk: &mut Walk, call: &Call<'_>, operands: &[&Arg], in_place: Option<&str>) {
    if in_place.is_some_and(|suffix| suffix.contains(['/', '*'])) {
        call.doubt(walk, "keeps copies under names of its own");
    }
    for operand in operands {
        if operand.is_unclear_option() {
            call.doubt(walk, &operand.unclear());
        }
        let done = if in_place.is_some() { FileEffect::WRITE } else { FileEffect::READ };
        walk.file_touch(operand, done, Some(call.program));
        if let Some(suffix) = in_place.filter(|suffix| !suffix.is_empty()) {
            let copy = Arg { text: format!("{}{suffix}", operand.text), sort: operand.sort };
            walk.file_touch(&copy, FileEffect::WRITE, Some(call.program));
        }
    }
}

fn plain_sed(walk: &mut Walk, call: &Call<'_>, script: &Arg) {
    match script.value() {
        Some(text) if sed::is_plain(text) => {}
        Some(_) => {
            call.doubt(walk, "has a script that runs commands or writes files, or that is not analysed");
        }
        None => call.doubt(walk, &format!("runs the script `{}`, which is not literal", script.text)),
    }
}

fn awk(walk: &mut Walk, call: &Call<'_>) {
    let spec = Spec {
        flags: "",
        values: "Fv",
        long_flags: &["csv", "version", "help"],
        long_values: &["assign", "field-separator"],
        ..Spec::NONE
    };
    if let Some(path) = call.args.first().filter(|arg| arg.text == "-f").and_then(|_| call.args.get(1)) {
        shells::script(walk, call, path);
        return;
    }
    let Some((_, at)) = options::leading(call.args, spec) else {
        call.doubt(walk, "has options that are not analysed");
        return;
    };
    let Some(program) = call.args.get(at) else { return };
    match program.value() {
        Some(text) if awk::is_plain(text) => {}
        Some(_) => call.doubt(walk, "has a program that runs commands or writes files"),
        None => {
            walk.found
                .doubt_program(Why::new(format!("`awk` runs `{}`, which is not literal", program.text)));
        }
    }
    for operand in call.args.get(at + 1..).unwrap_or_default() {
        if operand.sort == Sort::Open {
            call.doubt(walk, &operand.unclear());
        } else if operand.text.split_once('=').is_none_or(|(name, _)| !word::is_name(name)) {
            walk.reads(call, operand);
        }
    }
}

/// Past the `end` of a regular expression. `None`: it does not end, or where depends on who reads it.
fn pattern(chars: &mut std::str::Chars<'_>, end: char) -> Option<()> {
    loop {
        match chars.next()? {
            '\\' => drop(chars.next()?),
            '[' => set(chars, end)?,
            '\n' => return None,
            c if c == end => return Some(()),
            _ => {}
        }
    }
}

/// Past the `]` of a set, in which a `]` that comes first and classes such as `[:alpha:]` are members.
fn set(chars: &mut std::str::Chars<'_>, end: char) -> Option<()> {
    let mut first = true;
    loop {
        match chars.next()? {
            '^' if first => continue,
            ']' if !first => return Some(()),
            '\\' if chars.next()? == ']' => return None,
            '[' if chars.as_str().starts_with([':', '.', '=']) => {
                let kind = chars.next()?;
                let close = format!("{kind}]");
                let rest = chars.as_str();
                let at = rest.find(&close)?;
                if rest.get(..at)?.contains(end) {
                    return None;
                }
                *chars = rest.get(at + close.len()..)?.chars();
            }
            '\n' => return None,
            c if c == end => return None,
            _ => {}
        }
        first = false;
    }
}
