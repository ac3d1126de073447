//! Processes by id and start time: an id alone may be another's by now.

use anyhow::{Context as _, Result, ensure};
use e2e::shop::Shop;
use serde::{Deserialize, Serialize};
use std::process::Command;

/// A process that was started here.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Known {
    /// What it is.
    pub(crate) name: String,
    /// Its process id.
    pub(crate) id: u32,
    /// When it was started, in clock ticks since the machine was.
    started: u64,
}

impl Known {
    /// A process that runs.
    pub(crate) fn of(name: &str, id: u32) -> Result<Self> {
        let started = started(id).with_context(|| format!("{name} (process {id}) is gone"))?;
        Ok(Self { name: name.to_owned(), id, started })
    }

    /// The processes of a shop, in the order in which they end.
    pub(crate) fn of_shop(shop: &Shop) -> Result<Vec<Self>> {
        Ok(vec![
            Self::of("gateway", shop.gateway.process().id())?,
            Self::of("issuer", shop.issuer.process().id())?,
            Self::of("PostgreSQL", shop.server.process().id())?,
        ])
    }

    /// Whether it still runs.
    pub(crate) fn runs(&self) -> bool {
        started(self.id) == Some(self.started)
    }

    /// Asks it to end, if it still runs.
    pub(crate) fn terminate(&self) -> Result<()> {
        if self.runs() {
            let done = Command::new("kill").arg(self.id.to_string()).status().context("run kill")?;
            ensure!(done.success() || !self.runs(), "cannot stop {} (process {})", self.name, self.id);
        }
        Ok(())
    }
}

/// Start time of a process that runs; one that has ended and waits for its parent does not.
fn started(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The second field is the program's name in parentheses, and may hold anything.
    let mut fields = status.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    // The 22nd field; the state was the third.
    (state != "Z").then_some(())?;
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_until_it_ends() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let known = Known::of("sleep", child.id()).unwrap();
        assert!(known.runs());
        assert!(!Known { started: known.started + 1, ..known.clone() }.runs(), "another process of that id");
        known.terminate().unwrap();
        child.wait().unwrap();
        assert!(!known.runs());
        known.terminate().unwrap();
    }
}
