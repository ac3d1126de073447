//! A shell whose lines the gateway edits and decides: nothing else reaches the shell.
//!
//! The host's shell has no terminal and reads what it runs from its input, one command at a time. Behind each command
//! it is told to say a word that it cannot know otherwise, with the command's status: then the next line is asked for.
//! A command has no input of its own, for that is where the next command comes from; programs that need a terminal
//! (editors, pagers, password prompts) see that they have none.

use super::recorder::Recorder;
use super::{Ahead, Over, Relay, Running, STDERR};
use crate::analyze::{After, Shell};
use crate::line::{Event, LineDiscipline};
use crate::mask::OutputMasker;
use crate::refusals::{EXIT_STATUS, lines};
use crate::upstream;
use bytes::Bytes;
use proxy_audit::stream::{Channel, StreamEvent};
use proxy_core::gate::{End, EndKind, Permit};
use proxy_core::refusal::Refusal;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig, client};
use std::collections::VecDeque;
use std::sync::Arc;

/// One shell.
pub(super) struct Lines {
    relay: Relay,
    host: ChannelReadHalf,
    to_host: ChannelWriteHalf<client::Msg>,
    /// What its lines have made of the host's shell.
    shell: Shell,
    discipline: LineDiscipline,
    events: VecDeque<Event>,
    /// Typed while a command ran.
    typed: Vec<u8>,
    /// No more comes from the client.
    ended: bool,
    word: String,
}

/// Why a shell is over.
enum Finish {
    /// The client closed its input, or said goodbye.
    Ended,
    /// The host's shell has ended.
    Exited(Option<u32>),
    /// The client is gone.
    Gone,
    /// It may not go on.
    Refused(Refusal),
}

impl From<Refusal> for Finish {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Over> for Finish {
    fn from(over: Over) -> Self {
        match over {
            Over::Gone | Over::Done => Self::Gone,
            Over::Refused(refusal) => Self::Refused(refusal),
        }
    }
}

impl Lines {
    /// Serves the shell to its end, which is on record when this returns.
    pub(super) async fn run(mut relay: Relay, running: Running) {
        let Running { permit, connection, channel, start: _ } = running;
        let (host, to_host) = channel.split();
        let Ahead { data, ended, .. } = std::mem::take(&mut relay.ahead);
        let session = Arc::clone(&relay.session);
        let mut shell = Self {
            discipline: LineDiscipline::new(format!("{}$ ", session.place.host)),
            relay,
            host,
            to_host,
            shell: Shell::new(),
            events: VecDeque::new(),
            typed: data.into_iter().flatten().collect(),
            ended,
            word: format!("\u{1e}{:032x}", rand::random::<u128>()),
        };
        let finish = shell.serve().await.err().unwrap_or(Finish::Ended);
        shell.finish(permit, finish).await;
        if let Some(connection) = connection {
            upstream::hang_up(&connection).await;
        }
    }

    async fn serve(&mut self) -> Result<(), Finish> {
        loop {
            self.show(self.discipline.prompt()).await?;
            let Some(line) = self.next_line().await? else { return Ok(()) };
            if line.trim().is_empty() {
                continue;
            }
            match self.cleared(&line).await {
                Ok((permit, after)) => {
                    let status = self.execute(&line, permit).await?;
                    self.shell.ran(after, Some(status));
                }
                Err(Over::Refused(refusal)) if !self.relay.session.ended.is_cancelled() => {
                    let text = lines(&refusal);
                    self.relay.tell(&text).await.or(Err(Finish::Gone))?;
                }
                Err(over) => return Err(over.into()),
            }
        }
    }

    async fn cleared(&mut self, line: &str) -> Result<(Permit, After), Over> {
        let place = &self.relay.session.place;
        let (command, after) = self.shell.line(line.as_bytes(), &place.role, &place.host);
        let permit = self.relay.clear(Arc::new(command)).await;
        // What came while it was held is for later.
        let Ahead { data, ended, .. } = std::mem::take(&mut self.relay.ahead);
        self.typed.extend(data.into_iter().flatten());
        self.ended |= ended;
        Ok((permit?, after))
    }

    /// The next whole command; `None`: there is none any more.
    async fn next_line(&mut self) -> Result<Option<String>, Finish> {
        loop {
            while let Some(event) = self.events.pop_front() {
                match event {
                    Event::Echo(bytes) => self.show(bytes).await?,
                    Event::Submit(line) => return Ok(Some(line)),
                    Event::Interrupt => self.show(self.discipline.prompt()).await?,
                    Event::End => return Ok(None),
                }
            }
            if !self.typed.is_empty() {
                let typed = self.keys();
                self.events.extend(self.discipline.push(&typed));
                continue;
            }
            if self.ended {
                return Ok(None);
            }
            tokio::select! {
                message = self.relay.read.wait() => self.client(message)?,
                message = self.host.wait() => match message {
                    Some(ChannelMsg::Close) | None => return Err(Finish::Exited(None)),
                    Some(ChannelMsg::ExitStatus { exit_status }) => return Err(Finish::Exited(Some(exit_status))),
                    Some(_) => {}
                },
                () = self.relay.session.ended.cancelled() => {
                    return Err(self.relay.session.reason().into());
                }
            }
        }
    }

