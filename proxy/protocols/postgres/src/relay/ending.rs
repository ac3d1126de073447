//! How sessions end.

use super::Relay;
use super::expect::Expect;
use crate::frame::FrameError;
use crate::frontend::{self, Severity, refusal};
use crate::messages::Malformed;
use crate::upstream::{self, GOODBYE};
use proxy_core::gate::Chain;
use proxy_core::refusal::{Refusal, RefusalKind};

/// Why a session ends.
#[derive(Debug)]
pub(super) enum Ending {
    /// The client said goodbye.
    Terminate,
    /// The client's connection ended.
    ClientGone,
    /// The server's connection ended.
    ServerGone,
    /// The gateway ends it, and tells the client why.
    Refused(Refusal),
    /// The server sent what is not in the table, or what nobody expected. Nothing of it passes.
    ServerProtocol(&'static str),
}

impl From<Refusal> for Ending {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// For messages of the client; those of the server are [`Ending::ServerProtocol`].
impl From<Malformed> for Ending {
    fn from(malformed: Malformed) -> Self {
        Self::Refused(refusal(RefusalKind::Protocol, malformed.to_string(), "check the client"))
    }
}

impl From<FrameError> for Ending {
    fn from(error: FrameError) -> Self {
        let kind = match error {
            FrameError::Length { .. } => RefusalKind::Protocol,
            FrameError::TooLarge { .. } => RefusalKind::TooLarge,
        };
        Self::Refused(refusal(kind, error.to_string(), "send less at once"))
    }
}

impl Ending {
    /// For the record; a closed set of words.
    const fn reason(&self) -> &'static str {
        match self {
            Self::Terminate => "terminated",
            Self::ClientGone => "client gone",
            Self::ServerGone => "server gone",
            Self::ServerProtocol(_) => "server broke the protocol",
            Self::Refused(refusal) => match refusal.kind {
                RefusalKind::SessionEnded => "ended by the gateway",
                RefusalKind::Protocol => "client broke the protocol",
                RefusalKind::TooLarge | RefusalKind::Full => "over a limit",
                RefusalKind::Unavailable => "gateway unavailable",
                RefusalKind::Authentication
                | RefusalKind::Denied
                | RefusalKind::ApprovalDenied
                | RefusalKind::ApprovalExpired
                | RefusalKind::Withdrawn => "policy",
            },
        }
    }

    /// What the client is told. Nothing while `passing` bytes are missing of a frame that it has the beginning of: it
    /// would take the words for them.
    fn last_words(self, passing: usize) -> Option<Refusal> {
        let words = match self {
            Self::Terminate | Self::ClientGone => None,
            Self::ServerGone => {
                Some(refusal(RefusalKind::SessionEnded, "the server closed the connection", "connect again"))
            }
            Self::ServerProtocol(what) => {
                tracing::error!(what, "the server broke the protocol");
                let message = "the server sent something that the gateway cannot pass on";
                Some(refusal(RefusalKind::SessionEnded, message, "connect again"))
            }
            Self::Refused(refusal) => Some(refusal),
        };
        words.filter(|_| passing == 0)
    }
}

impl Relay {
    /// Ends the session: withdraws what waits, tells both sides, closes the record.
    pub(super) async fn end(mut self, ending: Ending) {
        let reason = ending.reason();
        if let Some(waiting) = self.waiting.take() {
            self.gate.withdraw(*waiting.held, reason).await;
        }
        if matches!(ending, Ending::ServerGone | Ending::Refused(_) | Ending::ServerProtocol(_)) {
            // What is about to be written belongs on the record first.
            if let Some(Expect::Execute(running) | Expect::Query(running)) = self.queue.front_mut()
                && self.gate.before_release(&mut running.permit).is_err()
            {
                self.client.output.clear();
            }
        }
        // What the gateway cuts off must not go on at the server, which looks at the connection only when it writes.
        let cut_off = matches!(ending, Ending::Refused(_)) && !self.queue.is_empty();
        // Permits that are dropped unfinished are on record as aborted.
        self.queue.clear();
        let said = matches!(ending, Ending::ServerGone) && self.server_said_why;
        if let Some(refusal) = ending.last_words(self.passing).filter(|_| !said) {
            frontend::put_refusal(&refusal, Severity::Fatal, &mut self.client.output);
        }
        if cut_off {
            self.cancel_upstream().await;
        }
        upstream::goodbye(&mut self.upstream).await;
        let farewell = async {
            if let Err(error) = self.client.drain().await {
                tracing::debug!(%error, "last words to the client");
            }
            self.client.close().await;
        };
        if tokio::time::timeout(GOODBYE, farewell).await.is_err() {
            tracing::debug!("the client takes no goodbye");
        }
        self.gate.close(reason).await;
    }

    async fn cancel_upstream(&self) {
        let cancelled = upstream::cancel(&self.options, self.cancel.upstream());
        match tokio::time::timeout(GOODBYE, cancelled).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error = %Chain(&error), "cancel at the server"),
            Err(_elapsed) => tracing::warn!("cancel at the server: no answer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Ending;

    #[test]
    fn words_never_stand_within_a_frame() {
        assert!(Ending::ServerGone.last_words(0).is_some());
        assert!(Ending::ServerGone.last_words(7).is_none());
    }
}
