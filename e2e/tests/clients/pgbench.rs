//! `pgbench` in its three modes, and its initialisation, which is all that a schema's owner does.

use anyhow::{Result, ensure};
use std::process::Command;

use crate::programs;
use crate::stage::Stage;

fn pgbench(stage: &Stage, arguments: &[&str]) -> Result<String> {
    let mut program = Command::new("pgbench");
    program.args(arguments);
    let output = programs::run(&program, &stage.owner()?)?;
    ensure!(output.status.success(), "{arguments:?}: {}\n{}", programs::said(&output), stage.gateway.log());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn pgbench_initialises_and_runs_in_every_mode() -> Result<()> {
    if !programs::present(&["pgbench"]) {
        return Ok(());
    }
    let stage = Stage::start()?;
    pgbench(&stage, &["--initialize", "--quiet", "--foreign-keys", "--scale=1"])?;
    for mode in ["simple", "extended", "prepared"] {
        let mode = format!("--protocol={mode}");
        for script in ["--builtin=tpcb-like", "--builtin=select-only"] {
            let said = pgbench(&stage, &["--time=2", "--client=4", "--no-vacuum", &mode, script])?;
            ensure!(said.contains("number of failed transactions: 0 "), "{mode} {script}: {said}");
            ensure!(
                !said.contains("number of transactions actually processed: 0\n"),
                "{mode} {script}: {said}"
            );
        }
    }
    // A connection for each transaction.
    pgbench(&stage, &["--transactions=20", "--connect", "--builtin=select-only", "--no-vacuum"])?;
    Ok(())
}

#[test]
fn pgbench_pipelines() -> Result<()> {
    if !programs::present(&["pgbench"]) {
        return Ok(());
    }
    let stage = Stage::start()?;
    let script = tempfile::NamedTempFile::new()?;
    let queries = "select n from numbers where n = :n;\n".repeat(20);
    std::fs::write(
        script.path(),
        format!("\\set n random(1, 1000)\n\\startpipeline\n{queries}\\endpipeline\n"),
    )?;
    let file = script.path().display().to_string();
    for mode in ["--protocol=extended", "--protocol=prepared"] {
        let said =
            pgbench(&stage, &["--transactions=50", "--client=2", "--no-vacuum", mode, "--file", &file])?;
        ensure!(said.contains("number of transactions actually processed: 100/100"), "{mode}: {said}");
    }
    Ok(())
}
