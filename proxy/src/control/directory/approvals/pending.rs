//! A request that somebody waits for.

use super::Shared;
use super::conclude::ended;
use super::file::Stamp;
use crate::control::requests::failed;
use async_trait::async_trait;
use crds::v1alpha1::{ApprovalRequest, ApprovalRequestSpec};
use jiff::Timestamp;
use proxy_core::approval::{ApprovalError, Outcome, Pending, Question};
use proxy_policy::approval::{Settled, settle};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How often a file is looked at.
const POLL: Duration = Duration::from_millis(150);
/// After so many looks a file is read though it seems unchanged: time stamps have a granularity.
const LOOKS_PER_READ: u32 = 10;
/// How long a file may be missing: some editors remove it before they write it anew.
const MISSING_PATIENCE: Duration = Duration::from_secs(1);
/// How long the directory may fail before the wait is given up.
const FAILURE_PATIENCE: Duration = Duration::from_secs(5);
/// How long the end of a request may take to be written.
const CLOSING_PATIENCE: Duration = Duration::from_secs(1);

/// What is known of a request between two looks at its file.
#[derive(Clone, Debug)]
pub(super) struct Follower {
    shared: Arc<Shared>,
    name: String,
    uid: String,
    expires_at: Timestamp,
    /// As last seen: nothing but new decisions may differ.
    seen: Arc<ApprovalRequestSpec>,
    stamp: Option<Stamp>,
    looks: u32,
}

impl Follower {
    pub(super) fn new(shared: Arc<Shared>, request: &ApprovalRequest) -> io::Result<Self> {
        let (Some(name), Some(uid)) = (request.metadata.name.clone(), request.metadata.uid.clone()) else {
            return Err(io::Error::new(ErrorKind::InvalidData, "a request without name or uid"));
        };
        let expires_at = request.spec.expires_at.parse().map_err(io::Error::other)?;
        let seen = Arc::new(request.spec.clone());
        Ok(Self { shared, name, uid, expires_at, seen, stamp: None, looks: 0 })
    }

    pub(super) fn uid(&self) -> &str {
        &self.uid
    }

    /// Looks at the file. `None`: nothing happened. Blocks.
    fn look(&mut self, now: Timestamp) -> io::Result<Option<Outcome>> {
        self.looks = self.looks.wrapping_add(1);
        let stamp = self.shared.directory.stamp(&self.name)?;
        let unchanged = self.stamp == Some(stamp) && !self.looks.is_multiple_of(LOOKS_PER_READ);
        if unchanged && now < self.expires_at {
            return Ok(None);
        }
        let request = self.shared.directory.read(&self.name)?;
        if let Some(outcome) = ended(&request, &self.uid) {
            return Ok(Some(outcome));
        }
        if let Settled::Pending { .. } = settle(&self.seen, &request.spec, now) {
            self.seen = Arc::new(request.spec);
            self.stamp = Some(stamp);
            return Ok(None);
        }
        self.shared.conclude(&self.name, &self.uid, &self.seen, now)
    }
}

type Look = JoinHandle<(Follower, io::Result<Option<Outcome>>)>;

/// A request that somebody waits for. Dropping it withdraws the request if nobody else waits for it and it is not to
/// stay.
#[derive(Debug)]
pub(super) struct DirectoryPending {
    follower: Follower,
    deadline: Instant,
    /// A look that was begun: it may consume the approval, so its result must survive a cancelled wait.
    look: Option<Look>,
    failing_since: Option<Instant>,
    over: bool,
    /// The request stays open when this is dropped.
    stays: bool,
}

impl DirectoryPending {
    pub(super) fn new(follower: Follower, question: &Question) -> Self {
        let left = follower.expires_at.duration_since(Timestamp::now());
        let left = Duration::try_from(left).unwrap_or(Duration::ZERO).min(question.terms.timeout);
        let deadline = Instant::now() + left;
        Self { follower, deadline, look: None, failing_since: None, over: false, stays: question.stays() }
    }

    /// Looks once. Cancel safe.
    async fn look(&mut self) -> Result<Option<Outcome>, ApprovalError> {
        let due = Instant::now() >= self.deadline;
        let look = self.look.get_or_insert_with(|| {
            let mut follower = self.follower.clone();
            // By the monotonic clock the time is up, whatever the wall clock was set to.
            let now = if due { Timestamp::now().max(follower.expires_at) } else { Timestamp::now() };
            tokio::task::spawn_blocking(move || {
                let result = follower.look(now);
                (follower, result)
            })
        });
        let patience = self.deadline.max(Instant::now()) + CLOSING_PATIENCE;
        let Ok(looked) = tokio::time::timeout_at(patience, look).await else {
            // The directory hangs. Should the look consume an approval later, the command has not run: closed.
            return Ok(Some(Outcome::Expired));
        };
        self.look = None;
        let (follower, result) = looked.map_err(|error| failed("follow the approval request", error))?;
        self.follower = follower;
        match result {
            Ok(outcome) => {
                self.failing_since = None;
                Ok(outcome)
            }
            Err(_) if due => Ok(Some(Outcome::Expired)),
            Err(error) => self.tolerate(error),
        }
    }

    fn tolerate(&mut self, error: io::Error) -> Result<Option<Outcome>, ApprovalError> {
        if self.failing_since.is_none() {
            tracing::warn!(request = self.follower.name, %error, "cannot read an approval request");
        }
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        let missing = error.kind() == ErrorKind::NotFound;
        if missing && since.elapsed() >= MISSING_PATIENCE {
            return Ok(Some(Outcome::Withdrawn));
        }
        // Whoever edits it may still put it right.
        let may_come_right = missing || error.kind() == ErrorKind::InvalidData;
        if !may_come_right && since.elapsed() >= FAILURE_PATIENCE {
            return Err(failed("read the approval request", error));
        }
        Ok(None)
    }
}

#[async_trait]
impl Pending for DirectoryPending {
    fn name(&self) -> &str {
        &self.follower.name
    }

    fn uid(&self) -> &str {
        &self.follower.uid
    }

    fn leave(&mut self) {
        self.stays = true;
    }

    async fn stop(&mut self) -> Option<Result<Outcome, ApprovalError>> {
        // one that has begun is looked to its end
        self.look.as_ref()?;
        let looked = self.look().await.transpose()?;
        self.over = looked.is_ok();
        Some(looked)
    }

    async fn outcome(&mut self) -> Result<Outcome, ApprovalError> {
        if self.over {
            // It is returned once.
            return Ok(Outcome::Withdrawn);
        }
        loop {
            if let Some(outcome) = self.look().await? {
                self.over = true;
                return Ok(outcome);
            }
            if Instant::now() < self.deadline {
                tokio::time::sleep_until(self.deadline.min(Instant::now() + POLL)).await;
            }
        }
    }
}

impl Drop for DirectoryPending {
    fn drop(&mut self) {
        let last = self.follower.shared.leave(&self.follower.uid);
        if !last || self.over || self.stays {
            return;
        }
        let follower = self.follower.clone();
        let withdraw = move || {
            if let Err(error) = follower.shared.withdraw(&follower.name, &follower.uid) {
                // It expires by itself; nothing runs by it, for nobody waits.
                tracing::warn!(request = follower.name, %error, "cannot withdraw an approval request");
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(withdraw)),
            Err(_) => drop(std::thread::spawn(withdraw)),
        }
    }
}
