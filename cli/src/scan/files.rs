//! Files that hold no records: logs, metrics, requests for approvals, whatever a value may have got into.

use anyhow::Context as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Bytes that are searched at once, with the end of those before.
const BLOCK_BYTES: usize = 1 << 20;

/// The files at these paths and below them, sorted. Links are not followed, and what is no file holds nothing.
pub(super) fn list(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut pending = paths.to_vec();
    while let Some(path) = pending.pop() {
        let listed = || format!("list {}", path.display());
        let kind = match std::fs::symlink_metadata(&path) {
            Ok(metadata) => metadata.file_type(),
            // What a directory held a moment ago; what was named must be there.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !paths.contains(&path) => continue,
            Err(error) => return Err(error).with_context(listed),
        };
        if kind.is_file() {
            files.push(path);
        } else if kind.is_dir() {
            for entry in std::fs::read_dir(&path).with_context(listed)? {
                pending.push(entry.with_context(listed)?.path());
            }
        }
    }
    files.sort();
    files.dedup();
    Ok(files)
}

/// Shows a file in blocks, each with so many bytes of what is before it, and the offset of the block's first byte.
/// Gives the file's length; one that is gone meanwhile has none.
pub(super) fn blocks(path: &Path, overlap: usize, mut show: impl FnMut(&[u8], u64)) -> anyhow::Result<u64> {
    let read = || format!("read {}", path.display());
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error).with_context(read),
    };
    let mut block = Vec::new();
    let (mut offset, mut length) = (0, 0);
    loop {
        let more = file.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut block).with_context(read)?;
        if more == 0 {
            return Ok(length);
        }
        length += more as u64;
        show(&block, offset);
        let done = block.len().saturating_sub(overlap);
        block.drain(..done);
        offset += done as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_across_blocks_is_seen_whole_and_at_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        for at in [0, BLOCK_BYTES - 3, BLOCK_BYTES, 2 * BLOCK_BYTES - 5] {
            let mut bytes = vec![b'.'; 2 * BLOCK_BYTES + 100];
            bytes[at..at + 6].copy_from_slice(b"canary");
            std::fs::write(&path, &bytes).unwrap();
            let mut found = Vec::new();
            let length = blocks(&path, 5, |block, offset| {
                let within = block.windows(6).position(|window| window == b"canary");
                found.extend(within.map(|within| offset + within as u64));
            });
            assert_eq!((length.unwrap(), found), (bytes.len() as u64, vec![at as u64]));
        }
    }

    #[test]
    fn directories_are_descended_into_and_links_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let within = directory.path().join("a/b");
        std::fs::create_dir_all(&within).unwrap();
        std::fs::write(within.join("one"), "").unwrap();
        std::fs::write(directory.path().join("two"), "").unwrap();
        std::os::unix::fs::symlink("/etc", directory.path().join("a/elsewhere")).unwrap();
        let found = list(&[directory.path().to_owned(), directory.path().join("two")]).unwrap();
        assert_eq!(found, [within.join("one"), directory.path().join("two")]);
        assert!(list(&[directory.path().join("three")]).is_err());
        assert_eq!(blocks(&directory.path().join("three"), 1, |_, _| ()).unwrap(), 0);
    }
}
