//! What agents, the approver and the killer share.

use super::super::scene::{Gateway, Scene};
use e2e::operator::Operator;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What the approver does about a command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    Approve,
    Deny,
    /// Nobody decides, and the agent goes away.
    Abandon,
}

/// What is known of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    /// Who asked.
    pub(super) subject: String,
    /// Conditions that were ever seen True.
    pub(super) conditions: BTreeSet<String>,
}

impl Request {
    pub(super) fn is(&self, conditions: &[&str]) -> bool {
        conditions.iter().all(|condition| self.conditions.contains(*condition))
    }
}

/// The scene and everything that happens in it.
pub(super) struct Field<'a> {
    pub(super) scene: &'a Scene,
    pub(super) ca: PathBuf,
    pods: [&'static str; 2],
    gateways: [Mutex<Option<Gateway>>; 2],
    /// Where gateways listen; `None` while one is away.
    ports: [Mutex<Option<u16>>; 2],
    operator: Mutex<Option<Operator>>,
    fates: Mutex<BTreeMap<String, Fate>>,
    requests: Mutex<BTreeMap<String, Request>>,
    decisions: AtomicUsize,
    working: AtomicUsize,
    over: AtomicBool,
}

/// Ends the field when it is dropped.
pub(super) struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl<'a> Field<'a> {
    /// Starts the gateways.
    pub(super) fn open(scene: &'a Scene, pods: [&'static str; 2]) -> Self {
        let gateways = pods.map(|pod| scene.gateway(pod));
        let ca = gateways[0].ca().to_owned();
        let ports = [0, 1].map(|number| Mutex::new(Some(gateways[number].port())));
        Self {
            scene,
            ca,
            pods,
            gateways: gateways.map(|gateway| Mutex::new(Some(gateway))),
            ports,
            operator: Mutex::default(),
            fates: Mutex::default(),
            requests: Mutex::default(),
            decisions: AtomicUsize::default(),
            working: AtomicUsize::default(),
            over: AtomicBool::default(),
        }
    }

    /// Agents begin nothing new once this is dropped.
    pub(super) fn ending(&self) -> Ending<'_> {
        Ending(&self.over)
    }

    /// Whether nothing new is begun.
    pub(super) fn is_ending(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// An agent at work: the approver goes on for as long as there is one.
    pub(super) fn at_work<T>(&self, work: impl FnOnce() -> T) -> T {
        struct Leave<'a>(&'a AtomicUsize);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        self.working.fetch_add(1, Ordering::SeqCst);
        let _leave = Leave(&self.working);
        work()
    }

    pub(super) fn is_anybody_at_work(&self) -> bool {
        self.working.load(Ordering::SeqCst) > 0
    }

    pub(super) fn port(&self, gateway: u64) -> Option<u16> {
        *lock(&self.ports[usize::from(gateway % 2 == 1)])
    }

    pub(super) fn kill_gateway(&self, number: usize) {
        *lock(&self.ports[number]) = None;
        let mut gateway = lock(&self.gateways[number]);
        let process = &mut gateway.as_mut().unwrap().process;
        process.signal("KILL").unwrap();
        process.wait().unwrap();
    }

    /// Starts a gateway again, on the directory that the one before left.
    pub(super) fn start_gateway(&self, number: usize) {
        let gateway = self.scene.gateway(self.pods[number]);
        *lock(&self.ports[number]) = Some(gateway.port());
        *lock(&self.gateways[number]) = Some(gateway);
    }

    /// Ends the gateways as a rollout would, so that their logs are sealed.
    pub(super) fn stop_gateways(&self) {
        for gateway in &self.gateways {
            let mut gateway = lock(gateway).take().unwrap();
            gateway.process.signal("TERM").unwrap();
            assert_eq!(gateway.process.wait().unwrap(), Some(0), "{}", gateway.process.log());
        }
    }

    /// Keeps the operator for as long as the field.
    pub(super) fn keep(&self, operator: Operator) {
        *lock(&self.operator) = Some(operator);
    }

    pub(super) fn begin(&self, name: &str, fate: Fate) {
        lock(&self.fates).insert(name.to_owned(), fate);
    }

    pub(super) fn fates(&self) -> BTreeMap<String, Fate> {
        lock(&self.fates).clone()
    }

    pub(super) fn requests(&self) -> BTreeMap<String, Request> {
        lock(&self.requests).clone()
    }

    /// Takes down what a request looks like now.
    pub(super) fn saw(&self, name: &str, subject: &str, conditions: impl IntoIterator<Item = String>) {
        let mut requests = lock(&self.requests);
        let request = requests.entry(name.to_owned()).or_default();
        subject.clone_into(&mut request.subject);
        request.conditions.extend(conditions);
    }

    pub(super) fn decided(&self) {
        self.decisions.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits for the next decision, but not for long: there are other moments to die at.
    pub(super) fn wait_for_a_decision(&self) {
        let (before, since) = (self.decisions.load(Ordering::SeqCst), Instant::now());
        while self.decisions.load(Ordering::SeqCst) == before && since.elapsed() < Duration::from_secs(3) {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
