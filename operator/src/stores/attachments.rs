//! Which Policies may be about which Resources, without looking at all of either.
//!
//! Policies that name their targets are found by name; those that select by label are few, and looked at one by one.

use super::Guarded;
use crds::v1alpha1::Policy;
use kube::runtime::reflector::{ObjectRef, Store};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Namespace and name.
type Key = (String, String);

/// The index. Cheap to clone; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Attachments(Arc<Mutex<Index>>);

#[derive(Debug, Default)]
struct Index {
    /// Names of Policies by the Resource that they name.
    named: HashMap<Key, HashSet<String>>,
    /// Names of Policies that select by label, by namespace.
    selecting: HashMap<String, HashSet<String>>,
}

impl Attachments {
    /// Takes a Policy's change over.
    pub(super) fn changed(&self, before: Option<&Guarded<Policy>>, after: Option<&Guarded<Policy>>) {
        let mut index = self.lock();
        index.each(before, |names, name| {
            names.remove(name);
        });
        index.each(after, |names, name| {
            names.insert(name.to_owned());
        });
        index.named.retain(|_, names| !names.is_empty());
    }

    /// Starts anew with everything there is.
    pub(super) fn listed(&self, policies: &Store<Guarded<Policy>>) {
        let mut index = Index::default();
        for policy in policies.state() {
            index.each(Some(&policy), |names, name| {
                names.insert(name.to_owned());
            });
        }
        *self.lock() = index;
    }

    /// Policies that name a Resource or select by label in its namespace.
    pub(super) fn candidates(&self, namespace: &str, resource: &str) -> Vec<ObjectRef<Guarded<Policy>>> {
        let index = self.lock();
        let by_name = index.named.get(&(namespace.to_owned(), resource.to_owned()));
        let all = by_name.into_iter().chain(index.selecting.get(namespace)).flatten();
        all.map(|name| ObjectRef::new(name).within(namespace)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        // Sets: whoever panicked left them whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    /// Calls back with every set that a Policy belongs to.
    fn each(&mut self, policy: Option<&Guarded<Policy>>, mut call: impl FnMut(&mut HashSet<String>, &str)) {
        let Some(Ok(policy)) = policy.map(|policy| &policy.0) else { return };
        let (Some(namespace), Some(name)) = (&policy.metadata.namespace, &policy.metadata.name) else {
            return;
        };
        for target in &policy.spec.target_refs {
            call(self.named.entry((namespace.clone(), target.name.clone())).or_default(), name);
        }
        if policy.spec.resource_selector.is_some() {
            call(self.selecting.entry(namespace.clone()).or_default(), name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Attachments;
    use crds::v1alpha1::Policy;
    use kube::core::DeserializeGuard;
    use serde_json::json;

    fn policy(spec: &serde_json::Value) -> DeserializeGuard<Policy> {
        let object = json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": "Policy",
            "metadata": {"name": "p", "namespace": "shop"}, "spec": spec});
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_policy_that_turns_to_another_resource_leaves_the_first() {
        let attachments = Attachments::default();
        let count = |resource| attachments.candidates("shop", resource).len();
        let first = policy(&json!({"targetRefs": [{"name": "a"}]}));
        attachments.changed(None, Some(&first));
        assert_eq!((count("a"), count("b")), (1, 0));
        let second = policy(&json!({"targetRefs": [{"name": "b"}]}));
        attachments.changed(Some(&first), Some(&second));
        assert_eq!((count("a"), count("b")), (0, 1));
        let third = policy(&json!({"resourceSelector": {}}));
        attachments.changed(Some(&second), Some(&third));
        assert_eq!((count("a"), count("b"), attachments.candidates("other", "a").len()), (1, 1, 0));
        attachments.changed(Some(&third), None);
        assert_eq!(count("a"), 0);
    }
}
