//! Files of OTLP JSON, one `ExportLogsServiceRequest` a line, as the Collector's file exporter writes them.
//!
//! Deliveries come more than once and out of order, and there may be other programs' records between. A first pass
//! notes where each of ours is (some 40 bytes a record); the second reads them in their order. JSON loses nothing: a
//! record read from it has the leaf hash that it had in its log.
//!
//! Beside these notes, one line is held at a time, of at most 64 MiB, with the texts of its records, and one record of at
//! most 1 MiB of JSON is taken apart.

mod request;

use crate::event::key;
use crate::record::{Record, as_text};
use crate::source::{RecordStream, Source, SourceError, Wanted};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use request::is_checkpoint;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

/// Most bytes of a line: a batch of a gateway is at most 3.5 MiB, a Collector may join several.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// Most checkpoints of a log that are kept: some hours of them, 10 MiB.
const MAX_NOTES: usize = 1 << 15;

/// Most places that are named as damaged; a file may have as many as it has lines.
const MAX_DAMAGE: usize = 1_000;

/// A file, or part of one: an evidence bundle holds several.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Part {
    /// The file.
    pub path: PathBuf,
    /// First byte.
    pub offset: u64,
    /// Bytes; `None` for the rest of the file.
    pub length: Option<u64>,
}

impl Part {
    /// A whole file.
    pub fn whole(path: PathBuf) -> Self {
        Self { path, offset: 0, length: None }
    }

    fn io(&self) -> impl Fn(io::Error) -> SourceError + use<> {
        let path = self.path.clone();
        move |source| SourceError::Io { path: path.clone(), source }
    }
}

/// Records in OTLP JSON.
#[derive(Clone, Debug)]
pub struct OtlpSource {
    parts: Vec<Part>,
}

impl OtlpSource {
    /// These files, together.
    pub fn new(parts: Vec<Part>) -> Self {
        Self { parts }
    }

    /// The files.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// All records, in their order. What cannot be read comes first, so that whoever takes nothing damaged has taken
    /// nothing yet.
    ///
    /// # Errors
    /// A file cannot be read, or nothing in it.
    pub(super) fn into_records(
        self,
    ) -> Result<impl Iterator<Item = Result<Record, SourceError>> + 'static, SourceError> {
        let Index { entries, mut damage, .. } = self.index()?;
        if entries.is_empty() && !damage.is_empty() {
            return Err(damage.swap_remove(0));
        }
        let mut reader = Reader { parts: self.parts, line: None };
        let mut broken = false;
        let records = entries.into_iter().map_while(move |entry| {
            if broken {
                return None;
            }
            let record = reader.read(&entry);
            broken = record.is_err();
            Some(record)
        });
        Ok(damage.into_iter().map(Err).chain(records))
    }

    /// What to call the files in a report.
    pub(crate) fn path(&self) -> PathBuf {
        self.parts.first().map(|part| part.path.clone()).unwrap_or_default()
    }

    /// The checkpoints among the copies, as signed notes.
    ///
    /// # Errors
    /// A file cannot be read, or something in it.
    pub fn checkpoints(&self) -> Result<Vec<String>, SourceError> {
        let Index { notes, damage, .. } = self.index()?;
        damage.into_iter().next().map_or(Ok(()), Err)?;
        Ok(notes.into_values().flatten().collect())
    }

    /// All that is here, by log.
    pub(crate) fn copies(&self) -> Result<Copies<'_>, SourceError> {
        Ok(Copies { parts: &self.parts, index: self.index()? })
    }

    fn index(&self) -> Result<Index, SourceError> {
        let mut index = Index::default();
        for (number, part) in self.parts.iter().enumerate() {
            let mut lines = Lines::open(part)?;
            loop {
                let entered = match lines.next_line() {
                    Ok(None) => break,
                    Ok(Some(line)) => line.texts(part).map(|texts| index.enter(part, number, &line, &texts)),
                    Err(error) => Err(error),
                };
                match entered {
                    Ok(()) => {}
                    Err(error) if error.is_damage() => index.damaged(error),
                    Err(error) => return Err(error),
                }
            }
        }
        index.finish();
        Ok(index)
    }
}

/// Copies of the records of several logs.
#[derive(Debug)]
pub(crate) struct Copies<'a> {
    parts: &'a [Part],
    index: Index,
}

