//! Removing what has to be kept no longer. Never done unless somebody configured it.

use crate::event::{Event, EventName, SessionStamp, Severity, key};
use crate::segment::Segment;
use crate::spool::{Spool, SpoolError};
use std::io;
use std::time::Duration;

pub(super) async fn remove_below(spool: &Spool, below: u64, older_than: Duration) -> Result<u64, SpoolError> {
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
    let event = Event::new(
        EventName::Recorder,
        Severity::Info,
        format!("recorder removed: {} segments below record {removed_below}", removable.len()),
    )
    .with(key::RECORDER_EVENT, "removed")
    .with(key::REMOVED_BELOW, *removed_below);
    let receipt = spool.append(&SessionStamp::new(Vec::new()), event)?;
    spool.synced(receipt).await?;
    let mut bytes = 0;
    for (segment, _) in &removable {
        bytes += std::fs::metadata(&segment.path).map_err(SpoolError::Io)?.len();
        std::fs::remove_file(&segment.path).map_err(SpoolError::Io)?;
    }
    spool.0.shared.measure()?;
    Ok(bytes)
}

fn is_older(segment: &Segment, older_than: Duration) -> io::Result<bool> {
    let modified = std::fs::metadata(&segment.path)?.modified()?;
    Ok(modified.elapsed().is_ok_and(|age| age >= older_than))
}
