//! `portcullis exec-credential`: a token, as kubectl and client libraries ask a program for it.
//!
//! <https://kubernetes.io/docs/reference/config-api/client-authentication.v1/>

use crate::output::Output;
use crate::token::TokenArguments;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Of what is printed.
pub(super) const API_VERSION: &str = "client.authentication.k8s.io/v1";

/// Print the agent's token as a credential plugin of kubectl: kubeconfigs that `kubeconfig` printed run this.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  PORTCULLIS_TOKEN=\"$(get-token)\" portcullis exec-credential
  portcullis exec-credential --token-file /var/run/secrets/tokens/cluster")]
pub(crate) struct Arguments {
    #[command(flatten)]
    token: TokenArguments,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<ExitCode> {
    output.json_line(&credential(&arguments.token.read()?))?;
    Ok(ExitCode::SUCCESS)
}

fn credential(token: &str) -> Value {
    let mut status = json!({"token": token});
    // without it kubectl would ask once only, however long it runs
    if let (Some(status), Some(end)) = (status.as_object_mut(), expiry(token)) {
        status.insert("expirationTimestamp".to_owned(), json!(end.to_string()));
    }
    json!({"apiVersion": API_VERSION, "kind": "ExecCredential", "status": status})
}

/// When a token expires, in its own words: nothing is verified here.
fn expiry(token: &str) -> Option<Timestamp> {
    let payload = token.split('.').nth(1)?;
    let payload: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    Timestamp::from_second(payload.get("exp")?.as_i64()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_ends_with_its_token() {
        let token = format!("e30.{}.x", URL_SAFE_NO_PAD.encode(r#"{"exp":1800000000}"#));
        let made = credential(&token);
        assert_eq!(made["status"], json!({"token": token, "expirationTimestamp": "2027-01-15T08:00:00Z"}));
        for other in ["opaque", "a.b.c", "e30.e30.x"] {
            assert_eq!(credential(other)["status"], json!({"token": other}));
        }
    }
}
