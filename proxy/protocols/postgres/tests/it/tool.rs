//! Tools that a test needs and a machine may not have.

use std::process::Command;

/// Whether `tool` answers these arguments. Without it the test is skipped with a printed line; in continuous integration
/// (`CI=true`) it fails instead.
pub(crate) fn is_here(tool: &str, arguments: &[&str]) -> bool {
    let answers = Command::new(tool).args(arguments).output().is_ok_and(|output| output.status.success());
    assert!(answers || std::env::var("CI").as_deref() != Ok("true"), "`{tool}` is missing");
    if !answers {
        println!("SKIPPED: `{tool}` is missing");
    }
    answers
}
