//! `bytea` written as text: `\x` and hexadecimal, or printable characters and the others in octal (`bytea_output`), also
//! inside lists, rows and messages (<https://www.postgresql.org/docs/18/datatype-binary.html>).

use proxy_core::mask::{MaskCounts, Masker};
use std::borrow::Cow;
use std::ops::Range;

/// As [`Masker::text`]; and what is found in bytes that are written as text is hidden, and written as they were.
pub(super) fn masked<'t>(masker: &Masker, text: &'t [u8], counts: &mut MaskCounts) -> Cow<'t, [u8]> {
    let plain = masker.text(text, counts);
    if !masker.has_detectors() || memchr::memchr(b'\\', &plain).is_none() {
        return plain;
    }
    let hidden = hexadecimal(masker, &plain, counts);
    let hidden = octal(masker, hidden.as_deref().unwrap_or(&plain), counts).or(hidden);
    hidden.map_or(plain, Cow::Owned)
}

/// Whether [`masked`] may hide something in bytes that are written in this text.
pub(super) fn may_match(masker: &Masker, text: &[u8]) -> bool {
    memchr::memchr(b'\\', text).is_some()
        && (runs(text).any(|run| masker.row_may_match(&read_hexadecimal(text, run)))
            || read_octal(text).is_some_and(|bytes| masker.row_may_match(&bytes)))
}

/// Fewer bytes than this are no secret.
const SHORTEST: usize = 6;

/// Where hexadecimal digits stand behind `\x`.
fn runs(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    memchr::memmem::find_iter(text, b"\\x").filter_map(|at| {
        let start = at.saturating_add(2);
        let digits = text.get(start..)?.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let digits = digits - digits % 2;
        (digits >= 2 * SHORTEST).then_some(start..start.saturating_add(digits))
    })
}

fn read_hexadecimal(text: &[u8], run: Range<usize>) -> Vec<u8> {
    text.get(run).and_then(|digits| const_hex::decode(digits).ok()).unwrap_or_default()
}

fn hexadecimal(masker: &Masker, text: &[u8], counts: &mut MaskCounts) -> Option<Vec<u8>> {
    let (mut out, mut done) = (Vec::new(), 0);
    for run in runs(text) {
        let bytes = read_hexadecimal(text, run.clone());
        let Cow::Owned(hidden) = masker.text(&bytes, counts) else { continue };
        out.extend_from_slice(text.get(done..run.start).unwrap_or_default());
        out.extend_from_slice(const_hex::encode(hidden).as_bytes());
        done = run.end;
    }
    (done > 0).then(|| {
        out.extend_from_slice(text.get(done..).unwrap_or_default());
        out
    })
}

fn octal(masker: &Masker, text: &[u8], counts: &mut MaskCounts) -> Option<Vec<u8>> {
    let bytes = read_octal(text)?;
    let Cow::Owned(hidden) = masker.text(&bytes, counts) else { return None };
    let mut out = Vec::with_capacity(hidden.len());
    for byte in hidden {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b' '..=b'~' => out.push(byte),
            _ => out.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
        }
    }
    Some(out)
}

/// The bytes, if any are in octal.
fn read_octal(text: &[u8]) -> Option<Vec<u8>> {
    let byte = |digits: &[u8]| match digits {
        [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
            Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
        }
        _ => None,
    };
    let mut starts = memchr::memchr_iter(b'\\', text);
    let first = starts.find(|at| text.get(at.saturating_add(1)..).and_then(byte).is_some());
    first?;
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some((next, after)) = rest.split_first() {
        let (read, behind) = match (next, byte(after)) {
            (b'\\', Some(read)) => (read, after.get(3..).unwrap_or_default()),
            (b'\\', None) => match after.strip_prefix(b"\\") {
                Some(behind) => (b'\\', behind),
                None => (b'\\', after),
            },
            (other, _) => (*other, after),
        };
        bytes.push(read);
        rest = behind;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proxy_policy::{Detector, DetectorChoice, Mask};

    fn secrets() -> Masker {
        let detectors = vec![Detector::Secrets];
        Masker::new(&[DetectorChoice { detectors, patterns: vec![], with: Mask::default() }], &[0; 32])
    }

    const KEY: &str = "AKIAQ3EGRIOD5NMXLWPZ";

    fn hidden(text: &str) -> String {
        let (masker, mut counts) = (secrets(), MaskCounts::default());
        let out = masked(&masker, text.as_bytes(), &mut counts);
        assert_eq!(counts.total() > 0, matches!(out, Cow::Owned(_)), "{text}");
        let may_match = may_match(&masker, text.as_bytes()) || masker.row_may_match(text.as_bytes());
        assert!(counts.total() == 0 || may_match, "{text}");
        String::from_utf8(out.into_owned()).unwrap()
    }

    #[test]
    fn what_is_written_in_hexadecimal_is_found() {
        let written = const_hex::encode(KEY);
        for around in
            ["\\xIT", "{\"\\\\x00IT0a\",NULL}", "(1,\"\\\\xIT\")", "Key (b)=(\\xIT) exists", "\\xITf"]
        {
            let text = around.replace("IT", &written);
            let got = hidden(&text);
            assert!(!got.contains(&written) && got.contains(&const_hex::encode("[MASKED:")), "{text}: {got}");
        }
        for clean in ["\\x", "\\x00", "C:\\xerox", "\\x68656c6c6f20776f726c64"] {
            assert_eq!(hidden(clean), clean);
        }
    }

    #[test]
    fn what_is_written_in_octal_is_found() {
        assert_eq!(
            hidden(&format!("a\\\\b\\012{KEY}\\000\\377")),
            "a\\\\b\\012[MASKED:aws-access-key]\\000\\377"
        );
        let split: Vec<String> = KEY.bytes().map(|byte| format!("\\{byte:03o}")).collect();
        assert_eq!(hidden(&split.concat()), "[MASKED:aws-access-key]");
        assert_eq!(hidden("a\\\\b\\012c"), "a\\\\b\\012c");
    }

    proptest! {
        #[test]
        fn what_is_read_in_octal_is_what_was_written(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let written: Vec<u8> = bytes.iter().flat_map(|byte| match byte {
                b'\\' => b"\\\\".to_vec(),
                b' '..=b'~' => vec![*byte],
                _ => format!("\\{byte:03o}").into_bytes(),
            }).collect();
            let is_escaped = bytes.iter().any(|byte| !(b' '..=b'~').contains(byte));
            // A backslash before digits, written as two, looks as if it were one byte in octal.
            if let Some(read) = read_octal(&written) {
                prop_assert_eq!(read, bytes);
            } else {
                prop_assert!(!is_escaped);
            }
        }
    }
}
