//! Which policies are about a resource, and which identities a policy is about.

use crds::v1alpha1::{ClaimMatch, PolicySpec, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;

use super::glob::Globs;
use super::{Problems, ResourceFacts};
use crate::Identity;

/// Whether a policy of the resource's namespace selects it. Reports a selection that cannot be meant.
pub(crate) fn selects(spec: &PolicySpec, resource: &ResourceFacts, problems: &mut Problems<'_>) -> bool {
    match (&spec.resource_selector, spec.target_refs.as_slice()) {
        (None, []) => {
            problems.add("spec.targetRefs", "set either targetRefs or resourceSelector; both are missing");
            false
        }
        (Some(_), [_, ..]) => {
            problems.add("spec.resourceSelector", "set either targetRefs or resourceSelector, not both");
            false
        }
        (None, targets) => targets.iter().any(|target| target.name == resource.name),
        (Some(selector), []) => matches_labels(selector, &resource.labels, problems),
    }
}

/// An empty selector matches every resource, as everywhere in Kubernetes.
fn matches_labels(
    selector: &LabelSelector,
    labels: &BTreeMap<String, String>,
    problems: &mut Problems<'_>,
) -> bool {
    let equal = selector.match_labels.iter().flatten().all(|(name, value)| labels.get(name) == Some(value));
    let mut all = equal;
    for (index, requirement) in selector.match_expressions.iter().flatten().enumerate() {
        match matches_expression(requirement, labels) {
            Ok(matches) => all &= matches,
            Err(message) => {
                problems.add(format!("spec.resourceSelector.matchExpressions[{index}]"), message);
                all = false;
            }
        }
    }
    all
}

fn matches_expression(
    requirement: &LabelSelectorRequirement,
    labels: &BTreeMap<String, String>,
) -> Result<bool, String> {
    let value = labels.get(&requirement.key);
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = || value.is_some_and(|value| values.contains(value));
    match (requirement.operator.as_str(), values) {
        ("In" | "NotIn", []) => Err("`values` must not be empty with In and NotIn".to_owned()),
        ("In", _) => Ok(listed()),
        ("NotIn", _) => Ok(!listed()),
        ("Exists", []) => Ok(value.is_some()),
        ("DoesNotExist", []) => Ok(value.is_none()),
        ("Exists" | "DoesNotExist", _) => {
            Err("`values` must be empty with Exists and DoesNotExist".to_owned())
        }
        (other, _) => Err(format!("unknown operator `{other}`; expected In, NotIn, Exists or DoesNotExist")),
    }
}

/// A [`Subject`], compiled.
#[derive(Debug)]
pub(crate) struct SubjectMatch {
    subject: Subject,
    claim_values: Globs,
}

impl SubjectMatch {
    /// Compiles `spec.subjects`; one that sets no field is reported, since it would match everybody by accident.
    pub(crate) fn compile_all(subjects: &[Subject], problems: &mut Problems<'_>) -> Vec<Self> {
        for (index, subject) in subjects.iter().enumerate() {
            if *subject == Subject::default() {
                problems.add(
                    format!("spec.subjects[{index}]"),
                    "is empty; set group, user, issuer or claim, or omit subjects to mean everybody",
                );
            }
            if subject.claim.as_ref().is_some_and(|claim| claim.values.is_empty()) {
                problems.add(format!("spec.subjects[{index}].claim.values"), "must have at least one value");
            }
        }
        subjects
            .iter()
            .map(|subject| Self {
                subject: subject.clone(),
                claim_values: subject
                    .claim
                    .as_ref()
                    .map_or_else(Globs::default, |claim| Globs::new(&claim.values)),
            })
            .collect()
    }

    /// Every field that is set must match.
    pub(crate) fn matches(&self, identity: &Identity) -> bool {
        let Subject { group, user, issuer, claim } = &self.subject;
        group.as_ref().is_none_or(|group| identity.groups.contains(group))
            && user.as_ref().is_none_or(|user| *user == identity.username)
            && issuer.as_ref().is_none_or(|issuer| *issuer == identity.issuer)
            && claim.as_ref().is_none_or(|claim| self.matches_claim(claim, identity))
    }

    fn matches_claim(&self, claim: &ClaimMatch, identity: &Identity) -> bool {
        let one = |value: &Value| scalar(value).is_some_and(|text| self.claim_values.matches(&text));
        match identity.claims.get(&claim.name) {
            Some(Value::Array(entries)) => entries.iter().any(one),
            Some(value) => one(value),
            None => false,
        }
    }
}

/// The text of a claim that is one value. An object or null has none and matches nothing.
fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Bool(_) | Value::Number(_) => Some(Cow::Owned(value.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
