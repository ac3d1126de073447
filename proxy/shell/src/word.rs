//! What stands in a word: literal text, patterns, and what the shell puts in its place.
//!
//! The tokenizer cuts words; this room reads them again by its own rules and refuses what it would have cut otherwise,
//! so that a word that two parsers understand differently is never taken for one of the two. It also leaves the parser
//! crate's process-wide cache of words alone, in which passwords would stay.
//!
//! Source: POSIX.1-2024, Shell Command Language, 2.2 and 2.6; Bash Reference Manual, 3.1.2 and 3.5.

mod ansi;
mod skip;

use super::found::Why;

/// A part of a word.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Piece {
    /// Itself.
    Text(String),
    /// Quoted, perhaps empty: a word with it is a word even when nothing is in it.
    Quoted(String),
    /// `*`, `?` or `[` that the shell matches against names.
    Glob(char),
    /// `{`, `,` or `}` that may belong to a brace expansion.
    Brace(char),
    /// `~`, `~name`, `~+`, `~-`, without what follows the slash.
    Tilde(String),
    /// `$name`, `${name}`.
    Variable { name: String, quoted: bool },
    /// `$(…)`, `` `…` ``: the command line in it.
    Substitution { text: String, quoted: bool },
    /// Everything else that is computed.
    Computed { computed: Computed, quoted: bool },
}

/// An expansion whose value is not the value of one variable.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Computed {
    /// Source, for messages.
    pub(super) source: String,
    /// Command lines that run while it is computed.
    pub(super) substitutions: Vec<String>,
    /// A number, whatever it is.
    pub(super) numeric: bool,
    /// The variables that it may assign to.
    pub(super) assigns: Vec<String>,
    /// Names whose values are evaluated as arithmetic.
    pub(super) arithmetic: Vec<String>,
}

/// The pieces of a word of a command line.
pub(super) fn decode(raw: &str) -> Result<Vec<Piece>, Why> {
    Reader::new(raw).word(Place::Word)
}

/// The pieces of a value behind `name=`, in which tildes stand behind colons as well and braces are themselves.
pub(super) fn decode_value(raw: &str) -> Result<Vec<Piece>, Why> {
    let mut pieces = Reader::new(raw).word(Place::Value)?;
    for piece in &mut pieces {
        if let Piece::Brace(c) | Piece::Glob(c) = piece {
            *piece = Piece::Text(c.to_string());
        }
    }
    Ok(pieces)
}

/// The pieces of a pattern behind `=~`, in which operators are themselves.
pub(super) fn decode_pattern(raw: &str) -> Result<Vec<Piece>, Why> {
    Reader::new(raw).word(Place::Pattern)
}

/// The pieces of the body of a here-document whose end tag is not quoted.
pub(super) fn decode_body(raw: &str) -> Result<Vec<Piece>, Why> {
    if raw.contains("\\\n") {
        return Err(Why::new("a here-document with continued lines ends where only the shell knows"));
    }
    Reader::new(raw).quoted(None)
}

/// The pieces of an arithmetic expression: what runs in it, and the names that it reads.
pub(super) fn decode_arithmetic(raw: &str) -> Result<Computed, Why> {
    arithmetic(raw)
}

