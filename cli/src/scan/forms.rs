//! The forms in which a value may be hidden in something else. Those that can be written in many ways are undone instead:
//! see `views`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// A value in one form.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Form {
    /// What the form is called.
    pub(super) name: &'static str,
    /// Its bytes.
    pub(super) bytes: Vec<u8>,
}

/// Names of all forms, as a report says them.
pub(super) const NAMES: &str = "as it is, reversed, base64 (three alignments, both alphabets) and hexadecimal (both also broken into lines), percent-encoded, escaped as in JSON, UTF-16 (both orders)";

/// Name of the form that is none.
pub(super) const AS_IT_IS: &str = "as it is";

/// Names of the forms that are often broken into lines.
pub(super) const IN_LINES: [&str; 2] = ["base64", "hexadecimal"];

/// All forms of a value, each once.
pub(super) fn forms(value: &[u8]) -> Vec<Form> {
    let mut forms = vec![
        Form { name: AS_IT_IS, bytes: value.to_vec() },
        Form { name: "reversed", bytes: reversed(value) },
        Form { name: "hexadecimal", bytes: const_hex::encode(value).into_bytes() },
        Form { name: "hexadecimal", bytes: const_hex::encode(value).to_uppercase().into_bytes() },
    ];
    for alignment in 0..3 {
        forms.extend(base64(value, alignment).map(|bytes| Form { name: "base64", bytes }));
    }
    if let Ok(text) = std::str::from_utf8(value) {
        let little = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        forms.extend([little, big].map(|bytes| Form { name: "UTF-16", bytes }));
    }
    let mut distinct: Vec<Form> = Vec::new();
    for form in forms {
        if !distinct.iter().any(|known| known.bytes == form.bytes) {
            distinct.push(form);
        }
    }
    distinct
}

/// Of text its characters, of other bytes these.
fn reversed(value: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(value) {
        Ok(text) => text.chars().rev().collect::<String>().into_bytes(),
        Err(_) => value.iter().rev().copied().collect(),
    }
}

/// The characters that depend on the value alone when so many bytes precede it in its group of three, in both
/// alphabets.
fn base64(value: &[u8], alignment: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut padded = vec![0; alignment];
    padded.extend_from_slice(value);
    // The first character holds bits of what precedes, the last one of what follows.
    let first = (alignment * 8).div_ceil(6);
    let end = padded.len() * 8 / 6;
    [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)]
        .into_iter()
        .map(move |text| text.as_bytes().get(first..end).unwrap_or_default().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;

    fn found(haystack: &[u8], value: &[u8]) -> Vec<&'static str> {
        let within = |form: &Form| haystack.windows(form.bytes.len()).any(|window| window == form.bytes);
        forms(value).iter().filter(|form| within(form)).map(|form| form.name).collect()
    }

    #[test]
    fn a_value_is_found_in_every_form_whatever_is_around_it() {
        let value = b"hunter2-CANARY/7";
        for before in ["", "a", "ab", "abc", "key="] {
            for after in ["", "x", "xy", "\n"] {
                let text = [before.as_bytes(), value, after.as_bytes()].concat();
                assert_eq!(found(STANDARD.encode(&text).as_bytes(), value), ["base64"], "{before} {after}");
                assert!(found(URL_SAFE_NO_PAD.encode(&text).as_bytes(), value).contains(&"base64"));
            }
        }
        assert_eq!(found(b"...7/YRANAC-2retnuh...", value), ["reversed"]);
        assert_eq!(found(b"68756e746572322d43414e4152592f37", value), ["hexadecimal"]);
        assert_eq!(found(b"68756E746572322D43414E4152592F37", value), ["hexadecimal"]);
        let wide: Vec<u8> = "hunter2-CANARY/7".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(found(&wide, value), ["UTF-16"]);
        assert_eq!(found(b"hunter2 CANARY", value), [""; 0]);
    }
}
