//! The development issuer, and a gateway's authenticator that trusts it.

use super::{fails, portcullis, succeeds, text};
use proxy_core::authn::{Authenticator, AuthnReason, BearerToken, Freshness, IssuerOptions};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

struct Running {
    child: Child,
    url: String,
}

impl Running {
    fn start(state: &Path) -> Self {
        let mut child = portcullis(&["dev-issuer", "--listen", "127.0.0.1:0", "--state", text(state)])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("ready: ").expect("a ready line").to_owned();
        Self { child, url }
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let response =
            reqwest::Client::new().post(format!("{}{path}", self.url)).json(&body).send().await.unwrap();
        response.json().await.unwrap()
    }

    fn trusting(&self) -> Authenticator {
        let issuer = IssuerOptions {
            issuer: self.url.clone(),
            audiences: vec!["orders.shop".to_owned()],
            username_claim: "sub".to_owned(),
            groups_claim: "groups".to_owned(),
            ca_pem: None,
            introduction: None,
        };
        let eager = Freshness { minimum_interval: Duration::ZERO, ..Freshness::default() };
        Authenticator::new(vec![issuer], eager).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[tokio::test]
async fn a_token_from_the_command_line_is_what_it_was_asked_to_be() {
    let state = tempfile::tempdir().unwrap();
    let issuer = Running::start(state.path());
    let token = succeeds(&mut portcullis(&[
        "dev-issuer",
        "token",
        "--state",
        text(state.path()),
        "--subject",
        "ci-bot",
        "--group",
        "agents",
        "--audience",
        "orders.shop",
        "--claim",
        "repository=acme/billing",
        "--claim",
        "run_attempt:=2",
        "--ttl",
        "15m",
    ]));
    let verified = issuer.trusting().verify(&BearerToken::new(token.trim().to_owned())).await.unwrap();
    let identity = verified.identity();
    assert_eq!((identity.subject.as_str(), &identity.groups[..]), ("ci-bot", &["agents".to_owned()][..]));
    assert_eq!(identity.claims["repository"], json!("acme/billing"));
    assert_eq!(identity.claims["run_attempt"], json!(2));
}

#[tokio::test]
async fn keys_rotate_and_retire_under_a_gateway_that_trusts_them() {
    let state = tempfile::tempdir().unwrap();
    let issuer = Running::start(state.path());
    let authenticator = issuer.trusting();
    let wish = json!({ "subject": "ci-bot", "audience": "orders.shop" });
    let mint = async || {
        BearerToken::new(
            issuer.post("/token", wish.clone()).await["access_token"].as_str().unwrap().to_owned(),
        )
    };
    let before = mint().await;
    authenticator.verify(&before).await.unwrap();
    issuer.post("/rotate", json!({})).await;
    authenticator.verify(&mint().await).await.unwrap();
    authenticator.verify(&before).await.unwrap();
    issuer.post("/rotate?retire=true", json!({})).await;
    authenticator.verify(&mint().await).await.unwrap();
    let refused = authenticator.verify(&before).await.unwrap_err();
    assert_eq!(refused.reason(), AuthnReason::UnknownKey);
}

#[tokio::test]
async fn keys_outlive_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let keys = async |issuer: &Running| -> Value {
        reqwest::get(format!("{}/jwks", issuer.url)).await.unwrap().json().await.unwrap()
    };
    let before = keys(&Running::start(state.path())).await;
    assert_eq!(before, keys(&Running::start(state.path())).await);
    assert!(before["keys"][0].get("d").is_none(), "the private key stays private");
}

#[test]
fn it_never_listens_beyond_loopback() {
    let state = tempfile::tempdir().unwrap();
    let complaint =
        fails(&mut portcullis(&["dev-issuer", "--listen", "0.0.0.0:0", "--state", text(state.path())]));
    assert!(complaint.contains("loopback"), "{complaint}");
}

#[test]
fn a_token_of_an_issuer_that_never_ran_is_refused_with_a_remedy() {
    let state = tempfile::tempdir().unwrap();
    let complaint = fails(&mut portcullis(&[
        "dev-issuer",
        "token",
        "--state",
        text(state.path()),
        "--subject",
        "x",
        "--audience",
        "y",
    ]));
    assert!(complaint.contains("portcullis dev-issuer"), "{complaint}");
}
