//! Looks for the secrets of the rule table: one automaton over all keywords, then the rules they point to.

use super::finding::{Edges, Finding, Sink, is_word};
use super::keywords::Keywords;
use super::kinds::Names;
use super::rules::{self, Check, Rule, Start};
use super::tails::Seen;
use super::{check, pem};
use memchr::memmem;
use proxy_policy::{Detector, Mask};
use regex_automata::{Anchored, Input, Span, util::captures::Captures};
use std::ops::{ControlFlow, Range};

/// How far behind its keyword a match may reach, in bytes: longer than any token, shorter than a document.
pub(super) const REACH: usize = 16 * 1024;

/// Longest match of a rule that looks far behind its keyword, in bytes.
const NEAR: usize = 128;

/// Longest identifier that is read back from a keyword in it, in bytes.
const IDENTIFIER: usize = 64;
/// How far around a connection string's password its other parts are looked for: they stand in any order.
const CONNECTION: usize = 256;

/// Name of private keys.
pub(super) const KEY: &str = "private-key";

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
            add(pem::PUTTY, Active::Key, mask);
            add(pem::WRAPPED, Active::WrappedKey, mask);
        }
        Self { keywords: Keywords::new(&keywords), by_keyword }
    }

    /// Whether any rule is on.
    pub(super) fn is_on(&self) -> bool {
        self.keywords.is_some()
    }

    /// Finds everything that is on.
    pub(super) fn scan<'a>(&'a self, text: &[u8], edges: Edges<'_>, names: &Names, sink: &mut Sink<'a>) {
        let Some(keywords) = &self.keywords else { return };
        // keys are long: what stands inside one is not looked at again
        let (mut key_end, mut barren) = (0, 0);
        let mut seen = Seen::default();
        keywords.each(text, |hit| {
            for (active, mask) in self.by_keyword.get(hit.keyword).map_or(&[][..], Vec::as_slice) {
                let found = match active {
                    Active::Rule(id) => find(*id, text, hit.start, edges, &mut seen),
                    Active::Key | Active::WrappedKey if hit.start < key_end => None,
                    Active::Key => pem::next_key(text, hit.start, &mut barren).map(|(s, e)| (s, e, KEY)),
                    Active::WrappedKey => pem::wrapped(text, hit.start).map(|(s, e)| (s, e, KEY)),
                };
                if let Some((start, end, name)) = found
                    && !names.hide(text, hit.start, hit.end)
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
fn find(
    id: usize,
    text: &[u8],
    hit: usize,
    edges: Edges<'_>,
    seen: &mut Seen,
) -> Option<(usize, usize, &'static str)> {
    let rule = rules::all().get(id)?;
    if let Some((literal, within)) = rule.behind
        && memmem::find(piece(text, hit..hit.saturating_add(usize::from(within))), literal).is_none()
    {
        return None;
    }
    if rule.start == Start::Word && !edges.open_before(text, hit) {
        return None;
    }
    let (start, captures) = matching(id, rule, text, hit, seen)?;
    let mut span = secret(&captures)?;
    let is_named = start < span.start;
    if is_named {
        span = shortened(id, text, start, (span, edges.end(span.range())))?;
    }
    if let Some(tail) = rule.tail {
        span.end = seen.end(tail, text, span.start)?;
        span.end = if is_named { edges.end(span.range()) } else { span.end };
    }
    let context = context(rule, text, start, span);
    let is_worth = edges.are_framed() || check::passes(rule, piece(text, span.range()), context);
    if let Some(tail) = rule.tail
        && (is_worth || tail.is_judged_once())
    {
        seen.judge(tail, span.end);
    }
    is_worth.then_some((span.start, span.end, rule.name))
}

/// What the expression of a rule matches for the keyword at `hit`, and where.
fn matching(id: usize, rule: &Rule, text: &[u8], hit: usize, seen: &mut Seen) -> Option<(usize, Captures)> {
    let reach = text.len().min(hit.saturating_add(REACH));
    let before = |bytes: u16| hit.saturating_sub(usize::from(bytes));
    let regex = rules::compiled(id)?;
    let input = |start: usize, anchored| Input::new(text).span(start..reach).anchored(anchored);
    let begins = |start: &usize| regex.search_half(&input(*start, Anchored::Yes)).is_some();
    let start = match rule.start {
        Start::Word | Start::Keyword => Some(hit).filter(begins)?,
        // one by one: a search that may begin anywhere goes on to the end of its reach at every keyword
        Start::Around(bytes) => (before(bytes)..=hit).find(begins)?,
        Start::Near(bytes) => {
            // nor need it be looked for again where a search for the keyword before has passed
            let from = before(bytes).max(seen.near);
            let found = regex.search(&input(from, Anchored::No));
            seen.near =
                found.as_ref().map_or(reach.saturating_sub(NEAR), regex_automata::Match::start).max(from);
            found?.start()
        }
    };
    let mut captures = regex.create_captures();
    regex.search_captures(&input(start, Anchored::Yes), &mut captures);
    Some((captures.get_match()?.start(), captures))
}

/// The secret of a match that begins at `start`, where it ends before the text does: all of it, or what a rule finds there.
fn shortened(id: usize, text: &[u8], start: usize, (span, end): (Span, usize)) -> Option<Span> {
    if end >= span.end {
        return Some(span);
    }
    let regex = rules::compiled(id)?;
    let mut captures = regex.create_captures();
    let input = Input::new(piece(text, 0..end)).span(start..end).anchored(Anchored::Yes);
    regex.search_captures(&input, &mut captures);
    secret(&captures)
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

/// The first group that took part, or the whole match.
fn secret(captures: &Captures) -> Option<Span> {
    (1..captures.group_len()).find_map(|group| captures.get_group(group)).or_else(|| captures.get_group(0))
}
