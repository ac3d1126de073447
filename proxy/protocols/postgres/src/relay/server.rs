//! What the server sends: each message meets the entry of the queue it answers. One that fits nothing ends the session.

use super::ending::Ending;
use super::expect::{Expect, Running, shapes};
use super::meaning::{Made, Source};
use super::names::{Portal, Statement};
use super::{HIGH_WATER, Relay};
use crate::analyze::{Analysis, StateChange};
use crate::frame;
use crate::mask::{self, RowPlan, Shape, Texts, Withhold};
use crate::messages::{self, Backend, Body, Malformed};
use crate::upstream::{self, sqlstate};
use bytes::{Bytes, BytesMut};
use pgwire::messages::response::TransactionStatus;
use proxy_core::gate::{End, EndKind};
use proxy_core::mask::MaskCounts;
use proxy_core::refusal::RefusalKind;
use std::sync::Arc;

impl Relay {
    /// Takes what the server sent, as far as the client keeps up.
    pub(super) async fn take_server(&mut self) -> Result<(), Ending> {
        while self.client.output.len() < HIGH_WATER {
            if self.passing > 0 {
                if self.upstream.input.is_empty() {
                    break;
                }
                self.pass_rest()?;
                continue;
            }
            let header = frame::header(&self.upstream.input, i32::MAX.unsigned_abs() as usize);
            let header = header.or(Err(Ending::ServerProtocol("an impossible length")))?;
            let Some(header) = header else { break };
            let Some(kind) = Backend::of(header.tag) else {
                return Err(Ending::ServerProtocol("an unknown message"));
            };
            if self.passes_untouched(kind) {
                self.passing = self.untouched_run(header.tag);
                continue;
            }
            let limit = self.options.limits.masked_message_bytes;
            if header.length > limit {
                let message =
                    format!("a row or message of {} bytes is over the limit of {limit}", header.length);
                let hint = "select less of it: it has to be masked as a whole";
                return Err(crate::frontend::refusal(RefusalKind::TooLarge, message, hint).into());
            }
            if matches!(kind, Backend::DataRow | Backend::CopyData) {
                if !self.rows(header.tag)? {
                    break;
                }
                continue;
            }
            if self.upstream.input.len() < header.length {
                break;
            }
            let frame = self.upstream.input.split_to(header.length).freeze();
            self.server_message(kind, frame).await?;
            self.answer();
        }
        Ok(())
    }

    /// Passes on what is here of frames that need no look.
    fn pass_rest(&mut self) -> Result<(), Ending> {
        let now = self.passing.min(self.upstream.input.len());
        let span = self.upstream.input.split_to(now);
        self.passing = self.passing.saturating_sub(now);
        self.release(&span)
    }

    async fn server_message(&mut self, kind: Backend, frame: Bytes) -> Result<(), Ending> {
        match kind {
            Backend::NoticeResponse => self.notice(&frame).await,
            Backend::NotificationResponse => self.notification(&frame).await,
            Backend::ParameterStatus => self.parameter(&frame),
            Backend::ErrorResponse => self.error(&frame).await,
            Backend::ReadyForQuery => self.ready(&frame).await,
            Backend::ParseComplete
            | Backend::BindComplete
            | Backend::CloseComplete
            | Backend::ParameterDescription
            | Backend::NoData => self.prepared(kind, &frame),
            Backend::RowDescription => self.described(&frame),
            Backend::DataRow
            | Backend::CommandComplete
            | Backend::EmptyQueryResponse
            | Backend::PortalSuspended
            | Backend::CopyInResponse
            | Backend::CopyOutResponse
            | Backend::CopyData
            | Backend::CopyDone
            | Backend::FunctionCallResponse => self.result(kind, frame).await,
        }
    }

