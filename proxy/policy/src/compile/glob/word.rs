//! Words of a shell that stand for names, and what a rule's pattern has in common with them.
//!
//! A word is judged by all that it may become. Where its text does not tell (a bracket that was quoted, what a
//! substitution says), it may become more than the shell would make of it, so a rule that denies is met too often
//! rather than too seldom, and one that allows the other way round.
//!
//! Source: POSIX.1-2024, Shell Command Language, 2.14; Bash Reference Manual, 3.5.8.

use super::Glob;

/// What the shell may make of a word, letter by letter.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Word(Vec<Part>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    Letter(char),
    /// One of these letters.
    OneOf(Vec<char>),
    /// Any letter but a slash.
    One,
    /// Any letters but slashes.
    Run,
    /// Any letters.
    Anything,
}

/// Longer words are no names of files: what becomes of them is not looked at.
const LETTERS_MAX: usize = 4_096;

impl Word {
    /// This very text.
    pub(crate) fn exact(text: &str) -> Self {
        Self(text.chars().map(Part::Letter).collect())
    }

    /// A path of any depth, and then this word.
    pub(crate) fn anywhere() -> Self {
        Self(vec![Part::Anything])
    }

    /// One name of a directory.
    pub(crate) fn name() -> Self {
        Self(vec![Part::Run])
    }

    /// All that a pattern may become; in some of its meanings a bracket is a bracket.
    pub(crate) fn pattern(text: &str) -> Vec<Self> {
        if text.len() > LETTERS_MAX {
            return vec![Self::anywhere()];
        }
        let brackets = text.matches(['[', ']']).count();
        let (opens, closes) = (text.find('['), text.rfind(']'));
        match (opens, closes) {
            (Some(open), Some(close)) if brackets == 2 && open < close => {
                vec![Self::read(text, true), Self::read(text, false)]
            }
            // which of them belong together depends on quotes
            (Some(open), Some(_)) => {
                let mut word = Self::read(text.get(..open).unwrap_or_default(), false);
                word.0.push(Part::Anything);
                vec![word]
            }
            _ => vec![Self::read(text, false)],
        }
    }

    /// This, and then that.
    #[must_use]
    pub(crate) fn then(mut self, next: &Self) -> Self {
        self.0.extend_from_slice(&next.0);
        self
    }

    /// Everything below the directories of this name.
    #[must_use]
    pub(crate) fn below(&self) -> Self {
        let mut below = self.clone();
        if below.0.last() != Some(&Part::Letter('/')) {
            below.0.push(Part::Letter('/'));
        }
        below.0.push(Part::Anything);
        below
    }

    /// The directory that everything is below, if the word says `directory/**`.
    pub(crate) fn base(&self) -> Option<Self> {
        let base = self.0.strip_suffix(&[Part::Letter('/'), Part::Anything])?;
        Some(Self(base.to_vec()))
    }

    fn read(text: &str, classes: bool) -> Self {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some(c) = rest.chars().next() {
            let (part, length) = match c {
                '*' if rest.starts_with("**") => (Part::Anything, stars(rest)),
                '*' => (Part::Run, 1),
                '?' => (Part::One, 1),
                '[' if classes => class(rest),
                '$' | '`' => (Part::Anything, computed(rest)),
                c => (Part::Letter(c), c.len_utf8()),
            };
            parts.push(part);
            rest = rest.get(length..).unwrap_or_default();
        }
        Self(parts)
    }
}

impl Glob {
    /// Whether the word may become something that the pattern matches.
    pub(crate) fn may_match(&self, word: &Word) -> bool {
        self.walk(word, |part, wanted, at| match part {
            Part::Run | Part::Anything => at.pass(|letter| part.fits(letter), wanted),
            Part::Letter(_) | Part::OneOf(_) | Part::One => at.step(|letter| part.fits(letter), wanted),
        })
    }

    /// Whether the word may become a directory above what the pattern names; one that begins with a `*` names none.
    pub(crate) fn may_be_below(&self, word: &Word) -> bool {
        if self.parts.first().is_none_or(|head| head.len() < 2) {
            return false;
        }
        let whole = self.parts.join("*");
        let mut above = whole.match_indices('/').filter_map(|(at, _)| whole.get(..at.max(1)));
        above.any(|above| above.len() < whole.len() && Self::new(above).may_match(word))
    }

    /// Whether the pattern matches whatever the word becomes. Only a `*` is taken to match more than one letter.
    pub(crate) fn covers(&self, word: &Word) -> bool {
        self.walk(word, |part, wanted, at| at.step(|letter| *part == Part::Letter(letter), wanted))
    }