/// Copies of the records of one log.
#[derive(Debug)]
pub(crate) struct LogCopies<'a> {
    pub(crate) origin: &'a str,
    /// Checkpoints, as they came.
    pub(crate) notes: &'a [String],
    entries: &'a [Entry],
}

impl Copies<'_> {
    /// What cannot be read.
    pub(crate) fn take_damage(&mut self) -> Vec<SourceError> {
        std::mem::take(&mut self.index.damage)
    }

    pub(crate) fn logs(&self) -> Vec<LogCopies<'_>> {
        let entries = &self.index.entries;
        let logs = self.index.logs.iter().map(|(origin, log)| {
            let start = entries.partition_point(|entry| entry.log < *log);
            let end = entries.partition_point(|entry| entry.log <= *log);
            LogCopies {
                origin,
                notes: self.index.notes.get(origin).map(Vec::as_slice).unwrap_or_default(),
                entries: entries.get(start..end).unwrap_or_default(),
            }
        });
        logs.collect()
    }

    pub(crate) fn records(&self, log: &LogCopies<'_>) -> impl Iterator<Item = Result<Record, SourceError>> {
        let mut reader = Reader { parts: self.parts.to_vec(), line: None };
        log.entries.iter().map(move |entry| reader.read(entry))
    }
}

fn attribute<'a>(log_record: &'a LogRecord, key: &str) -> Option<&'a str> {
    let attribute = log_record.attributes.iter().find(|attribute| attribute.key == key)?;
    attribute.value.as_ref().and_then(as_text)
}

impl Source for OtlpSource {
    fn name(&self) -> String {
        match self.parts.as_slice() {
            [part] => format!("OTLP JSON {}", part.path.display()),
            parts => format!("{} files of OTLP JSON", parts.len()),
        }
    }

    fn records(&self, _: &Wanted) -> Result<RecordStream<'_>, SourceError> {
        Ok(Box::new(self.clone().into_records()?))
    }
}

/// Where a record is. Ordered by log and sequence.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Entry {
    log: u32,
    sequence: u64,
    /// The first bytes of the leaf hash: tells a repetition from another record of the same number.
    leaf: u64,
    part: u32,
    offset: u64,
    line: u64,
    nth: u32,
}

#[derive(Debug, Default)]
struct Index {
    logs: BTreeMap<String, u32>,
    /// Checkpoints by origin: at most [`MAX_NOTES`] of each, the last that came.
    notes: BTreeMap<String, Vec<String>>,
    entries: Vec<Entry>,
    /// What cannot be read: at most [`MAX_DAMAGE`].
    damage: Vec<SourceError>,
}

impl Index {
    /// Notes what is ours of a line.
    fn enter(&mut self, part: &Part, number: usize, line: &Line, texts: &[Box<str>]) {
        for (nth, text) in texts.iter().enumerate() {
            let added = request::ours(text).map_err(line.json_error(part)).and_then(|ours| {
                match ours {
                    None => {}
                    Some(log_record) if is_checkpoint(&log_record) => self.note(&log_record),
                    Some(log_record) => {
                        let record = line.record(part, &log_record)?;
                        self.add(&record, (number, line.offset, line.number, nth));
                    }
                }
                Ok(())
            });
            added.unwrap_or_else(|error| self.damaged(error));
        }
    }

    fn damaged(&mut self, error: SourceError) {
        if self.damage.len() < MAX_DAMAGE {
            self.damage.push(error);
        }
    }

    fn add(&mut self, record: &Record, (part, offset, line, nth): (usize, u64, u64, usize)) {
        let known = u32::try_from(self.logs.len()).unwrap_or(u32::MAX);
        let log = match self.logs.get(record.origin()) {
            Some(log) => *log,
            None => *self.logs.entry(record.origin().to_owned()).or_insert(known),
        };
        let (part, nth) = (u32::try_from(part).unwrap_or(u32::MAX), u32::try_from(nth).unwrap_or(u32::MAX));
        let leaf = record.leaf_hash().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        self.entries.push(Entry { log, sequence: record.sequence(), leaf, part, offset, line, nth });
    }

    fn note(&mut self, log_record: &LogRecord) {
        let Some(note) = attribute(log_record, key::CHECKPOINT_NOTE) else { return };
        let origin = note.lines().next().unwrap_or_default();
        let notes = self.notes.entry(origin.to_owned()).or_default();
        if notes.len() == MAX_NOTES {
            notes.drain(..MAX_NOTES / 2);
        }
        notes.push(note.to_owned());
    }

