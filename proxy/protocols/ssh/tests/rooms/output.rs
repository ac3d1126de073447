//! Every form of `tests/corpus/output.yaml` comes out without the secret: bash says it, the masker hears it in pieces.

use proxy_core::mask::Masker;
use proxy_policy::{Detector, DetectorChoice, Mask, MaskType};
use proxy_ssh::mask::OutputMasker;
use serde::Deserialize;
use std::fs;
use std::process::{Command, Stdio};

/// Shaped like a key of AWS.
const CANARY: &str = "AKIAQ3EGRJ5NLXVW7TZB";

#[derive(Debug, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "marks of a form, in a file")]
struct Form {
    script: String,
    #[serde(default)]
    plain: bool,
    /// Letters and digits that may stay.
    #[serde(default)]
    left: usize,
    /// What is said on standard error.
    #[serde(default)]
    stderr: bool,
    /// Much is said beside it.
    #[serde(default)]
    flood: bool,
    /// Out of reach: it is only counted.
    #[serde(default)]
    skip_check: bool,
}

fn said(form: &Form) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("s");
    fs::write(&secret, format!("{CANARY}\n")).unwrap();
    let output = Command::new("bash")
        .args(["-c", &form.script])
        .current_dir(dir.path())
        .env("S", "s")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    if form.stderr { output.stderr } else { output.stdout }
}

fn masked(bytes: &[u8], step: usize) -> (Vec<u8>, u64) {
    let with = Mask { type_: MaskType::Redact, keep_last: None };
    let choice = DetectorChoice { detectors: vec![Detector::Secrets], patterns: Vec::new(), with };
    let (mut masker, mut out) = (OutputMasker::new(Masker::new(&[choice], &[7; 32])), Vec::new());
    for piece in bytes.chunks(step) {
        masker.push(piece, &mut out);
    }
    masker.finish(&mut out);
    (out, masker.counts().total())
}

/// Letters and digits that are not a mask's.
fn left(out: &[u8]) -> usize {
    let text = String::from_utf8_lossy(out);
    let mut rest = text.as_ref();
    let mut count = 0;
    while let Some((before, after)) = rest.split_once("[MASKED:") {
        count += letters(before);
        rest = after.split_once(']').unwrap().1;
    }
    count + letters(rest)
}

fn letters(text: &str) -> usize {
    // colours are none
    let mut chars = text.chars();
    let mut count = 0;
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            chars.by_ref().find(char::is_ascii_alphabetic);
        } else {
            count += usize::from(c.is_alphanumeric());
        }
    }
    count
}

#[test]
fn no_form_of_a_secret_comes_out() {
    let forms: Vec<Form> = serde_yaml_ng::from_str(include_str!("../corpus/output.yaml")).unwrap();
    let (mut plain, mut encoded, mut out_of_reach, mut failed) = (0, 0, 0, Vec::new());
    for form in &forms {
        let bytes = said(form);
        assert!(bytes.len() > 10, "{} says nothing", form.script);
        let wrong = [1, 5, 64, 1 << 20].into_iter().find_map(|step| {
            let (out, count) = masked(&bytes, step);
            let shown = String::from_utf8_lossy(&out).into_owned();
            let stays = !form.flood && left(&out) > form.left.max(if form.plain { 0 } else { 9 });
            (stays || count == 0 || shown.contains(CANARY)).then_some(shown)
        });
        match wrong {
            _ if form.skip_check => out_of_reach += 1,
            Some(shown) => {
                let start: String = shown.chars().take(300).collect();
                failed.push(format!("{}\n    {start:?}", form.script));
            }
            None if form.plain => plain += 1,
            None => encoded += 1,
        }
    }
    println!("forms of a secret: {plain} plain and {encoded} encoded masked, {out_of_reach} out of reach");
    assert!(failed.is_empty(), "{} come out:\n{}", failed.len(), failed.join("\n"));
    assert!(plain >= 22 && encoded >= 20);
}
