//! Lines of a text copy whose fields are their values as they are.
//!
//! Nearly all lines are: they hold no backslash but that of a NULL. Such a line is looked at once, whole or between its
//! masked columns, instead of field by field, and only what is masked is written anew.

use super::{Dialect, Writing};
use crate::mask::{ColumnMask, RowMasker, RowPlan};
use bytes::{BufMut, BytesMut};
use std::ops::Range;

/// A line, without its end, in which fields stand between control bytes and need not be unescaped.
#[derive(Clone, Copy)]
pub(super) struct Plain<'a> {
    line: &'a [u8],
    dialect: &'a Dialect,
}

impl<'a> Plain<'a> {
    /// The line in the body of a message of a text copy; `None` if it is not plain.
    pub(super) fn of(body: &'a [u8], dialect: &'a Dialect) -> Option<Self> {
        let line = body.strip_suffix(b"\n")?;
        let plain = Self { line, dialect };
        let separated = !dialect.header && dialect.delimiter.is_ascii_control();
        (separated && memchr::memchr_iter(b'\\', line).all(|at| plain.is_null(at))).then_some(plain)
    }

    /// Whether the backslash there is a field of its own with the `N` behind it, and that is how NULL is written.
    fn is_null(&self, at: usize) -> bool {
        let ends = |byte: Option<&u8>| byte.is_none_or(|byte| *byte == self.dialect.delimiter);
        let begins = at.checked_sub(1).is_none_or(|before| ends(self.line.get(before)));
        self.dialect.null == NULL && begins && {
            let rest = self.line.get(at..).unwrap_or_default();
            rest.starts_with(NULL) && ends(rest.get(NULL.len()))
        }
    }

    fn fields(&self) -> impl Iterator<Item = Range<usize>> {
        let mut start = 0;
        let ends = memchr::memchr_iter(self.dialect.delimiter, self.line).chain([self.line.len()]);
        ends.map(move |end| std::mem::replace(&mut start, end.saturating_add(1))..end)
    }

    fn part(&self, range: Range<usize>) -> &'a [u8] {
        self.line.get(range).unwrap_or_default()
    }
}

impl RowMasker<'_> {
    /// Whether detectors certainly find nothing outside the line's masked columns, and it has the columns of the plan.
    pub(super) fn is_clean(&self, plain: Plain<'_>) -> bool {
        let masks = match self.plan {
            RowPlan::Clear | RowPlan::Detect => return !self.masker.row_may_match(plain.line),
            RowPlan::Columns(masks) => masks,
            RowPlan::Whole(_) => return false,
        };
        let delimiter = [plain.dialect.delimiter];
        let may_match = |run: Range<usize>| {
            let run = plain.part(run);
            !run.is_empty() && run != delimiter && self.masker.row_may_match(run)
        };
        let (mut count, mut run) = (0_usize, 0);
        for field in plain.fields() {
            if let Some(Some(_)) = masks.get(count) {
                if may_match(run..field.start) {
                    return false;
                }
                run = field.end;
            }
            count = count.saturating_add(1);
        }
        self.is_aligned(count) && !may_match(run..plain.line.len())
    }

    /// Appends a clean line with its masked columns replaced.
    pub(super) fn copied_plain(
        &mut self,
        plain: Plain<'_>,
        masks: &[Option<ColumnMask>],
        out: &mut BytesMut,
    ) {
        let writing = Writing { dialect: plain.dialect, csv: false };
        let mut done = 0;
        for (field, mask) in plain.fields().zip(masks) {
            let Some(mask) = mask else { continue };
            let value = plain.part(field.clone());
            let is_null = value == plain.dialect.null;
            if is_null && !mask.hides_null {
                continue;
            }
            let value = if is_null { &[] } else { value };
            out.put_slice(plain.part(done..field.start));
            done = field.end;
            match self.copied_masked(mask, value) {
                Some(masked) if *masked == *value => out.put_slice(value),
                Some(masked) => writing.write(&masked, out),
                None => out.put_slice(&plain.dialect.null),
            }
        }
        out.put_slice(plain.part(done..plain.line.len()));
        out.put_u8(b'\n');
    }
}

/// How a text copy writes NULL unless it is told otherwise.
const NULL: &[u8] = b"\\N";

#[cfg(test)]
mod tests;
