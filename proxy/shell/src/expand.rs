//! From the pieces of words to the arguments that a program gets.

mod braces;

use super::argument::{Arg, Sort};
use super::found::Why;
use super::shape;
use super::variables::{self, Variables};
use super::word::Piece;
use std::collections::BTreeSet;

/// So many command lines may one command stand for.
const ALTERNATIVES_MAX: usize = 16;

/// What is known where a word stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    pub(super) variables: &'a Variables,
    /// Variables that have one of their values for certain.
    pub(super) set: &'a BTreeSet<String>,
    /// Tells a substitution whose output is one word of a known shape.
    pub(super) shaped: fn(&str) -> bool,
}

/// Every list of arguments that the words can stand for: one, unless a variable has several values.
pub(super) fn arguments(words: &[Vec<Piece>], scope: Scope<'_>) -> Result<Vec<Vec<Arg>>, Why> {
    let mut lists = vec![Vec::new()];
    for pieces in words {
        let mut alternatives = vec![Vec::new()];
        for word in braces::expanded(pieces)? {
            add(&mut alternatives, fields(&word, scope));
        }
        add(&mut lists, alternatives);
    }
    Ok(lists)
}

/// The one value of a word that is not split: of an assignment, a redirection, a here-document.
pub(super) fn value(pieces: &[Piece], scope: Scope<'_>) -> Vec<Arg> {
    let unsplit: Vec<Piece> = pieces.iter().cloned().map(quoted).collect();
    fields(&unsplit, scope)
        .into_iter()
        .map(|mut list| if list.len() == 1 { list.remove(0) } else { Arg::exact("") })
        .collect()
}

/// The text of the pieces for messages, much like their source.
pub(super) fn shown(pieces: &[Piece]) -> String {
    let mut out = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) | Piece::Quoted(text) => out.push_str(text),
            Piece::Glob(c) | Piece::Brace(c) => out.push(*c),
            Piece::Tilde(name) => out.extend(["~", name]),
            Piece::Variable { name, .. } if super::word::is_name(name) || name.len() == 1 => {
                out.extend(["$", name]);
            }
            Piece::Variable { name, .. } => out.extend(["${", name, "}"]),
            Piece::Substitution { text, .. } => out.extend(["$(", text, ")"]),
            Piece::Computed { computed, .. } => out.push_str(&computed.source),
        }
    }
    out
}

fn quoted(piece: Piece) -> Piece {
    match piece {
        Piece::Variable { name, .. } => Piece::Variable { name, quoted: true },
        Piece::Substitution { text, .. } => Piece::Substitution { text, quoted: true },
        Piece::Computed { computed, .. } => Piece::Computed { computed, quoted: true },
        Piece::Text(_) | Piece::Quoted(_) | Piece::Glob(_) | Piece::Brace(_) | Piece::Tilde(_) => piece,
    }
}

/// Every list goes on in every way of `choices`.
fn add(lists: &mut Vec<Vec<Arg>>, mut choices: Vec<Vec<Arg>>) {
    if choices.len() > 1 && lists.len() * choices.len() > ALTERNATIVES_MAX {
        // too many to try: whatever the choice is, it is open
        let text = choices.first().map(|choice| joined(choice)).unwrap_or_default();
        choices = vec![vec![Arg::open(text)]];
    }
    if let [only] = choices.as_slice() {
        for list in lists.iter_mut() {
            list.extend_from_slice(only);
        }
    } else {
        let longer = |list: &Vec<Arg>| {
            choices.iter().map(|choice| [list.as_slice(), choice].concat()).collect::<Vec<_>>()
        };
        *lists = lists.iter().flat_map(longer).collect();
    }
}

fn joined(args: &[Arg]) -> String {
    args.iter().map(|arg| arg.text.as_str()).collect::<Vec<_>>().join(" ")
}

/// The alternatives of one word, each with the fields it is split into.
fn fields(pieces: &[Piece], scope: Scope<'_>) -> Vec<Vec<Arg>> {
    let mut growing = vec![Growing::default()];
    for (at, piece) in pieces.iter().enumerate() {
        let bracket = matches!(piece, Piece::Glob('['));
        let closes =
            |rest: &[Piece]| rest.iter().any(|p| matches!(p, Piece::Text(text) if text.contains(']')));
        if bracket && !pieces.get(at + 1..).is_some_and(closes) {
            for field in &mut growing {
                field.push("[");
            }
            continue;
        }
        let values = match piece {
            Piece::Variable { name, .. } => variable(name, scope),
            Piece::Text(_)
            | Piece::Quoted(_)
            | Piece::Glob(_)
            | Piece::Brace(_)
            | Piece::Tilde(_)
            | Piece::Substitution { .. }
            | Piece::Computed { .. } => None,
        };
        match (piece, values) {
            (Piece::Variable { name, quoted }, Some(values)) => {
                let next = |field: &Growing| {
                    values.iter().map(|value| field.clone().with(name, value, *quoted)).collect::<Vec<_>>()
                };
                if growing.len() * values.len() > ALTERNATIVES_MAX {
                    for field in &mut growing {
                        field.hole(&shown(pieces), true, false);
                    }
                } else {
                    growing = growing.iter().flat_map(next).collect();
                }
            }
            (piece, _) => growing.iter_mut().for_each(|field| field.piece(piece, scope)),
        }
    }
    growing.into_iter().map(|field| field.finish(pieces)).collect()
}

