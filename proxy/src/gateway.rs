//! The Resources that are listened for, and how a new configuration becomes the one in force.
//!
//! [`Gateway::apply`] first prepares everything that can fail (logs are opened, ports are bound, protocols check
//! their settings), then commits all of it. So a configuration is in force whole or not at all, and live sessions
//! notice nothing but what concerns them:
//!
//! * policies are swapped in place: live sessions see them with their next command, and end if they lost access
//! * credentials, certificates, issuers and limits are used by new sessions
//! * another port: a new listener; the old one closes, its sessions go on
//! * a Resource that is gone: its listener closes and its sessions end

mod accounts;
mod archives;
mod copies;
mod followers;
mod live;
mod log;
mod retention;
mod room;
mod witnesses;

pub use accounts::Accounts;
pub use live::{Current, Live, Place};
pub use log::LogOptions;
pub use room::{Shortages, obstacle};

use crate::admin::Listening;
use crate::config::{Config, Problem, Problems, ResourceConfig, ResourceKey};
use crate::metrics::ProcessMetrics;
use crate::protocols::{Service, Settings};
use crate::serve::{self, Admission};
use crate::state::State;
use crate::threads::Threads;
use proxy_audit::archive::ArchiveOptions;
use proxy_audit::export::ExportOptions;
use proxy_audit::witness::WitnessOptions;
use proxy_core::approval::Approvals;
use proxy_core::contact::Contact;
use proxy_core::metrics::Metrics;
use proxy_core::session::ResourceContext;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// What all Resources of a gateway share.
#[derive(Debug)]
pub struct Shared {
    /// The state directory.
    pub state: State,
    /// Address that gateway ports listen on.
    pub listen_address: IpAddr,
    /// How logs are kept.
    pub log: LogOptions,
    /// Where copies of the logs go, if anywhere.
    pub export: Option<ExportOptions>,
    /// Where the logs are delivered as they are, if anywhere.
    pub archive: Option<ArchiveOptions>,
    /// Who witnesses the logs.
    pub witnesses: WitnessOptions,
    /// Holds commands.
    pub approvals: Arc<dyn Approvals>,
    /// How long ago the policies were last known to be the newest.
    pub contact: Contact,
    /// What sessions count.
    pub metrics: Metrics,
    /// What the process counts.
    pub process: ProcessMetrics,
    /// Who may connect without a session.
    pub admission: Admission,
    /// What sessions run on.
    pub threads: Threads,
}

/// The Resources in force.
#[derive(Debug)]
pub struct Gateway {
    shared: Arc<Shared>,
    running: BTreeMap<ResourceKey, Running>,
    draining: BTreeMap<ResourceKey, Arc<Live>>,
    leaving: tokio_util::task::TaskTracker,
    accounts: watch::Sender<Accounts>,
    shortages: watch::Sender<Shortages>,
    log_failed: CancellationToken,
}

#[derive(Debug)]
struct Running {
    live: Arc<Live>,
    configured_port: u16,
    address: SocketAddr,
    listening: CancellationToken,
    /// Held, not read: dropping them ends them.
    _looking: [AbortOnDropHandle<()>; 2],
}

/// Everything of one Resource that could have failed.
struct Prepared {
    live: Arc<Live>,
    current: Current,
    config: ResourceConfig,
    listener: Option<(TcpListener, SocketAddr)>,
}

impl Gateway {
    /// A gateway that listens for nothing yet.
    pub fn new(shared: Shared) -> Self {
        Self {
            shared: Arc::new(shared),
            running: BTreeMap::new(),
            draining: BTreeMap::new(),
            leaving: tokio_util::task::TaskTracker::new(),
            accounts: watch::Sender::default(),
            shortages: watch::Sender::default(),
            log_failed: CancellationToken::new(),
        }
    }

    /// Fires when the disk of a log has failed: that log takes no record any more, and this process begins no other for
    /// its Resource.
    pub fn log_failed(&self) -> CancellationToken {
        self.log_failed.clone()
    }

