//! A shell whose lines the gateway edits and decides: nothing else reaches the shell.
//!
//! The host's shell has no terminal and reads what it runs from its input, one command at a time. Behind each command
//! it is told to say a word that it cannot know otherwise, with the command's status: then the next line is sent.
//! A command has no input of its own, for that is where the next command comes from; programs that need a terminal
//! (editors, pagers, password prompts) see that they have none.

mod aside;
mod frame;
mod refused;
mod said;
mod typed;

use super::recorder::Recorder;
use super::{Ahead, Over, Relay, Running, STDERR, signal_name};
use crate::line::{Event, LineDiscipline, Next, Script};
use crate::refusals::{EXIT_STATUS, lines};
use crate::upstream;
use bytes::Bytes;
use frame::OWN;
use proxy_audit::stream::{Channel, StreamEvent};
use proxy_core::gate::{End, EndKind, Permit};
use proxy_core::mask::MaskCounts;
use proxy_core::refusal::Refusal;
use proxy_shell::{After, Shell};
use refused::{runs_nothing, stops, too_long, unfinished};
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, client};
use said::{Said, Streams};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use typed::Typed;

/// One shell.
pub(super) struct Lines {
    relay: Relay,
    host: ChannelReadHalf,
    to_host: ChannelWriteHalf<client::Msg>,
    /// What its lines have made of the host's shell.
    shell: Shell,
    source: Source,
    typed: Typed,
    /// The record of the shell itself: of what is said while none of its commands runs.
    own: Arc<Recorder>,
    aside: Streams,
    masked: MaskCounts,
    /// The last command's status.
    status: u32,
    /// The shell's, once it has one.
    exit: Option<u32>,
}

/// What makes lines of what the client sends.
enum Source {
    /// A line that is edited here, and what has come of the keys so far.
    Terminal(Box<LineDiscipline>, VecDeque<Event>),
    /// Commands as they are.
    Script(Script),
}

impl Source {
    /// What comes is a part of what was refused.
    fn discards(&self) -> bool {
        matches!(self, Self::Terminal(discipline, _) if discipline.is_discarding())
    }

    /// What was refused has ended: gives what to show.
    fn settled(&mut self) -> Vec<u8> {
        match self {
            Self::Terminal(discipline, _) => discipline.settled(),
            Self::Script(_) => Vec::new(),
        }
    }

    /// Lines that were entered ahead of an interrupted command are given up with it, as a terminal does.
    fn give_up(&mut self) {
        if let Self::Terminal(_, events) = self {
            events.clear();
        }
    }
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
    pub(super) async fn run(relay: Relay, running: Running) {
        let Running { permit, connection, channel, start: _ } = running;
        let (host, to_host) = channel.split();
        let source = if relay.terminal.is_some() {
            let prompt = format!("{}$ ", relay.session.place.host);
            Source::Terminal(Box::new(LineDiscipline::new(prompt)), VecDeque::new())
        } else {
            Source::Script(Script::default())
        };
        let aside = Streams::new(permit.masker());
        let own = Arc::new(Recorder::new(Arc::clone(&relay.session), permit));
        let mut shell = Self {
            relay,
            host,
            to_host,
            shell: Shell::new(),
            source,
            typed: Typed::default(),
            own,
            aside,
            masked: MaskCounts::default(),
            status: 0,
            exit: None,
        };
        let served = shell.serve().await;
        let finish = served.err().unwrap_or(Finish::Ended);
        let finish = shell.last_words().await.err().unwrap_or(finish);
        shell.finish(finish).await;
        if let Some(connection) = connection {
            upstream::hang_up(&connection).await;
        }
    }

    async fn serve(&mut self) -> Result<(), Finish> {
        self.to_shell(format!("exec {OWN}>&1\n").into_bytes()).await?;
        self.take_ahead()?;
        loop {
            self.show(self.prompt()).await?;
            let Some(line) = self.next_line().await? else { return self.leave().await };
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match self.cleared(&line).await {
                Ok((permit, after)) => {
                    self.status = self.execute(&line, permit).await?;
                    self.shell.ran(after, Some(self.status));
                }
                Err(Over::Refused(refusal)) if !self.relay.session.ended.is_cancelled() => {
                    self.status = EXIT_STATUS;
                    let text = lines(&refusal);
                    self.relay.tell(&text).await.or(Err(Finish::Gone))?;
                }
                Err(over) => return Err(over.into()),
            }
            self.take_ahead()?;
        }
    }

