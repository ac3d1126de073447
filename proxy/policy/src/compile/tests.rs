use super::*;
use serde_json::{Value, json};

fn facts() -> ResourceFacts {
    ResourceFacts {
        namespace: "shop".into(),
        name: "orders".into(),
        labels: [("env".to_owned(), "prod".to_owned())].into(),
        protocol: "postgresql".into(),
        roles: vec!["app".into()],
    }
}

fn policy(name: &str, spec: Value) -> Policy {
    let mut policy = Policy::new(name, serde_json::from_value(spec).unwrap());
    policy.metadata.namespace = Some("shop".into());
    policy
}

fn problems(spec: Value) -> Vec<String> {
    let mut spec = spec;
    spec["targetRefs"] = json!([{"name": "orders"}]);
    let problems = compile(&facts(), &[policy("p", spec)]).err().unwrap_or_default();
    problems.into_iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect()
}

fn names(set: &PolicySet) -> Vec<&str> {
    set.policies().map(|(name, _)| name).collect()
}

/// Specs, each with the only problem that is expected.
fn check_all(cases: &[(Value, &str)]) {
    for (spec, expected) in cases {
        let found = problems(spec.clone());
        assert!(
            found.len() == 1 && found[0].starts_with(expected),
            "{spec}\nexpected {expected}\nfound {found:?}"
        );
    }
}

#[test]
fn every_mistake_in_a_rule_is_located() {
    let allow = |more: Value| {
        let mut rule = json!({"name": "r", "action": "Allow"});
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"rules": [{"name": "first", "action": "Allow"}, rule]})
    };
    check_all(&[
        (allow(json!({"name": "first"})), "spec.rules[1].name: `first` is the name of another"),
        (allow(json!({"approval": {}})), "spec.rules[1].approval: is only for `action: Hold`"),
        (
            allow(json!({"roles": ["app", "root"]})),
            "spec.rules[1].roles[1]: resource orders has no role `root`",
        ),
        (allow(json!({"when": "1 +"})), "spec.rules[1].when: 1:"),
        (
            allow(json!({"when": "identity.nope == 1"})),
            "spec.rules[1].when: 1:9: `identity` has no field `nope`",
        ),
        (allow(json!({"during": [{}, {"from": "9"}]})), "spec.rules[1].during[1].from: `9` is no time"),
        (allow(json!({"during": [{"timeZone": "X/Y"}]})), "spec.rules[1].during[0].timeZone: unknown"),
        (
            allow(json!({"postgresql": {"relations": ["orders"]}})),
            "spec.rules[1].postgresql.relations[0]: `orders` names no schema",
        ),
        (
            allow(json!({"postgresql": {"effects": ["Select"], "unbounded": true}})),
            "spec.rules[1].postgresql.unbounded: is only about",
        ),
        (
            allow(json!({"action": "Hold", "approval": {"timeoutSeconds": 0}})),
            "spec.rules[1].approval.timeoutSeconds: must be from 1",
        ),
        (
            allow(json!({"action": "Hold", "approval": {"reviewers": [{"count": 0}]}})),
            "spec.rules[1].approval.reviewers[0].count: must be from 1",
        ),
    ]);
}

#[test]
fn every_mistake_in_masks_and_subjects_is_located() {
    let mask = |rule: Value| json!({"masking": [{"columns": ["a.b.c"]}, rule]});
    check_all(&[
        (mask(json!({})), "spec.masking[1]: set exactly one of"),
        (mask(json!({"columns": ["a.b.c"], "detectors": ["Jwt"]})), "spec.masking[1]: set exactly one of"),
        (mask(json!({"columns": ["users.email"]})), "spec.masking[1].columns[0]: `users.email` is no column"),
        (
            mask(json!({"columns": ["a.b.c"], "with": {"type": "Hash", "keepLast": 4}})),
            "spec.masking[1].with.keepLast: is only for `type: Partial`",
        ),
        (
            mask(json!({"columns": ["a.b.c"], "with": {"type": "Partial", "keepLast": 9}})),
            "spec.masking[1].with.keepLast: must be from 1 to 8",
        ),
        (
            mask(json!({"patterns": [{"name": "x", "regex": "("}]})),
            "spec.masking[1].patterns[0].regex: error: unclosed group",
        ),
        (
            mask(json!({"patterns": [{"name": "x", "regex": "a*"}]})),
            "spec.masking[1].patterns[0].regex: matches the empty",
        ),
        (
            mask(json!({"patterns": [{"name": "x", "regex": r"(\w{100}){100}"}]})),
            "spec.masking[1].patterns[0].regex: is too large",
        ),
        (json!({"subjects": [{}]}), "spec.subjects[0]: is empty"),
        (
            json!({"subjects": [{"claim": {"name": "a", "values": []}}]}),
            "spec.subjects[0].claim.values: must have at least one",
        ),
    ]);
}

