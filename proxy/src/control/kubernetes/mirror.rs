//! Objects of the API server, as they were when it last spoke.
//!
//! A watch that breaks begins anew with a list: only then is it certain that nothing was missed. Until the list is
//! complete the old objects stay.

use futures_util::{StreamExt as _, TryStreamExt as _};
use kube::Api;
use kube::api::DynamicObject;
use kube::runtime::watcher::{self, Event, watcher};
use proxy_core::gate::Chain;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;
use tokio::sync::watch;

/// Objects of one kind. Clones share them.
pub(super) struct Mirror<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    objects: RwLock<Objects<T>>,
    /// Counts changes.
    changes: watch::Sender<u64>,
    /// Whether a watch goes on now.
    live: watch::Sender<bool>,
}

struct Objects<T> {
    by_name: BTreeMap<String, Arc<T>>,
    /// A list that is not complete yet.
    listed: BTreeMap<String, Arc<T>>,
    known: bool,
}

/// An object of this version, or nothing that concerns us.
type Read<T> = fn(DynamicObject) -> Option<T>;

impl<T> Clone for Mirror<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> fmt::Debug for Mirror<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let objects = self.objects();
        f.debug_struct("Mirror")
            .field("known", &objects.known)
            .field("count", &objects.by_name.len())
            .finish()
    }
}

impl<T> Mirror<T> {
    /// Nothing is known yet. `changes` is told of every change.
    pub(super) fn new(changes: watch::Sender<u64>) -> Self {
        let objects = Objects { by_name: BTreeMap::new(), listed: BTreeMap::new(), known: false };
        let shared = Shared { objects: RwLock::new(objects), changes, live: watch::Sender::new(false) };
        Self { shared: Arc::new(shared) }
    }

    /// Whether there was ever a complete list.
    pub(super) fn is_known(&self) -> bool {
        self.objects().known
    }

    /// Whether a watch goes on now: what is here is the newest there is.
    pub(super) fn live(&self) -> watch::Receiver<bool> {
        self.shared.live.subscribe()
    }

    /// Tells of changes.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Waits until there was a complete list. Cancel safe.
    pub(super) async fn known(&self) {
        let mut live = self.live();
        while !self.is_known() && live.changed().await.is_ok() {}
    }

    /// An object by name.
    pub(super) fn get(&self, name: &str) -> Option<Arc<T>> {
        self.objects().by_name.get(name).cloned()
    }

    /// All objects, by name.
    pub(super) fn all(&self) -> Vec<Arc<T>> {
        self.objects().by_name.values().cloned().collect()
    }

    /// Follows the objects for ever.
    pub(super) async fn follow(self, api: Api<DynamicObject>, config: watcher::Config, read: Read<T>) {
        let kind = api.resource_url().to_owned();
        let mut pause = SHORTEST_PAUSE;
        loop {
            let mut events = watcher(api.clone(), config.clone()).boxed();
            let broken = loop {
                match events.try_next().await {
                    Ok(Some(event)) => {
                        if matches!(event, Event::InitDone) {
                            pause = SHORTEST_PAUSE;
                        }
                        self.take(event, read);
                    }
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                }
            };
            let was_live = self.shared.live.send_replace(false);
            let error = broken.as_ref().map(|error| Chain(error).to_string()).unwrap_or_default();
            if was_live || pause == SHORTEST_PAUSE {
                tracing::warn!(kind, error, "cannot watch: trying again");
            } else {
                tracing::debug!(kind, error, "cannot watch: trying again");
            }
            let jitter = Duration::from_millis(rand::random_range(0..=SHORTEST_PAUSE_MILLIS));
            tokio::time::sleep(pause.saturating_add(jitter)).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }

    fn take(&self, event: Event<DynamicObject>, read: Read<T>) {
        let put = |objects: &mut BTreeMap<String, Arc<T>>, object: DynamicObject| {
            let name = object.metadata.name.clone().unwrap_or_default();
            match read(object) {
                Some(object) => drop(objects.insert(name, Arc::new(object))),
                None => drop(objects.remove(&name)),
            }
        };
        let mut objects = self.shared.objects.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Init => {
                objects.listed.clear();
                return;
            }
            Event::InitApply(object) => {
                put(&mut objects.listed, object);
                return;
            }
            Event::InitDone => {
                objects.by_name = std::mem::take(&mut objects.listed);
                objects.known = true;
            }
            Event::Apply(object) => put(&mut objects.by_name, object),
            Event::Delete(object) => {
                objects.by_name.remove(object.metadata.name.as_deref().unwrap_or_default());
            }
        }
        drop(objects);
        self.shared.live.send_if_modified(|live| !std::mem::replace(live, true));
        self.shared.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn objects(&self) -> RwLockReadGuard<'_, Objects<T>> {
        self.shared.objects.read().unwrap_or_else(PoisonError::into_inner)
    }
}

const SHORTEST_PAUSE_MILLIS: u64 = 200;
/// Pause after the first failure.
const SHORTEST_PAUSE: Duration = Duration::from_millis(SHORTEST_PAUSE_MILLIS);
/// Longest pause: an API server that is back is noticed within it.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::{Event, Mirror};
    use kube::api::DynamicObject;
    use tokio::sync::watch;

    fn object(name: &str, value: &str) -> DynamicObject {
        serde_json::from_value(serde_json::json!({"metadata": {"name": name}, "value": value})).unwrap()
    }

    #[expect(clippy::needless_pass_by_value, reason = "a mirror hands its objects over")]
    fn read(object: DynamicObject) -> Option<String> {
        object.data["value"].as_str().map(str::to_owned)
    }

    fn all(mirror: &Mirror<String>) -> Vec<String> {
        mirror.all().iter().map(|value| value.as_ref().clone()).collect()
    }

    #[test]
    fn a_list_counts_once_it_is_complete_and_drops_what_is_gone() {
        let mirror = Mirror::new(watch::Sender::new(0));
        let live = mirror.live();
        for event in [Event::Init, Event::InitApply(object("a", "1")), Event::InitApply(object("b", "1"))] {
            mirror.take(event, read);
        }
        assert!(!mirror.is_known() && !*live.borrow() && all(&mirror).is_empty());
        mirror.take(Event::InitDone, read);
        assert!(mirror.is_known() && *live.borrow());
        mirror.take(Event::Apply(object("b", "2")), read);
        assert_eq!(all(&mirror), ["1", "2"]);
        for event in [Event::Init, Event::InitApply(object("c", "3"))] {
            mirror.take(event, read);
        }
        assert_eq!(all(&mirror), ["1", "2"], "the old stay until the new are complete");
        mirror.take(Event::InitDone, read);
        assert_eq!(all(&mirror), ["3"]);
        mirror.take(Event::Delete(object("c", "3")), read);
        assert!(all(&mirror).is_empty());
    }
}
