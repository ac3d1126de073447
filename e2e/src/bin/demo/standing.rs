//! `demo up` and `demo down`: one process owns the shop; what is known of it is in `.demo/` of the repository.

mod advice;
pub(crate) mod serve;

use crate::known::Known;
use crate::screen::Screen;
use anyhow::{Context as _, Result, anyhow, bail};
use e2e::process::wait_until;
use e2e::tools;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What a shop that is ready says of itself.
#[derive(Debug, Deserialize, Serialize)]
struct Ready {
    /// The gateway's port.
    port: u16,
    /// URL of the issuer.
    issuer: String,
    /// What ends with the owner, unless that was killed.
    processes: Vec<Known>,
    /// What is removed then.
    directories: Vec<PathBuf>,
}

/// Starts the shop, or finds it running, and says how to use it.
pub(crate) fn up(screen: &mut Screen) -> Result<()> {
    let directory = directory()?;
    let ready = if let Some(ready) = running(&directory) {
        screen.say("It is up already.")?;
        ready
    } else {
        // Half of a shop is of no use.
        stop(&directory)?;
        screen.say(
            "Starting a throwaway PostgreSQL, an OIDC issuer and the gateway of examples/standalone …",
        )?;
        start(&directory).inspect_err(|_| drop(stop(&directory)))?
    };
    advice::print(screen, &directory, &ready)
}

/// Stops whatever of the shop runs.
pub(crate) fn down(screen: &mut Screen) -> Result<()> {
    let directory = directory()?;
    if !directory.exists() {
        return screen.say("Nothing is up.");
    }
    stop(&directory)?;
    screen.say("Stopped; nothing is left running.")
}

/// The shop, if all of it runs.
fn running(directory: &Path) -> Option<Ready> {
    let owner: Known = read(&directory.join(OWNER)).ok()?;
    let ready: Ready = read(&directory.join(READY)).ok()?;
    (owner.runs() && ready.processes.iter().all(Known::runs)).then_some(ready)
}

fn start(directory: &Path) -> Result<Ready> {
    fs::create_dir(directory).with_context(|| format!("create {}", directory.display()))?;
    let log = directory.join(LOG);
    let mut owner = spawn(&File::create(&log).context("create its log")?)?;
    write(directory, OWNER, &Known::of("owner", owner.id())?)?;
    wait_until("the shop is ready", || {
        if let Ok(ready) = read(&directory.join(READY)) {
            return Some(Ok(ready));
        }
        match owner.try_wait() {
            Ok(None) => None,
            Ok(Some(_)) => Some(Err(anyhow!(fs::read_to_string(&log).unwrap_or_default().trim().to_owned()))),
            Err(error) => Some(Err(error.into())),
        }
    })?
    .context("the shop did not start")
}

/// This program again, as the owner; in a process group of its own, so that no Ctrl-C reaches it.
fn spawn(log: &File) -> Result<Child> {
    let mut command = Command::new(std::env::current_exe().context("find this program")?);
    command.arg("serve").process_group(0).stdin(Stdio::null());
    command.stdout(log.try_clone()?).stderr(log.try_clone()?);
    command.spawn().context("start the owner of the shop")
}

/// Ends the owner and whatever it could not end itself, and forgets them.
fn stop(directory: &Path) -> Result<()> {
    if !directory.exists() {
        return Ok(());
    }
    let owner: Option<Known> = read(&directory.join(OWNER)).ok();
    let ready: Option<Ready> = read(&directory.join(READY)).ok();
    let (processes, directories) =
        ready.map(|ready| (ready.processes, ready.directories)).unwrap_or_default();
    // The owner first: it ends the others in order and removes what they wrote, unless it was killed before it could.
    for known in owner.into_iter().chain(processes) {
        known.terminate()?;
        end_of(&known)?;
    }
    for left in directories.iter().filter(|left| left.exists()) {
        fs::remove_dir_all(left).with_context(|| format!("remove {}", left.display()))?;
    }
    fs::remove_dir_all(directory).with_context(|| format!("remove {}", directory.display()))
}

/// Waits for an end, also after Ctrl-C: leaving early would leave it running.
fn end_of(known: &Known) -> Result<()> {
    for _ in 0..PATIENCE {
        if !known.runs() {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    bail!("{} (process {}) does not end; `kill -9 {}` ends it", known.name, known.id, known.id)
}

/// Where it is kept what is up.
fn directory() -> Result<PathBuf> {
    Ok(tools::repository().canonicalize().context("find the repository")?.join(".demo"))
}

fn read<T: for<'a> Deserialize<'a>>(file: &Path) -> Result<T> {
    Ok(serde_json::from_slice(&fs::read(file)?)?)
}

/// Writes a file that a reader sees whole or not at all.
fn write(directory: &Path, name: &str, value: &impl Serialize) -> Result<()> {
    let new = directory.join(format!(".new-{name}"));
    fs::write(&new, serde_json::to_string_pretty(value)?)
        .with_context(|| format!("write {}", new.display()))?;
    fs::rename(&new, directory.join(name)).with_context(|| format!("write {name}"))
}

const OWNER: &str = "owner.json";
const READY: &str = "ready.json";
const LOG: &str = "log";
/// Looks at a process that was told to end, 20 ms apart: a minute and a half, longer than the owner waits itself.
const PATIENCE: u32 = 4500;