fn variable<'a>(name: &str, scope: Scope<'a>) -> Option<&'a [Arg]> {
    scope.set.contains(name).then(|| scope.variables.values(name)).flatten()
}

/// A word while it is put together.
#[derive(Clone, Debug, Default)]
struct Growing {
    done: Vec<Arg>,
    text: String,
    /// A field has begun, be it empty.
    begun: bool,
    sort: Option<Sort>,
    /// Some of it looks like what a shell computes, and is not.
    looks_computed: bool,
    /// It ends in a home, which is written as one in front of a slash only: `$HOME` and `2` is no `~2`.
    home: bool,
}

impl Growing {
    fn push(&mut self, text: &str) {
        self.begun = true;
        if self.home && !text.is_empty() {
            self.home = false;
            if !text.starts_with(['/', ':']) {
                self.is(Sort::Open);
            }
        }
        self.text.push_str(text);
    }

    fn piece(&mut self, piece: &Piece, scope: Scope<'_>) {
        match piece {
            Piece::Text(text) | Piece::Quoted(text) => self.literal(text),
            Piece::Brace(c) => self.push(c.encode_utf8(&mut [0; 4])),
            Piece::Glob(c) => {
                self.glob();
                self.push(c.encode_utf8(&mut [0; 4]));
            }
            Piece::Tilde(name) if name.is_empty() && scope.variables.is_set("HOME") => {
                self.hole("~", true, false);
            }
            Piece::Tilde(name) if name.starts_with(['+', '-']) => {
                self.hole(&format!("~{name}"), true, false);
            }
            Piece::Tilde(name) => {
                self.push("~");
                self.push(name);
            }
            Piece::Variable { name, .. } if name == "HOME" && !scope.variables.is_set(name) => {
                self.push("~");
                self.home = true;
            }
            Piece::Variable { name, quoted } => {
                let shaped = variables::is_shaped(name) && !scope.variables.is_set(name);
                self.hole(&format!("${name}"), *quoted, shaped);
            }
            Piece::Substitution { text, quoted } => {
                self.hole(&format!("$({text})"), *quoted, (scope.shaped)(text));
            }
            Piece::Computed { computed, quoted } => self.hole(&computed.source, *quoted, computed.numeric),
        }
    }

    /// Text that stands for itself, in which nothing is computed, however it looks.
    fn literal(&mut self, text: &str) {
        self.looks_computed |= text.contains(['$', '`']);
        self.push(text);
    }

    fn glob(&mut self) {
        let sort =
            if self.text.is_empty() || self.text.starts_with('-') { Sort::AnyNames } else { Sort::Names };
        self.is(sort);
    }

    fn is(&mut self, sort: Sort) {
        self.sort = Some(match self.sort {
            Some(Sort::Open) => Sort::Open,
            Some(Sort::AnyNames) if sort != Sort::Open => Sort::AnyNames,
            Some(Sort::Tree) if sort == Sort::Names || sort == Sort::Shaped => Sort::Tree,
            Some(Sort::Names) if sort == Sort::Shaped => Sort::Names,
            _ => sort,
        });
    }

    /// Something whose value is not known.
    fn hole(&mut self, source: &str, quoted: bool, shaped: bool) {
        // the path of a directory may hold blanks, at which the shell splits what is not quoted
        let fixed = shaped && (quoted || !shape::is_path(source));
        self.is(if fixed { Sort::Shaped } else { Sort::Open });
        self.push(source);
    }

    /// A value of a variable.
    fn with(mut self, name: &str, value: &Arg, quoted: bool) -> Self {
        if value.sort != Sort::Exact {
            let whole =
                value.sort == Sort::Shaped && !shape::is_path(&value.text) && !shape::has_blanks(&value.text);
            if !quoted && !whole {
                // names of files may hold blanks, and become several words
                self.hole(&format!("${name}"), false, false);
                return self;
            }
            if self.text.is_empty() || value.sort != Sort::AnyNames {
                self.is(value.sort);
            } else {
                self.is(Sort::Names);
            }
            self.push(&value.text);
            return self;
        }
        self.looks_computed |= value.text.contains(['$', '`']);
        if quoted {
            self.push(&value.text);
            return self;
        }
        let blank = |c: char| matches!(c, ' ' | '\t' | '\n');
        let mut parts = value.text.split(blank).peekable();
        while let Some(part) = parts.next() {
            if !part.is_empty() {
                let globs = part.contains(['*', '?', '[']);
                let text = part.to_owned();
                if globs {
                    let first = part.starts_with(['*', '?', '[', '-']) && self.text.is_empty();
                    self.is(if first { Sort::AnyNames } else { Sort::Names });
                }
                self.push(&text);
            }
            if parts.peek().is_some() {
                self.cut();
            }
        }
        self
    }

    /// The field ends here.
    fn cut(&mut self) {
        self.home = false;
        if std::mem::take(&mut self.begun) {
            let text = std::mem::take(&mut self.text);
            let sort = self.sort.take().unwrap_or(Sort::Exact);
            let sort = if self.looks_computed && sort != Sort::Exact { Sort::Open } else { sort };
            self.done.push(Arg { text, sort });
        }
    }

    fn finish(mut self, pieces: &[Piece]) -> Vec<Arg> {
        self.begun |= pieces.iter().any(|piece| matches!(piece, Piece::Quoted(_)));
        self.cut();
        self.done
    }
}
