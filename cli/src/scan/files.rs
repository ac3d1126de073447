//! Files that hold no records: logs, metrics, requests for approvals, whatever a value may have got into.

use anyhow::Context as _;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Bytes that are searched at once, with the end of those before.
const BLOCK_BYTES: usize = 1 << 20;

/// What there is to search, sorted, and what cannot be.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) files: Vec<PathBuf>,
    pub(super) unread: Vec<Unread>,
}

/// Something that cannot be searched.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(super) struct Unread {
    pub(super) path: String,
    pub(super) why: Cow<'static, str>,
}

/// The files at these paths and below them, each once however many names it has. A link that was named is followed, and
/// one below a directory that leads to a file; no other, so that a search ends, and stays where it was asked to.
pub(super) fn list(paths: &[PathBuf]) -> anyhow::Result<Listed> {
    let mut walk = Walk { pending: paths.to_vec(), ..Walk::default() };
    while let Some(path) = walk.pending.pop() {
        walk.step(path, paths)?;
    }
    // What is listed by its own name is not listed by that of a link.
    for link in std::mem::take(&mut walk.links) {
        walk.follow(link);
    }
    walk.listed.files.sort();
    walk.listed.unread.sort();
    walk.listed.unread.dedup();
    Ok(walk.listed)
}

#[derive(Default)]
struct Walk {
    pending: Vec<PathBuf>,
    links: Vec<PathBuf>,
    /// Device and number of each file and directory that was met.
    seen: BTreeSet<(u64, u64)>,
    listed: Listed,
}

impl Walk {
    fn step(&mut self, path: PathBuf, named: &[PathBuf]) -> anyhow::Result<()> {
        let listed = || format!("list {}", path.display());
        let metadata = match std::fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            // What a directory held a moment ago; what was named must be there.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !named.contains(&path) => return Ok(()),
            Err(error) => return Err(error).with_context(listed),
        };
        if metadata.is_symlink() {
            // A directory at the end of a link that was named is a directory that was named.
            match std::fs::canonicalize(&path) {
                Ok(end) if named.contains(&path) && end.is_dir() => self.pending.push(end),
                Ok(_) | Err(_) => self.links.push(path),
            }
        } else if metadata.is_dir() {
            if self.is_new(&metadata) {
                for entry in std::fs::read_dir(&path).with_context(listed)? {
                    self.pending.push(entry.with_context(listed)?.path());
                }
            }
        } else {
            self.take(path, &metadata);
        }
        Ok(())
    }

    fn follow(&mut self, link: PathBuf) {
        match std::fs::metadata(&link) {
            Ok(metadata) if metadata.is_dir() => {
                if !self.seen.contains(&(metadata.dev(), metadata.ino())) {
                    self.leave(&link, "a link to a directory that is not searched");
                }
            }
            Ok(metadata) => self.take(link, &metadata),
            Err(_) => self.leave(&link, "a link that leads nowhere"),
        }
    }

    fn take(&mut self, path: PathBuf, metadata: &Metadata) {
        if !metadata.is_file() {
            self.leave(&path, "neither a file nor a directory");
        } else if self.is_new(metadata) {
            self.listed.files.push(path);
        }
    }

    fn leave(&mut self, path: &Path, why: &'static str) {
        self.listed.unread.push(Unread { path: path.display().to_string(), why: why.into() });
    }

    fn is_new(&mut self, metadata: &Metadata) -> bool {
        self.seen.insert((metadata.dev(), metadata.ino()))
    }
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
    fn directories_are_descended_into() {
        let directory = tempfile::tempdir().unwrap();
        let within = directory.path().join("a/b");
        std::fs::create_dir_all(&within).unwrap();
        std::fs::write(within.join("one"), "").unwrap();
        std::fs::write(directory.path().join("two"), "").unwrap();
        let found = list(&[directory.path().to_owned(), directory.path().join("two")]).unwrap();
        assert_eq!(found.files, [within.join("one"), directory.path().join("two")]);
        assert_eq!(found.unread, []);
        assert!(list(&[directory.path().join("three")]).is_err());
        assert_eq!(blocks(&directory.path().join("three"), 1, |_, _| ()).unwrap(), 0);
    }

    #[test]
    fn links_are_followed_to_files_and_where_they_were_named_and_nothing_is_left_out_silently() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, at(name)).unwrap();
        std::fs::create_dir_all(at("logs/older")).unwrap();
        std::fs::create_dir_all(at("elsewhere")).unwrap();
        for file in ["logs/older/one", "elsewhere/two", "elsewhere/three"] {
            std::fs::write(at(file), "").unwrap();
        }
        std::fs::hard_link(at("logs/older/one"), at("logs/same")).unwrap();
        link("older", "logs/current");
        link("..", "logs/older/round");
        link("../elsewhere/two", "logs/two");
        link("../elsewhere", "logs/out");
        link("nowhere", "logs/lost");
        link("self", "logs/self");
        link("logs", "named");
        let socket = std::os::unix::net::UnixListener::bind(at("logs/socket")).unwrap();

        for named in ["logs", "named"] {
            let found = list(&[at(named)]).unwrap();
            let logs = std::fs::canonicalize(at("logs")).unwrap();
            let names: Vec<_> = found.files.iter().map(|path| path.strip_prefix(&logs).unwrap()).collect();
            assert!(
                names == [Path::new("older/one"), Path::new("two")]
                    || names == [Path::new("same"), Path::new("two")]
            );
            let unread: Vec<_> =
                found.unread.iter().map(|one| one.path.rsplit('/').next().unwrap()).collect();
            assert_eq!(unread, ["lost", "out", "self", "socket"]);
        }
        let all = list(&[at("logs"), at("logs/out"), at("elsewhere/two")]).unwrap();
        assert_eq!(all.files.len(), 3, "{all:?}");
        assert_eq!(list(&[at("logs/lost")]).unwrap().unread.len(), 1, "named, it is said as well");
        drop(socket);
    }
}
