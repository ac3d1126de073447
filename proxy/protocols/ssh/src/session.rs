//! What the channels of one connection share: its gate, its hosts, and its end.

mod listeners;

pub(crate) use listeners::On;

use crate::acts;
use crate::certificate::Authority;
use crate::display::{Display, Greeting};
use crate::flow::Flow;
use crate::options::Options;
use crate::place::Place;
use crate::refusals::{refusal, sentence};
use crate::relay::forward::Lent;
use crate::upstream::Upstreams;
use listeners::Listener;
use proxy_core::authn::BearerToken;
use proxy_core::gate::{Asked, Decision, End, Gate, Held, Judged, Permit, Standing, Watch};
use proxy_core::refusal::{Refusal, RefusalKind};
use proxy_core::session::ResourceContext;
use proxy_policy::{Command, Identity};
use russh::ChannelId;
use russh::server::Handle;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// One authenticated connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) options: Arc<Options>,
    pub(crate) place: Place,
    pub(crate) resource: Arc<ResourceContext>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) purpose: Purpose,
    /// Cancelled when no channel may go on; then `why` is set, unless the client went away.
    pub(crate) ended: CancellationToken,
    /// The tasks of its channels.
    pub(crate) tasks: TaskTracker,
    /// The gate, until the session is closed.
    gate: Mutex<Option<Gate>>,
    why: OnceLock<Refusal>,
    /// The client's side, once it is known.
    handle: OnceLock<Handle>,
    /// A channel has ended.
    pub(crate) fewer: Notify,
    /// How much the client may send.
    pub(crate) flow: Arc<Flow>,
    wishes: StdMutex<HashMap<ChannelId, Wishes>>,
    /// The host may open channels to the client's agent.
    pub(crate) agent: AtomicBool,
    /// Displays that the host may open channels to.
    displays: StdMutex<Vec<Display>>,
    /// Ports and sockets that the host listens on for the client.
    listeners: StdMutex<Vec<Listener>>,
}

/// What a session is for.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// To work on a host.
    Work(Box<Upstreams>),
    /// To trade the token for a certificate.
    Trade(Trade),
}

/// What a certificate is made of.
#[derive(Debug)]
pub(crate) struct Trade {
    pub(crate) authority: Arc<Authority>,
    pub(crate) token: BearerToken,
    /// When it will have expired.
    pub(crate) until: jiff::Timestamp,
}

/// What a client wants for what it will start on a channel, as far as it was allowed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wishes {
    /// What the channel is for was asked: what is decided about it stays as it is, and nothing more is wished for.
    begun: bool,
    /// Variables, in order.
    pub(crate) environment: Vec<(String, String)>,
    /// Its agent is lent.
    pub(crate) agent: bool,
    /// Its display is lent.
    pub(crate) display: Option<Display>,
}

impl Session {
    pub(crate) fn new(options: Arc<Options>, gate: Gate, place: Place, purpose: Purpose) -> Self {
        Self {
            options,
            place,
            resource: Arc::clone(gate.resource()),
            identity: Arc::clone(gate.session().identity.identity()),
            purpose,
            ended: CancellationToken::new(),
            tasks: TaskTracker::new(),
            gate: Mutex::new(Some(gate)),
            why: OnceLock::new(),
            handle: OnceLock::new(),
            fewer: Notify::new(),
            flow: Arc::default(),
            wishes: StdMutex::default(),
            agent: AtomicBool::new(false),
            displays: StdMutex::default(),
            listeners: StdMutex::default(),
        }
    }

