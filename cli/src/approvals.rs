//! The approval requests of a state directory, as the gateway keeps them: `<state>/approvals/NAME.yaml`.

use anyhow::{Context as _, bail};
use clap::Args;
use crds::v1alpha1::ApprovalRequest;
use crds::v1alpha1::conditions::{CONSUMED, DENIED, EXPIRED, WITHDRAWN};
use jiff::Timestamp;
use proxy_policy::approval::{Settled, settle};
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest wait for a gateway or another approver, who hold the lock for milliseconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// Whose requests.
#[derive(Args, Debug)]
pub(crate) struct StateArguments {
    /// State directory of the gateway.
    #[arg(long, value_name = "DIR", env = "PORTCULLIS_STATE", default_value = "state")]
    state: PathBuf,
}

impl StateArguments {
    /// The requests in it.
    pub(crate) fn requests(&self) -> anyhow::Result<Requests> {
        let directory = self.state.join("approvals");
        match fs::metadata(&directory) {
            Ok(metadata) if metadata.is_dir() => Ok(Requests { directory }),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error).with_context(|| {
                format!(
                    "open {}: approving takes write access to it; run this as the gateway's user, or let your group in",
                    directory.display()
                )
            }),
            Ok(_) | Err(_) => bail!(
                "no approval requests in {} (--state): is it the state directory of a gateway that has run?",
                self.state.display()
            ),
        }
    }
}

/// A directory of requests.
pub(crate) struct Requests {
    directory: PathBuf,
}

/// Proof that nobody else writes. Released when dropped.
pub(crate) struct Lock {
    _held: File,
}

impl Requests {
    /// Every request that can be read, oldest first, and the files that cannot.
    pub(crate) fn list(&self) -> anyhow::Result<(Vec<ApprovalRequest>, Vec<String>)> {
        let (mut requests, mut unreadable) = (Vec::new(), Vec::new());
        let entries =
            fs::read_dir(&self.directory).with_context(|| format!("list {}", self.directory.display()))?;
        for entry in entries {
            let file = entry.context("list the approval requests")?.file_name();
            let Some(name) = file.to_str().and_then(|file| file.strip_suffix(".yaml")) else { continue };
            match self.read(name) {
                Ok(Some(request)) => requests.push(request),
                Ok(None) => {}
                Err(error) => unreadable.push(format!("{error:#}")),
            }
        }
        requests.sort_by_key(|request| request.metadata.creation_timestamp.as_ref().map(|time| time.0));
        Ok((requests, unreadable))
    }

    /// One request; `None` if there is none of that name.
    pub(crate) fn read(&self, name: &str) -> anyhow::Result<Option<ApprovalRequest>> {
        let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !name.chars().all(label) {
            return Ok(None);
        }
        let path = self.file(name);
        match fs::read_to_string(&path) {
            Ok(text) => {
                serde_yaml_ng::from_str(&text).map(Some).with_context(|| format!("parse {}", path.display()))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    /// Keeps the gateway and other approvers from writing.
    pub(crate) fn lock(&self) -> anyhow::Result<Lock> {
        let path = self.directory.join(".lock");
        let open = || OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        let file = open().with_context(|| format!("open {}", path.display()))?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { _held: file }),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(TryLockError::WouldBlock) => bail!("another process holds {}: try again", path.display()),
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("lock {}", path.display()));
                }
            }
        }
    }

    /// Replaces a request, so that a reader sees the old or the new.
    pub(crate) fn replace(&self, _lock: &Lock, name: &str, request: &ApprovalRequest) -> anyhow::Result<()> {
        let path = self.file(name);
        let text = serde_yaml_ng::to_string(request).context("write YAML")?;
        let write = || -> io::Result<()> {
            let mut temporary = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.directory)?;
            temporary.write_all(text.as_bytes())?;
            temporary.as_file().set_permissions(shared_mode(&self.directory)?)?;
            temporary.as_file().sync_all()?;
            temporary.persist(&path).map_err(|error| error.error)?;
            File::open(&self.directory)?.sync_all()
        };
        write().with_context(|| format!("write {}", path.display()))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.yaml"))
    }
}

/// Readable by the owner, and by the group if the directory is the group's too: the gateway must read what an
/// approver wrote.
fn shared_mode(directory: &Path) -> io::Result<Permissions> {
    let group = fs::metadata(directory)?.permissions().mode() & 0o060;
    Ok(Permissions::from_mode(0o600 | group))
}

/// Where a request stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Standing {
    /// It waits for decisions; says which.
    Pending(String),
    /// It is over, or the next look of a gateway ends it: `approved`, `denied`, `expired`, `withdrawn`, `consumed`.
    Over(&'static str),
}

impl Standing {
    pub(crate) fn of(request: &ApprovalRequest, now: Timestamp) -> Self {
        let conditions = request.status.iter().flat_map(|status| &status.conditions);
        let mut ended = conditions.filter(|condition| condition.status == "True").filter_map(|condition| {
            [(CONSUMED, "consumed"), (DENIED, "denied"), (EXPIRED, "expired"), (WITHDRAWN, "withdrawn")]
                .into_iter()
                .find_map(|(kind, word)| (condition.type_ == kind).then_some(word))
        });
        if let Some(word) = ended.next() {
            return Self::Over(word);
        }
        match settle(&request.spec, &request.spec, now) {
            Settled::Pending { missing } => Self::Pending(missing),
            Settled::Approved { .. } => Self::Over("approved"),
            Settled::Denied { .. } => Self::Over("denied"),
            Settled::Expired => Self::Over("expired"),
            Settled::Void { .. } => Self::Over("withdrawn"),
        }
    }

    /// One word.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Pending(_) => "pending",
            Self::Over(word) => word,
        }
    }
}
