//! The table of secret rules, as data.
//!
//! A rule is looked at only where one of its keywords stands, so a text without keywords costs one pass of an
//! automaton. Expressions are over bytes, match at the keyword itself, and compile on first use, once per process.

mod generic;
mod named;
mod tokens;

use super::tails::Tail;
use proxy_policy::Detector;
use regex_automata::{meta, util::syntax};
use std::sync::OnceLock;

/// What may follow a token: a quote, a separator, a control byte or byte above ASCII, an escaped line end, the end.
///
/// Control bytes are among them so that a value inside a binary frame ends where the next field begins.
const AFTER: &str = r#"(?:[\x60'"\s;,<>|&)\]}\x00-\x1f\x7f-\xff]|\\[nrt"]|$)"#;

/// What may stand between a name and the value assigned to it.
const BETWEEN: &str = r#"(?:[ \t\w.-]{0,20})[\s'"]{0,3}(?:=|>|:{1,3}=|\|\||:|=>|\?=|,)[\x60'"\s=]{0,5}"#;

/// Where an expression starts, relative to the keyword.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Start {
    /// At the keyword, which no letter, digit or underscore may precede.
    Word,
    /// At the keyword.
    Keyword,
    /// At the keyword or in the so many bytes before it.
    Around(u16),
    /// Anywhere from so many bytes before the keyword on, which need not be in it.
    Near(u16),
}

/// The expression of a rule, in parts.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// Taken as it is; capture group 1, when there is one, is the secret.
    Whole(&'static str),
    /// The secret, with [`AFTER`] behind it.
    Ended(&'static str),
    /// A name in any case, [`BETWEEN`], what the secret begins with.
    Begun { names: &'static str, value: &'static str },
    /// A name in any case, [`BETWEEN`], a quote, the secret, what stands behind it.
    Quoted { names: &'static str, quote: &'static str, value: &'static str, after: &'static str },
    /// A name, [`BETWEEN`], the secret, [`AFTER`]; `fold` ignores case in the secret too.
    Assigned { names: &'static str, value: &'static str, fold: bool },
}

/// What else must hold of a match.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Check {
    /// Nothing.
    None,
    /// The first part is base64url JSON with an `alg` or `enc`.
    Jwt,
    /// Base64 of a JSON Web Token.
    WrappedJwt,
    /// Does not look like a word, a path or a reference: see `check`.
    Generic,
    /// There is a digit in it.
    Mixed,
    /// There is more in it than hexadecimal digits and dashes, of which hashes and identifiers are made.
    Unhashed,
    /// Chosen by a person: a word with a digit or a mark in it.
    Chosen,
    /// Longer than any word: see `check`.
    Long,
    /// A password worth hiding: not empty, not a reference.
    Password,
    /// User and password joined by a colon, the latter worth hiding.
    UserPassword,
    /// One value of a manifest.
    Manifest,
    /// A password among other parts of a connection string.
    Connection,
    /// A quoted value that is neither a word nor a sentence.
    Quoted,
}

/// One rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// Name shown in the mask.
    pub(super) name: &'static str,
    /// Lower-case literals, one of which stands in every match; `Start` is relative to them.
    pub(super) keywords: &'static [&'static str],
    /// Shannon entropy in bits per byte that the secret must exceed; zero asks for none.
    pub(super) entropy: f32,
    /// Where to match.
    pub(super) start: Start,
    /// What stands, in this very form, in the so many bytes behind the start of the keyword: looked for first, where
    /// the keyword is common and the expression slow.
    pub(super) behind: Option<(&'static [u8], u16)>,
    /// The secret goes on behind what the expression matches of it.
    pub(super) tail: Option<Tail>,
    /// What to check.
    pub(super) check: Check,
    /// The detector it belongs to beside `Secrets`.
    pub(super) detector: Option<Detector>,
    shape: Shape,
}

