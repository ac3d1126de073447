//! The order of a command. Every protocol calls this file; no protocol has an order of its own.
//!
//! 1. The session is still valid: its token has not expired, its identity has not lost access, and the policies are not
//!    out of date beyond their limit.
//! 2. The protocol's analyser has turned the command into effects, or "unknown, because…".
//! 3. The policies give a verdict.
//! 4. The verdict is recorded. **What cannot be recorded does not run.** This is the step that such gateways get
//!    wrong: the record is written before the first byte goes upstream, not when the answer is back. What lasts only
//!    once its transaction is committed is on disk before the commit goes upstream: docs/adr/0005.
//! 5. A held command waits; an approval is consumed, then step 1 and 3 are done again with the newest policies.
//! 6. Only then is there a [`Permit`], and only a permit lets the protocol send. Results are masked by the permit's
//!    plan and recorded after masking, before the client gets them.
//! 7. [`Gate::finish`] records the outcome before the command's completion is released to the client.
//!
//! A step that fails, fails closed: it ends in a [`Refusal`].

mod asking;
mod held;
mod judgement;
mod newest;
mod permit;
mod record;
mod stale;
#[cfg(test)]
mod tests;
mod watch;

pub use asking::{Asked, Unasked};
pub use held::{Held, Notice};
pub use permit::{End, EndKind, Permit};
pub use proxy_audit::Chain;
pub use watch::Watch;

use crate::approval::{ApprovalError, Outcome};
use crate::mask::Masker;
use crate::metrics::CommandLabels;
use crate::refusal::{Refusal, RefusalKind};
use crate::session::{Durability, ResourceContext, Session};
use bytes::Bytes;
use jiff::Timestamp;
use judgement::{Clearance, Judgements, Said};
use proxy_audit::{Event, Receipt, SessionStamp, SpoolError};
use proxy_policy::{Command, PolicySet, Verdict};
use std::sync::Arc;
use std::time::Instant;

/// What the gate says of a command.
#[derive(Debug)]
pub enum Decision {
    /// It may run now.
    Permit(Permit),
    /// It may run if [`Held::outcome`] says so; then call [`Gate::resume`].
    Held(Box<Held>),
    /// It may not run.
    Refused(Refusal),
}

/// What the gate says of a command before anybody is asked about it.
#[derive(Debug)]
pub enum Judged {
    /// It may run now.
    Permit(Permit),
    /// It may run if somebody approves: call [`Unasked::ask`], without the gate, then [`Gate::hold`]; or
    /// [`Gate::decline`].
    Unasked(Box<Unasked>),
    /// It may not run.
    Refused(Refusal),
}

/// Where a command stands among others, as far as its protocol knows transactions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// By itself: what it changes lasts as soon as it has run.
    Alone,
    /// In a transaction, and whatever it changes lasts only if a later command commits that: until then its record need
    /// not be on disk.
    Undoable,
    /// In a transaction, or perhaps; it may commit one, or change what no rollback undoes.
    InTransaction,
}

/// The gate of one session.
#[derive(Debug)]
pub struct Gate {
    session: Session,
    resource: Arc<ResourceContext>,
    stamp: SessionStamp,
    connect: Arc<Command>,
    masker: Masker,
    policies: Arc<PolicySet>,
    /// Whether a record of the session names these policies by their digest.
    named: bool,
    changes: tokio::sync::watch::Receiver<u64>,
    commands: u64,
    totals: record::Totals,
    /// Last record of a change whose transaction is open and whose way to the disk was not waited for.
    owed: Option<Receipt>,
    judgements: Judgements,
}

