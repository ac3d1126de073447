//! `demo run`: an agent's day, and what an investigator finds of it afterwards.

mod agent;
mod record;

use crate::command::{self, Running, Said};
use crate::known::Known;
use crate::screen::Screen;
use anyhow::{Result, ensure};
use e2e::shop::{AUDIENCE, DATABASE, GROUP, RESOURCE, Shop};
use e2e::tools;

/// Who works here.
pub(crate) const AGENT: &str = "ci-bot";

/// The shop, and whoever looks on.
struct Day<'a> {
    shop: &'a Shop,
    screen: &'a mut Screen,
    port: u16,
    token: String,
}

/// Walks through the day; the screen counts what differs.
///
/// # Errors
/// A step could not be taken at all.
pub(crate) fn walk(screen: &mut Screen) -> Result<()> {
    tools::need("psql")?;
    screen.say("Starting a throwaway PostgreSQL, an OIDC issuer and the gateway of examples/standalone …")?;
    let shop = Shop::start()?;
    let started = Known::of_shop(&shop)?;
    let port = shop.gateway.port(RESOURCE)?;
    screen.say(&format!("  PostgreSQL  localhost:{}, with a database {DATABASE}", shop.server.port()))?;
    screen.say(&format!("  issuer      {}", shop.issuer.url()))?;
    screen.say(&format!("  gateway     localhost:{port}, state in {}", shop.gateway.state().display()))?;
    let mut day = Day { shop: &shop, screen, port, token: String::new() };
    day.log_in()?;
    agent::work(&mut day)?;
    record::investigate(&mut day)?;
    screen.title("Stopping")?;
    let directories = shop.directories();
    drop(shop);
    let left = started.iter().filter(|known| known.runs()).map(|known| known.name.clone());
    let kept = directories.iter().filter(|path| path.exists()).map(|path| path.display().to_string());
    let left: Vec<String> = left.chain(kept).collect();
    screen.same("nothing is left running, and no directory is left", &left.join(", "), "")
}

impl Day<'_> {
    /// Gets the agent's token. It is its password for the rest of the day, and never printed.
    fn log_in(&mut self) -> Result<()> {
        self.screen.title("The agent gets a token from its issuer; psql takes it for a password")?;
        let arguments = ["dev-issuer", "token", "--subject", AGENT, "--group", GROUP, "--audience", AUDIENCE];
        self.screen.typed(&format!("export PGPASSWORD=$({})", typed("portcullis", &arguments)))?;
        let mut command = self.shop.portcullis()?;
        command.args(arguments);
        let said = command::run(command)?;
        ensure!(said.code == "0", "no token: {}", said.text);
        said.text.trim().clone_into(&mut self.token);
        Ok(())
    }

    /// Starts one psql command line through the gateway.
    fn psql(&mut self, role: &str, sql: &str) -> Result<Running> {
        let place = format!("host=localhost port={} dbname={DATABASE} user={role}", self.port);
        self.screen.typed(&format!("psql \"{place}\" -c '{sql}'"))?;
        let mut command = self.shop.psql(role, &self.token)?;
        // With error codes, and no pager.
        command.args(["-v", "VERBOSITY=verbose", "-P", "pager=off", "-c", sql]);
        Running::start(command)
    }

    /// Runs `portcullis` on the gateway's state and shows what it printed.
    fn portcullis(&mut self, arguments: &[&str]) -> Result<Said> {
        self.screen.typed(&typed("portcullis", arguments))?;
        let mut command = self.shop.portcullis()?;
        command.args(arguments);
        let said = command::run(command)?;
        self.screen.printed(&said.text)?;
        Ok(said)
    }

    /// What `portcullis` knows, without showing it.
    fn ask(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let mut command = self.shop.portcullis()?;
        command.args(arguments).args(["-o", "json"]);
        command::json(command)
    }

    /// Asks the server itself, past the gateway.
    fn server(&self, sql: &str) -> Result<String> {
        self.shop.server.sql(DATABASE, sql)
    }
}

/// A command line as a person would type it.
fn typed(program: &str, arguments: &[&str]) -> String {
    let quoted = arguments.iter().map(|argument| {
        if argument.contains(' ') { format!(" '{argument}'") } else { format!(" {argument}") }
    });
    std::iter::once(program.to_owned()).chain(quoted).collect()
}
