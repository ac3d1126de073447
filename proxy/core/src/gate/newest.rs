//! What the newest policies say to a session, without a record: nothing runs by this.

use super::Gate;
use super::judgement::{Judgement, Said};
use crate::mask::Masker;
use crate::refusal::Refusal;
use jiff::Timestamp;
use proxy_policy::{Command, Evaluation, Verdict};
use std::sync::Arc;

impl Gate {
    /// Whether the session may not go on: its token has expired, or its identity has lost access. Cheap while nothing
    /// changes. [`Gate::watch`] says when to look.
    pub fn look(&mut self) -> Option<Refusal> {
        if let Some(refusal) = self.invalid() {
            return Some(refusal);
        }
        match self.changes.has_changed() {
            Ok(false) => None,
            Ok(true) => {
                self.changes.mark_unchanged();
                self.adopt_policies();
                self.lost_access()
            }
            // The sender lives as long as the resource is served.
            Err(_) => Some(Refusal::ended("the resource is no longer served by this gateway")),
        }
    }

    /// Whether the newest policies deny a command, without a record: nothing runs by this.
    pub fn would_deny(&mut self, command: &Command) -> bool {
        self.denial(command).is_some()
    }

    /// What the newest policies have against a command, without a record. For one that runs: a hold is nothing, it may
    /// have been approved.
    pub fn denial(&mut self, command: &Command) -> Option<Refusal> {
        self.adopt_policies();
        match &self.evaluate(command).said {
            Said::Deny { refusal, .. } => Some(refusal.clone()),
            Said::Allow(_) | Said::Hold { .. } => None,
        }
    }

    /// Whether any column mask applies to the identity: then texts that belong to no command are withheld.
    pub fn masks_columns(&mut self) -> bool {
        let Self { policies, session, judgements, .. } = self;
        let identity = session.identity.identity();
        judgements.masks_columns(|| policies.masks_columns(identity))
    }

    /// Whether a column (`schema.table.column`) is masked for the identity.
    pub fn masks_column(&mut self, column: &str) -> bool {
        let Self { policies, session, judgements, .. } = self;
        let identity = session.identity.identity();
        judgements.masks_column(column, || policies.masks_column(identity, column))
    }

    /// What the policies say of a command now.
    pub(super) fn evaluate(&mut self, command: &Command) -> Arc<Judgement> {
        if let Some(known) = self.judgements.of(command) {
            return known;
        }
        let identity = self.session.identity.identity();
        let evaluation = self.policies.evaluate(identity, command, Timestamp::now());
        let judgement = self.judgement(command, evaluation, None);
        self.judgements.keep(&judgement);
        judgement
    }

    pub(super) fn judgement(
        &self,
        command: &Command,
        evaluation: Evaluation,
        stale: Option<Refusal>,
    ) -> Arc<Judgement> {
        Arc::new(Judgement::new(command, evaluation, stale, &self.masker, self.resource.wording))
    }

    pub(super) fn adopt_policies(&mut self) {
        let newest = self.resource.policies.load();
        if !Arc::ptr_eq(&newest, &self.policies) {
            self.policies = Arc::clone(&newest);
            self.named = false;
            self.judgements.forget();
            let detectors = self.policies.detectors(self.session.identity.identity());
            self.masker = Masker::new(&detectors, self.resource.tenant_key.expose());
        }
    }

    pub(super) fn invalid(&self) -> Option<Refusal> {
        (self.session.identity.expires_at() <= Timestamp::now())
            .then(|| Refusal::ended("the session's token has expired"))
    }

    pub(super) fn lost_access(&self) -> Option<Refusal> {
        let identity = self.session.identity.identity();
        match self.policies.evaluate(identity, &self.connect, Timestamp::now()).verdict {
            Verdict::Deny { .. } => Some(Refusal::ended("the identity may no longer use this resource")),
            Verdict::Allow { .. } | Verdict::Hold { .. } => None,
        }
    }
}
