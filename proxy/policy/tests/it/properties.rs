//! What must be true of any policy and any command.

use crds::v1alpha1::Policy;
use proptest::prelude::*;
use proxy_policy::{
    Access, ColumnName, Command, Effects, Flow, Identity, MaskPlan, OutputMask, Outputs, PolicySet,
    Provenance, Reading, ResourceFacts, Touch, Verdict, compile,
};
use serde_json::{Value, json};

const EFFECTS: [&str; 8] =
    ["Select", "Insert", "Update", "Delete", "Drop", "Connect", "Transaction", "Unknown"];
const RELATIONS: [&str; 5] = ["public.a", "public.b", "secret.a", "public.*", "*"];
const COLUMNS: [&str; 6] = ["public.a.x", "public.a.y", "public.b.x", "public.a.*", "*.*.y", "secret.*.*"];

fn some<T: Clone + std::fmt::Debug>(values: &'static [T]) -> impl Strategy<Value = Vec<T>> {
    proptest::sample::subsequence(values, 0..=values.len().min(3))
}

fn rule(actions: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let when = prop_oneof![
        6 => Just(None),
        1 => Just(Some("command.changes")),
        1 => Just(Some("identity.claims.absent == 'x'")),
        1 => Just(Some("command.effects.exists(e, e.unbounded)")),
    ];
    let unbounded = prop_oneof![4 => Just(None), 1 => Just(Some(true)), 1 => Just(Some(false))];
    (proptest::sample::select(actions), some(&EFFECTS), some(&RELATIONS), unbounded, when).prop_map(
        |(action, effects, relations, unbounded, when)| {
            let mut rule =
                json!({"action": action, "postgresql": {"effects": effects, "relations": relations}});
            let changes_rows =
                effects.is_empty() || effects.contains(&"Update") || effects.contains(&"Delete");
            if let Some(unbounded) = unbounded.filter(|_| changes_rows) {
                rule["postgresql"]["unbounded"] = json!(unbounded);
            }
            if let Some(when) = when {
                rule["when"] = json!(when);
            }
            rule
        },
    )
}

fn masking() -> impl Strategy<Value = Value> {
    (some(&COLUMNS), proptest::sample::select(&["Redact", "Partial", "Null", "Hash", "Token"][..]))
        .prop_filter("a masking rule is about something", |(columns, _)| !columns.is_empty())
        .prop_map(|(columns, mask)| json!({"columns": columns, "with": {"type": mask}}))
}

/// Specs of up to three policies.
fn specs() -> impl Strategy<Value = Vec<Value>> {
    let rules = proptest::collection::vec(rule(&["Allow", "Allow", "Deny", "Hold"]), 0..5);
    let subject = prop_oneof![3 => Just("agents"), 1 => Just("others")];
    let mode = prop_oneof![3 => Just("Enforce"), 1 => Just("Observe")];
    let guard = prop_oneof![Just("Allow"), Just("Deny")];
    let spec = (rules, proptest::collection::vec(masking(), 0..3), subject, mode, guard).prop_map(
        |(rules, masking, group, mode, guard)| {
            json!({"rules": rules, "masking": masking, "subjects": [{"group": group}], "mode": mode,
                "maskedPredicates": guard})
        },
    );
    proptest::collection::vec(spec, 1..4)
}

fn touch() -> impl Strategy<Value = Touch> {
    let names = ["public.a", "public.b", "secret.a", "app"];
    (proptest::sample::select(&EFFECTS[..7]), proptest::sample::select(names.to_vec()), any::<bool>())
        .prop_map(|(effect, name, unbounded)| Touch {
            effect,
            object: match effect {
                "Connect" => "database",
                "Transaction" => "transaction",
                _ => "relation",
            },
            name: name.to_owned(),
            access: if matches!(effect, "Select" | "Connect" | "Transaction") {
                Access::Read
            } else {
                Access::Write
            },
            unbounded: unbounded && matches!(effect, "Update" | "Delete"),
            detail: proxy_policy::Detail::None,
        })
}

fn provenance() -> impl Strategy<Value = Provenance> {
    (
        some(&["public.a.x", "public.a.y", "public.b.x", "public.a.*"]),
        any::<bool>(),
        proptest::bool::weighted(0.1),
    )
        .prop_map(|(sources, verbatim, opaque)| Provenance {
            sources: sources.into_iter().map(|source| ColumnName(source.to_owned())).collect(),
            verbatim,
            opaque,
        })
}

fn command() -> impl Strategy<Value = Command> {
    let outputs = prop_oneof![
        Just(Outputs::None),
        proptest::collection::vec(provenance(), 0..4).prop_map(Outputs::Columns),
        provenance().prop_map(Outputs::Unaligned),
    ];
    let flow = (provenance(), proptest::sample::select(vec!["public.b.x", "public.b.z", "public.b.*"]))
        .prop_map(|(from, into)| Flow { from, into: ColumnName(into.to_owned()) });
    let touches = proptest::collection::vec(touch(), 0..4);
    let predicates = some(&["public.a.x", "public.b.x"]);
    let flows = proptest::collection::vec(flow, 0..2);
    (touches, proptest::bool::weighted(0.1), proptest::collection::vec(outputs, 0..3), predicates, flows)
        .prop_map(|(touches, unknown, outputs, predicates, flows)| {
            let effects = if unknown {
                Effects::Unknown { why: "of a reason".to_owned(), touches }
            } else {
                Effects::Known(touches)
            };
            let reading = Reading {
                outputs,
                predicates: predicates.into_iter().map(|name| ColumnName(name.to_owned())).collect(),
                flows,
                ..Reading::new("COMMAND", "COMMAND", effects)
            };
            Command {
                text: "canary".into(),
                canonical: String::new(),
                role: "app".into(),
                namespace: "app".into(),
                binding: Vec::new(),
                reading: reading.into(),
            }
        })
}

