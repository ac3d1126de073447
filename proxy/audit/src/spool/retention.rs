//! Removing what has to be kept no longer. Never done unless somebody configured it.

use crate::chunks;
use crate::event::SessionStamp;
use crate::read::records;
use crate::segment::Segment;
use crate::spool::retired::removed;
use crate::spool::{Spool, SpoolError};
use jiff::Timestamp;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

pub(super) async fn remove_below(spool: &Spool, below: u64, older_than: Duration) -> Result<u64, SpoolError> {
    let bytes = remove_segments(spool, below, older_than).await?;
    let log = spool.directory();
    let has = |session: &str| spool.0.vault.has(session);
    let chunks = remove_chunks(log, oldest(log), has).map_err(SpoolError::Io)?;
    if bytes + chunks > 0 {
        spool.0.shared.measure()?;
    }
    Ok(bytes + chunks)
}

async fn remove_segments(spool: &Spool, below: u64, older_than: Duration) -> Result<u64, SpoolError> {
    let segments = Segment::list(spool.directory()).map_err(SpoolError::Io)?;
    // A segment is sealed when another follows; its last record is the one before that.
    let sealed = segments.iter().zip(segments.iter().skip(1));
    let mut removable = Vec::new();
    for (segment, following) in sealed {
        if following.first > below || !is_older(segment, older_than).map_err(SpoolError::Io)? {
            break;
        }
        removable.push((segment, following.first));
    }
    let Some((_, removed_below)) = removable.last() else { return Ok(0) };
    let receipt = spool.append(&SessionStamp::new(Vec::new()), removed(*removed_below))?;
    spool.synced(receipt).await?;
    // what is not signed anybody can have written who removed them
    if !spool.0.shared.signed(receipt.sequence.saturating_add(1)).await {
        tracing::warn!(directory = %spool.directory().display(), "nothing is removed: no checkpoint could be made");
        return Ok(0);
    }
    let mut bytes = 0;
    for (segment, _) in &removable {
        bytes += std::fs::metadata(&segment.path).map_err(SpoolError::Io)?.len();
        std::fs::remove_file(&segment.path).map_err(SpoolError::Io)?;
    }
    Ok(bytes)
}

/// Removes the encrypted results, and the keys, of sessions whose records are gone: a chunk is written before its
/// record, so what was written last well before the oldest record that is left is named by none.
pub(super) fn remove_chunks(
    log: &Path,
    oldest: Option<Timestamp>,
    is_open: impl Fn(&str) -> bool,
) -> io::Result<u64> {
    if Segment::list(log)?.first().is_none_or(|segment| segment.first == 0) {
        return Ok(0);
    }
    let Some(oldest) = oldest else { return Ok(0) };
    let Some(before) = SystemTime::from(oldest).checked_sub(CHUNK_MARGIN) else { return Ok(0) };
    let mut bytes = 0;
    for (name, metadata) in chunks::list(log)? {
        let Some((session, chunks::CIPHERTEXTS)) = chunks::parse_name(&name) else { continue };
        if metadata.modified()? >= before || is_open(session) {
            continue;
        }
        for kind in [chunks::KEY, chunks::CIPHERTEXTS] {
            let Some(path) = chunks::file(log, session, kind) else { continue };
            match std::fs::remove_file(path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        bytes += metadata.len();
    }
    Ok(bytes)
}

/// Time of the oldest record that is left.
pub(super) fn oldest(log: &Path) -> Option<Timestamp> {
    Some(records(log).ok()?.next()?.ok()?.time())
}

/// By how much a chunk is older than its record, at most.
const CHUNK_MARGIN: Duration = Duration::from_mins(10);

pub(super) fn is_older(segment: &Segment, older_than: Duration) -> io::Result<bool> {
    let modified = std::fs::metadata(&segment.path)?.modified()?;
    Ok(modified.elapsed().is_ok_and(|age| age >= older_than))
}
