//! Conformance: what kubectl prints directly and through the gateway, command by command, under a policy that allows
//! everything.

mod aggregated;
mod clients;
mod helm;
mod kube_rs;
mod objects;
mod processes;
mod versions;

use crate::pods::IMAGE;
use crate::scene::{Answer, Scene, feed};
use e2e::process::wait_until;
use std::path::Path;
use std::process::Command;

/// Everything is allowed and no field is named: what is different is the gateway's doing.
const RULES: &str = "
rules:
- name: everything
  action: Allow
  kubernetes: {}
";

/// One command of kubectl. `{n}` in it is the namespace, which each side has for itself, and
/// `{image}` an image of busybox.
#[derive(Clone, Copy, Debug, Default)]
struct Step<'a> {
    arguments: &'a [&'a str],
    /// Standard input; `{n}` as above.
    input: &'a str,
    /// What it uses as editor.
    editor: &'a str,
    /// What is different by its nature and is not compared.
    ignores: Ignores,
}

/// What of an answer is not compared.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Ignores {
    /// Names, ages, identifiers and times alone.
    #[default]
    Nothing,
    /// Standard error: warnings that depend on the moment, or where the gateway refuses first and in its own words.
    Errors,
    /// The order of the lines.
    Order,
    /// What is printed while it waits.
    Output,
}

/// A step with no particulars.
const fn step<'a>(arguments: &'a [&'a str]) -> Step<'a> {
    Step { arguments, input: "", editor: "", ignores: Ignores::Nothing }
}

impl<'a> Step<'a> {
    const fn input(self, input: &'a str) -> Self {
        Self { input, ..self }
    }

    const fn editor(self, editor: &'a str) -> Self {
        Self { editor, ..self }
    }

    const fn ignoring(self, ignores: Ignores) -> Self {
        Self { ignores, ..self }
    }

    fn run(&self, mut kubectl: Command, namespace: &str, directory: &Path) -> Answer {
        let place = |text: &str| text.replace("{n}", namespace).replace("{image}", IMAGE);
        kubectl.arg(format!("--namespace={namespace}"));
        kubectl.args(self.arguments.iter().map(|argument| place(argument)));
        kubectl.current_dir(directory);
        if !self.editor.is_empty() {
            kubectl.env("KUBE_EDITOR", self.editor);
        }
        Answer::new(&feed(kubectl, place(self.input)))
    }
}

/// The two ways to one cluster.
struct Sides<'a> {
    scene: &'a Scene,
    /// Namespaces, of equal length so that tables have equal columns.
    direct: String,
    gated: String,
    directory: tempfile::TempDir,
}

