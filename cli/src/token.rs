//! The agent's own token, where a command needs it.

use anyhow::{Context as _, ensure};
use clap::Args;
use std::path::PathBuf;

/// Where the token is.
#[derive(Args, Debug)]
pub(crate) struct TokenArguments {
    /// File that holds the token. Omitted: the variable `PORTCULLIS_TOKEN`.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl TokenArguments {
    /// The token.
    pub(crate) fn read(&self) -> anyhow::Result<String> {
        let token = match &self.token_file {
            Some(file) => {
                std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?
            }
            None => std::env::var("PORTCULLIS_TOKEN")
                .ok()
                .context("there is no token: give --token-file or set PORTCULLIS_TOKEN")?,
        };
        let token = token.trim();
        ensure!(!token.is_empty(), "the token is empty: give --token-file or set PORTCULLIS_TOKEN");
        Ok(token.to_owned())
    }
}
