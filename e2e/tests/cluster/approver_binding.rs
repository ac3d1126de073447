//! The admission policy, against a real API server and as real users: who creates requests, who decides, in whose name,
//! and who writes which condition. Cases 1 to 14 are those of `docs/approvals.md`.

mod shop;

use e2e::cluster::ApiServer;
use e2e::process::wait_until;
use serde_json::{Value, json};
use shop::{Patch, Shop, condition, decision, decisions, install};

#[test]
fn case_01_who_lacks_the_verb_does_not_decide() {
    let Some(shop) = Shop::open("case-01") else { return };
    // bob may patch requests, as many may; that makes nobody an approver.
    shop.patch(&shop.bob, "held", Patch::Merge, &decisions([decision("bob")]))
        .is_refused(403, "portcullis: bob may not approve for Policy prod-ddl");
    // The verb on another Policy does not help.
    shop.create(&shop.gateway, "other", &json!({"policyRef": {"name": "other", "rule": "r"}})).is_accepted();
    shop.patch(&shop.alice, "other", Patch::Merge, &decisions([decision("alice")]))
        .is_refused(403, "portcullis: alice may not approve for Policy other");
}

#[test]
fn case_02_nobody_decides_in_another_name() {
    let Some(shop) = Shop::open("case-02") else { return };
    shop.patch(&shop.alice, "held", Patch::Merge, &decisions([decision("carol")]))
        .is_refused(403, "portcullis: approver must be the user who patches, and that is alice");
    // Nor in another's beside their own.
    shop.patch(&shop.alice, "held", Patch::Merge, &decisions([decision("alice"), decision("carol")]))
        .is_refused(403, "portcullis: approver must be the user who patches");
}

#[test]
fn case_03_the_requester_does_not_decide_on_its_own_command() {
    let Some(shop) = Shop::open("case-03") else { return };
    // The agent is an approver, and a decision of its own would count for the requests of others.
    let agent = shop.account("agent");
    shop.patch(&shop.agent, "held", Patch::Merge, &decisions([decision(&agent)]))
        .is_refused(403, "is the requester");
    let requester = |username: &str, subject: &str| json!({"requester": {"issuer": "https://idp.example.com", "subject": subject, "username": username}});
    for (name, change) in
        [("by-username", requester("alice", "00u1")), ("by-subject", requester("alice@example.com", "alice"))]
    {
        shop.create(&shop.gateway, name, &change).is_accepted();
        shop.patch(&shop.alice, name, Patch::Merge, &decisions([decision("alice")]))
            .is_refused(403, "portcullis: alice is the requester");
    }
    // The API server puts a prefix before names of an identity provider.
    for user in ["oidc:ci-bot", "https://idp.example.com#ci-bot"] {
        let caller = shop.admin.acting_as(user, &["system:masters"]);
        shop.create(&shop.gateway, "prefixed", &requester("ci-bot", "00u2"));
        shop.patch(&caller, "prefixed", Patch::Merge, &decisions([decision(user)]))
            .is_refused(403, "is the requester (ci-bot)");
    }
    shop.create(&shop.gateway, "of-others", &requester("someone", "00u3")).is_accepted();
    shop.patch(&shop.agent, "of-others", Patch::Merge, &decisions([decision(&agent)])).is_accepted();
}

#[test]
fn case_04_what_was_held_is_immutable() {
    let Some(shop) = Shop::open("case-04") else { return };
    for (change, why) in [
        (json!({"command": {"digest": "of something else"}}), "command: immutable"),
        (json!({"reviewers": []}), "reviewers: immutable"),
        (json!({"policyRef": {"name": "lenient"}}), "only decisions may be appended"),
        (json!({"expiresAt": "2099-01-01T00:00:00Z"}), "only decisions may be appended"),
        (json!({"requester": {"username": "somebody"}}), "only decisions may be appended"),
    ] {
        for caller in [&shop.alice, &shop.admin, &shop.operator] {
            shop.patch(caller, "held", Patch::Merge, &json!({"spec": change})).is_refused(422, why);
        }
    }
    // Labels are for whoever sorts requests.
    shop.patch(&shop.alice, "held", Patch::Merge, &json!({"metadata": {"labels": {"team": "dba"}}}))
        .is_accepted();
}

#[test]
fn case_05_an_approver_decides_in_their_own_name_and_group() {
    let Some(shop) = Shop::open("case-05") else { return };
    let of = |group: &str| {
        let mut decision = decision("alice");
        decision["group"] = json!(group);
        decisions([decision])
    };
    shop.patch(&shop.alice, "held", Patch::Merge, &of("owners")).is_refused(
        403,
        "portcullis: alice is not in the group that the decision names; leave group out or give one of dba",
    );
    shop.patch(&shop.alice, "held", Patch::Merge, &of("")).is_refused(403, "not in the group");
    shop.patch(&shop.alice, "held", Patch::Merge, &of("dba")).is_accepted();
}

