//! Which objects are to be looked at again. A set, so that it is never larger than what there is, and pushing never
//! waits: a watch that had to wait for a controller would keep the caches from becoming ready.

use futures_util::Stream;
use kube::runtime::reflector::{Lookup, ObjectRef};
use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// References to objects of one kind that are to be reconciled. Cheap to clone.
pub struct Triggers<K: Lookup>
where
    K::DynamicType: Hash + Eq,
{
    shared: Arc<Shared<K>>,
}

struct Shared<K: Lookup>
where
    K::DynamicType: Hash + Eq,
{
    due: Mutex<HashSet<ObjectRef<K>>>,
    pushed: Notify,
}

impl<K: Lookup> Clone for Triggers<K>
where
    K::DynamicType: Hash + Eq,
{
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K: Lookup> std::fmt::Debug for Triggers<K>
where
    K::DynamicType: Hash + Eq,
{
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Triggers").finish_non_exhaustive()
    }
}

impl<K: Lookup> Default for Triggers<K>
where
    K::DynamicType: Hash + Eq,
{
    fn default() -> Self {
        Self { shared: Arc::new(Shared { due: Mutex::default(), pushed: Notify::new() }) }
    }
}

impl<K> Triggers<K>
where
    K: Lookup + 'static,
    K::DynamicType: Hash + Eq + Clone,
{
    /// Has an object looked at, if it is not due already.
    pub fn push(&self, reference: ObjectRef<K>) {
        self.due().insert(reference);
        self.shared.pushed.notify_one();
    }

    /// The references as they come. Ends never; for one reader.
    pub fn stream(&self) -> impl Stream<Item = ObjectRef<K>> + Send + 'static
    where
        ObjectRef<K>: Send,
    {
        let start = (self.clone(), Vec::new());
        futures_util::stream::unfold(start, |(triggers, mut batch)| async move {
            loop {
                if let Some(reference) = batch.pop() {
                    return Some((reference, (triggers, batch)));
                }
                batch = triggers.due().drain().collect();
                if batch.is_empty() {
                    triggers.shared.pushed.notified().await;
                }
            }
        })
    }

    fn due(&self) -> std::sync::MutexGuard<'_, HashSet<ObjectRef<K>>> {
        // A set: whoever panicked left it whole.
        self.shared.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::Triggers;
    use futures_util::StreamExt as _;
    use k8s_openapi::api::core::v1::Pod;
    use kube::runtime::reflector::ObjectRef;

    #[tokio::test]
    async fn what_is_due_twice_comes_once() {
        let triggers = Triggers::<Pod>::default();
        for name in ["a", "b", "a"] {
            triggers.push(ObjectRef::new(name));
        }
        let mut stream = std::pin::pin!(triggers.stream());
        let mut seen = [stream.next().await.unwrap().name, stream.next().await.unwrap().name];
        seen.sort();
        assert_eq!(seen, ["a", "b"]);
        let more = tokio::time::timeout(std::time::Duration::from_millis(20), stream.next()).await;
        assert!(more.is_err());
        triggers.push(ObjectRef::new("a"));
        assert_eq!(stream.next().await.unwrap().name, "a");
    }
}
