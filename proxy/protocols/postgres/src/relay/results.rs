//! Results: rows, copies, completions. Masked, recorded, and only then handed on.

use super::calls;
use super::ending::Ending;
use super::expect::{Expect, Running};
use super::server::malformed;
use super::{HIGH_WATER, Relay};
use crate::frame;
use crate::frontend::refusal;
use crate::mask::{RowMasker, RowPlan};
use crate::messages::{self, Backend};
use bytes::{Buf as _, Bytes, BytesMut};
use proxy_core::refusal::RefusalKind;

impl Relay {
    /// Whether a message passes as it is, even before all of it is there.
    pub(super) fn passes_untouched(&self, kind: Backend) -> bool {
        match (kind, self.queue.front()) {
            (
                Backend::DataRow | Backend::CopyData,
                Some(Expect::Execute(running) | Expect::Query(running)),
            ) => running.plan == RowPlan::Clear && running.completion.is_empty(),
            _ => false,
        }
    }

    /// Bytes of the run of frames of one kind that the input begins with, the last one perhaps not all there.
    pub(super) fn untouched_run(&mut self, tag: u8) -> usize {
        let (mut end, mut count) = (0_usize, 0_u64);
        while let Some(rest) = self.upstream.input.get(end..)
            && let Ok(Some(header)) = frame::header(rest, i32::MAX.unsigned_abs() as usize)
            && header.tag == tag
        {
            end = end.saturating_add(header.length);
            count = count.saturating_add(1);
        }
        if let (b'D', Some(Expect::Execute(running) | Expect::Query(running))) = (tag, self.queue.front_mut())
        {
            running.rows = running.rows.saturating_add(count);
        }
        end
    }

    /// Records bytes of the current result and hands them on. They are in the log before they are written out.
    pub(super) fn release(&mut self, bytes: &[u8]) -> Result<(), Ending> {
        if let Some(Expect::Execute(running) | Expect::Query(running)) = self.queue.front_mut() {
            self.gate.record(&mut running.permit, bytes)?;
        }
        self.client.output.extend_from_slice(bytes);
        Ok(())
    }

    /// As [`Relay::release`], behind the completion that was kept back.
    pub(super) fn release_after_completion(&mut self, bytes: &Bytes) -> Result<(), Ending> {
        if let Some(Expect::Query(running)) = self.queue.front_mut()
            && !running.completion.is_empty()
        {
            let completion = running.completion.split();
            self.release(&completion)?;
        }
        self.release(bytes)
    }

    /// Records and hands on what came without being asked for, in its order: behind a completion that is kept back.
    pub(super) async fn release_unasked(&mut self, bytes: &Bytes) -> Result<(), Ending> {
        if self.keeps_back(bytes) {
            return Ok(());
        }
        if let Some(Expect::Execute(_) | Expect::Query(_)) = self.queue.front() {
            return self.release_after_completion(bytes);
        }
        self.gate.record_unasked(bytes.clone()).await?;
        self.client.output.extend_from_slice(bytes);
        Ok(())
    }

    /// Puts bytes behind a completion that is kept back; `false`: there is none, or no room behind it.
    pub(super) fn keeps_back(&mut self, bytes: &[u8]) -> bool {
        match self.queue.front_mut() {
            Some(Expect::Query(running)) => running.keeps_back(bytes),
            _ => false,
        }
    }

    pub(super) async fn result(&mut self, kind: Backend, frame: Bytes) -> Result<(), Ending> {
        let Some(Expect::Execute(running) | Expect::Query(running)) = self.queue.front_mut() else {
            return Err(Ending::ServerProtocol("a result that nobody asked for"));
        };
        match kind {
            Backend::CommandComplete => {
                running.completed(messages::text(frame::body(&frame)).map_err(malformed)?);
                self.complete(frame).await
            }
            Backend::EmptyQueryResponse | Backend::PortalSuspended => self.complete(frame).await,
            Backend::FunctionCallResponse => {
                let Running { plan, permit, counts, .. } = running.as_mut();
                let mut row = RowMasker { plan, shapes: &[calls::SHAPE], masker: permit.masker(), counts };
                let mut out = BytesMut::new();
                row.call(&frame, &mut out).map_err(malformed)?;
                self.release(&out)
            }
            Backend::CopyInResponse => {
                self.ask_for_copy();
                self.release_after_completion(&frame)
            }
            Backend::CopyOutResponse => {
                if let Err(cause) = running.copies_out(self.meaning.catalogue.as_deref()) {
                    let hint = "copy in text, csv or binary format, without further options";
                    return Err(refusal(RefusalKind::Denied, cause.0, hint).into());
                }
                self.release_after_completion(&frame)
            }
            Backend::DataRow
            | Backend::CopyData
            | Backend::CopyDone
            | Backend::RowDescription
            | Backend::ParseComplete
            | Backend::BindComplete
            | Backend::CloseComplete
            | Backend::ParameterDescription
            | Backend::NoData
            | Backend::ErrorResponse
            | Backend::NoticeResponse
            | Backend::NotificationResponse
            | Backend::ParameterStatus
            | Backend::ReadyForQuery => self.release_after_completion(&frame),
        }
    }

