//! What shells really do with a text is among what the analyser tells, or it says that it cannot tell.
//!
//! Scripts of the corpora, scripts that are put together of what shells and programs know, and both of them with damage
//! run in a root of their own (`stage`). A rule that denied what became of a file, or a program that ran with its very
//! arguments, must have refused the text.
//!
//! What is behind a link, the analyser cannot know, so a file counts as told by each of its names.

mod generate;
mod stage;
mod tree;

use crate::everyday::{commands, compiled, judged};
use generate::{Random, Script, Templates};
use proxy_policy::{Effects, PolicySet, Verdict};
use proxy_shell::analyze;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Instant;
use tree::Entry;

/// So many scripts are made up, unless `PORTCULLIS_RAN` says how many.
const SCRIPTS: u64 = 400;

/// So many changes of one script are looked at.
const CHANGES_MAX: usize = 40;

/// The shells that a login may have.
const SHELLS: [(&str, &[&str]); 3] =
    [("bash", &["/usr/bin/bash"]), ("dash", &["/usr/bin/dash"]), ("busybox", &["/usr/bin/busybox", "sh"])];

/// Programs that start others which they are told to. What the others start by themselves is theirs to tell.
const STARTERS: &[&str] = &[
    "bash", "busybox", "chroot", "chrt", "dash", "env", "find", "flock", "ionice", "linux64", "nice",
    "nohup", "prlimit", "script", "setarch", "setpriv", "setsid", "sh", "stdbuf", "taskset", "time",
    "timeout", "unshare", "watch", "xargs",
];

/// Programs of which the analyser knows what they do to files.
const KNOWN: &[&str] = &[
    "[",
    "awk",
    "base32",
    "base64",
    "basename",
    "bzip2",
    "cat",
    "chgrp",
    "chmod",
    "chown",
    "cmp",
    "column",
    "comm",
    "cp",
    "cut",
    "date",
    "dd",
    "diff",
    "dir",
    "dirname",
    "du",
    "echo",
    "egrep",
    "env",
    "expand",
    "expr",
    "fallocate",
    "false",
    "fgrep",
    "file",
    "find",
    "fmt",
    "fold",
    "getfacl",
    "grep",
    "gunzip",
    "gzip",
    "head",
    "hexdump",
    "hostname",
    "id",
    "install",
    "join",
    "link",
    "ln",
    "ls",
    "md5sum",
    "mkdir",
    "mkfifo",
    "mknod",
    "mv",
    "nl",
    "nproc",
    "od",
    "paste",
    "patch",
    "pr",
    "printf",
    "pwd",
    "readlink",
    "realpath",
    "rev",
    "rm",
    "rmdir",
    "rsync",
    "sed",
    "seq",
    "sha1sum",
    "sha256sum",
    "shred",
    "sleep",
    "sort",
    "stat",
    "strings",
    "sum",
    "tac",
    "tail",
    "tar",
    "tee",
    "test",
    "touch",
    "tr",
    "tree",
    "true",
    "truncate",
    "uname",
    "unexpand",
    "unlink",
    "unxz",
    "unzip",
    "unzstd",
    "vdir",
    "wc",
    "which",
    "whoami",
    "xz",
    "xzcat",
    "yes",
    "zcat",
    "zgrep",
    "zstd",
    "zstdcat",
];

/// Runs scripts, and sees what of it was not told.
struct Oracle {
    before: BTreeMap<String, Entry>,
    policies: BTreeMap<String, PolicySet>,
    ran: u64,
    known: u64,
    /// What was seen to be done, to show that something is.
    seen: BTreeMap<&'static str, u64>,
    /// Nothing but programs of which it is known what they do has run, as far as bash started them: the last shell runs
    /// its own.
    familiar: bool,
    /// So many of the shells are asked.
    shells: usize,
}

fn is_known(text: &str) -> bool {
    matches!(analyze(text.as_bytes(), "deploy", "web1").reading.effects, Effects::Known(_))
}