/// Whether this is the name of a variable.
pub(super) fn is_name(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Place {
    Word,
    Value,
    Pattern,
}

struct Reader {
    chars: Vec<char>,
    at: usize,
}

impl Reader {
    fn new(raw: &str) -> Self {
        Self { chars: raw.chars().collect(), at: 0 }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn peek_at(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    fn between(&self, from: usize, to: usize) -> String {
        self.chars.get(from..to).unwrap_or_default().iter().collect()
    }

    fn word(&mut self, place: Place) -> Result<Vec<Piece>, Why> {
        let mut pieces = Vec::new();
        let mut tilde = true;
        while let Some(c) = self.next() {
            let at_start = std::mem::replace(&mut tilde, place == Place::Value && c == ':');
            match c {
                '\'' => pieces.push(Piece::Quoted(self.single()?)),
                '"' => {
                    pieces.push(Piece::Quoted(String::new()));
                    pieces.extend(self.quoted(Some('"'))?);
                }
                '\\' => match self.next() {
                    Some('\n') => tilde = at_start,
                    Some(c) => pieces.push(Piece::Quoted(c.to_string())),
                    None => return Err(Why::new("a word ends in a backslash")),
                },
                '$' => pieces.push(self.dollar(false)?),
                '`' => pieces.push(Piece::Substitution { text: self.backquoted(false)?, quoted: false }),
                '*' | '?' | '[' => pieces.push(Piece::Glob(c)),
                '{' | '}' | ',' => pieces.push(Piece::Brace(c)),
                '~' if at_start => pieces.push(self.tilde(place)),
                ' ' | '\t' | '\n' | ';' | '|' | '&' | '(' | ')' | '<' | '>' if place != Place::Pattern => {
                    return Err(Why::new("quotes or escapes that shells read differently"));
                }
                c => text(&mut pieces, c),
            }
        }
        Ok(pieces)
    }

    /// Up to the quote that ends it.
    fn single(&mut self) -> Result<String, Why> {
        let from = self.at;
        while let Some(c) = self.next() {
            if c == '\'' {
                return Ok(self.between(from, self.at - 1));
            }
        }
        Err(Why::new("a quote without end"))
    }

    /// What stands in double quotes, up to `end`, or in a here-document, up to its end.
    fn quoted(&mut self, end: Option<char>) -> Result<Vec<Piece>, Why> {
        let mut pieces = Vec::new();
        while let Some(c) = self.next() {
            match c {
                c if Some(c) == end => return Ok(pieces),
                '\\' => match self.peek() {
                    Some('\n') => self.at += 1,
                    Some(c) if matches!(c, '$' | '`' | '\\') || Some(c) == end => {
                        self.at += 1;
                        quoted_text(&mut pieces, c);
                    }
                    _ => quoted_text(&mut pieces, '\\'),
                },
                '$' => pieces.push(self.dollar(true)?),
                '`' => pieces.push(Piece::Substitution { text: self.backquoted(true)?, quoted: true }),
                c => quoted_text(&mut pieces, c),
            }
        }
        if end.is_some() { Err(Why::new("a quote without end")) } else { Ok(pieces) }
    }

    fn tilde(&mut self, place: Place) -> Piece {
        let from = self.at;
        while self.peek().is_some_and(|c| c != '/' && !(place == Place::Value && c == ':')) {
            self.at += 1;
        }
        let name = self.between(from, self.at);
        if name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+')) {
            return Piece::Tilde(name);
        }
        self.at = from;
        Piece::Text("~".to_owned())
    }

    /// Behind a `$`.
    fn dollar(&mut self, quoted: bool) -> Result<Piece, Why> {
        match self.peek() {
            Some('\'') if !quoted => {
                self.at += 1;
                Ok(Piece::Quoted(self.ansi()?))
            }
            Some('"') if !quoted => Err(Why::new("a string that the locale may translate")),
            Some('(') => self.parenthesis(quoted),
            Some('[') => {
                self.at += 1;
                let from = self.at;
                self.skip_to(']')?;
                let text = self.between(from, self.at - 1);
                let computed = Computed { source: format!("$[{text}]"), ..arithmetic(&text)? };
                Ok(Piece::Computed { computed, quoted })
            }
            Some('{') => {
                self.at += 1;
                self.braced(quoted)
            }
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                let from = self.at;
                while self.peek().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
                    self.at += 1;
                }
                Ok(Piece::Variable { name: self.between(from, self.at), quoted })
            }
            Some(c) if c.is_ascii_digit() || "@*#?-$!".contains(c) => {
                self.at += 1;
                Ok(Piece::Variable { name: c.to_string(), quoted })
            }
            _ if quoted => Ok(Piece::Quoted("$".to_owned())),
            _ => Ok(Piece::Text("$".to_owned())),
        }
    }

    /// Behind a `$`, before a `(`.
    fn parenthesis(&mut self, quoted: bool) -> Result<Piece, Why> {
        let from = self.at + 1;
        if self.peek_at(1) == Some('(') {
            self.at += 2;
            self.skip_to(')')?;
            if self.peek() == Some(')') {
                let inner = self.between(from + 1, self.at - 1);
                self.at += 1;
                let computed = Computed { source: format!("$(({inner}))"), ..arithmetic(&inner)? };
                return Ok(Piece::Computed { computed, quoted });
            }
            self.at = from - 1;
        }
        self.at += 1;
        self.skip_command()?;
        Ok(Piece::Substitution { text: self.between(from, self.at - 1), quoted })
    }

    /// Behind a `` ` ``: what its end and the escapes leave.
    fn backquoted(&mut self, quoted: bool) -> Result<String, Why> {
        let mut text = String::new();
        while let Some(c) = self.next() {
            match c {
                '`' => return Ok(text),
                '\\' => match self.next() {
                    Some(c) if matches!(c, '$' | '`' | '\\') || (quoted && c == '"') => text.push(c),
                    Some(c) => text.extend(['\\', c]),
                    None => break,
                },
                c => text.push(c),
            }
        }
        Err(Why::new("a backquote without end"))
    }

    /// Behind `${`.
    fn braced(&mut self, quoted: bool) -> Result<Piece, Why> {
        let from = self.at;
        self.skip_to('}')?;
        let body = self.between(from, self.at - 1);
        if is_name(&body) || body.chars().all(|c| c.is_ascii_digit()) && !body.is_empty() {
            return Ok(Piece::Variable { name: body, quoted });
        }
        if quoted && body.contains('\'') {
            return Err(Why::new("quotes inside of `\"${…}\"` that shells read differently"));
        }
        Ok(Piece::Computed { computed: parameter(&body)?, quoted })
    }
}

