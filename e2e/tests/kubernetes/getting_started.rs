//! `docs/getting-started.md` as a new user follows it: every command, in order, with the real kubectl, helm and psql.

use crate::scene::{SETTINGS, Scene, release_alone};
use anyhow::{Context as _, Result};
use e2e::image::Image;
use e2e::tools;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

/// One block of commands, and what the document says is seen then.
struct Step {
    line: usize,
    commands: String,
    shown: Vec<String>,
}

#[test]
fn every_command_of_getting_started_does_what_the_document_says() {
    // Its database is the one that the reader has; its gateways are not the reader's.
    let Some(scene) = Scene::set("getting-started") else { return };
    scene.cluster.load(&busybox().unwrap()).unwrap();
    let document = std::fs::read_to_string(tools::repository().join("docs/getting-started.md")).unwrap();
    let steps = steps(&document);
    assert!(steps.len() > 10, "the document is not read");

    let directory = tempfile::tempdir().unwrap();
    let programs = directory.path().join("bin");
    put_on_path(&scene, &programs).unwrap();
    symlink(tools::repository().join("charts"), directory.path().join("charts")).unwrap();
    std::fs::write(directory.path().join("script"), script(&steps, &environment(&scene).unwrap())).unwrap();

    let path = std::env::var("PATH").unwrap();
    let _release = release_alone();
    // Half a minute is enough on a machine that has nothing else to do.
    let mut shell = scene.cluster.command("timeout").unwrap();
    shell.args(["--kill-after=5", "240", "bash", "-euo", "pipefail", "script"]);
    shell.current_dir(directory.path()).env("PATH", format!("{}:{path}", programs.display()));
    let done = shell.stdin(Stdio::null()).output().unwrap();
    let printed = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{}\n{printed}{}", done.status, String::from_utf8_lossy(&done.stderr));
    for (step, printed) in steps.iter().zip(printed.split(MARK).skip(1)) {
        for line in &step.shown {
            assert!(
                words(printed).contains(&words(line)),
                "docs/getting-started.md:{}: shows {line:?}, but it printed\n{printed}",
                step.line
            );
        }
    }

    let drops = scene.server.log().matches("drop table customers").count();
    assert_eq!(drops, 1, "the server sees the one of the last step, by its owner");
    assert!(!printed.contains("AKIAIOSFODNN7EXAMPLE"), "{printed}");
}

/// The blocks to run, each with the block of output that follows it.
fn steps(document: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut lines = document.lines().enumerate();
    while let Some((number, fence)) = lines.next() {
        let Some(language) = fence.strip_prefix("```") else { continue };
        let block: Vec<&str> =
            lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
        match language {
            "sh" => steps.push(Step { line: number + 1, commands: block.join("\n"), shown: Vec::new() }),
            "text" => {
                let step = steps.last_mut().expect("output follows the commands that print it");
                step.shown.extend(block.into_iter().map(str::to_owned));
            }
            _ => {}
        }
    }
    steps
}

/// All blocks as one script, with the reader's own values put in.
fn script(steps: &[Step], environment: &BTreeMap<&str, String>) -> String {
    let mut script = "exec 2>&1\ntrap 'kill $(jobs -p) || true' EXIT\n".to_owned();
    let mut given: Vec<&str> = Vec::new();
    for step in steps {
        writeln!(script, "echo '{MARK}'").unwrap();
        for line in step.commands.lines() {
            let name = line.strip_prefix("export ").and_then(|rest| Some(rest.split_once('=')?.0));
            match name.and_then(|name| environment.get_key_value(name)) {
                Some((name, value)) => {
                    given.push(name);
                    writeln!(script, "export {name}='{value}'").unwrap();
                }
                None => writeln!(script, "{line}").unwrap(),
            }
        }
    }
    given.sort_unstable();
    let wanted: Vec<&str> = environment.keys().copied().collect();
    assert_eq!(given, wanted, "what the reader puts in");
    script
}

/// What a reader puts in: a database of theirs, as pods and as they themselves reach it.
fn environment(scene: &Scene) -> Result<BTreeMap<&'static str, String>> {
    let server = &scene.server;
    server.sql("postgres", "create database orders")?;
    let upstream = scene.cluster.expose(server.port())?;
    let socket = server.directory().display();
    Ok(BTreeMap::from([
        ("DATABASE_HOST", upstream.ip().to_string()),
        ("DATABASE_PORT", upstream.port().to_string()),
        ("DATABASE_NAME", "orders".to_owned()),
        ("DATABASE_CA", server.authority().file().display().to_string()),
        // its certificate is for localhost
        ("DATABASE_TLS", "VerifyCa".to_owned()),
        ("DATABASE_ADMIN", format!("host={socket} port={} dbname=orders user=postgres", server.port())),
    ]))
}

/// The programs that a reader has installed.
fn put_on_path(scene: &Scene, directory: &Path) -> Result<()> {
    std::fs::create_dir(directory)?;
    let kubectl = scene.cluster.client().command();
    let helm = scene.cluster.helm_command()?;
    wrap(&directory.join("kubectl"), &kubectl, "\"$@\"")?;
    // Images of this build instead of those of a registry, and what other stories rely on.
    wrap(&directory.join("helm"), &helm, &format!("\"$@\" '{}'", SETTINGS.join("' '")))?;
    let portcullis = tools::own("portcullis")?;
    symlink(&portcullis, directory.join("portcullis"))?;
    symlink(&portcullis, directory.join("kubectl-portcullis"))?;
    Ok(())
}

fn wrap(place: &Path, command: &Command, arguments: &str) -> Result<()> {
    let text = |part: &OsStr| part.to_str().map(str::to_owned).context("no text");
    let mut script = "#!/bin/sh\n".to_owned();
    for (name, value) in command.get_envs() {
        writeln!(script, "export {}='{}'", text(name)?, text(value.unwrap_or_default())?)?;
    }
    writeln!(script, "exec '{}' {arguments}", text(command.get_program())?)?;
    std::fs::write(place, script)?;
    std::fs::set_permissions(place, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// The busybox of this machine, as the image of that name has it.
fn busybox() -> Result<Image> {
    let program = tools::need("busybox")?;
    let mut image = Image::new("docker.io/library/busybox:1.37");
    for applet in ["sh", "sleep", "tar", "true"] {
        image = image.file(&program, &format!("/bin/{applet}"))?;
    }
    Ok(image)
}

/// One space wherever there are some.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

const MARK: &str = "=== the next step ===";
