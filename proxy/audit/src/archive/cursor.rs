//! How far the delivery of a log to an archive has got, on disk: for whoever asks while no gateway runs. What is
//! resumed from is the archive itself.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

/// Name of the file in a log's directory: one JSON object.
pub const ARCHIVE_CURSOR: &str = "archive.cursor";

/// How far a log has got.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Standing {
    /// The archive.
    pub location: String,
    /// Number of the next record to deliver: all before it are in the archive.
    pub next: u64,
    /// Bytes of the log's signed notes in the archive, by file.
    pub notes: Vec<u64>,
    /// Whether the log is closed and in the archive as a whole.
    pub complete: bool,
    /// When this was so.
    pub time: Timestamp,
}

/// How far the log in this directory has got; `None` when nothing of it was delivered yet.
///
/// # Errors
/// The file cannot be read, or is none.
pub fn standing(directory: &Path) -> io::Result<Option<Standing>> {
    match std::fs::read(directory.join(ARCHIVE_CURSOR)) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces it as a whole.
pub(super) fn write(directory: &Path, standing: &Standing) -> io::Result<()> {
    let draft = directory.join("archive.cursor.new");
    let mut file = File::create(&draft)?;
    serde_json::to_writer(&mut file, standing)?;
    file.write_all(b"\n")?;
    file.sync_data()?;
    std::fs::rename(draft, directory.join(ARCHIVE_CURSOR))
}
