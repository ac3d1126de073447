//! What must not be seen is nowhere: not in an answer, a record, a log, an approval request or a metric.

use crate::scene::Scene;
use e2e::shop::CANARY;
use std::path::{Path, PathBuf};

#[test]
fn masked_values_literals_tokens_and_credentials_are_in_no_file_and_no_log() {
    let Some(scene) = Scene::start() else { return };
    let token = scene.token("ci-bot");
    let mut answers = String::new();
    for sql in [
        "select * from users",
        "select ssn || '' as x from users",
        "select to_jsonb(u) from users u",
        "copy users to stdout",
        "select * from users where ssn = '078-05-1120'",
        "insert into users values (1, 'x', 'y', '078-05-1120')",
        "select ssn::int from users",
        "do $$ begin raise notice '%', (select ssn from users where id = 1); end $$",
        "select 'hunter2-literal-of-a-statement'",
        "select broken syntax 'hunter2-literal-of-a-statement'",
    ] {
        let answer = scene.run("app", &token, sql);
        answers.push_str(&answer.out);
        if !sql.contains("hunter2") && !sql.contains(CANARY) {
            answers.push_str(&answer.err);
        }
    }
    let forms = forms(CANARY);
    for form in &forms {
        assert!(!answers.contains(form.as_str()), "{form} reached the client: {answers}");
    }
    let mut secrets = forms;
    secrets.push("hunter2-literal-of-a-statement".to_owned());
    secrets.push("upstream-credential-that-no-client-sees".to_owned());
    secrets.push(token[token.len() - 60..].to_owned());
    let mut texts: Vec<(PathBuf, Vec<u8>)> = files(scene.gateway.state());
    texts.push((PathBuf::from("the log"), scene.gateway.log().into_bytes()));
    texts.push((PathBuf::from("the metrics"), scene.gateway.admin("metrics").unwrap().into_bytes()));
    assert!(texts.len() > 5, "{texts:?}");
    for secret in &secrets {
        for (file, text) in &texts {
            let found = text.windows(secret.len()).any(|window| window == secret.as_bytes());
            // The literal of a plain SELECT is also its result, which is recorded as the client saw it.
            let is_result = secret.contains("hunter2") && file.to_string_lossy().contains("audit");
            assert!(!found || is_result, "{secret} is in {}", file.display());
        }
    }
}

/// The forms in which a value could be hidden: as it is, hexadecimal, reversed, without dashes, base64 thrice.
fn forms(value: &str) -> Vec<String> {
    use base64::Engine as _;
    let encode = |text: &[u8]| base64::engine::general_purpose::STANDARD_NO_PAD.encode(text);
    let hexadecimal: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let middle = |padding: usize| {
        let text = [&vec![b' '; padding][..], value.as_bytes()].concat();
        encode(&text)[4..12].to_owned()
    };
    vec![
        value.to_owned(),
        hexadecimal,
        value.chars().rev().collect(),
        value.replace('-', ""),
        encode(value.as_bytes())[..12].to_owned(),
        middle(1),
        middle(2),
    ]
}

fn files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if let Ok(bytes) = std::fs::read(&path) {
            found.push((path, bytes));
        }
    }
    found
}
