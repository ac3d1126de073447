//! The analyser answers every text, quickly, and the same way twice.

use crate::{everyday, victim};
use proptest::prelude::*;
use proxy_policy::Effects;
use proxy_shell::{analyze, is_complete};
use std::time::Instant;

/// Pieces that command lines are made of, and what trips parsers.
const PIECES: &[&str] = &[
    " ",
    "\n",
    ";",
    "|",
    "||",
    "&",
    "&&",
    "(",
    ")",
    "((",
    "))",
    "{",
    "}",
    "$",
    "$(",
    "${",
    "$((",
    "$[",
    "`",
    "'",
    "\"",
    "\\",
    "$'",
    "$\"",
    "<",
    ">",
    "<<",
    "<<<",
    "<<-",
    ">&",
    "&>",
    "<(",
    ">(",
    "[[",
    "]]",
    "[",
    "]",
    "*",
    "?",
    "~",
    "~9",
    "#",
    "!",
    "=",
    "+=",
    "x",
    "a=b",
    "rm",
    "-rf",
    "victim",
    "echo",
    "eval",
    "sh",
    "-c",
    "if",
    "then",
    "fi",
    "case",
    "in",
    "esac",
    ";;",
    "for",
    "do",
    "done",
    "while",
    "function",
    "coproc",
    "time",
    "select",
    "EOF",
    "0",
    "9",
    "99999999999",
    "{1..3}",
    "{a,b}",
    "{9..99999999999999999999}",
    "$x",
    "$@",
    "${x:-y}",
    "${!x}",
    "é",
    "\u{0}",
    "\u{7f}",
    "\r",
    "\t",
    "find",
    "-exec",
    "{}",
    "\\;",
    "xargs",
    "sudo",
    "env",
    "sed",
    "awk",
];

fn answered(text: &str) -> Result<(), TestCaseError> {
    let before = Instant::now();
    let command = analyze(text.as_bytes(), "deploy", "web1");
    // some hundred times what the worst takes; only what does not end is meant
    prop_assert!(before.elapsed().as_secs() < 20, "{:?} takes {:?}", text, before.elapsed());
    let again = analyze(text.as_bytes(), "deploy", "web1");
    prop_assert_eq!(&command, &again);
    match &command.reading.effects {
        Effects::Known(touches) => prop_assert!(touches.len() <= 512),
        Effects::Unknown { why, .. } => prop_assert!(!why.is_empty() && command.reading.changes),
    }
    let _: bool = is_complete(text);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_of_command_lines_are_answered(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40)) {
        answered(&pieces.concat())?;
    }

    #[test]
    fn any_text_is_answered(text in ".{0,80}") {
        answered(&text)?;
    }

    /// Two everyday lines and a cut through one of them.
    #[test]
    fn mangled_lines_are_answered(first in any::<prop::sample::Index>(), second in any::<prop::sample::Index>(), at in any::<prop::sample::Index>()) {
        let lines = everyday::commands();
        let (first, second) = (first.get(&lines), second.get(&lines));
        let chars: Vec<char> = first.chars().collect();
        let cut: String = chars[..at.index(chars.len())].iter().collect();
        answered(&format!("{cut}{second}"))?;
    }

    /// Whatever stands beside it, a removal of a tree is seen.
    #[test]
    fn an_everyday_line_beside_it_hides_nothing(line in any::<prop::sample::Index>(), before in any::<bool>(), operator in prop::sample::select(vec!["; ", "\n", " && ", " || ", " & "])) {
        let lines = everyday::commands();
        let line = line.get(&lines);
        let text = if before { format!("{line}{operator}rm -rf victim") } else { format!("rm -rf victim{operator}{line}") };
        prop_assert!(victim::is_refused(&analyze(text.as_bytes(), "deploy", "web1")), "{}", text);
    }
}

#[test]
fn texts_that_nest_or_repeat_are_answered_soon() {
    for (name, open, middle, close) in [
        ("parentheses", "(", "x", ")"),
        ("open parentheses", "(", "", ""),
        ("groups", "{ ", "x", "; }"),
        ("if", "if x; then ", "x", "; fi"),
        ("case", "case x in a) ", "x", ";; esac"),
        ("open case", "case x in a) ", "", ""),
        ("substitutions", "$(", "x", ")"),
        ("open substitutions", "$(", "", ""),
        ("expansions", "${x:-", "y", "}"),
        ("arithmetic", "$((", "1", "))"),
        ("quotes", "\"$(", "x", ")\""),
        ("braces", "{a,", "b", "}"),
        ("tests", "( ", "x", " )"),
        ("backquotes", "`", "x", "`"),
        ("functions", "f() { ", "x", "; }"),
        ("shells", "sh -c '", "x", "'"),
        ("words", "a ", "b", ""),
        ("commands", "a;", "b", ""),
        ("pipes", "a|", "b", ""),
        ("assignments", "a=$a$a ", "b", ""),
        ("loops", "for a in $a 1 2; do ", "x $a", "; done"),
        ("documents", "cat <<E;", "", "\nE\n"),
        ("wrappers", "env ", "rm -rf x", ""),
        ("heads", "xargs ", "rm", ""),
    ] {
        for count in [5, 50, 500, 5_000] {
            let text = format!("{}{middle}{}", open.repeat(count), close.repeat(count));
            let before = Instant::now();
            let command = analyze(text.as_bytes(), "deploy", "web1");
            let known = matches!(command.reading.effects, Effects::Known(_));
            let took = before.elapsed();
            if took.as_millis() > 200 {
                println!("{count} {name}: {took:?}, known {known}");
            }
            assert!(took.as_secs() < 30, "{count} {name} take {took:?}");
        }
    }
}
