//! CRD specs to a runnable [`PolicySet`], or a list of located problems.
//!
//! A policy is in the set if it is in the resource's namespace and its `targetRefs` name the resource or its
//! `resourceSelector` matches the resource's labels. Everything that can be worked out once is worked out here:
//! effects become bits, patterns are split, times and expressions are compiled, rules are sorted by policy and
//! rule name, so that judging a command only compares.

pub(crate) mod condition;
mod exec;
pub(crate) mod glob;
mod kubernetes;
pub(crate) mod masking;
mod paths;
mod postgresql;
mod program;
pub(crate) mod rule;
mod selection;
mod ssh;
mod window;

use cel::Env;
use crds::v1alpha1::{Policy, PolicyMode, ProtectedResource};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::masking::{ColumnMasks, DetectorSet};
use self::rule::Rule;
use self::selection::SubjectMatch;
pub use self::ssh::lets_record_only;
use crate::{FieldChoice, Identity};

/// All policies of one resource, compiled. Immutable; shared behind an `Arc`.
pub struct PolicySet {
    /// Sorted by name.
    pub(crate) policies: Vec<CompiledPolicy>,
    /// Rules of all policies, sorted by policy, then rule name.
    pub(crate) rules: Vec<Rule>,
    pub(crate) masks: ColumnMasks,
    pub(crate) env: Arc<Env>,
    pub(crate) resource: ResourceFacts,
    digest: String,
}

impl std::fmt::Debug for PolicySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PolicySet")
            .field("resource", &self.resource.name)
            .field("policies", &self.policies)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

/// What of a policy is not in its rules.
#[derive(Debug)]
pub(crate) struct CompiledPolicy {
    pub(crate) name: String,
    pub(crate) generation: i64,
    pub(crate) mode: PolicyMode,
    subjects: Vec<SubjectMatch>,
    pub(crate) detectors: DetectorSet,
    pub(crate) fields: Vec<FieldChoice>,
    /// It masks some column.
    pub(crate) masks_columns: bool,
}

impl CompiledPolicy {
    /// Whether the policy is about an identity. No subjects: about every authenticated one.
    pub(crate) fn concerns(&self, identity: &Identity) -> bool {
        self.subjects.is_empty() || self.subjects.iter().any(|subject| subject.matches(identity))
    }
}

/// Facts of a resource that rules may refer to.
#[derive(Clone, Debug, Default)]
pub struct ResourceFacts {
    /// Namespace of the Resource. Empty means `default`.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its labels, for `resourceSelector` and CEL `resource.labels`.
    pub labels: BTreeMap<String, String>,
    /// Protocol: `postgresql`, `ssh`, `kubernetes`.
    pub protocol: String,
    /// Roles that one can log in as. Empty: not known, and no role name is checked.
    pub roles: Vec<String>,
}

impl ResourceFacts {
    /// The facts of a Resource, as the operator and the gateway both see them.
    pub fn of(resource: &ProtectedResource) -> Self {
        let metadata = &resource.metadata;
        Self {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            labels: metadata.labels.clone().unwrap_or_default(),
            protocol: resource.spec.protocol().to_owned(),
            roles: resource.spec.roles().map(str::to_owned).collect(),
        }
    }
}

/// One reason why a policy does not compile.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Name of the Policy.
    pub policy: String,
    /// Path in the object: `spec.rules[2].when`.
    pub path: String,
    /// What is wrong and what was expected.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "policy {}: {}: {}", self.policy, self.path, self.message)
    }
}

/// Problems of one policy, collected.
pub(crate) struct Problems<'a> {
    policy: &'a str,
    list: &'a mut Vec<Problem>,
}

impl Problems<'_> {
    pub(crate) fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.list.push(Problem {
            policy: self.policy.to_owned(),
            path: path.into(),
            message: message.into(),
        });
    }
}

/// Compiles the policies that select `resource`; others are left out.
///
/// # Errors
/// Every problem of every policy, in order; then nothing of the set is usable.
pub fn compile(resource: &ResourceFacts, policies: &[Policy]) -> Result<PolicySet, Vec<Problem>> {
    let mut compiler = Compiler::new(resource);
    for policy in policies {
        compiler.add(policy);
    }
    compiler.finish()
}

/// Whether a policy is about a resource. One whose selection cannot be meant is about none; [`compile`] says why.
pub fn selects(resource: &ResourceFacts, policy: &Policy) -> bool {
    let namespace = policy.metadata.namespace.as_deref().unwrap_or_default();
    let mut ignored = Vec::new();
    or_default(namespace) == or_default(&resource.namespace)
        && selection::selects(&policy.spec, resource, &mut Problems { policy: "", list: &mut ignored })
        && ignored.is_empty()
}

