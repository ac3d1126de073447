//! What of a line reaches where its shell reads its lines from.
//!
//! A shell that reads what it runs keeps that stream open while a line runs: as a copy of its input on a descriptor from
//! 10 on, and between two lines as its input itself. What reads of it, or puts something else in its place, decides what
//! the shell runs next. So such a line is not known, whatever it seems to do.

use super::argument::{Arg, Sort, has_short};
use super::found::Why;
use super::walk::Walk;

/// Lines have these descriptors to themselves; those behind are the shell's own.
const LINES_OWN: std::ops::RangeInclusive<i32> = 0..=9;

impl Walk {
    /// Doubts a redirection of a descriptor that may be the shell's.
    pub(super) fn keeps_off(&mut self, descriptor: Option<i32>) {
        if self.lines && descriptor.is_some_and(|descriptor| !LINES_OWN.contains(&descriptor)) {
            self.reaches(
                "it redirects a descriptor above 9, where the shell may keep what it reads its lines from",
            );
        }
    }

    /// Doubts the duplication of what may be a descriptor of the shell.
    pub(super) fn keeps_off_copy(&mut self, word: &str) {
        let number = word.strip_suffix('-').unwrap_or(word);
        let own = number.len() <= 1 && number.bytes().all(|byte| byte.is_ascii_digit());
        let file = number
            .starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '.' | '_' | '~'))
            && !number.contains(['$', '`', '"', '\'', '\\']);
        if self.lines && !own && !file {
            self.reaches("it duplicates what may be the descriptor that the shell reads its lines from");
        }
    }

    /// Doubts a text that has the shell choose a descriptor, or close one: `{name}<file`.
    pub(super) fn keeps_off_chosen(&mut self, text: &str) {
        if self.lines && has_chosen(text) {
            self.reaches("it redirects a descriptor whose number a variable holds");
        }
    }

    /// Doubts a path that may lead to a descriptor of a process.
    pub(super) fn keeps_off_path(&mut self, name: &str, sort: Sort) {
        let within =
            |dir: &str| name.strip_prefix(dir).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let by_number = within("/dev/fd").is_some_and(|rest| {
            let number = rest.strip_prefix('/').unwrap_or_default();
            number.len() != 1 || !number.bytes().all(|byte| byte.is_ascii_digit())
        });
        let by_process = within("/proc").is_some_and(|rest| {
            sort != Sort::Exact || rest.split('/').any(|part| matches!(part, "fd" | "root" | "cwd"))
        });
        if self.lines && (by_number || by_process || has_descriptor(name, sort)) {
            self.reaches("it names descriptors of processes, one of which the shell reads its lines from");
        }
    }

    /// Doubts a link to where the descriptors of processes are: by its name, later lines would reach them.
    pub(super) fn keeps_off_link(&mut self, leads: &Arg) {
        if !self.lines {
            return;
        }
        let leads_there = |name: &String| {
            let mut parts = name.split('/').skip(1);
            let first = parts.next().unwrap_or_default();
            let second = parts.next().unwrap_or_default();
            let may_be = |part: &str, whole: &str| {
                part == whole || leads.is_pattern() && part.contains(['*', '?', '['])
            };
            name.starts_with('/') && may_be(first, "proc")
                || name.starts_with('/') && may_be(first, "dev") && may_be(second, "fd")
                || name.ends_with("/fd")
        };
        if self.place.paths(&leads.text).iter().any(leads_there) {
            self.reaches(
                "it makes a link to descriptors of processes, one of which the shell reads its lines from",
            );
        }
    }

    /// Doubts what builtins do with the shell's own input, now or at any time.
    pub(super) fn keeps_off_builtin(&mut self, word: &str, args: &[Arg]) {
        if !self.lines {
            return;
        }
        let signals = match args {
            [first, rest @ ..] if first.text == "--" => rest,
            args => args,
        };
        match (word, signals) {
            ("read" | "mapfile" | "readarray", _)
                if args.iter().any(|arg| arg.may_be_option() || has_short(arg, 'u', "")) =>
            {
                self.reaches("it may read from a descriptor of the shell");
            }
            // between two lines the shell's input is the stream of its lines; behind its end there is none
            ("trap", [action, signals @ ..])
                if !matches!(action.text.as_str(), "" | "-" | "-p" | "-l")
                    && !signals.iter().all(|signal| matches!(signal.value(), Some("EXIT" | "0"))) =>
            {
                self.reaches("it sets a trap, which may run between two lines; only `EXIT` may have one");
            }
            ("set", _)
                if args.iter().any(|arg| {
                    arg.text == "verbose" || arg.text.starts_with('-') && arg.text.contains('v')
                }) =>
            {
                self.reaches("it has the shell show what it reads");
            }
            _ => {}
        }
    }

    /// Doubts a function in the place of what stands around each line.
    pub(super) fn keeps_off_function(&mut self, name: &str) {
        if self.lines && matches!(name, "eval" | "printf") {
            self.reaches("it defines a function in the place of what the gateway has the shell run");
        }
    }

    fn reaches(&mut self, why: &str) {
        self.found.doubt(Why::new(why));
    }
}

