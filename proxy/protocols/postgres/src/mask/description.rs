//! Names of result columns.

use super::{Texts, patch_length};
use crate::messages::{Body, Malformed};
use bytes::{BufMut, BytesMut};

/// Appends a `RowDescription` with the names of its columns masked or withheld: a table can be made whose columns are
/// named by values.
///
/// # Errors
/// The message cannot be read; then nothing of it may pass.
pub(crate) fn description(frame: &[u8], mut texts: Texts<'_>, out: &mut BytesMut) -> Result<(), Malformed> {
    if !texts.withhold && !texts.masker.has_detectors() {
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
        if texts.withhold {
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

#[cfg(test)]
mod tests {
    use super::{Texts, description};
    use bytes::BytesMut;
    use proxy_core::mask::{MaskCounts, Masker};
    use proxy_policy::{Detector, DetectorChoice, Mask};

    fn described(detectors: &[DetectorChoice], withhold: bool) -> BytesMut {
        let (masker, mut counts) = (Masker::new(detectors, &[0; 32]), MaskCounts::default());
        let frame = b"T\0\0\0\x24\0\x01078-05-1120\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";
        let mut out = BytesMut::new();
        description(frame, Texts { masker: &masker, counts: &mut counts, withhold }, &mut out).unwrap();
        assert_eq!(out.len(), usize::from(out[4]) + 1);
        assert!(out.ends_with(b"\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"));
        out
    }

    #[test]
    fn a_column_named_by_a_value_loses_its_name() {
        let detector =
            DetectorChoice { detectors: vec![Detector::UsSsn], patterns: vec![], with: Mask::default() };
        assert!(described(&[], false).windows(11).any(|name| name == b"078-05-1120"));
        assert!(described(&[detector], false)[7..].starts_with(b"[MASKED:us-ssn]\0"));
        assert!(described(&[], true)[7..].starts_with(b"?column?\0"));
    }
}
