//! Whether a log has room for another record, asked without writing one.

use crate::encode::MAX_LEAF_BYTES;
use crate::spool::writer::is_full;
use crate::spool::{Spool, SpoolError};
use std::io::Write as _;

impl Spool {
    /// Tries whether a record of the largest size has room, on the disk and within `max_bytes`, and leaves nothing
    /// behind. Blocks for a write into the operating system.
    ///
    /// # Errors
    /// It has none, as [`Spool::append`] would say; or the disk cannot be written for another reason.
    pub fn try_room(&self) -> Result<(), SpoolError> {
        self.0.shared.check_room(MAX_LEAF_BYTES as u64)?;
        // A file without a name: what free space a disk reports is not always what it gives.
        let written = tempfile::tempfile_in(self.directory())
            .and_then(|mut file| file.write_all(&vec![0; MAX_LEAF_BYTES]));
        written.map_err(|error| if is_full(&error) { SpoolError::DiskFull } else { SpoolError::Io(error) })
    }

    /// Waits until a record was refused for want of room, since the last time that this was waited for. For one who
    /// waits; of several each learns of some.
    ///
    /// Cancel safe.
    pub async fn refused_for_room(&self) {
        self.0.full.notified().await;
    }

    pub(super) fn note_if_full(&self, error: &SpoolError) {
        if matches!(error, SpoolError::DiskFull | SpoolError::Full { .. }) {
            self.0.full.notify_one();
        }
    }
}
