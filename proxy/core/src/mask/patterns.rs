//! The author's own regular expressions.

use super::finding::{Finding, Sink};
use proxy_policy::{DetectorChoice, Mask};
use regex::bytes::{Regex, RegexBuilder};
use regex_automata::util::syntax;

/// Largest compiled pattern, and largest cache of one, in bytes.
const SIZE_LIMIT: usize = 1 << 20;

#[derive(Debug)]
struct Pattern {
    name: String,
    mask: Mask,
    /// `None` did not compile, and hides everything.
    regex: Option<Regex>,
    /// Looks at what stands around it, so that a frame cannot tell whether it matches in a value.
    looks_around: bool,
}

/// Patterns of all choices, in order.
#[derive(Debug, Default)]
pub(super) struct Patterns(Vec<Pattern>);

impl Patterns {
    pub(super) fn new(choices: &[DetectorChoice]) -> Self {
        Self(
            choices
                .iter()
                .flat_map(|choice| choice.patterns.iter().map(|pattern| (pattern, &choice.with)))
                .map(|(pattern, mask)| Pattern {
                    name: shown(&pattern.name),
                    mask: mask.clone(),
                    regex: RegexBuilder::new(&pattern.regex)
                        .size_limit(SIZE_LIMIT)
                        .dfa_size_limit(SIZE_LIMIT)
                        .build()
                        .ok(),
                    looks_around: syntax::parse_with(&pattern.regex, &syntax::Config::new().utf8(false))
                        .map_or(true, |hir| !hir.properties().look_set().is_empty()),
                })
                .collect(),
        )
    }

    /// Names of their masks.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|pattern| pattern.name.clone())
    }

    pub(super) fn is_on(&self) -> bool {
        !self.0.is_empty()
    }

    pub(super) fn scan<'a>(&'a self, text: &[u8], sink: &mut Sink<'a>) {
        for pattern in &self.0 {
            let push = |sink: &mut Sink<'a>, start, end| {
                sink.push(Finding { start, end, name: &pattern.name, mask: &pattern.mask });
            };
            let Some(regex) = &pattern.regex else {
                push(sink, 0, text.len());
                continue;
            };
            if regex.capture_names().flatten().any(|name| name == "secret") {
                for found in regex.captures_iter(text).filter_map(|captures| captures.name("secret")) {
                    push(sink, found.start(), found.end());
                }
            } else {
                for found in regex.find_iter(text) {
                    push(sink, found.start(), found.end());
                }
            }
        }
    }

    /// Whether a frame of values may hold a match.
    pub(super) fn may_match(&self, frame: &[u8]) -> bool {
        self.0.iter().any(|pattern| {
            pattern.looks_around || pattern.regex.as_ref().is_none_or(|regex| regex.is_match(frame))
        })
    }
}

/// The name as it stands in a mask: letters, digits, dashes, underscores and dots.
fn shown(name: &str) -> String {
    name.chars()
        .take(63)
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' })
        .collect()
}
