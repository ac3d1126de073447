//! How far the export has got, on disk; and what it could not deliver.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
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

/// What was not delivered of a log, oldest first. A last line without its end is none: the cursor did not move past
/// its batch, which is sent again.
///
/// # Errors
/// The file cannot be read or is not such a list.
pub fn undelivered(directory: &Path) -> io::Result<Vec<Undelivered>> {
    let file = match File::open(directory.join(UNDELIVERED)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut file = BufReader::new(file);
    let (mut ranges, mut line) = (Vec::new(), Vec::new());
    while file.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
        ranges.push(serde_json::from_slice(&line).map_err(io::Error::other)?);
        line.clear();
    }
    Ok(ranges)
}

/// Appends to the list and waits until it is on disk. A last line without its end is cut off before, and what a failed
/// write left is cut off after it, so that no line joins another.
pub(super) fn keep(directory: &Path, undelivered: &Undelivered) -> io::Result<()> {
    let mut line = serde_json::to_string(undelivered)?;
    line.push('\n');
    let path = directory.join(UNDELIVERED);
    let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
    let length = whole_lines(&mut file)?;
    file.set_len(length)?;
    let written = file.write_all(line.as_bytes());
    if written.is_err() {
        file.set_len(length)?;
    }
    written?;
    file.sync_data()
}

/// Bytes of the file up to the end of its last whole line.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let mut last = [b'\n'];
    if length > 0 {
        file.seek(SeekFrom::Start(length - 1))?;
        file.read_exact(&mut last)?;
    }
    if last == *b"\n" {
        return Ok(length);
    }
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at as u64 + 1))
}

/// The next sequence to send: all before it are answered for. 0 when nothing was sent yet, and when the file holds no
/// number: then all is sent again, which loses nothing, for a repetition has the identity of the first.
///
/// # Errors
/// The file cannot be read.
pub fn read(directory: &Path) -> io::Result<u64> {
    let bytes = match std::fs::read(directory.join(CURSOR)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let number = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse().ok());
    if number.is_none() {
        tracing::warn!(directory = %directory.display(), "export cursor holds no number: all is to be sent again");
    }
    Ok(number.unwrap_or_default())
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

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn range(first: u64) -> Undelivered {
        let why = "too old, says the réceiver".to_owned();
        Undelivered { time: Timestamp::UNIX_EPOCH, first, last: first + 4, rejected: 2, why }
    }

    #[test]
    fn a_line_that_was_torn_anywhere_is_none_and_the_next_one_does_not_join_it() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join(UNDELIVERED);
        let line = serde_json::to_vec(&range(7)).unwrap();
        let torn = (1..=line.len()).map(|end| line[..end].to_vec()).chain([vec![0; 99], vec![0xff; 9]]);
        for torn in torn.chain([Vec::new()]) {
            for before in [0, 2] {
                drop(std::fs::remove_file(&path));
                (0..before).for_each(|first| keep(directory.path(), &range(first)).unwrap());
                let whole = std::fs::read(&path).unwrap_or_default();
                std::fs::write(&path, [whole, torn.clone()].concat()).unwrap();
                let expected: Vec<_> = (0..before).map(range).collect();
                assert_eq!(undelivered(directory.path()).unwrap(), expected, "{torn:?}");
                keep(directory.path(), &range(7)).unwrap();
                let expected: Vec<_> = (0..before).chain([7]).map(range).collect();
                assert_eq!(undelivered(directory.path()).unwrap(), expected, "{torn:?}");
            }
        }
    }

    #[test]
    fn a_whole_line_that_is_no_range_is_said() {
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join(UNDELIVERED), "{\"first\":1}\n").unwrap();
        assert!(undelivered(directory.path()).is_err());
    }

    #[test]
    fn without_a_number_in_the_cursor_all_is_sent_again() {
        let directory = TempDir::new().unwrap();
        for (bytes, next) in [(&b"12\n"[..], 12), (b"", 0), (b"{", 0), (b"-3\n", 0), (&[0xff; 8], 0)] {
            std::fs::write(directory.path().join(CURSOR), bytes).unwrap();
            assert_eq!(read(directory.path()).unwrap(), next, "{bytes:?}");
        }
        write(directory.path(), 9).unwrap();
        assert_eq!(read(directory.path()).unwrap(), 9);
    }
}
