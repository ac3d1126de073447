//! The record of what a channel carries, in the neutral form of terminals and programs (`proxy_audit::stream`).

use crate::scp::Watch;
use crate::session::Session;
use proxy_audit::stream::{Channel, StreamEncoder, StreamEvent};
use proxy_core::gate::{End, Permit};
use proxy_core::mask::{MaskCounts, Masker};
use proxy_core::refusal::Refusal;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Mutex;

/// Records one command.
pub(super) struct Recorder {
    session: Arc<Session>,
    open: Mutex<Open>,
    /// Files that go through, where it is legacy `scp` that runs: from whom they come, and what masks their names.
    files: Option<(Channel, Masker, Mutex<Watch>)>,
}

struct Open {
    permit: Option<Permit>,
    encoder: StreamEncoder,
    began: Instant,
    frames: Vec<u8>,
}

impl Recorder {
    pub(super) fn new(session: Arc<Session>, permit: Permit) -> Self {
        let open = Open {
            permit: Some(permit),
            encoder: StreamEncoder::default(),
            began: Instant::now(),
            frames: Vec::new(),
        };
        Self { session, open: Mutex::new(open), files: None }
    }

    /// From now on tells of the files that legacy `scp` sends on `channel`.
    pub(super) fn watch(&mut self, channel: Option<Channel>, masker: &Masker) {
        self.files = channel.map(|channel| (channel, masker.clone(), Mutex::new(Watch::new())));
    }

    /// Records size and digest of the files that are complete with these bytes, as their receiver is about to get them.
    ///
    /// # Errors
    /// They cannot be recorded.
    pub(super) async fn files(&self, channel: Channel, bytes: &[u8]) -> Result<(), Refusal> {
        let Some((from, masker, watch)) = self.files.as_ref().filter(|(from, ..)| *from == channel) else {
            return Ok(());
        };
        let mut files = Vec::new();
        watch.lock().await.push(bytes, &mut files);
        for file in files {
            let Some(digest) = file.sha256 else { continue };
            let path = masker.text(file.path.as_bytes(), &mut MaskCounts::default()).into_owned();
            let path = String::from_utf8_lossy(&path).into_owned();
            self.event(&StreamEvent::File { channel: *from, bytes: file.size, digest, path }).await?;
        }
        Ok(())
    }

    /// Records bytes that the client is about to get: when this returns, it may.
    ///
    /// # Errors
    /// They cannot be recorded: the client must not get them.
    pub(super) async fn output(&self, channel: Channel, bytes: &[u8]) -> Result<(), Refusal> {
        self.write(true, |encoder, at, frames| encoder.data(at, channel, bytes, frames)).await
    }

    /// Records bytes that the client sent.
    ///
    /// # Errors
    /// They cannot be recorded: the host must not get them.
    pub(super) async fn input(&self, bytes: &[u8]) -> Result<(), Refusal> {
        self.write(false, |encoder, at, frames| encoder.data(at, Channel::STDIN, bytes, frames)).await
    }

    /// Records an event.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub(super) async fn event(&self, event: &StreamEvent) -> Result<(), Refusal> {
        self.write(false, |encoder, at, frames| encoder.encode(at, event, frames)).await
    }

    async fn write(
        &self,
        release: bool,
        encode: impl FnOnce(&mut StreamEncoder, std::time::Duration, &mut Vec<u8>),
    ) -> Result<(), Refusal> {
        let mut open = self.open.lock().await;
        let Open { permit, encoder, began, frames } = &mut *open;
        let permit = permit.as_mut().ok_or_else(|| self.session.reason())?;
        frames.clear();
        encode(encoder, began.elapsed(), frames);
        self.session.record(permit, frames, release).await
    }

    /// Records the end; then the client may be told.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub(super) async fn finish(&self, end: End) -> Result<(), Refusal> {
        match self.open.lock().await.permit.take() {
            Some(permit) => self.session.finish(permit, end).await,
            None => Ok(()),
        }
    }
}