impl Gate {
    /// Opens a session: it is judged as the command `connect` and recorded.
    ///
    /// Cancel safe: at worst a session start without commands is on record.
    ///
    /// # Errors
    /// The identity may not open a session here, or that cannot be recorded.
    pub async fn open(
        session: Session,
        resource: Arc<ResourceContext>,
        connect: Arc<Command>,
    ) -> Result<Self, Refusal> {
        let policies = resource.policies.load_full();
        let masker =
            Masker::new(&policies.detectors(session.identity.identity()), resource.tenant_key.expose());
        let stamp = record::stamp(&session, &resource, &masker);
        let changes = resource.changes.clone();
        resource.metrics.sessions_active.inc();
        let mut gate = Self {
            session,
            resource,
            stamp,
            connect: Arc::clone(&connect),
            masker,
            policies,
            named: true,
            changes,
            commands: 0,
            totals: record::Totals::default(),
            owed: None,
            judgements: Judgements::default(),
        };
        gate.write(record::session_start(&gate.session, &gate.resource, &gate.policies, &gate.masker), false)
            .await?;
        let refusal = match gate.judge(connect, Standing::Alone).await {
            Judged::Permit(permit) => {
                gate.finish(permit, End::ok(0)).await?;
                return Ok(gate);
            }
            Judged::Refused(refusal) => refusal,
            Judged::Unasked(unasked) => {
                let why = Refusal {
                    kind: RefusalKind::Denied,
                    rule: None,
                    message: "opening a session cannot be held for approval".to_owned(),
                    hint: "ask the policy's author to allow or deny Connect".to_owned(),
                };
                gate.decline(*unasked, why).await
            }
        };
        gate.close("policy").await;
        Err(refusal)
    }

    /// Judges one command, in the order above, records the verdict, and asks for an approval where a rule wants one.
    /// For sessions whose commands come one after the other; others call [`Gate::judge`].
    ///
    /// Not cancel safe: dropping the future loses a command that may already be on record as allowed.
    pub async fn decide(&mut self, command: Arc<Command>, standing: Standing) -> Decision {
        let unasked = match self.judge(command, standing).await {
            Judged::Permit(permit) => return Decision::Permit(permit),
            Judged::Refused(refusal) => return Decision::Refused(refusal),
            Judged::Unasked(unasked) => unasked,
        };
        let held = self.hold(unasked.ask().await).await;
        held.map_or_else(Decision::Refused, |held| Decision::Held(Box::new(held)))
    }

