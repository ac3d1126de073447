//! Where keywords stand in a text: one automaton over all of them, in any case of letters.
//!
//! An automaton waits for each of its steps before it takes the next one. So it goes through four parts of a text at
//! once, each from a little before its beginning on, and finds what it would find in one go.

use aho_corasick::automaton::{Automaton as _, StateID};
use aho_corasick::dfa::DFA;
use aho_corasick::{Anchored, MatchKind};
use std::ops::{ControlFlow, Range};

/// So many parts are looked at at once.
const LANES: usize = 4;

/// Longest part, in bytes: what is found in it is kept until it has been told.
const LANE_MAX: usize = 4 * 1024;

/// Shortest part, in bytes, that is worth beginning anew for.
const LANE_MIN: usize = 128;

/// A keyword, and where it stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Hit {
    /// Which of the keywords, in their order.
    pub(super) keyword: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The automaton.
#[derive(Debug)]
pub(super) struct Keywords {
    automaton: DFA,
    start: StateID,
    /// Length of the longest keyword, in bytes.
    longest: usize,
}

impl Keywords {
    /// `None` where there are none, or too many for an automaton.
    pub(super) fn new(keywords: &[&'static str]) -> Option<Self> {
        let longest = keywords.iter().map(|keyword| keyword.len()).max()?;
        let mut builder = DFA::builder();
        builder.match_kind(MatchKind::Standard).ascii_case_insensitive(true).prefilter(false);
        let automaton = builder.build(keywords).ok()?;
        let start = automaton.start_state(Anchored::No).ok()?;
        Some(Self { automaton, start, longest })
    }

    /// Tells every keyword in `text`, in the order in which they end, also those in one another, until `tell` breaks.
    pub(super) fn each(&self, text: &[u8], mut tell: impl FnMut(Hit) -> ControlFlow<()>) {
        let mut hits: [Vec<Hit>; LANES] = Default::default();
        let mut from = 0;
        while from < text.len() {
            let block = (text.len() - from).min(LANES * LANE_MAX);
            let lane = block / LANES;
            if lane < LANE_MIN {
                let [first, ..] = &mut hits;
                self.one(text, from..from + block, first);
                from += block;
            } else {
                self.four(text, from, lane, &mut hits);
                from += lane * LANES;
            }
            if hits.iter_mut().flat_map(|hits| hits.drain(..)).try_for_each(&mut tell).is_break() {
                return;
            }
        }
    }

    /// What ends in this part of a text.
    fn one(&self, text: &[u8], part: Range<usize>, hits: &mut Vec<Hit>) {
        let mut state = self.before(text, part.start);
        for (at, byte) in text.iter().enumerate().take(part.end).skip(part.start) {
            state = self.automaton.next_state(Anchored::No, state, *byte);
            if self.automaton.is_special(state) {
                self.note(state, at + 1, hits);
            }
        }
    }

    /// What ends in each of four parts of a text, which begin at `from` and are `length` long.
    fn four(&self, text: &[u8], from: usize, length: usize, hits: &mut [Vec<Hit>; LANES]) {
        let [a, b, c, d] = [0, 1, 2, 3].map(|lane| from + lane * length);
        let [mut in_a, mut in_b, mut in_c, mut in_d] = [a, b, c, d].map(|start| self.before(text, start));
        let part = |start: usize| text.get(start..start + length).unwrap_or_default();
        let bytes = part(a).iter().zip(part(b)).zip(part(c)).zip(part(d));
        for (at, (((of_a, of_b), of_c), of_d)) in bytes.enumerate() {
            let step = |state, byte: &u8| self.automaton.next_state(Anchored::No, state, *byte);
            (in_a, in_b, in_c, in_d) =
                (step(in_a, of_a), step(in_b, of_b), step(in_c, of_c), step(in_d, of_d));
            let special = |state| self.automaton.is_special(state);
            if special(in_a) | special(in_b) | special(in_c) | special(in_d) {
                let now = [(in_a, a), (in_b, b), (in_c, c), (in_d, d)];
                for ((state, start), hits) in now.into_iter().zip(hits.iter_mut()) {
                    self.note(state, start + at + 1, hits);
                }
            }
        }
    }

    /// The state in which the automaton is at `at`: what is further before than the longest keyword is long tells
    /// nothing.
    fn before(&self, text: &[u8], at: usize) -> StateID {
        let near = text.get(at.saturating_sub(self.longest)..at).unwrap_or_default();
        near.iter().fold(self.start, |state, byte| self.automaton.next_state(Anchored::No, state, *byte))
    }

    fn note(&self, state: StateID, end: usize, hits: &mut Vec<Hit>) {
        if !self.automaton.is_match(state) {
            return;
        }
        for index in 0..self.automaton.match_len(state) {
            let keyword = self.automaton.match_pattern(state, index);
            let start = end - self.automaton.pattern_len(keyword);
            hits.push(Hit { keyword: keyword.as_usize(), start, end });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aho_corasick::AhoCorasick;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    const KEYWORDS: &[&str] =
        &["sk", "key", "keys", "eye", "ey", "s.", "a-very-long-keyword-of-a-rule", "://"];

    static OURS: LazyLock<Keywords> = LazyLock::new(|| Keywords::new(KEYWORDS).unwrap());

    /// One automaton that goes through all of a text.
    static ONE: LazyLock<AhoCorasick> =
        LazyLock::new(|| AhoCorasick::builder().ascii_case_insensitive(true).build(KEYWORDS).unwrap());

    fn told(text: &[u8]) -> Vec<Hit> {
        let mut hits = Vec::new();
        OURS.each(text, |hit| {
            hits.push(hit);
            ControlFlow::Continue(())
        });
        hits
    }

    fn expected(text: &[u8]) -> Vec<Hit> {
        let hit = |found: aho_corasick::Match| Hit {
            keyword: found.pattern().as_usize(),
            start: found.start(),
            end: found.end(),
        };
        ONE.find_overlapping_iter(text).map(hit).collect()
    }

    #[test]
    fn a_keyword_is_found_wherever_a_part_ends() {
        let long = "A-Very-Long-Keyword-of-a-Rule";
        for length in [0, 1, 511, 512, 2_000, 16_384, 20_000] {
            for at in (0..length).step_by(1 + length / 150) {
                let mut text = vec![b'.'; length];
                text.splice(at.., long.bytes());
                text.resize(length.max(at + long.len()), b'.');
                assert_eq!(told(&text), expected(&text), "{at} of {length}");
                assert_eq!(told(&text).len(), 3);
            }
        }
    }

    #[test]
    fn nothing_is_told_after_a_break() {
        let text = "key ".repeat(10_000);
        let mut told = 0;
        OURS.each(text.as_bytes(), |_hit| {
            told += 1;
            if told < 5 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        assert_eq!(told, 5);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn four_parts_give_what_one_gives(text in "([skey.:/A-]|a-very-long-keyword-of-a-rule){0,3000}") {
            prop_assert_eq!(told(text.as_bytes()), expected(text.as_bytes()));
        }
    }
}
