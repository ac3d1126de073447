//! `$'…'`.

use super::{Reader, Why};

impl Reader {
    /// Behind `$'`: what stands up to the quote that ends it.
    pub(super) fn ansi(&mut self) -> Result<String, Why> {
        let mut bytes = Vec::new();
        loop {
            match self.next() {
                None => return Err(Why::new("a quote without end")),
                Some('\'') => break,
                Some('\\') => self.escape(&mut bytes)?,
                Some(c) => push(&mut bytes, c),
            }
        }
        // the shell ends the string there, whatever follows
        if bytes.contains(&0) {
            return Err(Why::new("a NUL in `$'…'`"));
        }
        String::from_utf8(bytes).map_err(|_error| Why::new("bytes in `$'…'` that are not UTF-8"))
    }

    fn escape(&mut self, bytes: &mut Vec<u8>) -> Result<(), Why> {
        let c = self.next().ok_or_else(|| Why::new("a quote without end"))?;
        match c {
            'a' => bytes.push(7),
            'b' => bytes.push(8),
            'e' | 'E' => bytes.push(27),
            'f' => bytes.push(12),
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            't' => bytes.push(b'\t'),
            'v' => bytes.push(11),
            '\\' | '\'' | '"' | '?' => push(bytes, c),
            '0'..='7' => {
                self.at -= 1;
                bytes.push((self.digits(8, 3).unwrap_or_default() & 0xff).try_into().unwrap_or_default());
            }
            'x' if self.peek() == Some('{') => return Err(Why::new("`\\x{…}` in `$'…'`")),
            'x' => match self.digits(16, 2) {
                Some(value) => bytes.push(value.try_into().unwrap_or_default()),
                None => bytes.extend(b"\\x"),
            },
            'u' | 'U' => match self.digits(16, if c == 'u' { 4 } else { 8 }).map(char::from_u32) {
                Some(Some(c)) => push(bytes, c),
                Some(None) => return Err(Why::new("a character in `$'…'` that is none")),
                None => {
                    bytes.push(b'\\');
                    push(bytes, c);
                }
            },
            'c' => return Err(Why::new("a control character in `$'…'`")),
            c => {
                bytes.push(b'\\');
                push(bytes, c);
            }
        }
        Ok(())
    }

    fn digits(&mut self, radix: u32, most: usize) -> Option<u32> {
        let mut value = None;
        for _ in 0..most {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(radix)) else { break };
            self.at += 1;
            value = Some(value.unwrap_or(0_u32).wrapping_mul(radix).wrapping_add(digit));
        }
        value
    }
}

fn push(bytes: &mut Vec<u8>, c: char) {
    bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
}
