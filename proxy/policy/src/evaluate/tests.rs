use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::test_support::{command, identity, read, touch};
use crate::{
    ColumnName, Effects, Flow, MaskType, OutputMask, Outputs, Provenance, Reading, ResourceFacts, Touch,
    compile,
};
use crds::v1alpha1::{OnDisconnect, Policy};

fn facts() -> ResourceFacts {
    ResourceFacts {
        namespace: "shop".into(),
        name: "orders".into(),
        labels: [("env".to_owned(), "prod".to_owned())].into(),
        protocol: "postgresql".into(),
        roles: vec!["app".into(), "readonly".into()],
    }
}

/// Policies from specs in YAML, for resource `orders`; `targetRefs` is added.
fn set(specs: &[(&str, &str)]) -> PolicySet {
    let policies: Vec<_> = specs.iter().map(|(name, spec)| policy(name, spec)).collect();
    compile(&facts(), &policies).unwrap()
}

fn policy(name: &str, spec: &str) -> Policy {
    let mut spec: serde_json::Value = serde_saphyr::from_str(spec).unwrap();
    spec["targetRefs"] = serde_json::json!([{"name": "orders"}]);
    let mut policy = Policy::new(name, serde_json::from_value(spec).unwrap());
    policy.metadata.namespace = Some("shop".into());
    policy
}

fn evaluate(set: &PolicySet, touches: Vec<Touch>) -> Verdict {
    evaluate_command(set, &command(touches)).verdict
}

fn evaluate_command(set: &PolicySet, command: &Command) -> Evaluation {
    set.evaluate(&identity("agent", &["agents"]), command, "2026-11-23T12:00:00Z".parse().unwrap())
}

/// `Allow policy/rule`, for short.
fn short(verdict: &Verdict) -> String {
    let (word, rule) = match verdict {
        Verdict::Allow { rule, .. } => ("Allow", rule),
        Verdict::Deny { rule, .. } => ("Deny", rule),
        Verdict::Hold { rule, .. } => ("Hold", rule),
    };
    format!("{word} {}/{}", rule.policy, rule.rule)
}

fn message(verdict: Verdict) -> String {
    match verdict {
        Verdict::Deny { message, .. } | Verdict::Hold { message, .. } => message,
        Verdict::Allow { .. } => panic!("allowed"),
    }
}

const AGENTS: &str = r#"
subjects: [{group: agents}]
rules:
- {name: no-drops, action: Deny, postgresql: {effects: [Drop, Truncate]}, message: "Ask #dba."}
- name: unbounded-writes
  action: Hold
  postgresql: {effects: [Update, Delete], unbounded: true}
  approval: {timeoutSeconds: 60, reviewers: [{group: dba}]}
- {name: reads, action: Allow, postgresql: {effects: [Select], relations: ["public.*"]}}
- {name: writes, action: Allow, postgresql: {effects: [Update, Delete], unbounded: false}}
"#;

#[test]
fn deny_beats_hold_beats_allow_and_what_nothing_allows_is_denied() {
    let set = set(&[("agents", AGENTS)]);
    let everything = Touch { unbounded: true, ..touch("Delete", "public.orders") };
    for (touches, expected) in [
        (vec![touch("Select", "public.orders")], "Allow agents/reads"),
        (vec![touch("Select", "public.orders"), touch("Delete", "public.orders")], "Allow agents/reads"),
        (vec![touch("Select", "secret.keys")], "Deny /default-deny"),
        (vec![touch("Select", "public.orders"), touch("Select", "secret.keys")], "Deny /default-deny"),
        (vec![everything.clone()], "Hold agents/unbounded-writes"),
        (vec![everything.clone(), touch("Select", "public.orders")], "Hold agents/unbounded-writes"),
        (vec![everything.clone(), touch("Select", "secret.keys")], "Deny /default-deny"),
        (vec![everything, touch("Drop", "public.orders")], "Deny agents/no-drops"),
        (vec![], "Allow /no-effects"),
    ] {
        assert_eq!(short(&evaluate(&set, touches.clone())), expected, "{touches:?}");
    }
}

#[test]
fn a_refusal_says_what_why_and_what_next_and_no_literal() {
    let set = set(&[("agents", AGENTS)]);
    let mut drop = command(vec![touch("Drop", "app")]);
    Arc::make_mut(&mut drop.reading).operation = "DROP DATABASE".into();
    let text = message(evaluate_command(&set, &drop).verdict);
    assert_eq!(text, "DROP DATABASE is denied by rule no-drops of policy agents: Ask #dba. [Drop app]");
    let text = message(evaluate(&set, vec![touch("Select", "secret.keys")]));
    assert_eq!(
        text,
        "SELECT is denied: no rule allows Select secret.keys; ask the owner of resource orders for a rule that does"
    );
}

