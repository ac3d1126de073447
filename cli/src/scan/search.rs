//! Looks for values in records, and in results across records.

use crate::scan::forms::{Form, forms};
use aho_corasick::AhoCorasick;
use proxy_audit::event::key;
use proxy_audit::record::Record;
use proxy_audit::stream::{MAGIC, StreamDecoder, StreamEvent};
use serde::Serialize;
use std::collections::HashMap;

/// Most results that are followed across records at once; those that were begun first are given up.
const MAX_RESULTS: usize = 4_096;

/// Bytes of a result or of a file that are kept for detectors, which need to see what is around a finding.
const KEPT_BYTES: usize = 4 << 10;

/// Where something was found.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Place {
    /// In a record.
    Record {
        /// Origin of the log.
        log: String,
        /// `portcullis.seq`; of a result, of the record in which the finding ends.
        sequence: u64,
        /// The session.
        session: Option<String>,
        /// Which part of the record.
        part: String,
    },
    /// In another file.
    File {
        /// Its path.
        file: String,
        /// Byte at which it begins.
        offset: u64,
    },
}

impl Place {
    pub(super) fn of(record: &Record, part: &str) -> Self {
        Self::Record {
            log: record.origin().to_owned(),
            sequence: record.sequence(),
            session: record.text(key::SESSION_ID).map(str::to_owned),
            part: part.to_owned(),
        }
    }
}

/// A search for some values.
pub(super) struct Search {
    automaton: AhoCorasick,
    /// Value and form of each pattern.
    patterns: Vec<(usize, Form)>,
    /// One byte less than the longest pattern.
    overlap: usize,
    /// Results that are being followed, by session and command.
    results: HashMap<(String, i64), Followed>,
    begun: u64,
}

/// A result whose records come one after another.
struct Followed {
    begun: u64,
    /// End of the bytes so far.
    tail: Vec<u8>,
    decoder: Option<StreamDecoder>,
    /// End of the channels of a recorded stream so far.
    channels: HashMap<u8, Vec<u8>>,
}

impl Search {
    pub(super) fn new<'a>(values: impl Iterator<Item = &'a [u8]>) -> anyhow::Result<Self> {
        let patterns: Vec<(usize, Form)> = values
            .enumerate()
            .flat_map(|(number, value)| forms(value).into_iter().map(move |form| (number, form)))
            .collect();
        let automaton = AhoCorasick::new(patterns.iter().map(|(_, form)| &form.bytes))?;
        let longest = patterns.iter().map(|(_, form)| form.bytes.len()).max().unwrap_or_default();
        let overlap = longest.saturating_sub(1);
        Ok(Self { automaton, patterns, overlap, results: HashMap::new(), begun: 0 })
    }

    /// Looks into a record, and into the result that it goes on with. Gives the bytes of the result, with the end of
    /// what preceded, for detectors.
    pub(super) fn record(
        &mut self,
        record: &Record,
        mut found: impl FnMut(usize, &'static str, Place),
    ) -> Vec<(Vec<u8>, String)> {
        let leaf = record.leaf();
        self.find(&leaf, |value, form, _| found(value, form, Place::of(record, "record")));
        let results = self.follow(record, self.kept());
        for (text, part) in &results {
            self.find(text, |value, form, _| found(value, form, Place::of(record, part)));
        }
        results
    }

    /// Bytes before others that a finding which ends in these may begin in.
    pub(super) fn kept(&self) -> usize {
        self.overlap.max(KEPT_BYTES)
    }

    /// Looks into a text. Gives of each finding its value, its form, and where it begins.
    pub(super) fn find(&self, text: &[u8], mut found: impl FnMut(usize, &'static str, usize)) {
        for matched in self.automaton.find_overlapping_iter(text) {
            if let Some((value, form)) = self.patterns.get(matched.pattern().as_usize()) {
                found(*value, form.name, matched.start());
            }
        }
    }

    /// The bytes of the result so far that a finding which ends in this record may be in: of the result itself, and of
    /// each channel of a recorded stream.
    fn follow(&mut self, record: &Record, overlap: usize) -> Vec<(Vec<u8>, String)> {
        let Some(frames) = record.bytes(key::FRAMES) else { return Vec::new() };
        let session = record.text(key::SESSION_ID).unwrap_or_default().to_owned();
        let id = (session, record.int(key::COMMAND).unwrap_or_default());
        if self.results.len() >= MAX_RESULTS && !self.results.contains_key(&id) {
            let oldest = self.results.iter().min_by_key(|(_, result)| result.begun);
            if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
                self.results.remove(&oldest);
            }
        }
        self.begun += 1;
        let begun = self.begun;
        let result = self.results.entry(id.clone()).or_insert_with(|| Followed {
            begun,
            tail: Vec::new(),
            decoder: frames.starts_with(&MAGIC).then(StreamDecoder::default),
            channels: HashMap::new(),
        });
        let mut texts = vec![(joined(&mut result.tail, frames, overlap), key::FRAMES.to_owned())];
        if let Some(decoder) = &mut result.decoder {
            for frame in decoder.feed(frames).unwrap_or_default() {
                if let StreamEvent::Data { channel, bytes } = frame.event {
                    let tail = result.channels.entry(channel.0).or_default();
                    texts.push((joined(tail, &bytes, overlap), format!("stream {}", channel.0)));
                }
            }
        }
        if record.name() == proxy_audit::EventName::Result.as_str() {
            self.results.remove(&id);
        }
        texts
    }
}

/// What is new with the end of what was before; keeps the end for the next.
fn joined(tail: &mut Vec<u8>, new: &[u8], overlap: usize) -> Vec<u8> {
    let mut text = std::mem::take(tail);
    text.extend_from_slice(new);
    let keep = text.len().saturating_sub(overlap);
    *tail = text.get(keep..).unwrap_or_default().to_vec();
    text
}
