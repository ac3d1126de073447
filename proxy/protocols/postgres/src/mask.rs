//! Rebuilds what a value can leave through: rows, error and notice texts, notifications.
//!
//! | type of the column | column mask | detector finding |
//! | --- | --- | --- |
//! | `text`, `varchar`, `bpchar`, `name`, unknown literals; text or binary format | the masked text | rewritten |
//! | `json`, `jsonb` | a JSON string of the masked text | rewritten if it stays JSON, else NULL |
//! | anything else, or a type that is not known | NULL | NULL |
//!
//! NULL of a column that is masked as it stands stays NULL. Of what is computed from masked columns it is masked like any
//! value: `nullif(ssn, 'a guess')` would tell by it whether the guess is right.
//!
//! A row whose number of columns is not the plan's is masked whole. Detectors read bytes as they stand and what they stand
//! for: the text of a binary value ([`binary`]), the bytes of `bytea` that is written as text ([`escaped`]).

mod binary;
mod copy;
mod description;
mod escaped;
mod texts;

pub(crate) use copy::CopyFormat;
pub(crate) use description::{bound, description, format_of};
pub(crate) use texts::{Texts, Withhold, notification, parameter_status, report};

use crate::messages::{Body, Malformed};
use bytes::{BufMut, BytesMut};
use proxy_core::mask::{MaskCounts, Masker};
use proxy_policy::{Mask, MaskType};
use std::borrow::Cow;

/// How the rows of one result are masked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RowPlan {
    /// Not at all.
    Clear,
    /// Detectors only.
    Detect,
    /// Columns, and detectors over the others.
    Columns(Vec<Option<ColumnMask>>),
    /// Every column.
    Whole(ColumnMask),
}

impl RowPlan {
    /// Whether it hides a column.
    pub(crate) fn masks(&self, column: usize) -> bool {
        match self {
            Self::Clear | Self::Detect => false,
            Self::Columns(masks) => masks.get(column).is_some_and(Option::is_some),
            Self::Whole(_) => true,
        }
    }
}

/// The mask of one column, and the name it is counted under.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ColumnMask {
    pub(crate) mask: Mask,
    pub(crate) name: String,
    /// The value is computed: that it is NULL may tell something of what it is computed from.
    pub(crate) hides_null: bool,
}

/// Type and format of one column, as far as they are known.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Shape {
    /// Object identifier of its type; 0: not known.
    pub(crate) type_oid: u32,
    /// 0 is text, 1 is binary.
    pub(crate) format: i16,
    /// The relation whose column it is, unchanged, and the column's number there; zero if it is none's.
    pub(crate) origin: (u32, i16),
}

/// What masks the rows of one result.
#[derive(Debug)]
pub(crate) struct RowMasker<'a> {
    pub(crate) plan: &'a RowPlan,
    pub(crate) shapes: &'a [Shape],
    pub(crate) masker: &'a Masker,
    pub(crate) counts: &'a mut MaskCounts,
}

impl<'a> RowMasker<'a> {
    /// Appends the masked `DataRow` for the one in `frame`.
    ///
    /// # Errors
    /// The row cannot be read; then nothing of it may pass.
    pub(crate) fn row(&mut self, frame: &[u8], out: &mut BytesMut) -> Result<(), Malformed> {
        let mut body = Body::new(crate::frame::body(frame));
        let untouched = match self.plan {
            RowPlan::Clear => true,
            RowPlan::Detect => self.is_clean_row(crate::frame::body(frame))?,
            RowPlan::Columns(_) | RowPlan::Whole(_) => false,
        };
        if untouched {
            out.put_slice(frame);
            return Ok(());
        }
        let count = body.count()?;
        let start = out.len();
        out.put_u8(b'D');
        out.put_u32(0);
        out.put_u16(u16::try_from(count).unwrap_or(u16::MAX));
        let aligned = self.is_aligned(count);
        for index in 0..count {
            self.next(&mut body, (index, aligned), out)?;
        }
        body.end()?;
        patch_length(start, out)
    }

