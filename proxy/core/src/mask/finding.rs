//! What was found where, and how findings that overlap become one.

use proxy_policy::{Mask, MaskType};
use std::ops::Range;

/// Half-open range of bytes to hide, the name to show, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finding<'a> {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) name: &'a str,
    pub(super) mask: &'a Mask,
}

/// Where the pieces of a text that is put together belong together.
#[derive(Clone, Copy)]
pub(super) struct Pieces<'p> {
    /// The borders of the pieces are lost: a token can start anywhere.
    pub(super) open: bool,
    /// Up to where what stands in this range was one before it was cut into pieces.
    pub(super) whole: &'p dyn Fn(Range<usize>) -> usize,
}

/// Whether the text stands alone.
#[derive(Clone, Copy)]
pub(super) enum Edges<'p> {
    /// It is one whole value.
    Exact,
    /// It is a frame: values with four-byte lengths before them, so any byte that a length can end with may stand
    /// before a value.
    Framed,
    /// It is put together from pieces.
    Pieces(Pieces<'p>),
}

impl Edges<'_> {
    /// Whether a token can start at `at`: nothing that would make it longer stands before it.
    pub(super) fn open_before(self, text: &[u8], at: usize) -> bool {
        if matches!(self, Self::Pieces(Pieces { open: true, .. })) {
            return true;
        }
        let Some(before) = at.checked_sub(1).and_then(|index| text.get(index)) else { return true };
        !is_word(*before) || self.after_length(text, at)
    }

    /// Whether it is a frame.
    pub(super) fn are_framed(self) -> bool {
        matches!(self, Self::Framed)
    }

    /// Where a value ends that stands in `range` and is told by what stands before it: any words are a value of the name
    /// before them, once what parts them is gone.
    pub(super) fn end(self, range: Range<usize>) -> usize {
        match self {
            Self::Pieces(pieces) => (pieces.whole)(range),
            Self::Exact | Self::Framed => range.end,
        }
    }

    /// Whether the byte before `at` may be the last one of a field's length.
    pub(super) fn after_length(self, text: &[u8], at: usize) -> bool {
        self.are_framed() && at.checked_sub(2).and_then(|index| text.get(index)) == Some(&0)
    }
}

/// Letter, digit or underscore.
pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Where findings go.
#[derive(Debug)]
pub(super) struct Sink<'a> {
    pub(super) findings: Vec<Finding<'a>>,
    /// Stop at the first one.
    pub(super) any: bool,
}

impl<'a> Sink<'a> {
    pub(super) fn new(any: bool) -> Self {
        Self { findings: Vec::new(), any }
    }

    /// Whether nobody wants to know more.
    pub(super) fn is_done(&self) -> bool {
        self.any && !self.findings.is_empty()
    }

    pub(super) fn push(&mut self, finding: Finding<'a>) {
        if finding.start < finding.end {
            self.findings.push(finding);
        }
    }
}

/// How little a mask tells: of two masks on the same bytes, the higher one is used.
fn strictness(mask: &Mask) -> u8 {
    match mask.type_ {
        MaskType::Partial => 0,
        MaskType::Token => 1,
        MaskType::Hash => 2,
        MaskType::Redact => 3,
        MaskType::Null => 4,
    }
}

/// Joins findings that share bytes: the union is hidden, under the name of the widest and the strictest mask.
pub(super) fn merged<'a>(mut findings: Vec<Finding<'a>>) -> Vec<Finding<'a>> {
    // the widest first where several start together, so that the result does not depend on the order of detectors
    findings.sort_by(|a, b| (a.start, b.end, a.name).cmp(&(b.start, a.end, b.name)));
    let mut out: Vec<Finding<'a>> = Vec::with_capacity(findings.len());
    let mut widest = 0;
    for finding in findings {
        match out.last_mut() {
            Some(last) if finding.start < last.end => {
                if finding.end - finding.start > widest {
                    widest = finding.end - finding.start;
                    last.name = finding.name;
                }
                last.end = last.end.max(finding.end);
                if strictness(finding.mask) > strictness(last.mask) {
                    last.mask = finding.mask;
                }
            }
            Some(_) | None => {
                widest = finding.end - finding.start;
                out.push(finding);
            }
        }
    }
    out
}
