//! Commands of the demo: both streams in the order in which a terminal would have shown them.

use anyhow::{Context as _, Result, bail};
use e2e::process::wait_until;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A command that runs. Dropping it kills it.
pub(crate) struct Running {
    child: Child,
    said: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

/// A command that ended.
#[derive(Debug)]
pub(crate) struct Said {
    /// Exit code, as text; `signal` if one ended it.
    pub(crate) code: String,
    /// What it printed.
    pub(crate) text: String,
}

/// Runs a command to its end.
pub(crate) fn run(command: Command) -> Result<Said> {
    Running::start(command)?.finish()
}

/// Runs a command that prints JSON.
pub(crate) fn json(mut command: Command) -> Result<serde_json::Value> {
    let done = command.stdin(Stdio::null()).output().with_context(|| format!("run {}", name(&command)))?;
    if !done.status.success() {
        bail!("{}: {}", name(&command), String::from_utf8_lossy(&done.stderr).trim_end());
    }
    serde_json::from_slice(&done.stdout).with_context(|| format!("read what {} printed", name(&command)))
}

impl Running {
    /// Starts it.
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let (mut reader, writer) = std::io::pipe().context("make a pipe")?;
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let child = command.spawn().with_context(|| format!("run {}", name(&command)))?;
        // It holds the writing end: with it open, the reader would never see an end.
        drop(command);
        let said = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&said);
        let reader = std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut part) {
                if let (Ok(mut kept), Some(part)) = (kept.lock(), part.get(..length)) {
                    kept.extend_from_slice(part);
                }
            }
        });
        Ok(Self { child, said, reader: Some(reader) })
    }

    /// What it has printed so far.
    pub(crate) fn said(&self) -> String {
        self.said.lock().map(|said| String::from_utf8_lossy(&said).into_owned()).unwrap_or_default()
    }

    /// Waits for its end.
    pub(crate) fn finish(mut self) -> Result<Said> {
        let status = wait_until("the command ends", || self.child.try_wait().transpose())??;
        if self.reader.take().is_some_and(|reader| reader.join().is_err()) {
            bail!("its output could not be read");
        }
        let code = status.code().map_or_else(|| "signal".to_owned(), |code| code.to_string());
        Ok(Said { code, text: self.said() })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only for a process that has ended already, which is what is wanted.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn name(command: &Command) -> String {
    std::path::Path::new(command.get_program()).file_name().unwrap_or_default().display().to_string()
}
