//! The life of a channel: what the client starts on it is judged, perhaps held, run, recorded, and ended.
//!
//! One task per channel. Nothing goes to the host before there is a permit, and nothing of what the host says goes to
//! the client before it is masked and recorded.

mod contents;
mod files;
pub(crate) mod forward;
mod held;
mod input;
mod lines;
mod pump;
mod recorder;
mod trade;

use crate::acts;
use crate::display::{Display, Greeting};
use crate::flow::Full;
use crate::refusals::{EXIT_STATUS, lines, notice, refusal};
use crate::session::{Purpose, Session, Wishes};
use crate::upstream::{self, Connection, UpstreamError};
use bytes::Bytes;
use proxy_core::gate::{Chain, Decision, End, EndKind, Permit};
use proxy_core::refusal::{Refusal, RefusalKind};
use proxy_policy::Command;
use proxy_shell::analyze;
use russh::server::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Pty, Sig, client};
use std::collections::VecDeque;
use std::sync::Arc;

/// A channel of the client.
pub(crate) struct Relay {
    session: Arc<Session>,
    read: ChannelReadHalf,
    write: ChannelWriteHalf<Msg>,
    terminal: Option<Terminal>,
    /// What goes along with what it starts.
    wishes: Wishes,
    ahead: Ahead,
}

/// A terminal as the client has it.
#[derive(Clone, Debug)]
pub(crate) struct Terminal {
    pub(crate) term: String,
    pub(crate) size: Size,
    pub(crate) modes: Vec<(Pty, u32)>,
}

impl Terminal {
    fn asked(term: &str, size: Size, modes: Vec<(Pty, u32)>) -> Self {
        let term = term.chars().filter(|c| !c.is_control()).take(TERM_CHARACTERS).collect();
        Self {
            term,
            size,
            modes: modes.into_iter().take_while(|(mode, _)| *mode != Pty::TTY_OP_END).collect(),
        }
    }
}

/// Size of a terminal, in characters and in pixels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) columns: u32,
    pub(crate) rows: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// What the client sent before anything could take it.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    pub(crate) data: VecDeque<Bytes>,
    pub(crate) bytes: usize,
    pub(crate) ended: bool,
    /// Signals for what is being started.
    pub(crate) signals: Vec<Sig>,
    /// There is a lot of it.
    pub(crate) full: Option<Full>,
}

/// What a client starts.
#[derive(Clone, Debug)]
pub(crate) enum Start {
    /// A command line.
    Exec(Vec<u8>),
    /// A shell, whose lines are decided (`LineDisciplined`) or which is recorded only.
    Shell {
        /// Its lines are decided.
        lines: bool,
    },
    /// A subsystem.
    Subsystem(String),
    /// Nothing: the channel leads elsewhere.
    Forward,
    /// Nothing: the channel leads to the client's display, which is greeted like this.
    Display(Greeting),
}

/// Why a channel has nothing more to do.
#[derive(Debug)]
pub(crate) enum Over {
    /// The client closed it, or left.
    Gone,
    /// It got what it came for.
    Done,
    /// What it started is refused.
    Refused(Refusal),
}

impl From<Refusal> for Over {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What runs on the host, and what it was cleared with.
pub(crate) struct Running {
    pub(crate) permit: Permit,
    /// The connection, where it is for this channel alone.
    pub(crate) connection: Option<Connection>,
    pub(crate) channel: Channel<client::Msg>,
    pub(crate) start: Start,
}

/// Serves one channel to its end.
pub(crate) async fn serve(session: Arc<Session>, channel: Channel<Msg>) {
    let id = channel.id();
    let (read, write) = channel.split();
    let relay = Relay {
        session: Arc::clone(&session),
        read,
        write,
        terminal: None,
        wishes: Wishes::default(),
        ahead: Ahead::default(),
    };
    Box::pin(relay.run()).await;
    session.forget_wishes(id);
    session.fewer.notify_one();
}

impl Relay {
    async fn run(mut self) {
        match self.start().await {
            Ok(running) if matches!(running.start, Start::Shell { lines: true }) => {
                lines::Lines::run(self, running).await;
            }
            Ok(running) => pump::Pump::run(self, running).await,
            Err(Over::Refused(refusal)) => self.refuse(&refusal).await,
            Err(Over::Gone | Over::Done) => {}
        }
    }

