//! The subsystem `sftp`: every operation that touches a path is a command of its own, and a file that was read or
//! written leaves its size and digest with the command that opened it.

use super::contents::Contents;
use super::input::Signals;
use crate::acts;
use crate::refusals::{notice, refusal, sentence};
use crate::session::Session;
use crate::sftp::{Content, Item, Operation, Sftp, SftpError, Transfer};
use bytes::Bytes;
use proxy_audit::stream::{Channel, StreamEncoder, StreamEvent};
use proxy_core::gate::{Decision, End, EndKind, Held, Permit};
use proxy_core::mask::Masker;
use proxy_core::refusal::{Refusal, RefusalKind};
use russh::{ChannelWriteHalf, client};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// One session of the subsystem.
pub(super) struct Files {
    session: Arc<Session>,
    signals: Signals,
    sftp: Mutex<Sftp>,
    /// What the gateway says to the client itself, for between two packets of the host.
    answers: mpsc::Sender<Said>,
    /// What is not answered yet, and what opened the files that are open, by its number.
    open: tokio::sync::Mutex<HashMap<u64, Opened>>,
    /// Masks what is recorded.
    masker: Masker,
}

/// What a file was opened with, and the recording of its contents where there is one.
struct Opened {
    permit: Permit,
    contents: Option<Contents>,
}

/// Something for the client that is not the host's.
#[derive(Debug)]
pub(super) enum Said {
    /// A packet.
    Packet(Vec<u8>),
    /// A line for its standard error.
    Notice(String),
}

impl Files {
    /// What is read is looked at by the detectors of `masker`.
    pub(super) fn new(
        session: Arc<Session>,
        signals: Signals,
        masker: Masker,
    ) -> (Arc<Self>, mpsc::Receiver<Said>) {
        let (answers, said) = mpsc::channel(SAID_MAX);
        let mut sftp = Sftp::looking(masker.clone());
        if session.resource.recording.contents {
            sftp = sftp.telling_contents();
        }
        let open = tokio::sync::Mutex::default();
        let files = Self { session, signals, sftp: Mutex::new(sftp), answers, open, masker };
        (Arc::new(files), said)
    }

    /// Takes bytes from the client, and gives the host what may go there.
    ///
    /// Not cancel safe.
    ///
    /// # Errors
    /// The session cannot go on.
    pub(super) async fn client(
        &self,
        data: &[u8],
        host: &ChannelWriteHalf<client::Msg>,
    ) -> Result<(), Refusal> {
        let mut items = Vec::new();
        self.sftp().client(data, &mut items).map_err(|error| malformed(&error))?;
        for item in items {
            let packet = match item {
                Item::Pass(bytes) => bytes,
                Item::Ask { operation, packet } => match self.asked(&operation).await {
                    Ok(()) => packet,
                    Err(refusal) => {
                        let answer = self.sftp().refuse(&operation, &sentence(&refusal));
                        self.say(Said::Packet(answer)).await;
                        continue;
                    }
                },
                Item::Answer(bytes) => {
                    self.say(Said::Packet(bytes)).await;
                    continue;
                }
                Item::Content(content) => {
                    self.content(&content).await?;
                    continue;
                }
                Item::Answered { opening, status } => {
                    self.answered(opening, status).await?;
                    continue;
                }
                Item::Closed(transfer) => {
                    self.closed(&transfer).await?;
                    continue;
                }
            };
            tokio::select! {
                sent = host.data_bytes(Bytes::from(packet)) => if sent.is_err() {
                    return Ok(()); // A host that is gone shows itself on the other direction.
                },
                () = self.signals.over.cancelled() => return Ok(()),
            }
        }
        Ok(())
    }

    /// Takes bytes from the host, and gives what the client gets.
    ///
    /// # Errors
    /// The session cannot go on.
    pub(super) async fn host(&self, data: &[u8]) -> Result<Bytes, Refusal> {
        let mut items = Vec::new();
        self.sftp().server(data, &mut items).map_err(|error| malformed(&error))?;
        let mut out = Vec::with_capacity(data.len());
        for item in items {
            match item {
                Item::Pass(bytes) | Item::Answer(bytes) | Item::Ask { packet: bytes, .. } => {
                    out.extend(bytes);
                }
                Item::Content(content) => self.content(&content).await?,
                Item::Answered { opening, status } => self.answered(opening, status).await?,
                Item::Closed(transfer) => self.closed(&transfer).await?,
            }
        }
        Ok(Bytes::from(out))
    }

    /// The channel is over: what was open is on record when this returns.
    pub(super) async fn finish(&self) {
        let transfers = self.sftp().finish();
        for transfer in transfers {
            if let Err(refusal) = self.closed(&transfer).await {
                tracing::warn!(refusal = refusal.message, "record a file that was open");
            }
        }
        let open = std::mem::take(&mut *self.open.lock().await);
        for Opened { permit, .. } in open.into_values() {
            // the host has not answered: whether it has done it nobody knows
            let end = End { outcome: EndKind::Aborted, ..End::default() };
            if let Err(refusal) = self.session.finish(permit, end).await {
                tracing::warn!(refusal = refusal.message, "record an operation that was not answered");
            }
        }
    }

    /// Decides about one operation.
    async fn asked(&self, operation: &Operation) -> Result<(), Refusal> {
        let command = Arc::new(acts::operation(&self.session.place, operation));
        let permit = match self.session.decide(command).await {
            Decision::Permit(permit) => permit,
            Decision::Refused(refusal) => return Err(refusal),
            Decision::Held(held) => self.held(*held).await?,
        };
        let path = operation.touches.first().map_or("", |touch| touch.name.as_str());
        let recording = self.session.resource.recording;
        let limit = recording.max_result_bytes;
        let holds = recording.contents && operation.name == "open";
        let contents = holds.then(|| Contents::new(path, &self.masker, limit));
        self.open.lock().await.insert(operation.opening, Opened { permit, contents });
        Ok(())
    }

