//! The approval requests of a state directory, as the gateway keeps them: `<state>/approvals/NAME.yaml`.

use super::{Listing, Standing, Store, User};
use anyhow::{Context as _, bail};
use crds::v1alpha1::{ApprovalRequest, Decision};
use jiff::Timestamp;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest wait for a gateway or another approver, who hold the lock for milliseconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// A directory of requests.
pub(super) struct Directory {
    approvals: PathBuf,
}

/// Proof that nobody else writes. Released when dropped.
struct Lock {
    _held: File,
}

impl Directory {
    /// The requests in a gateway's state directory.
    pub(super) fn open(state: &Path) -> anyhow::Result<Self> {
        let approvals = state.join("approvals");
        match fs::metadata(&approvals) {
            Ok(metadata) if metadata.is_dir() => Ok(Self { approvals }),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error).with_context(|| {
                format!(
                    "open {}: approving takes write access to it; run this as the gateway's user, or let your group in",
                    approvals.display()
                )
            }),
            Ok(_) | Err(_) => bail!(
                "no approval requests in {} (--state): is it the state directory of a gateway that has run?",
                state.display()
            ),
        }
    }

    /// Keeps the gateway and other approvers from writing.
    fn lock(&self) -> anyhow::Result<Lock> {
        let path = self.approvals.join(".lock");
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
    fn replace(&self, _lock: &Lock, name: &str, request: &ApprovalRequest) -> anyhow::Result<()> {
        let path = self.file(name);
        let text = serde_yaml_ng::to_string(request).context("write YAML")?;
        let write = || -> io::Result<()> {
            let mut temporary = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.approvals)?;
            temporary.write_all(text.as_bytes())?;
            temporary.as_file().set_permissions(shared_mode(&self.approvals)?)?;
            temporary.as_file().sync_all()?;
            temporary.persist(&path).map_err(|error| error.error)?;
            File::open(&self.approvals)?.sync_all()
        };
        write().with_context(|| format!("write {}", path.display()))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.approvals.join(format!("{name}.yaml"))
    }
}

impl Store for Directory {
    fn list(&self) -> anyhow::Result<Listing> {
        let (mut requests, mut unreadable) = (Vec::new(), Vec::new());
        let entries =
            fs::read_dir(&self.approvals).with_context(|| format!("list {}", self.approvals.display()))?;
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
        Ok(Listing { requests, unreadable })
    }

    fn read(&self, name: &str) -> anyhow::Result<Option<ApprovalRequest>> {
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

    /// The person's name by the user id of this process; the environment is not asked.
    fn user(&self) -> anyhow::Result<User> {
        let id = nix::unistd::getuid();
        let user = nix::unistd::User::from_uid(id).context("look up who you are")?;
        let user = user.with_context(|| format!("the system knows no name for user id {id}"))?;
        Ok(User { name: user.name, groups: None })
    }

    fn append(
        &self,
        name: &str,
        decide: &mut dyn FnMut(&ApprovalRequest) -> anyhow::Result<Decision>,
    ) -> anyhow::Result<Option<ApprovalRequest>> {
        let lock = self.lock()?;
        let Some(mut request) = self.read(name)? else { return Ok(None) };
        let decision = decide(&request)?;
        request.spec.decisions.push(decision);
        self.replace(&lock, name, &request)?;
        Ok(Some(request))
    }

    fn standing(&self, request: &ApprovalRequest, now: Timestamp) -> Standing {
        Standing::by_gateway(request, now)
    }
}

/// Readable by the owner, and by the group if the directory is the group's too: the gateway must read what an
/// approver wrote.
fn shared_mode(directory: &Path) -> io::Result<Permissions> {
    let group = fs::metadata(directory)?.permissions().mode() & 0o060;
    Ok(Permissions::from_mode(0o600 | group))
}
