//! Lines of one shell: each means what those before it made of its words (`tests/corpus/lines.yaml`).

use proxy_policy::{Command, Effects};
use proxy_shell::Shell;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    lines: Vec<String>,
    does: Option<Vec<String>>,
    unknown: Option<String>,
}

/// The last line, behind the others.
fn last(lines: &[String]) -> Command {
    let mut shell = Shell::new();
    let mut read = None;
    for line in lines {
        let (status, text) = match line.strip_prefix('[').and_then(|line| line.split_once("] ")) {
            Some((status, text)) => (status.parse().unwrap(), text),
            None => (0, line.as_str()),
        };
        let (command, after) = shell.line(text.as_bytes(), "deploy", "web1");
        shell.ran(after, Some(status));
        read = Some(command);
    }
    read.unwrap()
}

/// What is done to files, without the programs that do it.
fn files(command: &Command) -> Vec<String> {
    let (Effects::Known(touches) | Effects::Unknown { touches, .. }) = &command.reading.effects;
    touches
        .iter()
        .filter(|touch| matches!(touch.object, "file" | "files" | "directory" | "tree"))
        .map(ToString::to_string)
        .collect()
}

#[test]
fn a_line_means_what_the_lines_before_it_made_of_its_words() {
    let cases: Vec<Case> = serde_yaml_ng::from_str(include_str!("../corpus/lines.yaml")).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let command = last(&case.lines);
        let why = match &command.reading.effects {
            Effects::Unknown { why, .. } => why.as_str(),
            Effects::Known(_) => "",
        };
        let told = case.does.as_ref().is_none_or(|does| {
            let (mut done, mut does) = (files(&command), does.clone());
            done.sort();
            does.sort();
            done == does
        });
        let doubted = case.unknown.as_ref().is_none_or(|part| !why.is_empty() && why.contains(part.as_str()));
        if !told || !doubted || case.does.is_some() == case.unknown.is_some() {
            wrong.push(format!("{}: {:?}, {why:?}", case.name, files(&command)));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Only what runs changes the shell, and what is not known stays so for as long as the shell runs.
#[test]
fn a_line_that_was_refused_has_changed_nothing_and_one_that_was_not_is_not_forgotten() {
    let mut shell = Shell::new();
    let read = |shell: &Shell, line: &str| shell.line(line.as_bytes(), "deploy", "web1");
    drop(read(&shell, "cd /etc"));
    assert_eq!(files(&read(&shell, "rm f").0), ["Remove ~/f"]);
    let (_, after) = read(&shell, "cd /etc; sleep 9; x=/tmp/a");
    shell.ran(after, None);
    assert_eq!(
        files(&read(&shell, "rm f").0),
        ["Remove /etc/f", "Remove ~/f"],
        "it was interrupted somewhere"
    );
    assert_eq!(files(&read(&shell, "rm \"$x\"").0), ["Remove ?/$x (unbounded)"]);
    let (_, after) = read(&shell, "eval \"$y\"");
    shell.ran(after, Some(0));
    for _ in 0..3 {
        let (command, after) = read(&shell, "ls");
        let Effects::Unknown { why, .. } = &command.reading.effects else { panic!("{command:?}") };
        assert!(why.contains("an earlier line of this shell") && why.contains("a new shell"), "{why}");
        shell.ran(after, Some(0));
    }
}
