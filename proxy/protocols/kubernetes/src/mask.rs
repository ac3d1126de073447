//! Masks over what the API server answers, and over what a client writes before that is recorded.
//!
//! ```text
//! body ─► gunzip ─► split: documents, elements of lists ─► object: fields, embedded objects, detectors ─► client
//! ```
//!
//! * Values of Secrets are always masked, wherever a Secret stands: in lists, Tables, events, metadata, inside
//!   `last-applied-configuration`, inside other objects. So are tokens that are minted, and signing requests.
//! * Fields that policies name are masked in the objects of their resource, in every form of answer.
//! * Detectors look at every other text, keys included; a value is seen together with the name that gives it away
//!   (`{name: DB_PASSWORD, value: …}`, `data: {password: …}`, `--password …`).
//! * What cannot be read is refused ([`Unmaskable`]), never passed. [`negotiate`] asks for what can be.
//!
//! Nothing is collected: of a list one element is held, of a watch one event, of a log one line. Where nothing can be
//! masked, bytes are copied ([`BodyMasker::is_transparent`]).

mod accept;
mod embed;
mod gunzip;
mod header;
mod object;
mod rules;
mod scan;
mod search;
mod split;
mod telling;
mod value;
mod yaml;

#[cfg(test)]
mod tests;

pub use accept::negotiate;
pub(crate) use embed::may_hold_objects;
pub(crate) use rules::Rules;

use crate::request::{Refused, RequestInfo};
use gunzip::Gunzip;
use object::Place;
use proxy_core::mask::{MaskCounts, Masker, StreamMasker};
use proxy_policy::FieldChoice;
use split::{Sink, Splitter};
use std::sync::Arc;
use yaml::Yaml;

/// Largest object, event or element of a list that is masked, in bytes. etcd holds objects of 1.5 MiB.
pub const OBJECT_LIMIT: usize = 8 * 1024 * 1024;

/// Why an answer cannot be masked. Nothing more of it may be given out.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unmaskable {
    /// It is not what its type says.
    #[error("the answer is not well-formed, so it cannot be masked")]
    Malformed,
    /// Nested too deep.
    #[error("the answer is nested too deep to be masked")]
    TooDeep,
    /// An object is larger than [`OBJECT_LIMIT`].
    #[error("the answer has an object too large to be masked")]
    TooLarge,
}

/// Masks of one identity on one cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Masks {
    masker: Masker,
    fields: Arc<[FieldChoice]>,
}

impl Masks {
    /// Detectors and fields that the policies of an identity name; what is always masked is added.
    pub fn new(masker: Masker, fields: &[FieldChoice]) -> Self {
        Self { masker, fields: fields.into() }
    }

    /// Whether both mask the same, alike.
    pub(crate) fn are(&self, other: &Self) -> bool {
        self.masker.masks_as(&other.masker) && self.fields == other.fields
    }

    /// What masks the answer to a request.
    ///
    /// # Errors
    /// [`Refused`] (502): the answer's type or encoding is none that can be masked, and a mask is needed.
    pub fn response(&self, info: &RequestInfo, answer: Answer<'_>) -> Result<BodyMasker, Refused> {
        let rules = Rules::of(self, info);
        let mut body = BodyMasker {
            masks: self.clone(),
            rules,
            counts: MaskCounts::default(),
            gunzip: None,
            format: Format::Transparent,
        };
        // these have no body, whatever their headers say
        if !self.rewrites(info) || matches!(answer.status, 204 | 304) {
            return Ok(body);
        }
        body.gunzip = match answer.content_encoding.map(str::trim).unwrap_or_default() {
            "" | "identity" => None,
            "gzip" => Some(Gunzip::new()),
            _ => return Err(unreadable("its encoding")),
        };
        body.format = self.format(info, answer)?;
        Ok(body)
    }

    fn format(&self, info: &RequestInfo, answer: Answer<'_>) -> Result<Format, Refused> {
        let text = || Format::Text(StreamMasker::new(self.masker.clone()));
        if info.is_proxy() {
            return Ok(text());
        }
        match accept::essence(answer.content_type.unwrap_or_default()).as_str() {
            "application/json" => Ok(Format::Json(Splitter::new())),
            "application/yaml" => Ok(Format::Yaml(Yaml::default())),
            // logs, errors of the server's own router
            essence if essence.is_empty() || essence.starts_with("text/") => Ok(text()),
            "application/octet-stream" if info.subresource == "log" => Ok(text()),
            _ => Err(unreadable("its media type")),
        }
    }

    /// Whether answers to a request are read at all.
    ///
    /// Discovery and `OpenAPI` describe types to every client alike.
    pub fn rewrites(&self, info: &RequestInfo) -> bool {
        if !info.is_resource && crate::analyze::is_discovery(info) {
            return false;
        }
        self.masker.has_detectors()
            || (info.is_resource && (may_hold_objects(info) || Rules::of(self, info).any()))
    }

