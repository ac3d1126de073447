//! The thread that makes records durable and signs checkpoints over them.

use crate::checkpoint;
use crate::chunks::Sealed;
use crate::durable::sync_directory;
use crate::encode::{Draft, LogAttributes};
use crate::event::{EventName, SessionStamp};
use crate::merkle::CompactRange;
use crate::note::{Checkpoint, LogSigner};
use crate::spool::predecessors::CLOSED;
use crate::spool::writer::{Status, Unsynced, Writer, is_full};
use crate::spool::{Receipt, SpoolError, closes_something};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// A new record is under a checkpoint after this time.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

/// Checkpoints that something asks for keep this distance, so that signing does not take the disk from commits.
const CHECKPOINT_DISTANCE: Duration = Duration::from_millis(50);

/// Records after which a checkpoint is asked for.
const CHECKPOINT_RECORDS: u64 = 256;

/// What handles and the committer share.
#[derive(Debug)]
pub(crate) struct Shared {
    writer: Mutex<Writer>,
    log: LogAttributes,
    signals: Mutex<Signals>,
    wake: Condvar,
    progress: watch::Sender<Progress>,
    /// Records under the last checkpoint.
    checkpointed: AtomicU64,
    checkpoint_asked: AtomicBool,
    #[cfg(any(test, feature = "test-util"))]
    sync_fault: AtomicBool,
}

/// What the committer is asked to do.
#[derive(Debug, Default)]
struct Signals {
    /// Somebody waits until this many records are on disk.
    sync_to: u64,
    checkpoint: bool,
    close: bool,
}

/// How far the log has got.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Records on disk.
    durable: u64,
    closed: bool,
    failed: bool,
}

/// Follows how much of a log is on disk.
#[derive(Clone, Debug)]
pub(crate) struct Durable(Option<watch::Receiver<Progress>>);

impl Durable {
    /// All of a log that nobody writes.
    pub(crate) fn everything() -> Self {
        Self(None)
    }

    /// Records on disk; `None` when all are that can be read.
    pub(crate) fn size(&self) -> Option<u64> {
        self.0.as_ref().map(|progress| progress.borrow().durable)
    }

    /// Whether nothing more is written: the last checkpoint is there.
    pub(crate) fn is_over(&self) -> bool {
        self.0.as_ref().is_none_or(|progress| progress.borrow().closed)
    }

    /// Waits until more than `size` records are on disk; `false` when that will never be.
    pub(crate) async fn beyond(&mut self, size: u64) -> bool {
        let Some(progress) = &mut self.0 else { return false };
        let reached = progress.wait_for(|progress| progress.durable > size || progress.closed).await;
        reached.is_ok_and(|progress| progress.durable > size)
    }
}

/// What only the committer needs: the key, the checkpoints file, and the lock on the directory while it lives.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) directory: PathBuf,
    pub(super) signer: LogSigner,
    pub(super) checkpoints: checkpoint::Writer,
    pub(super) checkpointed: u64,
    /// Held, not read: dropping it unlocks the directory.
    pub(super) _lock: File,
}

/// Longest wait for a checkpoint that was asked for.
const SIGNING_PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two looks for it.
const SIGNING_LOOK: Duration = Duration::from_millis(20);

impl Shared {
    pub(super) fn new(writer: Writer) -> Self {
        Self {
            log: writer.log.clone(),
            writer: Mutex::new(writer),
            signals: Mutex::default(),
            wake: Condvar::new(),
            progress: watch::Sender::new(Progress::default()),
            checkpointed: AtomicU64::new(0),
            checkpoint_asked: AtomicBool::new(false),
            #[cfg(any(test, feature = "test-util"))]
            sync_fault: AtomicBool::new(false),
        }
    }

    pub(super) fn log_attributes(&self) -> &LogAttributes {
        &self.log
    }

