//! A command's way through the gate: permitted, held or refused, each in its turn.
//!
//! *Refusals.* A simple query gets `ErrorResponse` and `ReadyForQuery` with the transaction's real status, and nothing
//! goes upstream: a refusal does not abort the client's transaction. In the extended protocol everything up to `Sync` is
//! discarded, as after any error. If the batch has already run something outside an explicit transaction, PostgreSQL
//! would roll that back after an error; so the server is made to see one: it is told to execute a portal that does not
//! exist, and its error is replaced by the refusal.
//!
//! *Holds.* The pipeline stalls in order: what was sent before is flushed and answered, what comes after waits, unread
//! beyond a bound. The client's end and a cancel request are noticed at once and withdraw the request.

use super::Relay;
use super::ending::Ending;
use super::expect::{Expect, Running};
use super::meaning::Source;
use crate::analyze::Analysis;
use crate::frontend::{self, Severity, refusal};
use crate::mask::Shape;
use bytes::{Bytes, BytesMut};
use pgwire::messages::response::TransactionStatus;
use postgres_protocol::message::frontend as send;
use proxy_core::approval::{ApprovalError, Outcome};
use proxy_core::gate::{Decision, Held, Permit, Standing};
use proxy_core::refusal::{Refusal, RefusalKind};
use proxy_policy::{Command, Effects};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::time::Instant;

/// What is to be sent once the command has its permit.
#[derive(Debug)]
pub(super) enum Intent {
    /// A simple query.
    Query {
        /// The message.
        frame: Bytes,
    },
    /// A portal.
    Execute {
        /// The message.
        frame: Bytes,
        /// Name of the portal.
        portal: String,
        /// Digest of the parameters.
        parameters: Arc<str>,
        /// Types of its columns, if known.
        shapes: Option<Arc<[Shape]>>,
    },
    /// Nothing: a text that policy denies, refused when it is parsed.
    Prepare,
}

/// A held command.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) held: Box<Held>,
    pub(super) remind_at: Instant,
    intent: Intent,
    /// What it is analysed from, and what that was when people were asked.
    source: Source,
    analysis: Arc<Analysis>,
}

impl Relay {
    /// What a text means now.
    pub(super) async fn analyze(&mut self, source: &Source) -> Result<Arc<Analysis>, Refusal> {
        if let Source::Text(text) | Source::Made { text, .. } = source {
            self.tell(text);
        }
        self.meaning.analyze(source).await
    }

    /// Tells the analyser of the statements that the protocol has prepared, if a text may name one.
    pub(super) fn tell(&mut self, text: &str) {
        if !super::names::says_execute(text.as_bytes()) {
            return;
        }
        for (name, statement) in &mut self.names.statements {
            if !name.is_empty() && !std::mem::replace(&mut statement.told, true) {
                self.meaning.state.prepare(name, &statement.text, statement.made.analysis.meant());
            }
        }
    }

    /// Asks the gate, and acts on its answer.
    pub(super) async fn clear(&mut self, source: &Source, intent: Intent) -> Result<(), Ending> {
        let analysis = match self.analyze(source).await {
            Ok(analysis) => analysis,
            Err(refusal) => {
                self.refuse(&intent, &refusal);
                return Ok(());
            }
        };
        let command = self.command(&analysis, &intent);
        let standing = standing(self.status, self.batch.control, &self.queue, analysis.undoable);
        match self.gate.decide(command, standing).await {
            Decision::Permit(permit) => self.permitted(intent, analysis, permit)?,
            Decision::Refused(refusal) => self.refused(&intent, refusal)?,
            Decision::Held(held) => self.hold(held, intent, (source.clone(), analysis)),
        }
        Ok(())
    }

    fn command(&self, analysis: &Analysis, intent: &Intent) -> Arc<Command> {
        let parameters = match intent {
            Intent::Execute { parameters, .. } if !parameters.is_empty() => Some(parameters),
            Intent::Execute { .. } | Intent::Query { .. } | Intent::Prepare => None,
        };
        let command = self.meaning.command(analysis);
        let Some(parameters) = parameters else { return command };
        let mut command = Arc::unwrap_or_clone(command);
        command.binding.push(("parameters".into(), Arc::clone(parameters)));
        // another value is another effect, written into the text or not
        command.canonical.push_str("\nparameters ");
        command.canonical.push_str(parameters);
        Arc::new(command)
    }

