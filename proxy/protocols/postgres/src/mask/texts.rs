//! Messages of text: errors, notices, notifications, parameters.

use super::patch_length;
use crate::messages::{Body, Malformed};
use bytes::{BufMut, BytesMut};
use proxy_core::mask::{MaskCounts, Masker};

/// What texts are masked with.
#[derive(Debug)]
pub(crate) struct Texts<'a> {
    pub(crate) masker: &'a Masker,
    pub(crate) counts: &'a mut MaskCounts,
    /// Texts may carry the value of a masked column: nothing that the server made of values passes.
    pub(crate) withhold: bool,
}

/// Appends an `ErrorResponse` or `NoticeResponse` (`tag`) with its texts masked or withheld.
///
/// Withheld: only severity, SQLSTATE, position, and where in the server's source it arose are kept; a message that
/// could quote a value is replaced, its details are dropped
/// (<https://www.postgresql.org/docs/18/protocol-error-fields.html>).
///
/// # Errors
/// The message cannot be read; then nothing of it may pass.
pub(crate) fn report(frame: &[u8], texts: Texts<'_>, out: &mut BytesMut) -> Result<(), Malformed> {
    let start = out.len();
    let done = put_report(frame, texts, out);
    if done.is_err() {
        // Half a message would make the client misread whatever is said behind it.
        out.truncate(start);
    }
    done
}

fn put_report(frame: &[u8], mut texts: Texts<'_>, out: &mut BytesMut) -> Result<(), Malformed> {
    let mut body = Body::new(frame);
    let tag = body.u8()?;
    body.u32()?;
    let start = out.len();
    out.put_u8(tag);
    out.put_u32(0);
    let code = crate::upstream::sqlstate(crate::frame::body(frame));
    loop {
        let field = body.u8()?;
        if field == 0 {
            break;
        }
        let value = body.cstring()?;
        match field {
            // severity, severity in English, SQLSTATE, position, source file, line, routine
            b'S' | b'V' | b'C' | b'P' | b'F' | b'L' | b'R' => put_field(field, value, out),
            b'M' if texts.withhold => {
                let message =
                    format!("message withheld: the command touches masked columns (SQLSTATE {code})");
                put_field(field, message.as_bytes(), out);
            }
            _ if texts.withhold => {}
            _ => put_field(field, &texts.text(value), out),
        }
    }
    body.end()?;
    out.put_u8(0);
    patch_length(start, out)
}

/// Appends a `NotificationResponse` with its payload masked or withheld.
///
/// # Errors
/// The message cannot be read; then nothing of it may pass.
pub(crate) fn notification(frame: &[u8], mut texts: Texts<'_>, out: &mut BytesMut) -> Result<(), Malformed> {
    let mut body = Body::new(crate::frame::body(frame));
    let process = body.i32()?;
    let (channel, payload) = (body.cstring()?, body.cstring()?);
    body.end()?;
    let start = out.len();
    out.put_u8(b'A');
    out.put_u32(0);
    out.put_i32(process);
    out.put_slice(&without_nul(&texts.text(channel)));
    out.put_u8(0);
    if texts.withhold && !payload.is_empty() {
        out.put_slice(b"[MASKED:notification]");
        texts.counts.0.entry("notification".to_owned()).and_modify(|count| *count += 1).or_insert(1);
    } else {
        out.put_slice(&without_nul(&texts.text(payload)));
    }
    out.put_u8(0);
    patch_length(start, out)
}

/// Appends a `ParameterStatus` with its value masked.
///
/// # Errors
/// The message cannot be read; then nothing of it may pass.
pub(crate) fn parameter_status(
    frame: &[u8],
    mut texts: Texts<'_>,
    out: &mut BytesMut,
) -> Result<(), Malformed> {
    let mut body = Body::new(crate::frame::body(frame));
    let (name, value) = (body.cstring()?, body.cstring()?);
    body.end()?;
    let start = out.len();
    out.put_u8(b'S');
    out.put_u32(0);
    out.put_slice(name);
    out.put_u8(0);
    out.put_slice(&without_nul(&texts.text(value)));
    out.put_u8(0);
    patch_length(start, out)
}

impl Texts<'_> {
    fn text<'t>(&mut self, text: &'t [u8]) -> std::borrow::Cow<'t, [u8]> {
        self.masker.text(text, self.counts)
    }
}

fn put_field(field: u8, value: &[u8], out: &mut BytesMut) {
    out.put_u8(field);
    out.put_slice(&without_nul(value));
    out.put_u8(0);
}

/// A NUL of a mask's own would cut the message short.
fn without_nul(text: &[u8]) -> Vec<u8> {
    text.iter().map(|byte| if *byte == 0 { b' ' } else { *byte }).collect()
}

#[cfg(test)]
mod tests {
    use super::{Texts, report};
    use bytes::BytesMut;
    use proxy_core::mask::{MaskCounts, Masker};

    #[test]
    fn nothing_is_left_of_a_report_that_cannot_be_read() {
        let (masker, mut counts) = (Masker::new(&[], &[0; 32]), MaskCounts::default());
        let mut out = BytesMut::from("before");
        let texts = Texts { masker: &masker, counts: &mut counts, withhold: false };
        assert!(report(b"N\0\0\0\x0cSERROR\0M", texts, &mut out).is_err());
        assert_eq!(out, "before");
    }
}
