//! The arguments that a program is given.

use crds::v1alpha1::RuleAction;

use crate::compile::glob::{Glob, Word};
use crate::compile::paths::homes;

/// One word of a command line behind the program's.
#[derive(Debug)]
pub(super) enum Given<'a> {
    /// This argument.
    Value(&'a str),
    /// One argument or more, each of which is one of these; the text, if there is no such file.
    Words(&'a str, Vec<Word>),
}

impl<'a> Given<'a> {
    pub(super) fn all(args: &'a [String], patterns: &[usize]) -> Vec<Self> {
        let given = |(at, arg): (usize, &'a String)| {
            if patterns.contains(&at) { Self::Words(arg, Word::pattern(arg)) } else { Self::Value(arg) }
        };
        args.iter().enumerate().map(given).collect()
    }

    /// Whether an argument may be what the pattern matches; for an `Allow`, whether each is.
    pub(super) fn is(&self, glob: &Glob, action: RuleAction) -> bool {
        match (self, action) {
            (Self::Value(text), RuleAction::Allow) => glob.matches(text),
            (Self::Value(text), RuleAction::Deny | RuleAction::Hold) => may_be(glob, text),
            (Self::Words(text, words), RuleAction::Allow) => {
                glob.matches(text) && words.iter().all(|word| glob.covers(word))
            }
            (Self::Words(text, words), RuleAction::Deny | RuleAction::Hold) => {
                may_be(glob, text)
                    || words.iter().any(|word| glob.may_match(word))
                    || words.iter().filter_map(Word::base).any(|base| glob.may_match(&base))
            }
        }
    }

    /// Whether it may be a cluster of short options with this letter.
    pub(super) fn may_be_option(&self, letter: char) -> bool {
        self.is(&Glob::new(&format!("-*{letter}*")), RuleAction::Deny)
            && !matches!(self, Self::Words(text, _) if text.starts_with("--"))
    }
}

/// Whether an argument is what the pattern matches, as it is written or with a home in it.
fn may_be(glob: &Glob, text: &str) -> bool {
    glob.matches(text) || at_home(text).iter().any(|word| glob.may_match(word))
}

/// What an argument becomes if the `~` in it is a home; whether the shell has put one there, its text does not say.
fn at_home(text: &str) -> Vec<Word> {
    let Some((head, home)) = text.split_once('~') else { return Vec::new() };
    let rests = |rest: &str| if rest.is_empty() { vec![Word::default()] } else { Word::pattern(rest) };
    let meant = |(start, rest): (Word, &str)| {
        let start = Word::exact(head).then(&start);
        rests(rest).into_iter().map(move |rest| start.clone().then(&rest))
    };
    homes(home).into_iter().flat_map(meant).collect()
}

/// Whether the arguments may be these words; for an `Allow`, whether they can be no others. `open`: more may follow.
pub(super) fn are(given: &[Given<'_>], words: &[Glob], open: bool, action: RuleAction) -> bool {
    // so many of the words may have been given
    let mut reached = vec![false; words.len() + 1];
    if let Some(first) = reached.first_mut() {
        *first = true;
    }
    for arg in given {
        let mut next = vec![false; reached.len()];
        if let (Some(all), Some(reached)) = (next.last_mut(), reached.last()) {
            *all = open && *reached;
        }
        let several = match (arg, action) {
            // how many there are is not known
            (Given::Words(..), RuleAction::Allow) => {
                reached = next;
                continue;
            }
            (Given::Words(..), RuleAction::Deny | RuleAction::Hold) => true,
            (Given::Value(_), _) => false,
        };
        if several {
            // and there may be none: `xargs` runs its program all the same
            next.clone_from(&reached);
        }
        for (at, word) in words.iter().enumerate() {
            let from = |places: &[bool]| places.get(at).copied().unwrap_or(false);
            if (from(&reached) || several && from(&next))
                && arg.is(word, action)
                && let Some(place) = next.get_mut(at + 1)
            {
                *place = true;
            }
        }
        reached = next;
    }
    reached.last().copied().unwrap_or(false)
}
