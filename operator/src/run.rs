//! The life of the process: wait for the lease, fill the caches, reconcile until told to stop.

use crate::admin::{self, Readiness};
use crate::args::Args;
use crate::authority::{Authority, AuthorityError};
use crate::binding::{self, Binding, Unbound};
use crate::context::{Context, Shared};
use crate::leader::Leadership;
use crate::metrics::Metrics;
use crate::names::MANAGED_BY;
use crate::stores::{Due, Guarded, Watches};
use crate::{approval_request, policy, resource};
use futures_util::StreamExt as _;
use jiff::Timestamp;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{Store, store::WriterDropped};
use kube::runtime::watcher;
use kube::{Client, Resource};
use prometheus_client::registry::Registry;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How many objects of a kind are reconciled at the same time.
const CONCURRENCY: u16 = 16;

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no API server to talk to.
    #[error("find the API server: run inside a cluster, or set KUBECONFIG")]
    Client(#[source] kube::Error),
    /// The admin endpoint cannot listen.
    #[error("listen on {address} for the admin endpoint")]
    Admin {
        /// Where.
        address: SocketAddr,
        /// Because of.
        #[source]
        source: std::io::Error,
    },
    /// Signals cannot be received.
    #[error("receive signals")]
    Signals(#[source] std::io::Error),
    /// The lease cannot be had.
    #[error("wait for the lease")]
    Lease(#[source] Box<kube_lease_manager::LeaseManagerError>),
    /// The lease was lost; another operator may be at work.
    #[error("lost the lease")]
    LeaseLost,
    /// There is no certificate authority.
    #[error("open the certificate authority")]
    Authority(#[source] AuthorityError),
    /// A task ended that never ends by itself.
    #[error("a watch or controller ended")]
    Ended,
    /// A cache was never filled.
    #[error("fill the caches")]
    Caches(#[source] WriterDropped),
}

/// Runs until told to stop, or until the lease is lost.
///
/// Not cancel safe: the lease would not be given back.
///
/// # Errors
/// It could not start, or lost the lease.
pub async fn run(args: Args) -> Result<(), RunError> {
    let stop = stop().map_err(RunError::Signals)?;
    let client = Client::try_default().await.map_err(RunError::Client)?;
    let metrics = Metrics::default();
    let readiness = Readiness::default();
    let mut tasks = JoinSet::new();
    admin(args.admin_listen, &metrics, &readiness, &mut tasks).await?;
    readiness.set(true);
    if args.leader_elect {
        return lead(&client, &args, &metrics, stop).await;
    }
    tokio::select! {
        result = work(&client, &args, &metrics) => result,
        () = stop => Ok(()),
    }
}

/// Waits for the lease, works while it is held, and gives it back.
async fn lead(
    client: &Client,
    args: &Args,
    metrics: &Metrics,
    stop: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let mut stop = std::pin::pin!(stop);
    let leadership = tokio::select! {
        leadership = Leadership::acquire(client.clone(), &args.namespace) => leadership,
        () = &mut stop => return Ok(()),
    };
    let mut leadership = leadership.map_err(|error| RunError::Lease(Box::new(error)))?;
    let result = tokio::select! {
        result = work(client, args, metrics) => result,
        () = leadership.lost() => return Err(RunError::LeaseLost),
        () = &mut stop => Ok(()),
    };
    leadership.release().await;
    result
}

/// Reconciles. Ends only with an error.
async fn work(client: &Client, args: &Args, metrics: &Metrics) -> Result<(), RunError> {
    metrics.leading.set(1);
    let authority =
        Authority::load(client, &args.namespace, Timestamp::now()).await.map_err(RunError::Authority)?;
    let (binding, seen) = watch::channel(Binding::Unproven(Unbound::not_proven(
        "the admission policy was not tried yet".to_owned(),
    )));
    let shared = Shared {
        settings: Arc::new(args.settings()),
        authority: Arc::new(authority),
        binding: seen,
        metrics: metrics.clone(),
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(binding::watch_over(client.clone(), args.namespace.clone(), binding, metrics.clone()));
    let scopes: Vec<Option<String>> = if args.watch_namespace.is_empty() {
        vec![None]
    } else {
        args.watch_namespace.iter().cloned().map(Some).collect()
    };
    for scope in scopes {
        let due = Due::default();
        let began = std::time::Instant::now();
        let mut watches = Watches::new(client.clone(), scope.clone(), due.clone());
        if shared.settings.impersonation.is_some() {
            watches = watches.cluster_wide();
        }
        let (stores, watches) = watches.start().await.map_err(RunError::Caches)?;
        tracing::info!(
            scope = scope.as_deref().unwrap_or("all namespaces"),
            labels = MANAGED_BY,
            resources = stores.resources.len(),
            policies = stores.policies.len(),
            milliseconds = began.elapsed().as_millis(),
            "caches filled"
        );
        let context = Arc::new(Context::new(client.clone(), stores, due, shared.clone()));
        tasks.spawn(all_of(watches));
        tasks.spawn(controllers(context));
    }
    tasks.join_next().await;
    Err(RunError::Ended)
}

async fn all_of(mut watches: JoinSet<()>) {
    watches.join_next().await;
}

async fn controllers(context: Arc<Context>) {
    let mut binding = context.binding.clone();
    let (stores, due) = (&context.stores, &context.due);
    let resources = controller(&stores.resources, due.resources.stream()).run(
        resource::reconcile,
        resource::error_policy,
        Arc::clone(&context),
    );
    let policies = controller(&stores.policies, due.policies.stream()).run(
        policy::reconcile,
        policy::error_policy,
        Arc::clone(&context),
    );
    let requests = controller(&stores.requests, due.requests.stream()).run(
        approval_request::reconcile,
        approval_request::error_policy,
        Arc::clone(&context),
    );
    let metrics = &context.metrics;
    // everything is compared once at the start, whatever the watches told before
    due.all(stores);
    tokio::select! {
        () = counted("Resource", metrics, resources) => {}
        () = counted("Policy", metrics, policies) => {}
        () = counted("ApprovalRequest", metrics, requests) => {}
        () = bound(&mut binding, &context) => {}
    }
}

/// Has everything looked at whose status says whether approvals are bound.
async fn bound(binding: &mut watch::Receiver<Binding>, context: &Context) {
    let mut proven = false;
    while binding.changed().await.is_ok() {
        let now = matches!(&*binding.borrow_and_update(), Binding::Proven(_));
        if now != proven {
            proven = now;
            context.due.all(&context.stores);
        }
    }
}

fn controller<K>(
    store: &Store<Guarded<K>>,
    due: impl futures_util::Stream<Item = kube::runtime::reflector::ObjectRef<Guarded<K>>> + Send + 'static,
) -> Controller<Guarded<K>>
where
    K: Resource<DynamicType = ()>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    // what is due comes from the watches that fill the caches, so the controller watches nothing itself
    let nothing = futures_util::stream::pending::<Result<Guarded<K>, watcher::Error>>();
    Controller::for_stream(nothing, store.clone())
        .with_config(Config::default().concurrency(CONCURRENCY))
        .reconcile_on(due)
}

async fn counted<K, E, W>(
    kind: &'static str,
    metrics: &Metrics,
    reconciles: impl futures_util::Stream<
        Item = Result<
            (kube::runtime::reflector::ObjectRef<K>, Action),
            kube::runtime::controller::Error<E, W>,
        >,
    >,
) where
    K: Resource<DynamicType = ()>,
    E: std::error::Error + 'static,
    W: std::error::Error + 'static,
{
    let mut reconciles = std::pin::pin!(reconciles);
    while let Some(result) = reconciles.next().await {
        // failures are counted where they are handled, in the error policies
        if result.is_ok() {
            metrics.reconciled(kind, "ok");
        }
    }
}

async fn admin(
    address: SocketAddr,
    metrics: &Metrics,
    readiness: &Readiness,
    tasks: &mut JoinSet<std::io::Result<()>>,
) -> Result<(), RunError> {
    let failed = |source| RunError::Admin { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    tracing::info!(%address, "admin endpoint listening");
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    tasks.spawn(admin::serve(listener, registry, readiness.clone()));
    Ok(())
}

/// SIGTERM or SIGINT.
fn stop() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
