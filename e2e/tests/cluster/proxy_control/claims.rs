//! Held commands as ApprovalRequests: asked once, released once.

use super::line::Line;
use super::scene::{Answer, Scene};
use e2e::process::wait_until;
use serde_json::json;
use std::time::{Duration, Instant};

/// Changes every row, so the example's Policy holds it.
const RAISE: &str = "update orders set amount = amount + 1";

/// How often the change was made.
fn raised(scene: &Scene) -> i64 {
    let sum: i64 = scene.upstream("select sum(amount)::bigint from orders").parse().unwrap();
    (sum - 550) / 10
}

#[test]
fn of_two_gateways_that_wait_for_one_approval_one_runs_the_command() {
    let Some(scene) = Scene::start() else { return };
    let gateways = [scene.gateway("gateway-1"), scene.gateway("gateway-2")];
    let token = scene.token("ci-bot");
    let first = gateways[0].begin("app", &token, RAISE);
    let request = scene.open_request();
    let name = request["metadata"]["name"].as_str().unwrap();
    let resource = scene.server.client().get(&["resource.portcullis.dev/orders", "-n", "shop"]).unwrap();
    assert_eq!(request["spec"]["resourceRef"]["uid"], resource["metadata"]["uid"]);
    assert_eq!(request["metadata"]["ownerReferences"][0]["uid"], resource["metadata"]["uid"]);
    assert_eq!(request["spec"]["command"]["text"], "update orders set amount = amount + $1");
    // The same command of the same identity, in whichever replica, asks the same question.
    let others: Vec<_> = gateways.iter().map(|gateway| gateway.begin("app", &token, RAISE)).collect();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(scene.requests().len(), 1);
    // A decision alone, or one that nothing binds to who made it, releases nothing.
    scene.decide(name);
    scene.operator_approves(name, "False");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!((raised(&scene), scene.conditions(name)), (0, vec!["Approved".to_owned()]));
    scene.operator_approves(name, "True");
    let answers: Vec<Answer> = std::iter::once(first).chain(others).map(Answer::of).collect();
    let ran = answers.iter().filter(|answer| answer.out == "UPDATE 10").count();
    assert_eq!((ran, raised(&scene)), (1, 1), "{answers:?}");
    let told = answers.iter().filter(|answer| answer.err.contains(&format!("approval {name} was withdrawn")));
    assert_eq!(told.count(), 2, "{answers:?}");
    assert!(answers[0].err.contains(&format!("kubectl portcullis approve {name} -n shop")), "{answers:?}");
    assert_eq!(scene.conditions(name), ["Approved", "ApproverBinding", "Consumed"]);
}

