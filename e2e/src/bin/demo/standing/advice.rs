//! What `demo up` tells its visitor: lines that work as they are.

use super::Ready;
use crate::day::AGENT;
use crate::screen::Screen;
use anyhow::Result;
use e2e::shop::{AUDIENCE, DATABASE, GROUP};
use e2e::tools;
use std::path::Path;

/// Prints the lines.
pub(super) fn print(screen: &mut Screen, directory: &Path, ready: &Ready) -> Result<()> {
    let portcullis = shown(&tools::own("portcullis")?);
    let place = |name: &str| shown(&directory.join(name));
    let state = place("state");
    screen.title(&format!("Connect as the agent {AGENT}; its token lives 15 minutes, as a session does"))?;
    screen.say(&format!(
        "PGPASSWORD=$({portcullis} dev-issuer token --state {} --subject {AGENT} --group {GROUP} --audience {AUDIENCE}) \\\n  \
         psql \"host=localhost hostaddr=127.0.0.1 port={} dbname={DATABASE} user=app sslmode=verify-full sslrootcert={}\"",
        place("issuer"),
        ready.port,
        place("ca.crt"),
    ))?;
    screen.title("Try")?;
    screen.say("  select * from users;        comes back masked")?;
    screen.say("  drop database shop;         is refused")?;
    screen.say("  delete from orders;         waits for an approval")?;
    screen.title("In another terminal")?;
    screen.say(&format!("export PORTCULLIS_STATE={state} PORTCULLIS_SPOOL={state}"))?;
    for (arguments, what) in [
        ("requests", "what waits"),
        ("approve NAME --reason CHG-7", "let it run; or deny NAME"),
        ("sessions", "who was there"),
        ("replay SESSION", "a session as psql showed it"),
        ("verify", "nothing changed, nothing missing"),
    ] {
        screen.say(&format!("{:<62} # {what}", format!("{portcullis} {arguments}")))?;
    }
    screen.title("More")?;
    screen.say(&format!("  issuer      {}", ready.issuer))?;
    screen.say(&format!("  manifests   {}; a change is in force within a second", place("config")))?;
    screen.say("  make down   stops all of it")
}

/// A path as it is shortest from here.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let relative = here.as_ref().and_then(|here| path.strip_prefix(here).ok());
    relative.unwrap_or(path).display().to_string()
}
