//! What a shell's jobs say while none of its commands runs, and how the shell ends.

use super::said::{self, Streams};
use super::{Finish, Lines, Source};
use crate::relay::STDERR;
use bytes::Bytes;
use proxy_audit::stream::Channel;
use proxy_core::mask::Masker;
use russh::ChannelMsg;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

impl Lines {
    /// Waits between commands until something comes of the client or of the host.
    pub(super) async fn idle(&mut self) -> Result<(), Finish> {
        let pasted = self.typed.last.unwrap_or_else(Instant::now) + PASTED;
        let message = tokio::select! {
            message = self.relay.read.wait() => {
                // at a line that is edited, Ctrl-C is a key
                let to = (&*self.relay.session, self.relay.write.id().number());
                drop(self.typed.take(message, (to, false))?);
                return Ok(());
            }
            message = self.host.wait() => message,
            () = tokio::time::sleep(self.relay.session.options.limits.quiet), if self.aside.holds() => {
                for channel in [Channel::STDOUT, Channel::STDERR] {
                    let shown = self.aside.quiet(channel);
                    self.interject(channel, shown).await?;
                }
                return Ok(());
            }
            () = tokio::time::sleep_until(pasted), if self.source.discards() => {
                let shown = self.source.settled();
                return self.show(shown).await;
            }
            () = self.relay.session.ended.cancelled() => {
                return Err(self.relay.session.reason().into());
            }
        };
        match message {
            Some(ChannelMsg::Data { data }) => self.hear(Channel::STDOUT, &data).await,
            Some(ChannelMsg::ExtendedData { data, ext: STDERR }) => self.hear(Channel::STDERR, &data).await,
            Some(ChannelMsg::ExitStatus { exit_status }) => {
                self.exit = Some(exit_status);
                // a terminal is not kept for what still runs
                if self.relay.terminal.is_some() { Err(Finish::Exited(self.exit)) } else { Ok(()) }
            }
            Some(ChannelMsg::Close) | None => Err(Finish::Exited(self.exit)),
            Some(_) => Ok(()),
        }
    }

    /// Something is said that is no command's.
    pub(super) async fn hear(&mut self, channel: Channel, data: &[u8]) -> Result<(), Finish> {
        let shown = self.aside.push(channel, data);
        self.interject(channel, shown).await
    }

    /// A command begins, whose masks are the newest: what is held back goes out before it says anything.
    pub(super) async fn settle(&mut self, masker: &Masker) -> Result<(), Finish> {
        for channel in [Channel::STDOUT, Channel::STDERR] {
            let shown = self.aside.rest(channel);
            self.say(&Arc::clone(&self.own), channel, shown).await?;
        }
        said::add(&mut self.masked, &self.aside.counts());
        self.aside = Streams::new(masker);
        Ok(())
    }

    /// Shows something where a line is being typed, and the line again below it.
    async fn interject(&mut self, channel: Channel, shown: Vec<u8>) -> Result<(), Finish> {
        if shown.is_empty() {
            return Ok(());
        }
        let whole = shown.ends_with(b"\n");
        self.show(b"\r\x1b[K".to_vec()).await?;
        self.say(&Arc::clone(&self.own), channel, shown).await?;
        let mut line = if whole { Vec::new() } else { b"\r\n".to_vec() };
        line.extend(self.prompt());
        self.show(line).await
    }

    /// The client has nothing more to run. A script's shell ends as it does without a gateway: with the status of its
    /// last command, and not before its jobs have said what they say.
    pub(super) async fn leave(&mut self) -> Result<(), Finish> {
        if matches!(self.source, Source::Terminal(..)) {
            return Ok(());
        }
        self.to_shell(format!("exit {}\n", self.status).into_bytes()).await?;
        loop {
            self.idle().await?;
        }
    }

    /// What is held back when it is over, for a client that is there.
    pub(super) async fn last_words(&mut self) -> Result<(), Finish> {
        for channel in [Channel::STDOUT, Channel::STDERR] {
            let shown = self.aside.rest(channel);
            self.say(&Arc::clone(&self.own), channel, shown).await?;
        }
        said::add(&mut self.masked, &self.aside.counts());
        Ok(())
    }

    /// Hands the host's shell what it is to run.
    pub(super) async fn to_shell(&self, text: Vec<u8>) -> Result<(), Finish> {
        self.to_host.data_bytes(Bytes::from(text)).await.or(Err(Finish::Exited(None)))
    }
}

/// What the client sends this much later is no part of the same paste.
const PASTED: Duration = Duration::from_secs(1);
