//! Every form of `tests/corpus/destructive.yaml` destroys, and the analyser says so or says that it cannot tell.
//!
//! That a form destroys is not believed: bash runs each in a directory of its own, where the tree is seen to go.

use crate::victim::{destroys, is_refused};
use proxy_policy::Effects;
use proxy_shell::analyze;
use serde::Deserialize;
use std::path::Path;

#[derive(Debug, Deserialize)]
struct Form {
    script: String,
    #[serde(default)]
    needs: Vec<String>,
}

fn forms() -> Vec<Form> {
    serde_yaml_ng::from_str(include_str!("../corpus/destructive.yaml")).unwrap()
}

#[test]
fn every_form_is_a_removal_without_bounds_or_unknown() {
    let told = forms()
        .iter()
        .filter(|form| {
            matches!(analyze(form.script.as_bytes(), "deploy", "web1").reading.effects, Effects::Known(_))
        })
        .count();
    println!("destructive forms: {told} of {} told, the others unknown", forms().len());
    assert!(told >= 120, "only {told} forms are told");
    let missed: Vec<_> = forms()
        .into_iter()
        .filter(|form| !is_refused(&analyze(form.script.as_bytes(), "deploy", "web1")))
        .map(|form| form.script)
        .collect();
    assert!(missed.is_empty(), "{} missed:\n{}", missed.len(), missed.join("\n"));
}

#[test]
fn every_form_destroys() {
    let forms = forms();
    let (mut tried, mut harmless, mut untried) = (0, Vec::new(), Vec::new());
    for form in &forms {
        if let Some(missing) = form.needs.iter().find(|name| !is_there(name)) {
            untried.push(missing.as_str());
            continue;
        }
        tried += 1;
        if !destroys(&form.script) {
            harmless.push(form.script.as_str());
        }
    }
    untried.sort_unstable();
    untried.dedup();
    println!("destructive forms: {tried} of {} tried; without {untried:?} the others cannot be", forms.len());
    assert!(harmless.is_empty(), "{} destroy nothing:\n{}", harmless.len(), harmless.join("\n"));
    assert!(tried >= 200, "only {tried} forms could be tried");
}

fn is_there(program: &str) -> bool {
    if program.starts_with('/') {
        return Path::new(program).exists();
    }
    std::env::var("PATH").unwrap().split(':').any(|dir| Path::new(dir).join(program).exists())
}
