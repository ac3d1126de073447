//! Fields of a line, read and written in a text format.

use super::Dialect;
use crate::messages::Malformed;
use bytes::{BufMut, BytesMut};

/// A text format, for one line.
#[derive(Clone, Copy)]
pub(super) struct Writing<'a> {
    pub(super) dialect: &'a Dialect,
    pub(super) csv: bool,
}

impl Writing<'_> {
    /// The fields of a line as they are written.
    pub(super) fn split<'l>(&self, line: &'l [u8]) -> Result<Vec<&'l [u8]>, Malformed> {
        let Dialect { quote, escape, delimiter, .. } = *self.dialect;
        let (mut quoted, mut escaped) = (false, false);
        let fields = line.split(|byte| {
            if escaped {
                escaped = false;
                return false;
            }
            if !self.csv {
                escaped = *byte == b'\\';
            } else if quoted && *byte == escape && escape != quote {
                escaped = true;
            } else if *byte == quote {
                // A doubled quote closes and opens again, which comes to the same.
                quoted = !quoted;
            }
            *byte == delimiter && !quoted && !escaped
        });
        let fields = fields.collect();
        if quoted || escaped {
            return Err(Malformed("a copied row ends within a field"));
        }
        Ok(fields)
    }

    /// The value of a field; `None` is NULL.
    pub(super) fn read(&self, field: &[u8]) -> Option<Vec<u8>> {
        if field == self.dialect.null {
            return None;
        }
        Some(if self.csv { self.read_csv(field) } else { read_text(field) })
    }

    fn read_csv(&self, field: &[u8]) -> Vec<u8> {
        let Dialect { quote, escape, .. } = *self.dialect;
        let mut value = Vec::with_capacity(field.len());
        let mut quoted = false;
        let mut bytes = field.iter().copied().peekable();
        while let Some(byte) = bytes.next() {
            if quoted && byte == escape && bytes.peek().is_some_and(|next| *next == quote || *next == escape)
            {
                value.extend(bytes.next());
            } else if byte == quote {
                quoted = !quoted;
            } else {
                value.push(byte);
            }
        }
        value
    }

    pub(super) fn write(&self, value: &[u8], out: &mut BytesMut) {
        let Dialect { quote, escape, delimiter, .. } = *self.dialect;
        if self.csv {
            out.put_u8(quote);
            for byte in value {
                if *byte == quote || *byte == escape {
                    out.put_u8(escape);
                }
                out.put_u8(*byte);
            }
            out.put_u8(quote);
            return;
        }
        for byte in value {
            match *byte {
                b'\\' => out.put_slice(b"\\\\"),
                b'\n' => out.put_slice(b"\\n"),
                b'\r' => out.put_slice(b"\\r"),
                b'\t' => out.put_slice(b"\\t"),
                byte if byte == delimiter => {
                    out.put_u8(b'\\');
                    out.put_u8(byte);
                }
                byte => out.put_u8(byte),
            }
        }
    }
}

fn read_text(field: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(field.len());
    let mut bytes = field.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            value.push(byte);
            continue;
        }
        // What the server writes: never octal or hexadecimal.
        value.extend(bytes.next().map(|escaped| match escaped {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            other => other,
        }));
    }
    value
}