/// What programs start by themselves: a shell of a login, `time` where it is no word of the shell, `tar`. And what only
/// says what it is given, which may be anything.
fn is_own(ran: &stage::Ran) -> bool {
    let words: Vec<&str> = ran.argv.iter().map(String::as_str).collect();
    let says = [
        "[", "basename", "cd", "dirname", "echo", "expr", "printf", "seq", "sleep", "test", "true", "which",
        "yes",
    ];
    words.iter().any(|word| says.contains(word))
        || matches!(
            words.as_slice(),
            ["id", "-u"] | ["time", ..] | ["gzip" | "bzip2" | "xz" | "zstd"] | ["gzip", "-f"]
        )
}

/// Names that shells give to files which do not know quotes or braces of bash.
///
/// And arguments that are empty, or have a home within them.
fn is_odd(name: &str) -> bool {
    name.contains(['{', '$', '}', '\\']) || name.contains("\"\"") || name.contains("/~")
}

impl Oracle {
    fn new() -> Self {
        tree::reset();
        Self {
            before: tree::seen(),
            policies: BTreeMap::new(),
            ran: 0,
            known: 0,
            seen: BTreeMap::new(),
            familiar: true,
            shells: SHELLS.len(),
        }
    }

    /// What of a text was not told, by the shells that are here.
    fn untold(&mut self, text: &str) -> Vec<String> {
        self.ran += 1;
        // no program gets a NUL as an argument
        if text.contains('\0') || !is_known(text) {
            return Vec::new();
        }
        self.known += 1;
        self.familiar = !text.contains("mktemp");
        let mut found = Vec::new();
        for (name, shell) in SHELLS.into_iter().take(self.shells) {
            // quotes and tests of bash are other words to others, of which no one makes names of files
            let alike = name == "bash" || !text.contains("$'") && !text.contains("[[");
            if alike && std::path::Path::new(shell[0]).exists() {
                // what does not end with one shell does not with the others
                let Some(untold) = self.untold_by(shell, text) else { break };
                found.extend(untold.into_iter().map(|what| format!("{name}: {what}")));
            }
        }
        found
    }

    /// The same by one shell. `None`: it takes too long, and may still be at it.
    fn untold_by(&mut self, shell: &[&str], text: &str) -> Option<Vec<String>> {
        tree::reset();
        let programs = stage::ran(shell, text)?;
        let after = tree::seen();
        let mut found = Vec::new();
        let starts = |name: &str| STARTERS.contains(&name);
        for program in programs.iter().filter(|program| starts(&program.by)).collect::<BTreeSet<_>>() {
            *self.seen.entry("program").or_default() += 1;
            let argv = serde_json::to_string(&program.argv).unwrap();
            if !is_own(program)
                && !is_odd(&argv)
                && !self.is_told(text, &format!("commands: [{{argv: {argv}}}]"))
            {
                found.push(format!("ran {argv}"));
            }
        }
        let known = |name: &str| KNOWN.contains(&name) || starts(name);
        self.familiar &= programs.iter().all(|program| known(&program.argv[0]));
        if !self.familiar {
            return Some(found);
        }
        let links = text.contains("ln") || text.contains("link") || text.contains("cp");
        let changes = tree::changes(&self.before, &after);
        // of a whole tree that is copied a few tell as much
        let step = changes.len() / CHANGES_MAX + 1;
        for (what, path, effects) in changes.into_iter().step_by(step) {
            *self.seen.entry(what).or_default() += 1;
            if is_odd(&path) {
                continue;
            }
            let mut names = tree::names(&path);
            if what == "created" && after.get(&path).is_some_and(Entry::is_directory) {
                // one on the way to a new file is told with that, even where that was not made
                names.extend(names.clone().into_iter().map(|name| format!("{name}/*")));
            }
            let paths = serde_json::to_string(&names).unwrap();
            // whoever has made a link has been said to write what it leads to
            let effects = if links { [effects, &["Write"]].concat() } else { effects.to_vec() };
            if !self.is_told(text, &format!("effects: [{}], paths: {paths}", effects.join(", "))) {
                found.push(format!("{what} {path}"));
            }
        }
        Some(found)
    }

