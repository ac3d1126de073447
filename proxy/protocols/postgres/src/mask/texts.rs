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
    pub(crate) withhold: Withhold,
}

/// What of a text does not pass.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Withhold {
    /// Findings alone.
    Findings,
    /// Columns are masked, be it none that the command names: a constraint quotes whole rows in the details of its error,
    /// those of other tables too, to which a foreign key or a trigger leads; and what functions say is their own.
    Rows,
    /// The text may carry the value of a masked column: nothing that the server made of values passes.
    Values,
}

impl Withhold {
    /// What may be quoted where columns are masked.
    pub(crate) const fn values(masked: bool) -> Self {
        if masked { Self::Values } else { Self::Findings }
    }

    const fn is_values(self) -> bool {
        matches!(self, Self::Values)
    }
}

/// Appends an `ErrorResponse` or `NoticeResponse` (`tag`) with its texts masked or withheld.
///
/// Withheld as values: only severity, SQLSTATE, position, and where in the server's source it arose are kept; a message that
/// could quote a value is replaced, its details are dropped
/// (<https://www.postgresql.org/docs/18/protocol-error-fields.html>). The message of a mistake in the statement's own
/// text is kept: it quotes names that the client wrote.
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
    let quotes_the_text = quotes_the_text(crate::frame::body(frame), &code);
    let withholds_details = texts.withhold != Withhold::Findings && !quotes_the_text;
    let withholds_message = match texts.withhold {
        Withhold::Findings => false,
        Withhold::Rows => is_of_a_function(crate::frame::body(frame)),
        Withhold::Values => !quotes_the_text,
    };
    loop {
        let field = body.u8()?;
        if field == 0 {
            break;
        }
        let value = body.cstring()?;
        match field {
            // severity, severity in English, SQLSTATE, position, source file, line, routine
            b'S' | b'V' | b'C' | b'P' | b'F' | b'L' | b'R' => put_field(field, value, out),
            b'M' if withholds_message => {
                let why = if texts.withhold.is_values() {
                    "the command touches masked columns"
                } else {
                    "columns are masked, and it comes from within a function"
                };
                put_field(field, format!("message withheld: {why} (SQLSTATE {code})").as_bytes(), out);
            }
            // names of what the error is about, by which programs decide, and of a copy from the client what it sent
            b's' | b't' | b'c' | b'd' | b'n' | b'W'
                if texts.withhold == Withhold::Rows && !withholds_message =>
            {
                put_field(field, &texts.text(value), out);
            }
            _ if field != b'M' && (withholds_details || texts.withhold.is_values()) => {}
            _ => put_field(field, &texts.text(value), out),
        }
    }
    body.end()?;
    out.put_u8(0);
    patch_length(start, out)
}

/// Mistakes in a statement's text that the server finds before it has read any row: syntax, and names, types and
/// functions that do not exist or do not fit (<https://www.postgresql.org/docs/18/errcodes-appendix.html>).
const MISTAKES: &[&str] =
    &["42601", "42702", "42703", "42704", "42725", "42803", "42804", "42846", "42883", "42P01", "42P02"];

/// Whether a report is about the client's own text: one of those codes, with a place in that text. Statements that are
/// made of values (in functions, `DO`, `EXECUTE`) fail with a context or a place in an internal query instead, and
/// values that name something (`ssn::regclass`) without any place.
fn quotes_the_text(body: &[u8], code: &str) -> bool {
    let within = |field: u8| matches!(field, b'W' | b'p' | b'q');
    MISTAKES.contains(&code) && fields(body).any(|field| field == b'P') && !fields(body).any(within)
}

/// Whether a report comes from within a function: it has a context that is not a copy's own.
fn is_of_a_function(body: &[u8]) -> bool {
    let mut contexts = body.split(|byte| *byte == 0).filter_map(|field| field.strip_prefix(b"W"));
    contexts.any(|context| !context.starts_with(b"COPY ") || context.contains(&b'\n'))
}