#[test]
fn an_identity_that_no_policy_is_about_is_denied() {
    let set = set(&[("agents", AGENTS)]);
    let stranger = identity("stranger", &["others"]);
    assert!(!set.concerns(&stranger));
    assert!(set.concerns(&identity("agent", &["agents"])));
    let verdict =
        set.evaluate(&stranger, &command(vec![touch("Transaction", "")]), Moment::UNIX_EPOCH).verdict;
    assert_eq!(short(&verdict), "Deny /no-policy");
}

#[test]
fn transactions_need_no_rule_and_only_rules_that_name_them_refuse_them() {
    let begin = || vec![touch("Transaction", "")];
    let all = "{rules: [{name: nothing, action: Deny}]}";
    let named = "{rules: [{name: none, action: Deny, postgresql: {effects: [Transaction]}}]}";
    assert_eq!(short(&evaluate(&set(&[("a", AGENTS)]), begin())), "Allow /transaction");
    assert_eq!(short(&evaluate(&set(&[("a", all)]), begin())), "Allow /transaction");
    assert_eq!(short(&evaluate(&set(&[("a", named)]), begin())), "Deny a/none");
}

#[test]
fn connecting_needs_no_rule_unless_some_rule_allows_connecting() {
    let connect = || vec![touch("Connect", "app")];
    let deny = "{rules: [{name: closed, action: Deny, postgresql: {databases: [app]}}]}";
    let other =
        "{rules: [{name: other, action: Allow, postgresql: {effects: [Connect], databases: [other]}}]}";
    let this = "{rules: [{name: this, action: Allow, postgresql: {effects: [Connect], databases: ['a*']}}]}";
    let hold = "{rules: [{name: hold, action: Hold}]}";
    assert_eq!(short(&evaluate(&set(&[("a", AGENTS)]), connect())), "Allow /connect");
    assert_eq!(short(&evaluate(&set(&[("a", deny)]), connect())), "Deny a/closed");
    assert_eq!(short(&evaluate(&set(&[("a", other)]), connect())), "Deny /default-deny");
    assert_eq!(short(&evaluate(&set(&[("a", other), ("b", this)]), connect())), "Allow b/this");
    assert_eq!(short(&evaluate(&set(&[("a", hold)]), connect())), "Allow /connect");
}

#[test]
fn what_cannot_be_told_is_denied_unless_a_rule_names_it() {
    let unknown = |touches| {
        let why = "DO runs code that is not looked into".to_owned();
        read(Reading::new("DO", "DO $1", Effects::Unknown { why, touches }))
    };
    let everything = "{rules: [{name: all, action: Allow}]}";
    let named = "{rules: [{name: unknown, action: Hold, postgresql: {effects: [Unknown]}}]}";
    let nothing = "{rules: [{name: nothing, action: Deny}]}";
    let verdict = evaluate_command(&set(&[("a", everything)]), &unknown(vec![])).verdict;
    assert_eq!(short(&verdict), "Deny /unknown-effects");
    assert!(message(verdict).contains("DO runs code that is not looked into"));
    let permissive = set(&[("a", everything), ("b", named)]);
    assert_eq!(short(&evaluate_command(&permissive, &unknown(vec![])).verdict), "Hold b/unknown");
    let strict = set(&[("b", named)]);
    let certain = unknown(vec![touch("Drop", "public.orders")]);
    assert_eq!(short(&evaluate_command(&strict, &certain).verdict), "Deny /default-deny");
    let closed = set(&[("b", named), ("c", nothing)]);
    assert_eq!(short(&evaluate_command(&closed, &unknown(vec![])).verdict), "Deny c/nothing");
}

#[test]
fn a_rule_for_relations_covers_no_other_kind_of_object() {
    let set = set(&[("a", "{rules: [{name: all, action: Allow, postgresql: {relations: ['*']}}]}")]);
    let role = Touch { object: "role", ..touch("Drop", "admin") };
    assert_eq!(short(&evaluate(&set, vec![touch("Drop", "public.t")])), "Allow a/all");
    assert_eq!(short(&evaluate(&set, vec![role])), "Deny /default-deny");
    assert_eq!(short(&evaluate(&set, vec![touch("Call", "public.f")])), "Deny /default-deny");
}