    async fn held(&self, mut held: Held) -> Result<Permit, Refusal> {
        loop {
            let shown = held.notice();
            self.say(Said::Notice(notice(&shown.message) + &notice(&shown.hint))).await;
            tokio::select! {
                outcome = held.outcome() => return self.session.resume(held, outcome).await,
                () = self.signals.over.cancelled() => break,
                () = self.signals.gone.cancelled() => break,
                () = tokio::time::sleep(self.session.options.limits.notice_every) => {}
            }
        }
        self.session.withdraw(held, "client left").await;
        Err(self.session.reason())
    }

    /// Records what is about to go through a file.
    async fn content(&self, content: &Content) -> Result<(), Refusal> {
        let mut open = self.open.lock().await;
        let Some(Opened { permit, contents: Some(contents) }) = open.get_mut(&content.opening) else {
            return Ok(());
        };
        let frames = contents.add(content);
        self.session.record(permit, &frames, true).await
    }

    /// The host has answered: what was done, or not, is on record before the client hears of it.
    async fn answered(&self, opening: u64, status: u32) -> Result<(), Refusal> {
        let Some(Opened { permit, .. }) = self.open.lock().await.remove(&opening) else { return Ok(()) };
        let outcome = if status == 0 { EndKind::Ok } else { EndKind::Error };
        let status_code = Some(status.to_string());
        self.session.finish(permit, End { outcome, status_code, ..End::default() }).await
    }

    /// Puts a file that went through on record.
    async fn closed(&self, transfer: &Transfer) -> Result<(), Refusal> {
        let opened = self.open.lock().await.remove(&transfer.opening);
        let Some(Opened { mut permit, contents }) = opened else { return Ok(()) };
        let mut end = End::ok(0);
        let frames = if let Some(contents) = contents {
            let ending = contents.end(Some(transfer));
            (end.masked, end.cut) = (ending.masked, ending.cut);
            ending.frames
        } else {
            sizes(transfer)
        };
        self.session.record(&mut permit, &frames, false).await?;
        end.status_code = transfer.status.map(|status| status.to_string());
        if transfer.status.is_some_and(|status| status != 0) {
            end.outcome = EndKind::Error;
        }
        if let Some(name) = &transfer.withheld {
            end.outcome = EndKind::Error;
            end.masked.add(name);
        }
        self.session.finish(permit, end).await
    }

    /// Waits while the client takes nothing of what was said before.
    async fn say(&self, said: Said) {
        tokio::select! {
            sent = self.answers.send(said) => if sent.is_err() {
                tracing::debug!("nobody is there for an answer");
            },
            () = self.signals.over.cancelled() => {}
        }
    }

    fn sftp(&self) -> std::sync::MutexGuard<'_, Sftp> {
        self.sftp.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is recorded of a file whose contents are not.
fn sizes(transfer: &Transfer) -> Vec<u8> {
    let mut encoder = StreamEncoder::default();
    let mut frames = Vec::new();
    for (channel, flow) in [(Channel::STDIN, &transfer.written), (Channel::STDOUT, &transfer.read)] {
        if let Some(digest) = flow.sha256() {
            let event = StreamEvent::Omitted { channel, bytes: flow.bytes, digest };
            encoder.encode(Duration::ZERO, &event, &mut frames);
        }
    }
    frames
}

fn malformed(error: &SftpError) -> Refusal {
    refusal(RefusalKind::Protocol, error.to_string(), "use a client that speaks sftp version 3")
}

/// Where packets of the host end, so that nothing is said in the middle of one.
#[derive(Debug, Default)]
pub(super) struct Boundaries {
    head: Vec<u8>,
    left: usize,
}

impl Boundaries {
    /// Follows bytes of packets: a length of four bytes, then as many.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left == 0 {
                let (head, rest) = bytes.split_at(bytes.len().min(HEAD.saturating_sub(self.head.len())));
                self.head.extend_from_slice(head);
                bytes = rest;
                if let Ok(length) = <[u8; HEAD]>::try_from(self.head.as_slice()) {
                    self.left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                    self.head.clear();
                }
            } else {
                let passed = self.left.min(bytes.len());
                self.left -= passed;
                bytes = bytes.get(passed..).unwrap_or_default();
            }
        }
    }

    /// Whether the last packet is whole.
    pub(super) const fn between(&self) -> bool {
        self.left == 0 && self.head.is_empty()
    }
}

/// So many answers of the gateway wait for the client to take them; then no more requests are read.
const SAID_MAX: usize = 64;
/// Length of a packet's length.
const HEAD: usize = 4;

#[cfg(test)]
mod tests {
    use super::Boundaries;

    #[test]
    fn a_packet_ends_where_its_length_says_however_it_is_cut() {
        let packets =
            [&3_u32.to_be_bytes()[..], b"abc", &0_u32.to_be_bytes(), &1_u32.to_be_bytes(), b"x"].concat();
        for cut in 0..=packets.len() {
            let mut boundaries = Boundaries::default();
            boundaries.follow(&packets[..cut]);
            assert_eq!(boundaries.between(), [0, 7, 11, 16].contains(&cut), "after {cut}");
            boundaries.follow(&packets[cut..]);
            assert!(boundaries.between());
        }
    }
}
