//! A command's way through the gate, and what its client is told meanwhile.
//!
//! HTTP has no words before the status line that clients read, so a held request hangs, and not for long: client
//! libraries and load balancers give up after a minute. After [`Limits::hold_wait`](crate::options::Limits) the client
//! is told to repeat the request, which then claims the approval (docs/adr/0019). A client that goes away before it was
//! told so withdraws what it asked, unless the rule's `onDisconnect` is `Claimable`.
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
use proxy_core::approval::{ApprovalError, Outcome};
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
        unasked.as_repeatable();
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
    let has_waited = which == Try::Second && waited.take(held.name());
    let limit = if has_waited { AGAIN } else { options.limits.hold_wait };
    let outcome = tokio::select! {
        outcome = held.outcome() => Some(outcome),
        () = tokio::time::sleep(limit) => stopped(held).await,
        () = session.ended().cancelled() => return Err(over(session)),
        // another gateway, or the next one, takes the repetition
        () = options.drain.cancelled() => stopped(held).await,
    };
    let Some(outcome) = outcome else {
        if which == Try::First {
            waited.note(held.name());
        }
        return Err(waiting.come_back().await);
    };
    let Some(held) = waiting.held.take() else { return Err(over(session)) };
    let resuming = Arc::clone(session);
    let resumed =
        settle(&connection.streams, async move { resuming.gate().lock().await.resume(held, outcome).await });
    Ok(resumed.await??)
}

/// The end of a claim that has begun: told to come back now, the client would find its approval used up.
async fn stopped(held: &mut Held) -> Option<Result<Outcome, ApprovalError>> {
    tokio::time::timeout(CLAIM, held.stop()).await.ok().flatten()
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
    /// What the client is told when it has waited long enough. The request stays open for it.
    async fn come_back(mut self) -> Failure {
        let Some(held) = self.held.take() else { return over(&self.session) };
        let notice = held.notice();
        let hint = format!("{}; repeat the command once it is approved", notice.hint);
        let refusal = Refusal { kind: RefusalKind::Withdrawn, rule: None, message: notice.message, hint };
        let failure = Failure::from(refusal).awaiting(held.name()).after(RETRY_AFTER);
        let session = Arc::clone(&self.session);
        let left = settle(&self.tasks, async move { session.gate().lock().await.leave(held).await });
        left.await.err().unwrap_or(failure)
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

/// How long a claim may take beyond the time that its client waits.
const CLAIM: Duration = Duration::from_secs(3);
/// How long a second try waits where the first has waited already.
const AGAIN: Duration = Duration::from_secs(1);
/// When a client that was told to repeat its request should do so.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Most characters of what a client calls its invocation: more than a UUID has.
const INVOCATION: usize = 64;
