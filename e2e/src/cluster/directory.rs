//! The throwaway directory of a cluster.

use anyhow::{Context as _, Result};
use std::fs::{self, File};
use std::path::Path;
use tempfile::TempDir;

/// A temporary directory that goes with its value; one whose process was killed goes when the next is made.
#[derive(Debug)]
pub(super) struct Directory {
    directory: TempDir,
    /// Locked as long as this process lives.
    _owner: File,
}

impl Directory {
    /// A new one, after removing those that nobody owns any more.
    pub(super) fn new(prefix: &str) -> Result<Self> {
        sweep(&std::env::temp_dir(), prefix);
        let directory = tempfile::Builder::new().prefix(prefix).tempdir()?;
        let unlocked = directory.path().join("owner.new");
        let owner = File::create(&unlocked).context("create a lock")?;
        owner.lock().context("lock the directory")?;
        // It has this name only when it is locked, so that no sweep takes a directory that is being made.
        fs::rename(&unlocked, directory.path().join(OWNER)).context("name the lock")?;
        fs::create_dir(directory.path().join(LOGS)).context("create the directory of logs")?;
        Ok(Self { directory, _owner: owner })
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }
}

fn sweep(parent: &Path, prefix: &str) {
    let entries = fs::read_dir(parent).into_iter().flatten().filter_map(Result::ok);
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)) {
        let unowned = File::open(entry.path().join(OWNER)).is_ok_and(|owner| owner.try_lock().is_ok());
        if unowned {
            // Another sweep may be at it as well.
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}

const OWNER: &str = "owner";
const LOGS: &str = "log";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_owns_is_swept() {
        let parent = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let directory = parent.path().join(name);
            fs::create_dir(&directory).unwrap();
            (File::create(directory.join(OWNER)).unwrap(), directory)
        };
        let (owner, owned) = make("a-owned");
        owner.lock().unwrap();
        let (_, unowned) = make("a-unowned");
        let (_, other) = make("b-unowned");
        sweep(parent.path(), "a-");
        assert!(owned.exists());
        assert!(!unowned.exists());
        assert!(other.exists());
    }
}