    /// From an open channel to something that runs.
    async fn start(&mut self) -> Result<Running, Over> {
        let mut start = self.asked().await?;
        let session = Arc::clone(&self.session);
        let upstreams = match &session.purpose {
            Purpose::Work(upstreams) => upstreams,
            Purpose::Trade(terms) => return Err(self.trade(terms, &start).await),
        };
        let command = self.command(&mut start).await?;
        let permit = self.clear(Arc::new(command)).await?;
        let launched = match self.meanwhile(upstreams.take()).await {
            Ok(Ok(connection)) => self.launch(connection, &start).await,
            Ok(Err(error)) => Err(error),
            Err(over) => {
                let end = End { outcome: EndKind::Aborted, ..End::default() };
                self.session.finish(permit, end).await?;
                return Err(over);
            }
        };
        match launched {
            Ok((connection, channel)) => Ok(Running { permit, connection: Some(connection), channel, start }),
            Err(error) => {
                tracing::warn!(resource = self.session.resource.name, error = %Chain(&error), "start on the host");
                let end = End { outcome: EndKind::Error, ..End::default() };
                self.session.finish(permit, end).await?;
                Err(unreachable(&error).into())
            }
        }
    }

    /// Waits for the host, and takes what the client sends meanwhile: for one that leaves nothing is started. One that
    /// sends much waits with the rest of it, as it will when the program runs.
    async fn meanwhile<T>(&mut self, host: impl Future<Output = T>) -> Result<T, Over> {
        let mut host = std::pin::pin!(host);
        let session = Arc::clone(&self.session);
        loop {
            tokio::select! {
                biased;
                answer = &mut host => return Ok(answer),
                message = self.read.wait(), if self.ahead.bytes < KEPT => match message {
                    None => return Err(Over::Gone),
                    Some(ChannelMsg::Signal { signal }) => {
                        if self.ahead.signals.len() < SIGNALS {
                            self.ahead.signals.push(signal);
                        }
                    }
                    Some(message) => self.wait_with(message)?,
                },
                () = session.ended.cancelled() => return Err(session.reason().into()),
            }
        }
    }

    /// What the client starts.
    async fn asked(&mut self) -> Result<Start, Over> {
        loop {
            let message = tokio::select! {
                message = self.read.wait() => message,
                () = self.session.ended.cancelled() => return Err(self.session.reason().into()),
            };
            match message {
                Some(ChannelMsg::Exec { command, .. }) => return Ok(Start::Exec(command)),
                Some(ChannelMsg::RequestShell { .. }) => return Ok(Start::Shell { lines: true }),
                Some(ChannelMsg::RequestSubsystem { name, .. }) => return Ok(Start::Subsystem(name)),
                Some(ChannelMsg::RequestPty {
                    term,
                    col_width,
                    row_height,
                    pix_width,
                    pix_height,
                    terminal_modes,
                    ..
                }) => {
                    let size =
                        Size { columns: col_width, rows: row_height, width: pix_width, height: pix_height };
                    self.terminal = Some(Terminal::asked(&term, size, terminal_modes));
                }
                Some(message) => self.wait_with(message)?,
                None => return Err(Over::Gone),
            }
        }
    }

