//! The life of the process: load, listen, take changes over, drain.

use crate::admin::{self, Status};
use crate::args::Args;
use crate::config::{Problem, Problems};
use crate::control::{Offer, Source};
use crate::gateway::{self, Gateway, LogOptions, Shared};
use crate::metrics::{OutcomeLabels, ProcessMetrics};
use crate::serve::Admission;
use crate::state::{State, StateError};
use crate::threads::Threads;
use jiff::Timestamp;
use prometheus_client::registry::Registry;
use proxy_core::metrics::Metrics;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Why the gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration has problems; they are the message, one a line.
    #[error("configuration {from} cannot be used:\n{problems}")]
    Config {
        /// Where it is.
        from: String,
        /// All problems.
        problems: Problems,
    },
    /// The arguments name no source, or two.
    #[error("expected exactly one of --config and --resource")]
    Source,
    /// Nothing says how to reach the cluster, or not in a way that can be used.
    #[error("find the cluster of --resource: expected KUBECONFIG, ~/.kube/config or a pod's service account")]
    Cluster(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The state directory cannot be used.
    #[error("open state directory")]
    State(#[source] StateError),
    /// The admin endpoint cannot listen.
    #[error("listen on {address} for the admin endpoint")]
    Admin {
        /// Where.
        address: SocketAddr,
        /// Because of.
        #[source]
        source: std::io::Error,
    },
    /// Approval requests cannot be kept.
    #[error("open approval requests")]
    Approvals(#[source] proxy_core::approval::ApprovalError),
    /// Copies of the audit log cannot be sent as the arguments say.
    #[error("--otlp-endpoint, --otlp-headers: {0}")]
    Export(String),
    /// The audit log cannot be archived as the arguments say.
    #[error("--archive: {0}")]
    Archive(String),
    /// Witnesses cannot be asked as the arguments say.
    #[error("--witness-ca: {0}")]
    Witness(String),
    /// The threads for sessions cannot be started.
    #[error("start threads")]
    Threads(#[source] std::io::Error),
    /// The disk of an audit log failed while the gateway ran. Whoever supervises the gateway starts it again, which closes
    /// that log and begins the next.
    #[error("the disk of an audit log failed: see the log above, and start the gateway again")]
    LogFailed,
    /// Signals cannot be received, so the gateway could not be told to stop.
    #[error("receive signals")]
    Signals(#[source] std::io::Error),
}

/// Runs the gateway until it was told to stop and has drained.
///
/// Not cancel safe: sessions would be cut off.
///
/// # Errors
/// It could not start. Once it runs, it keeps the last good configuration.
pub async fn run(args: Args) -> Result<(), RunError> {
    let mut signals = Signals::new().map_err(RunError::Signals)?;
    let metrics = ProcessMetrics::default();
    let mut source = Source::open(&args, &metrics).await?;
    let mut obstacle = source.obstacle();
    let mut process = Process::start(&args, &mut source, metrics).await?;
    let mut accounts = process.gateway.accounts();
    let mut shortages = process.gateway.shortages();
    let (log_failed, hurry) = (process.gateway.log_failed(), CancellationToken::new());
    let outcome = loop {
        tokio::select! {
            () = signals.stop() => break Ok(()),
            () = log_failed.cancelled() => {
                // there is nothing that its sessions may still do
                hurry.cancel();
                break Err(RunError::LogFailed);
            }
            offer = source.next() => {
                let outcome = process.take_over(offer).await;
                source.settled(outcome.as_ref().copied());
                if let Err(problems) = outcome
                    && !process.is_loaded()
                    && source.must_start_well()
                {
                    return Err(RunError::Config { from: args.source.to_string(), problems });
                }
            }
            () = change(&mut obstacle) => {}
            () = change(&mut shortages) => {}
            () = change(&mut accounts) => source.accounts(&accounts.borrow_and_update()),
        }
        let obstacle = obstacle.borrow_and_update().clone();
        process.tell(obstacle.or_else(|| gateway::obstacle(&shortages.borrow_and_update())));
    };
    process.drain(&mut source, signals, hurry).await;
    source.finish().await;
    outcome
}

/// Waits for a change. Cancel safe. A source that never changes it may have dropped its end.
async fn change<T>(watched: &mut watch::Receiver<T>) {
    if watched.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

struct Process {
    gateway: Gateway,
    metrics: ProcessMetrics,
    status: watch::Sender<Status>,
    admin_stop: CancellationToken,
    admin: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Process {
    async fn start(args: &Args, source: &mut Source, process: ProcessMetrics) -> Result<Self, RunError> {
        let state = State::open(&args.state, args.tenant_key.as_deref()).map_err(RunError::State)?;
        let metrics = Metrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        process.register(&mut registry);

        let (status, seen) = watch::channel(Status::default());
        let admin_stop = CancellationToken::new();
        let admin = admin(args.admin_listen, registry, seen, admin_stop.clone()).await?;
        let export = args.export().map_err(RunError::Export)?;
        let archive = args.archive().map_err(RunError::Archive)?;
        let witnesses = args.witnesses().map_err(RunError::Witness)?;
        let approvals = source.start(&state).map_err(RunError::Approvals)?;
        let log = LogOptions {
            cluster: args.cluster.clone(),
            segment_bytes: args.spool_segment_bytes,
            max_bytes: args.spool_max_bytes,
        };
        tracing::info!(instance = state.instance(), state = %args.state.display(), source = %args.source, "starting");
        let gateway = Gateway::new(Shared {
            state,
            listen_address: args.listen_address,
            log,
            export,
            archive,
            witnesses,
            approvals,
            contact: source.contact(),
            metrics,
            process: process.clone(),
            admission: Admission::new(args.max_unauthenticated_per_address),
            threads: Threads::start(args.session_threads).map_err(RunError::Threads)?,
        });
        Ok(Self { gateway, metrics: process, status, admin_stop, admin })
    }

    /// Takes a configuration over; one that cannot be used changes nothing but what is said of it.
    async fn take_over(&mut self, offer: Offer) -> Result<(), Problems> {
        let Offer { digest, config, held_back } = offer;
        let outcome = match config {
            Ok(mut config) => {
                let warnings = std::mem::take(&mut config.warnings);
                self.gateway.apply(config).await.map(|()| warnings)
            }
            Err(problems) => Err(problems),
        };
        let outcome = match outcome {
            Ok(warnings) => {
                tracing::info!(digest, "configuration taken over");
                for warning in &warnings {
                    tracing::warn!(%warning, "configuration");
                }
                self.taken_over(digest, &warnings);
                Ok(())
            }
            Err(problems) => Err(problems),
        };
        self.count(&outcome, &held_back);
        outcome
    }

    fn taken_over(&self, digest: String, warnings: &[Problem]) {
        let now = Timestamp::now();
        self.metrics.last_reload_success_seconds.set(now.as_second());
        let listening = self.gateway.listening();
        self.status.send_modify(|status| {
            status.loaded_at = Some(now.to_string());
            status.digest = digest;
            status.warnings = warnings.iter().map(ToString::to_string).collect();
            status.resources = listening;
        });
    }

    /// Says and counts what is not in force though it was written.
    fn count(&self, outcome: &Result<(), Problems>, held_back: &[Problem]) {
        let problems: Vec<&Problem> = match outcome {
            Ok(()) => held_back.iter().collect(),
            Err(problems) => problems.0.iter().chain(held_back).collect(),
        };
        for problem in &problems {
            tracing::error!(%problem, "configuration cannot be used: the last good one stays in force");
        }
        self.metrics.last_reload_successful.set(i64::from(problems.is_empty()));
        let outcome = if problems.is_empty() { "ok" } else { "failed" };
        self.metrics.reloads.get_or_create(&OutcomeLabels { outcome }).inc();
        self.status.send_modify(|status| {
            status.problems = problems.iter().map(ToString::to_string).collect();
        });
    }

    fn is_loaded(&self) -> bool {
        self.status.borrow().loaded_at.is_some()
    }

    /// Says whether new sessions should come here.
    fn tell(&self, obstacle: Option<String>) {
        self.status.send_modify(|status| {
            status.ready = status.loaded_at.is_some() && obstacle.is_none();
            status.waiting_for = obstacle;
        });
    }

    /// Sessions that go on for a while go on under the newest policies.
    async fn drain(mut self, source: &mut Source, signals: Signals, hurry: CancellationToken) {
        tracing::info!("draining; a signal from now on ends at once");
        self.status.send_modify(|status| status.draining = true);
        self.gateway.drain(&hurry);
        let hurried = hurried(signals, hurry.clone());
        tokio::pin!(hurried);
        loop {
            tokio::select! {
                () = self.gateway.over() => break,
                () = &mut hurried => {}
                offer = source.next() => self.change_draining(offer, source),
            }
        }
        tracing::info!(in_time = !hurry.is_cancelled(), "drained");
        self.admin_stop.cancel();
        self.admin.abort_handle().abort();
    }

    fn change_draining(&self, offer: Offer, source: &mut Source) {
        if let Ok(config) = &offer.config {
            self.gateway.update_draining(config);
        }
        let outcome = offer.config.map(drop);
        self.count(&outcome, &offer.held_back);
        source.settled(outcome.as_ref().copied());
    }
}

/// Ends sessions at the next signal. Never returns.
async fn hurried(mut signals: Signals, hurry: CancellationToken) {
    signals.stop().await;
    tracing::warn!("told to stop again: ending sessions");
    hurry.cancel();
    std::future::pending::<()>().await;
}

async fn admin(
    address: SocketAddr,
    registry: Registry,
    status: watch::Receiver<Status>,
    stop: CancellationToken,
) -> Result<tokio::task::JoinHandle<std::io::Result<()>>, RunError> {
    let failed = |source| RunError::Admin { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    tracing::info!(%address, "admin endpoint listening");
    Ok(tokio::spawn(admin::serve(listener, Arc::new(registry), status, stop)))
}

/// SIGTERM and SIGINT: both ask for the same.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next of them. Cancel safe.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
