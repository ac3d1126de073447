//! From the host to the client, and the end of what runs.

use super::files::{Boundaries, Files, Said};
use super::input::{Aside, ClientWrite, INPUT_BYTES, Reader, Signals, Writer, resize};
use super::recorder::Recorder;
use super::{Relay, Running, STDERR, Start, Terminal, signal_name};
use crate::display::Greeting;
use crate::mask::OutputMasker as Output;
use crate::refusals::{EXIT_STATUS, lines, refusal};
use crate::scp;
use crate::session::{Purpose, Session};
use crate::upstream;
use bytes::Bytes;
use proxy_audit::stream::{Channel, StreamEvent};
use proxy_core::gate::{End, EndKind};
use proxy_core::mask::{MaskCounts, Masker, StreamMasker};
use proxy_core::refusal::{Refusal, RefusalKind};
use russh::{ChannelMsg, ChannelReadHalf, Sig};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

/// One direction of a channel that runs.
pub(super) struct Pump<'a> {
    session: Arc<Session>,
    recorder: &'a Recorder,
    host: ChannelReadHalf,
    client: &'a ClientWrite,
    signals: Signals,
    out: Output,
    err: Output,
    masked: bool,
    terminal: Option<Terminal>,
    files: Option<Subsystem>,
    /// What the client's display is greeted with, where the channel leads there.
    greeting: Option<Greeting>,
    /// The client has a standard error and expects an exit status.
    speaks: bool,
    /// The client knows that no more comes.
    ended: bool,
}

/// The subsystem `sftp`, as the host's side of it goes.
struct Subsystem {
    files: Arc<Files>,
    said: mpsc::Receiver<Said>,
    at: Boundaries,
}

impl Subsystem {
    /// Waits for something that the gateway says itself, and may say now.
    async fn said(this: Option<&mut Self>) -> Said {
        if let Some(this) = this
            && this.at.between()
            && let Some(said) = this.said.recv().await
        {
            return said;
        }
        std::future::pending().await
    }
}

/// How a program ended.
#[derive(Debug)]
enum Exit {
    Status(u32),
    Signal(Sig, bool),
}

/// Why a pump stops.
#[derive(Debug)]
enum Stop {
    /// The host closed the channel.
    Ended(Option<Exit>),
    /// The host is gone.
    Lost,
    /// The client is gone.
    Gone,
    /// It may not go on.
    Refused(Refusal),
}

impl Pump<'_> {
    /// Serves what runs to its end, which is on record when this returns.
    pub(super) async fn run(relay: Relay, running: Running) {
        let Relay { session, read, write, terminal, ahead, wishes: _ } = relay;
        let Running { permit, connection, channel, start } = running;
        let masker = permit.masker().clone();
        let mut recorder = Recorder::new(Arc::clone(&session), permit);
        if let Start::Exec(line) = &start {
            recorder.watch(scp::sender(line), &masker);
        }
        let (host, to_host) = channel.split();
        let signals = Signals::default();
        let (items, taken) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(INPUT_BYTES as usize));
        let reader = Reader {
            session: Arc::clone(&session),
            read,
            signals: signals.clone(),
            items,
            room: Arc::clone(&room),
            aside: Aside::default(),
            number: write.id().number(),
        };
        let files = matches!(&start, Start::Subsystem(name) if name == "sftp")
            .then(|| Files::new(Arc::clone(&session), signals.clone(), masker.clone()));
        let (files, said) = files.unzip();
        let log = (terminal.is_none() && files.is_none()).then(|| StreamMasker::new(masker.clone()));
        let writer = Writer {
            recorder: &recorder,
            write: &to_host,
            signals: signals.clone(),
            items: taken,
            room,
            log,
            files: files.clone(),
        };
        let speaks = !matches!(start, Start::Forward | Start::Display(_));
        let mut pump = Pump::new(&session, (&recorder, &masker), (host, &write), signals, terminal);
        pump.speaks = speaks;
        if let Start::Display(greeting) = start {
            pump.greeting = Some(greeting);
        }
        pump.files =
            files.clone().zip(said).map(|(files, said)| Subsystem { files, said, at: Boundaries::default() });
        let (clean, (), ()) = tokio::join!(Box::pin(pump.serve()), reader.run(ahead), writer.run());
        if let Some(files) = files {
            files.finish().await;
        }
        let Some(connection) = connection else {
            // What was lent is one channel among others of its connection.
            note_unheard(to_host.close().await);
            return;
        };
        if clean && let Purpose::Work(upstreams) = &session.purpose {
            upstreams.give_back(connection);
        } else {
            // Whatever still runs there sees its connection end, as it would without a gateway.
            upstream::hang_up(&connection).await;
        }
    }
}