/// Whether a path goes through a directory `fd` to a descriptor that lines do not have to themselves: wherever a link has
/// put the files of a process.
fn has_descriptor(name: &str, sort: Sort) -> bool {
    let matches = |part: &str| sort != Sort::Exact && part.contains(['*', '?', '[']);
    let is_number = |part: &str| part.len() > 1 && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts = name.split('/');
    parts.clone().zip(parts.skip(1)).any(|(dir, file)| {
        dir == "fd" && (is_number(file) || matches(file))
            || matches(dir) && dir.starts_with(['f', '*', '?', '[']) && is_number(file)
    })
}

/// Whether a name in braces stands right before a redirection, as bash reads it.
fn has_chosen(text: &str) -> bool {
    let text = text.replace("\\\n", "");
    text.match_indices(['<', '>']).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.strip_suffix('}'));
        let name = before.and_then(|before| before.rsplit_once('{'));
        name.is_some_and(|(outside, name)| {
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && !outside.ends_with('$')
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Shell, analyze};
    use proxy_policy::Effects;

    fn is_known(line: &str) -> bool {
        let (command, _) = Shell::new().line(line.as_bytes(), "deploy", "web1");
        matches!(command.reading.effects, Effects::Known(_))
    }

    #[test]
    fn a_line_that_may_reach_where_its_shell_reads_lines_from_is_not_known() {
        for line in [
            "read -r x <&10",
            "read -r x <&1\\\n0",
            "read -r x <\\\n&10",
            "n=10; read -r x <&$n",
            "read -r x <&\"10\"",
            "read -r x <&\"$n\"",
            "read -u 10 x",
            "read -ru10 x",
            "command read -u 10 x",
            "mapfile -u 10 x",
            "exec 10</srv/evil",
            "exec 11>&1",
            "exec 3<&10-",
            "exec 10<<<x",
            "exec 10<<E\nx\nE",
            "{ true; } 10</srv/evil",
            "f=10; exec {f}<&-",
            "exec {f}</srv/evil",
            "eval 'exec 10</srv/evil'",
            "eval 'exec {f}</srv/evil'",
            "cat </dev/fd/10",
            "cat /dev/fd/10",
            "cat /dev/../dev/fd/10",
            "cd /dev; cat fd/10",
            "cat /proc/self/fd/10",
            "cat /proc/$$/fd/10",
            "cat /proc/*/fd/10",
            "cat /proc/self/task/1/fd/10",
            "cat /proc/self/root/etc/passwd",
            "grep -r x /proc",
            "ln -s /proc/self /tmp/p",
            "ln -s /proc /tmp/p",
            "ln -s ../proc/self /tmp/p",
            "cd /tmp; ln -s ../proc/1 p",
            "ln -sf /dev/fd /tmp/p",
            "ln -sr /proc/self /tmp/p",
            "ln -st /tmp /proc/self",
            "cp -s /proc/self /tmp/p",
            "ln -s /pro? /tmp/p",
            "ln -s /tmp/dev/fd /tmp/q",
            "echo x >/tmp/p/fd/10",
            "echo x >/tmp/p/fd/255",
            "echo x >/tmp/p/fd/1*",
            "cd /tmp/p/fd; echo x >10",
            "tee /tmp/p/fd/10",
            "(read x <&10) &",
            "f() { read x <&10; }",
            "trap 'read x' DEBUG",
            "trap 'read x' USR1",
            "trap 'read x' EXIT USR1",
            "trap 'read x' \"$s\"",
            "printf() { true; }",
            "eval() { true; }",
            "function eval { true; }",
            "set -v",
            "set -ev",
            "set -o verbose",
            "BASH_XTRACEFD=10",
        ] {
            assert!(!is_known(line), "{line}");
        }
    }

    #[test]
    fn what_lines_do_with_descriptors_of_their_own_is_known() {
        for line in [
            "make >log 2>&1",
            "make >&log",
            "exec 3</srv/app/list; read -r x <&3; exec 3<&-",
            "exec 8>&-",
            "exec 9>/tmp/lock; flock 9",
            "cat /proc/cpuinfo /proc/self/status",
            "cat /dev/stdin /dev/fd/3",
            "ln -s /srv/releases/10 /srv/app",
            "ln -sfn /srv/fd/releases /srv/app",
            "cat /srv/fd/1 /srv/fd/a /srv/10/a",
            "rm -f /srv/app/*.log",
            "echo ${x}>file",
            "read -r x",
            "trap 'rm -f /tmp/x' EXIT",
            "trap - INT",
            "trap '' INT",
            "set -eu -o pipefail",
            "f() { true; }",
        ] {
            assert!(is_known(line), "{line}");
        }
        // a command line has no stream of lines
        let command = analyze(b"exec 200>/tmp/lock; flock 200", "deploy", "web1");
        assert!(matches!(command.reading.effects, Effects::Known(_)));
    }
}
