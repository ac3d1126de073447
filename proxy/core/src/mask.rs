//! Masking of values and texts: detectors, mask kinds, streams.
//!
//! Which column is masked is policy's answer ([`proxy_policy::MaskPlan`]); how a frame is rebuilt is the
//! protocol's. This room knows bytes of one value, or of one text, and hides what must be hidden.

use proxy_policy::{DetectorChoice, Mask};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Names and counts of what was masked, never values.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct MaskCounts(pub BTreeMap<String, u64>);

/// Masks of one identity on one resource: compiled detectors and the tenant key. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Masker {
    _inner: Arc<()>,
}

impl Masker {
    /// Compiles the choices; compiled rule sets are shared by all maskers with the same choices.
    pub fn new(_choices: &[DetectorChoice], _tenant_key: &[u8; 32]) -> Self {
        Self { _inner: Arc::new(()) }
    }

    /// Whether there are any detectors: if not, texts pass untouched.
    pub fn has_detectors(&self) -> bool {
        false
    }

    /// Hides every finding in one complete value or text. Borrowed when there is none.
    pub fn text<'a>(&self, text: &'a [u8], _counts: &mut MaskCounts) -> Cow<'a, [u8]> {
        Cow::Borrowed(text)
    }

    /// Masks one whole text value by a column rule; `None` is NULL.
    pub fn value(
        &self,
        _mask: &Mask,
        _name: &str,
        _value: &[u8],
        _counts: &mut MaskCounts,
    ) -> Option<Vec<u8>> {
        None
    }
}