impl<'a> Sides<'a> {
    fn new(scene: &'a Scene, name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for side in ["direct", "gated"] {
            std::fs::create_dir(directory.path().join(side)).unwrap();
        }
        Self {
            scene,
            direct: scene.namespace(&format!("{name}-d")),
            gated: scene.namespace(&format!("{name}-g")),
            directory,
        }
    }

    /// Waits until pods can be made in both namespaces.
    fn wait_for_accounts(&self) {
        for namespace in [&self.direct, &self.gated] {
            let arguments = ["get", "serviceaccount/default", "--namespace", namespace];
            wait_until("the namespace has a service account", || self.scene.direct.run(&arguments).ok())
                .unwrap();
        }
    }

    /// Runs the steps one after the other, on both sides at once, and fails with everything that was different.
    fn compare(&self, steps: &[Step<'_>]) {
        let (direct, gated) = std::thread::scope(|scope| {
            let direct = scope.spawn(|| self.directly(steps));
            let gated = self.through_the_gateway(steps);
            (direct.join().unwrap(), gated)
        });
        self.same(steps, &direct, &gated);
    }

    /// The same, one side after the other: for what both share.
    fn compare_in_turn(&self, steps: &[Step<'_>]) {
        self.same(steps, &self.directly(steps), &self.through_the_gateway(steps));
    }

    fn directly(&self, steps: &[Step<'_>]) -> Vec<Answer> {
        let directory = self.directory.path().join("direct");
        let run = |step: &Step<'_>| step.run(self.scene.direct.command(), &self.direct, &directory);
        steps.iter().map(run).collect()
    }

    fn through_the_gateway(&self, steps: &[Step<'_>]) -> Vec<Answer> {
        let token = self.scene.token("bot");
        let directory = self.directory.path().join("gated");
        let run = |step: &Step<'_>| step.run(self.scene.kubectl(&token), &self.gated, &directory);
        steps.iter().map(run).collect()
    }

    /// Runs the steps on both sides and fails if one prints the same: what is said to be different is.
    fn contrast(&self, steps: &[Step<'_>]) {
        let (direct, gated) = (self.directly(steps), self.through_the_gateway(steps));
        for ((step, direct), gated) in steps.iter().zip(direct).zip(gated) {
            assert!(direct.ok(), "{step:?}: {direct:?}");
            assert_ne!(
                shown(&direct, &self.direct, step.ignores),
                shown(&gated, &self.gated, step.ignores),
                "{step:?}"
            );
        }
    }

    fn same(&self, steps: &[Step<'_>], direct: &[Answer], gated: &[Answer]) {
        let mut differences = Vec::new();
        for ((step, direct), gated) in steps.iter().zip(direct).zip(gated) {
            let direct = shown(direct, &self.direct, step.ignores);
            let gated = shown(gated, &self.gated, step.ignores);
            if direct != gated {
                let arguments = step.arguments.join(" ");
                differences.push(format!(
                    "=== {arguments}\n--- directly\n{direct}\n--- through the gateway\n{gated}"
                ));
            }
        }
        println!("{} commands compared", steps.len());
        assert!(differences.is_empty(), "{}", differences.join("\n"));
    }
}

/// An answer without what no two runs have in common.
fn shown(answer: &Answer, namespace: &str, ignores: Ignores) -> String {
    let plain = |text: &str| {
        let mut lines = plain_lines(text, namespace);
        if ignores == Ignores::Order {
            lines.sort();
        }
        lines.join("\n")
    };
    let (out, err) = match ignores {
        Ignores::Nothing | Ignores::Order => (plain(&answer.out), plain(&answer.err)),
        Ignores::Errors => (plain(&answer.out), String::new()),
        Ignores::Output => (String::new(), String::new()),
    };
    format!("{:?}\n{out}\n{err}", answer.code)
}

/// The lines of an answer, each without what no two runs have in common.
fn plain_lines(text: &str, namespace: &str) -> Vec<String> {
    let place = |line: &str| plain_line(line, line.contains("resourceVersion"));
    text.replace(namespace, "NAMESPACE").lines().map(place).collect()
}

/// One line, its words without names, ages, identifiers and times. Runs of spaces depend on what stood between them.
fn plain_line(line: &str, versioned: bool) -> String {
    let indent = line.len() - line.trim_start().len();
    let words: Vec<String> = line.split_whitespace().map(|word| plain_word(word, versioned)).collect();
    " ".repeat(indent) + &words.join(" ")
}

fn plain_word(word: &str, versioned: bool) -> String {
    let mut out = String::new();
    let mut token = String::new();
    for c in word.chars().chain(['\0']) {
        // what identifiers, times and generated names are made of
        if c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.' | '+') {
            token.push(c);
        } else {
            out += &plain_token(&std::mem::take(&mut token), versioned);
            if c != '\0' {
                out.push(c);
            }
        }
    }
    out
}

/// What is different in every run: identifiers, times, ages, addresses, ports of nodes, ends of generated names, and on
/// a line that has any, versions of objects.
fn plain_token(token: &str, versioned: bool) -> String {
    let (token, end) = match token.trim_end_matches([':', '.']) {
        "" => (token, ""),
        trimmed => token.split_at(trimmed.len()),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let hex = |text: &str| text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_uid = token.len() == 36 && token.split('-').next().is_some_and(hex);
    let is_digest = token.len() == 64 && token.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_time = token.len() >= 20 && token.get(..4).is_some_and(digits) && token.contains('T');
    // as diff writes it
    let is_date = token.len() == 10 && token.split('-').count() == 3 && token.split('-').all(digits);
    let is_clock = token.split(':').count() == 3 && token.split([':', '.']).all(digits);
    let is_address = token.split('.').count() == 4 && token.split(['.', ':']).all(digits);
    let is_age = token.ends_with(['s', 'm', 'h', 'd'])
        && token.split(['s', 'm', 'h', 'd']).filter(|part| !part.is_empty()).all(digits)
        && token.starts_with(|c: char| c.is_ascii_digit());
    if is_uid || is_digest || is_time || is_date || is_clock || is_address || is_age {
        return format!("X{end}");
    }
    if versioned && digits(token) {
        return format!("N{end}");
    }
    // the API server chooses the port of the nodes
    if let Some((port, of_nodes)) = token.split_once(':')
        && digits(port)
        && of_nodes.parse().is_ok_and(|number| (30_000..=32_767).contains(&number))
    {
        return format!("{port}:N{end}");
    }
    let mut parts: Vec<&str> = token.split('-').collect();
    // temporary folders of `kubectl diff`, with any number of 32 bits
    if let [folder @ ("LIVE" | "MERGED"), number] = parts[..]
        && digits(number)
    {
        return format!("{folder}{end}");
    }
    while parts.len() > 1 && parts.last().is_some_and(|last| is_generated(last)) {
        parts.pop();
    }
    format!("{}{end}", parts.join("-"))
}

/// Whether a part of a name is one that the API server makes up: no vowels, so that no words come of it. Or a long number.
fn is_generated(part: &str) -> bool {
    if part.len() >= 8 && part.bytes().all(|byte| byte.is_ascii_digit()) {
        return true;
    }
    let made_of = |set: &str| part.chars().all(|c| set.contains(c));
    (part.len() == 5 || (8..=10).contains(&part.len())) && made_of("bcdfghjklmnpqrstvwxz2456789")
}