    /// Takes a configuration over.
    ///
    /// Not cancel safe: part of it may be in force.
    ///
    /// # Errors
    /// A port, a log or a protocol's settings cannot be used. Then everything is as before.
    pub async fn apply(&mut self, config: Config) -> Result<(), Problems> {
        let mut prepared = Vec::new();
        let mut problems = Vec::new();
        for (key, resource) in config.resources {
            match self.prepare(&key, resource).await {
                Ok(resource) => prepared.push((key, resource)),
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            for (key, resource) in prepared {
                if !self.running.contains_key(&key) {
                    resource.live.close().await;
                }
            }
            return Err(Problems::new(problems));
        }
        let gone: Vec<ResourceKey> = self
            .running
            .keys()
            .filter(|key| !prepared.iter().any(|(kept, _)| kept == *key))
            .cloned()
            .collect();
        for (key, resource) in prepared {
            self.commit(key, resource);
        }
        for key in gone {
            self.remove(&key);
        }
        self.shared.process.resources.set(i64::try_from(self.running.len()).unwrap_or(i64::MAX));
        Ok(())
    }

    /// What upstreams say of the gateway's own accounts with them.
    pub fn accounts(&self) -> watch::Receiver<Accounts> {
        self.accounts.subscribe()
    }

    /// Where nothing can be recorded for want of room.
    pub fn shortages(&self) -> watch::Receiver<Shortages> {
        self.shortages.subscribe()
    }

    /// What is listened for.
    pub fn listening(&self) -> Vec<Listening> {
        let listening = self.running.iter().map(|(key, running)| Listening {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            protocol: running.live.protocol(),
            address: running.address.to_string(),
            policies: running.live.policies().digest().to_owned(),
            log: running.live.log().display().to_string(),
        });
        listening.collect()
    }

    /// Accepts no more connections. Each Resource's sessions get its drain time; then they are ended and its log is
    /// closed. [`Gateway::over`] waits for that.
    pub fn drain(&mut self, hurry: &CancellationToken) {
        let running = std::mem::take(&mut self.running);
        for resource in running.values() {
            resource.listening.cancel();
        }
        for (key, resource) in running {
            let hurry = hurry.clone();
            self.draining.insert(key.clone(), Arc::clone(&resource.live));
            self.leaving.spawn(async move {
                let patience = resource.live.drain();
                tokio::select! {
                    () = resource.live.over() => {}
                    () = tokio::time::sleep(patience) => {
                        tracing::warn!(resource = %key, seconds = patience.as_secs(), "drain time is over: ending sessions");
                    }
                    () = hurry.cancelled() => {}
                }
                resource.live.end().await;
            });
        }
        self.leaving.close();
    }

    /// Puts the policies of a configuration in force for the sessions that are still draining, and nothing else of it.
    pub fn update_draining(&self, config: &Config) {
        for (key, live) in &self.draining {
            if let Some(resource) = config.resources.get(key) {
                live.update_policies(Arc::clone(&resource.policies));
            }
        }
    }

    /// Waits until all sessions are over and all logs closed, after [`Gateway::drain`].
    ///
    /// Cancel safe.
    pub async fn over(&self) {
        self.leaving.wait().await;
    }

    async fn prepare(&self, key: &ResourceKey, config: ResourceConfig) -> Result<Prepared, Problem> {
        let running = self.running.get(key);
        let listener = match running {
            Some(running) if running.configured_port == config.port => None,
            _ => Some(self.bind(&config).await?),
        };
        let live = match running {
            Some(running) => Arc::clone(&running.live),
            None => self.create(key, &config).await?,
        };
        let settings = Settings {
            config: &config,
            resource: self.context(key, &config, &live),
            draining: live.draining(),
            ending: live.ending(),
        };
        let service = Service::new(settings, live.service().as_deref())
            .map_err(|unusable| config.place.problem(unusable.path, unusable.message));
        let service = match service {
            Ok(service) => service,
            Err(problem) => {
                if running.is_none() {
                    live.close().await;
                }
                return Err(problem);
            }
        };
        let current = Current {
            service: Arc::new(service),
            max_sessions: config.max_sessions,
            drain: config.drain,
            retention: config.retention,
            auditors: config.auditors.clone(),
        };
        Ok(Prepared { live, current, config, listener })
    }

    async fn bind(&self, config: &ResourceConfig) -> Result<(TcpListener, SocketAddr), Problem> {
        let wanted = SocketAddr::new(self.shared.listen_address, config.port);
        let bound = async {
            let listener = TcpListener::bind(wanted).await?;
            let address = listener.local_addr()?;
            Ok::<_, std::io::Error>((listener, address))
        };
        bound.await.map_err(|error| {
            config
                .place
                .problem("spec.gateway.service.port", format!("expected to listen on {wanted}: {error}"))
        })
    }

    async fn create(&self, key: &ResourceKey, config: &ResourceConfig) -> Result<Arc<Live>, Problem> {
        let spool = log::open(&self.shared.log, &self.shared.state, key)
            .await
            .map_err(|message| config.place.problem("", message))?;
        let live = Live::new(key.clone(), spool, Arc::clone(&config.policies));
        let started = live.follow(&self.shared);
        started.map_err(|message| config.place.problem("", message))?;
        let (log, failed) = (live.spool().clone(), self.log_failed.clone());
        tokio::spawn(async move {
            if log.failed().await {
                failed.cancel();
            }
        });
        Ok(Arc::new(live))
    }

    fn context(&self, key: &ResourceKey, config: &ResourceConfig, live: &Live) -> Arc<ResourceContext> {
        Arc::new(ResourceContext {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            protocol: crate::protocols::name(&config.upstream),
            wording: crate::protocols::wording(&config.upstream),
            policies: live.shared_policies(),
            changes: live.changes(),
            contact: self.shared.contact.clone(),
            spool: live.spool().clone(),
            approvals: Arc::clone(&self.shared.approvals),
            recording: config.recording,
            tenant_key: self.shared.state.tenant_key().clone(),
            metrics: self.shared.metrics.clone(),
            instance: self.shared.state.instance().to_owned(),
        })
    }

    fn commit(&mut self, key: ResourceKey, prepared: Prepared) {
        let Prepared { live, current, config, listener } = prepared;
        live.update(current, Arc::clone(&config.policies));
        let Some((listener, address)) = listener else {
            return;
        };
        tracing::info!(resource = %key, %address, "listening");
        let listening = CancellationToken::new();
        self.leaving.spawn(serve::accept(
            listener,
            Arc::clone(&live),
            Arc::clone(&self.shared),
            listening.clone(),
        ));
        let asking = tokio::spawn(accounts::ask(Arc::downgrade(&live), self.accounts.clone()));
        let metrics = self.shared.process.clone();
        let room = tokio::spawn(room::watch(Arc::downgrade(&live), self.shortages.clone(), metrics));
        let running = Running {
            live,
            configured_port: config.port,
            address,
            listening,
            _looking: [asking, room].map(AbortOnDropHandle::new),
        };
        if let Some(before) = self.running.insert(key, running) {
            before.listening.cancel();
        }
    }

    fn remove(&mut self, key: &ResourceKey) {
        let Some(running) = self.running.remove(key) else {
            return;
        };
        self.accounts.send_if_modified(|known| known.remove(key).is_some());
        self.shortages.send_if_modified(|known| known.remove(key).is_some());
        tracing::info!(resource = %key, address = %running.address, "no longer configured: ending its sessions");
        running.listening.cancel();
        self.leaving.spawn(async move {
            running.live.end().await;
        });
    }
}

/// Longest time that a session may take to tell its client and its log that it is over.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(5);
