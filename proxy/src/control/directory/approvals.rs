//! Approvals as files: `<state>/approvals/NAME.yaml` is an `ApprovalRequest`.
//!
//! Whoever may write the directory may decide, with `portcullis approve|deny NAME` or an editor: the directory's
//! permissions are the authentication, and the groups in decisions are claims of people who have that permission.
//!
//! * A request is written once by the gateway; people append to `spec.decisions`. Any other change voids it. What
//!   `status` says never permits anything: it is written for people.
//! * An approval is consumed by creating `.consumed/UID`, which the file system lets exactly one do, however many
//!   gateways share the directory and whatever crashes when. The request's status follows.
//! * Writers hold `.lock` and replace files by renaming, so that a reader sees the old or the new, never half.
//!   Editors know nothing of the lock; they lose nothing, for a pending request has one writer, its approvers.
//! * A repetition of a command joins the request that is open for it instead of making another one: with
//!   `onDisconnect: Withdraw` while somebody of this gateway waits for the very same command, with `Claimable`
//!   whenever its effect, identity, rule and reviewers are the same. One approval releases one of those who wait;
//!   the others are told that it was withdrawn.
//! * The last of those who wait withdraws the request when it goes away, unless its rule says `Claimable` or it was told
//!   to repeat the command.
//! * A request expires closed: by the gateway's monotonic clock even if the directory or the wall clock fails.

mod conclude;
mod file;
mod pending;
mod sweep;
#[cfg(test)]
mod tests;

use crate::control::answered::Answered;
use crate::control::requests::{
    OPEN_PER_IDENTITY, failed, is_all_of, is_good_for, is_open, new_request, same_identity, too_many,
};
use async_trait::async_trait;
use crds::v1alpha1::{ApprovalRequest, OnDisconnect};
use file::Directory;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pending::{DirectoryPending, Follower};
use proxy_core::approval::{ApprovalError, Approvals, Pending, Question};
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Limits of a directory of requests.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most open requests of one identity. Default: 20.
    pub open_per_identity: usize,
    /// How long a request is kept after its end. Default: 7 days.
    pub retention: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { open_per_identity: OPEN_PER_IDENTITY, retention: Duration::from_hours(7 * 24) }
    }
}

/// Asks people through files in a directory.
#[derive(Debug)]
pub struct DirectoryApprovals {
    shared: Arc<Shared>,
}

/// What the store and every request that waits share.
#[derive(Debug)]
struct Shared {
    directory: Directory,
    limits: Limits,
    /// How many wait here, by UID of the request. Changed under the directory's lock where it matters.
    waiting: Mutex<HashMap<String, usize>>,
}

impl DirectoryApprovals {
    /// Uses a directory, and makes it if it is missing. Inside a tokio runtime a task sweeps it every minute:
    /// requests that nobody waits for expire, and those that ended long ago are removed. Blocks for some file
    /// operations.
    ///
    /// # Errors
    /// The directory cannot be made or written.
    pub fn open(path: PathBuf, limits: Limits) -> Result<Self, ApprovalError> {
        let step = format!("open the approval requests in {}", path.display());
        let directory = Directory::open(path).map_err(|source| failed(step, source))?;
        let shared = Arc::new(Shared { directory, limits, waiting: Mutex::default() });
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // Ends by itself: it holds the store weakly.
            runtime.spawn(sweep::regularly(Arc::downgrade(&shared)));
        }
        Ok(Self { shared })
    }
}

#[async_trait]
impl Approvals for DirectoryApprovals {
    /// Not kept if cancelled: a request that was written meanwhile is withdrawn.
    async fn ask(&self, question: Question) -> Result<Box<dyn Pending>, ApprovalError> {
        let shared = Arc::clone(&self.shared);
        // If this future is dropped, so is the result, which withdraws.
        let asked = tokio::task::spawn_blocking(move || shared.ask(&question)).await;
        match asked {
            Ok(result) => result,
            Err(error) => Err(failed("write the approval request", error)),
        }
    }
}

impl Shared {
    fn ask(self: &Arc<Self>, question: &Question) -> Result<Box<dyn Pending>, ApprovalError> {
        let write = |source| failed("write the approval request", source);
        let list = |source| failed("list the approval requests", source);
        let lock = self.directory.lock().map_err(write)?;
        let now = Timestamp::now();
        if question.is_second_try
            && let Some(answered) = self.answered(question, now).map_err(list)?
        {
            return Ok(Box::new(answered));
        }
        let open = self.open_requests(now).map_err(list)?;
        if let Some(request) = open.iter().find(|request| self.can_join(request, question)) {
            return Ok(Box::new(self.wait_for(request, question).map_err(write)?));
        }
        let mine = open.iter().filter(|request| same_identity(request, question)).count();
        if mine >= self.limits.open_per_identity {
            return Err(too_many(question, mine));
        }
        let mut request = new_request(question, now).map_err(|source| write(io::Error::other(source)))?;
        request.metadata.uid = Some(uuid::Uuid::new_v4().to_string());
        request.metadata.creation_timestamp = Some(Time(now));
        self.directory.create(&lock, &request).map_err(write)?;
        Ok(Box::new(self.wait_for(&request, question).map_err(write)?))
    }

    /// What the first try was told.
    fn answered(&self, question: &Question, now: Timestamp) -> io::Result<Option<Answered>> {
        let requests = self.directory.names()?.into_iter();
        let mut requests = requests.filter_map(|name| self.directory.read_cached(&name).ok());
        Ok(requests.find_map(|request| Answered::by(&request, question, now)))
    }

    fn wait_for(
        self: &Arc<Self>,
        request: &ApprovalRequest,
        question: &Question,
    ) -> io::Result<DirectoryPending> {
        let follower = Follower::new(Arc::clone(self), request)?;
        *self.waiting().entry(follower.uid().to_owned()).or_default() += 1;
        Ok(DirectoryPending::new(follower, question))
    }

    /// Requests that are neither ended, expired nor consumed. Files that cannot be read are passed over.
    fn open_requests(&self, now: Timestamp) -> io::Result<Vec<Arc<ApprovalRequest>>> {
        let mut open = Vec::new();
        for name in self.directory.names()? {
            let Ok(request) = self.directory.read_cached(&name) else { continue };
            let uid = request.metadata.uid.as_deref().unwrap_or_default();
            if is_open(&request, now) && !self.directory.is_consumed(uid)? {
                open.push(request);
            }
        }
        Ok(open)
    }

    fn can_join(&self, request: &ApprovalRequest, question: &Question) -> bool {
        let is_awaited = self.is_awaited(request.metadata.uid.as_deref().unwrap_or_default());
        is_good_for(request, question)
            && match request.spec.on_disconnect {
                OnDisconnect::Claimable => is_all_of(question, &request.spec.command) || !is_awaited,
                OnDisconnect::Withdraw => is_awaited,
            }
    }

    /// One who waited goes away. Returns whether it was the last.
    fn leave(&self, uid: &str) -> bool {
        let mut waiting = self.waiting();
        let left = waiting.get(uid).copied().unwrap_or_default().saturating_sub(1);
        if left == 0 {
            waiting.remove(uid);
        } else {
            waiting.insert(uid.to_owned(), left);
        }
        left == 0
    }

    fn is_awaited(&self, uid: &str) -> bool {
        self.waiting().contains_key(uid)
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<String, usize>> {
        // Counters: whoever panicked left them whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