    async fn cleared(&mut self, line: &[u8]) -> Result<(Permit, After), Over> {
        let place = &self.relay.session.place;
        let (command, after) = self.shell.line(line, &place.role, &place.host);
        if stops(&command) {
            return Err(runs_nothing().into());
        }
        Ok((self.relay.clear(Arc::new(command)).await?, after))
    }

    /// What came while nothing took it is for later.
    fn take_ahead(&mut self) -> Result<(), Finish> {
        let Ahead { data, ended, .. } = std::mem::take(&mut self.relay.ahead);
        let to = (&*self.relay.session, self.relay.write.id().number());
        Ok(self.typed.add_all((data, ended), to)?)
    }

    fn prompt(&self) -> Vec<u8> {
        match &self.source {
            Source::Terminal(discipline, events) if events.is_empty() => discipline.prompt(),
            Source::Terminal(discipline, _) => discipline.bare_prompt(),
            Source::Script(_) => Vec::new(),
        }
    }

    /// The next whole command; `None`: there is none any more.
    async fn next_line(&mut self) -> Result<Option<Vec<u8>>, Finish> {
        loop {
            let found = match &mut self.source {
                Source::Terminal(..) => self.entered().await?,
                Source::Script(script) => match script.next(&mut self.typed.bytes, self.typed.ended) {
                    Next::Command(command) => Some(Some(command)),
                    Next::More => None,
                    Next::End => Some(None),
                    Next::TooLong => return Err(too_long().into()),
                    Next::Unfinished => return Err(unfinished().into()),
                },
            };
            self.typed.taken();
            if let Some(found) = found {
                return Ok(found);
            }
            self.idle().await?;
        }
    }

    /// The next command that was entered at the terminal; within: there is none any more. `None`: more keys are needed.
    async fn entered(&mut self) -> Result<Option<Option<Vec<u8>>>, Finish> {
        loop {
            let Source::Terminal(discipline, events) = &mut self.source else { return Ok(None) };
            let shown = match events.pop_front() {
                Some(Event::Echo(bytes)) => bytes,
                Some(Event::Submit(line)) => return Ok(Some(Some(line.into_bytes()))),
                Some(Event::Interrupt) if events.is_empty() => discipline.prompt(),
                Some(Event::Interrupt) => discipline.bare_prompt(),
                Some(Event::End) => return Ok(Some(None)),
                None if self.typed.bytes.is_empty() => return Ok(self.typed.ended.then_some(None)),
                None => {
                    let keys = self.typed.bytes.split_to(self.typed.bytes.len().min(KEYS_AT_ONCE));
                    events.extend(discipline.push(&keys));
                    continue;
                }
            };
            self.show(shown).await?;
        }
    }