fn policy_set(specs: &[Value]) -> PolicySet {
    let policies: Vec<_> = specs
        .iter()
        .enumerate()
        .map(|(index, spec)| {
            let mut spec = spec.clone();
            spec["targetRefs"] = json!([{"name": "orders"}]);
            for (position, rule) in spec["rules"].as_array_mut().unwrap().iter_mut().enumerate() {
                rule["name"] = json!(format!("r{position}"));
            }
            Policy::new(&format!("p{index}"), serde_json::from_value(spec).unwrap())
        })
        .collect();
    compile(&ResourceFacts { name: "orders".to_owned(), ..ResourceFacts::default() }, &policies).unwrap()
}

fn verdict(specs: &[Value], command: &Command) -> Verdict {
    let identity = Identity {
        issuer: "https://idp.example".to_owned(),
        subject: "agent".to_owned(),
        username: "agent".to_owned(),
        groups: vec!["agents".to_owned()],
        claims: serde_json::Map::new(),
    };
    policy_set(specs).evaluate(&identity, command, "2026-11-23T12:00:00Z".parse().unwrap()).verdict
}

/// Allow, Hold, Deny in the order of strictness.
fn strictness(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Allow { .. } => 0,
        Verdict::Hold { .. } => 1,
        Verdict::Deny { .. } => 2,
    }
}

fn plan(verdict: Verdict) -> Option<MaskPlan> {
    match verdict {
        Verdict::Allow { mask, .. } | Verdict::Hold { mask, .. } => Some(mask),
        Verdict::Deny { .. } => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn adding_a_deny_rule_never_makes_a_verdict_milder(
        specs in specs(), command in command(), deny in rule(&["Deny"]), index in any::<proptest::sample::Index>(),
    ) {
        let before = verdict(&specs, &command);
        let mut stricter = specs.clone();
        let index = index.index(stricter.len());
        stricter[index]["rules"].as_array_mut().unwrap().push(deny);
        let after = verdict(&stricter, &command);
        prop_assert!(strictness(&after) >= strictness(&before), "{before:?} became {after:?}");
    }

    #[test]
    fn removing_an_allow_rule_never_makes_a_verdict_milder_unless_it_restricts_connecting(
        specs in specs(), command in command(), index in any::<proptest::sample::Index>(),
    ) {
        let before = verdict(&specs, &command);
        let mut stricter = specs.clone();
        let index = index.index(stricter.len());
        stricter[index]["rules"].as_array_mut().unwrap().retain(|rule| {
            rule["action"] != "Allow" || rule["postgresql"]["effects"].as_array().unwrap().contains(&json!("Connect"))
                || rule.get("when").is_some()
        });
        let after = verdict(&stricter, &command);
        prop_assert!(strictness(&after) >= strictness(&before), "{before:?} became {after:?}");
    }

    #[test]
    fn the_order_of_policies_and_rules_has_no_meaning(specs in specs(), command in command()) {
        let mut reversed = specs.clone();
        for spec in &mut reversed {
            spec["rules"].as_array_mut().unwrap().reverse();
        }
        prop_assert_eq!(strictness(&verdict(&specs, &command)), strictness(&verdict(&reversed, &command)));
        reversed.reverse();
        prop_assert_eq!(strictness(&verdict(&specs, &command)), strictness(&verdict(&reversed, &command)));
    }

    #[test]
    fn adding_a_mask_never_unmasks_a_value(specs in specs(), command in command(), mask in masking()) {
        let before = verdict(&specs, &command);
        let mut stricter = specs.clone();
        stricter[0]["masking"].as_array_mut().unwrap().push(mask);
        // Where the new mask makes a copy legal, there is nothing to compare.
        let (Some(before), Some(after)) = (plan(before), plan(verdict(&stricter, &command))) else { return Ok(()) };
        prop_assert!(after.tainted || !before.tainted);
        prop_assert_eq!(before.outputs.len(), command.reading.outputs.len());
        for (before, after) in before.outputs.iter().zip(&after.outputs) {
            match (before, after) {
                (OutputMask::Clear, _) | (OutputMask::Whole(_), OutputMask::Whole(_)) => {}
                (OutputMask::Columns(before), OutputMask::Columns(after)) => {
                    prop_assert!(before.iter().zip(after).all(|(before, after)| before.is_none() || after.is_some()));
                }
                (before, after) => prop_assert!(false, "{before:?} became {after:?}"),
            }
        }
    }

    #[test]
    fn a_refusal_names_a_rule_and_quotes_nothing(specs in specs(), command in command()) {
        if let Verdict::Deny { rule, message } = verdict(&specs, &command) {
            prop_assert!(!rule.rule.is_empty() && !message.is_empty() && !message.contains("canary"));
        }
    }
}
