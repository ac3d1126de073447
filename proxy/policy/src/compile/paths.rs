//! Which files a rule is about.
//!
//! A command may name a file in several ways, or name several at once: a pattern, a tree, a home. A rule that denies or
//! holds is about a file that may be one of its own, a rule that allows only about names all of which are.

use crds::v1alpha1::RuleAction;

use super::glob::{Globs, Word};
use crate::Touch;

/// Patterns of files.
#[derive(Debug)]
pub(crate) struct Paths {
    written: Globs,
    /// Where homes are by convention, for patterns that begin with one.
    homes: Globs,
}

impl Paths {
    pub(super) fn new(patterns: &[String]) -> Self {
        let below = patterns.iter().filter_map(|pattern| pattern.strip_prefix('~'));
        let below = below.filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let homes: Vec<String> =
            below.flat_map(|rest| ["/root", "/home/*", "~*"].map(|home| format!("{home}{rest}"))).collect();
        Self { written: Globs::new(patterns), homes: Globs::new(&homes) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.written.is_empty()
    }

    pub(super) fn are_about(&self, touch: &Touch, action: RuleAction) -> bool {
        match action {
            RuleAction::Allow => self.cover(touch),
            RuleAction::Deny | RuleAction::Hold => {
                let below = match touch.object {
                    "tree" => Below::All,
                    "directory" => Below::Named,
                    // what is renamed takes along what is below it
                    _ if touch.effect == "Rename" => Below::Named,
                    _ => Below::Not,
                };
                self.may_be_about((&touch.name, touch.object), below)
            }
        }
    }

    /// Whether one of these names may be one of its own, or a tree that holds one.
    pub(super) fn may_be_among(&self, names: &[String]) -> bool {
        !self.is_empty() && names.iter().any(|name| self.may_be_about((name, "directory"), Below::Named))
    }

    /// Whether each of these names can only be one of its own.
    pub(super) fn cover_all(&self, names: &[String]) -> bool {
        names.iter().all(|name| {
            let covers = |word: &Word| self.written.covers(word);
            self.written.matches(name) && meant((name, "directory"), Below::Not).iter().all(covers)
        })
    }

    fn cover(&self, touch: &Touch) -> bool {
        let below = if touch.object == "tree" { Below::All } else { Below::Not };
        self.written.matches(&touch.name)
            && (touch.object == "file"
                || meant((&touch.name, touch.object), below).iter().all(|word| self.written.covers(word)))
    }

    fn may_be_about(&self, name: Name<'_>, below: Below) -> bool {
        let (text, object) = name;
        let plain = object == "file" && below == Below::Not && !text.starts_with(['~']) && !is_alias(text);
        self.written.matches(text)
            || self.homes.matches(text)
            || !plain
                && meant(name, below).into_iter().chain(elsewhere(name, below)).any(|word| {
                    let may = |globs: &Globs| {
                        globs.may_match(&word) || below == Below::Named && globs.may_be_below(&word)
                    };
                    may(&self.written) || may(&self.homes)
                })
    }
}

/// A name, and what kind of object has it.
type Name<'a> = (&'a str, &'a str);

/// Whether what is below a name is meant with it.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Below {
    Not,
    /// If it is a directory, of which nobody knows: as far as a rule names what is below it. That rules about a name
    /// anywhere (`*.env`) were about every file, nobody means.
    Named,
    All,
}

/// All that is meant with the name as it is written.
fn meant((text, object): Name<'_>, below: Below) -> Vec<Word> {
    with_trees(words(object, text), below)
}

/// What a name may mean that begins with a home, or goes through a process: other names for the same files.
fn elsewhere((text, object): Name<'_>, below: Below) -> Vec<Word> {
    let starts: Vec<(Word, &str)> = match text.strip_prefix('~') {
        Some(home) => homes(home),
        None => through_process(text).into_iter().collect(),
    };
    let words = starts.iter().flat_map(|(start, rest)| {
        words(object, rest).into_iter().map(|rest| start.clone().then(&rest)).collect::<Vec<_>>()
    });
    with_trees(words.collect(), below)
}

fn words(object: &str, text: &str) -> Vec<Word> {
    if matches!(object, "files" | "tree" | "directory") {
        Word::pattern(text)
    } else {
        vec![Word::exact(text)]
    }
}

fn with_trees(mut words: Vec<Word>, below: Below) -> Vec<Word> {
    let bases: Vec<Word> = words.iter().filter_map(Word::base).collect();
    words.extend(bases);
    if below == Below::All {
        let trees: Vec<Word> = words.iter().map(Word::below).collect();
        words.extend(trees);
    }
    words
}

/// Where `~user/rest` may be, given `user/rest`. Where homes are is the host's affair: by convention `/root` and below
/// `/home`, and directories that have their user's name.
pub(super) fn homes(home: &str) -> Vec<(Word, &str)> {
    if let Some(at) = home.rfind("/../") {
        return vec![(Word::anywhere(), home.get(at + 3..).unwrap_or_default())];
    }
    if home.ends_with("/..") {
        return vec![(Word::anywhere(), "")];
    }
    if home.is_empty() || home.starts_with('/') {
        return vec![(Word::exact("/root"), home), (Word::exact("/home/").then(&Word::name()), home)];
    }
    vec![(Word::anywhere().then(&Word::exact("/")), home)]
}

