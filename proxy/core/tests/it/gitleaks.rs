//! The detectors of secrets, measured on the labelled cases of gitleaks.
//!
//! The cases are made by gitleaks' own rule generator, built from the Go module with two files replaced (see
//! `tests/gitleaks/`), once per target directory.

use crate::tool;
use proxy_core::mask::{Found, MaskCounts, Masker};
use proxy_policy::{Detector, DetectorChoice, Mask};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

#[derive(Debug, Deserialize)]
struct Case {
    rule: String,
    secret: bool,
    /// What gitleaks' own rule takes for the secrets in it.
    secrets: Vec<String>,
    text: String,
}

/// What became of the cases with secrets.
#[derive(Debug, Default)]
struct Recall {
    secrets: u32,
    leaked: u32,
    /// Hidden, but as something else: for each rule the names that its secrets were given.
    strange: BTreeMap<String, BTreeSet<String>>,
    strangers: u32,
}

impl Recall {
    /// Takes in a case and what was made of it.
    fn add(&mut self, case: &Case, found: &[Found], out: &str) {
        for secret in &case.secrets {
            self.secrets += 1;
            if out.contains(secret) {
                self.leaked += 1;
                println!("leaked {}: {secret:?} in {:?}", case.rule, case.text);
                continue;
            }
            let at = case.text.find(secret).expect("a secret stands in its text");
            let over = |found: &&Found| found.range.start < at + secret.len() && at < found.range.end;
            let names: Vec<&str> = found.iter().filter(over).map(|found| found.name.as_str()).collect();
            if !names.iter().any(|name| is_of_family(&case.rule, name)) {
                self.strangers += 1;
                let names = names.into_iter().map(str::to_owned);
                self.strange.entry(case.rule.clone()).or_default().extend(names);
            }
        }
    }
}

/// Names that say how a secret was written rather than whose it is: one of them is shown where what is assigned, or sent,
/// is a product's token as well.
const WRITTEN: &[&str] = &["authorization", "cookie", "generic-secret", "manifest-secret", "quoted-password"];

/// Whether a finding of this name tells what gitleaks' rule is about: it has the rule's own name or that of the same
/// product, or says how it was written.
fn is_of_family(rule: &str, name: &str) -> bool {
    rule.split('-').next() == name.split('-').next() || WRITTEN.contains(&name)
}

/// Runs a command to its end, or tells what it said.
fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().expect("the tool starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            // contents only: files of the module cache are read-only, and so would their copies be
            fs::write(target, fs::read(entry.path())?)?;
        }
    }
    Ok(())
}

/// The file of cases, made if it is not there yet.
fn dump() -> io::Result<PathBuf> {
    let cases = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gitleaks-8.30.1-secrets.jsonl");
    if cases.exists() {
        return Ok(cases);
    }
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gitleaks");
    let module = "github.com/zricethezav/gitleaks/v8";
    run(Command::new("go").current_dir(&ours).args(["mod", "download", module]));
    let listed = run(Command::new("go").current_dir(&ours).args(["list", "-m", "-f", "{{.Dir}}", module]));
    let work = tempfile::tempdir()?;
    let source = work.path().join("source");
    copy(Path::new(String::from_utf8_lossy(&listed).trim()), &source)?;
    for (file, instead) in [
        ("cmd/generate/config/utils/validate.go", "instead/utils/validate.go"),
        ("cmd/generate/secrets/regen.go", "instead/secrets/regen.go"),
    ] {
        fs::write(source.join(file), fs::read(ours.join(instead))?)?;
    }
    let program = work.path().join("dump");
    run(Command::new("go")
        .current_dir(&source)
        .arg("build")
        .arg("-o")
        .arg(&program)
        .arg("./cmd/generate/config"));
    // it wants a template to write its rules with; an empty one will do
    fs::create_dir_all(work.path().join("rules"))?;
    fs::write(work.path().join("rules/config.tmpl"), "")?;
    let lines = run(Command::new(&program).current_dir(work.path()).arg("rules.toml"));
    fs::write(&cases, lines)?;
    Ok(cases)
}

#[test]
fn secrets_of_gitleaks_cases_are_hidden_and_the_rest_is_not() {
    if !tool::is_here("go", "version") {
        return;
    }
    let cases = fs::read_to_string(dump().expect("the cases")).expect("the cases");
    let choice =
        DetectorChoice { detectors: vec![Detector::Secrets], patterns: vec![], with: Mask::default() };
    let masker = Masker::new(&[choice], &[0; 32]);
    let (mut recall, mut clean, mut hidden) = (Recall::default(), 0_u32, 0_u32);
    let cases: Vec<Case> = cases.lines().map(|line| serde_json::from_str(line).expect("a case")).collect();
    // some cases that one rule must not find are there for another to find
    let elsewhere: HashSet<&str> =
        cases.iter().filter(|case| case.secret).map(|case| case.text.as_str()).collect();
    for case in &cases {
        if !case.secret && elsewhere.contains(case.text.as_str()) {
            continue;
        }
        let mut counts = MaskCounts::default();
        let out = masker.text(case.text.as_bytes(), &mut counts).into_owned();
        let is_masked = counts.total() > 0;
        if case.secret {
            recall.add(case, &masker.found(case.text.as_bytes()), &String::from_utf8_lossy(&out));
            assert!(!is_masked || masker.row_may_match(case.text.as_bytes()), "{:?}", case.text);
        } else {
            clean += 1;
            if is_masked {
                hidden += 1;
                println!("masked {}: {:?} by {:?}", case.rule, case.text, counts.0);
            }
        }
        let again = masker.text(&out, &mut MaskCounts::default()).into_owned();
        assert_eq!(String::from_utf8_lossy(&again), String::from_utf8_lossy(&out), "{:?}", case.text);
    }
    let Recall { secrets, leaked, strange, strangers } = recall;
    println!("{leaked} of {secrets} secrets leaked, {strangers} under another name: {strange:#?}");
    println!("{hidden} of {clean} others masked");
    assert!(secrets > 6_000 && clean > 250, "{secrets} secrets and {clean} cases without");
    assert!(leaked * 100 <= secrets, "recall below 99 %");
    assert!(strangers * 100 <= secrets, "more than 1 % under another name");
    assert!(hidden * 20 <= clean, "more than 5 % masked for nothing");
}
