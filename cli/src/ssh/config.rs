//! `portcullis ssh-config`: the stanza for `ssh_config`.

use super::{Directory, certificate};
use crate::cluster::KubernetesArguments;
use crate::output::Output;
use crate::whereabouts::Gateway;
use anyhow::{Context as _, ensure};
use clap::Args;
use std::process::ExitCode;

/// Print the stanza of `ssh_config` that leads to a Resource through its gateway, whose key it pins.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portcullis ssh-config web --namespace shop --role deploy >>~/.ssh/config
  portcullis ssh-config web --gateway gate.example.com:2222 --host-key \"$(cat web-gateway.pub)\" --role deploy --host web2")]
pub(crate) struct Arguments {
    /// Name of the Resource; `ssh NAME` will lead to it.
    resource: String,
    /// Where the gateway listens. Omitted: what the Resource's status says, an address inside its cluster.
    #[arg(long, value_name = "HOST:PORT")]
    gateway: Option<String>,
    /// Its public host key: `ssh-ed25519 AAAA…`. Omitted: the one that the gateways published in the Resource's status.
    #[arg(long, value_name = "KEY")]
    host_key: Option<String>,
    /// Login to ask for. Omitted: `ssh ROLE@NAME` says it.
    #[arg(long)]
    role: Option<String>,
    /// Host of the Resource. Omitted: its first one.
    #[arg(long, requires = "role")]
    host: Option<String>,
    #[command(flatten)]
    directory: Directory,
    #[command(flatten, next_help_heading = "Kubernetes")]
    cluster: KubernetesArguments,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<ExitCode> {
    let (gateway, host_key) = match (&arguments.gateway, &arguments.host_key) {
        (Some(gateway), Some(host_key)) => (gateway.clone(), host_key.clone()),
        (gateway, host_key) => {
            let (found, _) = Gateway::find(&arguments.cluster, &arguments.resource, "ssh")
                .context("find the gateway: give --gateway and --host-key where no cluster knows it")?;
            let key = host_key.clone().map_or_else(|| found.ssh_host_key(), Ok)?;
            (gateway.clone().unwrap_or(found.endpoint), key)
        }
    };
    for line in stanza(arguments, &gateway, &host_key)? {
        output.line(&line)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn stanza(arguments: &Arguments, gateway: &str, host_key: &str) -> anyhow::Result<Vec<String>> {
    let key = arguments.directory.key(&arguments.resource)?;
    let key_file = key.to_str().context("the directory's name is no text")?;
    let certificate = certificate(&key);
    let certificate_file = certificate.to_str().context("the directory's name is no text")?;
    let (host, port) = gateway.rsplit_once(':').context("--gateway: expected HOST:PORT")?;
    let port: u16 = port.parse().context("--gateway: expected HOST:PORT")?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let public: Vec<_> = host_key.split_whitespace().take(2).collect();
    ensure!(public.len() == 2, "--host-key: expected a public key, ssh-ed25519 AAAA…");
    for text in [host, key_file, certificate_file, &public.concat()] {
        ensure!(!text.contains(['\n', '\r', '"', '%']), "{text:?} cannot be written into ssh_config");
    }
    let resource = &arguments.resource;
    let mut lines = vec![
        format!("Host {resource}"),
        format!("  HostName {host}"),
        format!("  Port {port}"),
        // the key is pinned under a name of its own, whatever the gateway's address
        format!("  HostKeyAlias portcullis-{resource}"),
        format!("  KnownHostsCommand /bin/echo portcullis-{resource} {}", public.join(" ")),
        "  UserKnownHostsFile none".to_owned(),
        "  GlobalKnownHostsFile none".to_owned(),
        "  StrictHostKeyChecking yes".to_owned(),
        format!("  IdentityFile \"{key_file}\""),
        format!("  CertificateFile \"{certificate_file}\""),
        "  IdentitiesOnly yes".to_owned(),
        "  ForwardAgent no".to_owned(),
    ];
    if let Some(role) = &arguments.role {
        // `%` begins a token in some of OpenSSH's settings, but not in this one
        let user = arguments.host.as_ref().map_or_else(|| role.clone(), |host| format!("{role}%{host}"));
        ensure!(!user.contains(char::is_whitespace), "{user:?} is no user name");
        lines.insert(3, format!("  User {user}"));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cli;
    use clap::Parser as _;

    #[test]
    fn a_stanza_pins_the_gateway_and_is_refused_when_it_would_say_something_else() {
        let given = |resource: &str, key: &str| {
            let gateway = "[2001:db8::1]:2222";
            let own = [
                "portcullis",
                "ssh-config",
                "--role=deploy",
                "--host=web2",
                "--directory=/keys",
                "--",
                resource,
            ];
            let crate::Command::SshConfig(arguments) = Cli::try_parse_from(own).unwrap().command else {
                panic!("another command")
            };
            stanza(&arguments, gateway, key)
        };
        let lines = given("web", "ssh-ed25519 AAAA comment").unwrap().join("\n");
        for line in [
            "Host web\n",
            "  HostName 2001:db8::1\n  Port 2222\n  User deploy%web2\n",
            "echo portcullis-web ssh-ed25519 AAAA\n",
            "  IdentityFile \"/keys/web\"\n",
            "  CertificateFile \"/keys/web-cert.pub\"\n",
        ] {
            assert!(lines.contains(line), "{line} is not in {lines}");
        }
        for (resource, key) in [("../x", "ssh-ed25519 AAAA"), ("-x", "ssh-ed25519 AAAA"), ("web", "AAAA")] {
            assert!(given(resource, key).is_err(), "{resource} {key}");
        }
    }
}
