//! Noticing that a directory changed.
//!
//! Contents are compared, not events or times: that sees a ConfigMap's swap of symbolic links, a file copied over
//! a network mount, and an editor's rename alike. A change counts when two looks in a row agree, so that a file
//! that is still being written is not taken for a broken one.

use crate::config::{Place, Problems};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Time between two looks. Two of them and the compilation fit into the second that a change may take.
const INTERVAL: Duration = Duration::from_millis(200);

/// What a look at a directory gave.
pub type Look<T> = Result<T, Problems>;

/// Watches one directory.
pub struct Watcher<T> {
    read: Arc<dyn Fn() -> Look<T> + Send + Sync>,
    known: Look<T>,
}

impl<T> Watcher<T>
where
    T: Clone + PartialEq + Send + 'static,
{
    /// Looks once, and watches for anything else. `read` may block.
    ///
    /// Cancel safe.
    pub async fn new(read: impl Fn() -> Look<T> + Send + Sync + 'static) -> Self {
        let read: Arc<dyn Fn() -> Look<T> + Send + Sync> = Arc::new(read);
        let known = look(Arc::clone(&read)).await;
        Self { read, known }
    }

    /// What the last look that counted gave.
    pub const fn known(&self) -> &Look<T> {
        &self.known
    }

    /// Waits for a change, which is then [`Watcher::known`]: a broken directory once, not at every look.
    ///
    /// Cancel safe.
    pub async fn change(&mut self) {
        let mut candidate = None;
        loop {
            tokio::time::sleep(INTERVAL).await;
            let now = look(Arc::clone(&self.read)).await;
            if now == self.known {
                candidate = None;
            } else if candidate.as_ref() == Some(&now) {
                self.known = now;
                return;
            } else {
                candidate = Some(now);
            }
        }
    }
}

impl<T> fmt::Debug for Watcher<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is known may hold secrets.
        f.debug_struct("Watcher").finish_non_exhaustive()
    }
}

/// Looks without blocking the runtime.
async fn look<T: Send + 'static>(read: Arc<dyn Fn() -> Look<T> + Send + Sync>) -> Look<T> {
    tokio::task::spawn_blocking(move || read()).await.unwrap_or_else(|error| {
        Err(Problems(vec![Place::file("").problem("", format!("read directory: {error}"))]))
    })
}

#[cfg(test)]
mod tests {
    use super::Watcher;
    use crate::config::Snapshot;
    use std::path::Path;
    use std::time::{Duration, Instant};

    async fn watch(directory: &Path) -> Watcher<Snapshot> {
        let directory = directory.to_owned();
        Watcher::new(move || Snapshot::read(&directory)).await
    }

    async fn within_a_second(watcher: &mut Watcher<Snapshot>) -> super::Look<Snapshot> {
        let began = Instant::now();
        tokio::time::timeout(Duration::from_secs(10), watcher.change()).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(1), "took {:?}", began.elapsed());
        watcher.known().clone()
    }

    #[tokio::test]
    async fn a_change_is_seen_within_a_second_and_once() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.yaml");
        std::fs::write(&file, "a: 1").unwrap();
        let mut watcher = watch(directory.path()).await;
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
        let mut watcher = watch(path).await;
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
        let mut watcher = watch(&path).await;
        std::fs::remove_dir(&path).unwrap();
        let problems = within_a_second(&mut watcher).await.unwrap_err();
        assert!(problems.to_string().contains("expected a readable directory"), "{problems}");
    }
}