#[test]
fn only_changes_of_rows_can_be_unbounded_and_other_kinds_are_meant_only_if_named() {
    let everything = Touch { unbounded: true, ..touch("Update", "public.t") };
    let rule = |match_: &str| {
        set(&[("a", &format!("{{rules: [{{name: r, action: Allow, postgresql: {{{match_}}}}}]}}"))])
    };
    let bounded = rule("effects: [Insert, Update], unbounded: false");
    assert_eq!(short(&evaluate(&bounded, vec![touch("Insert", "public.t")])), "Allow a/r");
    assert_eq!(short(&evaluate(&bounded, vec![touch("Update", "public.t")])), "Allow a/r");
    assert_eq!(short(&evaluate(&bounded, vec![everything.clone()])), "Deny /default-deny");
    let of_every_kind = rule("unbounded: false");
    assert_eq!(short(&evaluate(&of_every_kind, vec![touch("Update", "public.t")])), "Allow a/r");
    assert_eq!(short(&evaluate(&of_every_kind, vec![touch("Drop", "public.t")])), "Deny /default-deny");
    let unbounded = rule("effects: [Insert, Update], unbounded: true");
    assert_eq!(short(&evaluate(&unbounded, vec![everything])), "Allow a/r");
    assert_eq!(short(&evaluate(&unbounded, vec![touch("Insert", "public.t")])), "Deny /default-deny");
}

#[test]
fn whoever_may_read_some_relation_may_select_a_constant() {
    let read = || vec![touch("Select", "")];
    let spec = |action: &str, effect: &str| {
        format!(
            "{{rules: [{{name: r, action: {action}, postgresql: {{effects: [{effect}], relations: ['secret.*']}}}}]}}"
        )
    };
    let all = "{rules: [{name: all, action: Allow}]}";
    assert_eq!(short(&evaluate(&set(&[("a", &spec("Allow", "Select"))]), read())), "Allow a/r");
    assert_eq!(short(&evaluate(&set(&[("a", &spec("Allow", "Insert"))]), read())), "Deny /default-deny");
    assert_eq!(short(&evaluate(&set(&[("a", &spec("Deny", "Select")), ("b", all)]), read())), "Allow b/all");
    assert_eq!(short(&evaluate(&set(&[("a", &spec("Hold", "Select")), ("b", all)]), read())), "Allow b/all");
}

/// What two rules that hold one command make of it.
fn two_holds(one: &str, other: &str) -> Verdict {
    let hold =
        |approval: &str| format!("{{rules: [{{name: hold, action: Hold, approval: {{{approval}}}}}]}}");
    evaluate(&set(&[("b", &hold(other)), ("a", &hold(one))]), vec![touch("Delete", "public.orders")])
}

#[test]
fn of_several_holds_the_one_whose_reviewers_satisfy_all_is_asked() {
    let anybody = "timeoutSeconds: 90, onDisconnect: Claimable";
    for (one, other, asked) in [
        (anybody, "timeoutSeconds: 30", "a"),
        (anybody, "timeoutSeconds: 30, reviewers: [{group: dba}]", "b"),
        ("timeoutSeconds: 30, reviewers: [{group: dba}]", "reviewers: [{group: dba, count: 2}]", "b"),
        (
            "timeoutSeconds: 30, reviewers: [{count: 2}]",
            "reviewers: [{group: dba, count: 2}, {group: cfo, count: 3}]",
            "b",
        ),
        ("timeoutSeconds: 30, reviewers: [{group: dba}, {group: cfo}]", "reviewers: [{group: dba}]", "b"),
    ] {
        let verdict = two_holds(one, other);
        let Verdict::Hold { rule, terms, .. } = verdict else { panic!("{one} {other}: {verdict:?}") };
        assert_eq!((rule.policy.as_str(), terms.timeout), (asked, Duration::from_secs(30)), "{one} {other}");
        assert_eq!(terms.on_disconnect, OnDisconnect::Withdraw, "{one} {other}");
    }
}

#[test]
fn holds_that_ask_for_others_are_a_refusal_that_names_both() {
    for (one, other) in [
        ("reviewers: [{group: interns}]", "reviewers: [{group: cfo, count: 2}]"),
        ("reviewers: [{count: 3}]", "reviewers: [{group: cfo, count: 2}]"),
        ("reviewers: [{group: a}, {group: b}]", "reviewers: [{group: b}, {group: c}]"),
    ] {
        let verdict = two_holds(one, other);
        assert_eq!(short(&verdict), "Deny /conflicting-holds", "{one} {other}");
        let message = message(verdict);
        assert!(message.contains("a/hold") && message.contains("b/hold"), "{message}");
    }
}

