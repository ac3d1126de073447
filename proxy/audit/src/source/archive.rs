//! Records in an object store, as a gateway delivers them: the log's own bytes. One segment at a time is fetched to a
//! temporary file.

use crate::archive::{
    ArchiveError, ArchivedFile, ArchivedLog, Location, Purpose, Store, logs, runtime, write,
};
use crate::causes::chain;
use crate::read::{Records, records};
use crate::record::Record;
use crate::source::{RecordStream, Source, SourceError, Wanted};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// By how much a store's clock may be behind a gateway's.
const CLOCKS_APART_SECONDS: i64 = 3_600;

/// The logs of an archive.
#[derive(Clone, Debug)]
pub struct ArchiveSource {
    location: Location,
}

impl ArchiveSource {
    /// All logs below this address.
    pub fn new(location: Location) -> Self {
        Self { location }
    }

    fn failed(&self, error: &ArchiveError) -> SourceError {
        SourceError::Backend { name: self.name(), why: chain(error) }
    }
}

impl Source for ArchiveSource {
    fn name(&self) -> String {
        format!("archive {}", self.location)
    }

    fn records(&self, wanted: &Wanted) -> Result<RecordStream<'_>, SourceError> {
        let opened = || {
            let runtime = runtime()?;
            let store = self.location.open(Purpose::Read)?;
            let logs = runtime.block_on(logs(&store))?;
            Ok((runtime, store, logs))
        };
        let (runtime, store, logs) = opened().map_err(|error| self.failed(&error))?;
        if logs.is_empty() {
            let why = "there is no audit log (the directory of a spool is given without file://)".to_owned();
            return Err(SourceError::Backend { name: self.name(), why });
        }
        let temporary =
            tempfile::tempdir().map_err(|source| SourceError::Io { path: std::env::temp_dir(), source })?;
        let segments = logs.values().flat_map(|log| segments(log, wanted)).collect();
        Ok(Box::new(Stream { source: self, runtime, store, segments, temporary, current: None }))
    }
}

/// A segment that is to be read.
struct Wish {
    first: u64,
    name: String,
    file: ArchivedFile,
    /// Whether another of its log follows: then it may not end early.
    followed_by: Option<u64>,
}

/// The segments of a log; none when all of them are older than what is wanted. A session is in one log, and may have
/// begun in its first segment. A record is older than the object that it is in.
fn segments(log: &ArchivedLog, wanted: &Wanted) -> Vec<Wish> {
    let since = wanted.since.map_or(i64::MIN, |since| since.as_second() - CLOCKS_APART_SECONDS);
    let all: Vec<_> = log.segments().collect();
    if all.iter().all(|(.., file)| file.last_written() < since) {
        return Vec::new();
    }
    let following = all.iter().skip(1).map(|(first, ..)| Some(*first)).chain([None]);
    let wishes = all.iter().zip(following).map(|((first, name, file), followed_by)| Wish {
        first: *first,
        name: (*name).to_owned(),
        file: (*file).clone(),
        followed_by,
    });
    wishes.collect()
}

struct Stream<'a> {
    source: &'a ArchiveSource,
    runtime: Runtime,
    store: Store,
    segments: VecDeque<Wish>,
    temporary: TempDir,
    current: Option<Current>,
}

/// The segment that is being read.
struct Current {
    records: Records,
    path: PathBuf,
    next: u64,
    followed_by: Option<u64>,
    /// What the archive has no more of it, behind what can be read.
    lacking: Option<ArchiveError>,
}

impl Stream<'_> {
    fn fetch(&self, wish: &Wish) -> Result<Current, SourceError> {
        let path = self.temporary.path().join(&wish.name);
        let lacking = self
            .runtime
            .block_on(write(&path, wish.file.reading(&self.store, &wish.name)))
            .map_err(|error| self.source.failed(&error))?;
        let records = records(self.temporary.path())?;
        Ok(Current { records, path, next: wish.first, followed_by: wish.followed_by, lacking })
    }

    fn step(&mut self) -> Result<Option<Record>, SourceError> {
        loop {
            let Some(current) = &mut self.current else {
                let Some(wish) = self.segments.pop_front() else { return Ok(None) };
                self.current = Some(self.fetch(&wish)?);
                continue;
            };
            if let Some(record) = current.records.next() {
                let record = record?;
                current.next = record.sequence() + 1;
                return Ok(Some(record));
            }
            let (next, followed_by, lacking) = (current.next, current.followed_by, current.lacking.take());
            remove(&current.path)?;
            self.current = None;
            if let Some(lacking) = lacking {
                let what = format!("{}, behind record {}", chain(&lacking), next.saturating_sub(1));
                return Err(SourceError::Damaged { name: self.source.name(), what });
            }
            if let Some(following) = followed_by.filter(|first| *first != next) {
                let last = following.saturating_sub(1);
                return Err(SourceError::Missing { name: self.source.name(), first: next, last });
            }
        }
    }
}

fn remove(path: &Path) -> Result<(), SourceError> {
    std::fs::remove_file(path).map_err(|source| SourceError::Io { path: path.to_owned(), source })
}

impl Iterator for Stream<'_> {
    type Item = Result<Record, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step().transpose();
        let goes_on = match &step {
            Some(Ok(_)) => true,
            Some(Err(error)) => error.is_damage(),
            None => false,
        };
        if !goes_on {
            self.segments.clear();
            self.current = None;
        }
        step
    }
}
