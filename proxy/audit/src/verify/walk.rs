//! The records one by one: numbers, links, roots; and to blame the right one when something does not fit.
//!
//! A broken link into record *n* alone means that *n − 1* was changed after it was chained; broken links into *n*
//! and into *n + 1* mean that *n* was. After something is wrong, the tree is of no use until the next segment, whose
//! header brings its own; that a header is false shows at the next checkpoint. In the end the largest signed root must
//! have been reached with a tree that had it: what nothing complained of is not therefore right.

use crate::chunks::Checker;
use crate::event::key;
use crate::merkle::{CompactRange, Hash, chain_link};
use crate::record::Record;
use crate::segment::{Header, Segment, SegmentError};
use crate::source::SourceError;
use crate::verify::checkpoints::Checkpoints;
use crate::verify::facts::{End, Facts};
use crate::verify::lanes::{self, Found, Frame};
use crate::verify::{Predecessor, Report, VerifyError};
use jiff::Timestamp;
use prost::Message as _;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

pub(super) struct Walk<'a> {
    checkpoints: &'a Checkpoints,
    report: &'a mut Report,
    /// Sequence that comes next.
    expected: u64,
    /// The link that the next record must have; `None` when the record before is not known.
    link: Option<Hash>,
    /// The link into this record is broken, and it is not yet clear who is to blame.
    broken_link: Option<u64>,
    /// The segment's header has another link than this one of the record before, and it is not yet clear which of the
    /// two is false.
    doubted_header: Option<Hash>,
    tree: CompactRange,
    /// Whether the tree still stands for the records before `expected`.
    tree_fits: bool,
    /// Size of the last checkpoint whose root fitted.
    proven: u64,
    missing: BTreeSet<u64>,
    /// From this record on a segment cannot be read, and why; how far, the next header tells.
    unreadable: Option<(u64, String)>,
    sessions: HashMap<String, u64>,
    /// What recorder records say of removed ones, by the record that says so.
    removed: Vec<(u64, u64)>,
    last_time: Option<Timestamp>,
    /// Looks after what lies beside the log; copies have nothing beside them.
    checker: Option<Checker>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(checkpoints: &'a Checkpoints, report: &'a mut Report) -> Self {
        Self {
            checkpoints,
            report,
            expected: 0,
            link: Some(chain_link(None)),
            broken_link: None,
            doubted_header: None,
            tree: CompactRange::default(),
            tree_fits: true,
            proven: 0,
            missing: BTreeSet::new(),
            unreadable: None,
            sessions: HashMap::new(),
            removed: Vec::new(),
            last_time: None,
            checker: None,
        }
    }

    /// Reads the whole log into the report.
    pub(super) fn run(mut self, directory: &Path) -> Result<(), VerifyError> {
        self.checker = Some(Checker::new(directory));
        let io_error = |source| VerifyError::Io { path: directory.to_owned(), source };
        let segments = Segment::list(directory).map_err(io_error)?;
        let (first, last) = (segments.first().cloned(), segments.last().cloned());
        let origin = self.report.origin.clone();
        lanes::read(segments, origin.as_deref(), |found| {
            match found {
                Found::Header { segment, header } => {
                    let is_first = Some(&segment) == first.as_ref();
                    self.header(segment.first, header, is_first);
                }
                Found::Frames(frames) => frames.into_iter().for_each(|frame| self.frame(frame)),
                Found::Unreadable { segment, offset, error } => {
                    let is_last = Some(&segment) == last.as_ref();
                    if offset == 0 && Some(&segment) == first.as_ref() {
                        // its name is all that tells where the log begins
                        (self.expected, self.report.first) = (segment.first, segment.first);
                    }
                    self.unreadable(error, &segment.path, offset, is_last)?;
                }
            }
            Ok(())
        })?;
        self.finish();
        Ok(())
    }

    /// Reads copies of records, in the order of their numbers, into the report.
    pub(super) fn run_copies(
        mut self,
        records: impl Iterator<Item = Result<Record, SourceError>>,
    ) -> Result<(), SourceError> {
        for (number, record) in records.enumerate() {
            let record = record?;
            if number == 0 && record.sequence() > 0 {
                self.report.first = record.sequence();
                self.expected = record.sequence();
                self.lose_track();
            }
            self.report.bytes += record.as_log_record().encoded_len() as u64;
            let facts = Facts::of(record, self.report.origin.as_deref());
            self.record(&facts);
        }
        self.finish();
        Ok(())
    }

    /// The rest of a segment cannot be read.
    fn unreadable(
        &mut self,
        error: SegmentError,
        path: &Path,
        offset: u64,
        last: bool,
    ) -> Result<(), VerifyError> {
        let name = path.file_name().unwrap_or_default().display();
        match error {
            SegmentError::Io { path, source } => return Err(VerifyError::Io { path, source }),
            SegmentError::Torn { .. } if last => {
                let length = std::fs::metadata(path).map_or(offset, |metadata| metadata.len());
                self.report.torn_bytes = length.saturating_sub(offset);
                if !self.report.being_written {
                    let what = format!("unfinished record of {} bytes at the end", self.report.torn_bytes);
                    self.report.incomplete(Some((self.expected, self.expected)), what);
                }
            }
            SegmentError::Torn { .. } | SegmentError::Changed { .. } | SegmentError::Damaged { .. } => {
                let why = format!("{name} is damaged at byte {offset}");
                let (_, known) = self.unreadable.get_or_insert((self.expected, String::new()));
                *known = if known.is_empty() { why } else { format!("{known}, {why}") };
                self.lose_track();
            }
        }
        Ok(())
    }

    /// What could not be read ends before this record: it is there, so it was not removed.
    fn readable_from(&mut self, next: u64) {
        let Some((first, why)) = self.unreadable.take() else { return };
        let last = next.saturating_sub(1).max(first);
        let what = match next.saturating_sub(first) {
            0 => format!("{why}, where record {first} begins"),
            1 => format!("record {first} unreadable: {why}"),
            _ => format!("records {first}..{last} unreadable: {why}"),
        };
        self.report.tampered(Some((first, last)), what);
        self.expected = self.expected.max(next);
    }

    fn header(&mut self, number: u64, header: Header, first: bool) {
        let size = header.tree.size();
        self.readable_from(size);
        if number != size {
            let what = format!("the segment called {number} says that it begins with record {size}");
            self.report.tampered(Some((size.min(number), size.max(number))), what);
        }
        if first {
            self.expected = size;
            self.report.first = size;
        } else if size < self.expected {
            let before = self.expected;
            let what = format!("segment {number} begins with record {size}, behind {before} records");
            self.report.tampered(Some((size, before.saturating_sub(1))), what);
            // its records are told to be second ones, and nothing of it is compared any more
            self.lose_track();
            return;
        } else if size == self.expected {
            self.compare_header(number, &header);
        }
        self.skip_to(size);
        self.link = Some(chain_link(header.previous.as_ref()));
        self.broken_link = None;
        self.tree = header.tree;
        self.tree_fits = self.tree.size() == self.expected;
    }

    fn compare_header(&mut self, first: u64, header: &Header) {
        let agrees = self.link.is_none_or(|link| link == chain_link(header.previous.as_ref()));
        if let Some(at) = self.broken_link.take() {
            self.changed(if agrees { at.saturating_sub(1) } else { at });
        } else if !agrees {
            self.doubted_header = self.link;
        } else if self.tree_fits && header.tree != self.tree {
            self.false_header(first);
        }
    }

    fn false_header(&mut self, first: u64) {
        let what = format!("header of segment {first} does not fit the records before it");
        self.report.tampered(Some((first, first)), what);
    }

    fn frame(&mut self, frame: Frame) {
        self.report.bytes += frame.bytes;
        match frame.facts {
            Ok(facts) => self.record(&facts),
            Err(why) => {
                let at = self.expected;
                self.report.tampered(Some((at, at)), format!("seq {at} changed: {why}"));
                self.expected = self.expected.saturating_add(1);
                self.report.records += 1;
                self.lose_track();
            }
        }
    }

    fn record(&mut self, record: &Facts) {
        self.report.records += 1;
        let sequence = record.sequence;
        if sequence != self.expected && self.follows(record) {
            // It is chained to the record before, so it is in its place and its number is false.
            let at = self.expected;
            self.report.tampered(Some((at, at)), format!("seq {at} changed: it says that it is {sequence}"));
            self.expected = self.expected.saturating_add(1);
            self.lose_track();
            return;
        }
        if sequence < self.expected {
            self.displaced(sequence);
            return;
        }
        self.skip_to(sequence);
        self.check_link(record);
        self.expected = sequence.saturating_add(1);
        self.link = Some(record.link);
        self.tree.push(record.leaf_hash);
        self.root(record);
        self.content(record);
    }

    /// Whether the record is chained to the one before it.
    fn follows(&self, record: &Facts) -> bool {
        self.link.is_some_and(|link| record.chain_previous == Some(link))
    }

    /// Records up to here should have come first.
    fn skip_to(&mut self, sequence: u64) {
        if sequence > self.expected {
            // A forged number must not make this loop for ever; what lies further off is not told apart.
            self.missing.extend(self.expected..sequence.min(self.expected.saturating_add(100_000)));
            self.expected = sequence;
            self.lose_track();
        }
    }

    /// A record stands behind one with a higher number.
    fn displaced(&mut self, sequence: u64) {
        let before = self.expected.saturating_sub(1);
        let what = if self.missing.remove(&sequence) {
            format!("record {sequence} moved: it stands after {before}")
        } else {
            format!("record added: a second record with seq {sequence} stands after {before}")
        };
        self.report.tampered(Some((sequence, sequence)), what);
        self.tree_fits = false;
    }

    fn lose_track(&mut self) {
        self.link = None;
        self.broken_link = None;
        self.doubted_header = None;
        self.tree_fits = false;
    }

    fn check_link(&mut self, record: &Facts) {
        let sequence = record.sequence;
        if let Some(own) = self.doubted_header.take() {
            if record.chain_previous == Some(own) {
                self.false_header(sequence);
                self.link = Some(own);
                self.tree_fits = false;
            } else {
                self.changed(sequence.saturating_sub(1));
                // The header stands in for the record that was changed.
                self.tree_fits = true;
            }
        }
        let fits = self.link.is_none_or(|link| record.chain_previous == Some(link));
        match self.broken_link.take() {
            // The broken link into the record before was that record's own doing.
            Some(at) if !fits => self.changed(at),
            Some(at) => self.changed(at.saturating_sub(1)),
            None if !fits => {
                self.broken_link = Some(sequence);
                self.tree_fits = false;
            }
            None => {}
        }
    }

    fn changed(&mut self, sequence: u64) {
        self.report.tampered(Some((sequence, sequence)), format!("seq {sequence} leaf_hash mismatch"));
        self.tree_fits = false;
    }

    fn root(&mut self, record: &Facts) {
        self.checkpoints.pass(self.expected, record.time, self.report);
        let Some(signed) = self.checkpoints.root(self.expected).filter(|_| self.tree_fits) else { return };
        if *signed == self.tree.root() {
            self.proven = self.expected;
            return;
        }
        let range = (self.proven, self.expected.saturating_sub(1));
        let what = format!(
            "records {}..{} are not those that the checkpoint of size {} signs",
            range.0, range.1, self.expected
        );
        self.report.tampered(Some(range), what);
        self.tree_fits = false;
    }

    /// What the record says, as far as it says something about the log.
    fn content(&mut self, record: &Facts) {
        let time = record.time;
        if let Some(last) = self.last_time.filter(|last| *last > time) {
            let back = i64::try_from(last.duration_since(time).as_millis()).unwrap_or(i64::MAX);
            self.report.clock_went_back(record.sequence, back);
        }
        self.last_time = Some(time);
        if let Some(origin) = &record.foreign {
            let at = record.sequence;
            self.report.tampered(Some((at, at)), format!("seq {at} is of another log: {origin}"));
        }
        self.report.result_chunks += u64::from(record.has_frames || record.chunk.is_some());
        if let Some(chunk) = &record.chunk {
            self.report.look_at(self.checker.as_mut(), chunk, record.sequence);
        }
        if let Some(recorder) = &record.recorder {
            self.recorder(recorder);
        }
        if let Some(session) = &record.session {
            self.session(session, record);
        }
    }

    fn recorder(&mut self, record: &Record) {
        let size = record.int(key::CHECKPOINT_SIZE).map(i64::cast_unsigned);
        if let (Some(size), Some(digest)) = (size, record.text(key::CHECKPOINT_DIGEST)) {
            self.checkpoints.name(record.sequence(), size, digest);
        }
        let found = record.int(key::RECOVERED_RECORDS).map_or(0, i64::cast_unsigned);
        let signed = size.unwrap_or_default();
        if signed < found {
            self.report.signed_late.push((signed, found.saturating_sub(1)));
        }
        if let (Some(origin), Some(size), Some(digest)) = (
            record.text(key::PREDECESSOR_ORIGIN),
            record.int(key::PREDECESSOR_SIZE),
            record.text(key::PREDECESSOR_DIGEST),
        ) {
            let (origin, digest) = (origin.to_owned(), digest.to_owned());
            // said once, when the log begins: a later word would hide what the first names
            let said = Predecessor { origin, size: size.cast_unsigned(), digest };
            self.report.predecessor.get_or_insert(said);
        }
        if let Some(below) = record.int(key::REMOVED_BELOW) {
            self.removed.push((record.sequence(), below.cast_unsigned()));
        }
    }

    fn session(&mut self, session: &str, record: &Facts) {
        let sequence = record.session_sequence;
        let next = sequence.saturating_add(1);
        let expected = self.sessions.get_mut(session).map(|expected| std::mem::replace(expected, next));
        if expected.is_none() {
            self.report.sessions += 1;
            self.sessions.insert(session.to_owned(), next);
        }
        // Of a session whose start was removed, or around a hole that is reported anyway, nothing is expected.
        let known = expected.or((self.report.first == 0).then_some(0));
        if self.report.problems.is_empty()
            && self.missing.is_empty()
            && known.is_some_and(|known| known != sequence)
        {
            let at = record.sequence;
            let what = format!("seq {at}: record {sequence} of session {session} where another is expected");
            self.report.tampered(Some((at, at)), what);
        }
        if let Some(end) = record.ends {
            self.sessions.remove(session);
            if let Some(checker) = &mut self.checker {
                checker.forget(session);
            }
            self.report.crash_recovered += u64::from(end == End::Crashed);
        }
    }

    fn finish(mut self) {
        self.readable_from(self.checkpoints.largest(u64::MAX));
        self.report.end = self.expected;
        self.report.open_sessions = self.sessions.len() as u64;
        if let Some(at) = self.broken_link.take() {
            let before = at.saturating_sub(1);
            self.report.tampered(Some((before, at)), format!("seq {before} or {at} leaf_hash mismatch"));
        }
        for (first, last) in ranges(&self.missing) {
            self.hole(first, last);
        }
        self.beginning();
        self.unproven();
    }

    /// Records between others that are not here.
    fn hole(&mut self, first: u64, last: u64) {
        let count = if first == last { "record".to_owned() } else { format!("{} records", last - first + 1) };
        let before = first.checked_sub(1).map_or_else(|| "the start".to_owned(), |before| before.to_string());
        let after = last + 1;
        if self.report.is_copy() {
            let what = format!("{count} between {before} and {after} did not arrive, or was removed");
            self.report.incomplete(Some((first, last)), what);
        } else {
            self.report
                .tampered(Some((first, last)), format!("{count} removed between {before} and {after}"));
        }
    }

    /// Records before the first that is here.
    fn beginning(&mut self) {
        let Some(last) = self.report.first.checked_sub(1) else { return };
        let range = Some((0, last));
        // What the log says itself counts under its signature: whoever can write it can say more behind that.
        let said = self.removed.iter().filter(|(record, _)| *record < self.proven);
        let removed_below = said.map(|(_, below)| *below).max().unwrap_or_default();
        if self.report.is_copy() {
            let what = format!("records 0..{last} are not among the copies");
            self.report.incomplete(range, what);
        } else if removed_below >= self.report.first {
            self.report.removed_below = Some(self.report.first);
        } else {
            let what = format!("{} records removed before {}", self.report.first, self.report.first);
            self.report.tampered(range, what);
        }
    }

    /// Whether the largest root that is known was reached, with a tree that stood for all before it.
    fn unproven(&mut self) {
        let signed = self.checkpoints.largest(self.expected);
        let from = self.proven.max(self.report.first);
        if from >= signed || self.report.first_bad().is_some() {
            return;
        }
        let range = Some((from, signed - 1));
        if self.report.is_copy() {
            let what = format!(
                "records {from}..{} are proved by no checkpoint: not all that it signs is here",
                signed - 1
            );
            self.report.incomplete(range, what);
        } else {
            let what = format!(
                "records {from}..{} were not compared with the checkpoint of size {signed}",
                signed - 1
            );
            self.report.tampered(range, what);
        }
    }
}

/// Neighbouring numbers as inclusive ranges.
fn ranges(numbers: &BTreeSet<u64>) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*number) => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    ranges
}