    fn walk(&self, word: &Word, next: impl Fn(&Part, &[Option<char>], &Places) -> Places) -> bool {
        let wanted = self.letters();
        let mut at = Places::start(&wanted);
        for part in &word.0 {
            at = next(part, &wanted, &at);
            if at.is_empty() {
                return false;
            }
        }
        at.at_end()
    }

    /// Its letters, and `None` for each `*`.
    fn letters(&self) -> Vec<Option<char>> {
        let mut letters = Vec::new();
        for (at, part) in self.parts.iter().enumerate() {
            letters.extend((at > 0).then_some(None));
            letters.extend(part.chars().map(Some));
        }
        letters
    }
}

impl Part {
    fn fits(&self, letter: char) -> bool {
        match self {
            Self::Letter(own) => *own == letter,
            Self::OneOf(letters) => letters.contains(&letter),
            Self::One | Self::Run => letter != '/',
            Self::Anything => true,
        }
    }
}

/// The places in a pattern that can be reached: before each of its letters, and behind the last.
struct Places(Vec<bool>);

impl Places {
    fn start(wanted: &[Option<char>]) -> Self {
        let mut at = Self(vec![false; wanted.len() + 1]);
        at.reach(0);
        at.skip(wanted);
        at
    }

    fn reach(&mut self, place: usize) {
        if let Some(reached) = self.0.get_mut(place) {
            *reached = true;
        }
    }

    fn is_reached(&self, place: usize) -> bool {
        self.0.get(place).copied().unwrap_or(false)
    }

    fn is_empty(&self) -> bool {
        !self.0.contains(&true)
    }

    fn at_end(&self) -> bool {
        self.0.last().copied().unwrap_or(false)
    }

    /// A `*` may stand for nothing.
    fn skip(&mut self, wanted: &[Option<char>]) {
        for (place, letter) in wanted.iter().enumerate() {
            if letter.is_none() && self.is_reached(place) {
                self.reach(place + 1);
            }
        }
    }

    /// Where one more letter of the word leads, if it may be those that fit.
    fn step(&self, fits: impl Fn(char) -> bool, wanted: &[Option<char>]) -> Self {
        let mut next = Self(vec![false; self.0.len()]);
        for (place, letter) in wanted.iter().enumerate().filter(|(place, _)| self.is_reached(*place)) {
            match letter {
                None => next.reach(place),
                Some(letter) if fits(*letter) => next.reach(place + 1),
                Some(_) => {}
            }
        }
        next.skip(wanted);
        next
    }

    /// Where any number of letters lead.
    fn pass(&self, fits: impl Fn(char) -> bool, wanted: &[Option<char>]) -> Self {
        let mut next = Self(self.0.clone());
        for (place, letter) in wanted.iter().enumerate() {
            if next.is_reached(place) && letter.is_none_or(&fits) {
                next.reach(place + 1);
            }
        }
        next
    }
}

fn stars(text: &str) -> usize {
    text.len() - text.trim_start_matches('*').len()
}

/// What a bracket stands for, and how long it is. Ranges depend on the host's language, but for those of digits.
fn class(text: &str) -> (Part, usize) {
    let inner = text.get(1..).unwrap_or_default().split(']').next().unwrap_or_default();
    let length = inner.len() + 2;
    let letters: Vec<char> = inner.chars().collect();
    match letters.as_slice() {
        letters if letters.iter().any(|c| matches!(c, '/' | '\\' | '$' | '`')) || letters.is_empty() => {
            (Part::Anything, text.len())
        }
        ['!' | '^', ..] => (Part::One, length),
        [from @ '0'..='9', '-', to @ '0'..='9'] => (Part::OneOf((*from..=*to).collect()), length),
        [_, middle @ .., _] if middle.contains(&'-') => (Part::One, length),
        letters => (Part::OneOf(letters.to_vec()), length),
    }
}

/// How long an expansion is that begins here.
fn computed(text: &str) -> usize {
    let (first, rest) = text.split_at(1);
    let closed = |open: char, close: char| {
        let mut depth = 0_usize;
        let end = text.char_indices().find(|(_, c)| {
            depth += usize::from(*c == open);
            depth -= usize::from(*c == close && depth > 0);
            depth == 0 && *c == close
        });
        end.map_or(text.len(), |(at, _)| at + 1)
    };
    match rest.chars().next() {
        _ if first == "`" => rest.find('`').map_or(text.len(), |end| end + 2),
        Some('(') => closed('(', ')'),
        Some('{') => closed('{', '}'),
        Some('[') => closed('[', ']'),
        Some(c) if c == '_' || c.is_ascii_alphabetic() => {
            let name = |c: char| c == '_' || c.is_ascii_alphanumeric();
            1 + rest.find(|c| !name(c)).unwrap_or(rest.len())
        }
        Some(c) => 1 + c.len_utf8(),
        None => 1,
    }
}

#[cfg(test)]
mod tests;