    /// As [`Gate::decide`], but asks nobody: that may take long, and a gate that others wait for is not kept meanwhile.
    ///
    /// Not cancel safe, as [`Gate::decide`].
    pub async fn judge(&mut self, command: Arc<Command>, standing: Standing) -> Judged {
        let arrived = Instant::now();
        self.adopt_policies();
        if let Some(refusal) = self.invalid() {
            return Judged::Refused(refusal);
        }
        let judgement = match stale::refusal(&self.resource.contact) {
            Some(refusal) => self.judgement(&command, stale::evaluation(&refusal), Some(refusal)),
            None => self.evaluate(&command),
        };
        let number = self.next_command(judgement.said.word());
        let event = record::statement(&self.facts(number, &command), &judgement);
        let allowed = matches!(judgement.said, Said::Allow(_));
        let put_off = allowed && standing == Standing::Undoable;
        let written = self.write(event, !put_off && (command.reading.changes || !allowed)).await;
        self.named |= written.is_ok();
        let settled = match written {
            Ok(receipt) => {
                self.settle(standing, (put_off && command.reading.changes).then_some(receipt)).await
            }
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = settled {
            return Judged::Refused(refusal);
        }
        self.resource.metrics.decision_seconds.observe(arrived.elapsed().as_secs_f64());
        match &judgement.said {
            Said::Allow(clearance) => Judged::Permit(self.permit(number, command, Arc::clone(clearance))),
            Said::Deny { refusal, .. } => Judged::Refused(refusal.clone()),
            Said::Hold { rule, terms, message } => {
                let held = Held::new(number, command, rule.clone(), terms.clone(), message.clone());
                let facts = self.facts(number, held.command());
                let question = held.question(&facts, standing != Standing::Alone);
                let approvals = Arc::clone(&self.resource.approvals);
                let masker = self.masker.clone();
                Judged::Unasked(Box::new(Unasked::new(held, question, approvals, masker)))
            }
        }
    }

    /// Records that people are asked about a command, or that nobody can be.
    ///
    /// Cancel safe in what it promises: dropped, the request is withdrawn and nothing runs.
    ///
    /// # Errors
    /// Nobody can be asked; or it cannot be recorded, and the request is withdrawn.
    pub async fn hold(&mut self, asked: Asked) -> Result<Held, Refusal> {
        let Asked { held, refusal } = asked;
        if let Some(refusal) = refusal {
            self.write(record::refused(&held, &refusal, &self.masker), true).await?;
            return Err(refusal);
        }
        self.write(record::asked(&held), true).await?;
        Ok(held)
    }

    /// Refuses a held command about which nobody is asked, because whoever gave it cannot wait, and records that. Gives
    /// what the client is told: `why`, with the rule that holds, or that nothing can be recorded.
    pub async fn decline(&mut self, unasked: Unasked, why: Refusal) -> Refusal {
        let held = unasked.into_held();
        let refusal = Refusal { rule: Some(held.rule().clone()), ..why };
        match self.write(record::refused(&held, &refusal, &self.masker), true).await {
            Ok(_) => refusal,
            Err(lost) => lost,
        }
    }

    /// Turns the end of a held command into a permit or a refusal: the approval is recorded, and the newest
    /// policies are asked again. An approval never turns Deny into Allow.
    ///
    /// Not cancel safe: an approval that was consumed would be lost.
    ///
    /// # Errors
    /// It was denied, expired or withdrawn, the policies changed meanwhile, or that cannot be recorded.
    pub async fn resume(
        &mut self,
        held: Held,
        outcome: Result<Outcome, ApprovalError>,
    ) -> Result<Permit, Refusal> {
        self.resource.metrics.approval_wait_seconds.observe(held.waited().as_secs_f64());
        let refusal = held.refusal(&outcome);
        self.write(record::approval(&held, &outcome, refusal.as_ref(), &self.masker), true).await?;
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        self.adopt_policies();
        match self.release(&held) {
            Ok(clearance) => Ok(self.permit(held.number(), held.into_command(), Arc::new(clearance))),
            Err(refusal) => {
                self.write(record::refused(&held, &refusal, &self.masker), true).await?;
                Err(refusal)
            }
        }
    }

    /// What an approved command may do now.
    fn release(&self, held: &Held) -> Result<Clearance, Refusal> {
        if let Some(refusal) = self.invalid().or_else(|| stale::refusal(&self.resource.contact)) {
            return Err(refusal);
        }
        let identity = self.session.identity.identity();
        match self.policies.evaluate(identity, held.command(), Timestamp::now()).verdict {
            Verdict::Allow { rule, mask } => Ok(Clearance { rule, mask }),
            Verdict::Hold { rule, mask, terms, .. }
                if rule == *held.rule() && terms.reviewers == held.terms().reviewers =>
            {
                Ok(Clearance { rule, mask })
            }
            Verdict::Hold { rule, .. } => Err(Refusal {
                kind: RefusalKind::Denied,
                message:
                    "the policies changed while the command waited: another rule holds it now, or asks others"
                        .to_owned(),
                hint: "send it again to ask for approval under what holds now".to_owned(),
                rule: Some(rule),
            }),
            Verdict::Deny { rule, message } => Err(Refusal::denied(rule, message)),
        }
    }

    /// Gives up a held command: the client went away, cancelled, or its session ended.
    pub async fn withdraw(&mut self, held: Held, reason: &str) {
        let event = record::withdrawn(&held, reason);
        drop(held);
        self.write_end(event).await;
    }

    /// Lets the client of a held command go, which is told to repeat it: this one does not run any more, but its request
    /// stays open, and the repetition claims the approval. For what was asked about as
    /// [repeatable](Unasked::as_repeatable).
    pub async fn leave(&mut self, mut held: Held) {
        held.leave();
        let event = record::left(&held);
        drop(held);
        self.write_end(event).await;
    }

    /// Records how a command ended that did not run and will not: a recorder that is gone has already refused everything
    /// else.
    async fn write_end(&mut self, event: Event) {
        if let Err(refusal) = self.write(event, true).await {
            tracing::warn!(session = self.session.id, refusal = refusal.message, "withdrawal not recorded");
        }
    }

    /// Records masked frames of a result. They may be buffered: call [`Gate::before_release`] before any of them is
    /// handed to the client, unless [`Gate::finish`] comes first.
    ///
    /// # Errors
    /// They cannot be recorded: the client must not get them.
    pub fn record(&mut self, permit: &mut Permit, frames: &[u8]) -> Result<(), Refusal> {
        permit.take_frames(frames).map_err(|error| self.recorder_lost(&error))
    }

    /// Writes what [`Gate::record`] buffered.
    ///
    /// # Errors
    /// It cannot be recorded: the client must not get it.
    pub fn before_release(&mut self, permit: &mut Permit) -> Result<(), Refusal> {
        permit.write_chunk().map_err(|error| self.recorder_lost(&error))
    }

    /// Records masked frames that no command asked for, such as a notification, with the latest command. Only then does the
    /// client get them.
    ///
    /// # Errors
    /// They cannot be recorded: the client must not get them.
    pub async fn record_unasked(&mut self, frames: Bytes) -> Result<(), Refusal> {
        self.totals.add(u64::try_from(frames.len()).unwrap_or(u64::MAX), 0);
        self.write(record::chunk(self.commands, frames), false).await.map(drop)
    }

    /// Records how a command ended. Only then is its completion released to the client.
    ///
    /// # Errors
    /// It cannot be recorded: the session ends.
    pub async fn finish(&mut self, permit: Permit, end: End) -> Result<(), Refusal> {
        let masked: u64 = end.masked.0.values().sum();
        self.resource.metrics.masked_values.inc_by(masked);
        self.totals.add(permit.bytes(), masked);
        let hard = self.resource.recording.durability == Durability::Synced;
        let event = permit.close(end);
        self.write(event, hard).await.map(drop)
    }

    /// Records something an investigator should know that belongs to no command.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub async fn note(&mut self, event: Event) -> Result<(), Refusal> {
        self.write(event, false).await.map(drop)
    }