    /// Answers to what prepares and runs nothing.
    fn prepared(&mut self, kind: Backend, frame: &Bytes) -> Result<(), Ending> {
        match (kind, self.queue.front()) {
            (Backend::ParameterDescription, Some(Expect::Describe { kind: b'S', .. })) => {
                self.client.output.extend_from_slice(frame);
                return Ok(());
            }
            (Backend::ParseComplete, Some(Expect::Parse { .. }))
            | (Backend::BindComplete, Some(Expect::Bind { .. }))
            | (Backend::CloseComplete, Some(Expect::Close { .. }))
            | (Backend::NoData, Some(Expect::Describe { .. })) => {}
            _ => return Err(Ending::ServerProtocol("an answer to something else")),
        }
        match self.queue.pop_front() {
            Some(Expect::Parse { name, text, types, made }) => {
                self.names.statements.insert(name, Statement::new(text, types, made));
            }
            Some(Expect::Bind { name, portal }) => {
                if let Source::Made { made, .. } = &portal.source {
                    self.taken_in(&portal.statement, made.clone());
                }
                self.names.portals.insert(name, portal);
            }
            Some(Expect::Describe { kind: b'S', name, made: Some(made), .. }) => self.taken_in(&name, made),
            Some(Expect::Close { kind: b'S', name }) => {
                self.names.statements.remove(&name);
                if self.meaning.state.prepared(&name).is_some() {
                    self.meaning.state.apply(&[StateChange::Deallocated(Some(name))]);
                }
            }
            Some(Expect::Close { name, .. }) => {
                self.names.portals.remove(&name);
                if self.meaning.state.cursor(&name).is_some() {
                    self.meaning.state.apply(&[StateChange::Closed(Some(name))]);
                }
            }
            _ => {}
        }
        self.client.output.extend_from_slice(frame);
        Ok(())
    }

    /// The server has taken a statement in again, and keeps what it means by now.
    fn taken_in(&mut self, name: &str, made: Made) {
        if let Some(statement) = self.names.statements.get_mut(name) {
            statement.made = made;
        }
    }

    /// The server failed to take a statement in again, or has done so before it failed.
    fn may_be_taken_in(&mut self) {
        let (name, meant) = match self.queue.front() {
            Some(Expect::Bind {
                portal: Portal { source: Source::Made { made, .. }, statement, .. },
                ..
            }) => (statement, made.analysis.meant()),
            Some(Expect::Describe { kind: b'S', name, made: Some(made), .. }) => {
                (name, made.analysis.meant())
            }
            _ => return,
        };
        if let Some(statement) = self.names.statements.get_mut(name) {
            statement.may_mean(&meant);
        }
    }

    fn described(&mut self, frame: &Bytes) -> Result<(), Ending> {
        let columns = messages::columns(frame::body(frame)).map_err(malformed)?;
        let mut out = BytesMut::new();
        match self.queue.front_mut() {
            Some(Expect::Describe { withhold, .. }) => {
                let (masker, counts) = (self.gate.masker(), &mut MaskCounts::default());
                let texts = Texts { masker, counts, withhold: Withhold::values(*withhold) };
                mask::description(frame, texts, &mut out).map_err(malformed)?;
            }
            Some(Expect::Query(running) | Expect::Execute(running)) => {
                running.describe(&columns);
                if running.surprises(self.meaning.catalogue.as_deref(), &mut self.gate) {
                    self.meaning.look_again();
                }
                let withhold = Withhold::values(matches!(running.plan, RowPlan::Whole(_)));
                let texts = Texts { masker: running.permit.masker(), counts: &mut running.counts, withhold };
                mask::description(frame, texts, &mut out).map_err(malformed)?;
                return self.release_after_completion(&out.freeze());
            }
            _ => return Err(Ending::ServerProtocol("a description that nobody asked for")),
        }
        self.client.output.extend_from_slice(&out);
        self.remember(&shapes(&columns), out.freeze())
    }

    /// Takes a description off the queue, and keeps it for executions to come: their types for masks, and all of it for
    /// the record.
    fn remember(&mut self, shapes: &Arc<[Shape]>, description: Bytes) -> Result<(), Ending> {
        match self.queue.pop_front() {
            Some(Expect::Describe { kind: b'S', name, made, .. }) => {
                if let Some(made) = made {
                    self.taken_in(&name, made);
                }
                if let Some(statement) = self.names.statements.get_mut(&name) {
                    statement.shapes = Some(Arc::clone(shapes));
                    statement.description = Some(description);
                }
                for portal in self.names.portals.values_mut().filter(|portal| portal.statement == name) {
                    portal.shapes = Some(portal.described(shapes));
                }
            }
            Some(Expect::Describe { name, .. }) => {
                for expected in &mut self.queue {
                    // Executions that were sent right behind it did not know yet.
                    if let Expect::Execute(running) = expected
                        && running.portal == name
                    {
                        running.shapes = Arc::clone(shapes);
                        if running.surprises(self.meaning.catalogue.as_deref(), &mut self.gate) {
                            self.meaning.look_again();
                        }
                        self.gate.record(&mut running.permit, &description)?;
                    }
                }
                if let Some(portal) = self.names.portals.get_mut(&name) {
                    portal.shapes = Some(Arc::clone(shapes));
                    portal.description = Some(description);
                }
            }
            _ => {}
        }
        Ok(())
    }

