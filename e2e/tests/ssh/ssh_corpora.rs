//! The corpora of the analyser, the masker and the line discipline, through the whole gateway to a real host.

use crate::scene::{Answer, Scene};
use crate::stage::{Line, OPERATE, Stage, corpus, policy};
use base64::Engine as _;
use serde::Deserialize;
use std::process::Stdio;

#[derive(Debug, Deserialize)]
struct Destructive {
    script: String,
}

/// C5: no form of destroying a tree gets to the host.
#[test]
fn no_form_of_removing_a_tree_reaches_the_host() {
    let stage = Stage::new();
    let Some(scene) = Scene::on_stage(&policy(OPERATE), &stage) else { return };
    let forms: Vec<Destructive> = corpus("destructive.yaml");
    stage.put_victim();
    let line = Line::through(&scene);
    let mut through = Vec::new();
    for Destructive { script } in &forms {
        let answer = line.run(script);
        if answer.code != Some(126) || !answer.err.contains("portcullis: ") {
            through.push(format!("{script}\n    {answer:?}"));
        }
    }
    println!("destructive forms: {} of {} refused at the gateway", forms.len() - through.len(), forms.len());
    assert!(through.is_empty(), "{} came through:\n{}", through.len(), through.join("\n"));
    assert!(forms.len() >= 111 && stage.has_victim());
    assert_eq!(stage.asked(), [""; 0], "the host was asked to run something");
    // what the policy lets through gets there, and the first form would have destroyed the tree
    assert_eq!(line.run("cat victim/f").out, "content\n");
    assert_eq!(stage.asked(), ["cat victim/f"]);
    let first = &forms.first().unwrap().script;
    let direct = Line::direct(&scene).run(first);
    assert!(direct.code == Some(0) && !stage.has_victim(), "{direct:?}");
}

#[derive(Debug, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "marks of a form, in a file")]
struct Said {
    script: String,
    #[serde(default)]
    plain: bool,
    /// Letters and digits that may stay.
    #[serde(default)]
    left: usize,
    #[serde(default)]
    stderr: bool,
    #[serde(default)]
    flood: bool,
    #[serde(default)]
    skip_check: bool,
}

/// Shaped like a key of AWS; put together here, so that no scanner takes this file for a leak.
fn canary() -> String {
    format!("AKIA{}", "Q3EGRJ5NLXVW7TZB")
}

/// Letters and digits that are no mask's and no colour's.
fn left(text: &str) -> usize {
    let mut pieces = text.split("[MASKED:");
    let first = pieces.next().unwrap_or_default();
    let rest = pieces.map(|piece| piece.split_once(']').map_or("", |(_, behind)| behind));
    std::iter::once(first).chain(rest).map(letters).sum()
}

fn letters(text: &str) -> usize {
    let (mut chars, mut count) = (text.chars(), 0);
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            chars.by_ref().find(char::is_ascii_alphabetic);
        } else {
            count += usize::from(c.is_alphanumeric());
        }
    }
    count
}

/// The canary as it may be found in a file: as it is, backwards, in hexadecimal, and in base64 at each alignment.
fn traces() -> Vec<Vec<u8>> {
    let canary = canary();
    let mut traces: Vec<String> = vec![canary.clone(), canary.chars().rev().collect()];
    let hex = canary.bytes().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    traces.push(hex.to_uppercase());
    traces.push(hex);
    for before in ["", "x", "xy"] {
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{before}{canary}"));
        // without the letters that other bytes have a part in
        let own = encoded.get(if before.is_empty() { 0 } else { 4 }..24);
        traces.push(own.unwrap().to_owned());
    }
    let wide: Vec<u8> = canary.bytes().flat_map(|byte| [byte, 0]).collect();
    traces.into_iter().map(String::into_bytes).chain([wide]).collect()
}

fn has_trace(bytes: &[u8], traces: &[Vec<u8>]) -> bool {
    traces.iter().any(|trace| bytes.windows(trace.len()).any(|window| window == trace))
}