    /// What tells the moments at which the session has to be looked at.
    pub fn watch(&self) -> Watch {
        Watch { expires_at: self.session.identity.expires_at(), changes: self.changes.clone() }
    }

    /// Ends the session and records why, with totals.
    pub async fn close(self, reason: &'static str) {
        let event = record::session_end(reason, self.commands, &self.totals);
        if let Err(refusal) = self.write(event, true).await {
            tracing::warn!(session = self.session.id, refusal = refusal.message, "session end not recorded");
        }
    }

    /// The session of this gate.
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// The resource of this gate.
    pub const fn resource(&self) -> &Arc<ResourceContext> {
        &self.resource
    }

    /// Masks for messages that belong to no command.
    pub const fn masker(&self) -> &Masker {
        &self.masker
    }

    /// Keeps in mind what is not known to be on disk, and waits for it before a transaction may be committed.
    async fn settle(&mut self, standing: Standing, put_off: Option<Receipt>) -> Result<(), Refusal> {
        match standing {
            Standing::Undoable => self.owed = put_off.or(self.owed),
            // The transaction is over. Its commit was settled; if it ended otherwise, nothing of it lasts.
            Standing::Alone => self.owed = None,
            Standing::InTransaction => {
                if let Some(owed) = self.owed.take() {
                    self.resource.spool.synced(owed).await.map_err(|error| self.recorder_lost(&error))?;
                }
            }
        }
        Ok(())
    }

    fn permit(&self, number: u64, command: Arc<Command>, clearance: Arc<Clearance>) -> Permit {
        Permit::new(
            permit::Log { spool: self.resource.spool.clone(), stamp: self.stamp.clone() },
            permit::Cleared {
                number,
                command,
                clearance,
                masker: self.masker.clone(),
                wording: self.resource.wording,
            },
            self.resource.recording,
        )
    }

    fn facts<'a>(&'a self, number: u64, command: &'a Arc<Command>) -> record::Facts<'a> {
        record::Facts {
            number,
            command,
            session: &self.session,
            resource: &self.resource,
            masker: &self.masker,
            news: (!self.named).then_some(&*self.policies),
        }
    }

    fn next_command(&mut self, verdict: &'static str) -> u64 {
        self.commands = self.commands.saturating_add(1);
        self.totals.count(verdict);
        let labels = CommandLabels { protocol: self.resource.protocol, verdict };
        self.resource.metrics.commands.get_or_create(&labels).inc();
        self.commands
    }

    async fn write(&self, event: Event, hard: bool) -> Result<Receipt, Refusal> {
        let receipt = self.append(event).map_err(|error| self.recorder_lost(&error))?;
        if hard || self.resource.recording.durability == Durability::Synced {
            self.resource.spool.synced(receipt).await.map_err(|error| self.recorder_lost(&error))?;
        }
        Ok(receipt)
    }

    fn append(&self, event: Event) -> Result<Receipt, SpoolError> {
        self.resource.spool.append(&self.stamp, event)
    }

    fn recorder_lost(&self, error: &SpoolError) -> Refusal {
        self.resource.metrics.recorder_failures.inc();
        tracing::error!(session = self.session.id, error = %Chain(error), "record command");
        Refusal {
            kind: RefusalKind::Unavailable,
            rule: None,
            message: format!("the gateway cannot record, so it does not let anything run: {error}"),
            hint: "try again later, and tell whoever runs the gateway".to_owned(),
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.resource.metrics.sessions_active.dec();
    }
}
