//! What a client program saw: one outcome for each behaviour, and how two runs differ.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};

/// Outcomes of one run by the behaviours' names.
#[derive(Debug)]
pub(crate) struct Observed(BTreeMap<String, Outcome>);

/// How one behaviour ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// What the program saw, in its own words.
    Saw(Value),
    /// What went wrong.
    Failed(String),
}

#[derive(Deserialize)]
struct Line {
    behaviour: String,
    saw: Option<Value>,
    failed: Option<String>,
}

impl Observed {
    /// Reads the lines that a client program printed.
    ///
    /// # Errors
    /// A line is not what a program prints.
    pub(crate) fn parse(output: &str) -> Result<Self> {
        let mut outcomes = BTreeMap::new();
        for text in output.lines() {
            let line: Line = serde_json::from_str(text).with_context(|| format!("not an outcome: {text}"))?;
            let outcome = match line.failed {
                Some(failed) => Outcome::Failed(failed),
                None => Outcome::Saw(line.saw.unwrap_or(Value::Null)),
            };
            outcomes.insert(line.behaviour, outcome);
        }
        Ok(Self(outcomes))
    }

    /// One line for each behaviour of `self`, the run through the gateway, that is not as it must be: as the words of
    /// [`required`] where there are some, else as in `direct`, the run against the server itself.
    pub(crate) fn differences(&self, direct: &Self) -> Vec<String> {
        let mut found: Vec<String> = direct
            .0
            .keys()
            .filter(|behaviour| !self.0.contains_key(*behaviour))
            .map(|behaviour| format!("{behaviour}: the program ended before it"))
            .collect();
        for (behaviour, outcome) in &self.0 {
            let wanted = match required(behaviour) {
                Some(value) => Some(Outcome::Saw(value)),
                None => direct.0.get(behaviour).cloned(),
            };
            if behaviour == "masked" {
                found.extend(unmasked(outcome));
            } else if wanted.as_ref() != Some(outcome) {
                found.push(format!("{behaviour}: wanted {wanted:?}, got {outcome:?}"));
            } else if matches!(outcome, Outcome::Failed(_)) {
                found.push(format!("{behaviour}: fails without the gateway too: {outcome:?}"));
            }
        }
        found
    }
}

/// What every client must see through the gateway, whatever it saw without.
fn required(behaviour: &str) -> Option<Value> {
    let names = || json!(["bolt", "nut", "washer"]);
    Some(match behaviour {
        "connect" | "direct tls" => json!(["shop", true]),
        "parameters" => json!(["nut", "bolt"]),
        "prepared" => names(),
        "pipeline" | "queued" => json!(1275),
        "batch" | "batch rewritten" => json!([100, 5050]),
        "rollback" => json!([0, 1, 0]),
        "error in transaction" => json!(["22012", "25P02", 1]),
        "denied" => json!(["42501", "42501", 0]),
        "denied in transaction" => json!(["42501", 1]),
        "denied in batch" | "denied among several statements" => json!(["42501", 0]),
        "several statements" => json!([1, 2, 3]),
        "fetch size" => json!([1000, 500_500]),
        "copy out" => json!("1\tbolt\n2\tnut\n3\twasher\n"),
        "copy in" => json!([3, 60]),
        // A payload may be made of masked columns, by a trigger for example.
        "notify" => json!(["[MASKED:notification]"]),
        "cancel" => json!(["57014", true, 1]),
        _ => return None,
    })
}

/// What is wrong with an outcome that must show the supplier's addresses masked, in every form, and NULL as NULL.
fn unmasked(outcome: &Outcome) -> Option<String> {
    let Outcome::Saw(forms) = outcome else {
        return Some(format!("masked: {outcome:?}"));
    };
    let text = forms.to_string();
    let masks = text.matches("[MASKED").count();
    let wanted = 2 * forms.as_object().map_or(0, serde_json::Map::len);
    (text.contains("example") || masks != wanted || wanted == 0).then(|| format!("masked: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(behaviour: &str, saw: &Value) -> Observed {
        Observed::parse(&json!({ "behaviour": behaviour, "saw": saw }).to_string()).unwrap()
    }

    #[test]
    fn a_run_that_ends_early_differs() {
        let direct = observed("types", &json!(1));
        assert_eq!(Observed::parse("").unwrap().differences(&direct), ["types: the program ended before it"]);
        assert!(observed("types", &json!(1)).differences(&direct).is_empty());
        assert_eq!(observed("types", &json!(2)).differences(&direct).len(), 1);
    }

    #[test]
    fn an_address_that_shows_in_one_form_differs() {
        let masked =
            |copy: &str| observed("masked", &json!({ "text": ["[MASKED:a]", "[MASKED:b]"], "copy": copy }));
        assert!(masked("[MASKED:a] [MASKED:b]").differences(&masked("")).is_empty());
        assert_eq!(masked("[MASKED:a] bob@nuts.example").differences(&masked("")).len(), 1);
        assert_eq!(masked("").differences(&masked("")).len(), 1);
    }
}