    /// Whether a rule that denies this refuses the text, which everything else lets pass.
    fn is_told(&mut self, text: &str, denied: &str) -> bool {
        if self.policies.len() > 20_000 {
            self.policies.clear();
        }
        let policy = self.policies.entry(denied.to_owned()).or_insert_with(|| {
            compiled(&format!(
                "targetRefs: [{{name: web}}]\nsubjects: [{{group: agents}}]\nrules:\n\
                 - {{name: it, action: Deny, ssh: {{{denied}}}}}\n\
                 - {{name: rest, action: Allow, ssh: {{effects: [Attributes, Execute, List, Read, Remove, Rename, Write]}}}}\n"
            ))
        });
        !matches!(judged(policy, text), Verdict::Allow { .. })
    }

    /// A shorter script of which something is not told either.
    fn shortest(&mut self, script: &Script) -> String {
        let mut parts = script.clone();
        let mut at = 0;
        while at < parts.len() && parts.len() > 1 {
            let part = parts.remove(at);
            if self.untold(&parts.concat()).is_empty() {
                parts.insert(at, part);
                at += 1;
            }
        }
        let mut text: Vec<char> = parts.concat().chars().collect();
        let mut size = text.len() / 2;
        while size > 0 && text.len() < 400 {
            let mut at = 0;
            while at + size <= text.len() {
                let shorter: Vec<char> = text[..at].iter().chain(&text[at + size..]).copied().collect();
                if self.untold(&shorter.iter().collect::<String>()).is_empty() {
                    at += size;
                } else {
                    text = shorter;
                }
            }
            size /= 2;
        }
        text.into_iter().collect()
    }
}

/// Every script of the corpora.
fn corpora() -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct Form {
        script: String,
    }
    #[derive(serde::Deserialize)]
    struct Case {
        denied: Vec<String>,
        allowed: Vec<String>,
    }
    let forms: Vec<Form> = serde_yaml_ng::from_str(include_str!("../corpus/destructive.yaml")).unwrap();
    let cases: Vec<Case> = serde_yaml_ng::from_str(include_str!("../corpus/paths.yaml")).unwrap();
    let paths = cases.into_iter().flat_map(|case| [case.denied, case.allowed].concat());
    commands().into_iter().chain(forms.into_iter().map(|form| form.script)).chain(paths).collect()
}

fn from_environment(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

#[test]
fn what_shells_do_is_told() {
    if !stage::is_set("ran::what_shells_do_is_told") {
        return;
    }
    let (count, seed) = (from_environment("PORTCULLIS_RAN", SCRIPTS), from_environment("PORTCULLIS_SEED", 1));
    let (corpora, templates) = (corpora(), Templates::read());
    let mut oracle = Oracle::new();
    let mut wrong = String::new();
    let (mut defects, began) = (0, Instant::now());
    let fixed = if seed == 1 { corpora.len() as u64 } else { 0 };
    for number in 0..fixed + count {
        let script = match number.checked_sub(fixed) {
            None => vec![corpora[usize::try_from(number).unwrap()].clone()],
            Some(number) => Random::new(&templates, seed.wrapping_mul(1_000_003) + number).script(&corpora),
        };
        // the corpora are many, and of bash
        oracle.shells = if number < fixed { 1 } else { SHELLS.len() };
        let untold = oracle.untold(&script.concat());
        if !untold.is_empty() {
            defects += 1;
            let shortest = oracle.shortest(&script);
            let also = oracle.untold(&shortest);
            writeln!(
                wrong,
                "{shortest:?}\n    {also:?}\n    of number {number}: {:?} {untold:?}",
                script.concat()
            )
            .unwrap();
            println!("{shortest:?}\n    {also:?}\n    of {:?}", script.concat());
        }
        if defects >= 40 {
            break;
        }
    }
    println!(
        "scripts: {} of {} known, with seed {seed} in {:?}; seen {:?}",
        oracle.known,
        oracle.ran,
        began.elapsed(),
        oracle.seen
    );
    assert!(wrong.is_empty(), "with seed {seed}, not told:\n{wrong}");
    assert!(oracle.known * 4 > oracle.ran, "too little is known for this to say much");
}
