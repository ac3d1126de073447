//! How long a change takes: printed, and bounded as the table says, with room for a loaded machine.

use super::scene::{Answer, Scene, approved, login};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

const ROUNDS: usize = 20;

/// The API server, without the time that kubectl takes to start.
struct Api {
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
    server: String,
    token: String,
}

impl Api {
    fn of(scene: &Scene) -> Self {
        let text =
            scene.server.kubectl(&["config", "view", "--raw", "--minify", "--output", "json"]).unwrap();
        let config: Value = serde_json::from_str(&text).unwrap();
        let cluster = &config["clusters"][0]["cluster"];
        let authority = cluster["certificate-authority-data"].as_str().unwrap();
        let pem = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, authority).unwrap();
        let authority = reqwest::Certificate::from_pem(&pem).unwrap();
        let client = reqwest::Client::builder().tls_certs_only([authority]).build().unwrap();
        Self {
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            client,
            server: cluster["server"].as_str().unwrap().to_owned(),
            token: config["users"][0]["user"]["token"].as_str().unwrap().to_owned(),
        }
    }

    fn patch(&self, path: &str, fields: String) {
        let url = format!("{}/apis/portcullis.dev/v1alpha1/namespaces/shop/{path}", self.server);
        let request = self.client.patch(url).bearer_auth(&self.token);
        let request = request.header("content-type", "application/merge-patch+json").body(fields);
        self.runtime.block_on(async { request.send().await.unwrap().error_for_status().unwrap() });
    }
}

#[test]
fn a_changed_policy_is_enforced_in_live_sessions() {
    let Some(scene) = Scene::start() else { return };
    let gateway = scene.gateway("gateway-1");
    let api = Api::of(&scene);
    let token = scene.token("ci-bot");
    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(script.path(), "select count(*) from orders \\watch 0.002\n").unwrap();
    let mut enforced = Vec::new();
    for round in 0..ROUNDS {
        let mut psql = gateway.psql(&login("readonly", &token));
        let mut child =
            psql.arg("-f").arg(script.path()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let effect = if round % 2 == 0 { "Deny" } else { "Allow" };
        let rules = json!({"spec": {"rules": [
            {"name": "reads", "action": effect, "postgresql": {"effects": ["Select"]}},
            {"name": "sessions", "action": "Allow", "postgresql": {"effects": ["Connect", "Transaction", "Set"]}},
            {"name": format!("round-{round}"), "action": "Deny", "postgresql": {"effects": ["Drop"]}},
        ]}});
        let began = Instant::now();
        api.patch("policies/agents", rules.to_string());
        if effect == "Deny" {
            // psql says so and stops.
            let mut said = String::new();
            BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
            enforced.push(began.elapsed());
            assert!(said.contains("reads"), "{said}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    report("policy patched to refused in a live session", enforced);
}

#[test]
fn an_approved_command_is_released() {
    let Some(scene) = Scene::start() else { return };
    let gateway = scene.gateway("gateway-1");
    let api = Api::of(&scene);
    let token = scene.token("ci-bot");
    let mut released = Vec::new();
    for _ in 0..ROUNDS {
        let held = gateway.begin("app", &token, "update orders set amount = amount + 1");
        let name = scene.open_request()["metadata"]["name"].as_str().unwrap().to_owned();
        scene.decide(&name);
        let began = Instant::now();
        api.patch(&format!("approvalrequests/{name}/status"), approved("True"));
        let answer = Answer::of(held);
        released.push(began.elapsed());
        assert_eq!(answer.out, "UPDATE 10", "{answer:?}");
    }
    // psql's own end is in it.
    report("approval in status to the end of the command", released);
}

/// Figures are for people: how fast it is depends on what else the machine does.
fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
    println!("{what}: median {median:?}, longest {longest:?} of {}", times.len());
}
