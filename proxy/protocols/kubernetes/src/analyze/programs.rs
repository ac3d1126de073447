//! What the command line of an `exec` runs.

use proxy_policy::{Effects, Program, Runs};

/// The programs of a command line: its own, and those that shells and others are given to run. The words come as they
/// are, so that each is one for the shell's grammar.
pub(super) fn of(command: &[String]) -> Runs {
    let Some((word, args)) = command.split_first() else { return Runs::default() };
    let own = Program { word: word.clone(), args: args.to_vec() };
    let line: Vec<String> = command.iter().map(|word| quoted(word)).collect();
    let read = proxy_shell::analyze(line.join(" ").as_bytes(), "", "").reading;
    let (touches, unknown) = match &read.effects {
        Effects::Known(touches) => (touches, false),
        Effects::Unknown { touches, .. } => (touches, true),
    };
    let mut programs = vec![own];
    for program in touches.iter().filter_map(|touch| touch.detail.program()) {
        if !programs.contains(program) {
            programs.push(program.clone());
        }
    }
    Runs { programs, unknown }
}

/// A word that the shell's grammar reads as exactly that.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(words: &[&str]) -> (Vec<String>, bool) {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let Runs { programs, unknown } = of(&words);
        let line = |program: &Program| [vec![program.word.clone()], program.args.clone()].concat().join(" ");
        (programs.iter().map(line).collect(), unknown)
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
