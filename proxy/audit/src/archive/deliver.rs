//! Delivery of a log to an archive, while it is written and after.
//!
//! One task per log: a round every while takes what is on disk and not in the archive, in parts of at most 8 MiB. What
//! fails is tried again without end. Where it got to is read from the archive at the start, so a kill at any moment
//! costs nothing but a part that is sent again and found to be there.

use crate::Spool;
use crate::archive::cursor::{self, Standing};
use crate::archive::listing::{ArchivedLog, part_name};
use crate::archive::location::Purpose;
use crate::archive::pieces::{self, NOTES, Piece, Place, io_error};
use crate::archive::{ARCHIVE_CURSOR, ArchiveError, Location, Lock, Store};
use crate::causes::chain;
use crate::checkpoint::{CHECKPOINTS, last_size};
use crate::chunks;
use crate::spool::Durable;
use crate::verify::{being_written, own_key};
use jiff::Timestamp;
use object_store::path::Path as ObjectPath;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// Least bytes of notes that are read at once: a note is much smaller.
const NOTES_BYTES: u64 = 64 << 10;

/// Where logs are delivered, and how.
#[derive(Clone, Debug)]
pub struct ArchiveOptions {
    /// The archive.
    pub location: Location,
    /// For how long its objects are locked, where it takes a lock.
    pub lock: Option<Lock>,
    /// Time between two rounds: what a lost volume can cost, and how many objects a busy log becomes.
    pub interval: Duration,
    /// Bytes of a part, about.
    pub part_bytes: u64,
    /// Pause after the first failure; it doubles up to `max_backoff`.
    pub initial_backoff: Duration,
    /// Longest pause between attempts.
    pub max_backoff: Duration,
}

impl ArchiveOptions {
    /// A round every 30 s, parts of 8 MiB, back-off from 1 s to 60 s; nothing is locked.
    pub fn new(location: Location) -> Self {
        Self {
            location,
            lock: None,
            interval: Duration::from_secs(30),
            part_bytes: 8 << 20,
            initial_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_mins(1),
        }
    }
}

/// How the delivery of one log is doing.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct ArchiveStatus {
    /// Number of the next record to deliver: all before it are in the archive.
    pub next: u64,
    /// Records on disk that are not in the archive. Of a log that nobody writes: 0.
    pub lag: u64,
    /// Records below this are in segments that the archive has as a whole: they may leave the disk.
    pub whole_below: u64,
    /// Bytes delivered since the start.
    pub bytes: u64,
    /// Attempts that failed and will be repeated, since the start.
    pub failures: u64,
    /// Why the last attempt failed; empty after a success.
    pub last_error: Option<String>,
    /// Whether the log is closed and in the archive as a whole.
    pub complete: bool,
    /// Rounds that succeeded since the start.
    pub rounds: u64,
}

/// A running delivery. Dropping it stops at the next await; nothing is lost.
#[derive(Debug)]
pub struct Archiver {
    status: watch::Receiver<ArchiveStatus>,
    asked: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Archiver {
    /// Starts to deliver a log that is being written. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// The archive's address, or what the environment says to it, cannot be used. That it does not answer is no error.
    pub fn start(spool: &Spool, options: ArchiveOptions) -> Result<Self, ArchiveError> {
        Self::spawn(spool.directory(), spool.durable(), options, true)
    }

    /// Delivers what is left of a log that nobody writes any more, and ends.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn finish(directory: &Path, options: ArchiveOptions) -> Result<Self, ArchiveError> {
        Self::spawn(directory, Durable::everything(), options, false)
    }

    fn spawn(
        directory: &Path,
        durable: Durable,
        options: ArchiveOptions,
        own: bool,
    ) -> Result<Self, ArchiveError> {
        // What cannot be used is said at the start.
        drop(options.location.open(Purpose::Write(None))?);
        let (status, receiver) = watch::channel(ArchiveStatus::default());
        let asked = Arc::new(Notify::new());
        let (directory, wake) = (directory.to_owned(), Arc::clone(&asked));
        let delivery = Delivery { directory, durable, options, status, asked: wake, own };
        Ok(Self { status: receiver, asked, task: tokio::spawn(delivery.run()) })
    }

