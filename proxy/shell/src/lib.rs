//! From a command line to what it does: which programs run with which arguments, and what happens to which files.
//!
//! The shell's own grammar decides, never a pattern over the text. Command lines within command lines are analysed in
//! turn: substitutions, functions, `sh -c`, `sudo`, `xargs`, `find -exec`, here-documents for a shell. What is not
//! literal (a computed command word, code for an interpreter, an argument that may be an option) makes the whole
//! unknown, with what is certain beside the reason; policies deny the unknown unless a rule says otherwise.
//!
//! The login's shell is taken to be one that reads POSIX or bash syntax. What a program does that is a file on the
//! host, and what its name stands for there, only the host knows.
//!
//! Order: `parse` bounds and parses, `walk` finds commands, `word` and `expand` tell their arguments, `programs` what
//! each does. Nothing here does I/O; time and memory are bounded by the text's length and the limits in `parse` and
//! `walk`.

mod argument;
mod effect;
mod environment;
mod expand;
mod found;
mod growing;
mod masked;
mod parse;
pub mod paths;
mod programs;
mod shape;
mod shell;
mod stream;
mod variables;
mod walk;
mod word;

use found::Why;
use proxy_policy::{Command, Effects, Outputs, Reading};
use shell::State;
use walk::{Place, Walk};

pub use growing::{Growing, Growth};
pub use shell::{After, Shell};

/// So often is a text walked until its variables are known.
const ROUNDS_MAX: usize = 3;

/// Openings of a text up to which the caller's stack does.
const SHALLOW_MAX: usize = 12;

/// Stack for texts that nest deeper, in bytes: what the limits in `parse` can take, and as much again.
const STACK: usize = 64 * 1024 * 1024;

/// What the command line `line` means for the login `role` on the host `host`.
///
/// Total: whatever cannot be parsed or told is [`Effects::Unknown`] with the reason. Takes tens of microseconds for a
/// usual line and up to some hundred milliseconds for the worst that the limits let through.
pub fn analyze(line: &[u8], role: &str, host: &str) -> Command {
    read(line, (role, host), &State::default()).0
}

/// What a line means in a shell of that state, the state behind it, and the place if it ends well.
fn read(line: &[u8], (role, host): (&str, &str), before: &State) -> (Command, (State, Option<Place>)) {
    let readable = std::str::from_utf8(line);
    // two lines must never have one text
    let escaped = readable.is_err().then(|| line.escape_ascii().to_string());
    let text = escaped.as_deref().or(readable.ok()).unwrap_or_default();
    let ((mut walk, reached), canonical) = found(text, before);
    if escaped.is_some() {
        walk.found.doubt(Why::new("it holds bytes that are not UTF-8"));
    }
    let after = State::behind(before, &walk);
    let mut found = walk.found;
    if let Some(why) = &before.lost {
        found.why = Some(Why::new(format!(
            "an earlier line of this shell may have changed what its words mean ({why}); a new shell does not know that line"
        )));
        found.changes = true;
    }
    let masked_text = masked::masked(text, &found.secrets);
    let effects = match found.why {
        Some(why) => Effects::Unknown { why: masked::masked(&why.0, &found.secrets), touches: found.touches },
        None => Effects::Known(found.touches),
    };
    let reading = Reading {
        outputs: vec![Outputs::None],
        changes: found.changes,
        ..Reading::new("exec", masked_text, effects)
    };
    let command = Command {
        text: text.into(),
        canonical,
        role: role.into(),
        namespace: host.into(),
        binding: Vec::new(),
        reading: reading.into(),
    };
    (command, (after, reached))
}

/// Whether `text` is all of a command: a shell that reads it by lines would not wait for another one.
pub fn is_complete(text: &str) -> bool {
    parse::open(text).is_none()
}

/// A walk that has come to its end, and where the shell is then if all went well.
type Walked = (Walk, Option<Place>);

fn found(text: &str, before: &State) -> (Walked, String) {
    if parse::openings(text) <= SHALLOW_MAX {
        return (walked(text, before), canonical(text));
    }
    std::thread::scope(|scope| {
        let deep = std::thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, || (walked(text, before), canonical(text)));
        deep.ok().and_then(|thread| thread.join().ok()).unwrap_or_else(|| {
            let mut walk = Walk::default();
            walk.found.doubt(Why::new("it cannot be analysed now"));
            ((walk, None), text.to_owned())
        })
    })
}

fn walked(text: &str, before: &State) -> Walked {
    let mut known = before.variables.clone();
    for _ in 0..ROUNDS_MAX {
        let mut walk = Walk::knowing(known.clone(), before);
        let reached = walk.line(text);
        if walk.seen == known {
            return (walk, reached);
        }
        known = walk.seen;
    }
    // values that come of each other: nothing is known of any
    known.lose();
    let mut walk = Walk::knowing(known, before);
    let reached = walk.line(text);
    walk.seen.lose();
    (walk, reached)
}

/// The tokens with one space between them: two texts with the same form do the same.
fn canonical(text: &str) -> String {
    match parse::tokens(text) {
        Ok(tokens) => {
            let words: Vec<&str> = tokens.iter().map(brush_parser::Token::to_str).collect();
            words.join(" ").trim_end_matches(['\n', ' ', ';']).to_owned()
        }
        Err(_why) => text.to_owned(),
    }
}