    /// What was typed, as keys: without a terminal of its own, a client ends lines by a newline.
    fn keys(&mut self) -> Vec<u8> {
        let mut typed = std::mem::take(&mut self.typed);
        if self.relay.terminal.is_none() {
            typed.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b'\r');
        }
        typed
    }

    /// Takes a message of the client.
    fn client(&mut self, message: Option<ChannelMsg>) -> Result<(), Finish> {
        match message {
            Some(ChannelMsg::Data { data }) => {
                if self.typed.len().saturating_add(data.len()) <= self.relay.session.options.limits.held_bytes
                {
                    self.typed.extend_from_slice(&data);
                }
            }
            Some(ChannelMsg::Eof) => self.ended = true,
            Some(ChannelMsg::Close) | None => return Err(Finish::Gone),
            Some(_) => {}
        }
        Ok(())
    }

    /// Has the host's shell run one command, and passes on what it says.
    async fn execute(&mut self, line: &str, permit: Permit) -> Result<u32, Finish> {
        let mut masker = OutputMasker::new(permit.masker().clone());
        let recorder = Recorder::new(Arc::clone(&self.relay.session), permit);
        let merged = if self.relay.terminal.is_some() { " 2>&1" } else { "" };
        let word = self.word.trim_start_matches('\u{1e}');
        let asked = format!("{{ {line}\n}} </dev/null{merged}\nprintf '\\036%s %d\\036' '{word}' \"$?\"\n");
        self.to_host.data_bytes(Bytes::from(asked)).await.or(Err(Finish::Exited(None)))?;
        let said = self.output(&recorder, &mut masker).await;
        let mut rest = Vec::new();
        masker.finish(&mut rest);
        let status = match &said {
            Ok(status) | Err(Finish::Exited(Some(status))) => Some(*status),
            Err(Finish::Exited(None) | Finish::Ended | Finish::Gone | Finish::Refused(_)) => None,
        };
        if !matches!(said, Err(Finish::Gone)) {
            self.say(&recorder, Channel::STDOUT, rest).await?;
        }
        let outcome = match status {
            Some(0) => EndKind::Ok,
            Some(_) => EndKind::Error,
            None => EndKind::Aborted,
        };
        if let Some(status) = status {
            recorder.event(&StreamEvent::Exit(i32::try_from(status).unwrap_or(i32::MAX))).await?;
        }
        let status_code = status.map(|status| status.to_string());
        let end = End { outcome, status_code, masked: masker.counts().clone(), ..End::default() };
        recorder.finish(end).await?;
        said
    }

    /// Passes on what a command says until the shell says the word.
    async fn output(&mut self, recorder: &Recorder, masker: &mut OutputMasker) -> Result<u32, Finish> {
        let mut pending = Vec::new();
        let mut exit = None;
        loop {
            let mut out = Vec::new();
            let mut status = None;
            tokio::select! {
                message = self.host.wait() => match message {
                    Some(ChannelMsg::Data { data }) => {
                        pending.extend_from_slice(&data);
                        let (said, done) = until(&mut pending, self.word.as_bytes());
                        masker.push(&said, &mut out);
                        status = done;
                    }
                    Some(ChannelMsg::ExtendedData { data, ext: STDERR }) => {
                        // without a terminal only, and then line by line, as programs write errors
                        let mut shown = Vec::new();
                        masker.push(&data, &mut shown);
                        masker.quiet(&mut shown);
                        self.say(recorder, Channel::STDERR, shown).await?;
                    }
                    Some(ChannelMsg::ExitStatus { exit_status }) => exit = Some(exit_status),
                    Some(ChannelMsg::Close) | None => return Err(Finish::Exited(exit)),
                    Some(_) => {}
                },
                message = self.relay.read.wait(), if !self.ended => {
                    let interrupted = matches!(&message, Some(ChannelMsg::Data { data }) if data.contains(&INTERRUPT));
                    self.client(message)?;
                    if interrupted {
                        self.typed.clear();
                        self.to_host.signal(Sig::INT).await.or(Err(Finish::Exited(None)))?;
                    }
                }
                () = tokio::time::sleep(self.relay.session.options.limits.quiet), if masker.holds() => {
                    masker.quiet(&mut out);
                }
                () = self.relay.session.ended.cancelled() => {
                    return Err(self.relay.session.reason().into());
                }
            }
            self.say(recorder, Channel::STDOUT, out).await?;
            if let Some(status) = status {
                return Ok(status);
            }
        }
    }

