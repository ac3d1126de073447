//! One value, or one text, with what must be hidden hidden.

use super::Masks;
use super::rules::Field;
use super::telling::{PASSWORD, shown};
use base64::Engine as _;
use proxy_core::mask::MaskCounts;
use proxy_policy::MaskType;
use std::borrow::Cow;

/// What stands in place of a field's value; `None` is NULL.
pub(super) fn field(masks: &Masks, field: &Field, value: &str, counts: &mut MaskCounts) -> Option<String> {
    let mut mask = field.mask.clone();
    if field.base64 && mask.type_ == MaskType::Partial {
        // the last characters of base64 are not the value's own
        mask.type_ = MaskType::Redact;
    }
    let masked = masks.masker.value(&mask, &field.name, value.as_bytes(), counts)?;
    let shown = String::from_utf8_lossy(&masked).into_owned();
    Some(if field.base64 { base64::engine::general_purpose::STANDARD.encode(shown) } else { shown })
}

/// A text with its findings hidden; `None`: there are none.
pub(super) fn text(
    masks: &Masks,
    context: Option<&str>,
    value: &str,
    counts: &mut MaskCounts,
) -> Option<String> {
    let Some(context) = context else {
        return match masks.masker.text(value.as_bytes(), counts) {
            Cow::Borrowed(_) => None,
            Cow::Owned(masked) => Some(String::from_utf8_lossy(&masked).into_owned()),
        };
    };
    let context = shown(context);
    let assigned = format!("{context}={value}");
    let masked = match masks.masker.text(assigned.as_bytes(), counts) {
        Cow::Borrowed(_) => return text(masks, None, value, counts),
        Cow::Owned(masked) => String::from_utf8_lossy(&masked).into_owned(),
    };
    if context == PASSWORD {
        // where it ends is the value's end, whatever a connection string would say
        return Some("[MASKED:password]".to_owned());
    }
    let rest = masked.strip_prefix(context).and_then(|rest| rest.strip_prefix('='));
    // where the finding began in the name, nobody can say how much of the value it was
    let value = rest.map_or_else(|| "[MASKED:secret]".to_owned(), str::to_owned);
    Some(text(masks, None, &value, counts).unwrap_or(value))
}

/// A JSON string.
pub(super) fn quoted(text: &str) -> Vec<u8> {
    // a string always has a JSON form
    serde_json::to_vec(text).unwrap_or_else(|_impossible| b"null".to_vec())
}