    async fn notice(&mut self, frame: &Bytes) -> Result<(), Ending> {
        let mut out = BytesMut::new();
        if let Some(Expect::Execute(running) | Expect::Query(running)) = self.queue.front_mut() {
            report(running, frame, &mut out)?;
            return self.release_after_completion(&out.freeze());
        }
        let masks = self.gate.masks_columns();
        let texts = Texts {
            masker: self.gate.masker(),
            counts: &mut MaskCounts::default(),
            withhold: Withhold::values(masks),
        };
        mask::report(frame, texts, &mut out).map_err(malformed)?;
        self.release_unasked(&out.freeze()).await
    }

    async fn notification(&mut self, frame: &Bytes) -> Result<(), Ending> {
        let masks = self.gate.masks_columns();
        let texts = Texts {
            masker: self.gate.masker(),
            counts: &mut MaskCounts::default(),
            withhold: Withhold::values(masks),
        };
        let mut out = BytesMut::new();
        mask::notification(frame, texts, &mut out).map_err(malformed)?;
        self.release_unasked(&out.freeze()).await
    }

    fn parameter(&mut self, frame: &Bytes) -> Result<(), Ending> {
        let mut body = Body::new(frame::body(frame));
        let (name, value) = (body.cstring().map_err(malformed)?, body.cstring().map_err(malformed)?);
        let pinned = match name {
            b"client_encoding" => value == b"UTF8",
            b"standard_conforming_strings" => value == b"on",
            _ => true,
        };
        if !pinned {
            return Err(crate::frontend::refusal(
                RefusalKind::Denied,
                "the session's encoding or string syntax was changed, so the gateway can no longer read it",
                "leave client_encoding at UTF8 and standard_conforming_strings at on",
            )
            .into());
        }
        let masks = self.gate.masks_columns();
        let texts = Texts {
            masker: self.gate.masker(),
            counts: &mut MaskCounts::default(),
            withhold: Withhold::values(self.meaning.unseen && masks),
        };
        let mut out = BytesMut::new();
        mask::parameter_status(frame, texts, &mut out).map_err(malformed)?;
        if !self.keeps_back(&out) {
            self.client.output.extend_from_slice(&out);
        }
        Ok(())
    }

    async fn error(&mut self, frame: &Bytes) -> Result<(), Ending> {
        self.server_said_why |= upstream::ends_session(frame::body(frame));
        match self.queue.front_mut() {
            Some(Expect::Query(running)) => {
                running.failure = Some(sqlstate(frame::body(frame)));
                let mut out = BytesMut::new();
                report(running, frame, &mut out)?;
                self.release_after_completion(&out.freeze())
            }
            Some(Expect::Execute(running)) => {
                running.failure = Some(sqlstate(frame::body(frame)));
                let mut out = BytesMut::new();
                report(running, frame, &mut out)?;
                self.release(&out)?;
                if let Some(Expect::Execute(running)) = self.queue.pop_front() {
                    self.finish(*running).await?;
                }
                self.skip_to_sync();
                Ok(())
            }
            Some(Expect::Poison(frames)) => {
                let frames = frames.clone();
                self.queue.pop_front();
                self.client.output.extend_from_slice(&frames);
                self.meaning.failed(None);
                self.skip_to_sync();
                Ok(())
            }
            front => {
                // Planning evaluates constants, so that only there a value could be quoted.
                let may_quote = !matches!(
                    front,
                    Some(Expect::Parse { .. } | Expect::Describe { .. } | Expect::Close { .. })
                );
                let masks = self.gate.masks_columns();
                let texts = Texts {
                    masker: self.gate.masker(),
                    counts: &mut MaskCounts::default(),
                    withhold: Withhold::values(may_quote && masks),
                };
                mask::report(frame, texts, &mut self.client.output).map_err(malformed)?;
                self.may_be_taken_in();
                self.meaning.failed(None);
                self.skip_to_sync();
                Ok(())
            }
        }
    }

