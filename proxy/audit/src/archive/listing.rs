//! What is in an archive: logs, their files, and the parts of these.

use crate::archive::{ArchiveError, Store};
use crate::chunks::{CHUNKS, parse_name};
use bytes::Bytes;
use object_store::ObjectMeta;
use object_store::path::Path as ObjectPath;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Digits of a part's name: the byte it begins at.
const PART_DIGITS: usize = 20;

/// Name of the part that begins at this byte.
pub(super) fn part_name(offset: u64) -> String {
    format!("{offset:0PART_DIGITS$}")
}

/// A log in an archive.
#[derive(Clone, Debug, Default)]
pub(crate) struct ArchivedLog {
    /// Its files by name.
    pub(crate) files: BTreeMap<String, ArchivedFile>,
}

/// A file of a log, in parts.
#[derive(Clone, Debug, Default)]
pub(crate) struct ArchivedFile {
    parts: BTreeMap<u64, Part>,
}

#[derive(Clone, Debug)]
struct Part {
    object: ObjectPath,
    bytes: u64,
    written: i64,
}

/// All logs of an archive by the names of their folders, the segments after the rest: checkpoints that are listed
/// never sign records that are not.
///
/// # Errors
/// The store does not answer.
pub(crate) async fn logs(store: &Store) -> Result<BTreeMap<Vec<String>, ArchivedLog>, ArchiveError> {
    let folder = store.folder([]);
    // What the first listing has is delivered; only what is behind it may be newer than something it lacks.
    let first = store.list(&folder).await?;
    let mut logs = BTreeMap::new();
    for object in &first {
        enter(&mut logs, store, object, true);
    }
    if logs.values().any(ArchivedLog::may_grow) {
        for object in &store.list(&folder).await? {
            enter(&mut logs, store, object, false);
        }
    }
    Ok(logs)
}

/// Of a first listing everything counts, of a second one only segments.
fn enter(logs: &mut BTreeMap<Vec<String>, ArchivedLog>, store: &Store, object: &ObjectMeta, first: bool) {
    let mut names = store.names(&object.location);
    let (Some(offset), Some(file)) = (names.pop().and_then(|name| offset(&name)), names.pop()) else {
        return;
    };
    if !is_file(&file) || names.iter().any(|name| !is_folder(name)) {
        return;
    }
    if first || (is_segment(&file) && logs.contains_key(&names)) {
        logs.entry(names).or_default().files.entry(file).or_default().add(offset, object);
    }
}

fn offset(name: &str) -> Option<u64> {
    (name.len() == PART_DIGITS && name.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| name.parse().ok())?
}

/// Only what a log has: whoever can write the archive must not name files of who reads it.
fn is_file(name: &str) -> bool {
    is_segment(name) || super::pieces::FILES.contains(&name) || chunk_name(name).is_some()
}

/// The name beside a log of a file with encrypted results.
fn chunk_name(name: &str) -> Option<&str> {
    let name = name.strip_prefix(CHUNKS)?.strip_prefix('.')?;
    parse_name(name).map(|_| name)
}

/// Where a file of the log is on a disk.
pub(super) fn on_disk(directory: &Path, name: &str) -> PathBuf {
    match chunk_name(name) {
        Some(name) => directory.join(CHUNKS).join(name),
        None => directory.join(name),
    }
}

pub(super) fn is_segment(name: &str) -> bool {
    name.strip_suffix(".seg").is_some_and(|first| offset(first).is_some())
}

fn is_folder(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', '\0'])
}

impl ArchivedLog {
    /// Its segments by their first record.
    pub(crate) fn segments(&self) -> impl Iterator<Item = (u64, &str, &ArchivedFile)> {
        self.files.iter().filter_map(|(name, file)| {
            let first = name.strip_suffix(".seg")?.parse().ok()?;
            Some((first, name.as_str(), file))
        })
    }

    fn may_grow(&self) -> bool {
        !self.files.contains_key(crate::spool::CLOSED)
    }
}

impl ArchivedFile {
    pub(super) fn add(&mut self, offset: u64, object: &ObjectMeta) {
        let part = Part {
            object: object.location.clone(),
            bytes: object.size,
            written: object.last_modified.timestamp(),
        };
        self.parts.insert(offset, part);
    }

    /// Bytes from its beginning on without a gap.
    pub(crate) fn whole_bytes(&self) -> u64 {
        self.parts.iter().fold(
            0,
            |end, (offset, part)| {
                if *offset <= end { end.max(offset + part.bytes) } else { end }
            },
        )
    }

    /// When its last part was written, in seconds since 1970 by the store's clock.
    pub(crate) fn last_written(&self) -> i64 {
        self.parts.values().map(|part| part.written).max().unwrap_or_default()
    }

    /// Its parts' bytes in their order, to the end or to a gap.
    pub(crate) fn reading<'a>(&'a self, store: &'a Store, name: &'a str) -> Reading<'a> {
        Reading { store, name, parts: self.parts.iter().collect(), next: 0, end: 0 }
    }
}

/// Bytes of a file, part by part.
pub(crate) struct Reading<'a> {
    store: &'a Store,
    name: &'a str,
    parts: Vec<(&'a u64, &'a Part)>,
    next: usize,
    /// Bytes that were given.
    end: u64,
}

impl Reading<'_> {
    /// The next bytes; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ArchiveError> {
        while let Some((offset, part)) = self.parts.get(self.next) {
            self.next += 1;
            if **offset > self.end {
                return Err(ArchiveError::Gap { file: self.name.to_owned(), from: self.end });
            }
            // A part that was delivered again after one behind it went missing may overlap with its neighbours.
            let known = self.end - **offset;
            if known >= part.bytes && part.bytes > 0 {
                continue;
            }
            let bytes = self.store.get(&part.object).await?;
            if bytes.len() as u64 != part.bytes {
                return Err(ArchiveError::Differs { path: part.object.to_string() });
            }
            self.end += part.bytes - known;
            return Ok(Some(bytes.slice(usize::try_from(known).unwrap_or(usize::MAX).min(bytes.len())..)));
        }
        Ok(None)
    }
}