    /// Sends what was permitted. The permit goes with it, until the answer is on record.
    fn permitted(&mut self, intent: Intent, analysis: Arc<Analysis>, permit: Permit) -> Result<(), Ending> {
        let frame = match &intent {
            Intent::Query { frame } | Intent::Execute { frame, .. } => frame.clone(),
            Intent::Prepare => {
                // The policies changed within the last microseconds; the client may send it again.
                let message = "the policies changed while the statement was prepared";
                self.refuse(&intent, &refusal(RefusalKind::Withdrawn, message, "send it again"));
                return Ok(());
            }
        };
        let running = Running::new(permit, analysis, (self.copies, self.gate.masks_columns()));
        if let Some(refusal) = running.cannot_mask() {
            // The permit is dropped: what it allowed is on record as aborted.
            self.refuse(&intent, &refusal);
            return Ok(());
        }
        self.meaning.unseen |= matches!(running.analysis.command.reading.effects, Effects::Unknown { .. });
        if running.changes_meaning() {
            self.changing = self.changing.saturating_add(1);
        }
        match intent {
            Intent::Query { .. } => {
                self.batch = super::Batch::default();
                self.queue.push_back(Expect::Query(Box::new(running)));
            }
            Intent::Execute { portal, shapes, .. } => {
                self.batch.sent = true;
                self.batch.commands = true;
                self.batch.control |= running.controls_transaction();
                let shapes = shapes.unwrap_or_default();
                let mut running = Running { shapes, ..running };
                if running.surprises(self.meaning.catalogue.as_deref(), &mut self.gate) {
                    self.meaning.look_again();
                }
                let described = self.portal(&portal).and_then(|portal| self.names.description(&portal));
                if let Some(description) = described {
                    self.gate.record(&mut running.permit, &description)?;
                }
                self.queue.push_back(Expect::Execute(Box::new(Running { portal, ..running })));
            }
            Intent::Prepare => {}
        }
        self.upstream.output.extend_from_slice(&frame);
        Ok(())
    }

    /// A refusal that ends the session, or one that does not.
    fn refused(&mut self, intent: &Intent, refusal: Refusal) -> Result<(), Ending> {
        if refusal.kind == RefusalKind::SessionEnded {
            return Err(refusal.into());
        }
        self.refuse(intent, &refusal);
        Ok(())
    }

    /// Answers in the command's place. Nothing of it goes upstream.
    pub(super) fn refuse(&mut self, intent: &Intent, refusal: &Refusal) {
        let mut frames = BytesMut::new();
        frontend::put_refusal(refusal, Severity::Error, &mut frames);
        let frames = frames.freeze();
        let idle = matches!(self.status, TransactionStatus::Idle);
        let undo = self.batch.commands && (idle || self.batch.control);
        let simple = matches!(intent, Intent::Query { .. });
        if undo {
            if let Err(error) = send::execute(&self.nowhere, 0, &mut self.upstream.output) {
                tracing::error!(%error, "encode message");
            }
            self.queue.push_back(Expect::Poison(frames));
        } else {
            self.queue.push_back(Expect::Answer { frames, ready: simple && !self.batch.sent });
        }
        if simple {
            if self.batch.sent {
                // A simple query ends what was begun by the extended protocol, refused or not.
                send::sync(&mut self.upstream.output);
                self.queue.push_back(Expect::Sync { copies: self.copies });
                self.batch = super::Batch::default();
            }
        } else {
            self.discarding = true;
            if self.queue.len() > 1 || undo {
                send::flush(&mut self.upstream.output);
            }
        }
        self.answer();
    }

    /// Refuses a function call by object identifier.
    pub(super) fn refuse_call(&mut self) {
        let message = "function calls by object identifier are refused: they bypass every statement";
        let refusal = refusal(RefusalKind::Denied, message, "call the function in a statement");
        self.refuse(&Intent::Query { frame: Bytes::new() }, &refusal);
    }

    /// Says what is ours to say, if its turn has come.
    pub(super) fn answer(&mut self) {
        while let Some(Expect::Answer { frames, ready }) = self.queue.front() {
            let (frames, ready) = (frames.clone(), *ready);
            self.queue.pop_front();
            self.client.output.extend_from_slice(&frames);
            if ready {
                self.say_ready();
            }
        }
    }

    fn hold(&mut self, held: Box<Held>, intent: Intent, (source, analysis): (Source, Arc<Analysis>)) {
        if !self.queue.is_empty() {
            send::flush(&mut self.upstream.output);
        }
        self.cancel.hold();
        self.waiting = Some(Box::new(Waiting { held, remind_at: Instant::now(), intent, source, analysis }));
        self.remind();
    }