#[test]
fn a_condition_that_fails_denies_whatever_the_rule_would_do() {
    for action in ["Allow", "Deny", "Hold"] {
        let spec = format!(
            "{{rules: [{{name: team, action: {action}, when: \"identity.claims.team == 'x'\"}}, {{name: all, action: Allow}}]}}"
        );
        let verdict = evaluate(&set(&[("a", &spec)]), vec![touch("Select", "public.t")]);
        assert_eq!(short(&verdict), "Deny a/team", "{action}");
        assert!(message(verdict).contains("no such key: team"));
    }
}

#[test]
fn roles_databases_times_and_conditions_narrow_a_rule() {
    for (narrow, expected) in [
        ("roles: [app]", true),
        ("roles: [readonly]", false),
        ("postgresql: {databases: ['ap*']}", true),
        ("postgresql: {databases: [other]}", false),
        ("during: [{from: '11:00', to: '13:00'}]", true),
        ("during: [{from: '13:00', to: '11:00', timeZone: Europe/London}]", false),
        ("when: command.changes", false),
        ("when: resource.labels.env == 'prod'", true),
    ] {
        let spec = format!("{{rules: [{{name: r, action: Allow, {narrow}}}]}}");
        let verdict = evaluate(&set(&[("a", &spec)]), vec![touch("Select", "public.t")]);
        assert_eq!(short(&verdict) == "Allow a/r", expected, "{narrow}");
    }
}

#[test]
fn a_verdict_is_constant_unless_a_rule_that_is_about_it_asked_for_the_time_or_a_condition() {
    let reads = "{name: reads, action: Allow, postgresql: {effects: [Select]}}";
    for (other, constant) in [
        ("{name: r, action: Deny, postgresql: {effects: [Drop]}}", true),
        (
            "{name: r, action: Deny, postgresql: {effects: [Drop]}, when: 'now > timestamp(\"2030-01-01T00:00:00Z\")'}",
            true,
        ),
        ("{name: r, action: Deny, when: 'now > timestamp(\"2030-01-01T00:00:00Z\")'}", false),
        ("{name: r, action: Allow, during: [{from: '11:00', to: '13:00'}]}", false),
        ("{name: r, action: Deny, during: [{from: '13:00', to: '11:00'}]}", false),
    ] {
        for mode in ["Enforce", "Observe"] {
            let spec = format!("{{mode: {mode}, rules: [{other}, {reads}]}}");
            let evaluation =
                evaluate_command(&set(&[("a", &spec)]), &command(vec![touch("Select", "public.t")]));
            assert_eq!(evaluation.constant, constant, "{mode} {other}");
        }
    }
    let nobody =
        set(&[("a", "{subjects: [{group: others}], rules: [{name: r, action: Allow, when: 'true'}]}")]);
    assert!(evaluate_command(&nobody, &command(vec![touch("Select", "public.t")])).constant);
}

#[test]
fn policies_in_observe_mode_only_say_what_they_would_have_done() {
    let trial = format!("mode: Observe\n{AGENTS}");
    let drop = || command(vec![touch("Drop", "public.orders")]);
    let alone = evaluate_command(&set(&[("trial", &trial)]), &drop());
    assert_eq!(short(&alone.verdict), "Allow trial/observe");
    assert_eq!(alone.observed[0].rule.rule, "no-drops");
    assert_eq!(alone.observed[0].verdict, "deny");
    let uncovered =
        evaluate_command(&set(&[("trial", &trial)]), &command(vec![touch("Select", "secret.keys")]));
    assert_eq!(short(&uncovered.verdict), "Allow trial/observe");
    assert_eq!(uncovered.observed[0].rule.rule, "default-deny");
    let beside = set(&[("all", "{rules: [{name: all, action: Allow}]}"), ("trial", &trial)]);
    let beside = evaluate_command(&beside, &drop());
    assert_eq!(short(&beside.verdict), "Allow all/all");
    assert_eq!(beside.observed.len(), 1);
    let nothing = evaluate_command(&set(&[("strict", "{}"), ("trial", &trial)]), &drop());
    assert_eq!(short(&nothing.verdict), "Deny /default-deny");
}

const MASKS: &str = r#"
rules: [{name: all, action: Allow}]
masking:
- {columns: [public.users.email], with: {type: Partial, keepLast: 4}}
- {columns: ["public.users.s*"], with: {type: Hash}}
- {columns: [public.users.ssn], with: {type: "Null"}}
- {detectors: [Secrets]}
"#;

fn from(sources: &[&str], verbatim: bool) -> Provenance {
    let sources = sources.iter().map(|source| ColumnName((*source).to_owned())).collect();
    Provenance { sources, verbatim, opaque: false }
}