    /// Appends the masked `FunctionCallResponse` for the one in `frame`: one value, as of a row of one column.
    ///
    /// # Errors
    /// It cannot be read; then nothing of it may pass.
    pub(crate) fn call(&mut self, frame: &[u8], out: &mut BytesMut) -> Result<(), Malformed> {
        let mut body = Body::new(crate::frame::body(frame));
        let start = out.len();
        out.put_u8(b'V');
        out.put_u32(0);
        self.next(&mut body, (0, self.is_aligned(1)), out)?;
        body.end()?;
        patch_length(start, out)
    }

    /// Takes the value of a column from `body`, and appends what stands for it; `aligned`: it is one that the plan knows.
    fn next(
        &mut self,
        body: &mut Body<'_>,
        (index, aligned): (usize, bool),
        out: &mut BytesMut,
    ) -> Result<(), Malformed> {
        let masked = match body.value()? {
            None => self.null(index),
            Some(value) if aligned => self.value(index, value),
            Some(_) => self.misaligned(),
        };
        put_value(masked.as_deref(), out)
    }

    /// The mask of a column, if it has one.
    fn mask(&self, index: usize) -> Option<&'a ColumnMask> {
        match self.plan {
            RowPlan::Columns(masks) => masks.get(index).and_then(Option::as_ref),
            RowPlan::Whole(mask) => Some(mask),
            RowPlan::Clear | RowPlan::Detect => None,
        }
    }

    /// What stands for NULL.
    fn null<'v>(&mut self, index: usize) -> Option<Cow<'v, [u8]>> {
        let shape = self.shapes.get(index).copied().unwrap_or_default();
        let mask = self.mask(index).filter(|mask| mask.hides_null)?;
        self.column(mask, shape, &[]).map(Cow::Owned)
    }

    /// Whether a row has as many columns as the plan.
    fn is_aligned(&self, count: usize) -> bool {
        !matches!(self.plan, RowPlan::Columns(masks) if masks.len() != count)
    }

    fn value<'v>(&mut self, index: usize, value: &'v [u8]) -> Option<Cow<'v, [u8]>> {
        let shape = self.shapes.get(index).copied().unwrap_or_default();
        match self.mask(index) {
            Some(mask) => self.column(mask, shape, value).map(Cow::Owned),
            None => self.detect(shape, value),
        }
    }

    fn column(&mut self, mask: &ColumnMask, shape: Shape, value: &[u8]) -> Option<Vec<u8>> {
        match Kind::of(shape.type_oid) {
            Kind::Text => self.masker.value(&mask.mask, &mask.name, value, self.counts),
            Kind::Json => {
                let text =
                    self.masker.value(&mask.mask, &mask.name, unversioned(shape, value), self.counts)?;
                let text = serde_json::to_string(&String::from_utf8_lossy(&text)).ok()?;
                Some(versioned(shape, text.into_bytes()))
            }
            Kind::Fixed | Kind::Other => {
                let null = Mask { type_: MaskType::Null, keep_last: None };
                self.masker.value(&null, &mask.name, value, self.counts).filter(|_| false)
            }
        }
    }

    fn misaligned(&mut self) -> Option<Cow<'static, [u8]>> {
        let null = Mask { type_: MaskType::Null, keep_last: None };
        self.masker
            .value(&null, "row with another number of columns", &[], self.counts)
            .filter(|_| false)
            .map(Cow::Owned)
    }

    /// Whether detectors certainly find nothing in a row, neither in its bytes nor in what they stand for.
    fn is_clean_row(&self, body: &[u8]) -> Result<bool, Malformed> {
        if self.masker.row_may_match(body) {
            return Ok(false);
        }
        let is_text = |shape: &Shape| shape.format == 0 && shape.type_oid != 0;
        let says_nothing_else = !self.shapes.is_empty() && self.shapes.iter().all(is_text);
        if says_nothing_else && memchr::memchr(b'\\', body).is_none() {
            return Ok(true);
        }
        let mut values = Body::new(body);
        for index in 0..values.count()? {
            let Some(value) = values.value()? else { continue };
            let shape = self.shapes.get(index).copied().unwrap_or_default();
            let text = binary::text(shape, value, self.masker.has_patterns());
            let may_match = |text: &[u8]| escaped::may_match(self.masker, text);
            if may_match(value)
                || text.is_some_and(|text| {
                    self.masker.row_may_match(text.as_bytes()) || may_match(text.as_bytes())
                })
            {
                return Ok(false);
            }
        }
        values.end()?;
        Ok(true)
    }

    fn detect<'v>(&mut self, shape: Shape, value: &'v [u8]) -> Option<Cow<'v, [u8]>> {
        let kind = Kind::of(shape.type_oid);
        if let Some(text) = binary::text(shape, value, self.masker.has_patterns())
            && let Cow::Owned(_) = escaped::masked(self.masker, text.as_bytes(), self.counts)
        {
            return None;
        }
        if kind == Kind::Fixed && shape.format == 1 {
            return Some(Cow::Borrowed(value));
        }
        match escaped::masked(self.masker, unversioned_if_json(kind, shape, value), self.counts) {
            Cow::Borrowed(_) => Some(Cow::Borrowed(value)),
            Cow::Owned(masked) => match kind {
                Kind::Text => Some(Cow::Owned(masked)),
                Kind::Json if serde_json::from_slice::<serde::de::IgnoredAny>(&masked).is_ok() => {
                    Some(Cow::Owned(versioned(shape, masked)))
                }
                Kind::Json | Kind::Fixed | Kind::Other => None,
            },
        }
    }
}