/// `/proc/self/root/etc` is `/etc`; `cwd` may be any directory.
fn through_process(path: &str) -> Option<(Word, &str)> {
    let process = path.strip_prefix("/proc/")?;
    let (_, mut rest) = process.split_once('/')?;
    if let Some(thread) = rest.strip_prefix("task/") {
        rest = thread.split_once('/')?.1;
    }
    let (link, below) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match link {
        "root" => Some(through_process(below).unwrap_or((Word::default(), below))),
        "cwd" => Some((Word::anywhere(), below)),
        _ => None,
    }
}

fn is_alias(path: &str) -> bool {
    path.starts_with("/proc/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Access, Detail};

    fn touch(text: &str) -> Touch {
        let (object, name) = text.split_once(' ').unwrap();
        let (object, effect) = if object == "rename" { ("file", "Rename") } else { (object, "Read") };
        let object =
            ["file", "files", "tree", "directory"].into_iter().find(|known| *known == object).unwrap();
        Touch {
            effect,
            object,
            name: name.to_owned(),
            access: Access::Read,
            unbounded: false,
            detail: Detail::None,
        }
    }

    fn is_about(pattern: &str, text: &str, action: RuleAction) -> bool {
        Paths::new(&[pattern.to_owned()]).are_about(&touch(text), action)
    }

    #[test]
    fn a_denial_is_about_what_may_be_its_files() {
        for (pattern, text, expected) in [
            ("/etc/passwd", "file /etc/passwd", true),
            ("/etc/passwd", "file /etc/pass*", false),
            ("/etc/passwd", "files /etc/pass*", true),
            ("/etc/**", "files /et?/x", true),
            ("/etc/*", "tree /etc", true),
            ("/etc/*", "tree /", true),
            ("/etc/*", "file /", false),
            ("/etc/*", "tree /srv", false),
            ("/etc/passwd", "tree /e*", true),
            ("/srv/app", "tree /srv/app/**", true),
            ("/etc/*", "rename /etc", true),
            ("/etc/*", "rename /srv", false),
            ("*.env", "rename /srv", false),
            ("*.env", "tree /srv", true),
            ("/etc/ssl/*.key", "directory /etc", true),
            ("/etc/passwd", "directory /", true),
            ("/etc/passwd", "directory /e*", true),
            ("/etc/passwd", "directory /etc/passwd", true),
            ("*/.ssh/*", "directory /srv", false),
            ("~/.ssh/*", "directory /home/deploy", true),
            ("/root/.ssh/*", "files ~root/.ssh/*", true),
            ("/root/.ssh/*", "file ~/.ssh/id", true),
            ("/home/deploy/.ssh/*", "file ~/.ssh/id", true),
            ("/home/deploy/*", "tree ~", true),
            ("/var/lib/postgres/*", "file ~postgres/data", true),
            ("/srv/app/*", "file ~/notes", false),
            ("/etc/passwd", "file ~/../etc/passwd", true),
            ("/etc/passwd", "file ~/../etc/group", false),
            ("/etc/*", "tree ~/..", true),
            ("~/.ssh/*", "file /home/deploy/.ssh/id", true),
            ("~/.ssh/*", "file /root/.ssh/id", true),
            ("~/.ssh/*", "files ~deploy/.s*/id", true),
            ("~/.ssh/*", "file /etc/ssh/id", false),
            ("/etc/passwd", "file /proc/self/root/etc/passwd", true),
            ("/etc/passwd", "file /proc/7/task/7/root/proc/1/root/etc/passwd", true),
            ("/etc/passwd", "file /proc/self/cwd/passwd", true),
            ("/root/.ssh/*", "file /proc/1/root/root/.ssh/id", true),
            ("/etc/passwd", "tree /proc/1/root", true),
            ("/etc/passwd", "file /proc/cpuinfo", false),
        ] {
            assert_eq!(is_about(pattern, text, RuleAction::Deny), expected, "{pattern}, {text}");
            assert_eq!(is_about(pattern, text, RuleAction::Hold), expected, "{pattern}, {text}");
        }
    }

    #[test]
    fn an_allowance_is_about_what_can_only_be_its_files() {
        for (pattern, text, expected) in [
            ("/srv/*", "file /srv/a", true),
            ("/srv/*", "files /srv/a*", true),
            ("/srv/*", "files /s*/a", false),
            ("/srv/*", "tree /srv/app", true),
            ("/srv/app", "tree /srv/app", false),
            ("/srv/app", "file /srv/app", true),
            ("/srv/app*", "tree /srv/app", true),
            ("/srv/app/*", "tree /srv/app/**", false),
            ("/srv/app*", "tree /srv/app/**", true),
            ("~/*", "file ~/x", true),
            ("~/*", "file /root/x", false),
            ("/root/*", "file ~/x", false),
            ("/etc/*", "file /proc/self/root/etc/passwd", false),
        ] {
            assert_eq!(is_about(pattern, text, RuleAction::Allow), expected, "{pattern}, {text}");
        }
    }
}