    pub(super) fn append(
        &self,
        session: &SessionStamp,
        draft: &Draft,
        name: EventName,
    ) -> Result<Receipt, SpoolError> {
        let sequence = self.writer().append(session, draft, closes_something(name))?;
        let due = closes_something(name)
            || sequence + 1 >= self.checkpointed.load(Ordering::Relaxed) + CHECKPOINT_RECORDS;
        if due && !self.checkpoint_asked.swap(true, Ordering::Relaxed) {
            self.signal(|signals| signals.checkpoint = true);
        }
        Ok(Receipt { sequence })
    }

    /// Waits until `size` records are on disk.
    pub(super) async fn synced(&self, size: u64) -> Result<(), SpoolError> {
        let mut progress = self.progress.subscribe();
        if progress.borrow().durable < size {
            self.signal(|signals| signals.sync_to = signals.sync_to.max(size));
        }
        let reached = progress
            .wait_for(|progress| progress.durable >= size || progress.failed || progress.closed)
            .await
            .or(Err(SpoolError::Failed))?;
        if reached.durable >= size { Ok(()) } else { Err(SpoolError::Failed) }
    }

    /// Has `size` records signed. Whether they are, after [`SIGNING_PATIENCE`] at most.
    pub(super) async fn signed(&self, size: u64) -> bool {
        let signed = || self.checkpointed.load(Ordering::Relaxed) >= size;
        let given_up = tokio::time::Instant::now() + SIGNING_PATIENCE;
        while !signed() && tokio::time::Instant::now() < given_up {
            self.signal(|signals| signals.checkpoint = true);
            tokio::time::sleep(SIGNING_LOOK).await;
        }
        signed()
    }

    /// Waits until the disk fails (`true`) or the log is closed (`false`).
    pub(super) async fn failed(&self) -> bool {
        let mut progress = self.progress.subscribe();
        let end = progress.wait_for(|progress| progress.failed || progress.closed).await;
        end.is_ok_and(|progress| progress.failed)
    }

    pub(super) fn durable(&self) -> Durable {
        Durable(Some(self.progress.subscribe()))
    }

    /// Measures the segments again, after some were removed.
    pub(super) fn measure(&self) -> Result<(), SpoolError> {
        self.writer().measure()
    }

    /// Whether so many bytes more may be written.
    pub(super) fn check_room(&self, bytes: u64) -> Result<(), SpoolError> {
        self.writer().check_room(bytes, false)
    }

    /// Has the next sync cover what was written beside the log.
    pub(super) fn attach(&self, sealed: &Sealed) {
        self.writer().attach(sealed);
    }

    pub(super) fn seal(&self) -> Result<(), SpoolError> {
        self.writer().seal()
    }

    pub(super) fn request_close(&self) {
        self.signal(|signals| signals.close = true);
    }

    pub(super) async fn close(&self) -> Result<(), SpoolError> {
        let mut progress = self.progress.subscribe();
        self.request_close();
        let end = progress.wait_for(|progress| progress.closed).await.or(Err(SpoolError::Failed))?;
        if end.failed { Err(SpoolError::Failed) } else { Ok(()) }
    }

