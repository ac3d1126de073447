//! Patterns over a program and its arguments.

use crds::v1alpha1::ProgramPattern;

use super::Problems;
use super::glob::Glob;

/// What takes any further words at the end of an `argv`.
const REST: &str = "**";

/// Several patterns, any of which may match.
#[derive(Debug, Default)]
pub(crate) struct Programs(Box<[Pattern]>);

#[derive(Debug)]
enum Pattern {
    /// The program, and for each pattern some argument.
    Named { name: Glob, whole_word: bool, args: Box<[Argument]> },
    /// Word by word.
    Exact { words: Box<[Glob]>, open: bool },
}

#[derive(Debug)]
enum Argument {
    /// Some argument matches.
    Any(Glob),
    /// Each letter is among the short options.
    Letters(Box<[char]>),
}

impl Programs {
    pub(super) fn compile(path: &str, patterns: &[ProgramPattern], problems: &mut Problems<'_>) -> Self {
        let mut compiled = Vec::new();
        for (index, pattern) in patterns.iter().enumerate() {
            match Pattern::compile(pattern) {
                Some(pattern) => compiled.push(pattern),
                None => problems.add(format!("{path}[{index}]"), "set either name or argv"),
            }
        }
        Self(compiled.into())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether some pattern is about this command word and these arguments.
    pub(crate) fn matches(&self, word: &str, args: &[String]) -> bool {
        self.0.iter().any(|pattern| pattern.matches(word, args))
    }
}

impl Pattern {
    fn compile(pattern: &ProgramPattern) -> Option<Self> {
        match (&pattern.name, pattern.argv.split_last()) {
            (Some(name), None) => Some(Self::Named {
                name: Glob::new(name),
                whole_word: name.contains('/'),
                args: pattern.args.iter().map(|arg| Argument::new(arg)).collect(),
            }),
            (None, Some((last, words))) if last == REST => {
                Some(Self::Exact { words: words.iter().map(|word| Glob::new(word)).collect(), open: true })
            }
            (None, Some(_)) => Some(Self::Exact {
                words: pattern.argv.iter().map(|word| Glob::new(word)).collect(),
                open: false,
            }),
            (None, None) | (Some(_), Some(_)) => None,
        }
    }

    fn matches(&self, word: &str, args: &[String]) -> bool {
        match self {
            Self::Named { name, whole_word, args: wanted } => {
                let program = if *whole_word { word } else { word.rsplit('/').next().unwrap_or(word) };
                name.matches(program) && wanted.iter().all(|wanted| wanted.is_met_by(args))
            }
            Self::Exact { words, open } => {
                let mut given = std::iter::once(word).chain(args.iter().map(String::as_str));
                words.iter().all(|glob| given.next().is_some_and(|word| glob.matches(word)))
                    && (*open || given.next().is_none())
            }
        }
    }
}

impl Argument {
    fn new(pattern: &str) -> Self {
        letters(pattern).map_or_else(|| Self::Any(Glob::new(pattern)), Self::Letters)
    }

    fn is_met_by(&self, args: &[String]) -> bool {
        match self {
            Self::Any(glob) => args.iter().any(|arg| glob.matches(arg)),
            Self::Letters(wanted) => wanted.iter().all(|letter| {
                args.iter().filter_map(|arg| short_options(arg)).any(|given| given.contains(*letter))
            }),
        }
    }
}

/// The letters of `-rf`; `None` for everything that is no cluster of letters.
fn letters(pattern: &str) -> Option<Box<[char]>> {
    let letters = pattern.strip_prefix('-')?;
    let plain = !letters.is_empty() && letters.chars().all(|letter| letter.is_ascii_alphabetic());
    plain.then(|| letters.chars().collect())
}

/// What may be letters of short options. Some may be the value of another one (`-ofile`): for a `Deny` that errs on
/// the safe side, and an `Allow` should use `argv`.
fn short_options(arg: &str) -> Option<&str> {
    arg.strip_prefix('-').filter(|rest| !rest.is_empty() && !rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, line: &str) -> bool {
        let pattern: ProgramPattern = serde_json::from_str(pattern).unwrap();
        let mut list = Vec::new();
        let mut problems = Problems { policy: "p", list: &mut list };
        let programs = Programs::compile("commands", &[pattern], &mut problems);
        assert!(list.is_empty(), "{list:?}");
        let mut words = line.split(' ').map(str::to_owned);
        let word = words.next().unwrap();
        programs.matches(&word, &words.collect::<Vec<_>>())
    }

    #[test]
    fn letters_of_short_options_stand_together_or_apart() {
        let pattern = r#"{"name": "rm", "args": ["-rf", "/*"]}"#;
        for line in ["rm -rf /srv", "/bin/rm -fr /srv", "rm -r -f /srv", "rm /srv -v -rf", "rm -Rrf /"] {
            assert!(matches(pattern, line), "{line}");
        }
        for line in ["rm -r /srv", "rm -rf srv", "rmdir -rf /srv", "rm --recursive --force /srv"] {
            assert!(!matches(pattern, line), "{line}");
        }
    }

    #[test]
    fn argv_is_whole() {
        let pattern = r#"{"argv": ["systemctl", "status", "web-*"]}"#;
        assert!(matches(pattern, "systemctl status web-1"));
        for line in ["systemctl status", "systemctl status web-1 -l", "/tmp/systemctl status web-1"] {
            assert!(!matches(pattern, line), "{line}");
        }
        assert!(matches(r#"{"argv": ["git", "log", "**"]}"#, "git log --oneline -5"));
        assert!(matches(r#"{"argv": ["git", "log", "**"]}"#, "git log"));
        assert!(!matches(r#"{"argv": ["git", "log", "**"]}"#, "git push"));
    }

    #[test]
    fn a_directory_counts_only_where_the_pattern_has_one() {
        assert!(matches(r#"{"name": "ls"}"#, "/usr/bin/ls -l"));
        assert!(matches(r#"{"name": "/usr/bin/*"}"#, "/usr/bin/ls -l"));
        assert!(!matches(r#"{"name": "/usr/bin/*"}"#, "ls -l"));
    }
}