    /// As [`Gate::decide`], but while people are asked other channels have the gate. Not cancel safe.
    pub(crate) async fn decide(&self, command: Arc<Command>) -> Decision {
        let judged = match self.gate.lock().await.as_mut() {
            Some(gate) => gate.judge(command, Standing::Alone).await,
            None => Judged::Refused(self.reason()),
        };
        let unasked = match judged {
            Judged::Permit(permit) => return Decision::Permit(permit),
            Judged::Refused(refusal) => return Decision::Refused(refusal),
            Judged::Unasked(unasked) => unasked,
        };
        let held = self.hold(unasked.ask().await).await;
        held.map_or_else(Decision::Refused, |held| Decision::Held(Box::new(held)))
    }

    async fn hold(&self, asked: Asked) -> Result<Held, Refusal> {
        match self.gate.lock().await.as_mut() {
            Some(gate) => gate.hold(asked).await,
            None => Err(self.reason()),
        }
    }

    /// Judges what cannot be held, for whoever asks has to be answered at once. Not cancel safe.
    ///
    /// # Errors
    /// It is denied, or held.
    pub(crate) async fn decide_now(&self, command: Command) -> Result<Permit, Refusal> {
        let mut gate = self.gate.lock().await;
        let gate = gate.as_mut().ok_or_else(|| self.reason())?;
        match gate.judge(Arc::new(command), Standing::Alone).await {
            Judged::Permit(permit) => Ok(permit),
            Judged::Refused(refusal) => Err(refusal),
            Judged::Unasked(unasked) => {
                let why = refusal(
                    RefusalKind::Denied,
                    "this cannot be held for approval: whoever asks for it has to be answered at once",
                    "ask the policy's author to allow or deny it",
                );
                Err(gate.decline(*unasked, why).await)
            }
        }
    }

    /// As [`Gate::would_deny`]: to choose among forms of which one is then asked for.
    pub(crate) async fn would_deny(&self, command: &Command) -> bool {
        self.gate.lock().await.as_mut().is_none_or(|gate| gate.would_deny(command))
    }

    /// As [`Gate::resume`]. Not cancel safe.
    pub(crate) async fn resume(
        &self,
        held: Held,
        outcome: Result<proxy_core::approval::Outcome, proxy_core::approval::ApprovalError>,
    ) -> Result<Permit, Refusal> {
        match self.gate.lock().await.as_mut() {
            Some(gate) => gate.resume(held, outcome).await,
            None => Err(self.reason()),
        }
    }

    /// As [`Gate::withdraw`].
    pub(crate) async fn withdraw(&self, held: Held, reason: &str) {
        if let Some(gate) = self.gate.lock().await.as_mut() {
            gate.withdraw(held, reason).await;
        }
    }

    /// Records a part of a result, and, when `release`, all that was recorded before: then the client may get it.
    pub(crate) async fn record(
        &self,
        permit: &mut Permit,
        bytes: &[u8],
        release: bool,
    ) -> Result<(), Refusal> {
        let mut gate = self.gate.lock().await;
        let gate = gate.as_mut().ok_or_else(|| self.reason())?;
        gate.record(permit, bytes)?;
        if release { gate.before_release(permit) } else { Ok(()) }
    }

    /// As [`Gate::finish`].
    pub(crate) async fn finish(&self, permit: Permit, end: End) -> Result<(), Refusal> {
        match self.gate.lock().await.as_mut() {
            Some(gate) => gate.finish(permit, end).await,
            None => Err(self.reason()),
        }
    }

    /// Decides about a variable; it is kept for what the channel starts if it is allowed. Not cancel safe.
    pub(crate) async fn environment(&self, channel: ChannelId, (name, value): (&str, &str)) -> bool {
        let fits = name.len().saturating_add(value.len()) <= VARIABLE_BYTES;
        let allowed = fits
            && !self.has_begun(channel)
            && (is_locale(name, value)
                || self.run_now(acts::environment(&self.place, name, value)).await.is_ok());
        allowed
            && self
                .wish(channel, |wishes| {
                    let room = wishes.environment.len() < VARIABLES;
                    if room {
                        wishes.environment.push((name.to_owned(), value.to_owned()));
                    }
                    room
                })
                .unwrap_or(false)
    }

