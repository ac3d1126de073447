//! Keys of a terminal, through the line discipline: what is decided is what the shell runs.
//!
//! Each case of `tests/corpus/terminal.yaml` is typed byte by byte. What was submitted is run with bash, as the shell
//! behind the discipline would, in a directory where a tree may go: whenever it goes, one of the decisions was no.

use crate::victim::{destroys, is_refused};
use proxy_shell::Shell;
use proxy_ssh::line::{Event, LineDiscipline};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    keys: String,
    /// What is submitted, in order.
    lines: Vec<String>,
    /// It does not destroy the tree.
    #[serde(default)]
    harmless: bool,
    /// It is refused all the same.
    #[serde(default)]
    refused: bool,
}

fn submitted(keys: &str, step: usize) -> Vec<String> {
    let mut line = LineDiscipline::new("$ ");
    let mut submitted = Vec::new();
    for piece in keys.as_bytes().chunks(step) {
        for event in line.push(piece) {
            match event {
                Event::Submit(text) => submitted.push(text),
                Event::Echo(_) | Event::Interrupt | Event::End => {}
            }
        }
    }
    submitted
}

#[test]
fn every_case_is_decided_on_the_line_that_the_shell_runs() {
    let cases: Vec<Case> = serde_yaml_ng::from_str(include_str!("../corpus/terminal.yaml")).unwrap();
    assert!(cases.len() >= 25);
    let mut wrong = Vec::new();
    for case in &cases {
        for step in [1, 3, 1 << 16] {
            let lines = submitted(&case.keys, step);
            if lines != case.lines {
                wrong.push(format!("{}: submitted {lines:?} instead of {:?}", case.name, case.lines));
            }
        }
        let mut shell = Shell::new();
        let mut refused = false;
        for line in &case.lines {
            let (command, after) = shell.line(line.as_bytes(), "deploy", "web1");
            refused |= is_refused(&command);
            shell.ran(after, None);
        }
        let gone = destroys(&case.lines.join("\n"));
        if (gone || case.refused) && !refused || gone == case.harmless {
            wrong.push(format!("{}: destroys {gone}, refused {refused}", case.name));
        }
    }
    println!("terminal: {} cases decided", cases.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
