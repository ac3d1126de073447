//! A child process that ends with its value, and waiting for conditions.

use anyhow::{Context as _, Result, bail};
use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A child process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts a command; its output is kept for [`Process::log`].
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(name: &str, command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("start {name}"))?;
        let output = Arc::default();
        collect(child.stdout.take(), &output);
        collect(child.stderr.take(), &output);
        Ok(Self { name: name.to_owned(), child, output })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far, both streams, by line.
    pub fn log(&self) -> String {
        self.output.lock().map(|lines| lines.join("\n")).unwrap_or_default()
    }

    /// Waits for a line that `accept` makes something of.
    ///
    /// # Errors
    /// The process ended, or printed no such line in time; with its log.
    pub fn wait_for_line<T>(&mut self, what: &str, accept: impl Fn(&str) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let found = self.output.lock().ok().and_then(|lines| lines.iter().find_map(|line| accept(line)));
            if let Some(found) = found {
                return Ok(found);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended ({status}) before {what}:\n{}", self.name, self.log());
            }
            if interrupted() {
                bail!("{what}: interrupted");
            }
            if Instant::now() > deadline {
                bail!("{} did not print {what} in {DEADLINE:?}:\n{}", self.name, self.log());
            }
            std::thread::sleep(POLL);
        }
    }

    /// Sends a signal by name, `TERM` or `KILL`.
    ///
    /// # Errors
    /// The signal cannot be sent.
    pub fn signal(&self, signal: &str) -> Result<()> {
        let done = Command::new("kill").arg(format!("-{signal}")).arg(self.id().to_string()).status()?;
        if !done.success() {
            bail!("send {signal} to {}", self.name);
        }
        Ok(())
    }

    /// Waits for the end and gives the exit code; `None` if a signal ended it.
    ///
    /// # Errors
    /// It did not end in time.
    pub fn wait(&mut self) -> Result<Option<i32>> {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.code());
            }
            std::thread::sleep(POLL);
        }
        bail!("{} did not end in {DEADLINE:?}:\n{}", self.name, self.log());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for a process that has ended already, which is what is wanted.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Waits until `condition` gives a value.
///
/// # Errors
/// It did not within the deadline.
pub fn wait_until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition() {
            return Ok(value);
        }
        if interrupted() {
            bail!("{what}: interrupted");
        }
        if Instant::now() > deadline {
            bail!("{what}: not within {DEADLINE:?}");
        }
        std::thread::sleep(POLL);
    }
}

/// Lets every wait of this program, now and later, end with an error: whoever waits returns, and what it started ends
/// with its values. Waiting for a process's end is no such wait, for that is how it ends.
pub fn interrupt() {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Whether [`interrupt`] was called.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

fn collect(stream: Option<impl Read + Send + 'static>, output: &Arc<Mutex<Vec<String>>>) {
    let Some(stream) = stream else { return };
    let output = Arc::clone(output);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if let Ok(mut lines) = output.lock() {
                lines.push(line);
            }
        }
    });
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Longer than anything takes on a loaded two-core machine.
const DEADLINE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(20);
