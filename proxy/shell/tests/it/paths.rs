//! What rules about paths and arguments say of lines that name files in other ways: `tests/corpus/paths.yaml`.

use crate::everyday::{compiled, judged};
use proxy_policy::Verdict;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    rules: String,
    denied: Vec<String>,
    allowed: Vec<String>,
}

#[test]
fn a_file_is_the_same_however_a_line_names_it() {
    let cases: Vec<Case> = serde_yaml_ng::from_str(include_str!("../corpus/paths.yaml")).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let head = "targetRefs: [{name: web}]\nsubjects: [{group: agents}]\nrules:\n";
        let policy = compiled(&format!("{head}{}", case.rules));
        for (lines, allowed) in [(&case.denied, false), (&case.allowed, true)] {
            for line in lines {
                let verdict = judged(&policy, line);
                if matches!(verdict, Verdict::Allow { .. }) != allowed {
                    wrong.push(format!("{}: {line}\n    {verdict:?}", case.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
