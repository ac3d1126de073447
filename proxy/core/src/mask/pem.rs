//! PEM private keys: many lines, with or without an end, also wrapped in base64.

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::{alphabet, engine::DecodePaddingMode};

/// How far behind `-----BEGIN` the end is looked for, in bytes. What goes on longer and is nothing but key material
/// is hidden up to its end, however far.
pub(super) const REACH: usize = 16 * 1024;

/// Shortest key material worth hiding: less is a mention, not a key.
const MATERIAL: usize = 32;

/// Bytes in which the header line must end.
const HEADER: usize = 130;

/// Keyword of a header, in lower case.
pub(super) const BEGIN: &str = "-----begin";
/// Keyword of a header wrapped in base64, in lower case.
pub(super) const WRAPPED: &str = "ls0tls1crudjti";

/// Finds the private key whose header starts at `start`.
pub(super) fn key(text: &[u8], start: usize) -> Option<(usize, usize)> {
    let body = start + header(text.get(start..)?)?;
    let rest = text.get(body..)?;
    let near = rest.get(..REACH).unwrap_or(rest);
    if let Some(end) = footer(near) {
        return has_material(rest.get(..end)?).then_some((start, body + end));
    }
    let material = material(rest);
    if material >= REACH {
        // longer than any key: hide all of it, up to an end if there is one
        let end = footer(rest).unwrap_or(rest.len());
        return Some((start, body + end.max(material)));
    }
    has_material(rest.get(..material)?).then_some((start, body + material))
}

/// Length of a private key's header at the start of `text`.
pub(super) fn header(text: &[u8]) -> Option<usize> {
    let line = text.get(..HEADER).unwrap_or(text);
    let rest = line.get(BEGIN.len()..)?;
    let dashes = rest.windows(5).position(|window| window == b"-----")?;
    let label = rest.get(..dashes)?.to_ascii_uppercase();
    let is_label = label.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b' ' | b'_' | b'-'));
    let is_key = label.windows(11).any(|window| window == b"PRIVATE KEY");
    (is_label && is_key).then_some(BEGIN.len() + dashes + 5)
}

/// Where the end line in `text` ends.
pub(super) fn footer(text: &[u8]) -> Option<usize> {
    let line = text.windows(8).position(|window| window.eq_ignore_ascii_case(b"-----END"))?;
    let rest = text.get(line + 8..)?;
    let near = rest.get(..HEADER).unwrap_or(rest);
    let dashes = near.windows(5).position(|window| window == b"-----");
    Some(line + 8 + dashes.map_or(0, |at| at + 5))
}

/// Bytes in which an end line must be found whole.
pub(super) const FOOTER: usize = HEADER + 8;

/// Where the end line in `text` ends, once enough of it is there to tell.
pub(super) fn whole_footer(text: &[u8]) -> Option<usize> {
    let line = text.windows(8).position(|window| window.eq_ignore_ascii_case(b"-----END"))?;
    let end = footer(text)?;
    (end > line + 8 || text.len() >= line + FOOTER).then_some(end)
}

/// Whether nothing in `text` is other than key material.
pub(super) fn is_material(text: &[u8]) -> bool {
    material(text) == text.len()
}

/// Length of what can be key material, its headers, and line ends written in any way.
fn material(text: &[u8]) -> usize {
    text.iter()
        .position(|b| {
            !(b.is_ascii_alphanumeric()
                || matches!(
                    b,
                    b'+' | b'/'
                        | b'='
                        | b'\\'
                        | b'\n'
                        | b'\r'
                        | b' '
                        | b'\t'
                        | b':'
                        | b','
                        | b'-'
                        | b'"'
                        | b'\''
                ))
        })
        .unwrap_or(text.len())
}

/// Whether there is one unbroken piece of base64 long enough.
fn has_material(text: &[u8]) -> bool {
    text.split(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=')))
        .any(|piece| piece.len() >= MATERIAL)
}

/// Finds the base64 of a private key that starts at `start`.
pub(super) fn wrapped(text: &[u8], start: usize) -> Option<(usize, usize)> {
    let rest = text.get(start..)?;
    // the header first: it is cheap, and most of what starts like this is no key
    let near = rest.get(..256).unwrap_or(rest);
    let head: Vec<u8> = near
        .iter()
        .copied()
        .take_while(|b| is_base64(*b) || matches!(b, b'\n' | b'\r'))
        .filter(|b| is_base64(*b))
        .take(160)
        .collect();
    header(&decoded(&head)?)?;
    let mut length = 0;
    while let Some(byte) = rest.get(length) {
        let is_break = matches!(byte, b'\n' | b'\r')
            && rest.get(length + 1).is_some_and(|next| is_base64(*next) || *next == b'\n');
        if !is_base64(*byte) && !is_break {
            break;
        }
        length += 1;
    }
    Some((start, start + length))
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_')
}

/// Decodes base64, standard or for URLs, padded or not; a last incomplete group is left out.
pub(super) fn decoded(base64: &[u8]) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let mut standard: Vec<u8> = base64
        .iter()
        .filter(|b| !matches!(b, b'\r' | b'\n' | b'\\'))
        .map(|b| match b {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        })
        .collect();
    while standard.last() == Some(&b'=') {
        standard.pop();
    }
    if standard.len() % 4 == 1 {
        standard.pop();
    }
    GeneralPurpose::new(&alphabet::STANDARD, LENIENT).decode(standard).ok()
}
