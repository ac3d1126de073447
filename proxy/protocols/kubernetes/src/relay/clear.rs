//! A command's way through the gate, and what its client is told meanwhile.
//!
//! HTTP has no words before the status line that clients read, so a held request hangs, and not for long: client
//! libraries and load balancers give up after a minute. After [`Limits::hold_wait`](crate::options::Limits) the client
//! is told to repeat the request, which then claims the approval, where the rule's `onDisconnect` is `Claimable`;
//! otherwise it waits as long as the rule says, for giving up would withdraw the question.
//!
//! What it is told is `403 Forbidden` with `Retry-After` and the name of the ApprovalRequest. No client repeats that by
//! itself, and none takes it for an answer about the object: of a `409 Conflict` `kubectl apply --force` makes five
//! attempts, and then a deletion.
//!
//! What is asked: requests of the same kind that one connection sends at once are asked about together ([`burst`]), and
//! approvers see what each would do ([`Trial`]). Both take a moment, during which other requests go on.

use super::trial::Trial;
use super::twice::Try;
use crate::connection::Connection;
use crate::request::RequestInfo;
use crate::server::Shared;
use crate::session::Session;
use crate::status::Failure;
use http::{HeaderMap, StatusCode};
use proxy_core::gate::{Held, Judged, Permit, Standing};
use proxy_core::refusal::{Refusal, RefusalKind};
use proxy_policy::Command;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::TaskTracker;

/// What counts besides the command, should it be held.
pub(crate) struct Occasion {
    /// What approvers are told.
    pub(crate) trial: Option<Trial>,
    pub(crate) burst: String,
    pub(crate) which: Try,
}

/// What requests have in common that may be asked about together: kind and, where the client says so, invocation. That
/// is the client's own word, so it only ever divides what one connection of one identity sends.
pub(crate) fn burst(info: &RequestInfo, headers: &HeaderMap) -> String {
    let invocation = headers.get("kubectl-session").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let invocation: String = invocation.chars().take(INVOCATION).collect();
    let RequestInfo { group, version, resource, subresource, .. } = info;
    format!("{} {group}/{version}/{resource}/{subresource}\n{invocation}", info.rbac_verb())
}

/// Clears one command.
///
/// Cancel safe: the decision is made to its end without its client, and what was permitted is then recorded as aborted,
/// what was held as withdrawn.
///
/// # Errors
/// It may not run, or not now.
pub(crate) async fn clear(
    connection: &Connection,
    session: &Arc<Session>,
    command: Arc<Command>,
    occasion: Occasion,
) -> Result<Permit, Failure> {
    let which = occasion.which;
    let (deciding, tasks) = (Arc::clone(session), connection.streams.clone());
    let shared = Arc::clone(&connection.shared);
    let decided = settle(&connection.streams, async move {
        let judged = deciding.gate().lock().await.judge(command, Standing::Alone).await;
        let unasked = match judged {
            Judged::Permit(permit) => return Ok(Decided::Permit(permit)),
            Judged::Refused(refusal) => return Err(refusal),
            Judged::Unasked(unasked) => unasked,
        };
        let mut unasked = *unasked;
        // other requests of the session go on while people are asked
        if let Some(trial) = occasion.trial {
            let found = trial.run(&shared.upstream, &deciding, &unasked).await;
            unasked.set_estimate(&found);
        }
        unasked.in_burst(occasion.burst);
        if which == Try::Second {
            unasked.as_second_try();
        }
        let asked = unasked.ask().await;
        let held = deciding.gate().lock().await.hold(asked).await?;
        // from here on a client that went away meanwhile is noticed too
        Ok(Decided::Held(Waiting { held: Some(held), session: deciding, tasks }))
    });
    match decided.await?? {
        Decided::Permit(permit) => Ok(permit),
        Decided::Held(waiting) => wait(connection, session, waiting, which).await,
    }
}

/// What may run, now or later.
enum Decided {
    Permit(Permit),
    Held(Waiting),
}

/// Runs a step of the gate to its end, even if nobody waits for it any more.
pub(crate) async fn settle<T: Send + 'static>(
    tasks: &TaskTracker,
    step: impl Future<Output = T> + Send + 'static,
) -> Result<T, Failure> {
    tasks.spawn(step).await.map_err(|error| {
        tracing::error!(%error, "a step of the gate did not end");
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "the command could not be decided")
    })
}

async fn wait(
    connection: &Connection,
    session: &Arc<Session>,
    mut waiting: Waiting,
    which: Try,
) -> Result<Permit, Failure> {
    let Some(held) = waiting.held.as_mut() else { return Err(over(session)) };
    let Shared { options, waited, .. } = &*connection.shared;
    let has_waited = which == Try::Second && held.is_claimable() && waited.take(held.name());
    let limit = if has_waited {
        AGAIN
    } else if held.is_claimable() {
        options.limits.hold_wait
    } else {
        held.timeout().saturating_add(EXPIRY)
    };
    let outcome = tokio::select! {
        outcome = held.outcome() => outcome,
        () = tokio::time::sleep(limit) => {
            if which == Try::First {
                waited.note(waiting.name());
            }
            return Err(waiting.come_back());
        }
        () = session.ended().cancelled() => return Err(over(session)),
        () = options.drain.cancelled() => return Err(waiting.come_back()),
    };
    let Some(held) = waiting.held.take() else { return Err(over(session)) };
    let resuming = Arc::clone(session);
    let resumed =
        settle(&connection.streams, async move { resuming.gate().lock().await.resume(held, outcome).await });
    Ok(resumed.await??)
}

fn over(session: &Session) -> Failure {
    session.reason()
}

/// A held command. Dropped with it inside, it is given up.
struct Waiting {
    held: Option<Held>,
    session: Arc<Session>,
    tasks: TaskTracker,
}

impl Waiting {
    fn name(&self) -> &str {
        self.held.as_ref().map_or("", Held::name)
    }

    /// What the client is told when it has waited long enough.
    fn come_back(&self) -> Failure {
        let Some(held) = &self.held else { return over(&self.session) };
        let (name, notice) = (held.name(), held.notice());
        let refusal = |message, hint| Refusal { kind: RefusalKind::Withdrawn, rule: None, message, hint };
        if held.is_claimable() {
            let hint = format!("{}; then repeat the command", notice.hint);
            return Failure::from(refusal(notice.message, hint)).awaiting(name).after(RETRY_AFTER);
        }
        let message = format!("approval {name} is withdrawn: this gateway waits for it no longer");
        Failure::from(refusal(message, "send the command again to ask anew".to_owned()))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else { return };
        let session = Arc::clone(&self.session);
        self.tasks.spawn(async move {
            session.gate().lock().await.withdraw(held, "the client does not wait any longer").await;
        });
    }
}

/// How long past its time an approval that is not claimable may take to be known as expired.
const EXPIRY: Duration = Duration::from_secs(5);
/// How long a second try waits where the first has waited already.
const AGAIN: Duration = Duration::from_secs(1);
/// When a client that was told to repeat its request should do so.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Most characters of what a client calls its invocation: more than a UUID has.
const INVOCATION: usize = 64;