impl<'a> Pump<'a> {
    fn new(
        session: &Arc<Session>,
        (recorder, masker): (&'a Recorder, &Masker),
        (host, client): (ChannelReadHalf, &'a ClientWrite),
        signals: Signals,
        terminal: Option<Terminal>,
    ) -> Self {
        Self {
            session: Arc::clone(session),
            recorder,
            host,
            client,
            signals,
            out: Output::new(masker.clone()),
            err: Output::new(masker.clone()),
            masked: masker.has_detectors(),
            terminal,
            files: None,
            greeting: None,
            speaks: true,
            ended: false,
        }
    }

    /// Runs to the end. `true`: the host's connection can be used again.
    async fn serve(mut self) -> bool {
        let stop = match self.begin().await {
            Ok(()) => self.pass().await,
            Err(stop) => stop,
        };
        let clean = matches!(stop, Stop::Ended(_));
        self.end(stop).await;
        self.signals.over.cancel();
        clean
    }

    async fn begin(&mut self) -> Result<(), Stop> {
        if let Some(terminal) = &self.terminal {
            self.recorder.event(&resize(terminal.size)).await.map_err(Stop::Refused)?;
        }
        if let Some(greeting) = self.greeting.take() {
            self.recorder.output(Channel::STDOUT, &greeting.recorded()).await.map_err(Stop::Refused)?;
            self.send(Channel::STDOUT, Bytes::from(greeting.sent())).await?;
        }
        Ok(())
    }

    /// Passes on what the host says.
    async fn pass(&mut self) -> Stop {
        let mut exit = None;
        loop {
            let holds = self.out.holds() || self.err.holds();
            let message = tokio::select! {
                message = self.host.wait() => message,
                said = Subsystem::said(self.files.as_mut()) => match self.answer(said).await {
                    Ok(()) => continue,
                    Err(stop) => return stop,
                },
                () = self.signals.gone.cancelled() => return Stop::Gone,
                () = self.signals.over.cancelled() => return Stop::Refused(self.why()),
                () = self.session.ended.cancelled() => return Stop::Refused(self.session.reason()),
                () = tokio::time::sleep(self.session.options.limits.quiet), if holds => {
                    match self.flush(Output::quiet).await {
                        Ok(()) => continue,
                        Err(stop) => return stop,
                    }
                }
            };
            let said = match message {
                Some(ChannelMsg::Data { data }) => self.say(Channel::STDOUT, data).await,
                Some(ChannelMsg::ExtendedData { data, ext: STDERR }) => self.say(Channel::STDERR, data).await,
                Some(ChannelMsg::Eof) => self.half_close().await,
                Some(ChannelMsg::ExitStatus { exit_status }) => {
                    exit = Some(Exit::Status(exit_status));
                    Ok(())
                }
                Some(ChannelMsg::ExitSignal { signal_name, core_dumped, .. }) => {
                    exit = Some(Exit::Signal(signal_name, core_dumped));
                    Ok(())
                }
                Some(ChannelMsg::Close) => {
                    return self.flush(Output::finish).await.err().unwrap_or(Stop::Ended(exit));
                }
                None => return self.flush(Output::finish).await.err().unwrap_or(Stop::Lost),
                Some(_) => Ok(()),
            };
            if let Err(stop) = said {
                return stop;
            }
        }
    }

    /// The host has no more to say. Of a forwarding the client hears at once, as the other end may wait for its answer;
    /// of a program it hears with its exit status, before which the gateway may have something to say itself.
    async fn half_close(&mut self) -> Result<(), Stop> {
        self.flush(Output::finish).await?;
        if !self.speaks && !self.ended {
            self.ended = true;
            self.client.eof().await.or(Err(Stop::Gone))?;
        }
        Ok(())
    }

    async fn say(&mut self, channel: Channel, data: Bytes) -> Result<(), Stop> {
        if channel == Channel::STDOUT
            && let Some(subsystem) = &mut self.files
        {
            let data = subsystem.files.host(&data).await.map_err(Stop::Refused)?;
            subsystem.at.follow(&data);
            return self.send(channel, data).await;
        }
        let data = if self.masked {
            let mut released = Vec::with_capacity(data.len());
            let output = if channel == Channel::STDERR { &mut self.err } else { &mut self.out };
            output.push(&data, &mut released);
            Bytes::from(released)
        } else {
            data
        };
        self.release(channel, data).await
    }

    /// Releases what was held back, as far as `how` does.
    async fn flush(&mut self, how: fn(&mut Output, &mut Vec<u8>)) -> Result<(), Stop> {
        for channel in [Channel::STDOUT, Channel::STDERR] {
            let mut released = Vec::new();
            how(if channel == Channel::STDERR { &mut self.err } else { &mut self.out }, &mut released);
            self.release(channel, Bytes::from(released)).await?;
        }
        Ok(())
    }

    /// Records, then hands on.
    async fn release(&mut self, channel: Channel, data: Bytes) -> Result<(), Stop> {
        if data.is_empty() {
            return Ok(());
        }
        self.recorder.output(channel, &data).await.map_err(Stop::Refused)?;
        self.recorder.files(channel, &data).await.map_err(Stop::Refused)?;
        self.send(channel, data).await
    }

    /// Hands on what the gateway says itself.
    async fn answer(&mut self, said: Said) -> Result<(), Stop> {
        match said {
            Said::Packet(packet) => self.send(Channel::STDOUT, Bytes::from(packet)).await,
            Said::Notice(text) => self.send(Channel::STDERR, Bytes::from(text)).await,
        }
    }

    async fn send(&mut self, channel: Channel, data: Bytes) -> Result<(), Stop> {
        if data.is_empty() {
            return Ok(());
        }
        let sent = async {
            if channel == Channel::STDERR {
                self.client.extended_data_bytes(STDERR, data).await
            } else {
                self.client.data_bytes(data).await
            }
        };
        tokio::select! {
            biased;
            sent = sent => sent.or(Err(Stop::Gone)),
            () = self.signals.gone.cancelled() => Err(Stop::Gone),
            () = self.signals.over.cancelled() => Err(Stop::Refused(self.why())),
            () = self.session.ended.cancelled() => Err(Stop::Refused(self.session.reason())),
        }
    }

    fn why(&self) -> Refusal {
        self.signals.failed.get().cloned().unwrap_or_else(|| self.session.reason())
    }

    /// Records the end, then tells the client.
    async fn end(&self, stop: Stop) {
        let told = match stop {
            Stop::Ended(exit) => self.ended(exit).await,
            Stop::Lost => {
                let lost = refusal(
                    RefusalKind::Unavailable,
                    "the connection to the host was lost; what ran may have been cut off",
                    "look at what it did before you run it again",
                );
                match self.finish(EndKind::Error, None).await {
                    Ok(()) => self.refused(&lost).await,
                    Err(refusal) => self.refused(&refusal).await,
                }
            }
            Stop::Gone => {
                if let Err(refusal) = self.finish(EndKind::Aborted, None).await {
                    tracing::debug!(
                        refusal = refusal.message,
                        "record the end of a channel whose client is gone"
                    );
                }
                Ok(())
            }
            Stop::Refused(refusal) => {
                let refusal = self.finish(EndKind::Aborted, None).await.err().unwrap_or(refusal);
                self.refused(&refusal).await
            }
        };
        note_unheard(told);
    }

    async fn ended(&self, exit: Option<Exit>) -> Result<(), russh::Error> {
        let (event, kind, code) = match &exit {
            Some(Exit::Status(status)) => {
                let code = i32::try_from(*status).unwrap_or(i32::MAX);
                let kind = if code == 0 { EndKind::Ok } else { EndKind::Error };
                (Some(StreamEvent::Exit(code)), kind, Some(status.to_string()))
            }
            Some(Exit::Signal(signal, _)) => {
                let name = signal_name(signal);
                (Some(StreamEvent::ExitSignal(name.clone())), EndKind::Error, Some(format!("SIG{name}")))
            }
            None => (None, EndKind::Ok, None),
        };
        let recorded = match &event {
            Some(event) => self.recorder.event(event).await,
            None => Ok(()),
        };
        let finished = self.finish(kind, code).await;
        if let Err(refusal) = recorded.and(finished) {
            return self.refused(&refusal).await;
        }
        match exit {
            Some(Exit::Status(status)) => self.client.exit_status(status).await?,
            Some(Exit::Signal(signal, dumped)) => {
                if let Some(client) = self.session.client() {
                    let id = self.client.id();
                    let sent = client.exit_signal_request(id, signal, dumped, String::new(), String::new());
                    sent.await.or(Err(russh::Error::SendError))?;
                }
            }
            None => {}
        }
        if !self.ended {
            self.client.eof().await?;
        }
        self.client.close().await
    }

    async fn finish(&self, outcome: EndKind, status_code: Option<String>) -> Result<(), Refusal> {
        let mut masked = MaskCounts::default();
        for output in [&self.out, &self.err] {
            for (name, count) in &output.counts().0 {
                *masked.0.entry(name.clone()).or_default() += count;
            }
        }
        self.recorder.finish(End { outcome, status_code, masked, ..End::default() }).await
    }

    async fn refused(&self, refusal: &Refusal) -> Result<(), russh::Error> {
        if !self.speaks {
            return self.client.close().await;
        }
        let text = Bytes::from(lines(refusal));
        let telling = async {
            if self.terminal.is_some() {
                self.client.data_bytes(text).await?;
            } else {
                self.client.extended_data_bytes(STDERR, text).await?;
            }
            self.client.exit_status(EXIT_STATUS).await?;
            self.client.eof().await
        };
        tokio::time::timeout(FAREWELL, telling).await.unwrap_or(Ok(()))?;
        self.client.close().await
    }
}

/// Time that a client has for reading why its channel ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// A client that does not hear of the end has gone.
fn note_unheard(told: Result<(), russh::Error>) {
    if let Err(error) = told {
        tracing::debug!(%error, "end a channel");
    }
}
