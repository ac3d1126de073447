//! `portcullis kubeconfig` and `portcullis exec-credential`: what kubectl and client libraries need to come through a
//! gateway.

mod credential;

pub(crate) use credential::{Arguments as CredentialArguments, run as credential};

use crate::cluster::KubernetesArguments;
use crate::output::{Document, Output, warn};
use crate::whereabouts::{Authority, Gateway};
use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Print a kubeconfig that leads to a Resource of kind kubernetes through its gateway, with the agent's token.
///
/// Where the gateway is and what signed its certificate is asked of the cluster in which it runs, unless --gateway and
/// --certificate-authority say both. No token is written: a file is read, or a program asked, each time.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portcullis kubeconfig cluster --token-file /var/run/secrets/tokens/cluster >agent.kubeconfig
  portcullis kubeconfig cluster --namespace shop --gateway localhost:6443 --exec-command get-token
  portcullis kubeconfig cluster --gateway localhost:6443 --certificate-authority ca.crt >agent.kubeconfig
  PORTCULLIS_TOKEN=\"$(get-token)\" kubectl --kubeconfig agent.kubeconfig get pods")]
pub(crate) struct Arguments {
    /// Name of the Resource.
    resource: String,
    /// Where the gateway listens. Omitted: what the Resource's status says, an address inside its cluster.
    #[arg(long, value_name = "HOST:PORT")]
    gateway: Option<String>,
    /// File with what signed the gateway's certificate, in PEM. Omitted: what the operator published; where the Resource
    /// names a certificate of its own, the system's authorities.
    #[arg(long, value_name = "FILE")]
    certificate_authority: Option<PathBuf>,
    /// File that holds the agent's token; it is read again as it is renewed. Omitted: a program is asked.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["exec_command", "exec_args"])]
    token_file: Option<PathBuf>,
    /// Program that prints the token as a credential plugin of kubectl. Omitted: `portcullis exec-credential`, which
    /// takes it from the variable `PORTCULLIS_TOKEN`.
    #[arg(long, value_name = "PROGRAM")]
    exec_command: Option<String>,
    /// Argument of that program; may be given several times.
    #[arg(long = "exec-arg", value_name = "ARGUMENT", requires = "exec_command", allow_hyphen_values = true)]
    exec_args: Vec<String>,
    /// Namespace that kubectl means where it is not told one. Omitted: `default`.
    #[arg(long, value_name = "NAME")]
    default_namespace: Option<String>,
    #[command(flatten, next_help_heading = "Kubernetes")]
    cluster: KubernetesArguments,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<ExitCode> {
    let server = server(arguments)?;
    let user = user(arguments)?;
    let name = format!("portcullis-{}", arguments.resource);
    let mut context = json!({"cluster": name, "user": name});
    if let (Some(context), Some(namespace)) = (context.as_object_mut(), &arguments.default_namespace) {
        context.insert("namespace".to_owned(), json!(namespace));
    }
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": server}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": context}],
    });
    match output.format() {
        Document::Json => output.json(&config)?,
        Document::Table => output.line(serde_yaml_ng::to_string(&config)?.trim_end())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The stanza of the cluster: the gateway, and what proves that it is the one.
fn server(arguments: &Arguments) -> anyhow::Result<Value> {
    let given = arguments.certificate_authority.as_deref().map(read_authority).transpose()?;
    if let (Some(address), Some(pem)) = (&arguments.gateway, &given) {
        return Ok(json!({"server": url(address)?, "certificate-authority-data": STANDARD.encode(pem)}));
    }
    let (gateway, authority) = Gateway::find(&arguments.cluster, &arguments.resource, "kubernetes")
        .context("find the gateway: give --gateway and --certificate-authority where no cluster knows it")?;
    let address = arguments.gateway.as_ref().unwrap_or(&gateway.endpoint);
    let mut stanza = json!({"server": url(address)?});
    let Some(fields) = stanza.as_object_mut() else { return Ok(stanza) };
    match (given, authority) {
        (Some(pem), _) => drop(fields.insert("certificate-authority-data".to_owned(), encoded(&pem))),
        (None, Authority::Own(pem)) => {
            fields.insert("certificate-authority-data".to_owned(), encoded(&pem));
            // that certificate is for the Service, whatever address leads there
            if arguments.gateway.is_some() {
                fields.insert("tls-server-name".to_owned(), json!(gateway.dns_name()));
            }
        }
        (None, Authority::Others) => warn(&format!(
            "{} has a certificate of its own: give --certificate-authority unless an authority that is trusted here \
             signed it",
            arguments.resource
        )),
    }
    Ok(stanza)
}

fn encoded(pem: &str) -> Value {
    json!(STANDARD.encode(pem))
}

fn read_authority(file: &Path) -> anyhow::Result<String> {
    let pem = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    ensure!(pem.contains("-----BEGIN CERTIFICATE-----"), "{} holds no certificate in PEM", file.display());
    ensure!(
        !pem.contains("PRIVATE KEY"),
        "{} holds a private key: give the certificate alone",
        file.display()
    );
    Ok(pem)
}

fn url(address: &str) -> anyhow::Result<String> {
    let (host, port) = address.rsplit_once(':').context("--gateway: expected HOST:PORT")?;
    let _: u16 = port.parse().ok().context("--gateway: expected HOST:PORT")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':' | '[' | ']');
    ensure!(!host.is_empty() && host.chars().all(plain), "--gateway: expected HOST:PORT");
    Ok(format!("https://{address}"))
}