#[test]
fn case_06_a_patch_that_erases_anothers_decision_is_refused() {
    let Some(shop) = Shop::open("case-06") else { return };
    shop.patch(&shop.alice, "held", Patch::Merge, &decisions([decision("alice")])).is_accepted();
    shop.patch(&shop.carol, "held", Patch::Merge, &decisions([decision("carol")]))
        .is_refused(403, "portcullis: decisions are append-only");
    // Nobody takes their own back either, nor does an administrator.
    for caller in [&shop.alice, &shop.admin] {
        shop.patch(caller, "held", Patch::Merge, &decisions([])).is_refused(403, "append-only");
    }
}

#[test]
fn case_07_a_second_approver_appends() {
    let Some(shop) = Shop::open("case-07") else { return };
    shop.patch(&shop.alice, "held", Patch::Merge, &decisions([decision("alice")])).is_accepted();
    let add = |path: &str| json!([{"op": "add", "path": path, "value": decision("carol")}]);
    // The gateway compares what it saw with what is there from the front.
    shop.patch(&shop.carol, "held", Patch::Json, &add("/spec/decisions/0")).is_refused(403, "append-only");
    shop.patch(&shop.carol, "held", Patch::Json, &add("/spec/decisions/-")).is_accepted();
    assert_eq!(shop.approvers("held"), ["alice", "carol"]);
}

#[test]
fn case_08_a_verdict_is_not_flipped() {
    let Some(shop) = Shop::open("case-08") else { return };
    shop.patch(&shop.alice, "held", Patch::Merge, &decisions([decision("alice")])).is_accepted();
    let flip = json!([{"op": "replace", "path": "/spec/decisions/0/verdict", "value": "Denied"}]);
    shop.patch(&shop.alice, "held", Patch::Json, &flip).is_refused(403, "append-only");
    shop.patch(&shop.admin, "held", Patch::Json, &flip)
        .is_refused(403, "approver must be the user who patches");
    // The list is keyed by approver.
    let again = decisions([decision("alice"), decision("alice")]);
    shop.patch(&shop.alice, "held", Patch::Merge, &again).is_refused(422, "Duplicate value");
}

#[test]
fn case_09_an_administrator_is_bound_as_everybody_is() {
    let Some(shop) = Shop::open("case-09") else { return };
    shop.patch(&shop.admin, "held", Patch::Merge, &decisions([decision("carol")]))
        .is_refused(403, "portcullis: approver must be the user who patches, and that is admin");
    shop.patch(&shop.admin, "held", Patch::Merge, &decisions([decision("admin")])).is_accepted();
}

#[test]
fn case_10_whoever_may_impersonate_may_approve_and_the_audit_log_tells() {
    let Some(shop) = Shop::open("case-10") else { return };
    let carol = shop.admin.acting_as("carol", &["dba"]);
    shop.patch(&carol, "held", Patch::Merge, &decisions([decision("carol")])).is_accepted();
    // Who may not impersonate does not get as far as admission.
    let carol = shop.alice.acting_as("carol", &["dba"]);
    shop.patch(&carol, "held", Patch::Merge, &decisions([decision("carol")]))
        .is_refused(403, "cannot impersonate resource \"users\"");

    let decided = shop.annotated("held");
    let [event] = decided.as_slice() else { panic!("{decided:?}") };
    assert_eq!(event["user"]["username"], "admin");
    assert_eq!(event["impersonatedUser"]["username"], "carol");
    let said = event["annotations"]["portcullis-approver-binding/decision"].as_str().unwrap();
    assert!(said.starts_with("Approved as carol by carol for policy prod-ddl, digest d1, uid "), "{said}");
}

#[test]
fn case_11_no_request_is_created_decided() {
    let Some(shop) = Shop::open("case-11") else { return };
    let decided = json!({"decisions": [decision("alice")]});
    for caller in [&shop.gateway, &shop.operator, &shop.admin] {
        shop.create(caller, "decided", &decided)
            .is_refused(403, "portcullis: a request is not created already decided");
    }
    // Nor by anybody but the gateway of its Resource.
    for caller in [&shop.admin, &shop.operator, &shop.other_gateway] {
        shop.create(caller, "forged", &json!({})).is_refused(403, "portcullis: only the gateway");
    }
}

