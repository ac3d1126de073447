//! A command that waits for an approval: the channel stays open, and the client is told so from time to time.

use super::{Over, Relay};
use crate::refusals::notice;
use proxy_core::gate::{Held, Notice, Permit};
use russh::{ChannelMsg, Sig};
use tokio::time::Instant;

impl Relay {
    /// Waits for the end of the request. A client that closes the channel, disconnects, or interrupts withdraws it.
    pub(super) async fn wait_for(&mut self, mut held: Held) -> Result<Permit, Over> {
        match self.outcome(&mut held).await {
            Ok(outcome) => Ok(self.session.resume(held, outcome).await?),
            Err(over) => {
                let reason = match &over {
                    Over::Gone | Over::Done => "client left",
                    Over::Refused(_) => "withdrawn",
                };
                self.session.withdraw(held, reason).await;
                Err(over)
            }
        }
    }

    async fn outcome(
        &mut self,
        held: &mut Held,
    ) -> Result<Result<proxy_core::approval::Outcome, proxy_core::approval::ApprovalError>, Over> {
        self.announce(&held.notice()).await?;
        let mut remind_at = Instant::now() + self.session.options.limits.notice_every;
        loop {
            tokio::select! {
                biased;
                message = self.read.wait() => match message {
                    None => return Err(Over::Gone),
                    Some(message) if self.interrupts(&message) => {
                        return Err(crate::refusals::refusal(
                            proxy_core::refusal::RefusalKind::Withdrawn,
                            "interrupted: the request for approval was withdrawn",
                            "send the command again to ask anew",
                        ).into());
                    }
                    Some(message) => self.wait_with(message)?,
                },
                () = self.session.ended.cancelled() => return Err(self.session.reason().into()),
                outcome = held.outcome() => return Ok(outcome),
                () = tokio::time::sleep_until(remind_at) => {
                    self.announce(&held.notice()).await?;
                    remind_at = Instant::now() + self.session.options.limits.notice_every;
                }
            }
        }
    }

    /// Whether this is an interrupt: a signal, or Ctrl-C from a terminal.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the library's list of messages grows")]
    fn interrupts(&self, message: &ChannelMsg) -> bool {
        match message {
            ChannelMsg::Data { data } => self.terminal.is_some() && data.contains(&INTERRUPT),
            ChannelMsg::Signal { signal } => {
                matches!(signal, Sig::INT | Sig::TERM | Sig::HUP | Sig::KILL | Sig::QUIT)
            }
            _ => false,
        }
    }

    async fn announce(&self, shown: &Notice) -> Result<(), Over> {
        let text = notice(&shown.message) + &notice(&shown.hint);
        // One that does not read its notices still waits for its approval.
        match tokio::time::timeout(PATIENCE, self.tell(&text)).await {
            Ok(Err(_)) => Err(Over::Gone),
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }
}

/// What Ctrl-C sends.
const INTERRUPT: u8 = 3;
/// Time that a client has for taking a notice.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);