/// The fields of a report.
fn fields(body: &[u8]) -> impl Iterator<Item = u8> {
    body.split(|byte| *byte == 0).filter_map(|field| field.first().copied())
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
    if texts.withhold.is_values() && !payload.is_empty() {
        out.put_slice(b"[MASKED:notification]");
        texts.counts.0.entry("notification".to_owned()).and_modify(|count| *count += 1).or_insert(1);
    } else {
        out.put_slice(&without_nul(&texts.text(payload)));
    }
    out.put_u8(0);
    patch_length(start, out)
}

/// Parameters of which PostgreSQL knows every value.
const CLOSED: &[&[u8]] = &[
    b"client_encoding",
    b"DateStyle",
    b"default_transaction_read_only",
    b"in_hot_standby",
    b"integer_datetimes",
    b"IntervalStyle",
    b"is_superuser",
    b"scram_iterations",
    b"server_encoding",
    b"server_version",
    b"standard_conforming_strings",
];

/// Appends a `ParameterStatus` with its value masked, or withheld where it can be any text.
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
    if texts.withhold.is_values() && !CLOSED.contains(&name) {
        out.put_slice(b"[MASKED:setting]");
    } else {
        out.put_slice(&without_nul(&texts.text(value)));
    }
    out.put_u8(0);
    patch_length(start, out)
}

impl Texts<'_> {
    fn text<'t>(&mut self, text: &'t [u8]) -> std::borrow::Cow<'t, [u8]> {
        super::escaped::masked(self.masker, text, self.counts)
    }

    /// As it can stand in a field.
    pub(super) fn line(&mut self, text: &[u8]) -> Vec<u8> {
        without_nul(&self.text(text))
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
    use super::{Texts, Withhold, report};
    use bytes::BytesMut;
    use proxy_core::mask::{MaskCounts, Masker};

    fn withheld(fields: &str) -> String {
        let (masker, mut counts) = (Masker::new(&[], &[0; 32]), MaskCounts::default());
        let mut frame = BytesMut::from("E\0\0\0\0");
        frame.extend_from_slice(fields.replace('|', "\0").as_bytes());
        frame.extend_from_slice(b"\0\0");
        super::patch_length(0, &mut frame).unwrap();
        let mut out = BytesMut::new();
        let texts = Texts { masker: &masker, counts: &mut counts, withhold: Withhold::Values };
        report(&frame, texts, &mut out).unwrap();
        String::from_utf8_lossy(&out).replace('\0', "|")
    }

    #[test]
    fn a_mistake_in_the_text_is_told_and_whatever_could_quote_a_value_is_withheld() {
        let told = withheld("SERROR|C42703|Mcolumn \"nothing\" does not exist|HPerhaps you meant it|P8");
        assert!(told.contains("does not exist") && !told.contains("Perhaps"), "{told}");
        for fields in [
            "SERROR|C42703|Mcolumn \"secret\" does not exist|p8|qselect \"secret\"|WPL/pgSQL function",
            "SERROR|C42703|Mcolumn \"secret\" does not exist|P8|WSQL function",
            "SERROR|C42P01|Mrelation \"secret\" does not exist",
            "SERROR|C22P02|Minvalid input syntax for type integer: \"secret\"|P8",
            "SERROR|C23505|Mduplicate|DKey (ssn)=(secret)",
        ] {
            assert!(!withheld(fields).contains("secret"), "{fields}");
        }
    }

    #[test]
    fn nothing_is_left_of_a_report_that_cannot_be_read() {
        let (masker, mut counts) = (Masker::new(&[], &[0; 32]), MaskCounts::default());
        let mut out = BytesMut::from("before");
        let texts = Texts { masker: &masker, counts: &mut counts, withhold: Withhold::Findings };
        assert!(report(b"N\0\0\0\x0cSERROR\0M", texts, &mut out).is_err());
        assert_eq!(out, "before");
    }
}
