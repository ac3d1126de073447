//! A program of the cluster, which ends when the value, or the process that holds it, does.

use crate::process::{self, wait_until};
use anyhow::{Context as _, Result, bail};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running program whose output goes to a file.
///
/// Its standard input is a pipe that this process alone holds open. `node tied` ends when that ends, so nothing is
/// left of it even if the tests are killed.
#[derive(Debug)]
pub(super) struct Component {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Component {
    /// Starts a program; what it prints is appended to `NAME.log` in `logs`.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn start(name: &str, command: &mut Command, logs: &Path) -> Result<Self> {
        let log = logs.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log).context("open a log")?;
        command.stdin(Stdio::piped()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| format!("start {name}"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Process id of what was started.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `condition` gives a value, while this program runs.
    ///
    /// # Errors
    /// It did not in time, or the program ended; with the end of its log.
    pub(super) fn wait_until<T>(
        &mut self,
        what: &str,
        mut condition: impl FnMut() -> Option<T>,
    ) -> Result<T> {
        let outcome = wait_until(what, || match self.child.try_wait() {
            Ok(None) => condition().map(Ok),
            Ok(Some(status)) => Some(Err(status.to_string())),
            Err(error) => Some(Err(error.to_string())),
        });
        match outcome {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(status)) => bail!("{} ended ({status}) before {what}:\n{}", self.name, self.log()),
            Err(error) => Err(error.context(format!("{} says:\n{}", self.name, self.log()))),
        }
    }

    /// Waits for a line of its output that `accept` makes something of.
    ///
    /// # Errors
    /// As [`Component::wait_until`].
    pub(super) fn wait_for_line<T>(&mut self, what: &str, accept: impl Fn(&str) -> Option<T>) -> Result<T> {
        let log = self.log.clone();
        self.wait_until(what, || fs::read_to_string(&log).ok()?.lines().find_map(&accept))
    }

    /// The end of its log.
    pub(super) fn log(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default();
        last.iter().map(|line| line.chars().take(WIDTH).chain(['\n']).collect::<String>()).collect()
    }

    /// Ends it as a crash would, and waits for its end.
    pub(super) fn stop(&mut self) {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(5));
        }
        // Both fail only for a process that has ended already, which is what is wanted.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs a command to its end and gives what it printed.
///
/// # Errors
/// It cannot be run, or fails, with what it said.
pub(super) fn output(command: &mut Command, input: &str) -> Result<String> {
    let name =
        Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let arguments: Vec<String> = command.get_args().map(|one| one.to_string_lossy().into_owned()).collect();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("run {name}"))?;
    let stdin = child.stdin.take();
    let done = std::thread::scope(|scope| {
        scope.spawn(|| {
            // Whoever does not read its input is not failed by that.
            stdin.map(|mut stdin| std::io::Write::write_all(&mut stdin, input.as_bytes()).ok())
        });
        child.wait_with_output()
    })?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        bail!("{name} {}: {}", arguments.join(" "), said.trim());
    }
    if process::interrupted() {
        bail!("{name}: interrupted");
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Lines of a log that are shown with an error.
const LINES: usize = 30;
/// Characters of each that are.
const WIDTH: usize = 300;
/// How long a program may take to notice that its input ended; then it is killed.
const PATIENCE: Duration = Duration::from_secs(5);