    /// After an error the server ignores everything up to `Sync`: whatever was sent before it is not answered.
    fn skip_to_sync(&mut self) {
        while let Some(expected) = self.queue.front() {
            if let Expect::Sync { .. } = expected {
                return;
            }
            // A permit that is dropped is on record as aborted.
            self.drop_front();
        }
        self.discarding = true;
    }

    fn drop_front(&mut self) {
        if let Some(Expect::Execute(running) | Expect::Query(running)) = self.queue.pop_front()
            && running.changes_meaning()
        {
            self.changing = self.changing.saturating_sub(1);
        }
    }

    async fn ready(&mut self, frame: &Bytes) -> Result<(), Ending> {
        let mut body = Body::new(frame::body(frame));
        let status = body.u8().map_err(malformed)?;
        body.end().map_err(malformed)?;
        let status = TransactionStatus::try_from(status)
            .or(Err(Ending::ServerProtocol("an unknown transaction status")))?;
        match self.queue.pop_front() {
            Some(Expect::Query(running)) => {
                let completion = running.completion.clone();
                let mut running = running;
                if !completion.is_empty() {
                    self.gate.record(&mut running.permit, &completion)?;
                }
                self.finish(*running).await?;
                self.client.output.extend_from_slice(&completion);
            }
            Some(Expect::Sync { .. }) => {}
            _ => return Err(Ending::ServerProtocol("ready without being asked")),
        }
        self.status = status;
        let idle = matches!(status, TransactionStatus::Idle);
        if idle {
            // Portals do not outlive their transaction, unless they are cursors WITH HOLD, which SQL made.
            self.names.portals.clear();
        }
        self.meaning.ready(idle);
        self.client.output.extend_from_slice(frame);
        Ok(())
    }

    /// Records how a command ended, and takes over what it changed.
    pub(super) async fn finish(&mut self, running: Running) -> Result<(), Ending> {
        let Running { permit, analysis, counts, rows, failure, undone, .. } = running;
        let outcome = if failure.is_some() { EndKind::Error } else { EndKind::Ok };
        if super::expect::changes_meaning(&analysis) {
            self.changing = self.changing.saturating_sub(1);
        }
        match outcome {
            EndKind::Ok => {
                self.meaning.succeeded(&analysis, undone);
                self.rename(&analysis);
            }
            EndKind::Error | EndKind::Aborted => self.meaning.failed(Some(&analysis)),
        }
        self.replanned(&analysis);
        let end = End { outcome, rows, status_code: failure, masked: counts, cut: false };
        Ok(self.gate.finish(permit, end).await?)
    }

    /// SQL ran statements of the protocol, which the server may have planned again.
    fn replanned(&mut self, analysis: &Analysis) {
        for change in &analysis.state_changes {
            if let StateChange::Replanned { name, meant } = change
                && let Some(statement) = self.names.statements.get_mut(name)
            {
                statement.may_mean(meant);
            }
        }
    }

    /// Names that SQL made or dropped are no longer the protocol's.
    fn rename(&mut self, analysis: &Analysis) {
        for change in &analysis.state_changes {
            match change {
                StateChange::Prepared { name, .. } | StateChange::Deallocated(Some(name)) => {
                    self.names.statements.remove(name);
                }
                StateChange::Deallocated(None) => self.names.statements.clear(),
                StateChange::Declared { cursor, .. } | StateChange::Closed(Some(cursor)) => {
                    self.names.portals.remove(cursor);
                }
                StateChange::Closed(None) => self.names.portals.clear(),
                StateChange::Replanned { .. }
                | StateChange::Created(_)
                | StateChange::Dropped { .. }
                | StateChange::SchemaCreated(_)
                | StateChange::SearchPath { .. }
                | StateChange::Role { .. }
                | StateChange::Doubted
                | StateChange::TemporaryDiscarded
                | StateChange::Begin
                | StateChange::Committed
                | StateChange::LocalEnds
                | StateChange::RolledBack
                | StateChange::Savepoint(_)
                | StateChange::Released(_)
                | StateChange::RolledBackTo(_) => {}
            }
        }
    }
}

fn report(running: &mut Running, frame: &[u8], out: &mut BytesMut) -> Result<(), Ending> {
    let withhold = running.withholds();
    let texts = Texts { masker: running.permit.masker(), counts: &mut running.counts, withhold };
    mask::report(frame, texts, out).map_err(malformed)
}

pub(super) fn malformed(malformed: Malformed) -> Ending {
    Ending::ServerProtocol(malformed.0)
}