struct Compiler<'a> {
    resource: &'a ResourceFacts,
    env: Arc<Env>,
    selected: BTreeMap<Cow<'a, str>, &'a Policy>,
    problems: Vec<Problem>,
}

impl<'a> Compiler<'a> {
    fn new(resource: &'a ResourceFacts) -> Self {
        Self { resource, env: Arc::new(Env::stdlib()), selected: BTreeMap::new(), problems: Vec::new() }
    }

    fn add(&mut self, policy: &'a Policy) {
        let namespace = policy.metadata.namespace.as_deref().unwrap_or_default();
        if or_default(namespace) != or_default(&self.resource.namespace) {
            return;
        }
        let name = policy.metadata.name.as_deref().unwrap_or_default();
        let mut problems = Problems { policy: name, list: &mut self.problems };
        if name.is_empty() {
            problems.add("metadata.name", "must be set");
        }
        if selection::selects(&policy.spec, self.resource, &mut problems)
            && self.selected.insert(Cow::Borrowed(name), policy).is_some()
        {
            problems.add("metadata.name", "another Policy of the namespace has this name");
        }
    }

    fn finish(mut self) -> Result<PolicySet, Vec<Problem>> {
        let selected = std::mem::take(&mut self.selected);
        let mut set = PolicySet {
            policies: Vec::new(),
            rules: Vec::new(),
            masks: ColumnMasks::default(),
            env: Arc::clone(&self.env),
            resource: self.resource.clone(),
            digest: digest(&selected),
        };
        for (index, policy) in selected.values().enumerate() {
            self.compile_policy(&mut set, index, policy);
        }
        if self.problems.is_empty() { Ok(set) } else { Err(self.problems) }
    }

    fn compile_policy(&mut self, set: &mut PolicySet, index: usize, policy: &Policy) {
        let name = policy.metadata.name.clone().unwrap_or_default();
        let spec = &policy.spec;
        let mut problems = Problems { policy: &name, list: &mut self.problems };
        let subjects = SubjectMatch::compile_all(&spec.subjects, &mut problems);
        let detectors = masking::compile(&mut set.masks, index, spec, &mut problems);
        let compiler = rule::RuleCompiler {
            policy: index,
            reference: (&name, policy.metadata.generation.unwrap_or(0)),
            spec,
            resource: self.resource,
            env: &self.env,
        };
        let mut names = BTreeSet::new();
        let mut rules = Vec::new();
        for (position, rule) in spec.rules.iter().enumerate() {
            if !names.insert(rule.name.as_str()) {
                problems.add(
                    format!("spec.rules[{position}].name"),
                    format!("`{}` is the name of another rule of this policy too", rule.name),
                );
            }
            rules.push(compiler.compile(position, rule, &mut problems));
        }
        rules.sort_by(|left, right| left.reference.rule.cmp(&right.reference.rule));
        set.rules.append(&mut rules);
        set.policies.push(CompiledPolicy {
            generation: policy.metadata.generation.unwrap_or(0),
            name,
            mode: spec.mode,
            subjects,
            detectors,
            fields: masking::fields(spec),
            masks_columns: spec.masking.iter().any(|rule| !rule.columns.is_empty()),
        });
    }
}

/// Standalone manifests may leave the namespace out.
fn or_default(namespace: &str) -> &str {
    if namespace.is_empty() { "default" } else { namespace }
}

/// Hex SHA-256 over names and specs in the order of the names; fields serialise in their declared order.
fn digest(policies: &BTreeMap<Cow<'_, str>, &Policy>) -> String {
    let mut hasher = Sha256::new();
    for (name, policy) in policies {
        // Neither can fail: specs hold no map with keys that are not strings. If one did, the digest would differ.
        let spec = serde_json::to_vec(&policy.spec).unwrap_or_default();
        for part in [name.as_bytes(), spec.as_slice()] {
            hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hasher.update(part);
        }
    }
    const_hex::encode(hasher.finalize())
}

impl PolicySet {
    /// Content digest of the set (hex SHA-256 of its canonical specs), for the record.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Names and generations of the policies in the set, in the order of the names.
    pub fn policies(&self) -> impl Iterator<Item = (&str, i64)> {
        self.policies.iter().map(|policy| (policy.name.as_str(), policy.generation))
    }
}

#[cfg(test)]
mod tests;
