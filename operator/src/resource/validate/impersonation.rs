//! As whom a gateway has to act in the cluster in which it runs: no more names than its Policies and its spec let in.

use crate::resource::dereference::Dereferenced;
use std::collections::BTreeSet;

/// Names of the cluster's own components begin so. Without a prefix the gateway never acts under one.
const SYSTEM: &str = "system:";

/// Names that a gateway has to act under.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Names {
    /// They are not known beforehand.
    Any,
    /// These and no other.
    These(BTreeSet<String>),
}

/// As whom a gateway has to act in the cluster in which it runs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Impersonation {
    /// User names, with the prefix: those of the Policies' subjects, where every one of them has a `user`.
    pub users: Names,
    /// Groups, with the prefix: those of the spec.
    pub groups: Names,
}

impl Impersonation {
    /// `None`: the gateway acts in another cluster, or its protocol is another one.
    pub(super) fn of(given: &Dereferenced) -> Option<Self> {
        let target = given.resource.spec.kubernetes.as_ref()?;
        if target.kubeconfig_ref.is_some() {
            return None;
        }
        let groups = target.groups.clone().map(|groups| named(groups, target.groups_prefix.as_deref()));
        let users = users(given).map(|users| named(users, target.username_prefix.as_deref()));
        Some(Self { users: users.unwrap_or(Names::Any), groups: groups.unwrap_or(Names::Any) })
    }

    /// Whether somebody may come at all.
    pub fn is_needed(&self) -> bool {
        self.users != Names::These(BTreeSet::new())
    }

    /// For people.
    pub fn describe(&self) -> String {
        let names = |names: &Names| match names {
            Names::Any => "any".to_owned(),
            Names::These(names) if names.is_empty() => "none".to_owned(),
            Names::These(names) => names.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
        };
        format!("users: {}; groups: {}", names(&self.users), names(&self.groups))
    }
}

/// User names that the Policies let in; `None`: some Policy says it in other words.
fn users(given: &Dereferenced) -> Option<Vec<String>> {
    let mut users = Vec::new();
    for policy in given.policies.iter().filter_map(|policy| policy.0.as_ref().ok()) {
        if policy.spec.subjects.is_empty() {
            return None;
        }
        for subject in &policy.spec.subjects {
            users.push(subject.user.clone()?);
        }
    }
    Some(users)
}

fn named(names: Vec<String>, prefix: Option<&str>) -> Names {
    let prefix = prefix.unwrap_or_default();
    let own = names.into_iter().filter(|name| !prefix.is_empty() || !name.starts_with(SYSTEM));
    Names::These(own.map(|name| format!("{prefix}{name}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crds::manifest::Manifests;
    use kube::core::DeserializeGuard;
    use std::sync::Arc;

    /// What a stanza and the subjects of Policies come to.
    fn of(stanza: &str, policies: &[&str]) -> Option<Impersonation> {
        let mut text = format!(
            "apiVersion: portcullis.dev/v1alpha1\nkind: Resource\nmetadata: {{name: cluster, namespace: shop}}\nspec:\n  \
             kubernetes: {stanza}\n  authentication: {{issuers: [{{issuer: \"https://idp.example.com\", audiences: [a]}}]}}\n"
        );
        for (number, subjects) in policies.iter().enumerate() {
            let policy = format!(
                "---\napiVersion: portcullis.dev/v1alpha1\nkind: Policy\nmetadata: {{name: p{number}, namespace: shop}}\nspec:\n  \
                 targetRefs: [{{name: cluster}}]\n  subjects: {subjects}\n  rules: []\n"
            );
            text.push_str(&policy);
        }
        let mut manifests = Manifests::parse("test", &text).unwrap();
        let given = Dereferenced {
            resource: Arc::new(manifests.resources.remove(0)),
            missing: Vec::new(),
            policies: manifests.policies.into_iter().map(|one| Arc::new(DeserializeGuard(Ok(one)))).collect(),
            pods: Vec::new(),
            mounts: String::new(),
        };
        Impersonation::of(&given)
    }

    fn these(names: &[&str]) -> Names {
        Names::These(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn users_are_those_that_policies_name_if_every_subject_names_one() {
        let named =
            of("{usernamePrefix: 'idp:'}", &["[{user: ann}, {user: bob, group: dba}]", "[{user: cy}]"]);
        assert_eq!(named.unwrap().users, these(&["idp:ann", "idp:bob", "idp:cy"]));
        for subjects in ["[]", "[{group: dba}]", "[{user: ann}, {claim: {name: a, values: [b]}}]"] {
            assert_eq!(of("{}", &["[{user: ann}]", subjects]).unwrap().users, Names::Any, "{subjects}");
        }
        assert!(!of("{}", &[]).unwrap().is_needed(), "no Policy lets anybody in");
    }

    #[test]
    fn groups_are_those_of_the_spec() {
        assert_eq!(of("{}", &[]).unwrap().groups, Names::Any);
        assert_eq!(of("{groups: []}", &[]).unwrap().groups, these(&[]));
        let prefixed = of("{groups: [dba, 'system:masters'], groupsPrefix: 'idp:'}", &[]).unwrap();
        assert_eq!(prefixed.groups, these(&["idp:dba", "idp:system:masters"]));
    }

    #[test]
    fn the_clusters_own_names_are_never_granted_without_a_prefix() {
        let given =
            of("{groups: [dba, 'system:masters']}", &["[{user: 'system:admin'}, {user: ann}]"]).unwrap();
        assert_eq!((given.users, given.groups), (these(&["ann"]), these(&["dba"])));
    }

    #[test]
    fn in_another_cluster_nothing_is_granted_here() {
        assert_eq!(of("{kubeconfigRef: {name: other}}", &["[]"]), None);
    }
}
