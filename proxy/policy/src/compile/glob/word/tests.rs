//! Words against patterns: by examples, and against all short texts.

use super::*;
use proptest::prelude::*;

fn may(pattern: &str, word: &str) -> bool {
    Word::pattern(word).iter().any(|word| Glob::new(pattern).may_match(word))
}

fn covers(pattern: &str, word: &str) -> bool {
    Word::pattern(word).iter().all(|word| Glob::new(pattern).covers(word))
}

#[test]
fn a_word_meets_what_it_may_become() {
    for (pattern, word, expected) in [
        ("/etc/passwd", "/etc/pass*", true),
        ("/etc/passwd", "/et?/passw[d]", true),
        ("/etc/passwd", "/*/passwd", true),
        ("/etc/passwd", "/*", false),
        ("/etc/passwd", "/**", true),
        ("/etc/passwd", "/etc/pass?", false),
        ("/etc/*", "/e*c/x", true),
        ("/etc/*", "/srv/*", false),
        ("*/.ssh/*", "/root/.s?h/id", true),
        ("/srv/app3", "/srv/app[12]", false),
        ("/srv/app3", "/srv/app[0-9]", true),
        ("/srv/appx", "/srv/app[a-z]", true),
        ("/srv/appx", "/srv/app[!y]", true),
        ("/srv/appx", "/srv/app[[:alpha:]]", true),
        ("/srv/a[1]", "/srv/a[1]", true),
        ("/srv/[a-b]", "/srv/[a*]", true),
        ("/srv/2026.log", "/srv/$(date +%Y).log", true),
        ("/srv/2026.txt", "/srv/$(date +%Y).log", false),
        ("/srv/7", "/srv/$?", true),
        ("/srv/x/y", "/srv/${a}y", true),
        ("/srv/x", "/srv/`id -u`", true),
    ] {
        assert_eq!(may(pattern, word), expected, "{pattern} and {word}");
    }
}

#[test]
fn a_pattern_covers_a_word_that_becomes_nothing_else() {
    for (pattern, word, expected) in [
        ("/srv/*", "/srv/app/*.log", true),
        ("/srv/*", "/srv/[ab]", true),
        ("/srv/*.log", "/srv/$(date +%F).log", true),
        ("/srv/*", "/*/app", false),
        ("/srv/app*", "/srv/*", false),
        ("/srv/a", "/srv/?", false),
        ("*", "/**", true),
    ] {
        assert_eq!(covers(pattern, word), expected, "{pattern} and {word}");
    }
}

#[test]
fn a_word_longer_than_any_name_may_be_anything() {
    assert!(may("/etc/passwd", &format!("/srv/{}*", "x".repeat(LETTERS_MAX))));
}

/// Whether the shell would take the word for the text; written apart from what is tested.
fn becomes(word: &[char], text: &[char]) -> bool {
    match word {
        [] => text.is_empty(),
        ['*', '*', rest @ ..] => (0..=text.len()).any(|at| becomes(rest, &text[at..])),
        ['*', rest @ ..] => {
            (0..=text.len()).take_while(|at| !text[..*at].contains(&'/')).any(|at| becomes(rest, &text[at..]))
        }
        ['?', rest @ ..] => text.split_first().is_some_and(|(c, text)| *c != '/' && becomes(rest, text)),
        ['[', 'a', 'b', ']', rest @ ..] => {
            let class = text.split_first().is_some_and(|(c, text)| "ab".contains(*c) && becomes(rest, text));
            class || text.strip_prefix(&['[', 'a', 'b', ']']).is_some_and(|text| becomes(rest, text))
        }
        [c, rest @ ..] => text.strip_prefix(&[*c]).is_some_and(|text| becomes(rest, text)),
    }
}

/// All texts of the letters, up to a length that holds the shortest that a pattern and a word share.
fn texts() -> Vec<String> {
    let mut all = vec![String::new()];
    let mut last = all.clone();
    for _ in 0..7 {
        last = last.iter().flat_map(|text| ["a", "b", "/"].map(|c| format!("{text}{c}"))).collect();
        all.extend(last.clone());
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn meeting_is_having_a_text_in_common_and_covering_is_matching_them_all(
        pattern in "[ab/*]{0,4}",
        word in "([ab/?*]|\\*\\*){0,2}(\\[ab\\])?[ab/?]{0,1}",
    ) {
        let glob = Glob::new(&pattern);
        let letters: Vec<char> = word.chars().collect();
        let becoming: Vec<String> =
            texts().into_iter().filter(|text| becomes(&letters, &text.chars().collect::<Vec<_>>())).collect();
        let shared = becoming.iter().any(|text| glob.matches(text));
        let met = may(&pattern, &word);
        // with brackets, the word is a little more than what it is compared with
        prop_assert!(met == shared || met && word.contains('['), "{pattern} and {word}: {met}, {shared}");
        if covers(&pattern, &word) {
            let missed = becoming.iter().find(|text| !glob.matches(text));
            prop_assert!(missed.is_none(), "{pattern} does not cover {word}: {missed:?}");
        }
    }
}
