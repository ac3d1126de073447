//! Contact with the API server: a small question every few seconds, beside the watches.
//!
//! The policies in force are the newest when the API server answers and their watches go on: a watch alone may hang on a
//! dead connection, an answer alone says nothing of a watch that was refused.

use super::PATIENCE;
use kube::Api;
use kube::api::DynamicObject;
use prometheus_client::metrics::gauge::Gauge;
use proxy_core::contact::Contact;
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Longest time between two questions.
const EVERY: Duration = Duration::from_secs(10);
/// How often it is said how old the policies are.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Keeps contact.
#[derive(Clone, Debug)]
pub(super) struct Heartbeat {
    pub(super) contact: Contact,
    pub(super) standing: Arc<Standing>,
    pub(super) age: Gauge,
    pub(super) limit: Duration,
}

impl Heartbeat {
    /// Asks for ever, at once whenever a watch begins or breaks.
    pub(super) async fn ask(
        self,
        resources: Api<DynamicObject>,
        name: String,
        live: [watch::Receiver<bool>; 2],
    ) {
        let [mut resource, mut policies] = live;
        loop {
            let began = Instant::now();
            let answered = match tokio::time::timeout(PATIENCE, resources.get_metadata(&name)).await {
                Ok(Ok(_)) => true,
                Ok(Err(kube::Error::Api(status))) => status.is_not_found(),
                Ok(Err(_)) | Err(_) => false,
            };
            let watched = *resource.borrow_and_update() && *policies.borrow_and_update();
            if answered && watched {
                self.contact.made(began);
                self.look();
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY.min(self.limit / 3)) => {}
                _ = resource.changed() => {}
                _ = policies.changed() => {}
            }
        }
    }

    /// Says for ever how old the policies are, and that contact is lost.
    pub(super) async fn tell(self) {
        loop {
            self.look();
            tokio::time::sleep(TELL_EVERY.min(self.limit / 4)).await;
        }
    }

    fn look(&self) {
        self.age.set(i64::try_from(self.contact.age().as_secs()).unwrap_or(i64::MAX));
        self.standing.set_lost(self.contact.is_lost());
    }
}

/// Whether new sessions should come to this gateway, as far as the cluster is concerned.
#[derive(Debug)]
pub(super) struct Standing {
    parts: Mutex<Parts>,
    obstacle: watch::Sender<Option<String>>,
}

#[derive(Debug, Default)]
struct Parts {
    reported: bool,
    /// Which requests are open: without that, no command could be held.
    asking: bool,
    lost: bool,
}

impl Default for Standing {
    fn default() -> Self {
        let parts = Parts::default();
        Self { obstacle: watch::Sender::new(parts.obstacle()), parts: Mutex::new(parts) }
    }
}

impl Parts {
    fn obstacle(&self) -> Option<String> {
        let obstacles = [
            (self.lost, "no contact with the API server for longer than --policy-staleness-limit"),
            (!self.reported, "starting: what this gateway runs is not in its Resource's status yet"),
            (!self.asking, "starting: it is not known yet which approvals are asked for"),
        ];
        obstacles.into_iter().find_map(|(is_there, obstacle)| is_there.then(|| obstacle.to_owned()))
    }
}

impl Standing {
    /// What this gateway runs is in the Resource's status.
    pub(super) fn set_reported(&self) {
        self.update(|parts| parts.reported = true);
    }

    /// It is known which approvals are asked for.
    pub(super) fn set_asking(&self) {
        self.update(|parts| parts.asking = true);
    }

    fn set_lost(&self, lost: bool) {
        let before = self.update(|parts| std::mem::replace(&mut parts.lost, lost));
        match (before, lost) {
            (false, true) => tracing::error!("contact with the API server is lost: refusing every command"),
            (true, false) => tracing::info!("contact with the API server is back"),
            (false, false) | (true, true) => {}
        }
    }

    pub(super) fn obstacle(&self) -> watch::Receiver<Option<String>> {
        self.obstacle.subscribe()
    }

    fn update<R>(&self, change: impl FnOnce(&mut Parts) -> R) -> R {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut parts);
        let obstacle = parts.obstacle();
        drop(parts);
        self.obstacle.send_if_modified(|known| {
            let differs = *known != obstacle;
            *known = obstacle;
            differs
        });
        result
    }
}
