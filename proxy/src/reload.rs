//! Noticing that the configuration directory changed.
//!
//! Contents are compared, not events or times: that sees a ConfigMap's swap of symbolic links, a file copied over
//! a network mount, and an editor's rename alike. A change counts when two looks in a row agree, so that a file
//! that is still being written is not taken for a broken one.

use crate::config::{Problems, Snapshot};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Time between two looks. Two of them and the compilation fit into the second that a change may take.
const INTERVAL: Duration = Duration::from_millis(200);

/// What a look at the directory gave.
pub type Look = Result<Snapshot, Problems>;

/// Watches one directory.
#[derive(Debug)]
pub struct Watcher {
    directory: PathBuf,
    known: Look,
}

impl Watcher {
    /// Watches for anything other than what is known already.
    pub fn new(directory: &Path, known: Snapshot) -> Self {
        Self { directory: directory.to_owned(), known: Ok(known) }
    }

    /// Waits for a change and returns what is there now: a broken directory once, not at every look.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// The directory cannot be read: what is returned says where and why.
    pub async fn change(&mut self) -> Look {
        let mut candidate = None;
        loop {
            tokio::time::sleep(INTERVAL).await;
            let now = look(self.directory.clone()).await;
            if now == self.known {
                candidate = None;
            } else if candidate.as_ref() == Some(&now) {
                self.known.clone_from(&now);
                return now;
            } else {
                candidate = Some(now);
            }
        }
    }
}

/// Reads the directory without blocking the runtime.
///
/// Cancel safe.
///
/// # Errors
/// As [`Snapshot::read`].
pub async fn look(directory: PathBuf) -> Look {
    let place = crate::config::Place::file(&directory.display().to_string());
    tokio::task::spawn_blocking(move || Snapshot::read(&directory))
        .await
        .unwrap_or_else(|error| Err(Problems(vec![place.problem("", format!("read directory: {error}"))])))
}

#[cfg(test)]
mod tests {
    use super::{Watcher, look};
    use std::time::{Duration, Instant};

    async fn within_a_second(watcher: &mut Watcher) -> super::Look {
        let began = Instant::now();
        let look = tokio::time::timeout(Duration::from_secs(10), watcher.change()).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(1), "took {:?}", began.elapsed());
        look
    }

    #[tokio::test]
    async fn a_change_is_seen_within_a_second_and_once() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.yaml");
        std::fs::write(&file, "a: 1").unwrap();
        let mut watcher = Watcher::new(directory.path(), look(directory.path().to_owned()).await.unwrap());
        std::fs::write(&file, "a: 2").unwrap();
        let seen = within_a_second(&mut watcher).await.unwrap();
        assert_eq!(seen.files, [("a.yaml".to_owned(), "a: 2".to_owned())]);
        std::fs::write(directory.path().join("notes.txt"), "no manifest").unwrap();
        let quiet = tokio::time::timeout(Duration::from_millis(700), watcher.change()).await;
        assert!(quiet.is_err(), "nothing more to see");
    }

    #[tokio::test]
    async fn a_swap_of_symbolic_links_is_a_change() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        for (version, text) in [("..1", "a: 1"), ("..2", "a: 2")] {
            std::fs::create_dir(path.join(version)).unwrap();
            std::fs::write(path.join(version).join("a.yaml"), text).unwrap();
        }
        std::os::unix::fs::symlink("..1", path.join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/a.yaml", path.join("a.yaml")).unwrap();
        let mut watcher = Watcher::new(path, look(path.to_owned()).await.unwrap());
        std::os::unix::fs::symlink("..2", path.join("..data_new")).unwrap();
        std::fs::rename(path.join("..data_new"), path.join("..data")).unwrap();
        let seen = within_a_second(&mut watcher).await.unwrap();
        assert_eq!(seen.files, [("a.yaml".to_owned(), "a: 2".to_owned())]);
    }

    #[tokio::test]
    async fn a_directory_that_vanishes_is_a_problem() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        std::fs::create_dir(&path).unwrap();
        let mut watcher = Watcher::new(&path, look(path.clone()).await.unwrap());
        std::fs::remove_dir(&path).unwrap();
        let problems = within_a_second(&mut watcher).await.unwrap_err();
        assert!(problems.to_string().contains("expected a readable directory"), "{problems}");
    }
}
