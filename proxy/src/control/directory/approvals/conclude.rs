//! How a request ends in its file.

use super::Shared;
use super::file::Lock;
use crate::control::requests::{condition, end, is_expired};
use crds::v1alpha1::conditions::{APPROVED, CONSUMED, DENIED, EXPIRED, WITHDRAWN};
use crds::v1alpha1::{ApprovalRequest, ApprovalRequestSpec};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use proxy_core::approval::Outcome;
use proxy_policy::approval::{Settled, settle};
use std::io;

impl Shared {
    /// Ends a request if it has come to its end, and says how. `None`: it has not.
    ///
    /// Reads the file again under the lock, so that of several who see an approval one consumes it.
    pub(super) fn conclude(
        &self,
        name: &str,
        uid: &str,
        before: &ApprovalRequestSpec,
        now: Timestamp,
    ) -> io::Result<Option<Outcome>> {
        let lock = self.directory.lock()?;
        let mut request = self.directory.read(name)?;
        if let Some(outcome) = ended(&request, uid) {
            return Ok(Some(outcome));
        }
        let (outcome, conditions) = match settle(before, &request.spec, now) {
            Settled::Pending { .. } => return Ok(None),
            Settled::Approved { approvers } => {
                if !self.directory.consume(&lock, uid)? {
                    return Ok(Some(Outcome::Withdrawn));
                }
                let conditions = approved(&approvers, now);
                (Outcome::Approved { approvers }, conditions)
            }
            Settled::Denied { approver } => {
                let condition = condition(DENIED, "Denied", &approver, now);
                (Outcome::Denied { approver }, vec![condition])
            }
            Settled::Expired => {
                let condition = condition(EXPIRED, "NobodyDecided", "nobody decided in time", now);
                (Outcome::Expired, vec![condition])
            }
            Settled::Void { why } => {
                tracing::warn!(request = name, why, "approval request is void");
                (Outcome::Withdrawn, vec![condition(WITHDRAWN, "Changed", why, now)])
            }
        };
        if let Err(error) = self.write_status(&lock, &mut request, conditions) {
            // The end stands: what ends it is in `.consumed`, in its decisions or in the past.
            tracing::warn!(request = name, %error, "cannot write the status of an approval request");
        }
        Ok(Some(outcome))
    }

    /// Withdraws a request that nobody waits for any more.
    pub(super) fn withdraw(&self, name: &str, uid: &str) -> io::Result<()> {
        let lock = self.directory.lock()?;
        let mut request = self.directory.read(name)?;
        // Somebody may have joined, or it may have ended, while this waited for the lock.
        if self.is_awaited(uid) || ended(&request, uid).is_some() || self.directory.is_consumed(uid)? {
            return Ok(());
        }
        let condition = condition(
            WITHDRAWN,
            "ClientGone",
            "the client that waited went away or cancelled",
            Timestamp::now(),
        );
        self.write_status(&lock, &mut request, vec![condition])
    }

    /// Gives a request that has none the status it has come to while nobody waited.
    pub(super) fn catch_up(&self, name: &str, now: Timestamp) -> io::Result<()> {
        let lock = self.directory.lock()?;
        let mut request = self.directory.read(name)?;
        let uid = request.metadata.uid.clone().unwrap_or_default();
        if ended(&request, &uid).is_some() || self.is_awaited(&uid) {
            return Ok(());
        }
        let conditions = if self.directory.is_consumed(&uid)? {
            // Its gateway died between consuming it and saying so.
            approved(&[], now)
        } else if is_expired(&request.spec, now) {
            vec![condition(EXPIRED, "NobodyDecided", "nobody decided in time", now)]
        } else {
            return Ok(());
        };
        self.write_status(&lock, &mut request, conditions)
    }

    fn write_status(
        &self,
        lock: &Lock,
        request: &mut ApprovalRequest,
        conditions: Vec<Condition>,
    ) -> io::Result<()> {
        request.status.get_or_insert_default().conditions = conditions;
        self.directory.replace(lock, request)
    }
}

/// How a request ended by its own account; it is another one if the UID differs. `Approved` alone is not an end.
pub(super) fn ended(request: &ApprovalRequest, uid: &str) -> Option<Outcome> {
    if request.metadata.uid.as_deref() != Some(uid) {
        return Some(Outcome::Withdrawn);
    }
    let condition = end(request)?;
    Some(match condition.type_.as_str() {
        DENIED => Outcome::Denied { approver: condition.message.clone() },
        EXPIRED => Outcome::Expired,
        _ => Outcome::Withdrawn,
    })
}

fn approved(approvers: &[String], now: Timestamp) -> Vec<Condition> {
    vec![
        condition(APPROVED, "EnoughApprovers", &approvers.join("; "), now),
        condition(CONSUMED, "Released", "the command was released to run", now),
    ]
}