fn text(pieces: &mut Vec<Piece>, c: char) {
    if let Some(Piece::Text(text)) = pieces.last_mut() {
        text.push(c);
    } else {
        pieces.push(Piece::Text(c.to_string()));
    }
}

fn quoted_text(pieces: &mut Vec<Piece>, c: char) {
    if let Some(Piece::Quoted(text)) = pieces.last_mut() {
        text.push(c);
    } else {
        pieces.push(Piece::Quoted(c.to_string()));
    }
}

/// `${…}` that is more than a name.
fn parameter(body: &str) -> Result<Computed, Why> {
    let source = format!("${{{body}}}");
    let odd = || Why::new(format!("`{source}` is computed when it runs"));
    if let Some(name) = body.strip_prefix('#')
        && (name.is_empty() || is_name(name) || is_special(name) || is_name(whole_array(name)))
    {
        return Ok(Computed { source, numeric: true, ..Computed::default() });
    }
    let end = body.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(body.len());
    let (name, rest) = match body.chars().next() {
        Some('@' | '*' | '?' | '-' | '$') => body.split_at(1),
        _ => body.split_at(end),
    };
    // indirection, prompts and transformations evaluate what a variable holds
    if name.is_empty() || rest.starts_with('@') || rest.contains("@P") {
        return Err(odd());
    }
    let rest = if rest.starts_with('[') {
        let (subscript, rest) = rest.get(1..).and_then(|rest| rest.split_once(']')).ok_or_else(odd)?;
        if subscript != "@" && subscript != "*" && !subscript.chars().all(|c| c.is_ascii_digit()) {
            return Err(odd());
        }
        rest
    } else {
        rest
    };
    let colon = rest.strip_prefix(':');
    let assigns = colon.unwrap_or(rest).starts_with('=').then(|| name.to_owned()).into_iter().collect();
    if let Some(offset) = colon.filter(|rest| !rest.starts_with(['-', '=', '?', '+']))
        && !offset.chars().all(|c| c.is_ascii_digit() || matches!(c, ':' | ' ' | '-'))
    {
        return Err(odd());
    }
    Ok(Computed { substitutions: substitutions(rest)?, source, assigns, ..Computed::default() })
}

