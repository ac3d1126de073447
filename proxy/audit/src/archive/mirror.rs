//! Whole logs, fetched to a directory in which everything that reads logs reads them.

use crate::archive::listing::{self, ArchivedLog};
use crate::archive::location::Purpose;
use crate::archive::pieces::io_error;
use crate::archive::{ArchiveError, Location, Store};
use crate::checkpoint::{VERIFIER_KEY, read_notes};
use crate::chunks::CHUNKS;
use crate::inventory::{CERTIFIER_KEY, INVENTORY};
use crate::note::LogKey;
use sha2::{Digest as _, Sha256};
use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use tokio::runtime::{Builder, Runtime};

/// Folder of a mirror with the inventories that came with the logs, each in a folder of its own.
pub const INVENTORIES: &str = "inventories";

/// Fetches the logs of an archive, or the one of this origin, into this directory, each into the folder that its names
/// in the archive are; and their inventories into [`INVENTORIES`]. Blocks; must not be called within a runtime.
///
/// Gives what is not there any more: each is a [`ArchiveError::Gap`] or a [`ArchiveError::Differs`], and its file was
/// fetched up to there. Which records that were, a verification of what was fetched says.
///
/// # Errors
/// See [`ArchiveError`]. What was fetched until then stays there.
pub fn mirror(
    location: &Location,
    only: Option<&str>,
    into: &Path,
) -> Result<Vec<ArchiveError>, ArchiveError> {
    let runtime = runtime()?;
    let store = location.open(Purpose::Read)?;
    let fetched = async {
        let mut lacking = Vec::new();
        for (names, log) in listing::logs(&store).await? {
            if only.is_some_and(|origin| !is_of(origin, &names)) {
                continue;
            }
            let directory = names.iter().fold(into.to_owned(), |path, name| path.join(name));
            lacking.extend(fetch(&store, &log, &directory).await?);
            keep_inventory(&directory, &names, into)?;
        }
        Ok(lacking)
    };
    runtime.block_on(fetched)
}

/// Whether a log of this origin is in a folder of these names: its last ones, where the address has the first.
fn is_of(origin: &str, names: &[String]) -> bool {
    let mut origin = origin.rsplit('/');
    names.iter().rev().all(|name| origin.next() == Some(name.as_str()))
}

/// One thread: whoever reads waits.
pub(crate) fn runtime() -> Result<Runtime, ArchiveError> {
    let built = Builder::new_current_thread().enable_all().build();
    built.map_err(|error| ArchiveError::Location { why: error.to_string() })
}

async fn fetch(
    store: &Store,
    log: &ArchivedLog,
    directory: &Path,
) -> Result<Vec<ArchiveError>, ArchiveError> {
    create(&directory.join(CHUNKS))?;
    let mut lacking = Vec::new();
    for (name, file) in &log.files {
        lacking.extend(write(&listing::on_disk(directory, name), file.reading(store, name)).await?);
    }
    Ok(lacking)
}

/// Writes a file as it comes, up to where something of it is not there any more: what that is.
pub(crate) async fn write(
    path: &Path,
    mut reading: listing::Reading<'_>,
) -> Result<Option<ArchiveError>, ArchiveError> {
    let mut file = File::create(path).map_err(io_error(path))?;
    loop {
        match reading.next().await {
            Ok(Some(bytes)) => file.write_all(&bytes).map_err(io_error(path))?,
            Ok(None) => return Ok(None),
            Err(lacking @ (ArchiveError::Gap { .. } | ArchiveError::Differs { .. })) => {
                return Ok(Some(lacking));
            }
            Err(error) => return Err(error),
        }
    }
}

/// Each log carries the inventory as it was when it began. Of those that begin with the same log, the longest is kept,
/// and only where the whole archive was asked for: it names logs of other Resources too.
fn keep_inventory(log: &Path, names: &[String], into: &Path) -> Result<(), ArchiveError> {
    let carried = log.join(INVENTORY);
    let (notes, _) = read_notes(&carried).map_err(io_error(&carried))?;
    let Some(first) = notes.first().filter(|_| is_whole(log, names)) else { return Ok(()) };
    let digest = const_hex::encode(Sha256::digest(first));
    let kept = into.join(INVENTORIES).join(digest.get(..16).unwrap_or(&digest));
    if length(&kept.join(INVENTORY)) >= length(&carried) {
        return Ok(());
    }
    create(&kept)?;
    for file in [INVENTORY, CERTIFIER_KEY] {
        let from = log.join(file);
        match std::fs::copy(&from, kept.join(file)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error(&from)(error)),
        }
    }
    Ok(())
}

/// Whether the log's folder is its whole origin.
fn is_whole(log: &Path, names: &[String]) -> bool {
    let key = std::fs::read_to_string(log.join(VERIFIER_KEY)).ok();
    let key = key.and_then(|text| LogKey::parse(&text).ok());
    key.is_some_and(|key| key.name().split('/').eq(names.iter().map(String::as_str)))
}

fn length(file: &PathBuf) -> u64 {
    std::fs::metadata(file).map_or(0, |metadata| metadata.len())
}

/// What agents did is for the owner only.
fn create(directory: &Path) -> Result<(), ArchiveError> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io_error(directory))
}
