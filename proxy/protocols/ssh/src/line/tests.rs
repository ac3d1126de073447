//! Keys and what is submitted, and what a terminal shows of it.

use super::*;

/// Everything that is submitted, with the terminal's line as a person would see it after the last key.
fn typed(bytes: &[u8]) -> (Vec<String>, String) {
    let mut line = LineDiscipline::new("$ ");
    let mut submitted = Vec::new();
    let mut screen = Screen::default();
    for byte in bytes {
        for event in line.push(&[*byte]) {
            match event {
                Event::Submit(text) => submitted.push(text),
                Event::Echo(bytes) => screen.show(&bytes),
                Event::Interrupt => submitted.push("^C".to_owned()),
                Event::End => submitted.push("^D".to_owned()),
            }
        }
    }
    (submitted, screen.line.into_iter().collect())
}

/// One line of a terminal, as far as the discipline writes to it.
#[derive(Default)]
struct Screen {
    line: Vec<char>,
    cursor: usize,
}

impl Screen {
    fn show(&mut self, bytes: &[u8]) {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\r' | '\u{7}' => {}
                '\n' => *self = Self::default(),
                '\u{1b}' => {
                    assert_eq!(chars.next(), Some('['));
                    let mut count = String::new();
                    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                        count.push(digit);
                    }
                    match chars.next() {
                        Some('D') => self.cursor -= count.parse::<usize>().unwrap(),
                        Some('K') => self.line.truncate(self.cursor),
                        other => panic!("{other:?}"),
                    }
                }
                c => {
                    self.line.truncate(self.line.len().max(self.cursor));
                    if self.cursor < self.line.len() {
                        self.line[self.cursor] = c;
                    } else {
                        self.line.push(c);
                    }
                    self.cursor += 1;
                }
            }
        }
    }
}

#[test]
fn what_is_shown_is_what_will_be_submitted() {
    for (keys, expected) in [
        (&b"ls -l"[..], "ls -l"),
        (b"lx\x7fs", "ls"),
        (b"s\x01l\x05 x", "ls x"),
        (b"s\x1b[Dl\x1b[C x", "ls x"),
        (b"s\x1bODl", "ls"),
        (b"one two\x17three", "one three"),
        (b"one two\x15three", "three"),
        (b"one two\x01\x0bx", "x"),
        (b"one \x17two\x19", "twoone "),
        (b"sl\x14", "ls"),
        (b"one two\x1bb\x1bu", "one TWO"),
        (b"ONE\x01\x1bl", "one"),
        (b"one\x01\x1bc", "One"),
        (b"one two\x1bb\x1bd", "one "),
        (b"abc\x01\x04", "bc"),
        (b"abc\x01\x1b[3~", "bc"),
        ("grün\u{7f}\u{7f}ß".as_bytes(), "grß"),
        (b"a\tb\x00c\x16d\x12e", "abcde"),
        (b"a\xffb\xc3c", "abc"),
        (b"a\x1b[99;1;5mb\x1b]x", "abx"),
        (b"x\x1b[200~a b\x1b[201~c", "xa bc"),
    ] {
        let (submitted, screen) = typed(keys);
        assert!(submitted.is_empty());
        assert_eq!(screen, expected, "{}", keys.escape_ascii());
        assert_eq!(typed(&[keys, b"\r"].concat()).0, [expected], "{}", keys.escape_ascii());
    }
}

#[test]
fn returns_and_newlines_are_one_key() {
    assert_eq!(typed(b"a\rb\nc\r\nd\r").0, ["a", "b", "c", "d"]);
}

#[test]
fn a_command_is_submitted_when_it_is_whole() {
    for (keys, expected) in [
        ("echo 'a\rb'\r", "echo 'a\nb'"),
        ("cat <<X\ra\rX\r", "cat <<X\na\nX"),
        ("r\\\rm x\r", "r\\\nm x"),
        ("if true\rthen\rls\rfi\r", "if true\nthen\nls\nfi"),
        ("true &&\rls\r", "true &&\nls"),
        ("echo $(\rls)\r", "echo $(\nls)"),
        ("f() {\rls\r}\r", "f() {\nls\n}"),
        ("\r", ""),
        ("# x\r", "# x"),
        ("ls )\r", "ls )"),
    ] {
        assert_eq!(typed(keys.as_bytes()).0, [expected]);
    }
}

