//! Command substitutions whose output is known to be one harmless word: a date, a number, the name of the host.

use super::parse;
use super::word::{self, Piece};
use brush_parser::Token;

/// Whether the output of a command line is a value that is no option and no path into somewhere else.
pub(super) fn is_shaped(text: &str) -> bool {
    if counts(text) {
        return true;
    }
    let Some(args) = literal(text) else { return false };
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["date", rest @ ..] => is_date(rest),
        ["hostname" | "whoami" | "nproc" | "arch" | "pwd" | "logname" | "mktemp"]
        | ["mktemp", "-d"]
        | ["git", "rev-parse", "HEAD" | "--show-toplevel"]
        | ["git", "rev-parse", "--short", "HEAD"] => true,
        ["pgrep", "-f" | "-x" | "-o" | "-n", name] | ["pgrep", name] => is_plain(name),
        ["pidof", names @ ..] => !names.is_empty() && names.iter().all(|name| is_plain(name)),
        ["seq", numbers @ ..] => {
            !numbers.is_empty() && numbers.iter().all(|number| number.parse::<i64>().is_ok())
        }
        [name, option] => matches!(
            (*name, *option),
            ("hostname", "-f" | "-s" | "-d" | "--fqdn" | "--short")
                | ("pwd", "-P" | "-L")
                | ("nproc", "--all")
                | ("uname", "-r" | "-m" | "-n" | "-s" | "-p")
                | ("id", "-u" | "-g" | "-un" | "-gn")
                | ("lsb_release", "-cs" | "-rs" | "-is")
                | ("dpkg", "--print-architecture")
        ),
        _ => false,
    }
}

/// Whether the value that `source` stands for may be a path, which can hold blanks.
pub(super) fn is_path(source: &str) -> bool {
    ["PWD", "pwd", "mktemp", "--show-toplevel"].iter().any(|part| source.contains(part))
}

/// Whether blanks stand in a word beside what is computed in it.
pub(super) fn has_blanks(source: &str) -> bool {
    let mut depth = 0_usize;
    let mut before = ' ';
    for c in source.chars() {
        match c {
            '(' if depth > 0 || before == '$' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            c if depth == 0 && c.is_whitespace() => return true,
            _ => {}
        }
        before = c;
    }
    false
}

fn is_plain(name: &str) -> bool {
    !name.starts_with('-') && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// Options that say when, and a format of directives: its own letters could spell anything.
fn is_date(args: &[&str]) -> bool {
    // without a format it ends with the name of the zone, which the variable TZ can make anything
    let format = |arg: &&str| arg.starts_with('+') || arg.starts_with("-I") || *arg == "-R";
    if !args.iter().any(format) {
        return false;
    }
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let fine = match *arg {
            "-u" | "--utc" | "-I" | "-Iseconds" | "-Iminutes" | "-R" => true,
            "-d" | "--date" => args.next().is_some(),
            arg if arg.starts_with("--date=") => true,
            arg => arg.strip_prefix('+').is_some_and(is_format),
        };
        if !fine {
            return false;
        }
    }
    true
}

fn is_format(format: &str) -> bool {
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        let fine = match c {
            '%' => chars.next().is_some_and(|c| "CDFGHIMNRSTUVWYdgjmsuwy".contains(c)),
            c => c.is_ascii_digit() || "-_.:TZ".contains(c),
        };
        if !fine {
            return false;
        }
    }
    !format.starts_with('-')
}

/// Whether a pipeline ends in a command that says how many there are, and nothing else: `… | wc -l`, `wc -c < f`.
fn counts(text: &str) -> bool {
    if text.len() > 1024 {
        return false;
    }
    let Ok(tokens) = parse::tokens(text) else { return false };
    let is_pipe = |token: &Token| matches!(token, Token::Operator(operator, _) if operator == "|");
    let one_pipeline = tokens.iter().all(|token| match token {
        Token::Word(..) => true,
        Token::Operator(operator, _) => matches!(operator.as_str(), "|" | "<" | ">" | ">>" | ">&"),
    });
    let last = tokens.iter().rposition(is_pipe).map_or(0, |at| at + 1);
    let words: Vec<&str> = tokens.iter().skip(last).map(Token::to_str).collect();
    let file = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    one_pipeline
        && match words.as_slice() {
            ["wc", "-l" | "-c" | "-w" | "-m"] => true,
            ["wc", "-l" | "-c" | "-w" | "-m", "<", name] => file(name),
            _ => false,
        }
}

/// The words of a simple command, if all of them are literal.
fn literal(text: &str) -> Option<Vec<String>> {
    if text.len() > 256 {
        return None;
    }
    let mut words = Vec::new();
    for token in parse::tokens(text).ok()? {
        let Token::Word(raw, _) = token else { return None };
        let mut out = String::new();
        for piece in word::decode(&raw).ok()? {
            match piece {
                Piece::Text(text) | Piece::Quoted(text) => out.push_str(&text),
                Piece::Glob(_)
                | Piece::Brace(_)
                | Piece::Tilde(_)
                | Piece::Variable { .. }
                | Piece::Substitution { .. }
                | Piece::Computed { .. } => return None,
            }
        }
        words.push(out);
    }
    Some(words)
}