#[test]
fn case_12_server_side_apply_appends_as_well() {
    let Some(shop) = Shop::open("case-12") else { return };
    shop.patch(&shop.alice, "held", Patch::Apply("alice"), &decisions([decision("alice")])).is_accepted();
    shop.patch(&shop.carol, "held", Patch::Apply("carol"), &decisions([decision("carol")])).is_accepted();
    assert_eq!(shop.approvers("held"), ["alice", "carol"]);
    // Applying without it would take it back.
    shop.patch(&shop.alice, "held", Patch::Apply("alice"), &json!({"spec": {}}))
        .is_refused(403, "append-only");
}

#[test]
fn case_13_status_is_not_for_people() {
    let Some(shop) = Shop::open("case-13") else { return };
    let approved = json!({"status": {"conditions": [condition("Approved")]}});
    shop.patch_status(&shop.alice, "held", Patch::Merge, &approved).is_refused(403, "cannot patch resource");
    // With the right in RBAC it is still not theirs.
    for caller in [&shop.admin, &shop.other_gateway] {
        shop.patch_status(caller, "held", Patch::Merge, &approved)
            .is_refused(403, "portcullis: status is written by the operator");
    }
    // Nor does a decision bring a condition with it.
    let both = json!({"spec": {"decisions": [decision("alice")]}, "status": approved["status"]});
    shop.patch(&shop.alice, "held", Patch::Merge, &both).is_accepted();
    assert_eq!(shop.read("held")["status"], Value::Null);
}

#[test]
fn case_14_a_name_can_be_used_again_but_is_another_object() {
    let Some(shop) = Shop::open("case-14") else { return };
    let before = shop.read("held");
    shop.delete(&shop.admin, "held").is_accepted();
    let other = json!({"command": {
        "protocol": "postgresql", "summary": "s", "text": "DROP TABLE orders", "digest": "d2", "effectDigest": "e2",
    }});
    shop.create(&shop.admin, "held", &other).is_refused(403, "portcullis: only the gateway");
    // Allowed: the gateway takes an approval for the very UID and digest that it asked for, never for a name.
    shop.create(&shop.gateway, "held", &other).is_accepted();
    assert_ne!(shop.read("held")["metadata"]["uid"], before["metadata"]["uid"]);
    // An approver who names what they read decides on that, or on nothing.
    let mut decided = decisions([decision("alice")]);
    decided["metadata"] = json!({"uid": before["metadata"]["uid"]});
    shop.patch(&shop.alice, "held", Patch::Merge, &decided).is_refused(422, "metadata.uid");
    decided["metadata"] = json!({"uid": shop.read("held")["metadata"]["uid"]});
    shop.patch(&shop.alice, "held", Patch::Merge, &decided).is_accepted();
}

#[test]
fn outcomes_are_the_operators_and_stay() {
    let Some(shop) = Shop::open("outcomes") else { return };
    let conditions = |kinds: &[&str]| {
        let conditions: Vec<Value> = kinds.iter().map(|kind| condition(kind)).collect();
        json!({"status": {"conditions": conditions, "observedGeneration": 1}})
    };
    let write = |kinds: &[&str]| shop.patch_status(&shop.operator, "held", Patch::Merge, &conditions(kinds));
    write(&["Withdrawn"]).is_refused(403, "portcullis: the operator writes the conditions");
    write(&["Consumed"]).is_refused(403, "portcullis: the operator writes the conditions");
    write(&["Approved", "Denied"]).is_refused(403, "portcullis: a request has one outcome");
    write(&["Approved", "ApproverBinding"]).is_accepted();
    write(&["Denied", "ApproverBinding"]).is_refused(403, "True stays");
    write(&["ApproverBinding"]).is_refused(403, "True stays");
    write(&["Approved"]).is_accepted();

    let late = json!([{"op": "add", "path": "/spec/decisions", "value": [decision("alice")]}]);
    shop.patch(&shop.alice, "held", Patch::Json, &late)
        .is_refused(403, "portcullis: the request has ended (Approved) and takes no more decisions");
}