    fn signal(&self, set: impl FnOnce(&mut Signals)) {
        set(&mut self.signals.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_one();
    }

    /// A panic under the lock leaves nothing half done that a later record could build on: the tail's fields are set
    /// after the write, one by one, without a step that can fail.
    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self) {
        self.writer().status = Status::Failed;
        self.progress.send_modify(|progress| progress.failed = true);
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn inject(&self, fault: super::Fault, after: u64) {
        self.sync_fault.store(fault == super::Fault::SyncFails, Ordering::Relaxed);
        self.writer().fault = Some((fault, after));
    }

    fn sync(&self, keeper: &Keeper, unsynced: &Unsynced) -> io::Result<()> {
        self.check_fault()?;
        for file in &unsynced.files {
            file.sync_data()?;
        }
        if unsynced.directory {
            sync_directory(&keeper.directory)?;
        }
        Ok(())
    }

    #[cfg(any(test, feature = "test-util"))]
    fn check_fault(&self) -> io::Result<()> {
        let fails = self.sync_fault.load(Ordering::Relaxed);
        if fails { Err(io::Error::other("injected sync failure")) } else { Ok(()) }
    }

    #[cfg(not(any(test, feature = "test-util")))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the counterpart of the test's fault")]
    fn check_fault(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts the committer; it ends when the spool is closed or its disk fails.
pub(super) fn spawn(shared: Arc<Shared>, keeper: Keeper) -> io::Result<JoinHandle<()>> {
    shared.checkpointed.store(keeper.checkpointed, Ordering::Relaxed);
    std::thread::Builder::new().name("audit-commit".to_owned()).spawn(move || {
        let mut keeper = keeper;
        if let Err(error) = run(&shared, &mut keeper) {
            tracing::error!(error = %error, directory = %keeper.directory.display(), "sync audit spool");
            shared.fail();
        }
        // The lock goes before anybody is told, so that the log can be opened again at once.
        drop(keeper);
        shared.progress.send_modify(|progress| progress.closed = true);
    })
}

fn run(shared: &Shared, keeper: &mut Keeper) -> io::Result<()> {
    let mut last_checkpoint = Instant::now();
    let mut durable = 0;
    loop {
        let (closing, checkpoint_due) = wait(shared, durable, last_checkpoint);
        let (unsynced, failed) = {
            let mut writer = shared.writer();
            if closing && writer.status == Status::Open {
                writer.status = Status::Closed;
            }
            (writer.take_unsynced(), writer.status == Status::Failed)
        };
        if failed {
            shared.fail();
            return Ok(());
        }
        if unsynced.tree.size() > durable || unsynced.directory || unsynced.files.len() > 1 {
            shared.sync(keeper, &unsynced)?;
            durable = unsynced.tree.size();
            shared.progress.send_modify(|progress| progress.durable = durable);
        }
        if checkpoint_due || closing {
            last_checkpoint = Instant::now();
            shared.checkpoint_asked.store(false, Ordering::Relaxed);
            keeper.checkpoint(&unsynced.tree)?;
            shared.checkpointed.store(keeper.checkpointed, Ordering::Relaxed);
        }
        if closing {
            keeper.checkpoints.sync()?;
            // Without the mark the next start reads the log once more, and signs what is not signed.
            if keeper.checkpointed < durable {
                return Ok(());
            }
            if let Err(error) = std::fs::write(keeper.directory.join(CLOSED), format!("{durable}\n")) {
                tracing::warn!(error = %error, directory = %keeper.directory.display(), "mark audit log as closed");
                // half a mark says nothing
                std::fs::remove_file(keeper.directory.join(CLOSED)).ok();
            }
            return Ok(());
        }
    }
}

/// Sleeps until there is something to do; says whether to close, and whether a checkpoint is due.
fn wait(shared: &Shared, durable: u64, last_checkpoint: Instant) -> (bool, bool) {
    let mut signals = shared.signals.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let distance = if signals.checkpoint { CHECKPOINT_DISTANCE } else { CHECKPOINT_EVERY };
        let left = distance.saturating_sub(last_checkpoint.elapsed());
        if signals.close || signals.sync_to > durable || left.is_zero() {
            signals.checkpoint &= !left.is_zero();
            return (signals.close, left.is_zero());
        }
        signals = shared.wake.wait_timeout(signals, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

impl Keeper {
    /// Signs the tree's state when it has grown.
    fn checkpoint(&mut self, tree: &CompactRange) -> io::Result<()> {
        if tree.size() <= self.checkpointed {
            return Ok(());
        }
        let origin = self.signer.public().name().to_owned();
        let note = self.signer.sign(&Checkpoint { origin, size: tree.size(), root: tree.root() });
        match self.checkpoints.append(&note) {
            Ok(()) => self.checkpointed = tree.size(),
            // The records are kept; the next checkpoint covers them when there is room again.
            Err(error) if is_full(&error) => tracing::warn!("no room for a checkpoint of the audit log"),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
