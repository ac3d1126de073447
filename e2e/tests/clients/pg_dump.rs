//! `pg_dump`: schema and data leave through `COPY`, after a hundred questions to the catalogue.

use anyhow::{Result, ensure};
use std::process::Command;

use crate::programs;
use crate::stage::{Login, RESOURCE, Stage};

fn dump(stage: &Stage, login: &Login, arguments: &[&str]) -> Result<String> {
    let mut program = Command::new("pg_dump");
    program.args(arguments);
    let output = programs::run(&program, login)?;
    ensure!(output.status.success(), "{arguments:?}: {}\n{}", programs::said(&output), stage.gateway.log());
    // Newer versions guard a plain dump with a random word.
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().filter(|line| !line.contains("restrict ")).collect::<Vec<_>>().join("\n"))
}

#[test]
fn pg_dump_takes_the_schema_as_it_is_and_the_data_masked() -> Result<()> {
    if !programs::present(&["pg_dump"]) {
        return Ok(());
    }
    let stage = Stage::start()?;
    let attached = "set role app; select lo_from_bytea(4711, 'a large object')";
    stage.postgres.sql(RESOURCE, attached)?;
    let schema = ["--schema-only"];
    let (direct, gateway) =
        (dump(&stage, &stage.direct_owner(), &schema)?, dump(&stage, &stage.owner()?, &schema)?);
    ensure!(direct == gateway, "the schema differs:\n{direct}\n--\n{gateway}");

    for form in [&["--data-only"][..], &["--data-only", "--inserts", "--rows-per-insert=10"]] {
        let direct = dump(&stage, &stage.direct_owner(), form)?;
        let gateway = dump(&stage, &stage.owner()?, form)?;
        let others = |text: &str| text.lines().filter(|line| !line.contains("bolt")).count();
        ensure!(others(&direct) == others(&gateway), "{form:?}: rows are missing:\n{gateway}");
        ensure!(direct.contains("ann@bolts.example"), "{form:?}: {direct}");
        let object = "lowrite(0, '\\x61206c61726765206f626a656374')";
        ensure!(direct.contains(object) && gateway.contains(object), "{form:?}: {gateway}");
        ensure!(!gateway.contains("example") && gateway.contains("[MASKED"), "{form:?}: {gateway}");
        ensure!(gateway.contains("12345678901234567890.123456789"), "{form:?}: {gateway}");
    }
    Ok(())
}
