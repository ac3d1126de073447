//! Names of result columns.

use super::{Texts, Withhold, patch_length};
use crate::messages::{Body, Malformed};
use bytes::{BufMut, Bytes, BytesMut};

/// Appends a `RowDescription` with the names of its columns masked or withheld: a table can be made whose columns are
/// named by values.
///
/// # Errors
/// The message cannot be read; then nothing of it may pass.
pub(crate) fn description(frame: &[u8], mut texts: Texts<'_>, out: &mut BytesMut) -> Result<(), Malformed> {
    if texts.withhold != Withhold::Values && !texts.masker.has_detectors() {
        out.put_slice(frame);
        return Ok(());
    }
    let mut body = Body::new(crate::frame::body(frame));
    let count = body.count()?;
    let start = out.len();
    out.put_u8(b'T');
    out.put_u32(0);
    out.put_u16(u16::try_from(count).unwrap_or(u16::MAX));
    for _ in 0..count {
        let name = body.cstring()?;
        if texts.withhold == Withhold::Values {
            // What PostgreSQL itself calls a column without a name.
            out.put_slice(b"?column?");
        } else {
            out.put_slice(&texts.line(name));
        }
        out.put_u8(0);
        // table, column number, type, size, modifier, format
        out.put_slice(body.bytes(18)?);
    }
    body.end()?;
    patch_length(start, out)
}

/// The `RowDescription` of a portal, as describing it would yield, from that of its statement: with the formats that it
/// was bound with.
///
/// # Errors
/// The message cannot be read.
pub(crate) fn bound(statement: &[u8], formats: &[i16]) -> Result<Bytes, Malformed> {
    let mut body = Body::new(crate::frame::body(statement));
    let mut out = BytesMut::with_capacity(statement.len());
    let head = statement.len().saturating_sub(crate::frame::body(statement).len());
    out.put_slice(statement.get(..head).unwrap_or_default());
    let count = body.count()?;
    out.put_u16(u16::try_from(count).unwrap_or(u16::MAX));
    for index in 0..count {
        out.put_slice(body.cstring()?);
        out.put_u8(0);
        // table, column number, type, size, modifier
        out.put_slice(body.bytes(16)?);
        body.i16()?;
        out.put_i16(format_of(formats, index));
    }
    body.end()?;
    Ok(out.freeze())
}

/// Format of a column by those of a `Bind`: none (all text), one for all, or one each.
pub(crate) fn format_of(formats: &[i16], column: usize) -> i16 {
    match formats {
        [] => 0,
        [all] => *all,
        each => each.get(column).copied().unwrap_or_default(),
    }
}