fn whole_array(name: &str) -> &str {
    name.strip_suffix("[@]").or_else(|| name.strip_suffix("[*]")).unwrap_or(name)
}

fn is_special(name: &str) -> bool {
    matches!(name, "@" | "*") || !name.is_empty() && name.chars().all(|c| c.is_ascii_digit())
}

/// All that runs in a text that the shell expands.
fn substitutions(text: &str) -> Result<Vec<String>, Why> {
    let mut reader = Reader::new(text);
    let mut found = Vec::new();
    while let Some(c) = reader.next() {
        match c {
            '\\' => reader.at += 1,
            '`' => found.push(reader.backquoted(false)?),
            '$' => match reader.dollar(true)? {
                Piece::Substitution { text, .. } => found.push(text),
                Piece::Computed { computed, .. } if !computed.arithmetic.is_empty() => {
                    return Err(Why::new("arithmetic inside of `${…}`"));
                }
                Piece::Computed { computed, .. } => found.extend(computed.substitutions),
                Piece::Text(_)
                | Piece::Quoted(_)
                | Piece::Glob(_)
                | Piece::Brace(_)
                | Piece::Tilde(_)
                | Piece::Variable { .. } => {}
            },
            _ => {}
        }
    }
    Ok(found)
}

fn arithmetic(text: &str) -> Result<Computed, Why> {
    let source = format!("(({text}))");
    let mut names = Vec::new();
    let mut found = Vec::new();
    let mut reader = Reader::new(text);
    while let Some(c) = reader.next() {
        match c {
            '`' => found.push(reader.backquoted(false)?),
            '$' => match reader.dollar(true)? {
                Piece::Substitution { text, .. } => found.push(text),
                Piece::Variable { name, .. } => names.push(name),
                Piece::Computed { computed, .. } if computed.numeric => {
                    found.extend(computed.substitutions);
                    names.extend(computed.arithmetic);
                }
                Piece::Computed { .. }
                | Piece::Text(_)
                | Piece::Quoted(_)
                | Piece::Glob(_)
                | Piece::Brace(_)
                | Piece::Tilde(_) => return Err(Why::new(format!("`{source}` is computed when it runs"))),
            },
            c if c.is_ascii_alphabetic() || c == '_' => {
                let from = reader.at - 1;
                while reader.peek().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
                    reader.at += 1;
                }
                names.push(reader.between(from, reader.at));
            }
            c if c.is_ascii_digit() => {
                // a base or a hexadecimal number runs on in letters
                while reader.peek().is_some_and(|c| c.is_ascii_alphanumeric() || c == '#') {
                    reader.at += 1;
                }
            }
            c if c.is_ascii_whitespace() || "+-*/%<>=!&|^~?:,()".contains(c) => {}
            _ => return Err(Why::new(format!("`{source}` is computed when it runs"))),
        }
    }
    let assigns = if assigns(text) { names.clone() } else { Vec::new() };
    Ok(Computed { source, substitutions: found, numeric: true, assigns, arithmetic: names })
}

/// Whether an arithmetic expression may change a variable.
fn assigns(text: &str) -> bool {
    let shifted = text.replace("<<=", "++").replace(">>=", "++");
    let compared =
        ["==", "!=", "<=", ">="].iter().fold(shifted, |text, operator| text.replace(operator, " "));
    ["=", "++", "--"].iter().any(|operator| compared.contains(operator))
}