    /// How it is doing now.
    pub fn status(&self) -> ArchiveStatus {
        self.status.borrow().clone()
    }

    /// To wait for a status.
    pub fn watch(&self) -> watch::Receiver<ArchiveStatus> {
        self.status.clone()
    }

    /// Waits until all that is there now is in the archive, but no longer than this, and stops. Close the spool first,
    /// and wait for its witnesses.
    pub async fn drain(mut self, limit: Duration) -> ArchiveStatus {
        if tokio::time::timeout(limit, self.all_there_is_now()).await.is_err() {
            tracing::warn!(lag = self.status().lag, "audit records are left to archive at the next start");
        }
        self.status()
    }

    async fn all_there_is_now(&mut self) {
        // A round that is under way may have begun before the last was written.
        for _ in 0..2 {
            let before = self.status.borrow().rounds;
            self.asked.notify_one();
            let round = self.status.wait_for(|status| status.complete && status.rounds > before);
            if round.await.is_err() {
                return;
            }
        }
    }
}

impl Drop for Archiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Delivery {
    directory: PathBuf,
    durable: Durable,
    options: ArchiveOptions,
    status: watch::Sender<ArchiveStatus>,
    /// Somebody wants a round now.
    asked: Arc<Notify>,
    /// The log of this process: it is looked after until this is dropped, for a witness may have the last word.
    own: bool,
}

/// What the archive has, and the client by which it gets more.
struct Progress {
    store: Store,
    /// For what must stay removable whatever is locked: keys, by whose removal results are erased.
    unlocked: Store,
    locked_until: Option<Timestamp>,
    folder: ObjectPath,
    place: Place,
    /// Bytes of the other files in the archive.
    there: BTreeMap<String, u64>,
    /// Size of the largest checkpoint that was read.
    signed: u64,
}

impl Delivery {
    async fn run(mut self) {
        if self.is_anothers() || self.is_known_to_be_complete() {
            return;
        }
        let mut progress = None;
        let mut backoff = self.options.initial_backoff;
        loop {
            let over = self.durable.is_over();
            match self.round(&mut progress).await {
                Ok(true) if !self.own => return,
                Ok(_) => {
                    backoff = self.options.initial_backoff;
                    self.pause(over).await;
                }
                Err(error) => {
                    // Where it got to is read anew: an attempt whose answer was lost may have succeeded.
                    progress = None;
                    self.failed(&error);
                    tokio::time::sleep(backoff.mul_f64(rand::random_range(0.5..=1.0))).await;
                    backoff = (backoff * 2).min(self.options.max_backoff);
                }
            }
        }
    }

    /// Another gateway is writing it, and delivers it.
    fn is_anothers(&self) -> bool {
        !self.own && being_written(&self.directory)
    }

    /// A log that was delivered as a whole is not looked at again, at every start.
    fn is_known_to_be_complete(&self) -> bool {
        let standing = cursor::standing(&self.directory).ok().flatten();
        standing.is_some_and(|standing| {
            standing.complete
                && standing.location == self.options.location.as_str()
                && NOTES.iter().zip(&standing.notes).all(|(file, bytes)| {
                    std::fs::metadata(self.directory.join(file)).map_or(0, |file| file.len()) == *bytes
                })
        })
    }

    /// Until the next round; a log that is closed meanwhile is delivered at once.
    async fn pause(&mut self, over: bool) {
        tokio::select! {
            () = tokio::time::sleep(self.options.interval) => {}
            () = self.asked.notified() => {}
            _ = self.durable.beyond(u64::MAX), if !over => {}
        }
    }

