//! Where shells that are no bash read a text otherwise than bash does.
//!
//! The login's shell may be `dash`, and `sh` mostly is. What bash reads is told elsewhere; what another one would do in
//! its place is told as well, or doubted.
//!
//! Source: POSIX.1-2024, Shell Command Language, 2.9 and 2.10; dash(1).

use super::super::found::Why;
use super::super::parse;
use super::super::word::is_name;
use super::Walk;
use brush_parser::Token;
use brush_parser::ast::{self, CommandPrefixOrSuffixItem as Item};

/// Which shell reads a text.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in super::super) enum Dialect {
    /// That of a login: mostly bash.
    #[default]
    Login,
    Bash,
    /// One that may know nothing but POSIX.
    Posix,
}

impl Dialect {
    /// That of the shell of this name.
    pub(in super::super) fn of(shell: &str) -> Self {
        if matches!(shell, "bash" | "rbash") { Self::Bash } else { Self::Posix }
    }
}

impl Walk {
    /// A text that another process' shell of this name runs.
    pub(in super::super) fn shell_text(&mut self, shell: &str, text: &str) {
        let set = std::mem::take(&mut self.set);
        let before = std::mem::replace(&mut self.dialect, Dialect::of(shell));
        self.inner_text(text);
        (self.set, self.dialect) = (set, before);
    }

    /// What other shells make of quotes and of `[[ … ]]`.
    pub(super) fn other_tokens(&mut self, tokens: &[Token]) {
        if self.dialect == Dialect::Bash {
            return;
        }
        for token in tokens {
            // without escapes a quote ends elsewhere
            if let Token::Word(raw, _) = token
                && raw.contains("$'")
                && (self.dialect == Dialect::Posix || raw.contains("\\'"))
            {
                self.found.doubt(Why::new("`$'…'`, which ends elsewhere in shells that do not know it"));
            }
        }
        let mut rest = tokens;
        while let Some(at) = rest.iter().position(|token| is_word(token, "[[")) {
            let negated = rest.get(..at).and_then(<[Token]>::last).is_some_and(|token| is_word(token, "!"));
            rest = rest.get(at + 1..).unwrap_or_default();
            let length = rest.iter().position(|token| is_word(token, "]]")).unwrap_or(rest.len());
            self.other_test(rest.get(..length).unwrap_or_default(), negated);
        }
    }

    /// `[[ … ]]`: to other shells `[[` is a program that is not there, and what its operators part are commands.
    fn other_test(&mut self, tokens: &[Token], negated: bool) {
        let is = |token: &Token, names: &[&str]| matches!(token, Token::Operator(name, _) if names.contains(&name.as_str()));
        if tokens.iter().any(|token| is(token, &["(", ")"])) {
            // they run nothing of a line that is none to them
            return;
        }
        let parts = |token: &Token| is(token, &["&&", "||", "|", "&", ";", "\n"]);
        let (mut runs, mut may_go_well) = (true, negated);
        let (mut from, mut first) = (0, true);
        for at in 0..=tokens.len() {
            let operator = tokens.get(at);
            if operator.is_some_and(|token| !parts(token)) {
                continue;
            }
            if runs {
                self.other_part(tokens.get(from..at).unwrap_or_default(), first);
                may_go_well |= !first;
            }
            (from, first) = (at + 1, false);
            runs = may_go_well || operator.is_some_and(|token| !is(token, &["&&"]));
        }
    }

    fn other_part(&mut self, part: &[Token], first: bool) {
        let words: Vec<&str> = part.iter().map(Token::to_str).collect();
        let opens = words.iter().any(|word| matches!(*word, "<" | ">"));
        // no program is called `-f`
        let operator = words.first().is_none_or(|word| word.starts_with('-') && word.len() < 4);
        if first && opens {
            self.later_text(&format!("test {}", words.join(" ")));
        } else if !first && (opens || !operator) {
            self.later_text(&format!("{} ]]", words.join(" ")));
        }
    }

    /// `((…))`: to other shells a command line in two subshells.
    pub(super) fn other_arithmetic(&mut self, text: &str) {
        let text = text.trim();
        let one = !text.contains(|c: char| c.is_whitespace() || "<>;|&()".contains(c));
        if self.dialect == Dialect::Bash || one && !is_name(text) {
            return;
        }
        if parse::tokens(text).and_then(|tokens| parse::program(&tokens)).is_ok() {
            self.apart(|walk| walk.inner_text(text));
        }
    }

    /// Whether `&>` stands there, which parts a command in two for other shells: the first goes on beside what follows.
    pub(super) fn is_parted<'a>(&self, redirects: impl Iterator<Item = &'a ast::IoRedirect>) -> bool {
        let parts = |redirect: &ast::IoRedirect| matches!(redirect, ast::IoRedirect::OutputAndError(..));
        self.dialect != Dialect::Bash && redirects.into_iter().any(parts)
    }

    /// All that stands in front of `&>FILE` in its list goes on beside it then, and what it opens is where the list begins.
    pub(super) fn begins_anew(&mut self) {
        let begun = self.begun.clone();
        self.place.or(&begun);
    }

    /// Doubts words behind `&>FILE`, which are a command of their own then.
    pub(super) fn doubt_parted(&mut self, suffix: &[Item]) {
        let parts = |item: &Item| matches!(item, Item::IoRedirect(ast::IoRedirect::OutputAndError(..)));
        let mut behind = suffix.iter().skip_while(|item| !parts(item));
        if self.dialect != Dialect::Bash && behind.any(|item| !matches!(item, Item::IoRedirect(_))) {
            self.found.doubt(Why::new("words behind `&>`, which are another command in other shells"));
        }
    }
}

fn is_word(token: &Token, text: &str) -> bool {
    matches!(token, Token::Word(word, _) if word == text)
}
