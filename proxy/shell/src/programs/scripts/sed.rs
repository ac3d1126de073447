//! Whether a `sed` script only edits. Source: GNU sed manual, 3; POSIX.1-2024, sed.

/// No command of the script runs a program or writes a file. `false` as well for what is not understood.
pub(super) fn is_plain(script: &str) -> bool {
    let mut reader = Reader { rest: script };
    reader.commands().is_some()
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = self.rest.get(c.len_utf8()..).unwrap_or_default();
        Some(c)
    }

    fn skip(&mut self, skipped: impl Fn(char) -> bool) {
        self.rest = self.rest.trim_start_matches(skipped);
    }

    fn commands(&mut self) -> Option<()> {
        loop {
            self.skip(|c| c.is_ascii_whitespace() || matches!(c, ';' | '{' | '}'));
            if self.rest.is_empty() {
                return Some(());
            }
            self.addresses()?;
            self.command()?;
        }
    }

    fn addresses(&mut self) -> Option<()> {
        loop {
            match self.peek()? {
                '/' => {
                    self.next();
                    self.until('/')?;
                    self.skip(|c| matches!(c, 'I' | 'M'));
                }
                '\\' => {
                    self.next();
                    let end = self.next()?;
                    self.until(end)?;
                    self.skip(|c| matches!(c, 'I' | 'M'));
                }
                c if c.is_ascii_digit() || matches!(c, '$' | ',' | '~' | '+' | '!' | ' ') => {
                    self.next();
                }
                _ => return Some(()),
            }
        }
    }

    fn command(&mut self) -> Option<()> {
        match self.next()? {
            '=' | 'd' | 'D' | 'g' | 'G' | 'h' | 'H' | 'l' | 'n' | 'N' | 'p' | 'P' | 'x' | 'z' | '{' | '}'
            | ';' => {}
            'q' | 'Q' => self.skip(|c| c.is_ascii_digit() || c == ' '),
            '#' => self.skip(|c| c != '\n'),
            'b' | 't' | 'T' => self.label(true)?,
            ':' => self.label(false)?,
            // text to the end of the line, and lines that a backslash joins to it
            'a' | 'i' | 'c' => while self.line_is_continued()? {},
            's' => {
                let end = self.next()?;
                self.until(end)?;
                self.until_plain(end)?;
                self.skip(|c| c.is_ascii_digit() || matches!(c, 'g' | 'p' | 'i' | 'I' | 'm' | 'M'));
                if !matches!(self.peek(), None | Some(' ' | '\t' | '\n' | ';' | '}' | '#')) {
                    return None;
                }
            }
            'y' => {
                let end = self.next()?;
                self.until_plain(end)?;
                self.until_plain(end)?;
            }
            _ => return None,
        }
        Some(())
    }

    /// A label, which ends at a `;` or with the line, or of a branch at a `}`. Some read all of the line as one: nothing
    /// of the next may belong to a command behind it.
    fn label(&mut self, branch: bool) -> Option<()> {
        self.skip(|c| matches!(c, ' ' | '\t'));
        self.skip(|c| !c.is_ascii_whitespace() && !matches!(c, ';' | '}'));
        self.skip(|c| matches!(c, ' ' | '\t'));
        let line = self.rest.split('\n').next().unwrap_or_default();
        let ends = match self.peek() {
            None | Some('\n' | ';') => true,
            Some(c) => branch && c == '}',
        };
        (ends && !line.ends_with('\\')).then_some(())
    }

    /// Past the end of a line; whether the next belongs to it. `None`: who reads it decides.
    fn line_is_continued(&mut self) -> Option<bool> {
        let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        self.rest = rest;
        match line.len() - line.trim_end_matches('\\').len() {
            0 => Some(false),
            1 => Some(!rest.is_empty()),
            _ => None,
        }
    }

    /// Past the delimiter that ends a pattern.
    fn until(&mut self, end: char) -> Option<()> {
        if end == '\n' || end == '\\' || end == '[' || end == ']' {
            return None;
        }
        let mut chars = self.rest.chars();
        super::pattern(&mut chars, end)?;
        self.rest = chars.as_str();
        Some(())
    }

    /// Past the delimiter that ends a replacement.
    fn until_plain(&mut self, end: char) -> Option<()> {
        loop {
            match self.next()? {
                '\\' => drop(self.next()?),
                c if c == end => return Some(()),
                '\n' => return None,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_plain;

    #[test]
    fn scripts_that_only_edit_are_plain() {
        for script in [
            "s/a/b/",
            "s|/x|/y|g;p",
            "/^#/d",
            "1,5p",
            "$!N;s/\\n/ /",
            "s,a,b,2g",
            "/a/,/b/{s/x/y/;d}",
            "2q",
            "s/[0-9]+/N/",
            "y/abc/def/",
            "1i\\\nhead",
            ":a;N;$!ba;s/\\n/ /g",
            "a foo\\\nbar\np",
            "s/a/b\\\nc/",
            "# s;x\np",
            "a text e",
            "$d",
        ] {
            assert!(is_plain(script), "{script}");
        }
    }

    #[test]
    fn scripts_that_run_or_write_are_not() {
        for script in [
            "s/a/b/e",
            "1e",
            "e rm -rf x",
            "s/a/b/w file",
            "w file",
            "/x/w f",
            "s/.*/rm/ge",
            "r /etc/passwd",
            "W f",
            "s/[/]/x/e",
            "F",
            "p;1e id",
            "s/[]/X]/g;s/e;#/b/",
            "s/[[:x:]/]/g;s/e;#/b/",
            "s/[\\]/]/g;s/e;#/b/",
            "y/a/b/;e",
            "{e\n}",
            "a foo\\\\\ne id",
            "#;a\\\ne id",
            "#;s/a/b\ne id\n#/",
            ":a;a\\\ne id",
            ":a e id",
            "s/a/b\ne id\n/",
        ] {
            assert!(!is_plain(script), "{script}");
        }
    }
}
