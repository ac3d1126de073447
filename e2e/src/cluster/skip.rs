//! What a machine must have for a cluster; a test without it is skipped, and fails in CI.

use crate::tools;
use anyhow::Result;

/// Whether the programs are there, after printing a skip if they are not. Go is not wanted when all is built.
#[expect(clippy::print_stdout, reason = "the skip is for whoever reads the test's output")]
pub(super) fn is_possible(programs: &[&str], built: bool) -> bool {
    let wanted = programs.iter().filter(|program| !(built && **program == "go"));
    let missing: Vec<&str> = wanted.copied().filter(|program| tools::find(program).is_none()).collect();
    if missing.is_empty() {
        return true;
    }
    let missing = missing.join(", ");
    assert!(std::env::var_os("CI").is_none(), "{missing}: missing, and CI must have it");
    println!("SKIPPED: not installed: {missing}");
    false
}

/// Whether this process is root's, after printing a skip if it is not.
#[expect(clippy::print_stdout, reason = "the skip is for whoever reads the test's output")]
pub(super) fn is_root(what: &str) -> bool {
    if tools::is_root() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "{what} takes root, and CI must run as root");
    println!("SKIPPED: {what} takes root");
    false
}

/// Whether a variable is not set, after printing a skip if it is.
#[expect(clippy::print_stdout, reason = "the skip is for whoever reads the test's output")]
pub(super) fn is_unset(variable: &str) -> bool {
    let unset = std::env::var_os(variable).is_none();
    if !unset {
        println!("SKIPPED: {variable} names a cluster that is not the tests' own");
    }
    unset
}

/// What was started, where a test has no other way than to fail.
#[expect(clippy::panic, reason = "for tests, which fail by it")]
pub(super) fn started<T>(what: &str, started: Result<T>) -> T {
    started.unwrap_or_else(|error| panic!("{what} does not start: {error:#}"))
}
