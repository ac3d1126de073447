//! Looks for values in records, and in results across records.

use crate::scan::forms::{AS_IT_IS, Form, IN_LINES, forms};
use crate::scan::views::{View, form_decoded, in_one_line, percent_decoded, unescaped};
use aho_corasick::AhoCorasick;
use proxy_audit::event::{EventName, key};
use proxy_audit::record::Record;
use proxy_audit::stream::{MAGIC, StreamDecoder, StreamEvent};
use serde::Serialize;
use std::collections::HashMap;
use std::ops::Range;

/// Most bytes that stand for one of a value: `\\u0041`.
const ESCAPED_BYTES: usize = 6;

/// Most results that are followed across records at once; those that were begun first are given up, and counted.
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
    /// One byte less than the longest value takes in any form.
    overlap: usize,
    /// A value has a blank, which forms write as `+`.
    blanks: bool,
    /// Results that are being followed, by session and command.
    results: HashMap<(String, i64), Followed>,
    begun: u64,
    /// Most of them at once.
    most: usize,
    /// Results that were not followed to their end.
    given_up: u64,
}

/// A result whose records come one after another.
struct Followed {
    begun: u64,
    /// End of the bytes so far.
    tail: Vec<u8>,
    decoder: Option<StreamDecoder>,
    /// End of the channels of a recorded stream so far.
    channels: HashMap<u32, Vec<u8>>,
}

