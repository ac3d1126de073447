//! Answers in YAML: read whole, masked as JSON, written again.
//!
//! The API server writes YAML from JSON, one document with its keys sorted; so does this. kubectl does not ask for it
//! (`-o yaml` is made from JSON on the client), so that nothing is streamed here: an answer of more than
//! [`OBJECT_LIMIT`] bytes is refused.

use super::object::{self, Place};
use super::split::Sink;
use super::{OBJECT_LIMIT, Unmaskable};

/// Holds an answer until it is whole.
#[derive(Debug, Default)]
pub(super) struct Yaml {
    held: Vec<u8>,
}

impl Yaml {
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Unmaskable> {
        if self.held.len() + bytes.len() > OBJECT_LIMIT {
            return Err(Unmaskable::TooLarge);
        }
        self.held.extend_from_slice(bytes);
        Ok(())
    }

    pub(super) fn finish(&mut self, sink: &mut Sink<'_>) -> Result<(), Unmaskable> {
        let text = std::str::from_utf8(&self.held).map_err(|_not_utf8| Unmaskable::Malformed)?;
        if text.trim().is_empty() {
            return Ok(());
        }
        let value = crate::yaml::read(text).map_err(|_not_yaml| Unmaskable::Malformed)?;
        let mut masked = Vec::new();
        let rules = (sink.masks, sink.rules);
        object::mask(&value.to_string(), Place::Document, rules, sink.counts, &mut masked)?;
        let value: serde_json::Value =
            serde_json::from_slice(&masked).map_err(|_impossible| Unmaskable::Malformed)?;
        let written = crate::yaml::write(&value).map_err(|_impossible| Unmaskable::Malformed)?;
        sink.out.extend_from_slice(written.as_bytes());
        Ok(())
    }
}
