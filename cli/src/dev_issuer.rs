//! `portcullis dev-issuer`: an OpenID Connect issuer for development. Whoever reaches it gets any token.
//!
//! `POST /token` mints a token (see [`mint::TokenRequest`]), `POST /rotate` changes the signing key; discovery and
//! key set are where every issuer has them. It listens on loopback only.

mod mint;
mod server;
mod store;

use crate::output::Output;
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use jiff::SignedDuration;
use mint::TokenRequest;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use store::Store;

/// Run an OpenID Connect issuer for development, on loopback only
///
/// It authenticates nobody: whoever reaches it gets a token for any name. Never trust it in production.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  portcullis dev-issuer --listen 127.0.0.1:9080
  portcullis dev-issuer token --subject ci-bot --group agents --audience orders.shop --claim repository=acme/billing
  curl -H 'content-type: application/json' -d '{\"sub\":\"ci-bot\",\"aud\":\"orders.shop\"}' http://127.0.0.1:9080/token"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Address to listen on: loopback only; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:9080", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Directory of its keys; made if missing
    #[arg(
        long,
        env = "PORTCULLIS_DEV_ISSUER",
        default_value = ".portcullis/dev-issuer",
        value_name = "DIR",
        global = true
    )]
    state: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    Token(TokenArguments),
}

/// Print a token of the development issuer
///
/// Signs with the key in the state directory, so the issuer need not be running; but a gateway that has not seen
/// its keys yet will ask it for them.
#[derive(Args, Debug)]
struct TokenArguments {
    /// Who: the `sub` claim
    #[arg(long)]
    subject: String,
    /// A group of theirs; may be given again
    #[arg(long = "group", visible_alias = "groups", value_name = "GROUP", value_delimiter = ',')]
    groups: Vec<String>,
    /// For whom: the `aud` claim; may be given again
    #[arg(long = "audience", value_name = "AUDIENCE", required = true)]
    audiences: Vec<String>,
    /// Another claim: name=text, or name:=json; may be given again
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = parse_claim)]
    claims: Vec<(String, Value)>,
    /// How long it is valid, at most a day
    #[arg(long, default_value = "15m", value_name = "DURATION")]
    ttl: SignedDuration,
}

/// Runs the issuer until it is interrupted, or prints a token.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        Some(Command::Token(token)) => print_token(&arguments.state, token, output)?,
        None => serve(&arguments.state, arguments.listen, output)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print_token(state: &Path, arguments: &TokenArguments, output: &mut Output) -> anyhow::Result<()> {
    let store = Store::open(state)?;
    let Some(issuer) = store.issuer() else {
        bail!("the issuer of {} has never run: start it with `portcullis dev-issuer` first", state.display());
    };
    let seconds = arguments.ttl.as_secs();
    let request = TokenRequest {
        subject: arguments.subject.clone(),
        groups: arguments.groups.clone(),
        audience: mint::Audience::Many(arguments.audiences.clone()),
        claims: arguments.claims.iter().cloned().collect(),
        ttl_seconds: u32::try_from(seconds).context("the time to live is negative or absurd")?,
    };
    output.line(&mint::mint(issuer, store.signing_key()?, request, jiff::Timestamp::now())?)
}

fn serve(state: &Path, listen: SocketAddr, output: &mut Output) -> anyhow::Result<()> {
    if !listen.ip().is_loopback() {
        bail!(
            "{listen} is not a loopback address: this issuer gives anybody any token, so it never leaves the machine"
        );
    }
    let store = Store::open(state)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(server::run(store, listen, output))
}

fn parse_claim(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("a claim is NAME=TEXT or NAME:=JSON")?;
    match name.strip_suffix(':') {
        Some(name) => match serde_json::from_str(value) {
            Ok(value) => Ok((name.to_owned(), value)),
            Err(error) => Err(format!("the value of {name} is not JSON: {error}")),
        },
        None => Ok((name.to_owned(), Value::String(value.to_owned()))),
    }
}