    /// Delivers what there is now; whether the log is closed and all of it is there.
    async fn round(&mut self, progress: &mut Option<Progress>) -> Result<bool, ArchiveError> {
        // Before anything is read: what is written later is for the next round.
        let over = self.durable.is_over();
        let progress = match progress {
            Some(progress) => progress,
            none => none.insert(self.look().await?),
        };
        self.renew_lock(progress)?;
        let (mut more, mut limit) = (true, 0);
        while more {
            // Whatever these sign is on disk before they are written.
            let notes = self.notes(progress).await?;
            // Of a log that is written, what is signed: who reads the archive finds nothing that only a later note proves.
            let signed = notes.iter().filter(|piece| piece.file == CHECKPOINTS);
            progress.signed =
                signed.filter_map(|piece| last_size(&piece.bytes)).fold(progress.signed, u64::max);
            limit = self.durable.size().map_or(u64::MAX, |durable| durable.min(progress.signed));
            more = notes
                .iter()
                .any(|piece| piece.bytes.len() as u64 > self.options.part_bytes.max(NOTES_BYTES) / 2);
            // All that the records up to here name.
            self.chunks(progress).await?;
            while let Some(piece) = self.records(progress, limit).await? {
                self.deliver(progress, piece).await?;
                self.report(progress, limit);
            }
            for piece in notes {
                self.deliver(progress, piece).await?;
            }
        }
        let complete = over && self.close(progress).await?;
        self.keep(progress, complete)?;
        self.report(progress, limit);
        self.status.send_modify(|status| {
            status.last_error = None;
            status.complete = complete;
            status.rounds += 1;
        });
        Ok(complete)
    }

    /// Looks what is there, and writes what is written once.
    async fn look(&self) -> Result<Progress, ArchiveError> {
        let locked_until = self.lock();
        let store = self.options.location.open(Purpose::Write(locked_until))?;
        let key = own_key(&self.directory)
            .map_err(|error| ArchiveError::Location { why: chain(&error) })?
            .ok_or_else(|| ArchiveError::Location { why: "the log has no key".to_owned() })?;
        let folder = store.folder(key.name().split('/'));
        let mut archived = ArchivedLog::default();
        for object in store.list(&folder).await? {
            let mut names = store.names(&object.location);
            if let (Some(offset), Some(file)) = (names.pop().and_then(|name| name.parse().ok()), names.pop())
            {
                archived.files.entry(file).or_default().add(offset, &object);
            }
        }
        let there: BTreeMap<String, u64> =
            archived.files.iter().map(|(name, file)| (name.clone(), file.whole_bytes())).collect();
        let directory = self.directory.clone();
        let (place, once) =
            elsewhere(move || Ok((Place::find(&directory, &archived)?, pieces::once(&directory)?))).await?;
        let unlocked = self.options.location.open(Purpose::Write(None))?;
        let mut progress = Progress { store, unlocked, locked_until, folder, place, there, signed: 0 };
        for piece in once {
            if !progress.there.contains_key(&piece.file) {
                self.deliver(&mut progress, piece).await?;
            }
        }
        Ok(progress)
    }

    fn lock(&self) -> Option<Timestamp> {
        let lock = self.options.lock.filter(|_| self.options.location.takes_lock());
        lock.map(|lock| lock.until(Timestamp::now()))
    }

    fn renew_lock(&self, progress: &mut Progress) -> Result<(), ArchiveError> {
        let until = self.lock();
        if until != progress.locked_until {
            progress.store = self.options.location.open(Purpose::Write(until))?;
            progress.locked_until = until;
        }
        Ok(())
    }

    /// Reads the next records without keeping other tasks from their turn.
    async fn records(&self, progress: &mut Progress, limit: u64) -> Result<Option<Piece>, ArchiveError> {
        let (directory, part_bytes) = (self.directory.clone(), self.options.part_bytes);
        let mut place = progress.place.clone();
        let (piece, place) = elsewhere(move || {
            let piece = place.next(&directory, limit, part_bytes)?;
            Ok((piece, place))
        })
        .await?;
        progress.place = place;
        Ok(piece)
    }

