//! How far the export has got, on disk; and what it could not deliver.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;

/// Name of the cursor in a log's directory: the next sequence in decimal.
pub const CURSOR: &str = "export.cursor";

/// Name of the list of what was not delivered: one JSON object a line.
pub const UNDELIVERED: &str = "undelivered";

/// Records that the receiver refused, as it was said for their batch.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Undelivered {
    /// When.
    pub time: Timestamp,
    /// First record of the batch.
    pub first: u64,
    /// Last record of the batch.
    pub last: u64,
    /// How many of these were refused; which ones is not said.
    pub rejected: u64,
    /// What the receiver said.
    pub why: String,
}

/// What was not delivered of a log, oldest first.
///
/// # Errors
/// The file cannot be read or is not such a list.
pub fn undelivered(directory: &Path) -> io::Result<Vec<Undelivered>> {
    let file = match File::open(directory.join(UNDELIVERED)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    BufReader::new(file).lines().map(|line| serde_json::from_str(&line?).map_err(io::Error::other)).collect()
}

/// Appends to the list and waits until it is on disk.
pub(super) fn keep(directory: &Path, undelivered: &Undelivered) -> io::Result<()> {
    let mut line = serde_json::to_string(undelivered)?;
    line.push('\n');
    let mut file = OpenOptions::new().create(true).append(true).open(directory.join(UNDELIVERED))?;
    file.write_all(line.as_bytes())?;
    file.sync_data()
}

/// The next sequence to send: all before it are answered for. 0 when nothing was sent yet.
///
/// # Errors
/// The file cannot be read, or holds no number.
pub fn read(directory: &Path) -> io::Result<u64> {
    match std::fs::read_to_string(directory.join(CURSOR)) {
        Ok(text) => text.trim().parse().map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// Replaces the cursor as a whole. A cursor lost in a power cut means that records are sent again, so the directory
/// is not synced.
pub(super) fn write(directory: &Path, next: u64) -> io::Result<()> {
    let draft = directory.join("export.cursor.new");
    let mut file = File::create(&draft)?;
    writeln!(file, "{next}")?;
    file.sync_data()?;
    std::fs::rename(draft, directory.join(CURSOR))
}