#[test]
fn an_approval_that_nobody_waited_for_is_claimed_by_a_repetition_once() {
    let Some(scene) = Scene::start() else { return };
    let gateways = [scene.gateway("gateway-1"), scene.gateway("gateway-2")];
    let token = scene.token("ci-bot");
    let mut child = gateways[0].begin("app", &token, RAISE);
    let name = scene.open_request()["metadata"]["name"].as_str().unwrap().to_owned();
    child.kill().unwrap();
    child.wait().unwrap();
    scene.approve(&name);
    // Another identity asks for itself.
    let mut other = gateways[1].begin("app", &scene.token("other"), RAISE);
    wait_until("it asks", || (scene.requests().len() == 2).then_some(())).unwrap();
    other.kill().unwrap();
    other.wait().unwrap();
    let began = Instant::now();
    let answer = gateways[1].run("app", &token, RAISE);
    assert_eq!(answer.out, "UPDATE 10", "{answer:?}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!((raised(&scene), scene.conditions(&name).len()), (1, 3));
    let again = gateways[0].begin("app", &token, RAISE);
    wait_until("a second time takes a second approval", || (scene.requests().len() == 3).then_some(()))
        .unwrap();
    drop(again);
}

#[test]
fn a_client_that_goes_away_withdraws_its_request_unless_somebody_else_waits() {
    let Some(scene) = Scene::start() else { return };
    scene.change_policy("onDisconnect: Claimable", "onDisconnect: Withdraw");
    let gateway = scene.gateway("gateway-1");
    let token = scene.token("ci-bot");
    let mut clients = [gateway.begin("app", &token, RAISE), gateway.begin("app", &token, RAISE)];
    let name = scene.open_request()["metadata"]["name"].as_str().unwrap().to_owned();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(scene.requests().len(), 1, "an agent that repeats itself asks one question");
    clients[0].kill().unwrap();
    clients[0].wait().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    assert!(scene.request(&name)["status"].is_null(), "the other still waits");
    clients[1].kill().unwrap();
    clients[1].wait().unwrap();
    let gone = Instant::now();
    wait_until("it is withdrawn", || (scene.conditions(&name) == ["Withdrawn"]).then_some(())).unwrap();
    assert!(gone.elapsed() < Duration::from_secs(2), "{:?}", gone.elapsed());
    // Its end is final: another command of the same words is another question.
    let third = gateway.begin("app", &token, RAISE);
    wait_until("it asks anew", || (scene.requests().len() == 2).then_some(())).unwrap();
    drop(third);
}

#[test]
fn a_denial_and_a_deleted_request_refuse() {
    let Some(scene) = Scene::start() else { return };
    let gateway = scene.gateway("gateway-1");
    let token = scene.token("ci-bot");
    let denied = gateway.begin("app", &token, RAISE);
    let name = scene.open_request()["metadata"]["name"].as_str().unwrap().to_owned();
    let condition = json!({"type": "Denied", "status": "True", "reason": "Denied", "message": "alice (dba): not today",
        "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let patch = json!({"status": {"conditions": [condition]}}).to_string();
    let arguments = [
        "patch",
        "approvalrequest",
        &name,
        "-n",
        "shop",
        "--subresource=status",
        "--type=merge",
        "-p",
        &patch,
    ];
    scene.server.kubectl(&arguments).unwrap();
    let answer = Answer::of(denied);
    assert!(answer.err.contains("was denied by alice (dba): not today"), "{answer:?}");
    let deleted = gateway.begin("app", &token, RAISE);
    let name = scene.open_request()["metadata"]["name"].as_str().unwrap().to_owned();
    scene.server.kubectl(&["delete", "approvalrequest", &name, "-n", "shop"]).unwrap();
    let answer = Answer::of(deleted);
    assert!(answer.err.contains("was withdrawn"), "{answer:?}");
    assert_eq!(raised(&scene), 0);
}

#[test]
fn an_approval_whose_consumption_got_no_answer_is_run_once_by_whoever_consumed_it() {
    let Some(scene) = Scene::start() else { return };
    let line = Line::to(&scene.address());
    scene.lead_through(line.port());
    let gateways = [scene.gateway("gateway-1"), scene.gateway("gateway-2")];
    let token = scene.token("ci-bot");
    let first = gateways[0].begin("app", &token, RAISE);
    let name = scene.open_request()["metadata"]["name"].as_str().unwrap().to_owned();
    std::thread::sleep(Duration::from_millis(500));
    let waiting = [first, gateways[1].begin("app", &token, RAISE)];
    let waits = |gateway: &super::scene::Gateway| gateway.metric("portcullis_sessions_active") >= 1.0;
    wait_until("both wait", || gateways.iter().all(waits).then_some(())).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(scene.requests().len(), 1);
    scene.decide(&name);
    // From now on what is asked arrives, and what is answered does not.
    line.mute(true);
    scene.operator_approves(&name, "True");
    wait_until("it is consumed", || scene.conditions(&name).contains(&"Consumed".to_owned()).then_some(()))
        .unwrap();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(raised(&scene), 0, "nobody knows yet who consumed it");
    let unsure = |gateway: &super::scene::Gateway| gateway.process.log().contains("may have been consumed");
    wait_until("a gateway got no answer", || gateways.iter().any(unsure).then_some(())).unwrap();
    line.mute(false);
    let answers: Vec<Answer> = waiting.into_iter().map(Answer::of).collect();
    let ran = answers.iter().filter(|answer| answer.out == "UPDATE 10").count();
    assert_eq!((ran, raised(&scene)), (1, 1), "{answers:?}");
}
