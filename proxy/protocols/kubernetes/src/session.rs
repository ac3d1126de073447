//! A session: one connection, one token. Its requests run side by side, its gate takes them one after the other.

use crate::agent::Agent;
use crate::mask::Masks;
use crate::options::Options;
use crate::running::{Commands, Running};
use crate::status::Failure;
use http::{HeaderMap, StatusCode, header};
use proxy_core::authn::Verified;
use proxy_core::gate::Gate;
use proxy_core::refusal::Refusal;
use proxy_core::session::{self, ResourceContext};
use proxy_policy::{Access, Command, Detail, Effects, Identity, Reading, Touch};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// A session. Requests, streams and the task that looks after it share it.
#[derive(Debug)]
pub(crate) struct Session {
    gate: Mutex<Gate>,
    resource: Arc<ResourceContext>,
    agent: Agent,
    identity: Arc<Identity>,
    running: Commands,
    ended: CancellationToken,
    why: OnceLock<Refusal>,
}

/// Who connects, and how.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// How the transport is protected.
    pub(crate) transport: String,
}

impl Session {
    /// Opens the gate for a verified identity.
    ///
    /// # Errors
    /// It may not open a session here.
    pub(crate) async fn open(
        verified: Verified,
        resource: Arc<ResourceContext>,
        options: &Options,
        peer: &Peer,
        headers: &HeaderMap,
    ) -> Result<Self, Failure> {
        let id = uuid::Uuid::now_v7().to_string();
        let identity = Arc::clone(verified.identity());
        let agent = Agent::new(&identity, &options.naming, &id)?;
        let connect = connect_command(&resource.name, agent.user());
        let session = session::Session {
            id,
            identity: verified,
            role: agent.user().to_owned(),
            namespace: String::new(),
            client: peer.address,
            client_name: client_name(headers),
            transport: peer.transport.clone(),
        };
        let gate = Gate::open(session, Arc::clone(&resource), connect).await.map_err(Failure::from)?;
        let ended = options.stop.child_token();
        let (gate, running) = (Mutex::new(gate), Commands::default());
        Ok(Self { gate, resource, agent, identity, running, ended, why: OnceLock::new() })
    }

    /// The gate. Not to be held while anybody is waited for but the recorder.
    pub(crate) const fn gate(&self) -> &Mutex<Gate> {
        &self.gate
    }

    pub(crate) const fn resource(&self) -> &Arc<ResourceContext> {
        &self.resource
    }

    pub(crate) const fn agent(&self) -> &Agent {
        &self.agent
    }

    pub(crate) const fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// What is masked for the identity, by the policies of now.
    pub(crate) async fn masks(&self) -> Masks {
        self.masks_of(&*self.gate.lock().await)
    }

    fn masks_of(&self, gate: &Gate) -> Masks {
        let fields = self.resource.policies.load().fields(&self.identity);
        Masks::new(gate.masker().clone(), &fields)
    }

    /// A command begins that goes on until it is over, with masks of now.
    pub(crate) fn begin(&self, command: Arc<Command>, masks: Masks) -> Arc<Running> {
        self.running.begin(command, masks, &self.ended)
    }

    /// Fires when the session may not go on, or the gateway stops.
    pub(crate) const fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Why the session ended, for its streams.
    pub(crate) fn reason(&self) -> Failure {
        match self.why.get() {
            Some(refusal) => Failure::from(refusal.clone()),
            None => Failure::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
                "the gateway stops; connect again",
            ),
        }
    }

    /// Looks after the session until `closed`: ends it when its token expires or its identity loses access, and what it
    /// runs when the policies no longer let that go on.
    ///
    /// Cancel safe.
    pub(crate) async fn look_after(&self, closed: &CancellationToken) {
        let mut watch = self.gate.lock().await.watch();
        loop {
            tokio::select! {
                () = closed.cancelled() => return,
                () = self.ended.cancelled() => return,
                () = watch.due() => {}
            }
            let mut gate = self.gate.lock().await;
            if let Some(refusal) = gate.look() {
                // the first reason stays
                self.why.get_or_init(|| refusal);
                self.ended.cancel();
                return;
            }
            let masks = self.masks_of(&gate);
            self.running.judge(&mut gate, &masks);
        }
    }

    /// Records the end.
    pub(crate) async fn close(self, reason: &'static str) {
        let reason = match self.why.get() {
            Some(_) => "the session may not go on",
            None => reason,
        };
        self.gate.into_inner().close(reason).await;
    }
}

/// Opening a session, as policies see it.
fn connect_command(resource: &str, user: &str) -> Arc<Command> {
    let touch = Touch {
        effect: "Connect",
        object: "cluster",
        name: resource.to_owned(),
        access: Access::Read,
        unbounded: false,
        detail: Detail::None,
    };
    Arc::new(Command {
        text: "".into(),
        canonical: format!("connect {resource}"),
        role: user.into(),
        namespace: "".into(),
        binding: Vec::new(),
        reading: Reading::new("connect", "", Effects::Known(vec![touch])).into(),
    })
}

fn client_name(headers: &HeaderMap) -> String {
    let name = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    name.chars().take(CLIENT_NAME).collect()
}

/// Most characters of a client's own name.
const CLIENT_NAME: usize = 128;
