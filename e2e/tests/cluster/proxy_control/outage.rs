//! The API server is away.

use super::scene::{Answer, Scene, login};
use e2e::process::wait_until;
use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

#[test]
fn without_the_api_server_a_gateway_goes_on_within_the_limit_and_refuses_past_it() {
    let Some(scene) = Scene::start() else { return };
    let gateway = scene.launch("gateway-1", &["--policy-staleness-limit", "12"]);
    gateway.wait_until_ready();
    let token = scene.token("ci-bot");
    let waiting = gateway.begin("app", &token, "delete from orders");
    scene.open_request();
    let mut psql = gateway.psql(&login("readonly", &token));
    let mut child = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "select 'before';").unwrap();

    let stopped = Instant::now();
    scene.server.stop();
    let read = gateway.run("readonly", &token, "select count(*) from orders");
    assert_eq!(read.out, "10", "{read:?}");
    let held = gateway.run("app", &token, "update orders set amount = 0");
    assert!(held.err.contains("needs an approval and none can be asked for: the API server"), "{held:?}");
    assert!(stopped.elapsed() < Duration::from_secs(11), "too slow to tell: {:?}", stopped.elapsed());
    assert_eq!(gateway.admin("readyz").unwrap(), "ready\n");

    let refused = wait_until("it refuses", || {
        Some(gateway.run("readonly", &token, "select count(*) from orders"))
            .filter(|answer| answer.out.is_empty())
    })
    .unwrap();
    assert!(stopped.elapsed() > Duration::from_secs(8), "the limit is no sooner: {:?}", stopped.elapsed());
    for part in ["policy-stale", "newer policies", "nothing was run"] {
        assert!(refused.err.contains(part), "{part} in {refused:?}");
    }
    let unready = wait_until("it is not ready", || gateway.admin("readyz").err()).unwrap();
    assert!(unready.contains("no contact with the API server"), "{unready}");
    assert!(gateway.metric("portcullis_policy_age_seconds") >= 12.0);
    writeln!(input, "select 'meanwhile';").unwrap();

    scene.server.start_again().unwrap();
    let back = Instant::now();
    gateway.wait_until_ready();
    assert!(back.elapsed() < Duration::from_secs(10), "{:?}", back.elapsed());
    assert_eq!(gateway.run("readonly", &token, "select count(*) from orders").out, "10");
    writeln!(input, "select 'after';").unwrap();
    drop(input);
    let session = Answer::of(child);
    assert_eq!(session.out.lines().collect::<Vec<_>>(), ["before", "after"], "{session:?}");
    // What waited meanwhile goes on waiting, and is released when the API server is back.
    let name = scene.requests()[0]["metadata"]["name"].as_str().unwrap().to_owned();
    scene.approve(&name);
    assert_eq!(Answer::of(waiting).out, "DELETE 10");
}

#[test]
fn a_gateway_that_starts_before_the_api_server_is_ready_once_it_is_there() {
    let Some(scene) = Scene::start() else { return };
    scene.server.stop();
    let gateway = scene.launch("gateway-1", &[]);
    std::thread::sleep(Duration::from_secs(2));
    assert!(gateway.admin("readyz").is_err());
    assert_eq!(gateway.admin("healthz").unwrap(), "ok\n");
    scene.server.start_again().unwrap();
    gateway.wait_until_ready();
}
