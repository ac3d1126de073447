//! One command, judged as the gate would: analysed, evaluated, and told in words.

use super::command::Commands;
use jiff::Timestamp;
use proxy_policy::{
    Command, DetectorChoice, Effects, Evaluation, Identity, MaskPlan, OutputMask, PolicySet, RuleRef, Verdict,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Analyses and judges.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    pub(super) policies: &'a PolicySet,
    pub(super) commands: Commands<'a>,
    pub(super) now: Timestamp,
}

/// Whose command it is, and where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker<'a> {
    pub(super) identity: &'a Identity,
    pub(super) role: &'a str,
    /// Database or host.
    pub(super) namespace: &'a str,
}

/// What the policies say of a command.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Judgement {
    /// `Allow`, `Deny` or `Hold`.
    pub(super) verdict: &'static str,
    /// `policy/rule`; only the rule where it is a built-in one; `malformed` for what no policy is asked about.
    pub(super) rule: String,
    /// What the client would be told.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) message: String,
    pub(super) operation: String,
    pub(super) effects: Vec<String>,
    /// Why the effects are not all known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unknown: Option<String>,
    /// What was not found in the catalogue.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) unresolved: Vec<String>,
    /// One entry per result: masked columns by number, from 1; `*` for all.
    pub(super) masked: Vec<BTreeMap<String, String>>,
    /// Detectors and patterns over every value.
    pub(super) detectors: Vec<String>,
    /// Errors and notices would be withheld, for they may quote masked values.
    pub(super) tainted: bool,
    /// What policies in Observe mode would have said.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) observed: Vec<String>,
}

impl Judge<'_> {
    /// Judges one command of a fresh session.
    pub(super) fn judge(&self, asker: Asker<'_>, text: &str) -> Judgement {
        match self.commands.analyze(asker, text) {
            Ok(analyzed) => {
                let evaluation = self.policies.evaluate(asker.identity, &analyzed.command, self.now);
                tell(&analyzed.command, evaluation, analyzed.unresolved)
            }
            Err(message) => Judgement::refused(message),
        }
    }
}

impl Judgement {
    /// What the gateway refuses before it asks any policy.
    fn refused(message: String) -> Self {
        Self {
            verdict: "Deny",
            rule: "malformed".to_owned(),
            message,
            operation: String::new(),
            effects: Vec::new(),
            unknown: None,
            unresolved: Vec::new(),
            masked: Vec::new(),
            detectors: Vec::new(),
            tainted: false,
            observed: Vec::new(),
        }
    }
}

fn tell(command: &Command, evaluation: Evaluation, unresolved: Vec<String>) -> Judgement {
    let (touches, unknown) = match &command.reading.effects {
        Effects::Known(touches) => (touches, None),
        Effects::Unknown { why, touches } => (touches, Some(why.clone())),
    };
    let (verdict, rule, message, mask) = match evaluation.verdict {
        Verdict::Allow { rule, mask } => ("Allow", rule, String::new(), mask),
        Verdict::Deny { rule, message } => ("Deny", rule, message, MaskPlan::default()),
        Verdict::Hold { rule, mask, message, .. } => ("Hold", rule, message, mask),
    };
    Judgement {
        verdict,
        rule: name(&rule),
        message,
        operation: command.reading.operation.clone(),
        effects: touches.iter().map(ToString::to_string).collect(),
        unknown,
        unresolved,
        masked: mask.outputs.iter().map(columns).collect(),
        detectors: mask.detectors.iter().flat_map(detectors).collect(),
        tainted: mask.tainted,
        observed: evaluation
            .observed
            .iter()
            .map(|observed| format!("{} by {}", observed.verdict, name(&observed.rule)))
            .collect(),
    }
}

fn name(rule: &RuleRef) -> String {
    if rule.policy.is_empty() { rule.rule.clone() } else { format!("{}/{}", rule.policy, rule.rule) }
}

fn columns(output: &OutputMask) -> BTreeMap<String, String> {
    match output {
        OutputMask::Clear => BTreeMap::new(),
        OutputMask::Whole(mask) => BTreeMap::from([("*".to_owned(), format!("{:?}", mask.type_))]),
        OutputMask::Columns(columns) => columns
            .iter()
            .enumerate()
            .filter_map(|(index, mask)| {
                Some(((index + 1).to_string(), format!("{:?}", mask.as_ref()?.type_)))
            })
            .collect(),
    }
}

fn detectors(choice: &DetectorChoice) -> Vec<String> {
    let built_in = choice.detectors.iter().map(|detector| format!("{detector:?}"));
    built_in.chain(choice.patterns.iter().map(|pattern| pattern.name.clone())).collect()
}