    /// Tells the client that it waits.
    pub(super) fn remind(&mut self) {
        if let Some(waiting) = &mut self.waiting {
            waiting.remind_at = Instant::now() + self.options.limits.notice_every;
            let notice = waiting.held.notice();
            frontend::put_notice(&notice, &mut self.client.output);
        }
    }

    /// The held command was decided. A cancel is for the gateway until it has its permit: before that the server has
    /// nothing to cancel.
    pub(super) async fn decided(&mut self, outcome: Result<Outcome, ApprovalError>) -> Result<(), Ending> {
        let Some(waiting) = self.waiting.take() else { return Ok(()) };
        let Waiting { held, intent, source, analysis, .. } = *waiting;
        if matches!(outcome, Ok(Outcome::Approved { .. })) {
            let same = self.means_the_same(&source, &analysis).await;
            let stands = if self.cancel.is_withdrawn() { Err(cancelled()) } else { same };
            if let Err(refusal) = stands {
                self.gate.withdraw(*held, &refusal.message).await;
                self.cancel.release();
                return self.refused(&intent, refusal);
            }
        }
        let resumed = self.gate.resume(*held, outcome).await;
        match (resumed, self.cancel.release()) {
            (Ok(permit), false) => self.permitted(intent, analysis, permit)?,
            // The permit is dropped: what it allowed is on record as aborted.
            (Ok(_), true) => self.refused(&intent, cancelled())?,
            (Err(refusal), _) => self.refused(&intent, refusal)?,
        }
        Ok(())
    }

    /// Whether a command still does what people were asked about: somebody may have dropped the table that its name stood
    /// for, so that it stands for another one.
    async fn means_the_same(&mut self, source: &Source, asked: &Analysis) -> Result<(), Refusal> {
        self.meaning.look_again();
        let now = self.analyze(source).await?;
        let (then, now) = (&asked.command, &now.command);
        if then.canonical == now.canonical && then.reading == now.reading {
            return Ok(());
        }
        let message = "what the command's names stand for changed while it waited, so that the approval is not about it";
        Err(refusal(RefusalKind::Withdrawn, message, "send it again to ask for approval of what it does now"))
    }

    /// The client cancelled what is held.
    pub(super) async fn withdraw_cancelled(&mut self) -> Result<(), Ending> {
        let Some(waiting) = self.waiting.take() else { return Ok(()) };
        let Waiting { held, intent, .. } = *waiting;
        self.gate.withdraw(*held, "cancelled by the client").await;
        self.cancel.release();
        self.refused(&intent, cancelled())
    }
}

fn cancelled() -> Refusal {
    refusal(RefusalKind::Withdrawn, "canceling statement due to user request", "nothing was run")
}

/// Whether what a command changes waits for a commit. That the server was in a transaction block when it was last ready
/// counts only if it owes no newer word, and nothing has begun or ended a transaction since: else the command may stand
/// outside a block, or be the commit of one.
fn standing(status: TransactionStatus, control: bool, queue: &VecDeque<Expect>, undoable: bool) -> Standing {
    let stale = |expected: &Expect| match expected {
        Expect::Query(_) | Expect::Sync { .. } => true,
        Expect::Execute(running) => running.controls_transaction(),
        Expect::Parse { .. }
        | Expect::Bind { .. }
        | Expect::Close { .. }
        | Expect::Describe { .. }
        | Expect::Poison(_)
        | Expect::Answer { .. } => false,
    };
    if matches!(status, TransactionStatus::Idle) {
        Standing::Alone
    } else if undoable && !control && !queue.iter().any(stale) {
        Standing::Undoable
    } else {
        Standing::InTransaction
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_owes_no_newer_word_is_known_to_be_in_a_transaction() {
        let nothing = VecDeque::new();
        let parsing = VecDeque::from([Expect::Close { kind: b'S', name: String::new() }]);
        let syncing = VecDeque::from([Expect::Sync { copies: 0 }]);
        let block = TransactionStatus::Transaction;
        assert_eq!(standing(block, false, &nothing, true), Standing::Undoable);
        assert_eq!(standing(block, false, &parsing, true), Standing::Undoable);
        // A commit, whatever is on its way.
        assert_eq!(standing(block, false, &nothing, false), Standing::InTransaction);
        assert_eq!(standing(block, false, &syncing, false), Standing::InTransaction);
        // A commit was answered, or may have been: the block may be over.
        assert_eq!(standing(block, true, &nothing, true), Standing::InTransaction);
        assert_eq!(standing(block, false, &syncing, true), Standing::InTransaction);
        assert_eq!(standing(TransactionStatus::Idle, false, &nothing, true), Standing::Alone);
    }
}