    /// What masks the fields of a request's objects.
    pub(crate) fn rules(&self, info: &RequestInfo) -> Rules {
        Rules::of(self, info)
    }

    /// A message, a warning, a name: whatever is text by itself.
    pub fn text(&self, text: &str) -> String {
        value::text(self, None, text, &mut MaskCounts::default()).unwrap_or_else(|| text.to_owned())
    }

    /// The value of a parameter, or a word of a command line, seen with the name before it.
    pub(crate) fn value(&self, name: &str, text: &str) -> String {
        let context = (telling::is_telling(name) || telling::is_flag(name)).then_some(name);
        let mut counts = MaskCounts::default();
        value::text(self, context, text, &mut counts).unwrap_or_else(|| text.to_owned())
    }

    /// An object that a client writes, as it may be recorded and judged.
    pub(crate) fn object(
        &self,
        info: &RequestInfo,
        object: &serde_json::Value,
    ) -> Result<serde_json::Value, Unmaskable> {
        let rules = Rules::of(self, info);
        let (mut counts, mut out) = (MaskCounts::default(), Vec::new());
        object::mask(&object.to_string(), Place::Document, (self, &rules), &mut counts, &mut out)?;
        serde_json::from_slice(&out).map_err(|_impossible| Unmaskable::Malformed)
    }
}

/// The answer cannot be masked.
fn unreadable(what: &str) -> Refused {
    let message = format!("the API server's answer cannot be masked because of {what}; ask for JSON");
    Refused { code: 502, reason: "BadGateway", message }
}

/// What the headers of an answer say of its body.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answer<'a> {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: Option<&'a str>,
    /// `Content-Encoding`.
    pub content_encoding: Option<&'a str>,
}

/// Masks one body as it arrives. What comes out is not encoded.
#[derive(Debug)]
pub struct BodyMasker {
    masks: Masks,
    rules: Rules,
    counts: MaskCounts,
    gunzip: Option<Gunzip>,
    format: Format,
}

#[derive(Debug)]
enum Format {
    /// Nothing is masked.
    Transparent,
    Json(Splitter),
    Yaml(Yaml),
    Text(StreamMasker),
}

impl BodyMasker {
    /// Whether bytes may be copied as they are, encoding included.
    pub const fn is_transparent(&self) -> bool {
        matches!(self.format, Format::Transparent)
    }

    /// Takes the next bytes of the body and appends to `out` what can be given out. Holds back at most
    /// [`OBJECT_LIMIT`] and what was pushed.
    ///
    /// # Errors
    /// [`Unmaskable`]: the body must end here, unfinished.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Unmaskable> {
        let Self { masks, rules, counts, gunzip, format } = self;
        let mut sink = Sink { masks, rules, counts, out };
        match gunzip {
            None => format.push(bytes, &mut sink),
            Some(gunzip) => gunzip.push(bytes, |piece| format.push(piece, &mut sink)),
        }
    }

    /// The body has ended: gives out the rest.
    ///
    /// # Errors
    /// [`Unmaskable`]: the body is cut short.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Unmaskable> {
        let Self { masks, rules, counts, gunzip, format } = self;
        let mut sink = Sink { masks, rules, counts, out };
        if let Some(gunzip) = gunzip {
            gunzip.finish(|piece| format.push(piece, &mut sink))?;
        }
        format.finish(&mut sink)
    }

    /// What was masked so far: names and counts.
    pub const fn counts(&self) -> &MaskCounts {
        &self.counts
    }
}

impl Format {
    fn push(&mut self, bytes: &[u8], sink: &mut Sink<'_>) -> Result<(), Unmaskable> {
        match self {
            Self::Transparent => sink.out.extend_from_slice(bytes),
            Self::Json(splitter) => return splitter.push(bytes, sink),
            Self::Yaml(yaml) => return yaml.push(bytes),
            Self::Text(text) => {
                text.push(bytes, sink.out);
                note(text, sink);
            }
        }
        Ok(())
    }

    fn finish(&mut self, sink: &mut Sink<'_>) -> Result<(), Unmaskable> {
        match self {
            Self::Transparent => Ok(()),
            Self::Json(splitter) => splitter.finish(sink),
            Self::Yaml(yaml) => yaml.finish(sink),
            Self::Text(text) => {
                text.finish(sink.out);
                note(text, sink);
                Ok(())
            }
        }
    }
}

/// Takes over what a text's own masker counted.
fn note(text: &StreamMasker, sink: &mut Sink<'_>) {
    if text.counts() != sink.counts {
        sink.counts.clone_from(text.counts());
    }
}