#[test]
fn a_gateway_adds_withdrawn_or_consumed_and_touches_nothing_else() {
    let Some(shop) = Shop::open("gateways") else { return };
    let write = |caller, value: &Value| shop.patch_status(caller, "held", Patch::Merge, value);
    let status = |kinds: &[&str]| {
        let conditions: Vec<Value> = kinds.iter().map(|kind| condition(kind)).collect();
        json!({"status": {"conditions": conditions}})
    };
    for kind in ["Approved", "Denied", "Expired", "ApproverBinding"] {
        write(&shop.gateway, &status(&[kind])).is_refused(403, "portcullis: the gateway adds the conditions");
    }
    write(&shop.gateway, &json!({"status": {"observedGeneration": 7}}))
        .is_refused(403, "portcullis: the gateway adds");
    write(&shop.gateway, &status(&["Consumed"]))
        .is_refused(403, "portcullis: only a request that is Approved");
    write(&shop.operator, &status(&["Approved"])).is_accepted();
    write(&shop.gateway, &status(&["Approved", "Consumed"]))
        .is_refused(403, "with ApproverBinding True, is consumed");
    write(&shop.operator, &status(&["Approved", "ApproverBinding"])).is_accepted();
    write(&shop.gateway, &status(&["Approved", "Consumed"])).is_refused(403, "changes nothing that is there");

    let consume = json!([{"op": "add", "path": "/status/conditions/-", "value": condition("Consumed")}]);
    let by = |caller| shop.patch_status(caller, "held", Patch::Json, &consume);
    by(&shop.other_gateway).is_refused(403, "portcullis: status is written by the operator");
    by(&shop.gateway).is_accepted();
    // What is consumed stays so: for the gateway itself and for the operator.
    let take_back = json!([{"op": "remove", "path": "/status/conditions/2"}]);
    shop.patch_status(&shop.gateway, "held", Patch::Json, &take_back)
        .is_refused(403, "changes nothing that is there");
    shop.patch_status(&shop.operator, "held", Patch::Json, &take_back).is_refused(403, "the operator writes");
    let reword = json!([{"op": "replace", "path": "/status/conditions/2/message", "value": "by another"}]);
    shop.patch_status(&shop.gateway, "held", Patch::Json, &reword)
        .is_refused(403, "changes nothing that is there");

    shop.create(&shop.gateway, "withdrawn", &json!({})).is_accepted();
    shop.patch_status(&shop.gateway, "withdrawn", Patch::Apply("gateway"), &status(&["Withdrawn"]))
        .is_accepted();
}

#[test]
fn the_operators_dry_runs_are_refused_for_the_reason_it_looks_for() {
    let Some(shop) = Shop::open("canaries") else { return };
    let canary = json!({"decisions": [decision("portcullis-canary")]});
    shop.create_dry(&shop.operator, "portcullis-canary", &canary)
        .is_refused(403, "portcullis: a request is not created already decided");
    shop.patch(&shop.alice, "held", Patch::Merge, &decisions([decision("alice")])).is_accepted();
    // Also when somebody decided since the operator looked.
    for before in [vec![decision("alice")], vec![]] {
        let forged = decisions(before.into_iter().chain([decision("portcullis-canary")]));
        shop.patch_dry(&shop.operator, "held", &forged)
            .is_refused(403, "portcullis: approver must be the user who patches");
    }
    assert_eq!(shop.approvers("held"), ["alice"]);
}

#[test]
fn the_largest_request_is_within_what_admission_may_cost() {
    let Some(shop) = Shop::open("largest") else { return };
    let groups: Vec<String> = (0..200).map(|number| format!("group-{number}")).collect();
    let groups: Vec<&str> = groups.iter().map(String::as_str).chain(["system:masters"]).collect();
    for number in 0..32 {
        let user = format!("{number:0>253}");
        let mut last = decision(&user);
        last["reason"] = json!("r".repeat(1024));
        last["group"] = json!("group-199");
        let append = json!([{"op": "add", "path": "/spec/decisions/-", "value": last}]);
        shop.patch(&shop.admin.acting_as(&user, &groups), "held", Patch::Json, &append).is_accepted();
    }
}

#[test]
fn the_denied_attempt_is_in_the_audit_log_too() {
    let Some(shop) = Shop::open("denied") else { return };
    shop.patch(&shop.alice, "held", Patch::Merge, &decisions([decision("carol")]))
        .is_refused(403, "portcullis:");
    let attempts = shop.annotated("held");
    let [event] = attempts.as_slice() else { panic!("{attempts:?}") };
    let annotations = &event["annotations"];
    let said = annotations["portcullis-approver-binding/decision"].as_str().unwrap();
    assert!(said.starts_with("Approved as carol by alice for policy prod-ddl"), "{said}");
    let failure = annotations["validation.policy.admission.k8s.io/validation_failure"].as_str().unwrap();
    assert!(failure.contains("approver must be the user who patches"), "{failure}");
}

/// An expression of the wrong type makes a policy that enforces nothing, and its binding is accepted all the same.
#[test]
fn the_type_checker_has_nothing_to_say() {
    if !ApiServer::is_possible() {
        return;
    }
    let server = ApiServer::start_with_controllers().unwrap();
    install(&server);
    let policy = wait_until("the policy is checked", || {
        let policy = server.client().get(&["validatingadmissionpolicy/portcullis-approver-binding"]).ok()?;
        policy["status"]["typeChecking"].is_object().then_some(policy)
    })
    .unwrap();
    assert_eq!(policy["status"]["typeChecking"]["expressionWarnings"], Value::Null);
}