#[test]
fn every_problem_of_every_policy_is_reported() {
    let broken = json!({"targetRefs": [{"name": "orders"}], "rules": [
        {"name": "a", "action": "Allow", "when": "x"}, {"name": "a", "action": "Allow", "approval": {}},
    ]});
    let found = compile(&facts(), &[policy("p", broken.clone()), policy("q", broken)]).unwrap_err();
    assert_eq!(found.len(), 6);
    assert_eq!(found[5].to_string(), "policy q: spec.rules[1].approval: is only for `action: Hold`");
}

#[test]
fn policies_are_selected_by_name_or_by_label_within_the_namespace() {
    let mut elsewhere = policy("elsewhere", json!({"targetRefs": [{"name": "orders"}]}));
    elsewhere.metadata.namespace = Some("other".into());
    let selector = |expressions: Value| json!({"resourceSelector": {"matchExpressions": expressions}});
    let set = compile(
        &facts(),
        &[
            policy("named", json!({"targetRefs": [{"name": "x"}, {"name": "orders"}]})),
            policy("another", json!({"targetRefs": [{"name": "x"}]})),
            policy("labelled", json!({"resourceSelector": {"matchLabels": {"env": "prod"}}})),
            policy("unlabelled", json!({"resourceSelector": {"matchLabels": {"env": "dev"}}})),
            policy("everything", json!({"resourceSelector": {}})),
            policy("in", selector(json!([{"key": "env", "operator": "In", "values": ["prod", "dev"]}]))),
            policy("not-in", selector(json!([{"key": "tier", "operator": "NotIn", "values": ["a"]}]))),
            policy("exists", selector(json!([{"key": "tier", "operator": "Exists"}]))),
            policy("absent", selector(json!([{"key": "tier", "operator": "DoesNotExist"}]))),
            elsewhere,
        ],
    )
    .unwrap();
    assert_eq!(names(&set), ["absent", "everything", "in", "labelled", "named", "not-in"]);
}

#[test]
fn a_selection_that_cannot_be_meant_is_a_problem() {
    for (spec, path) in [
        (json!({}), "spec.targetRefs"),
        (json!({"targetRefs": [{"name": "orders"}], "resourceSelector": {}}), "spec.resourceSelector"),
        (
            json!({"resourceSelector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}}),
            "spec.resourceSelector.matchExpressions[0]",
        ),
    ] {
        assert_eq!(compile(&facts(), &[policy("p", spec)]).unwrap_err()[0].path, path);
    }
}

#[test]
fn policies_without_a_namespace_are_in_the_default_one() {
    let mut policy = policy("p", json!({"targetRefs": [{"name": "orders"}]}));
    policy.metadata.namespace = None;
    let facts = ResourceFacts { name: "orders".into(), ..ResourceFacts::default() };
    assert_eq!(names(&compile(&facts, std::slice::from_ref(&policy)).unwrap()), ["p"]);
    let facts = ResourceFacts { namespace: "default".into(), ..facts };
    assert_eq!(names(&compile(&facts, &[policy]).unwrap()), ["p"]);
}

#[test]
fn the_digest_is_of_the_content_whatever_the_order() {
    let one = policy("one", json!({"targetRefs": [{"name": "orders"}]}));
    let two = policy("two", json!({"targetRefs": [{"name": "orders"}], "mode": "Observe"}));
    let digest = |policies: &[Policy]| compile(&facts(), policies).unwrap().digest().to_owned();
    assert_eq!(digest(&[one.clone(), two.clone()]), digest(&[two.clone(), one.clone()]));
    assert_eq!(digest(std::slice::from_ref(&one)).len(), 64);
    assert_ne!(digest(std::slice::from_ref(&one)), digest(&[one, two]));
}
