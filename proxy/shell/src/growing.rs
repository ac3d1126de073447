//! A command that comes line by line, until it is whole.
//!
//! Whether it is, only a parse of all of it tells. A line that cannot end what is open (a here-document whose tag it is
//! not, a quote that it does not hold) is not parsed for, and what is parsed in all has a bound: otherwise a command of
//! many lines would cost the square of its length.

use super::parse::{self, Open};

/// So many bytes are parsed for one command: some hundred lines of a program, those of here-documents not counted.
const PARSED_MAX: usize = 2 * 1024 * 1024;

/// A command, as far as it has come.
#[derive(Clone, Debug, Default)]
pub struct Growing {
    open: Option<Open>,
    parsed: usize,
    parses: usize,
}

/// What is known of a command that grows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Growth {
    /// A shell would run it.
    Whole,
    /// A shell would read on.
    Part,
    /// It would take too long to tell.
    TooMuch,
}

impl Growing {
    /// Whether `text` is all of a command: a shell that reads it by lines would not wait for another one.
    ///
    /// What of it begins at `from` was added since the last call; it is one line or more, the last without its newline.
    pub fn add(&mut self, text: &str, from: usize) -> Growth {
        let added = text.get(from..).unwrap_or(text);
        if self.open.as_ref().is_some_and(|open| !added.split('\n').any(|line| open.may_end_with(line))) {
            return Growth::Part;
        }
        self.parsed = self.parsed.saturating_add(text.len());
        if self.parsed > PARSED_MAX {
            return Growth::TooMuch;
        }
        self.parses += 1;
        self.open = parse::open(text);
        if self.open.is_some() { Growth::Part } else { Growth::Whole }
    }

    /// How often it was parsed.
    pub fn parses(&self) -> usize {
        self.parses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of the lines, one by one, and how often they were parsed.
    fn grown(lines: &[&str]) -> (Vec<Growth>, usize) {
        let (mut growing, mut text, mut all) = (Growing::default(), String::new(), Vec::new());
        for line in lines {
            let from = text.len();
            text.push_str(line);
            all.push(growing.add(&text, from));
            text.push('\n');
        }
        (all, growing.parses())
    }

    #[test]
    fn only_lines_that_may_end_it_are_parsed_for() {
        for (begin, within, end) in [
            ("cat <<E", "some text", "E"),
            ("cat <<-'E'", "E and more", "\tE"),
            ("cat <<\\E", "\" '", "E"),
            ("echo 'a", "some \"text", "b'"),
            ("echo \"a", "some 'text", "b\""),
            ("echo $'a", "some \"text", "b'"),
            ("cat <<A <<B", "some text", "A\nB"),
        ] {
            let body = vec![within; 5_000];
            let lines: Vec<&str> = [begin].into_iter().chain(body).chain(end.split('\n')).collect();
            let (growth, parses) = grown(&lines);
            assert_eq!(growth.last(), Some(&Growth::Whole), "{begin}");
            assert!(growth.iter().rev().skip(1).all(|growth| *growth == Growth::Part), "{begin}");
            assert!(parses <= 4, "{begin}: {parses}");
        }
    }

    #[test]
    fn a_command_of_many_lines_is_parsed_so_often_and_no_more() {
        let body = vec!["echo some text of a usual length"; 1_900];
        let lines: Vec<&str> = ["if true; then"].into_iter().chain(body).chain(["fi"]).collect();
        assert!(lines.iter().map(|line| line.len() + 1).sum::<usize>() < parse::TEXT_MAX);
        let (growth, parses) = grown(&lines);
        assert!(growth.contains(&Growth::TooMuch) && parses < 400, "{parses}");
        let lines: Vec<&str> = lines[..300].iter().copied().chain(["fi"]).collect();
        assert_eq!(grown(&lines).0.last(), Some(&Growth::Whole));
    }
}