    fn finish(&mut self) {
        self.entries.sort_unstable();
        self.entries.dedup_by_key(|entry| (entry.log, entry.sequence, entry.leaf));
    }
}

/// Reads entries; keeps the line that it read last, in which the next record mostly is.
struct Reader {
    parts: Vec<Part>,
    line: Option<(u32, Line, Vec<Box<str>>)>,
}

impl Reader {
    fn read(&mut self, entry: &Entry) -> Result<Record, SourceError> {
        let gone = || SourceError::Io { path: PathBuf::new(), source: io::ErrorKind::UnexpectedEof.into() };
        let part = self.parts.get(entry.part as usize).ok_or_else(gone)?;
        let here =
            self.line.as_ref().is_some_and(|(of, line, _)| (*of, line.offset) == (entry.part, entry.offset));
        if !here {
            let mut line = Lines::resume(part, entry.offset, entry.line)?.next_line()?.ok_or_else(gone)?;
            let texts = line.texts(part)?;
            line.text.clear();
            self.line = Some((entry.part, line, texts));
        }
        let (_, line, texts) = self.line.as_ref().ok_or_else(gone)?;
        let text = texts.get(entry.nth as usize).ok_or_else(gone)?;
        let log_record = request::ours(text).map_err(line.json_error(part))?.ok_or_else(gone)?;
        line.record(part, &log_record)
    }
}

struct Line {
    offset: u64,
    number: u64,
    text: Vec<u8>,
    /// Whether its end is there. A Collector that was killed leaves a last line without.
    whole: bool,
}

impl Line {
    /// The texts of the log records in this line that may be ours.
    fn texts(&self, part: &Part) -> Result<Vec<Box<str>>, SourceError> {
        request::candidates(&self.text).map_err(self.json_error(part))
    }

    fn record(&self, part: &Part, log_record: &LogRecord) -> Result<Record, SourceError> {
        let record_error =
            |source| SourceError::Record { path: part.path.clone(), line: self.number, source };
        Record::from_log_record(log_record).map_err(record_error)
    }

    fn json_error(&self, part: &Part) -> impl Fn(serde_json::Error) -> SourceError + use<> {
        let (path, line, whole) = (part.path.clone(), self.number, self.whole);
        move |source| {
            let path = path.clone();
            let torn = !whole && source.is_eof();
            if torn { SourceError::Torn { path, line } } else { SourceError::Json { path, line, source } }
        }
    }
}

/// The lines of a part.
struct Lines<'a> {
    part: &'a Part,
    file: io::Take<BufReader<File>>,
    offset: u64,
    number: u64,
}

impl<'a> Lines<'a> {
    fn open(part: &'a Part) -> Result<Self, SourceError> {
        Self::resume(part, part.offset, 1)
    }

    fn resume(part: &'a Part, offset: u64, number: u64) -> Result<Self, SourceError> {
        let mut file = File::open(&part.path).map_err(part.io())?;
        file.seek(SeekFrom::Start(offset)).map_err(part.io())?;
        let end = part.length.map_or(u64::MAX, |length| part.offset + length);
        let file = BufReader::with_capacity(1 << 17, file).take(end.saturating_sub(offset));
        Ok(Self { part, file, offset, number })
    }

    fn next_line(&mut self) -> Result<Option<Line>, SourceError> {
        let mut text = Vec::new();
        let left = self.file.limit();
        self.file.set_limit(left.min(MAX_LINE_BYTES));
        let read = self.file.read_until(b'\n', &mut text).map_err(self.part.io())? as u64;
        self.file.set_limit(left - read);
        if read == 0 {
            return Ok(None);
        }
        let whole = text.last() == Some(&b'\n');
        let line = Line { offset: self.offset, number: self.number, text, whole };
        self.offset += read;
        self.number += 1;
        if read == MAX_LINE_BYTES && !whole {
            self.offset += self.file.skip_until(b'\n').map_err(self.part.io())? as u64;
            let (path, limit) = (self.part.path.clone(), MAX_LINE_BYTES);
            return Err(SourceError::TooLong { path, line: line.number, limit });
        }
        Ok(Some(line))
    }
}
