//! Finding the programs that tests drive; a missing one is a skip that is printed, and a failure in CI.

use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// A program of the `PATH`, or of a directory of servers (PostgreSQL's own on Debian, `/usr/sbin`) that is not on it.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|directory| directory.join(program));
    postgres_directories()
        .into_iter()
        .map(|directory| directory.join(program))
        .chain(on_path)
        .chain([Path::new("/usr/sbin").join(program)])
        .find(|p| p.is_file())
}

/// As [`find`], but a missing program is an error that says what to install.
///
/// # Errors
/// The program is not there.
pub fn need(program: &str) -> Result<PathBuf> {
    find(program).with_context(|| {
        format!("{program} is not installed: run `make packages` or install its Debian package")
    })
}

/// For tests: `None` after printing a skip when a program is missing.
///
/// # Panics
/// With `CI=true`, where a missing tool is a failure.
#[expect(clippy::print_stdout, reason = "the skip is for whoever reads the test's output")]
pub fn or_skip(program: &str) -> Option<PathBuf> {
    let found = find(program);
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{program} is missing, and CI must have it");
        println!("SKIPPED: {program} is not installed");
    }
    found
}

/// One of the workspace's own binaries, from the target directory that this program was built into.
///
/// # Errors
/// It has not been built: `cargo build --workspace` does.
pub fn own(binary: &str) -> Result<PathBuf> {
    let this = std::env::current_exe().context("find this program")?;
    let found =
        this.ancestors().skip(1).take(2).map(|directory| directory.join(binary)).find(|p| p.is_file());
    found.with_context(|| {
        format!("{binary} is not built beside {}: run `cargo build --workspace`", this.display())
    })
}

/// A program that `e2e/clients/NAME/build` leaves in a directory, built unless that has been done.
///
/// # Errors
/// It cannot be built; with what was printed.
pub fn built(name: &str, directory: &str, program: &str) -> Result<PathBuf> {
    /// Two tests must not build at once.
    static BUILDING: Mutex<()> = Mutex::new(());
    let repository = repository().canonicalize().context("find the repository")?;
    let folder = repository.join("target").join(directory);
    let _building = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut script = Command::new(repository.join("e2e/clients").join(name).join("build"));
    let output = script.arg(&folder).stdin(Stdio::null()).output().context("run the build script")?;
    if !output.status.success() {
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        bail!("build {program}: {out}\n{err}");
    }
    Ok(folder.join(program))
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A loopback port that was free a moment ago.
///
/// # Errors
/// No port is to be had.
pub fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0)).context("find a free port")?.local_addr()?.port())
}

/// A command that runs as a user who is not root, which PostgreSQL and PgBouncer insist on.
pub fn unprivileged(program: &Path) -> Command {
    if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

/// Gives a file or directory to that user.
///
/// # Errors
/// It cannot be given away.
pub fn give_away(path: &Path) -> Result<()> {
    if is_root() {
        let done = Command::new("chown")
            .args(["-R", "postgres:postgres"])
            .arg(path)
            .status()
            .context("run chown")?;
        if !done.success() {
            bail!("give {} to the user postgres", path.display());
        }
    }
    Ok(())
}

/// Whether this process is root's.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata) == 0)
}

fn postgres_directories() -> Vec<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(Result::ok);
    let mut found: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    found.sort();
    found.reverse();
    found
}