#[test]
fn what_is_given_up_is_gone() {
    assert_eq!(typed(b"rm -rf /\x03ls\r").0, ["^C", "ls"]);
    assert_eq!(typed(b"echo 'a\r\x03ls\r").0, ["^C", "ls"]);
    assert_eq!(typed(b"\x04").0, ["^D"]);
    assert_eq!(typed(b"echo 'a\r\x04'\r").0, ["echo 'a\n'"]);
}

#[test]
fn what_was_submitted_is_recalled() {
    assert_eq!(typed(b"one\rtwo\r\x1b[A\x1b[A\x1b[B!\r").0, ["one", "two", "two!"]);
    assert_eq!(typed(b"one\r\x10\x10\x10\r").0, ["one", "one"]);
    assert_eq!(typed(b"ls /srv\rcat \x1b.\r").0, ["ls /srv", "cat /srv"]);
}

#[test]
fn a_paste_is_text_and_waits_for_a_key() {
    let (submitted, _) = typed(b"\x1b[200~ls\rrm -rf x\x03\x15\r\x1b[201~");
    assert!(submitted.is_empty());
    assert_eq!(typed(b"\x1b[200~ls\rpwd\x03\x1b[201~\r").0, ["ls\npwd"]);
}

#[test]
fn a_line_has_an_end() {
    let mut line = LineDiscipline::new("$ ");
    line.push(&vec![b'a'; 2 * COMMAND_MAX]);
    assert!(line.prompt().len() <= LINE_MAX + 2);
    let events = line.push(b"\r");
    assert!(!events.iter().any(|event| matches!(event, Event::Submit(_))), "not all of it is there");
    // and so with a command of many lines
    line.settled();
    line.push(b"cat <<E\r");
    let lines = format!("{}\r", "b".repeat(LINE_MAX - 10)).repeat(COMMAND_MAX / LINE_MAX + 1);
    let events = line.push(lines.as_bytes());
    let shown = events
        .iter()
        .map(|event| if let Event::Echo(shown) = event { shown.clone() } else { panic!("{event:?}") });
    let shown = String::from_utf8(shown.flatten().collect()).unwrap();
    assert_eq!(shown.matches("it is not run").count(), 1);
}

#[test]
fn keys_typed_ahead_are_shown_with_the_prompt() {
    let mut line = LineDiscipline::new("web1$ ");
    line.push(b"ls");
    assert_eq!(line.prompt(), b"web1$ ls");
}

#[test]
fn a_line_that_does_not_fit_is_never_submitted_without_its_end() {
    let long = "x".repeat(LINE_MAX + 10);
    let run = |keys: &str| typed(keys.as_bytes()).0;
    assert_eq!(run(&format!("echo {long}\x7f\x7f\x7f\r")), [""; 0], "what is missing is still missing");
    assert_eq!(run(&format!("echo {long}\x15ls\r")), ["ls"], "a line that is cleared is a new one");
    assert_eq!(run(&format!("echo '\r{long}\r'\r")), [""; 0], "and so with a command of several lines");
    assert_eq!(run(&format!("echo {long}\x03ls\r")), ["^C", "ls"]);
}

/// What is pasted is one thing to who pastes it: behind a part that is refused, none of it is a command.
#[test]
fn what_comes_with_a_line_that_is_refused_is_refused_with_it() {
    let long = "x".repeat(LINE_MAX + 10);
    let document = format!("cat <<E\r{}\rrm -rf /srv\rE\rls\r", vec!["y".repeat(4_000); 20].join("\r"));
    for paste in [format!("rm -rf /srv/{long}\rrm -rf /srv\rls\r"), document] {
        let mut line = LineDiscipline::new("$ ");
        let mut run = |keys: &[u8]| -> Vec<Event> {
            let events = line.push(keys).into_iter();
            events.filter(|event| !matches!(event, Event::Echo(_))).collect()
        };
        assert_eq!(run(paste.as_bytes()), []);
        assert_eq!(run(b"pwd\r"), [], "it has not ended");
        assert!(line.is_discarding());
        let shown = String::from_utf8(line.settled()).unwrap();
        assert!(
            shown.contains("more lines that came with it are not run") && shown.ends_with("$ "),
            "{shown}"
        );
        let events = line.push(b"id\r");
        assert!(events.contains(&Event::Submit("id".to_owned())), "{events:?}");
    }
    let mut line = LineDiscipline::new("$ ");
    line.push(format!("{long}\rls\r").as_bytes());
    let events = line.push(b"\x03id\r");
    assert!(events.contains(&Event::Submit("id".to_owned())), "who presses Ctrl-C need not wait: {events:?}");
}