fn plan(outputs: Vec<Outputs>) -> MaskPlan {
    let mut command = command(vec![touch("Select", "public.users")]);
    Arc::make_mut(&mut command.reading).outputs = outputs;
    match evaluate_command(&set(&[("a", MASKS)]), &command).verdict {
        Verdict::Allow { mask, .. } => mask,
        other @ (Verdict::Deny { .. } | Verdict::Hold { .. }) => panic!("{other:?}"),
    }
}

#[test]
fn a_column_gets_its_own_mask_and_a_computed_value_is_masked_whole() {
    let opaque = Provenance { opaque: true, ..Provenance::default() };
    for (provenance, expected) in [
        (from(&["public.users.id"], true), None),
        (from(&["public.users.email"], true), Some(MaskType::Partial)),
        (from(&["public.users.email"], false), Some(MaskType::Redact)),
        (from(&["public.users.email", "public.users.id"], true), Some(MaskType::Redact)),
        (from(&["public.users.salary"], true), Some(MaskType::Hash)),
        (from(&["public.users.ssn"], true), Some(MaskType::Null)),
        (from(&["public.users.ssn", "public.users.email"], false), Some(MaskType::Null)),
        (from(&["public.users.*"], true), Some(MaskType::Null)),
        (from(&["public.orders.*"], true), None),
        (opaque, Some(MaskType::Redact)),
    ] {
        let plan = plan(vec![Outputs::Columns(vec![provenance.clone()])]);
        let mask = match plan.outputs.as_slice() {
            [OutputMask::Clear] => None,
            [OutputMask::Columns(masks)] => masks[0].as_ref().map(|mask| mask.type_),
            other => panic!("{other:?}"),
        };
        assert_eq!(mask, expected, "{provenance:?}");
        assert_eq!(plan.tainted, expected.is_some(), "{provenance:?}");
        assert_eq!(plan.detectors.len(), 1);
    }
}

#[test]
fn unaligned_results_are_masked_whole_and_each_result_has_its_entry() {
    let plan = plan(vec![
        Outputs::None,
        Outputs::Unaligned(from(&["public.users.email"], true)),
        Outputs::Unaligned(from(&["public.users.id"], true)),
    ]);
    assert!(matches!(
        plan.outputs.as_slice(),
        [OutputMask::Clear, OutputMask::Whole(mask), OutputMask::Clear] if mask.type_ == MaskType::Redact
    ));
}

#[test]
fn a_masked_value_may_not_be_stored_where_no_mask_covers_it() {
    for (source, into, allowed) in [
        (from(&["public.users.id"], true), "public.copy.id", true),
        (from(&["public.users.email"], true), "public.copy.email", false),
        (from(&["public.users.email"], true), "public.users.ssn", true),
        (from(&["public.users.email"], true), "public.users.*", false),
        (Provenance { opaque: true, ..Provenance::default() }, "public.copy.x", false),
    ] {
        let mut command = command(vec![touch("Insert", "public.copy")]);
        let flow = Flow { from: source, into: ColumnName(into.to_owned()) };
        Arc::make_mut(&mut command.reading).flows = vec![flow];
        let verdict = evaluate_command(&set(&[("a", MASKS)]), &command).verdict;
        let expected = if allowed { "Allow a/all" } else { "Deny /masked-copy" };
        assert_eq!(short(&verdict), expected, "into {into}");
    }
}

#[test]
fn masked_predicates_are_refused_where_the_policy_says_so_and_taint_everywhere() {
    let mut command = command(vec![touch("Select", "public.users")]);
    let predicates = [ColumnName("public.users.email".to_owned())].into();
    Arc::make_mut(&mut command.reading).predicates = predicates;
    let guarded = format!("maskedPredicates: Deny\n{MASKS}");
    assert_eq!(
        short(&evaluate_command(&set(&[("a", &guarded)]), &command).verdict),
        "Deny /masked-predicate"
    );
    let Verdict::Allow { mask, .. } = evaluate_command(&set(&[("a", MASKS)]), &command).verdict else {
        panic!()
    };
    assert!(mask.tainted);
}

#[test]
fn masks_and_detectors_are_those_of_the_policies_about_the_identity() {
    let mine = format!("subjects: [{{claim: {{name: repository, values: ['acme/*']}}}}]\n{MASKS}");
    let set = set(&[("mine", &mine), ("all", "{}")]);
    let agent = identity("agent", &[]);
    let other = Identity { claims: serde_json::Map::new(), ..agent.clone() };
    assert!(set.masks_columns(&agent) && !set.masks_columns(&other));
    assert_eq!(set.detectors(&agent).len(), 1);
    assert!(set.detectors(&other).is_empty());
}
