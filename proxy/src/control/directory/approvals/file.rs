//! The files of a directory of requests. Everything here blocks for some file operations.

use crds::v1alpha1::ApprovalRequest;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// The lock that every writer holds; the command line knows it by this name too.
const LOCK: &str = ".lock";
/// Where consumed approvals are marked, one empty file per UID.
const CONSUMED: &str = ".consumed";
/// How files begin that are not yet what they shall be.
const TEMPORARY: &str = ".new-";
/// Longest wait for another writer, who holds the lock for milliseconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// Longest file that is read, in bytes: the schema's limits allow less than half of it.
const MAX_FILE: u64 = 1024 * 1024;
/// Age at which a temporary file must be that of a dead writer.
const ABANDONED: Duration = Duration::from_hours(1);

/// A directory of requests.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    parsed: Mutex<HashMap<String, (Stamp, Arc<ApprovalRequest>)>>,
}

/// Proof that no other writer is at work. Released when dropped, also by death.
#[derive(Debug)]
pub(super) struct Lock {
    _held: File,
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Directory {
    /// Makes what is missing, for the owner only.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path.join(CONSUMED))?;
        let directory = Self { path, parsed: Mutex::default() };
        // Fails now rather than at the first held command.
        let lock = directory.lock()?;
        let file = directory.path.join(LOCK);
        if fs::metadata(&file)?.uid() == fs::metadata(&directory.path)?.uid() {
            fs::set_permissions(file, directory.shared_mode()?)?;
        }
        drop(lock);
        Ok(directory)
    }

    /// Waits for other writers.
    pub(super) fn lock(&self) -> io::Result<Lock> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(self.path.join(LOCK))?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { _held: file }),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(io::Error::new(
                        ErrorKind::TimedOut,
                        "another process holds the directory's lock",
                    ));
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    /// Names of all requests, ended ones too.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let name = name.to_str().and_then(|name| name.strip_suffix(".yaml"));
            names.extend(name.filter(|name| !name.starts_with('.')).map(str::to_owned));
        }
        Ok(names)
    }

    pub(super) fn stamp(&self, name: &str) -> io::Result<Stamp> {
        Ok(Stamp::of(&fs::metadata(self.file(name))?))
    }

    /// Reads a request. `InvalidData`: it is not one, or not yet: an editor may be writing.
    ///
    /// One that is not named as its file is none either: whoever may write here could have another file written.
    pub(super) fn read(&self, name: &str) -> io::Result<ApprovalRequest> {
        let invalid = |why: &str| io::Error::new(ErrorKind::InvalidData, why);
        // a link leads elsewhere, and a pipe would be waited for
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let opened = OpenOptions::new().read(true).custom_flags(flags.bits()).open(self.file(name));
        let is_link = |error: &io::Error| error.raw_os_error() == Some(Errno::ELOOP as i32);
        let file =
            opened.map_err(|error| if is_link(&error) { invalid("a link, not a file") } else { error })?;
        if !file.metadata()?.is_file() {
            return Err(invalid("not a file"));
        }
        let mut text = String::new();
        let length = file.take(MAX_FILE + 1).read_to_string(&mut text)?;
        if u64::try_from(length).is_ok_and(|length| length > MAX_FILE) {
            return Err(invalid("longer than 1 MiB"));
        }
        let request: ApprovalRequest =
            serde_yaml_ng::from_str(&text).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        if request.metadata.name.as_deref() != Some(name) {
            return Err(invalid("its metadata.name is not the file's name"));
        }
        Ok(request)
    }

    /// As [`Directory::read`], but parses only what changed since the last call.
    pub(super) fn read_cached(&self, name: &str) -> io::Result<Arc<ApprovalRequest>> {
        let stamp = self.stamp(name)?;
        if let Some((parsed_stamp, request)) = self.parsed().get(name)
            && *parsed_stamp == stamp
        {
            return Ok(Arc::clone(request));
        }
        let request = Arc::new(self.read(name)?);
        self.parsed().insert(name.to_owned(), (stamp, Arc::clone(&request)));
        Ok(request)
    }

    /// Writes a new request, durably. Fails if the name is taken.
    pub(super) fn create(&self, _lock: &Lock, request: &ApprovalRequest) -> io::Result<()> {
        let (temporary, target) = self.write(request)?;
        temporary.persist_noclobber(target).map_err(|error| error.error)?;
        sync_directory(&self.path)
    }

    /// Replaces a request, durably.
    pub(super) fn replace(&self, _lock: &Lock, request: &ApprovalRequest) -> io::Result<()> {
        let (temporary, target) = self.write(request)?;
        temporary.persist(target).map_err(|error| error.error)?;
        sync_directory(&self.path)
    }

    fn write(&self, request: &ApprovalRequest) -> io::Result<(tempfile::NamedTempFile, PathBuf)> {
        let name = request.metadata.name.as_deref().unwrap_or_default();
        let text = serde_yaml_ng::to_string(request).map_err(io::Error::other)?;
        let mut temporary = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(&self.path)?;
        temporary.write_all(text.as_bytes())?;
        temporary.as_file().set_permissions(self.shared_mode()?)?;
        temporary.as_file().sync_all()?;
        Ok((temporary, self.file(name)))
    }

    /// For the owner; for the group as well where the directory is the group's too: its members are the approvers.
    fn shared_mode(&self) -> io::Result<fs::Permissions> {
        let group = fs::metadata(&self.path)?.permissions().mode() & 0o060;
        Ok(fs::Permissions::from_mode(0o600 | group))
    }

    /// Marks an approval as consumed, durably. Returns whether this call did it; at most one ever does.
    pub(super) fn consume(&self, _lock: &Lock, uid: &str) -> io::Result<bool> {
        let mark = self.mark(uid)?;
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(mark) {
            Ok(mark) => {
                mark.sync_all()?;
                sync_directory(&self.path.join(CONSUMED))?;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn is_consumed(&self, uid: &str) -> io::Result<bool> {
        self.mark(uid)?.try_exists()
    }

    /// Removes a request that ended, then its mark: never the mark alone, or it could be consumed again.
    pub(super) fn remove(&self, _lock: &Lock, name: &str, uid: &str) -> io::Result<()> {
        fs::remove_file(self.file(name))?;
        sync_directory(&self.path)?;
        self.parsed().remove(name);
        match fs::remove_file(self.mark(uid)?) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Removes what writers left that died half-way, and forgets files that are gone.
    pub(super) fn tidy(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let abandoned = entry.file_name().to_str().is_some_and(|name| name.starts_with(TEMPORARY))
                && entry.metadata()?.modified()? < SystemTime::now() - ABANDONED;
            if abandoned {
                fs::remove_file(entry.path())?;
            }
        }
        let names = self.names()?;
        self.parsed().retain(|name, _| names.contains(name));
        Ok(())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.yaml"))
    }

    fn mark(&self, uid: &str) -> io::Result<PathBuf> {
        // A UID comes from a file that people edit: it must not lead elsewhere.
        match uid.parse::<uuid::Uuid>() {
            Ok(uid) => Ok(self.path.join(CONSUMED).join(uid.to_string())),
            Err(error) => Err(io::Error::new(ErrorKind::InvalidData, error)),
        }
    }

    fn parsed(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Stamp, Arc<ApprovalRequest>)>> {
        // A cache: whoever panicked left it whole.
        self.parsed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
