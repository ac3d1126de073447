//! Looks for the secrets of the rule table: one automaton over all keywords, then the rules they point to.

use super::finding::{Edges, Finding, Sink, is_word};
use super::keywords::Keywords;
use super::kinds::within_mask;
use super::rules::{self, Check, Rule, Start};
use super::{check, pem};
use memchr::memmem;
use proxy_policy::{Detector, Mask};
use regex_automata::{Anchored, Input, Span, util::captures::Captures};
use std::ops::{ControlFlow, Range};

/// How far behind its keyword a match may reach, in bytes: longer than any token, shorter than a document.
pub(super) const REACH: usize = 16 * 1024;

/// Longest identifier that is read back from a keyword in it, in bytes.
const IDENTIFIER: usize = 64;
/// How far around a connection string's password its other parts are looked for: they stand in any order.
const CONNECTION: usize = 256;

/// Name of private keys.
const KEY: &str = "private-key";

/// A rule that is on.
#[derive(Clone, Copy, Debug)]
enum Active {
    Rule(usize),
    Key,
    WrappedKey,
}

/// Rules that are on, their keywords, and their masks.
#[derive(Debug)]
pub(super) struct Secrets {
    keywords: Option<Keywords>,
    /// For each keyword the rules it belongs to and how they mask.
    by_keyword: Vec<Vec<(Active, Mask)>>,
}

impl Secrets {
    /// Rules selected by `detectors`; of two masks for one rule the first stays.
    pub(super) fn new(detectors: &[(Detector, &Mask)]) -> Self {
        let mut keywords: Vec<&'static str> = Vec::new();
        let mut by_keyword: Vec<Vec<(Active, Mask)>> = Vec::new();
        let mut add = |keyword: &'static str, active: Active, mask: &Mask| {
            let at = keywords.iter().position(|known| *known == keyword).unwrap_or_else(|| {
                keywords.push(keyword);
                by_keyword.push(Vec::new());
                keywords.len() - 1
            });
            if let Some(rules) = by_keyword.get_mut(at) {
                rules.push((active, mask.clone()));
            }
        };
        let mask_of = |own: Option<Detector>| {
            detectors
                .iter()
                .find(|(detector, _)| *detector == Detector::Secrets || Some(*detector) == own)
                .map(|(_, mask)| mask)
        };
        for (id, rule) in rules::all().iter().enumerate() {
            if let Some(mask) = mask_of(rule.detector) {
                for keyword in rules::keywords(rule) {
                    add(keyword, Active::Rule(id), mask);
                }
            }
        }
        if let Some(mask) = mask_of(Some(Detector::PrivateKey)) {
            add(pem::BEGIN, Active::Key, mask);
            add(pem::WRAPPED, Active::WrappedKey, mask);
        }
        Self { keywords: Keywords::new(&keywords), by_keyword }
    }

    /// Whether any rule is on.
    pub(super) fn is_on(&self) -> bool {
        self.keywords.is_some()
    }

    /// Finds everything that is on.
    pub(super) fn scan<'a>(&'a self, text: &[u8], edges: Edges, sink: &mut Sink<'a>) {
        let Some(keywords) = &self.keywords else { return };
        // keys are long: what stands inside one is not looked at again
        let mut key_end = 0;
        keywords.each(text, |hit| {
            for (active, mask) in self.by_keyword.get(hit.keyword).map_or(&[][..], Vec::as_slice) {
                let found = match active {
                    Active::Rule(id) => find(*id, text, hit.start, edges),
                    Active::Key | Active::WrappedKey if hit.start < key_end => None,
                    Active::Key => pem::key(text, hit.start).map(|(s, e)| (s, e, KEY)),
                    Active::WrappedKey => pem::wrapped(text, hit.start).map(|(s, e)| (s, e, KEY)),
                };
                if let Some((start, end, name)) = found
                    && !within_mask(text, hit.start, hit.end)
                {
                    key_end = if name == KEY { end } else { key_end };
                    sink.push(Finding { start, end, name, mask });
                }
            }
            if sink.is_done() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
    }
}

/// The secret that rule `id` finds at the keyword at `hit`.
fn find(id: usize, text: &[u8], hit: usize, edges: Edges) -> Option<(usize, usize, &'static str)> {
    let rule = rules::all().get(id)?;
    if let Some((literal, within)) = rule.behind
        && memmem::find(piece(text, hit..hit.saturating_add(usize::from(within))), literal).is_none()
    {
        return None;
    }
    let reach = text.len().min(hit.saturating_add(REACH));
    let before = |bytes: u16| hit.saturating_sub(usize::from(bytes));
    let (starts, anchored) = match rule.start {
        Start::Word if !edges.open_before(text, hit) => return None,
        Start::Word | Start::Keyword => (hit..=hit, Anchored::Yes),
        // one by one: a search that may begin anywhere goes on to the end of its reach at every keyword
        Start::Around(bytes) => (before(bytes)..=hit, Anchored::Yes),
        Start::Near(bytes) => (before(bytes)..=before(bytes), Anchored::No),
    };
    let regex = rules::compiled(id)?;
    let input = |start: usize| Input::new(text).span(start..reach).anchored(anchored);
    let start = starts.into_iter().find(|start| regex.search_half(&input(*start)).is_some())?;
    let mut captures = regex.create_captures();
    regex.search_captures(&input(start), &mut captures);
    let span = secret(&captures)?;
    let matched = captures.get_match()?;
    let context = context(rule, text, matched.start(), span);
    is_worth(rule, text, span, context, edges).then_some((span.start, span.end, rule.name))
}

/// What tells of a match whether it is worth hiding: all around a password of a connection string; else the name that
/// the keyword at `start` is part of, up to the secret. What stands before that name is of something else.
fn context<'t>(rule: &Rule, text: &'t [u8], start: usize, secret: Span) -> &'t [u8] {
    if rule.check == Check::Connection {
        return piece(text, start.saturating_sub(CONNECTION)..secret.end.saturating_add(CONNECTION));
    }
    let before = piece(text, start.saturating_sub(IDENTIFIER)..start);
    let name = before.iter().rev().take_while(|b| is_word(**b) || matches!(b, b'.' | b'-')).count();
    piece(text, start - name..secret.start)
}

/// What there is of these bytes.
fn piece(text: &[u8], range: Range<usize>) -> &[u8] {
    text.get(range.start..text.len().min(range.end)).unwrap_or_default()
}

fn is_worth(rule: &Rule, text: &[u8], span: Span, context: &[u8], edges: Edges) -> bool {
    edges == Edges::Framed
        || text.get(span.start..span.end).is_some_and(|secret| check::passes(rule, secret, context))
}

/// The first group that took part, or the whole match.
fn secret(captures: &Captures) -> Option<Span> {
    (1..captures.group_len()).find_map(|group| captures.get_group(group)).or_else(|| captures.get_group(0))
}
