//! Texts that differ in small whole numbers only: `… where id = 17` and `… where id = 42` are analysed once.
//!
//! A *shape* is a text with its whole numbers taken out. It is made only of texts whose tokens cannot be mistaken: names,
//! numbers, parameters and plain operators, without quotes, comments, backslashes or anything beyond ASCII; a number is
//! taken out only if it stands alone and fits an `int4` whatever its digits are. So two texts of one shape are the same
//! tokens for PostgreSQL's scanner, of the same types, in the same places. Whether the analysis asked for a number's
//! value the walk says (`literal_sensitive`); such an analysis is remembered for its own text only, as is that of
//! everything but plain reads and writes.

use super::text::Scanned;
use super::{Analysis, StatementKind};
use pg_query::protobuf::Token;
use proxy_policy::{Command, Effects};
use std::sync::Arc;

/// A text, and the whole numbers taken out of it.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Shape<'a> {
    /// The text with [`HOLE`] for each number.
    pub(super) text: String,
    /// The numbers, in order.
    pub(super) numbers: Vec<&'a str>,
}

/// Stands for a number. No text that has a shape holds it.
const HOLE: char = '\u{1}';
/// So many digits fit an `int4` whatever they are.
const DIGITS: usize = 9;
/// Longer texts are remembered as they are.
const LONGEST: usize = 16 * 1024;

/// An analysis of a shape: everything but the numbers.
#[derive(Debug)]
pub(super) struct Pattern {
    analysis: Analysis,
    /// The canonical form between the numbers: one part more than there are numbers.
    canonical: Vec<String>,
}

impl<'a> Shape<'a> {
    /// The shape of a text; `None` if its tokens could be mistaken, or if there is no number in it.
    pub(super) fn of(text: &'a str) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let bytes = text.as_bytes();
        let mut shape = String::with_capacity(text.len());
        let (mut numbers, mut at) = (Vec::new(), 0);
        while let Some(&byte) = bytes.get(at) {
            let length = match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'_' => run(bytes, at, is_word),
                b'0'..=b'9' => {
                    let digits = run(bytes, at, |byte| byte.is_ascii_digit());
                    let alone = before(bytes, at) && after(bytes, at + digits) && digits <= DIGITS;
                    if !alone {
                        return None;
                    }
                    numbers.push(text.get(at..at + digits)?);
                    shape.push(HOLE);
                    at += digits;
                    continue;
                }
                // A parameter; `$` begins nothing else here, since dollar quotes have no digit behind it.
                b'$' if at == 0 || !bytes.get(at - 1).is_some_and(|byte| is_word(*byte)) => {
                    let digits = run(bytes, at + 1, |byte| byte.is_ascii_digit());
                    let end = at + 1 + digits;
                    if digits == 0 || bytes.get(end).is_some_and(|byte| is_word(*byte) || *byte == b'$') {
                        return None;
                    }
                    1 + digits
                }
                b'-' if bytes.get(at + 1) == Some(&b'-') => return None,
                b'/' if bytes.get(at + 1) == Some(&b'*') => return None,
                b' ' | b'\t' | b'\n' | b'\r' | b',' | b'.' | b'(' | b')' | b'[' | b']' | b'<' | b'>'
                | b'=' | b'+' | b'-' | b'*' | b'/' | b'%' | b':' => 1,
                // Only at the very end: one statement has a shape, several have not.
                b';' if bytes.get(at + 1..).is_some_and(|rest| rest.trim_ascii().is_empty()) => 1,
                _ => return None,
            };
            shape.push_str(text.get(at..at + length)?);
            at += length;
        }
        (!numbers.is_empty()).then_some(Self { text: shape, numbers })
    }
}

impl Pattern {
    /// What can be reused of an analysis of `text`, if nothing in it depended on a number's value.
    pub(super) fn of(analysis: &Analysis, shape: &Shape<'_>, text: &str) -> Option<Self> {
        let [statement] = &*analysis.statements else { return None };
        let plain = statement.kind == StatementKind::Query
            && matches!(
                analysis.command.reading.operation.as_str(),
                "SELECT" | "INSERT" | "UPDATE" | "DELETE"
            )
            && matches!(analysis.command.reading.effects, Effects::Known(_))
            && analysis.unresolved.is_empty()
            && analysis.state_changes.is_empty()
            && !analysis.catalogue_changed;
        if !plain {
            return None;
        }
        let scanned = Scanned::of(text)?;
        let found = scanned.tokens.iter().filter(|token| token.token() == Token::Iconst).count();
        let tokens = scanned.canonical();
        let objects = analysis.command.canonical.strip_prefix(&tokens)?;
        let canonical = around(&tokens, &shape.numbers, objects)?;
        (found == shape.numbers.len()).then(|| Self { analysis: analysis.clone(), canonical })
    }

    /// The analysis of another text of the same shape.
    pub(super) fn filled(&self, text: &str, shape: &Shape<'_>) -> Analysis {
        let of = &self.analysis.command;
        let mut canonical = String::with_capacity(of.canonical.len().saturating_add(text.len()));
        let numbers = shape.numbers.iter().copied().chain([""]);
        for (part, number) in self.canonical.iter().zip(numbers) {
            canonical.push_str(part);
            canonical.push_str(number);
        }
        let command = Command {
            text: text.into(),
            canonical,
            role: Arc::clone(&of.role),
            namespace: Arc::clone(&of.namespace),
            binding: of.binding.clone(),
            reading: Arc::clone(&of.reading),
        };
        Analysis { command: Arc::new(command), ..self.analysis.clone() }
    }
}

/// What stands around the numbers in a text's tokens, `objects` behind the last.
fn around(tokens: &str, numbers: &[&str], objects: &str) -> Option<Vec<String>> {
    let mut parts = Vec::with_capacity(numbers.len() + 1);
    let mut part = String::new();
    let mut left = numbers.iter();
    for token in tokens.split(' ') {
        if !part.is_empty() || !parts.is_empty() {
            part.push(' ');
        }
        if token.bytes().all(|byte| byte.is_ascii_digit()) {
            if left.next() != Some(&token) {
                return None;
            }
            parts.push(std::mem::take(&mut part));
        } else {
            part.push_str(token);
        }
    }
    part.push_str(objects);
    parts.push(part);
    left.next().is_none().then_some(parts)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn run(bytes: &[u8], from: usize, accept: impl Fn(u8) -> bool) -> usize {
    bytes.get(from..).unwrap_or_default().iter().take_while(|byte| accept(**byte)).count()
}

/// What may stand before a number that stands alone.
fn before(bytes: &[u8], at: usize) -> bool {
    at.checked_sub(1).and_then(|before| bytes.get(before)).is_none_or(|byte| *byte != b'.')
}

/// What may stand behind a number that stands alone.
fn after(bytes: &[u8], at: usize) -> bool {
    bytes.get(at).is_none_or(|byte| !is_word(*byte) && !matches!(byte, b'.' | b'$'))
}

#[cfg(test)]
mod tests;