    /// Has the host's shell run one command, and passes on what it says.
    async fn execute(&mut self, line: &[u8], permit: Permit) -> Result<u32, Finish> {
        let masker = permit.masker().clone();
        self.settle(&masker).await?;
        let (word, text) = frame::around(line, self.relay.terminal.is_some());
        let mut said = Said::new(&masker, word.as_bytes());
        let recorder = Recorder::new(Arc::clone(&self.relay.session), permit);
        self.to_shell(text).await?;
        let ended = self.output(&recorder, &mut said).await;
        let status = match &ended {
            Ok(status) | Err(Finish::Exited(Some(status))) => Some(*status),
            Err(Finish::Exited(None) | Finish::Ended | Finish::Gone | Finish::Refused(_)) => None,
        };
        if !matches!(ended, Err(Finish::Gone)) {
            for channel in [Channel::STDOUT, Channel::STDERR] {
                self.say(&recorder, channel, said.rest(channel)).await?;
            }
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
        let end = End { outcome, status_code, masked: said.streams.counts(), ..End::default() };
        recorder.finish(end).await?;
        if ended.is_ok() {
            let shown = self.aside.push(Channel::STDOUT, &said.behind);
            self.say(&Arc::clone(&self.own), Channel::STDOUT, shown).await?;
        }
        ended
    }

    /// Passes on what a command says until the shell says the word.
    async fn output(&mut self, recorder: &Recorder, said: &mut Said) -> Result<u32, Finish> {
        let (mut exit, mut over) = (None, None);
        loop {
            let pause = Instant::now() + self.relay.session.options.limits.quiet;
            let waits = over.is_some() || said.streams.holds();
            let mut out = (Channel::STDOUT, Vec::new());
            tokio::select! {
                message = self.host.wait() => match message {
                    Some(ChannelMsg::Data { data }) => out.1 = said.out(&data),
                    Some(ChannelMsg::ExtendedData { data, ext: STDERR }) => {
                        out = (Channel::STDERR, said.streams.push(Channel::STDERR, &data));
                    }
                    Some(ChannelMsg::ExitStatus { exit_status }) => exit = Some(exit_status),
                    Some(ChannelMsg::Close) | None => return said.status.ok_or(Finish::Exited(exit)),
                    Some(_) => {}
                },
                message = self.relay.read.wait() => {
                    let to = (&*self.relay.session, self.relay.write.id().number());
                    if let Some(signal) = self.typed.take(message, (to, self.relay.terminal.is_some()))? {
                        self.source.give_up();
                        recorder.event(&StreamEvent::Signal(signal_name(&signal))).await?;
                        self.to_host.signal(signal).await.or(Err(Finish::Exited(None)))?;
                    }
                }
                why = self.typed.blocks(&self.relay.session) => return Err(why.into()),
                () = tokio::time::sleep_until(over.unwrap_or(pause)), if waits => {
                    if let Some(status) = said.status {
                        return Ok(status);
                    }
                    for channel in [Channel::STDOUT, Channel::STDERR] {
                        self.say(recorder, channel, said.streams.quiet(channel)).await?;
                    }
                }
                () = self.relay.session.ended.cancelled() => {
                    return Err(self.relay.session.reason().into());
                }
            }
            self.say(recorder, out.0, out.1).await?;
            if let Some(status) = said.status {
                let now = Instant::now();
                // what runs on may say more without a pause
                let until = *over.get_or_insert(now + LATE);
                if self.relay.terminal.is_some() || now >= until || said.behind.len() > BEHIND_MAX {
                    return Ok(status);
                }
            }
        }
    }

    /// Records, then hands on. What the client sends meanwhile is taken, as one that reads slowly stops nobody else.
    async fn say(&mut self, recorder: &Recorder, channel: Channel, bytes: Vec<u8>) -> Result<(), Finish> {
        if bytes.is_empty() {
            return Ok(());
        }
        let terminal = self.relay.terminal.is_some();
        let bytes = if terminal { on_terminal(&bytes) } else { bytes };
        recorder.output(channel, &bytes).await?;
        let Relay { session, read, write, .. } = &mut self.relay;
        let sending = async {
            if channel == Channel::STDERR && !terminal {
                write.extended_data_bytes(STDERR, Bytes::from(bytes)).await
            } else {
                write.data_bytes(Bytes::from(bytes)).await
            }
        };
        tokio::pin!(sending);
        let to = (&**session, write.id().number());
        loop {
            tokio::select! {
                biased;
                sent = &mut sending => return sent.or(Err(Finish::Gone)),
                message = read.wait() => {
                    if let Some(signal) = self.typed.take(message, (to, terminal))? {
                        self.source.give_up();
                        recorder.event(&StreamEvent::Signal(signal_name(&signal))).await?;
                        self.to_host.signal(signal).await.or(Err(Finish::Exited(None)))?;
                    }
                }
                why = self.typed.blocks(session) => return Err(why.into()),
                () = session.ended.cancelled() => return Err(session.reason().into()),
            }
        }
    }

    /// Shows what the line's editor shows; a client without a terminal edits its lines itself.
    async fn show(&self, bytes: Vec<u8>) -> Result<(), Finish> {
        if self.relay.terminal.is_none() || bytes.is_empty() {
            return Ok(());
        }
        self.relay.write.data_bytes(Bytes::from(bytes)).await.or(Err(Finish::Gone))
    }

    async fn finish(&self, finish: Finish) {
        let (outcome, status) = match &finish {
            Finish::Ended => (EndKind::Ok, Some(0)),
            Finish::Exited(status) => (EndKind::Ok, *status),
            Finish::Gone => (EndKind::Aborted, None),
            Finish::Refused(_) => (EndKind::Aborted, Some(EXIT_STATUS)),
        };
        let status_code = status.map(|status| status.to_string());
        let end = End { outcome, status_code, masked: self.masked.clone(), ..End::default() };
        let recorded = self.own.finish(end).await;
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

/// So many keys are taken before what they show is shown.
const KEYS_AT_ONCE: usize = 16 << 10;
/// Errors may come as much later than the end of the output that they were written before.
const LATE: Duration = Duration::from_millis(5);
/// So much of what runs on is kept while errors may still come.
const BEHIND_MAX: usize = 64 << 10;
