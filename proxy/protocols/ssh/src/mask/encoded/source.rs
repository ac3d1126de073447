//! Where the bytes of a reading stand in the text that it was made of.

use std::ops::Range;

/// Where the bytes of a reading come from: a step from it to what it was made of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'s> {
    /// The text itself, from here on.
    Text(usize),
    /// As many bytes, the last one first.
    Backwards(&'s Source<'s>, usize),
    /// A part that begins here.
    Part(&'s Source<'s>, usize),
    /// Digits of so many bits, from this one on.
    Digits(&'s Source<'s>, usize, usize),
    /// Pieces: where each begins in the reading, and in the text.
    Pieces(&'s [(usize, usize)]),
    /// For each byte its own part of what it was made of.
    Each(&'s Source<'s>, &'s [Range<usize>]),
}

impl Source<'_> {
    /// The part of the text that `range` of the reading stands in. Empty ranges stand nowhere.
    pub(super) fn range(&self, range: &Range<usize>) -> Range<usize> {
        if range.is_empty() {
            return 0..0;
        }
        let Range { start, end } = *range;
        match self {
            Self::Text(from) => from + start..from + end,
            Self::Backwards(of, length) => {
                of.range(&(length.saturating_sub(end)..length.saturating_sub(start)))
            }
            Self::Part(of, from) => of.range(&(from + start..from + end)),
            Self::Digits(of, first, bits) => {
                of.range(&(first + start * 8 / bits..first + (end * 8).div_ceil(*bits)))
            }
            Self::Pieces(pieces) => place(pieces, start)..place(pieces, end - 1) + 1,
            Self::Each(of, map) => {
                let parts = map.get(start..end).unwrap_or_default();
                let from = parts.iter().map(|part| part.start).min().unwrap_or(0);
                let to = parts.iter().map(|part| part.end).max().unwrap_or(0);
                of.range(&(from..to))
            }
        }
    }
}

/// Where a byte of pieces stands.
fn place(pieces: &[(usize, usize)], at: usize) -> usize {
    let index = pieces.partition_point(|(begin, _)| *begin <= at).saturating_sub(1);
    pieces.get(index).map_or(at, |(begin, stands)| stands + at - begin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_lead_back_to_the_text() {
        let text = Source::Text(100);
        assert_eq!(text.range(&(2..5)), 102..105);
        assert_eq!(Source::Backwards(&text, 10).range(&(0..3)), 107..110);
        // the first byte of base64 stands in two letters, the second in two, the third in two
        let base64 = Source::Digits(&text, 1, 6);
        assert_eq!(
            [0, 1, 2, 3].map(|at| base64.range(&(at..at + 1))),
            [101..103, 102..104, 103..105, 105..107]
        );
        assert_eq!(Source::Digits(&text, 0, 4).range(&(1..3)), 102..106);
        assert_eq!(Source::Pieces(&[(0, 7), (4, 20)]).range(&(2..6)), 9..22);
        let each = [5..9, 9..12, 12..13];
        assert_eq!(Source::Each(&text, &each).range(&(1..3)), 109..113);
        assert_eq!(Source::Part(&Source::Backwards(&text, 10), 2).range(&(0..1)), 107..108);
    }
}
