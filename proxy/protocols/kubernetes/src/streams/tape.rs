//! What is recorded of a stream, in the form that SSH and `exec` share ([`proxy_audit::stream`]).

use super::archive::{Archive, File};
use crate::relay::settle;
use crate::session::Session;
use crate::status::Failure;
use proxy_audit::stream::{Channel, StreamEncoder, StreamEvent};
use proxy_core::gate::{End, EndKind, Permit};
use proxy_core::mask::{MaskCounts, Masker, StreamMasker};
use proxy_core::refusal::Refusal;
use std::sync::Arc;
use std::time::Instant;
use tokio_util::task::TaskTracker;

/// The recording of one command. What it takes is on record before it returns.
#[derive(Debug)]
pub(super) struct Tape {
    session: Arc<Session>,
    permit: Permit,
    encoder: StreamEncoder,
    since: Instant,
    frames: Vec<u8>,
    counts: MaskCounts,
    exit: Option<String>,
    failed: bool,
    /// Of a copy: on which channel its archive goes through.
    archive: Option<(Channel, Archive)>,
}

impl Tape {
    pub(super) fn new(session: Arc<Session>, permit: Permit) -> Self {
        Self {
            session,
            permit,
            encoder: StreamEncoder::default(),
            since: Instant::now(),
            frames: Vec::new(),
            counts: MaskCounts::default(),
            exit: None,
            failed: false,
            archive: None,
        }
    }

    /// The command copies files: they are told of as they go through this channel.
    pub(super) fn copies_on(&mut self, channel: Channel) {
        self.archive = Some((channel, Archive::new()));
    }

    /// Follows what goes through a channel, as its receiver gets it. Files of a copy are on record with what is
    /// recorded next.
    pub(super) fn follow(&mut self, channel: Channel, bytes: &[u8]) {
        let files = match &mut self.archive {
            Some((own, archive)) if *own == channel => archive.push(bytes),
            Some(_) | None => return,
        };
        for file in &files {
            self.file(channel, file);
        }
    }

    fn file(&mut self, channel: Channel, file: &File) {
        let mut counts = MaskCounts::default();
        let path = self.masker().text(file.path.as_bytes(), &mut counts);
        let path = String::from_utf8_lossy(&path).into_owned();
        let event = StreamEvent::File { channel, bytes: file.bytes, digest: file.digest, path };
        self.encoder.encode(self.since.elapsed(), &event, &mut self.frames);
    }

    /// Masks texts as the command's plan says.
    pub(super) const fn masker(&self) -> &Masker {
        self.permit.masker()
    }

    /// Records bytes that are masked already.
    ///
    /// # Errors
    /// They cannot be recorded: nobody may get them.
    pub(super) async fn data(&mut self, channel: Channel, bytes: &[u8]) -> Result<(), Refusal> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.encoder.data(self.since.elapsed(), channel, bytes, &mut self.frames);
        self.write().await
    }

    /// Records an event.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub(super) async fn event(&mut self, event: &StreamEvent) -> Result<(), Refusal> {
        if let StreamEvent::Exit(code) = event {
            self.exit = Some(code.to_string());
            self.failed = *code != 0;
        }
        self.encoder.encode(self.since.elapsed(), event, &mut self.frames);
        self.write().await
    }

    /// The command failed without an exit status.
    pub(super) fn fail(&mut self) {
        self.failed = true;
    }

    /// Whether it is known how the command ended.
    pub(super) const fn is_told(&self) -> bool {
        self.exit.is_some() || self.failed
    }

    /// Counts what a masker of this command hid.
    pub(super) fn count(&mut self, counts: &MaskCounts) {
        for (name, count) in &counts.0 {
            let sum = self.counts.0.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*count);
        }
    }

    /// Records how it ended.
    ///
    /// # Errors
    /// That cannot be recorded.
    pub(super) async fn finish(mut self, whole: bool, tasks: &TaskTracker) -> Result<(), Failure> {
        if let Some((channel, mut archive)) = self.archive.take()
            && let Some(file) = archive.finish()
        {
            self.file(channel, &file);
        }
        if !self.frames.is_empty() {
            self.write().await?;
        }
        let outcome = match (whole, self.failed) {
            (false, _) => EndKind::Aborted,
            (true, true) => EndKind::Error,
            (true, false) => EndKind::Ok,
        };
        let end = End { outcome, rows: 0, status_code: self.exit, masked: self.counts, cut: false };
        let (session, permit) = (self.session, self.permit);
        let finished = settle(tasks, async move { session.gate().lock().await.finish(permit, end).await });
        Ok(finished.await??)
    }

    async fn write(&mut self) -> Result<(), Refusal> {
        let mut gate = self.session.gate().lock().await;
        gate.record(&mut self.permit, &self.frames)?;
        self.frames.clear();
        gate.before_release(&mut self.permit)
    }
}

/// A masked copy of what is sent on as it is.
#[derive(Debug)]
pub(super) struct Copy {
    channel: Channel,
    masker: StreamMasker,
    out: Vec<u8>,
}

impl Copy {
    pub(super) fn new(channel: Channel, masker: Masker) -> Self {
        Self { channel, masker: StreamMasker::new(masker), out: Vec::new() }
    }

    /// # Errors
    /// It cannot be recorded.
    pub(super) async fn push(&mut self, bytes: &[u8], tape: &mut Tape) -> Result<(), Refusal> {
        tape.follow(self.channel, bytes);
        self.masker.push(bytes, &mut self.out);
        self.write(tape).await
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// That cannot be recorded.
    pub(super) async fn finish(&mut self, tape: &mut Tape) -> Result<(), Refusal> {
        self.masker.finish(&mut self.out);
        self.write(tape).await
    }

    async fn write(&mut self, tape: &mut Tape) -> Result<(), Refusal> {
        let out = std::mem::take(&mut self.out);
        tape.data(self.channel, &out).await
    }
}