    /// Masks the whole rows that are here, as far as the client keeps up, records them and hands them on. `false`: not
    /// one is here as a whole.
    ///
    /// # Errors
    /// Nobody asked for rows, one of them cannot be masked, or they cannot be recorded.
    pub(super) fn rows(&mut self, tag: u8) -> Result<bool, Ending> {
        let Some(Expect::Execute(running) | Expect::Query(running)) = self.queue.front_mut() else {
            return Err(Ending::ServerProtocol("a result that nobody asked for"));
        };
        let (input, output) = (&mut self.upstream.input, &mut self.client.output);
        let limit = self.options.limits.masked_message_bytes;
        let start = output.len();
        output.reserve(input.len().min(HIGH_WATER));
        let (mut taken, mut outcome) = (0_usize, Ok(()));
        while output.len() < HIGH_WATER
            && outcome.is_ok()
            && let Some(rest) = input.get(taken..)
            && let Ok(Some(header)) = frame::header(rest, limit)
            && header.tag == tag
            && let Some(frame) = rest.get(..header.length)
        {
            let before = output.len();
            outcome = masked(running, frame, output);
            if outcome.is_err() {
                output.truncate(before);
            }
            taken = taken.saturating_add(header.length);
        }
        input.advance(taken);
        if let Err(refusal) = self.gate.record(&mut running.permit, output.get(start..).unwrap_or_default()) {
            output.truncate(start);
            return Err(refusal.into());
        }
        outcome.map(|()| taken > 0)
    }

    /// One result is complete. In the extended protocol that ends the command.
    async fn complete(&mut self, frame: Bytes) -> Result<(), Ending> {
        match self.queue.pop_front() {
            Some(Expect::Execute(mut running)) => {
                self.gate.record(&mut running.permit, &frame)?;
                self.finish(*running).await?;
                self.client.output.extend_from_slice(&frame);
            }
            Some(Expect::Query(mut running)) => {
                if !running.completion.is_empty() {
                    let before = running.completion.split();
                    self.gate.record(&mut running.permit, &before)?;
                    self.client.output.extend_from_slice(&before);
                }
                running.completion.extend_from_slice(&frame);
                running.copying_in = false;
                running.next_result();
                self.queue.push_front(Expect::Query(running));
            }
            _ => {}
        }
        Ok(())
    }

    /// The server wants data. It ignores each `Sync` that it reads before the data's end, so that none is answered.
    fn ask_for_copy(&mut self) {
        let mut ended = false;
        if let Some(Expect::Execute(running) | Expect::Query(running)) = self.queue.front_mut() {
            ended = self.copies > running.copies;
            running.copying_in = !ended;
            let copies = running.copies;
            self.queue.retain(|expected| !matches!(expected, Expect::Sync { copies: at } if *at == copies));
        }
        if !ended {
            self.discarding = false;
        }
    }
}

/// Appends one row, masked. The server sends each row of a copy in a message of its own.
fn masked(running: &mut Running, frame: &[u8], out: &mut BytesMut) -> Result<(), Ending> {
    running.rows = running.rows.saturating_add(1);
    let Running { plan, shapes, permit, counts, format, .. } = running;
    let mut masker = RowMasker { plan, shapes, masker: permit.masker(), counts };
    if frame.first() == Some(&b'D') {
        return masker.row(frame, out).map_err(malformed);
    }
    let Some(format) = format else {
        return Err(Ending::ServerProtocol("copy data without its announcement"));
    };
    masker.copied(frame, format, out).map_err(malformed)
}