/// What a value of a type may be replaced by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// Any text.
    Text,
    /// A JSON document.
    Json,
    /// Nothing, and its binary form is no text.
    Fixed,
    /// Nothing.
    Other,
}

impl Kind {
    /// By object identifier, from PostgreSQL's `pg_type.dat`.
    const fn of(type_oid: u32) -> Self {
        match type_oid {
            // name, text, unknown, bpchar, varchar
            19 | 25 | 705 | 1042 | 1043 => Self::Text,
            // json, jsonb
            114 | 3802 => Self::Json,
            // bool, int8, int2, int4, oid, tid, xid, cid, float4, float8, money, date, time, timestamp, timestamptz,
            // interval, timetz, numeric, uuid, pg_lsn
            16 | 20 | 21 | 23 | 26 | 27 | 28 | 29 | 700 | 701 | 790 | 1082 | 1083 | 1114 | 1184 | 1186
            | 1266 | 1700 | 2950 | 3220 => Self::Fixed,
            _ => Self::Other,
        }
    }
}

/// Whether values of a type carry no text, in no format.
pub(crate) fn is_fixed(type_oid: u32) -> bool {
    Kind::of(type_oid) == Kind::Fixed
}

const JSONB: u32 = 3802;

/// Binary `jsonb` has a version byte before the text.
fn unversioned(shape: Shape, value: &[u8]) -> &[u8] {
    match value.split_first() {
        Some((_, text)) if shape.format == 1 && shape.type_oid == JSONB => text,
        Some(_) | None => value,
    }
}

fn unversioned_if_json(kind: Kind, shape: Shape, value: &[u8]) -> &[u8] {
    if kind == Kind::Json { unversioned(shape, value) } else { value }
}

fn versioned(shape: Shape, mut text: Vec<u8>) -> Vec<u8> {
    if shape.format == 1 && shape.type_oid == JSONB {
        text.insert(0, 1);
    }
    text
}

fn put_value(value: Option<&[u8]>, out: &mut BytesMut) -> Result<(), Malformed> {
    match value {
        None => out.put_i32(-1),
        Some(value) => {
            out.put_i32(i32::try_from(value.len()).ok().ok_or(Malformed("a masked value is too long"))?);
            out.put_slice(value);
        }
    }
    Ok(())
}

/// Writes the length of the frame that begins at `start` and ends where `out` ends.
pub(crate) fn patch_length(start: usize, out: &mut BytesMut) -> Result<(), Malformed> {
    let length = out.len().saturating_sub(start).saturating_sub(1);
    let length = u32::try_from(length).ok().ok_or(Malformed("a masked message is too long"))?;
    let field = out.get_mut(start.saturating_add(1)..start.saturating_add(5));
    field.ok_or(Malformed("a masked message has no header"))?.copy_from_slice(&length.to_be_bytes());
    Ok(())
}
