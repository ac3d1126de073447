use super::*;
use crate::test_support::{command, identity, touch};
use proptest::prelude::*;

fn compile(source: &str) -> Result<Condition, Vec<String>> {
    Condition::compile(source, &Arc::new(Env::stdlib()), &ResourceFacts::default())
}

fn evaluate(source: &str) -> Result<bool, String> {
    let env = Arc::new(Env::stdlib());
    let resource = ResourceFacts::default();
    let identity = identity("agent", &["agents"]);
    let command = command(vec![touch("Delete", "public.orders")]);
    let scope = Scope::new(&env, &resource, &identity, &command, "2026-11-23T12:00:00Z".parse().unwrap());
    compile(source).unwrap().holds(&scope)
}

#[test]
fn conditions_see_the_identity_the_command_the_resource_and_the_time() {
    for (source, expected) in [
        ("'agents' in identity.groups", true),
        ("identity.claims.repository == 'acme/billing'", true),
        ("identity.claims.run_number > 5", true),
        ("has(identity.claims.nothing)", false),
        ("command.effects.exists(e, e.effect == 'Delete' && e.name.startsWith('public.'))", true),
        ("command.effects.all(e, e.access == 'Read')", false),
        ("command.database == 'app' && command.role == 'app' && command.changes", true),
        ("now < timestamp('2027-01-01T00:00:00Z')", true),
        ("now.getHours() == 12", true),
        ("command.operation.matches('^DELETE')", true),
        ("command.effects.filter(e, e.object == 'relation').map(e, e.name) == ['public.orders']", true),
        ("type(command.operation) == string", true),
    ] {
        assert_eq!(evaluate(source), Ok(expected), "{source}");
    }
}

#[test]
fn mistakes_are_found_when_the_policy_is_loaded() {
    for (source, expected) in [
        ("identity.", "1:"),
        ("identity.groups == ", "1:"),
        ("who.name == 'x'", "1:1: unknown variable `who`"),
        ("true &&\n who.name == 'x'", "2:2: unknown variable `who`"),
        ("command.verb == 'x'", "`command` has no field `verb`"),
        ("1 + 'a' == 2", "`add` does not take a number and a string"),
        ("command.operation", "must give a bool, but gives a string"),
        ("nope(1)", "undeclared reference to `nope`"),
        ("command.effects.exists(e, e.kind == 'x')", "no such key: kind"),
        ("command.effects.all(e, identity.groups.exists(g, g == e.name))", "must not be nested"),
    ] {
        let problems = compile(source).unwrap_err();
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{source}: {problems:?}");
    }
}

#[test]
fn long_and_deep_sources_are_refused() {
    assert!(compile(&format!("true || '{}' == ''", "x".repeat(5000))).is_err());
    assert!(compile(&format!("{}1{} == []", "[".repeat(100), "]".repeat(100))).is_err());
    for (open, close, times) in [
        ("(", ")", 2000),
        ("[", "]", 2000),
        ("!", "", 4000),
        ("{'a':", "}", 600),
        ("-", "", 4000),
        ("a.", "", 2000),
        ("1+", "", 2000),
        ("a?b:", "", 900),
    ] {
        assert!(compile(&format!("{}1{}", open.repeat(times), close.repeat(times))).is_err(), "{open}");
    }
    assert!(compile(&["[1].exists(x, x == 1)"; 9].join(" && ")).is_err());
}

#[test]
fn a_missing_claim_is_no_problem_when_loading_and_an_error_when_running() {
    assert!(compile("identity.claims.team == 'payments'").is_ok());
    assert_eq!(evaluate("identity.claims.team == 'payments'"), Err("no such key: team".to_owned()));
}

#[test]
fn an_error_text_never_holds_a_value_of_the_caller() {
    let error = evaluate("identity.claims.repository > 5").unwrap_err();
    assert!(!error.contains("acme"), "{error}");
}

#[test]
fn a_command_too_large_to_look_at_fails_only_conditions_that_look() {
    let env = Arc::new(Env::stdlib());
    let resource = ResourceFacts::default();
    let identity = identity("agent", &["agents"]);
    let mut command = command(vec![touch("Delete", "public.orders"); 2000]);
    Arc::make_mut(&mut command.reading).masked_text = "x".repeat(100_000);
    let scope = Scope::new(&env, &resource, &identity, &command, jiff::Timestamp::UNIX_EPOCH);
    for (source, expected) in [
        ("!command.text.contains('y')", Err("the command is too large to look at its text".to_owned())),
        (
            "!command.effects.exists(e, e.name == 'y')",
            Err("the command is too large to look at its effects".to_owned()),
        ),
        ("'agents' in identity.groups", Ok(true)),
    ] {
        assert_eq!(compile(source).unwrap().holds(&scope), expected, "{source}");
    }
}

/// Pieces that expressions are made of, right and wrong.
const PIECES: [&str; 40] = [
    "identity",
    "command",
    "resource",
    "now",
    ".groups",
    ".claims",
    ".effects",
    ".text",
    ".labels",
    ".x",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "'a'",
    "r\"\\d\"",
    "1",
    "0u",
    "1.5e9",
    "-9223372036854775808",
    "==",
    "in",
    "&&",
    "||",
    "!",
    "-",
    "+",
    "%",
    "?",
    ":",
    ",",
    ".exists(e, ",
    ".map(e, ",
    "has(",
    "size(",
    ".matches('(')",
    "timestamp('x')",
    "\u{1F512}",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_source_makes_compiling_or_running_panic(
        pieces in proptest::collection::vec(proptest::sample::select(&PIECES[..]), 0..24), noise in "\\PC{0,8}",
    ) {
        let env = Arc::new(Env::stdlib());
        let resource = ResourceFacts::default();
        let identity = identity("agent", &["agents"]);
        let command = command(vec![touch("Delete", "public.orders")]);
        let scope = Scope::new(&env, &resource, &identity, &command, jiff::Timestamp::UNIX_EPOCH);
        for source in [pieces.concat(), pieces.concat() + &noise, pieces.join(" ")] {
            match Condition::compile(&source, &env, &ResourceFacts::default()) {
                Ok(condition) => {
                    let answer = condition.holds(&scope);
                    prop_assert!(!answer.is_err_and(|error| error.contains("failed on this")), "{source}");
                }
                Err(problems) => {
                    prop_assert!(!problems.is_empty());
                    prop_assert!(!problems.iter().any(|problem| problem.contains("failed on this")), "{source}: {problems:?}");
                }
            }
        }
    }
}
