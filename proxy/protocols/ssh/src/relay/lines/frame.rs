//! What the host's shell gets for a line.
//!
//! It is one command, which a shell has read to its end before it runs any of it: while the line runs nothing of the
//! gateway's stands in the shell's input, and the word behind the line is a new one. The line is the argument of `eval`,
//! so what a shell of another kind cannot parse of it ends there. The shell's copies of its own descriptors stay open
//! meanwhile, as every shell keeps them; lines that could reach them are not known to the analyser.

/// The descriptor on which the shell says that a command has ended: one that every shell can name.
pub(super) const OWN: u8 = 8;

/// The word that the shell says behind the line, and what it is sent. At a terminal errors go where output does.
pub(super) fn around(line: &[u8], terminal: bool) -> (String, Vec<u8>) {
    let word = format!("{:032x}", rand::random::<u128>());
    let merged = if terminal { format!(" 2>&{OWN}") } else { String::new() };
    let mut text = b"{ { eval '".to_vec();
    for byte in line {
        match byte {
            b'\'' => text.extend_from_slice(b"'\\''"),
            byte => text.push(*byte),
        }
    }
    // a shell that shows what it runs shows the word to nobody
    let behind = format!(
        "\n'\n}} </dev/null{merged} {OWN}>&-\n{{ printf '\\036%s %d\\036' '{word}' \"$?\"; }} >&{OWN} 2>/dev/null\n}}\n"
    );
    text.extend(behind.into_bytes());
    (format!("\u{1e}{word}"), text)
}

#[cfg(test)]
mod tests {
    use super::{OWN, around};
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    const SHELLS: [&[&str]; 3] = [&["bash"], &["dash"], &["busybox", "sh"]];

    /// What a shell says to lines that it gets all at once, each word as `[status]`, or `None` where there is none.
    fn said(shell: &[&str], lines: &[&str]) -> Option<String> {
        let mut child = Command::new(shell[0])
            .args(&shell[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut keys = child.stdin.take().unwrap();
        let framed: Vec<_> = lines.iter().map(|line| around(line.as_bytes(), false)).collect();
        writeln!(keys, "exec {OWN}>&1").unwrap();
        for (_, text) in &framed {
            keys.write_all(text).unwrap();
        }
        drop(keys);
        let out = child.wait_with_output().unwrap().stdout;
        let out = framed
            .iter()
            .fold(String::from_utf8(out).unwrap(), |out, (word, _)| out.replace(&format!("{word} "), "["));
        Some(out.replace('\u{1e}', "]"))
    }

    #[test]
    fn every_shell_runs_the_line_as_it_is_and_says_its_status() {
        for shell in SHELLS {
            for (lines, expected) in [
                (&["echo a", "false", "(exit 7)"][..], "a\n[0][1][7]"),
                (&["echo 'it'\\''s' \"$(echo \"'x'\")\""], "it's 'x'\n[0]"),
                (&["cat <<'E'\n'a' $x \\'\nE", "echo b"], "'a' $x \\'\n[0]b\n[0]"),
                (&["x=1; cd /", "echo $x; pwd", "echo a\\"], "[0]1\n/\n[0]a\n[0]"),
                (&["set -x", "echo a # no comment hides what follows"], "[0]a\n[0]"),
                (&["exec >&-", "true"], "[0][0]"),
                (&["exec 8>/dev/null", "echo b"], "[0]b\n[0]"),
            ] {
                let Some(said) = said(shell, lines) else { continue };
                assert_eq!(said, expected, "{shell:?} {lines:?}");
            }
        }
    }

    /// Where a shell of another kind finds an error, nothing behind it in the line runs, nor in another context.
    #[test]
    fn a_line_that_the_shell_cannot_parse_runs_nothing_of_itself() {
        for shell in SHELLS {
            let Some(said) = said(shell, &["if true; then (( 1 + ) ; fi )\necho behind"]) else { continue };
            assert!(!said.contains("behind"), "{shell:?}: {said}");
        }
    }
}