impl Rule {
    const fn of(name: &'static str, keywords: &'static [&'static str], entropy: f32) -> Self {
        Self {
            name,
            keywords,
            entropy,
            start: Start::Keyword,
            behind: None,
            tail: None,
            check: Check::None,
            detector: None,
            shape: Shape::Whole(""),
        }
    }

    /// The whole expression.
    fn expression(&self) -> String {
        match self.shape {
            Shape::Whole(expression) => expression.to_owned(),
            Shape::Ended(value) => format!("({value}){AFTER}"),
            Shape::Begun { names, value } => format!("(?i)(?:{names}){BETWEEN}({value})"),
            Shape::Quoted { names, quote, value, after } => {
                format!("(?i)(?:{names}){BETWEEN}{quote}({value}){after}")
            }
            Shape::Assigned { names, value, fold: true } => {
                format!("(?i)(?:{names}){BETWEEN}({value}){AFTER}")
            }
            Shape::Assigned { names, value, fold: false } => {
                format!("(?i:{names}){BETWEEN}({value}){AFTER}")
            }
        }
    }
}

/// A literal name and the value assigned to it, both in any case.
const fn named(name: &'static str, keyword: &'static str, value: &'static str, entropy: f32) -> Rule {
    Rule { shape: Shape::Assigned { names: keyword, value, fold: true }, ..Rule::of(name, &[], entropy) }
}

/// Names and the value assigned to them, both in any case.
const fn folded(
    name: &'static str,
    keywords: &'static [&'static str],
    names: &'static str,
    value: &'static str,
    entropy: f32,
) -> Rule {
    Rule { shape: Shape::Assigned { names, value, fold: true }, ..Rule::of(name, keywords, entropy) }
}

/// Names in any case and the value assigned to them, case kept.
const fn assigned(
    name: &'static str,
    keywords: &'static [&'static str],
    names: &'static str,
    value: &'static str,
    entropy: f32,
) -> Rule {
    Rule { shape: Shape::Assigned { names, value, fold: false }, ..Rule::of(name, keywords, entropy) }
}

/// A token with a border on both sides.
const fn token(
    name: &'static str,
    keywords: &'static [&'static str],
    value: &'static str,
    entropy: f32,
) -> Rule {
    Rule { shape: Shape::Ended(value), start: Start::Word, ..Rule::of(name, keywords, entropy) }
}

/// A token with a border before it.
const fn word(
    name: &'static str,
    keywords: &'static [&'static str],
    value: &'static str,
    entropy: f32,
) -> Rule {
    Rule { shape: Shape::Whole(value), start: Start::Word, ..Rule::of(name, keywords, entropy) }
}

/// A token so peculiar that it needs no border.
const fn bare(
    name: &'static str,
    keywords: &'static [&'static str],
    value: &'static str,
    entropy: f32,
) -> Rule {
    Rule { shape: Shape::Whole(value), ..Rule::of(name, keywords, entropy) }
}

/// A token with its keyword inside.
const fn around(
    name: &'static str,
    keywords: &'static [&'static str],
    before: u16,
    value: &'static str,
    entropy: f32,
) -> Rule {
    Rule { shape: Shape::Whole(value), start: Start::Around(before), ..Rule::of(name, keywords, entropy) }
}

/// Every rule, in a fixed order: the index is the rule's id in this process.
pub(super) fn all() -> &'static [Rule] {
    static ALL: OnceLock<Vec<Rule>> = OnceLock::new();
    ALL.get_or_init(|| {
        [generic::GENERIC, tokens::TOKENS, named::NAMED].into_iter().flatten().copied().collect()
    })
}

/// Keywords of a rule: those given, or the name it is assigned to.
pub(super) fn keywords(rule: &Rule) -> Vec<&'static str> {
    match rule.shape {
        Shape::Assigned { names, .. } if rule.keywords.is_empty() => vec![names],
        Shape::Assigned { .. }
        | Shape::Begun { .. }
        | Shape::Quoted { .. }
        | Shape::Ended(_)
        | Shape::Whole(_) => rule.keywords.to_vec(),
    }
}

/// The compiled expression of rule `id`, compiled on first use; `None` for an id or expression that is not one,
/// which a test excludes.
pub(super) fn compiled(id: usize) -> Option<&'static meta::Regex> {
    static COMPILED: OnceLock<Vec<OnceLock<Option<meta::Regex>>>> = OnceLock::new();
    let cells = COMPILED.get_or_init(|| all().iter().map(|_| OnceLock::new()).collect());
    let rule = all().get(id)?;
    cells.get(id)?.get_or_init(|| compile(&rule.expression())).as_ref()
}

fn compile(expression: &str) -> Option<meta::Regex> {
    meta::Regex::builder()
        .configure(meta::Regex::config().utf8_empty(false).nfa_size_limit(Some(4 << 20)))
        .syntax(syntax::Config::new().unicode(false).utf8(false))
        .build(expression)
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_compiles_and_its_keywords_are_lower_case() {
        for (id, rule) in all().iter().enumerate() {
            assert!(compiled(id).is_some(), "{}: {}", rule.name, rule.expression());
            assert!(!keywords(rule).is_empty(), "{}", rule.name);
            assert!(keywords(rule).iter().all(|k| *k == k.to_lowercase()), "{}", rule.name);
        }
    }
}