    /// Takes what comes while nothing runs yet. What would change what was asked for is none of it.
    ///
    /// # Errors
    /// The client is gone, or sends more than it may.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the library's list of messages grows")]
    fn wait_with(&mut self, message: ChannelMsg) -> Result<(), Over> {
        match message {
            ChannelMsg::Data { data } => {
                self.ahead.bytes = self.ahead.bytes.saturating_add(data.len());
                if self.ahead.bytes > ENOUGH && self.ahead.full.is_none() {
                    self.ahead.full = Some(self.session.flow.full(self.write.id().number()));
                }
                if self.ahead.bytes > self.session.options.limits.held_bytes.max(WINDOW) {
                    let hint = "send input only once the command runs";
                    return Err(refusal(RefusalKind::TooLarge, "too much input was sent ahead", hint).into());
                }
                self.ahead.data.push_back(data);
            }
            ChannelMsg::Eof => self.ahead.ended = true,
            ChannelMsg::Close => return Err(Over::Gone),
            ChannelMsg::WindowChange { col_width, row_height, pix_width, pix_height } => {
                if let Some(terminal) = &mut self.terminal {
                    terminal.size =
                        Size { columns: col_width, rows: row_height, width: pix_width, height: pix_height };
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What is started, as a command.
    async fn command(&mut self, start: &mut Start) -> Result<Command, Refusal> {
        let session = Arc::clone(&self.session);
        let place = &session.place;
        let mut command = match start {
            Start::Exec(line) if line.len() > self.session.options.limits.command_bytes => {
                let hint = "put what it does into a file, and run that";
                return Err(refusal(RefusalKind::TooLarge, "the command line is too long", hint));
            }
            Start::Exec(line) => analyze(line, &place.role, &place.host),
            Start::Shell { lines } => {
                let (command, disciplined) = self.shell().await;
                *lines = disciplined;
                command
            }
            Start::Subsystem(name) => acts::subsystem(place, name),
            Start::Forward | Start::Display(_) => return Err(self.session.reason()),
        };
        if let (Some(terminal), Start::Exec(_) | Start::Subsystem(_)) = (&self.terminal, start) {
            acts::touches(&mut command).push(acts::terminal(&terminal.term));
            command.canonical.push_str(" (terminal)");
        }
        self.wishes = self.session.take_wishes(self.write.id());
        acts::goes_along(place, &mut command, &self.wishes.environment);
        Ok(command)
    }

    /// A shell in the strictest mode that the policies do not refuse, and whether its lines are decided.
    async fn shell(&self) -> (Command, bool) {
        let disciplined = acts::shell(&self.session.place, "LineDisciplined");
        let recorded = acts::shell(&self.session.place, "RecordOnly");
        if self.session.would_deny(&disciplined).await && !self.session.would_deny(&recorded).await {
            (recorded, false)
        } else {
            (disciplined, true)
        }
    }

    /// Asks the gate, and waits where it holds.
    async fn clear(&mut self, command: Arc<Command>) -> Result<Permit, Over> {
        match self.session.decide(command).await {
            Decision::Permit(permit) => Ok(permit),
            Decision::Refused(refusal) => Err(refusal.into()),
            Decision::Held(held) => self.wait_for(*held).await,
        }
    }

    /// Starts it on the host.
    async fn launch(
        &mut self,
        connection: Connection,
        start: &Start,
    ) -> Result<(Connection, Channel<client::Msg>), UpstreamError> {
        let wishes = std::mem::take(&mut self.wishes);
        let starting = async {
            let mut channel = connection.handle.channel_open_session().await?;
            for (name, value) in wishes.environment {
                channel.set_env(false, name, value).await?;
            }
            // A shell whose lines are decided has its terminal here, not there.
            if let Some(Terminal { term, size, modes }) = &self.terminal
                && !matches!(start, Start::Shell { lines: true })
            {
                let Size { columns, rows, width, height } = *size;
                channel.request_pty(true, term, columns, rows, width, height, modes).await?;
                accepted(&mut channel).await?;
            }
            let declined = lend(&mut channel, wishes.agent, wishes.display.as_ref()).await?;
            match start {
                Start::Exec(line) => channel.exec(true, line.clone()).await?,
                Start::Shell { .. } => channel.request_shell(true).await?,
                Start::Subsystem(name) => channel.request_subsystem(true, name.clone()).await?,
                Start::Forward | Start::Display(_) => return Err(russh::Error::RequestDenied.into()),
            }
            accepted(&mut channel).await?;
            Ok::<_, UpstreamError>((channel, declined))
        };
        let limit = self.session.options.limits.connect;
        match tokio::time::timeout(limit, starting).await {
            Ok(Ok((channel, declined))) => {
                for lent in declined {
                    // A client that is gone is seen by who serves what runs.
                    let told = notice(&format!("the host does not take {lent}; what runs goes without"));
                    self.tell(&told).await.unwrap_or_default();
                }
                Ok((connection, channel))
            }
            Ok(Err(error)) => {
                upstream::hang_up(&connection).await;
                Err(error)
            }
            Err(_) => {
                upstream::hang_up(&connection).await;
                Err(UpstreamError::Deadline("start what it was asked to"))
            }
        }
    }

    /// Tells the client, and ends the channel.
    async fn refuse(&self, refusal: &Refusal) {
        let told = async {
            self.tell(&lines(refusal)).await?;
            self.write.exit_status(EXIT_STATUS).await?;
            self.write.eof().await?;
            self.write.close().await
        };
        // A client that does not read what it is told is not waited for.
        match tokio::time::timeout(FAREWELL, told).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "refuse"),
            Err(_) => tracing::debug!("refuse: the client does not read"),
        }
    }

    /// Says something that is not the host's.
    async fn tell(&self, text: &str) -> Result<(), russh::Error> {
        let text = Bytes::from(text.to_owned());
        if self.terminal.is_some() {
            // a terminal has one stream
            self.write.data_bytes(text).await
        } else {
            self.write.extended_data_bytes(STDERR, text).await
        }
    }
}

/// Lends the host what the client lends to it. Gives what the host does not take, which is no reason to run nothing.
async fn lend(
    channel: &mut Channel<client::Msg>,
    agent: bool,
    display: Option<&Display>,
) -> Result<Vec<&'static str>, UpstreamError> {
    let mut declined = Vec::new();
    if agent {
        channel.agent_forward(true).await?;
        if !is_taken(accepted(channel).await)? {
            declined.push("the agent");
        }
    }
    if let Some(display) = display {
        let Display { single, protocol, cookie, screen, .. } = display;
        channel.request_x11(true, *single, protocol, cookie.expose(), *screen).await?;
        if !is_taken(accepted(channel).await)? {
            declined.push("the display");
        }
    }
    Ok(declined)
}

fn is_taken(answer: Result<(), UpstreamError>) -> Result<bool, UpstreamError> {
    match answer {
        Ok(()) => Ok(true),
        Err(UpstreamError::Ssh(russh::Error::RequestDenied)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Waits for the host's answer to a request.
async fn accepted(channel: &mut Channel<client::Msg>) -> Result<(), UpstreamError> {
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Success) => return Ok(()),
            Some(ChannelMsg::Failure) => return Err(russh::Error::RequestDenied.into()),
            Some(ChannelMsg::Close) | None => return Err(russh::Error::Disconnect.into()),
            Some(_) => {}
        }
    }
}

fn unreachable(error: &UpstreamError) -> Refusal {
    let message = match error {
        UpstreamError::HostKey => "the host's key is none of those that its Resource names; nothing was run",
        UpstreamError::Login => "the host does not accept the role's credentials; nothing was run",
        UpstreamError::Ssh(russh::Error::RequestDenied) => "the host refuses to start that",
        UpstreamError::Deadline(_) | UpstreamError::Io(_) | UpstreamError::Ssh(_) => {
            "the host cannot be reached; nothing was run"
        }
    };
    refusal(RefusalKind::Unavailable, message, "try again later, and tell whoever runs the gateway")
}

/// Name of a signal, without `SIG`.
#[expect(clippy::wildcard_enum_match_arm, reason = "every other one is named as its variant")]
pub(crate) fn signal_name(signal: &Sig) -> String {
    match signal {
        Sig::Custom(name) => name.chars().filter(|c| !c.is_control()).take(32).collect(),
        known => format!("{known:?}"),
    }
}

/// Kind of extended data that is standard error (RFC 4254 section 5.2).
pub(crate) const STDERR: u32 = 1;
/// Longest name of a terminal's kind.
const TERM_CHARACTERS: usize = 64;
/// Once so much waits for what is not decided yet, the client's window is not opened again.
const ENOUGH: usize = 512 << 10;
/// What a client may send before it has seen an answer, its window apart.
const WINDOW: usize = 4 << 20;
/// So much is taken while the host is waited for: a packet more is still less than may be.
const KEPT: usize = WINDOW - (64 << 10);
/// Most signals that are kept for what is being started.
const SIGNALS: usize = 16;
/// Time that a client has for reading why it is refused.
const FAREWELL: std::time::Duration = std::time::Duration::from_secs(5);
