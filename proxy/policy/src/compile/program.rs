//! Patterns over a program and its arguments.
//!
//! An argument that is no value may become others, and more or fewer than one. A rule that denies or holds is about a
//! program that may get what it names, a rule that allows about one that can get nothing else.

mod given;

use crds::v1alpha1::{ProgramPattern, RuleAction};

use super::Problems;
use super::glob::Glob;
use crate::Program;
use given::Given;

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

    /// Whether some pattern is about a program, of whose arguments those at these places are no values.
    pub(crate) fn are_about(&self, program: &Program, patterns: &[usize], action: RuleAction) -> bool {
        let given = Given::all(&program.args, patterns);
        self.0.iter().any(|pattern| pattern.matches(&program.word, &given, action))
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

    fn matches(&self, word: &str, args: &[Given<'_>], action: RuleAction) -> bool {
        match self {
            Self::Named { name, whole_word, args: wanted } => {
                let program = if *whole_word { word } else { word.rsplit('/').next().unwrap_or(word) };
                name.matches(program) && wanted.iter().all(|wanted| wanted.is_met_by(args, action))
            }
            Self::Exact { words, open } => {
                words.split_first().is_some_and(|(first, words)| {
                    first.matches(word) && given::are(args, words, *open, action)
                }) || words.is_empty() && *open
            }
        }
    }
}

impl Argument {
    fn new(pattern: &str) -> Self {
        letters(pattern).map_or_else(|| Self::Any(Glob::new(pattern)), Self::Letters)
    }

    fn is_met_by(&self, args: &[Given<'_>], action: RuleAction) -> bool {
        match self {
            Self::Any(glob) => args.iter().any(|arg| arg.is(glob, action)),
            Self::Letters(wanted) => wanted.iter().all(|letter| {
                args.iter().any(|arg| match arg {
                    Given::Value(text) => short_options(text).is_some_and(|given| given.contains(*letter)),
                    Given::Words(..) => action != RuleAction::Allow && arg.may_be_option(*letter),
                })
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
        let program = Program { word: words.next().unwrap(), args: words.collect() };
        programs.are_about(&program, &[], RuleAction::Allow)
    }

    /// The same where an argument with a wildcard is one of the shell's.
    fn are_about(pattern: &str, line: &str, action: RuleAction) -> bool {
        let pattern: ProgramPattern = serde_json::from_str(pattern).unwrap();
        let mut list = Vec::new();
        let mut problems = Problems { policy: "p", list: &mut list };
        let programs = Programs::compile("commands", &[pattern], &mut problems);
        let mut words = line.split(' ').map(str::to_owned);
        let program = Program { word: words.next().unwrap(), args: words.collect() };
        let wild = |(at, arg): (usize, &String)| arg.contains(['*', '?', '[', '$']).then_some(at);
        let patterns: Vec<usize> = program.args.iter().enumerate().filter_map(wild).collect();
        programs.are_about(&program, &patterns, action)
    }

    #[test]
    fn a_denial_is_about_arguments_that_may_come() {
        for (pattern, line, expected) in [
            (r#"{"name": "cat", "args": ["/etc/passwd"]}"#, "cat /srv/x /etc/pass*", true),
            (r#"{"name": "cat", "args": ["/etc/passwd"]}"#, "cat /srv/pass*", false),
            (r#"{"name": "rm", "args": ["-rf"]}"#, "rm *", true),
            (r#"{"name": "rm", "args": ["-rf"]}"#, "rm /srv/*", false),
            (r#"{"argv": ["cp", "/etc/shadow", "/tmp/x"]}"#, "cp /etc/sh* /tmp/x", true),
            (r#"{"argv": ["cp", "/etc/shadow", "/tmp/x"]}"#, "cp /*/*", true),
            (r#"{"argv": ["cp", "/etc/shadow", "/tmp/x"]}"#, "cp /etc/*", false),
            (r#"{"argv": ["cat", "/etc/a", "/etc/b"]}"#, "cat /etc/?", true),
            (r#"{"argv": ["cat", "/etc/a", "/srv/b"]}"#, "cat /etc/?", false),
            (r#"{"argv": ["cat", "/etc/a", "**"]}"#, "cat /etc/? x", true),
            (r#"{"argv": ["cat", "/etc/a"]}"#, "cat /etc/? x", false),
            (r#"{"name": "rm", "args": ["/root"]}"#, "rm -r ~", true),
            (r#"{"name": "rm", "args": ["/home/deploy/x"]}"#, "rm ~/x", true),
            (r#"{"name": "rm", "args": ["/home/deploy/x"]}"#, "rm ~/y", false),
            (r#"{"name": "rm", "args": ["/home/deploy/x"]}"#, "rm ~/?", true),
            (r#"{"name": "tar", "args": ["--directory=/root/*"]}"#, "tar --directory=~/x", true),
            (r#"{"name": "cat", "args": ["/srv/x"]}"#, "cat /srv/x/**", true),
            (r#"{"argv": ["reboot"]}"#, "reboot /nowhere/**", true),
            (r#"{"argv": ["reboot"]}"#, "reboot now", false),
        ] {
            assert_eq!(are_about(pattern, line, RuleAction::Deny), expected, "{pattern}, {line}");
        }
    }

    #[test]
    fn an_allowance_is_about_arguments_that_can_only_be_its_own() {
        for (pattern, line, expected) in [
            (r#"{"argv": ["tail", "/var/log/*"]}"#, "tail /var/log/app.log", true),
            (r#"{"argv": ["tail", "/var/log/*"]}"#, "tail /var/log/*.log", false),
            (r#"{"argv": ["tail", "**"]}"#, "tail /var/log/*.log", true),
            (r#"{"argv": ["tail", "-n5", "**"]}"#, "tail -n5 *", true),
            (r#"{"argv": ["tail", "-*", "**"]}"#, "tail * x", false),
            (r#"{"name": "tail", "args": ["/var/log/*"]}"#, "tail /var/log/*.log", true),
            (r#"{"name": "tail", "args": ["/var/log/*"]}"#, "tail /var/l*/x", false),
            (r#"{"name": "rm", "args": ["-i"]}"#, "rm -*", false),
        ] {
            assert_eq!(are_about(pattern, line, RuleAction::Allow), expected, "{pattern}, {line}");
        }
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
