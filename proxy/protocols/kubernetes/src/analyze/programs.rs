//! What the command line of an `exec` runs.

use proxy_policy::{Access, Arguments, Detail, Effects, Program, Runs, Touch};
use std::sync::Arc;

/// What a command line does: its own program, those that shells and others are given to run, and what becomes of files.
/// The words come as they are, so that each is one for the shell's grammar.
pub(super) fn of(command: &[String]) -> Runs {
    let Some((word, args)) = command.split_first() else { return Runs::default() };
    let own = Program { word: word.clone(), args: args.to_vec() };
    let line: Vec<String> = command.iter().map(|word| quoted(word)).collect();
    let read = proxy_shell::analyze(line.join(" ").as_bytes(), "", "").reading;
    let (found, unknown) = match &read.effects {
        Effects::Known(touches) => (touches, false),
        Effects::Unknown { touches, .. } => (touches, true),
    };
    let mut touches: Vec<Touch> = found.iter().cloned().map(anywhere).collect();
    if !touches.iter().any(|touch| touch.detail.program() == Some(&own)) {
        touches.insert(0, execution(own));
    }
    Runs { touches, unknown }
}

fn execution(program: Program) -> Touch {
    Touch {
        effect: "Execute",
        object: "program",
        name: program.word.clone(),
        access: Access::Write,
        unbounded: false,
        detail: Detail::Program(Arc::new(program)),
    }
}

/// The analyser takes a program to start at home. In a pod it starts where its image says, and where home is the image
/// says too: what is named from there may be anywhere.
fn anywhere(touch: Touch) -> Touch {
    if let Detail::Given(program, arguments) = &touch.detail {
        let files = arguments.files.iter().map(|file| moved(file).unwrap_or_else(|| file.clone())).collect();
        let arguments = Arguments { patterns: arguments.patterns.clone(), files };
        let detail = Detail::Given(Arc::clone(program), Arc::new(arguments));
        return Touch { detail, ..touch };
    }
    if touch.effect == "Execute" {
        return touch;
    }
    match moved(&touch.name) {
        Some(name) => {
            Touch { object: if touch.object == "file" { "files" } else { touch.object }, name, ..touch }
        }
        None => touch,
    }
}

/// The same below any directory, for a name below home.
fn moved(name: &str) -> Option<String> {
    let below = name.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
    Some(format!("**{below}"))
}

/// A word that the shell's grammar reads as exactly that.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Runs {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        of(&words)
    }

    fn runs(words: &[&str]) -> (Vec<String>, bool) {
        let Runs { touches, unknown } = read(words);
        let line = |touch: &Touch| {
            let program = touch.detail.program().filter(|_| touch.effect == "Execute")?;
            Some([vec![program.word.clone()], program.args.clone()].concat().join(" "))
        };
        (touches.iter().filter_map(line).collect(), unknown)
    }

    #[test]
    fn files_of_a_command_line_are_found_and_relative_ones_may_be_anywhere() {
        for (words, expected) in [
            (&["cat", "/etc/hosts"][..], &["Read file /etc/hosts"][..]),
            (&["cat", "etc/hosts"], &["Read files **/etc/hosts"]),
            (&["sh", "-c", "cd /srv && cat x > ~/y"], &["Write files **/y", "Read file /srv/x"]),
            (&["rm", "-r", "data"], &["Remove tree **/data"]),
            (&["sh", "-c", "cat /etc/pass*"], &["Read files /etc/pass*"]),
        ] {
            let files = read(words).touches.into_iter().filter(|touch| touch.effect != "Execute");
            let mut found: Vec<_> =
                files.map(|touch| format!("{} {} {}", touch.effect, touch.object, touch.name)).collect();
            found.sort_by_key(|file| expected.iter().position(|expected| expected == file));
            assert_eq!(found, expected, "{words:?}");
        }
    }

    #[test]
    fn what_is_no_value_of_an_argument_is_told() {
        let runs = read(&["sh", "-c", "ls /etc/pass*; xxd notes"]);
        let given = runs.touches.iter().filter_map(|touch| match &touch.detail {
            Detail::Given(program, given) => {
                Some((program.word.clone(), given.patterns.clone(), given.files.clone()))
            }
            Detail::None | Detail::Program(_) | Detail::Request(_) => None,
        });
        assert_eq!(
            given.collect::<Vec<_>>(),
            [
                ("ls".to_owned(), vec![0], Vec::new()),
                ("xxd".to_owned(), Vec::new(), vec!["**/notes".to_owned()])
            ]
        );
    }

    #[test]
    fn programs_within_a_command_line_are_found() {
        for (words, expected, unknown) in [
            (&["ls", "-l"][..], &["ls -l"][..], false),
            (&["sh", "-c", "rm -rf /data"], &["sh -c rm -rf /data", "rm -rf /data"], false),
            (&["env", "A=b", "rm", "/data"], &["env A=b rm /data", "rm /data"], false),
            (
                &["/bin/sh", "-c", "ls; sh -c 'rm x'"],
                &["/bin/sh -c ls; sh -c 'rm x'", "ls", "sh -c rm x", "rm x"],
                false,
            ),
            // words that only a shell would look into
            (&["echo", "$(rm x)", "; rm y", "it's"], &["echo $(rm x) ; rm y it's"], false),
            (&[], &[], false),
        ] {
            let (found, is_unknown) = runs(words);
            assert_eq!(
                (found.as_slice(), is_unknown),
                (&expected.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()[..], unknown),
                "{words:?}"
            );
        }
    }

    #[test]
    fn what_may_run_anything_is_told_so() {
        for words in [
            &["sh"][..],
            &["bash", "-i"],
            &["sh", "-c", "$RUN"],
            &["sh", "-c", "cat list | xargs $1"],
            &["python3", "-c", "import os; os.remove('x')"],
        ] {
            assert!(runs(words).1, "{words:?}");
        }
        for words in [&["cat", "/etc/hosts"][..], &["sh", "-c", "ls /"], &["/app/server", "--help"]] {
            assert!(!runs(words).1, "{words:?}");
        }
    }
}