/// The stanza of the user: where the token comes from.
fn user(arguments: &Arguments) -> anyhow::Result<Value> {
    if let Some(file) = &arguments.token_file {
        let file = std::path::absolute(file)?;
        return Ok(json!({"tokenFile": file.to_str().context("--token-file: its name is no text")?}));
    }
    let (program, given, hint) = if let Some(program) = &arguments.exec_command {
        (program.clone(), arguments.exec_args.clone(), "--exec-command names no program here")
    } else {
        let own = std::env::current_exe().context("find this program")?;
        let own = own.to_str().context("the name of this program is no text")?.to_owned();
        let hint = "the kubeconfig was written where portcullis lies elsewhere";
        (own, vec!["exec-credential".to_owned()], hint)
    };
    Ok(json!({"exec": {
        "apiVersion": credential::API_VERSION,
        "command": program,
        "args": given,
        "installHint": hint,
        "interactiveMode": "IfAvailable",
    }}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cli;
    use clap::Parser as _;

    fn arguments(more: &[&str]) -> Arguments {
        let given = ["portcullis", "kubeconfig", "cluster"];
        let cli = Cli::try_parse_from(given.iter().chain(more)).unwrap();
        let crate::Command::Kubeconfig(arguments) = cli.command else { panic!("another command") };
        arguments
    }

    #[test]
    fn a_kubeconfig_that_says_everything_asks_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let authority = directory.path().join("ca.crt");
        let pem = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";
        std::fs::write(&authority, pem).unwrap();
        let file = authority.to_str().unwrap();
        let given = arguments(&["--gateway", "[::1]:6443", "--certificate-authority", file]);
        let expected =
            json!({"server": "https://[::1]:6443", "certificate-authority-data": STANDARD.encode(pem)});
        assert_eq!(server(&given).unwrap(), expected);
        std::fs::write(&authority, "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----").unwrap();
        assert!(server(&given).unwrap_err().to_string().contains("private key"));
        for address in ["gate", "gate:x", ":1", "a/b:1", "a@b:1"] {
            assert!(url(address).is_err(), "{address}");
        }
    }

    #[test]
    fn a_token_is_never_in_it() {
        let user = |more: &[&str]| user(&arguments(more)).unwrap();
        assert_eq!(user(&["--token-file", "/run/token"]), json!({"tokenFile": "/run/token"}));
        let own = user(&[]);
        assert_eq!(own["exec"]["args"], json!(["exec-credential"]));
        let other = user(&["--exec-command", "oidc", "--exec-arg", "-v"]);
        assert_eq!((&other["exec"]["command"], &other["exec"]["args"]), (&json!("oidc"), &json!(["-v"])));
    }
}
