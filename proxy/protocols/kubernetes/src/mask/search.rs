//! The texts of one value that detectors must see, gathered into one piece for their prefilter.

use super::Unmaskable;
use super::scan::{Scanner, Span};
use super::telling::shown;
use proxy_core::mask::Masker;

/// What stands between texts that are searched together: neither a letter nor a space.
const BETWEEN: u8 = 1;

/// A text, and the name before it that may give it away.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text {
    pub(super) span: Span,
    pub(super) context: Option<Span>,
    /// Where it ends among the gathered ones.
    end: usize,
}

/// Texts of one value.
#[derive(Debug, Default)]
pub(super) struct Texts {
    list: Vec<Text>,
    gathered: Vec<u8>,
}

impl Texts {
    /// Adds a text as detectors will see it alone: decoded, its context before it.
    pub(super) fn note(
        &mut self,
        scanner: &Scanner<'_>,
        span: Span,
        context: Option<Span>,
    ) -> Result<(), Unmaskable> {
        if span.start == span.end {
            return Ok(());
        }
        if let Some(context) = context {
            self.gathered.extend_from_slice(shown(&scanner.decode(context)?).as_bytes());
            self.gathered.push(b'=');
        }
        self.gathered.extend_from_slice(scanner.decode(span)?.as_bytes());
        self.gathered.push(BETWEEN);
        self.list.push(Text { span, context, end: self.gathered.len() });
        Ok(())
    }

    /// Those texts in which a finding cannot be ruled out.
    pub(super) fn suspects(&self, masker: &Masker) -> Vec<Text> {
        let mut found = Vec::new();
        self.search(&self.list, 0, masker, &mut found);
        found
    }

    /// Looks at texts, gathered from `from` on: half by half, as long as the prefilter does not clear them.
    fn search(&self, texts: &[Text], from: usize, masker: &Masker, found: &mut Vec<Text>) {
        let Some(last) = texts.last() else { return };
        if !masker.row_may_match(self.gathered.get(from..last.end).unwrap_or_default()) {
            return;
        }
        if let [text] = texts {
            found.push(*text);
            return;
        }
        let (left, right) = texts.split_at(texts.len() / 2);
        self.search(left, from, masker, found);
        self.search(right, left.last().map_or(from, |text| text.end), masker, found);
    }
}
