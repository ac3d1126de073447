//! Logs of earlier starts of a gateway: each start writes a log of its own beside them.

use crate::checkpoint::{CHECKPOINTS, VERIFIER_KEY};
use crate::note::{LogKey, NoteError};
use crate::spool::retired::{is_retired, retire, settle};
use crate::spool::{Recovery, Spool, SpoolError, SpoolOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Name of the file that says that a log was closed in order.
pub(crate) const CLOSED: &str = "closed";

/// With how many records a log was closed in order. A mark without a number, which a full disk cut short, says nothing.
///
/// # Errors
/// The mark is there and cannot be read.
pub(crate) fn closed_with(directory: &Path) -> io::Result<Option<u64>> {
    match std::fs::read_to_string(directory.join(CLOSED)) {
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// An earlier log that was not closed in order, and what came of repairing it; or whose key could not be removed.
#[derive(Debug)]
pub struct Predecessor {
    /// Its directory.
    pub directory: PathBuf,
    /// What was found; sessions that the crash left open have an end now. An error leaves the log as it is.
    pub outcome: Result<Recovery, SpoolError>,
}

/// Repairs the logs that lie beside this one and that nobody closed or writes, removes the keys of all that nobody
/// writes, and sets [`SpoolOptions::predecessor`] to the newest of these. Blocks: unclosed logs are read as a whole.
///
/// # Errors
/// The directory of the logs cannot be read. That a log cannot be repaired is in its [`Predecessor`].
pub fn recover_predecessors(options: &mut SpoolOptions) -> io::Result<Vec<Predecessor>> {
    let Some(parent) = options.directory.parent().filter(|parent| parent.is_dir()) else {
        return Ok(Vec::new());
    };
    let mut recovered = Vec::new();
    let mut newest: Option<(SystemTime, PathBuf)> = None;
    for entry in std::fs::read_dir(parent)? {
        let directory = entry?.path();
        if directory == options.directory || !directory.join(VERIFIER_KEY).is_file() {
            continue;
        }
        let written = last_written(&directory)?;
        if !directory.join(CLOSED).is_file() {
            match recover(options, &directory) {
                Err(SpoolError::Locked { .. }) => continue,
                outcome => recovered.push(Predecessor { directory: directory.clone(), outcome }),
            }
        }
        if let Err(outcome) = retire(&directory) {
            recovered.push(Predecessor { directory: directory.clone(), outcome: Err(outcome) });
        }
        if newest.as_ref().is_none_or(|(time, _)| *time < written) {
            newest = Some((written, directory));
        }
    }
    options.predecessor = newest.map(|(_, directory)| directory);
    Ok(recovered)
}

fn recover(options: &SpoolOptions, directory: &Path) -> Result<Recovery, SpoolError> {
    if is_retired(directory) {
        settle(directory)?;
        return Ok(Recovery::default());
    }
    let vkey = std::fs::read_to_string(directory.join(VERIFIER_KEY)).map_err(SpoolError::Io)?;
    let malformed = |error: NoteError| SpoolError::Damaged {
        directory: directory.to_owned(),
        what: format!("{VERIFIER_KEY}: {error}"),
    };
    let origin = LogKey::parse(&vkey).map_err(malformed)?.name().to_owned();
    let own = SpoolOptions::new(directory, origin);
    let own = SpoolOptions { segment_bytes: options.segment_bytes, max_bytes: options.max_bytes, ..own };
    let (spool, recovery) = Spool::open(&own)?;
    // Dropping it closes it: checkpoint, sync, and the mark that it is closed.
    drop(spool);
    Ok(recovery)
}

fn last_written(directory: &Path) -> io::Result<SystemTime> {
    match std::fs::metadata(directory.join(CHECKPOINTS)) {
        Ok(metadata) => metadata.modified(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => std::fs::metadata(directory)?.modified(),
        Err(error) => Err(error),
    }
}
