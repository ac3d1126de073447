//! File systems of a test's own, in a mount namespace that ends with it: disks that are full, or fail. Needs root.

use anyhow::{Context as _, Result, ensure};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Set where a story runs within its namespace.
const WITHIN: &str = "PORTCULLIS_OWN_MOUNTS";

/// Whether this process may mount what it likes. Where it may not, the story is run once more in a process that may, and
/// this one is done with it; where there is none, a skip is printed.
///
/// # Errors
/// The story fails there.
///
/// # Panics
/// With `CI=true`, where a namespace must be to be had.
#[expect(clippy::print_stdout, reason = "the skip is for whoever reads the test's output")]
pub fn has_own_mounts(story: &str) -> Result<bool> {
    if std::env::var_os(WITHIN).is_some() {
        return Ok(true);
    }
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--propagation", "private", "--"]);
    if !unshare_works(&unshare) {
        assert!(std::env::var_os("CI").is_none(), "no mount namespace is to be had, and CI must have it");
        println!("SKIPPED: a mount namespace needs root");
        return Ok(false);
    }
    let this = std::env::current_exe().context("find this program")?;
    unshare.arg(this).args(["--exact", story, "--nocapture"]).env(WITHIN, "1");
    let status = unshare.stdin(Stdio::null()).status().context("run the story")?;
    ensure!(status.success(), "{story}: {status}");
    Ok(false)
}

fn unshare_works(unshare: &Command) -> bool {
    let mut probe = Command::new(unshare.get_program());
    probe.args(unshare.get_args()).arg("true").stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
}

/// Runs a program that has to succeed.
///
/// # Errors
/// It does not; with what it said.
pub fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let done = Command::new(program).args(arguments).output().with_context(|| format!("run {program}"))?;
    ensure!(done.status.success(), "{program} {arguments:?}: {done:?}");
    Ok(())
}

/// Mounts another file system over a directory, which keeps what is in it.
///
/// # Errors
/// It cannot be mounted.
pub fn mount_over(directory: &Path, mount: &[&str]) -> Result<()> {
    let copy = tempfile::tempdir()?;
    let [shown, kept] = [directory, copy.path()].map(|path| path.to_string_lossy().into_owned());
    run("cp", &["-a", &format!("{shown}/."), &kept])?;
    run("mount", &[mount, &[&shown]].concat())?;
    run("cp", &["-a", &format!("{kept}/."), &shown])
}

/// Takes all the space that is left. Gives the file that takes it.
///
/// # Errors
/// The file cannot be made.
pub fn fill(directory: &Path) -> Result<PathBuf> {
    let ballast = directory.join("ballast");
    let mut file = std::fs::File::create(&ballast)?;
    for size in [1 << 16, 1 << 10, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    Ok(ballast)
}
