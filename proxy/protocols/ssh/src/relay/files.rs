//! The subsystem `sftp`: every operation that touches a path is a command of its own, and a file that was read or
//! written leaves its size and digest with the command that opened it.

use super::input::Signals;
use crate::acts;
use crate::refusals::{notice, refusal, sentence};
use crate::session::Session;
use crate::sftp::{Item, Operation, Sftp, SftpError, Transfer};
use bytes::Bytes;
use proxy_audit::stream::{Channel, StreamEncoder, StreamEvent};
use proxy_core::gate::{Decision, End, EndKind, Held, Permit};
use proxy_core::mask::Masker;
use proxy_core::refusal::{Refusal, RefusalKind};
use russh::{ChannelWriteHalf, client};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// One session of the subsystem.
pub(super) struct Files {
    session: Arc<Session>,
    signals: Signals,
    sftp: Mutex<Sftp>,
    /// What the gateway says to the client itself, for between two packets of the host.
    answers: mpsc::UnboundedSender<Said>,
    /// What opened the files that are open, oldest first.
    open: Mutex<VecDeque<(String, Permit)>>,
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
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Said>) {
        let (answers, said) = mpsc::unbounded_channel();
        let sftp = Mutex::new(Sftp::looking(masker));
        let files = Self { session, signals, sftp, answers, open: Mutex::default() };
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
                        self.say(Said::Packet(answer));
                        continue;
                    }
                },
                Item::Answer(bytes) => {
                    self.say(Said::Packet(bytes));
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
        let open = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        for (_, permit) in open {
            if let Err(refusal) = self.session.finish(permit, End::ok(0)).await {
                tracing::warn!(refusal = refusal.message, "record a file that was open");
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
        if operation.name != "open" {
            return self.session.finish(permit, End::ok(0)).await;
        }
        let path = operation.touches.first().map(|touch| touch.name.clone()).unwrap_or_default();
        let oldest = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.push_back((path, permit));
            if open.len() > OPEN { open.pop_front() } else { None }
        };
        match oldest {
            Some((_, permit)) => self.session.finish(permit, End::ok(0)).await,
            None => Ok(()),
        }
    }

    async fn held(&self, mut held: Held) -> Result<Permit, Refusal> {
        loop {
            let shown = held.notice();
            self.say(Said::Notice(notice(&shown.message) + &notice(&shown.hint)));
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

    /// Puts a file that went through on record.
    async fn closed(&self, transfer: &Transfer) -> Result<(), Refusal> {
        let permit = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let at = open.iter().position(|(path, _)| *path == transfer.path);
            at.and_then(|at| open.remove(at))
        };
        let Some((_, mut permit)) = permit else { return Ok(()) };
        let mut encoder = StreamEncoder::default();
        let mut frames = Vec::new();
        for (channel, flow) in [(Channel::STDIN, &transfer.written), (Channel::STDOUT, &transfer.read)] {
            if let Some(digest) = flow.sha256() {
                let event = StreamEvent::Omitted { channel, bytes: flow.bytes, digest };
                encoder.encode(Duration::ZERO, &event, &mut frames);
            }
        }
        self.session.record(&mut permit, &frames, false).await?;
        let mut end = End::ok(0);
        if let Some(name) = &transfer.withheld {
            end.outcome = EndKind::Error;
            end.masked.add(name);
        }
        self.session.finish(permit, end).await
    }

    fn say(&self, said: Said) {
        if self.answers.send(said).is_err() {
            tracing::debug!("nobody is there for an answer");
        }
    }

    fn sftp(&self) -> std::sync::MutexGuard<'_, Sftp> {
        self.sftp.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

/// Files whose opening waits for what becomes of them; of more, the oldest count as never moved.
const OPEN: usize = 64;
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