    /// Records, then hands on.
    async fn say(&self, recorder: &Recorder, channel: Channel, bytes: Vec<u8>) -> Result<(), Finish> {
        if bytes.is_empty() {
            return Ok(());
        }
        let bytes = if self.relay.terminal.is_some() { on_terminal(&bytes) } else { bytes };
        recorder.output(channel, &bytes).await?;
        let bytes = Bytes::from(bytes);
        let sending = async {
            if channel == Channel::STDERR && self.relay.terminal.is_none() {
                self.relay.write.extended_data_bytes(STDERR, bytes).await
            } else {
                self.relay.write.data_bytes(bytes).await
            }
        };
        tokio::select! {
            sent = sending => sent.or(Err(Finish::Gone)),
            () = self.relay.session.ended.cancelled() => Err(self.relay.session.reason().into()),
        }
    }

    /// Shows what the line's editor shows; a client without a terminal edits its lines itself.
    async fn show(&self, bytes: Vec<u8>) -> Result<(), Finish> {
        if self.relay.terminal.is_none() || bytes.is_empty() {
            return Ok(());
        }
        self.relay.write.data_bytes(Bytes::from(bytes)).await.or(Err(Finish::Gone))
    }

    async fn finish(&self, permit: Permit, finish: Finish) {
        let (outcome, status) = match &finish {
            Finish::Ended => (EndKind::Ok, Some(0)),
            Finish::Exited(status) => (EndKind::Ok, *status),
            Finish::Gone => (EndKind::Aborted, None),
            Finish::Refused(_) => (EndKind::Aborted, Some(EXIT_STATUS)),
        };
        let status_code = status.map(|status| status.to_string());
        let recorded =
            self.relay.session.finish(permit, End { outcome, status_code, ..End::default() }).await;
        let refusal = match (finish, recorded) {
            (Finish::Refused(refusal), _) | (_, Err(refusal)) => Some(refusal),
            (Finish::Ended | Finish::Exited(_) | Finish::Gone, Ok(())) => None,
        };
        if let Some(refusal) = refusal {
            self.relay.refuse(&refusal).await;
            return;
        }
        let told = async {
            if let Some(status) = status {
                self.relay.write.exit_status(status).await?;
            }
            self.relay.write.eof().await?;
            self.relay.write.close().await
        };
        if let Err(error) = told.await {
            tracing::debug!(%error, "end a shell");
        }
    }
}

/// Takes from `pending` what is not the word, nor may become it; and the status behind the word, once it is there.
fn until(pending: &mut Vec<u8>, word: &[u8]) -> (Vec<u8>, Option<u32>) {
    if let Some(at) = pending.windows(word.len()).position(|window| window == word) {
        let behind = pending.get(at + word.len()..).unwrap_or_default();
        let Some(end) = behind.iter().position(|byte| *byte == SEPARATOR) else {
            let held = pending.split_off(at);
            return (std::mem::replace(pending, held), None);
        };
        let status = behind.get(..end).and_then(|text| std::str::from_utf8(text).ok()?.trim().parse().ok());
        pending.truncate(at);
        return (std::mem::take(pending), Some(status.unwrap_or(1)));
    }
    let held = (1..word.len())
        .rev()
        .find(|length| word.get(..*length).is_some_and(|start| pending.ends_with(start)));
    let kept = pending.split_off(pending.len() - held.unwrap_or(0));
    (std::mem::replace(pending, kept), None)
}

/// A terminal in raw mode goes to a line's start only when it is told so.
fn on_terminal(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut before = 0;
    for byte in bytes {
        if *byte == b'\n' && before != b'\r' {
            out.push(b'\r');
        }
        out.push(*byte);
        before = *byte;
    }
    out
}

/// What Ctrl-C sends.
const INTERRUPT: u8 = 3;
/// Stands before and behind the word.
const SEPARATOR: u8 = 0x1e;

#[cfg(test)]
mod tests {
    use super::until;

    #[test]
    fn the_word_is_found_however_it_is_cut_and_nothing_else_is_lost() {
        let word = b"\x1eabc";
        let stream = b"out\x1eab not\x1eabc 7\x1e";
        for cut in 0..=stream.len() {
            let (mut pending, mut said, mut status) = (Vec::new(), Vec::new(), None);
            for part in [&stream[..cut], &stream[cut..]] {
                if status.is_none() {
                    pending.extend_from_slice(part);
                    let (more, done) = until(&mut pending, word);
                    said.extend(more);
                    status = done;
                }
            }
            assert_eq!((said.as_slice(), status), (&b"out\x1eab not"[..], Some(7)), "cut at {cut}");
        }
    }
}