    /// Decides about something that has no result of its own. Not cancel safe.
    ///
    /// # Errors
    /// It is not allowed.
    pub(crate) async fn run_now(&self, command: Command) -> Result<(), Refusal> {
        let permit = self.decide_now(command).await?;
        self.finish(permit, End::ok(0)).await
    }

    /// Changes what is wished for on a channel. `None`: it is too late for that.
    pub(crate) fn wish<T>(&self, channel: ChannelId, change: impl FnOnce(&mut Wishes) -> T) -> Option<T> {
        let mut wishes = self.wishes();
        let wishes = wishes.entry(channel).or_default();
        (!wishes.begun).then(|| change(wishes))
    }

    /// What a channel is for is asked now. `false`: it was asked before.
    pub(crate) fn begin(&self, channel: ChannelId) -> bool {
        self.wish(channel, |wishes| wishes.begun = true).is_some()
    }

    /// What a channel is for was asked.
    pub(crate) fn has_begun(&self, channel: ChannelId) -> bool {
        self.wishes().get(&channel).is_some_and(|wishes| wishes.begun)
    }

    /// Takes what is wished for on a channel; nothing is from here on.
    pub(crate) fn take_wishes(&self, channel: ChannelId) -> Wishes {
        self.wishes().insert(channel, Wishes { begun: true, ..Wishes::default() }).unwrap_or_default()
    }

    /// The channel has ended.
    pub(crate) fn forget_wishes(&self, channel: ChannelId) {
        self.wishes().remove(&channel);
    }

    fn wishes(&self) -> std::sync::MutexGuard<'_, HashMap<ChannelId, Wishes>> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves the connection to its end, which is on record when this returns.
    ///
    /// Not cancel safe.
    pub(crate) async fn attend<E>(
        &self,
        mut running: impl Future<Output = E> + Unpin + Send,
        handle: Handle,
        cut: &CancellationToken,
    ) {
        let told = self.handle.set(handle.clone()).is_ok();
        debug_assert!(told, "a session is attended once");
        let reason = self.watch(&mut running).await;
        let busy = !self.tasks.is_empty();
        self.ended.cancel();
        self.tasks.close();
        if tokio::time::timeout(WIND_UP, self.tasks.wait()).await.is_err() {
            tracing::warn!(resource = self.resource.name, "channels did not end in time");
        }
        if let Some(why) = self.why.get()
            // Who was told how a command ended leaves by itself, and would forget it if told to go at once.
            && !(busy && tokio::time::timeout(PARTING, &mut running).await.is_ok())
        {
            let reason = russh::Disconnect::ByApplication;
            if handle.disconnect(reason, sentence(why), String::new()).await.is_ok() {
                tokio::time::timeout(FAREWELL, running).await.map(drop).unwrap_or_default();
            }
        }
        cut.cancel();
        if let Purpose::Work(upstreams) = &self.purpose {
            upstreams.close().await;
        }
        self.close_listeners().await;
        if let Some(gate) = self.gate.lock().await.take() {
            gate.close(reason).await;
        }
    }

