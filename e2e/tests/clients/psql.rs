//! `psql`: its own commands ask the catalogue long questions, and it has modes that no driver has.

use anyhow::{Result, ensure};
use std::process::Command;

use crate::programs;
use crate::stage::{Login, Stage};

/// What is typed, and why it is here. Output and errors must be those of the server itself.
const SAME: &[(&str, &str)] = &[
    ("queries", "select id, name, price from parts order by id; select 'a' as b \\gx"),
    ("several statements in one message", "select 1\\; select 2\\; select 3;"),
    ("tables", "\\d\n\\dt+\n\\d parts\n\\d+ every_type"),
    ("other objects", "\\dn+\n\\df\n\\dv\n\\di\n\\ds\n\\dx\n\\dT\n\\dp"),
    ("roles and databases", "\\du\n\\l\n\\drds"),
    ("settings", "show work_mem; set work_mem = '5MB'; show work_mem; reset work_mem;"),
    ("describe without running", "select id, name as n, price * 2 from parts \\gdesc"),
    ("one query for each value", "select 'select ' || n from numbers where n < 4 order by n \\gexec"),
    ("a variable from a result", "select count(*) as many from numbers \\gset\n\\echo :many"),
    ("cursor", "\\set FETCH_COUNT 100\nselect n from numbers order by n;"),
    (
        "declared cursor",
        "begin; declare c scroll cursor for select n from numbers order by n; fetch 3 from c; \
      fetch backward 1 from c; move 5 in c; fetch c; close c; commit;",
    ),
    (
        "prepared by hand",
        "prepare p (int) as select name from parts where id = $1; execute p (2); deallocate p;",
    ),
    (
        "error in a transaction",
        "begin; select 1/(n-1) from numbers where n = 1; select 1; rollback; select 2;",
    ),
    (
        "error rolled back by itself",
        "\\set ON_ERROR_ROLLBACK on\nbegin; select 1/(n-1) from numbers where n = 1; \
      select 1; commit;",
    ),
    (
        "no autocommit",
        "\\set AUTOCOMMIT off\ninsert into deliveries values ('psql', 1); rollback; \
      select count(*) from deliveries where run = 'psql';",
    ),
    ("error with its place", "select nothing\n from parts;\n\\errverbose"),
    (
        "copy to the client",
        "\\copy (select n from numbers order by n limit 3) to stdout csv header\n\
      copy parts (id, name) to stdout;",
    ),
    (
        "copy from the client",
        "begin; copy deliveries (run, n) from stdin;\npsql\t1\npsql\t2\n\\.\n\
      select count(*) from deliveries where run = 'psql'; rollback;",
    ),
    (
        "failing copy from the client",
        "copy deliveries (run, n) from stdin;\npsql\tnot a number\n\\.\nselect 1;",
    ),
    ("listen and notify", "listen news; notify news; select 1; unlisten news;"),
    (
        "savepoints",
        "begin; savepoint a; select 1/(n-1) from numbers where n = 1; rollback to a; select 1; \
      release a; commit;",
    ),
    ("nothing at all", ";\n;;\n-- only a comment\n/* and another */;"),
    ("text that is not ASCII", "select 'ünïcödé 日本' as \"spalte ß\";"),
    ("a big row", "select repeat('x', 3000000) as big \\g | wc -c"),
    ("explain", "explain (costs off) select * from parts where id = 1;"),
];

fn psql(login: &Login, script: &str) -> Result<String> {
    let mut program = Command::new("psql");
    // Script by argument, not by file: messages then carry no file name of ours.
    program.args(["--no-psqlrc", "--set=HISTFILE=/dev/null"]).env("PAGER", "cat").env("PSQL_PAGER", "cat");
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), script)?;
    program.arg("--file").arg(file.path());
    let output = programs::run(&program, login)?;
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let said = said.replace(&file.path().display().to_string(), "script");
    // The one thing in all of this that is the server's own business.
    Ok(match said.split_once("with PID ") {
        Some((before, after)) => {
            format!("{before}with PID {}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        None => said,
    })
}

#[test]
fn psql_shows_what_the_server_says() -> Result<()> {
    if !programs::present(&["psql"]) {
        return Ok(());
    }
    let stage = Stage::start()?;
    let mut differences = Vec::new();
    for (name, script) in SAME {
        let direct = psql(&stage.direct(), script)?;
        let gateway = psql(&stage.driver()?, script)?;
        if direct != gateway {
            differences.push(format!("== {name}: direct\n{direct}\n-- through the gateway\n{gateway}"));
        }
    }
    ensure!(
        differences.is_empty(),
        "{} differ:\n{}\n{}",
        differences.len(),
        differences.join("\n"),
        stage.gateway.log()
    );
    Ok(())
}

#[test]
fn psql_is_told_why_and_goes_on() -> Result<()> {
    if !programs::present(&["psql"]) {
        return Ok(());
    }
    let stage = Stage::start()?;
    let said = psql(&stage.driver()?, "\\set VERBOSITY verbose\ndrop table keepsakes; select 40 + 2;")?;
    ensure!(said.contains("42501") && said.contains("42\n"), "refused, and usable afterwards: {said}");
    let said =
        psql(&stage.driver()?, "select 7 + 7\\; drop table keepsakes; select count(*) from keepsakes;")?;
    ensure!(said.contains("ERROR") && !said.contains("14\n"), "the whole message is refused: {said}");
    let said = psql(&stage.driver()?, "selec 1; select 40 + 2;")?;
    ensure!(said.contains("syntax error") && said.contains("42\n"), "what cannot be read is refused: {said}");
    let said = psql(&stage.driver()?, "listen news; notify news, 'hello'; select 40 + 2;")?;
    ensure!(
        said.contains("\"news\" with payload \"[MASKED:notification]\"") && said.contains("42\n"),
        "a payload may be made of masked columns: {said}"
    );
    let said = psql(
        &stage.driver()?,
        "\\d parts\nselect supplier_email from parts; table parts; select parts from parts;",
    )?;
    ensure!(
        !said.contains(".example") && said.contains("[MASKED"),
        "masked wherever it is asked for: {said}"
    );
    Ok(())
}
