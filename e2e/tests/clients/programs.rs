//! The client programs of `e2e/clients`: building each once, and running it with a deadline.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;

use anyhow::{Context as _, Result, ensure};

use e2e::tools;

use crate::stage::Login;

/// Seconds that one program may run.
const PATIENCE: &str = "120";

/// Two tests that share a folder must not build it at once.
static BUILDING: Mutex<()> = Mutex::new(());

/// Whether all programs are here; if not, the test is skipped, and under `CI=true` fails.
pub(crate) fn present(needed: &[&str]) -> bool {
    needed.iter().all(|program| tools::or_skip(program).is_some())
}

/// Path of a source in `e2e/clients`.
pub(crate) fn sources(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name)
}

/// Builds a client with its own `build` script and gives the folder with the result. Fetches what it needs the first
/// time; afterwards it is offline and quick.
///
/// # Errors
/// The script failed.
pub(crate) fn built(client: &str) -> Result<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().context("the target folder")?;
    let folder = target.join("clients").join(client);
    let _building = BUILDING.lock();
    let mut script = Command::new(sources(client).join("build"));
    let output = script.arg(&folder).stdin(Stdio::null()).output().context("run the build script")?;
    ensure!(output.status.success(), "build of {client}: {}", said(&output));
    Ok(folder)
}

/// Runs a program as `login` and gives its output, whatever its exit status is. Killed when its time is over, it has
/// status 124 and the output so far.
///
/// # Errors
/// It could not be started.
pub(crate) fn run(program: &Command, login: &Login) -> Result<Output> {
    let mut limited = Command::new("timeout");
    limited.args(["--kill-after=5", PATIENCE]).arg(program.get_program()).args(program.get_args());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    if let Some(folder) = program.get_current_dir() {
        limited.current_dir(folder);
    }
    limited.envs(login.variables()).stdin(Stdio::null());
    limited.output().with_context(|| format!("start {program:?}"))
}

/// Both outputs of a program, for an error message.
pub(crate) fn said(output: &Output) -> String {
    format!(
        "{}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
