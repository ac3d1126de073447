//! What is recorded of a stream, in the form that SSH and `exec` share ([`proxy_audit::stream`]).

use super::archive::{Archive, File};
use crate::relay::settle;
use crate::session::Session;
use crate::status::Failure;
use proxy_audit::stream::{Channel, StreamEncoder, StreamEvent};
use proxy_core::gate::{End, EndKind, Permit};
use proxy_core::mask::{MaskCounts, Masker, StreamMasker};
use proxy_core::refusal::Refusal;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
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
    /// What is sent on as it is, by the stream's number on the wire and its channel. They are the tape's own, so that
    /// what they hold is on record however the stream ends.
    copies: BTreeMap<(u32, Channel), Copy>,
    typed: Typed,
}

/// Where input comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Typed {
    /// Somebody's terminal, which sends `\r` for Enter.
    AtTerminal,
    /// Any other place.
    Elsewhere,
}

impl Tape {
    pub(super) fn new(session: Arc<Session>, permit: Permit, typed: Typed) -> Self {
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
            copies: BTreeMap::new(),
            typed,
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

    /// Records a masked copy of bytes that are sent on as they are.
    ///
    /// # Errors
    /// They cannot be recorded.
    pub(super) async fn copy(&mut self, stream: u32, channel: Channel, bytes: &[u8]) -> Result<(), Refusal> {
        self.follow(channel, bytes);
        let (masker, typed) = (self.permit.masker(), self.typed);
        let copy = self.copies.entry((stream, channel)).or_insert_with(|| Copy::new(masker, typed));
        let out = copy.push(bytes);
        self.data(channel, &out).await
    }

    /// Nothing more comes on a channel of a stream.
    ///
    /// # Errors
    /// What was held of it cannot be recorded.
    pub(super) async fn copied(&mut self, stream: u32, channel: Channel) -> Result<(), Refusal> {
        self.settle(|key, copy| if *key == (stream, channel) { copy.finish() } else { Vec::new() }).await?;
        self.copies.remove(&(stream, channel));
        Ok(())
    }

    /// Nothing more comes on any channel of these streams.
    ///
    /// # Errors
    /// What was held of them cannot be recorded.
    pub(super) async fn forget(&mut self, is_over: impl Fn(u32) -> bool) -> Result<(), Refusal> {
        self.settle(|(stream, _), copy| if is_over(*stream) { copy.finish() } else { Vec::new() }).await?;
        self.copies.retain(|(stream, _), _| !is_over(*stream));
        Ok(())
    }

    /// Records what has waited for the end of its line for [`STILL`]. What is typed waits on: people pause within a
    /// word, and nothing is run before Enter.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub(super) async fn still(&mut self) -> Result<(), Refusal> {
        match self.typed {
            Typed::AtTerminal => Ok(()),
            Typed::Elsewhere => self.settle(|_, copy| copy.still()).await,
        }
    }

    /// Records what copies give out.
    async fn settle(&mut self, give: impl Fn(&(u32, Channel), &mut Copy) -> Vec<u8>) -> Result<(), Refusal> {
        for (key, copy) in &mut self.copies {
            let out = give(key, copy);
            if !out.is_empty() {
                self.encoder.data(self.since.elapsed(), key.1, &out, &mut self.frames);
            }
        }
        if self.frames.is_empty() { Ok(()) } else { self.write().await }
    }

    /// Records how it ended.
    ///
    /// # Errors
    /// That cannot be recorded.
    pub(super) async fn finish(mut self, whole: bool, tasks: &TaskTracker) -> Result<(), Failure> {
        self.forget(|_| true).await?;
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
struct Copy {
    masker: StreamMasker,
    /// When something came last.
    last: Instant,
}

/// After so long without more, input that has no end of line is put on record as it is: a program may act on it.
pub(super) const STILL: Duration = Duration::from_secs(1);

impl Copy {
    fn new(masker: &Masker, typed: Typed) -> Self {
        let masker = match typed {
            Typed::AtTerminal => StreamMasker::of_terminal(masker.clone()),
            Typed::Elsewhere => StreamMasker::new(masker.clone()),
        };
        Self { masker, last: Instant::now() }
    }

    fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.last = Instant::now();
        let mut out = Vec::new();
        self.masker.push(bytes, &mut out);
        out
    }

    fn still(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.masker.holds() && self.last.elapsed() >= STILL {
            self.masker.quiet(&mut out);
        }
        out
    }

    fn finish(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        self.masker.finish(&mut out);
        out
    }
}