impl Search {
    pub(super) fn new<'a>(values: impl Iterator<Item = &'a [u8]> + Clone) -> anyhow::Result<Self> {
        let escaped = values.clone().map(|value| value.len() * ESCAPED_BYTES).max().unwrap_or_default();
        let blanks = values.clone().any(|value| value.contains(&b' '));
        let patterns: Vec<(usize, Form)> = values
            .enumerate()
            .flat_map(|(number, value)| forms(value).into_iter().map(move |form| (number, form)))
            .collect();
        let automaton = AhoCorasick::new(patterns.iter().map(|(_, form)| &form.bytes))?;
        let longest = patterns.iter().map(|(_, form)| form.bytes.len()).max().unwrap_or_default();
        let overlap = longest.max(escaped).saturating_sub(1);
        Ok(Self {
            automaton,
            patterns,
            overlap,
            blanks,
            results: HashMap::new(),
            begun: 0,
            most: MAX_RESULTS,
            given_up: 0,
        })
    }

    /// Looks into a record, and into the result that it goes on with. Gives the parts of the result, for detectors.
    pub(super) fn record(
        &mut self,
        record: &Record,
        mut found: impl FnMut(usize, &'static str, Place),
    ) -> Vec<Part> {
        let leaf = record.leaf();
        self.find(&leaf, 0, |value, form, _| found(value, form, Place::of(record, "record")));
        let results = self.follow(record, self.kept());
        for part in &results {
            self.find(&part.text, part.old, |value, form, _| {
                found(value, form, Place::of(record, &part.name));
            });
        }
        results
    }

    /// Results that were not followed to their end: a value across their records may have been missed.
    pub(super) fn given_up(&self) -> u64 {
        self.given_up
    }

    /// Bytes before others that a finding which ends in these may begin in.
    pub(super) fn kept(&self) -> usize {
        self.overlap.max(KEPT_BYTES)
    }

    /// Looks into a text, of which so many bytes were looked into before. Gives of each finding that ends behind these
    /// its value, its form, and where it begins.
    pub(super) fn find(&self, text: &[u8], old: usize, mut found: impl FnMut(usize, &'static str, usize)) {
        let mut new = |value: usize, form: &'static str, at: Range<usize>| {
            if at.end > old {
                found(value, form, at.start);
            }
        };
        for matched in self.automaton.find_overlapping_iter(text) {
            if let Some((value, form)) = self.patterns.get(matched.pattern().as_usize()) {
                new(*value, form.name, matched.range());
            }
        }
        let forms = self.blanks.then(|| form_decoded(text)).flatten();
        for view in percent_decoded(text).iter().chain(&forms) {
            self.find_in(view, |form| Some(decoded(form, "percent-encoded")), &mut new);
        }
        if let Some(view) = in_one_line(text) {
            self.find_in(&view, in_lines, &mut new);
        }
        if let Some(view) = unescaped(text) {
            self.find_in(&view, |form| Some(decoded(form, "escaped as in JSON")), &mut new);
            if let Some(lines) = in_one_line(&view.text) {
                self.find_in(&lines, in_lines, &mut |value, form, at| new(value, form, view.origin(&at)));
            }
        }
    }

    /// Looks for what is there only since something was changed.
    fn find_in(
        &self,
        view: &View,
        name: impl Fn(&Form) -> Option<&'static str>,
        found: &mut dyn FnMut(usize, &'static str, Range<usize>),
    ) {
        for matched in self.automaton.find_overlapping_iter(&view.text) {
            let Some((value, form)) = self.patterns.get(matched.pattern().as_usize()) else { continue };
            if let Some(name) = name(form).filter(|_| view.is_changed(&matched.range())) {
                found(*value, name, view.origin(&matched.range()));
            }
        }
    }

    /// The bytes of the result so far that a finding which ends in this record may be in: of the result itself, and of
    /// each channel of a recorded stream.
    fn follow(&mut self, record: &Record, overlap: usize) -> Vec<Part> {
        let session = record.text(key::SESSION_ID).unwrap_or_default().to_owned();
        if record.name() == EventName::SessionEnd.as_str() {
            // what a crash cut short goes on nowhere
            self.results.retain(|(other, _), _| *other != session);
        }
        let Some(frames) = record.bytes(key::FRAMES) else { return Vec::new() };
        let id = (session, record.int(key::COMMAND).unwrap_or_default());
        if self.results.len() >= self.most && !self.results.contains_key(&id) {
            let oldest = self.results.iter().min_by_key(|(_, result)| result.begun);
            if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
                self.results.remove(&oldest);
                self.given_up += 1;
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
        let mut texts = vec![joined(&mut result.tail, frames, overlap, key::FRAMES.to_owned())];
        if let Some(decoder) = &mut result.decoder {
            let decoded = decoder.feed(frames);
            if decoded.is_err() {
                result.decoder = None;
                self.given_up += 1;
            }
            for frame in decoded.unwrap_or_default() {
                match frame.event {
                    StreamEvent::Data { channel, bytes } => {
                        let tail = result.channels.entry(channel.0).or_default();
                        texts.push(joined(tail, &bytes, overlap, format!("stream {}", channel.0)));
                    }
                    // a forwarded port may have any number of connections, one after the other
                    StreamEvent::End(channel) => drop(result.channels.remove(&channel.0)),
                    StreamEvent::Resize { .. }
                    | StreamEvent::Exit(_)
                    | StreamEvent::ExitSignal(_)
                    | StreamEvent::Signal(_)
                    | StreamEvent::Omitted { .. }
                    | StreamEvent::File { .. }
                    | StreamEvent::Part { .. } => {}
                }
            }
        }
        if record.name() == EventName::Result.as_str() {
            self.results.remove(&id);
        }
        texts
    }
}

/// Part of a result: what is new in a record, with the end of what was before.
pub(super) struct Part {
    /// What it is of the record.
    pub(super) name: String,
    pub(super) text: Vec<u8>,
    /// Bytes at its beginning that records before had.
    pub(super) old: usize,
}

/// What is new with the end of what was before; keeps the end for the next.
fn joined(tail: &mut Vec<u8>, new: &[u8], overlap: usize, name: String) -> Part {
    let mut text = std::mem::take(tail);
    let old = text.len();
    text.extend_from_slice(new);
    let keep = text.len().saturating_sub(overlap);
    *tail = text.get(keep..).unwrap_or_default().to_vec();
    Part { name, text, old }
}

/// How a form is called that was found where an encoding was undone.
fn decoded(form: &Form, by: &'static str) -> &'static str {
    if form.name == AS_IT_IS { by } else { form.name }
}

/// What is broken into lines where that means nothing: other forms are none any more.
fn in_lines(form: &Form) -> Option<&'static str> {
    IN_LINES.contains(&form.name).then_some(form.name)
}

#[cfg(test)]
mod tests;