    /// Waits until the session is over, and says why.
    async fn watch(&self, running: &mut (impl Future + Unpin)) -> &'static str {
        let Some(mut watch) = self.gate_watch().await else { return "closed" };
        loop {
            let draining = self.options.drain.is_cancelled();
            tokio::select! {
                _ = &mut *running => return "client left",
                () = watch.due() => {
                    let refused = self.gate.lock().await.as_mut().and_then(Gate::look);
                    if let Some(refusal) = refused {
                        return self.end(refusal, "not valid any more");
                    }
                }
                () = self.options.stop.cancelled() => return self.end(stopping(), "gateway stopping"),
                () = self.options.drain.cancelled(), if !draining => {}
                () = self.idle(), if draining => {
                    // Who has what it came for leaves by itself. Told to go in the same breath, OpenSSH forgets the exit
                    // status that it was given and says 255.
                    if tokio::time::timeout(PARTING, &mut *running).await.is_ok() {
                        return "client left";
                    }
                    return self.end(stopping(), "gateway stopping");
                }
            }
        }
    }

    /// Waits until no channel is open.
    async fn idle(&self) {
        loop {
            let fewer = self.fewer.notified();
            if self.tasks.is_empty() {
                return;
            }
            tokio::select! {
                () = fewer => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }

    async fn gate_watch(&self) -> Option<Watch> {
        self.gate.lock().await.as_ref().map(Gate::watch)
    }

    fn end(&self, why: Refusal, reason: &'static str) -> &'static str {
        // The first reason is the one that is told.
        self.why.set(why).unwrap_or_default();
        reason
    }

    /// Why the session has ended.
    pub(crate) fn reason(&self) -> Refusal {
        self.why.get().cloned().unwrap_or_else(|| Refusal::ended("the session has ended"))
    }

    /// Whether the client has lent this.
    pub(crate) fn lends(&self, lent: &Lent) -> bool {
        match lent {
            Lent::Agent => self.agent.load(Ordering::Relaxed),
            Lent::Display(_) => !self.displays().is_empty(),
            Lent::Port { .. } | Lent::Socket(_) => self.listens(lent),
        }
    }

    /// Lends a display to what a channel starts. `false`: there are too many, or it is too late.
    pub(crate) fn lend_display(&self, channel: ChannelId, display: Display) -> bool {
        let mut displays = self.displays();
        let lent = displays.len() < DISPLAYS
            && self.wish(channel, |wishes| wishes.display = Some(display.clone())).is_some();
        if lent {
            displays.push(display);
        }
        lent
    }

    /// Whether a display is lent to whoever greets like this.
    pub(crate) fn admits(&self, greeting: &Greeting) -> bool {
        self.displays().iter().any(|display| display.admits(greeting))
    }

    fn displays(&self) -> std::sync::MutexGuard<'_, Vec<Display>> {
        self.displays.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client's side.
    pub(crate) fn client(&self) -> Option<&Handle> {
        self.handle.get()
    }
}

fn stopping() -> Refusal {
    Refusal::ended("the gateway is stopping")
}

/// Variables that say which language to speak, with values that say nothing else: OpenSSH's clients send them with
/// every session (`SendEnv LANG LC_*`), and a refusal of each would bury those that matter.
pub(crate) fn is_locale(name: &str, value: &str) -> bool {
    const NAMES: [&str; 14] = [
        "LANG",
        "LANGUAGE",
        "LC_ALL",
        "LC_CTYPE",
        "LC_NUMERIC",
        "LC_TIME",
        "LC_COLLATE",
        "LC_MONETARY",
        "LC_MESSAGES",
        "LC_PAPER",
        "LC_NAME",
        "LC_ADDRESS",
        "LC_TELEPHONE",
        "LC_MEASUREMENT",
    ];
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.@-:".contains(&byte);
    (NAMES.contains(&name) || name == "LC_IDENTIFICATION")
        && value.len() <= 64
        && !value.starts_with('-')
        && value.bytes().all(plain)
}

/// Longest name and value of a variable together, in bytes.
const VARIABLE_BYTES: usize = 32 << 10;
/// Most displays that a session lends: its clients ask once for each channel.
const DISPLAYS: usize = 1024;
/// Most variables of a channel.
const VARIABLES: usize = 128;
/// Time that channels have for recording their end.
const WIND_UP: Duration = Duration::from_secs(10);
/// Time that a client has for hanging up when it is told to.
const FAREWELL: Duration = Duration::from_secs(2);
/// Time that a client has for leaving by itself before it is told to go, once its last channel has ended.
const PARTING: Duration = Duration::from_secs(1);
/// How often an ending session looks whether it is idle, beside being told.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