    async fn notes(&self, progress: &Progress) -> Result<Vec<Piece>, ArchiveError> {
        let there = |file: &str| progress.there.get(file).copied().unwrap_or_default();
        let from = NOTES.map(|file| (file, there(file)));
        let (directory, bytes) = (self.directory.clone(), self.options.part_bytes.max(NOTES_BYTES));
        elsewhere(move || {
            from.iter().map(|(file, from)| pieces::notes(&directory, file, *from, bytes)).collect()
        })
        .await
    }

    /// Delivers what is new beside the log.
    async fn chunks(&self, progress: &mut Progress) -> Result<(), ArchiveError> {
        let directory = self.directory.clone();
        let files = elsewhere(move || pieces::chunk_files(&directory)).await?;
        let at_most = self.options.part_bytes;
        for (file, path, length) in files {
            loop {
                let from = progress.there.get(&file).copied().unwrap_or_default();
                if from >= length {
                    break;
                }
                let (name, path) = (file.clone(), path.clone());
                let piece = elsewhere(move || pieces::chunk_piece(&name, &path, from, at_most)).await?;
                if piece.bytes.is_empty() {
                    break;
                }
                self.deliver(progress, piece).await?;
            }
        }
        Ok(())
    }

    async fn deliver(&self, progress: &mut Progress, piece: Piece) -> Result<(), ArchiveError> {
        if piece.bytes.is_empty() {
            return Ok(());
        }
        let object = progress.folder.clone().join(piece.file.as_str()).join(part_name(piece.offset).as_str());
        let bytes = piece.bytes.len() as u64;
        let key = piece.file.strip_suffix(chunks::KEY).is_some_and(|rest| rest.starts_with(chunks::CHUNKS));
        let store = if key { &progress.unlocked } else { &progress.store };
        store.create(&object, piece.bytes).await?;
        progress.there.insert(piece.file, piece.offset + bytes);
        self.status.send_modify(|status| status.bytes += bytes);
        Ok(())
    }

    /// Says in the archive that nothing more comes; `false` for a log that was not closed in order.
    async fn close(&self, progress: &mut Progress) -> Result<bool, ArchiveError> {
        let Some(piece) = pieces::closed(&self.directory)? else { return Ok(false) };
        if !progress.there.contains_key(&piece.file) {
            self.deliver(progress, piece).await?;
        }
        Ok(true)
    }

    fn keep(&self, progress: &Progress, complete: bool) -> Result<(), ArchiveError> {
        let standing = Standing {
            location: self.options.location.as_str().to_owned(),
            next: progress.place.sequence,
            notes: NOTES.iter().map(|file| progress.there.get(*file).copied().unwrap_or_default()).collect(),
            complete,
            time: Timestamp::now(),
        };
        cursor::write(&self.directory, &standing).map_err(io_error(&self.directory.join(ARCHIVE_CURSOR)))
    }

    fn report(&self, progress: &Progress, limit: u64) {
        let next = progress.place.sequence;
        let lag = if limit == u64::MAX { 0 } else { limit.saturating_sub(next) };
        let whole = progress.place.complete_below();
        self.status.send_modify(|status| (status.next, status.lag, status.whole_below) = (next, lag, whole));
    }

    fn failed(&self, error: &ArchiveError) {
        let why = chain(error);
        tracing::warn!(log = %self.directory.display(), why, "archive audit records");
        let behind = self.durable.size();
        self.status.send_modify(|status| {
            status.failures += 1;
            status.lag = behind.map_or(0, |size| size.saturating_sub(status.next));
            status.last_error = Some(why);
        });
    }
}

/// Reads files without keeping other tasks from their turn.
async fn elsewhere<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, ArchiveError> + Send + 'static,
) -> Result<T, ArchiveError> {
    let read = tokio::task::spawn_blocking(read).await;
    read.map_err(|error| ArchiveError::Location { why: error.to_string() })?
}
