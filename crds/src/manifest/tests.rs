use super::*;
use proptest::prelude::*;

const RESOURCE: &str = r#"
apiVersion: portcullis.dev/v1alpha1
kind: Resource
metadata: {name: orders}
spec:
  postgresql: {host: db, roles: [{name: app, credentialsRef: {name: app}}]}
  authentication: {issuers: [{issuer: "https://idp.example.com", audiences: [orders]}]}
"#;

const SECRET: &str = r"
apiVersion: v1
kind: Secret
metadata: {name: app}
data: {password: aHVudGVyMg==, username: YXBw}
stringData: {username: other}
";

fn errors(text: &str) -> Vec<String> {
    Manifests::parse("a.yaml", text).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn documents_of_any_kinds_may_be_mixed() {
    let text = format!("# comment\n---\n{RESOURCE}\n---\n# nothing\n---\n{SECRET}...\n");
    let manifests = Manifests::parse("a.yaml", &text).unwrap();
    assert_eq!(manifests.resources[0].metadata.name.as_deref(), Some("orders"));
    assert_eq!(manifests.resources[0].spec.gateway.max_sessions, 5000, "defaults are filled in");
    assert_eq!(manifests.origin("Secret", "", "app").unwrap().document, 3);
}

#[test]
fn string_data_of_a_secret_is_merged_over_its_data() {
    let manifests = Manifests::parse("a.yaml", SECRET).unwrap();
    let data = manifests.secrets[0].data.as_ref().unwrap();
    assert_eq!(data["username"].0, b"other");
    assert_eq!(data["password"].0, b"hunter2");
}

#[test]
fn an_error_says_where_it_is_and_what_was_expected() {
    let broken = RESOURCE.replace("host: db", "host: db, port: many");
    assert_eq!(
        errors(&format!("{SECRET}---{broken}")),
        [
            "a.yaml:7 (document 2): Resource orders: spec.postgresql.port: invalid type: string \"many\", expected i32"
        ]
    );
    let typo = RESOURCE.replace("audiences", "audience");
    assert!(
        errors(&typo)[0]
            .contains("spec.authentication.issuers[0].audience: unknown field `audience`, expected one of"),
        "{:?}",
        errors(&typo)
    );
    let typo = RESOURCE.replace("spec:", "specs:");
    assert!(errors(&typo)[0].contains("specs: unknown field; expected apiVersion"));
    let kind = RESOURCE.replace("kind: Resource", "kind: Ressource");
    assert!(errors(&kind)[0].contains("unknown kind `Ressource`; expected Resource, Policy and"));
    let version = RESOURCE.replace("v1alpha1", "v1");
    assert!(errors(&version)[0].contains("apiVersion: expected `portcullis.dev/v1alpha1`"));
}

#[test]
fn broken_yaml_is_located_by_line() {
    let text = format!("{RESOURCE}---\na: b\nc: [1, 2\nd: e\n");
    let errors = Manifests::parse("a.yaml", &text).unwrap_err();
    assert_eq!(errors[0].origin.line, 11);
    assert!(errors[0].message.starts_with("is no valid YAML at column "), "{}", errors[0]);
    assert!(!errors[0].message.contains(" line "), "{}", errors[0]);
}

#[test]
fn all_errors_are_reported_and_then_nothing_is_usable() {
    let text = format!("kind: A\n---\nkind: B\n---{RESOURCE}");
    assert_eq!(errors(&text).len(), 2);
}

#[test]
fn keys_must_not_repeat() {
    assert!(errors(&RESOURCE.replace("host: db", "host: db, host: evil"))[0].contains("is no valid YAML"));
}

#[test]
fn no_error_quotes_a_secret() {
    for broken in [
        SECRET.replace("aHVudGVyMg==", "hunter2!"),
        SECRET.replace("aHVudGVyMg==", "[hunter2]"),
        SECRET.replace("data: {password: aHVudGVyMg==, username: YXBw}", "data: hunter2"),
        SECRET.replace("stringData: {username: other}", "stringData: {password: hunter2, password: hunter2}"),
        SECRET.replace("stringData: {username: other}", "stringData: {password: hunter2"),
        SECRET.replace(
            "stringData: {username: other}",
            "stringData:\n  password: hunter2\n username: *hunter2",
        ),
        SECRET.replace(
            "stringData: {username: other}",
            "stringData: {password: !hunter2 hunter2}\nimmutable: hunter",
        ),
    ] {
        let errors = errors(&broken);
        assert!(!errors.iter().any(|error| error.contains("hunter2")), "{errors:?}");
    }
    assert!(!format!("{:?}", Manifests::parse("a.yaml", SECRET).unwrap()).contains("hunter2"));
}

#[test]
fn an_object_may_be_defined_once() {
    let twice =
        format!("{RESOURCE}---{}", RESOURCE.replace("{name: orders}", "{name: orders, namespace: default}"));
    assert!(
        errors(&twice)[0].contains("is defined already at a.yaml:1 (document 1)"),
        "{:?}",
        errors(&twice)
    );
    let mut first = Manifests::parse("a.yaml", RESOURCE).unwrap();
    let errors = first.append(Manifests::parse("b.yaml", RESOURCE).unwrap()).unwrap_err();
    assert_eq!(
        errors[0].to_string(),
        "b.yaml:1 (document 1): Resource orders: metadata.name: is defined already at a.yaml:1 (document 1)"
    );
    first.append(Manifests::parse("c.yaml", SECRET).unwrap()).unwrap();
    assert_eq!(first.secrets.len(), 1);
}

#[test]
fn hostile_yaml_is_an_error_and_takes_no_time() {
    let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (before, letter) in ('a'..='y').zip('b'..='z') {
        let line = format!("{letter}: &{letter} [{}]\n", vec![format!("*{before}"); 9].join(","));
        bomb.push_str(&line);
    }
    for text in [bomb, "[".repeat(100_000), "- ".repeat(100_000), "a: ".to_owned() + &"{a: ".repeat(10_000)] {
        assert!(Manifests::parse("a.yaml", &text).is_err());
    }
}

/// Lines of manifests, right and wrong, to be put together at random.
const LINES: [&str; 24] = [
    "---",
    "...",
    "%YAML 1.2",
    "apiVersion: v1",
    "apiVersion: portcullis.dev/v1alpha1",
    "kind: Secret",
    "kind: Policy",
    "kind: Resource",
    "metadata: {name: a}",
    "metadata: [a]",
    "spec:",
    "  targetRefs: [{name: a}]",
    "  rules:",
    "  - {name: a, action: Deny}",
    "  - name: 1",
    "  subjects: [{}]",
    "data: {a: hunter2}",
    "stringData: {a: [hunter2]}",
    "stringData: hunter2",
    "a: &a [*a]",
    "b: *a",
    "<<: {kind: Secret}",
    "! x",
    "\u{feff}",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_reading_panic(
        lines in proptest::collection::vec(proptest::sample::select(&LINES[..]), 0..16), noise in "\\PC{0,12}",
    ) {
        for text in [lines.join("\n"), lines.join("\n") + &noise, noise.clone() + &lines.join("\r\n")] {
            if let Err(errors) = Manifests::parse("a.yaml", &text) {
                let printed = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
                prop_assert!(!printed.is_empty() && !printed.contains("hunter2"), "{text}\n{printed}");
            }
        }
    }
}