/// C3: however a program says a secret, the client does not get it, and nothing of it is in any file of the gateway's.
#[test]
fn no_form_of_a_secret_comes_out_or_stays() {
    let stage = Stage::new();
    let rules = "  rules:\n  - {name: anything, action: Allow, ssh: {effects: [Attributes, Execute, List, Read, Remove, Rename, \
                 Unknown, Write]}}\n  masking:\n  - {detectors: [Secrets], with: {type: Redact}}\n";
    let Some(scene) = Scene::on_stage(&policy(rules), &stage) else { return };
    std::fs::write(stage.work().join("s"), format!("{}\n", canary())).unwrap();
    let forms: Vec<Said> = corpus("output.yaml");
    let (line, traces) = (Line::through(&scene), traces());
    let (mut plain, mut encoded, mut out_of_reach, mut failed) = (0, 0, 0, Vec::new());
    for form in &forms {
        let Answer { out, err, .. } = line.run(&form.script);
        // files whose names are the secret
        drop(std::fs::remove_file(stage.work().join(canary())));
        let shown = if form.stderr { &err } else { &out };
        let allowed = form.left.max(if form.plain { 0 } else { 9 });
        let stays = !form.flood && left(shown) > allowed;
        let comes = has_trace(out.as_bytes(), &traces) || has_trace(err.as_bytes(), &traces);
        match () {
            () if form.skip_check => out_of_reach += 1,
            () if stays || comes || !shown.contains("[MASKED:") => {
                failed.push(format!(
                    "{}\n    {:?}",
                    form.script,
                    shown.chars().take(300).collect::<String>()
                ));
            }
            () if form.plain => plain += 1,
            () => encoded += 1,
        }
    }
    println!("forms of a secret: {plain} plain and {encoded} encoded masked, {out_of_reach} out of reach");
    assert!(failed.is_empty(), "{} come out:\n{}", failed.len(), failed.join("\n"));
    assert!(plain >= 22 && encoded >= 20);
    drop(line);
    let replayed = scene.replayed();
    assert!(replayed.contains("[MASKED:") && !has_trace(replayed.as_bytes(), &traces), "the replay says it");
    let files = scene.log_bytes();
    assert!(files.len() > 10_000 && !has_trace(&files, &traces), "a file of the gateway's holds it");
}

#[derive(Debug, Deserialize)]
struct Typed {
    name: String,
    keys: String,
    lines: Vec<String>,
}

/// The terminal's cases: what the host's shell would run is what was decided.
#[test]
fn what_is_typed_is_decided_as_the_shell_would_run_it() {
    let stage = Stage::new();
    let rules = format!("{OPERATE}  - {{name: shells, action: Allow, ssh: {{shells: [LineDisciplined]}}}}\n");
    let Some(scene) = Scene::on_stage(&policy(&rules), &stage) else { return };
    let cases: Vec<Typed> = corpus("terminal.yaml");
    stage.put_victim();
    let (line, mut wrong) = (Line::through(&scene), Vec::new());
    let mut known = scene.decided().len();
    for case in &cases {
        let mut ssh = line.ssh(&["-tt"]);
        let mut child =
            ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), case.keys.as_bytes()).unwrap();
        let shown = Answer::new(&child.wait_with_output().unwrap());
        let all = scene.decided();
        // the shell itself is the first
        let lines: Vec<&str> = all.iter().skip(known + 1).map(|(line, _)| line.as_str()).collect();
        if lines != case.lines || !stage.has_victim() {
            wrong.push(format!("{}: {lines:?} instead of {:?}\n    {shown:?}", case.name, case.lines));
        }
        known = all.len();
    }
    println!("terminal: {} of {} cases decided as typed", cases.len() - wrong.len(), cases.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let denied = scene.decided().iter().filter(|(_, verdict)| verdict == "deny").count();
    assert!(cases.len() >= 25 && denied >= 20, "{denied}");
}
