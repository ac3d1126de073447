//! Rows that are copied out, in the three formats of `COPY`
//! (<https://www.postgresql.org/docs/18/sql-copy.html#id-1.9.3.55.9>).
//!
//! The server sends each row in a `CopyData` message of its own; one that is not whole ends the session. Text and CSV
//! fields can carry any text, so column masks apply as they are; binary fields become NULL.

mod plain;
mod writing;

use super::{ColumnMask, RowMasker, RowPlan, escaped};
use crate::messages::{Body, Malformed};
use bytes::{BufMut, BytesMut};
use pg_query::NodeEnum;
use pg_query::protobuf::{CopyStmt, DefElem};
use plain::Plain;
use std::borrow::Cow;
use writing::Writing;

/// How rows are written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum CopyFormat {
    /// Lines; special characters after a backslash.
    Text(Dialect),
    /// Lines; special characters within quotes.
    Csv(Dialect),
    /// Values with their lengths.
    Binary {
        /// The signature has been seen.
        begun: bool,
    },
}

/// Characters of a text format.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Dialect {
    delimiter: u8,
    null: Vec<u8>,
    quote: u8,
    escape: u8,
    /// Names of columns come first.
    header: bool,
}

impl CopyFormat {
    /// The format of the `index`th statement of a text, if that copies out in a way that can be masked.
    pub(crate) fn of(text: &str, index: usize) -> Option<Self> {
        let tree = pg_query::parse(text, 0).ok()?.protobuf;
        let node = tree.stmts.get(index)?.stmt.as_ref()?.node.as_ref()?;
        let NodeEnum::CopyStmt(statement) = node else { return None };
        Self::of_statement(statement)
    }

    /// Whether a NULL can be told from a value that is written alike. With a NULL text of one's own, what is not masked
    /// answers a guess; a value with a backslash is written with two, and one in CSV in quotes.
    pub(crate) fn tells_nulls(&self) -> bool {
        match self {
            Self::Text(dialect) => dialect.null == b"\\N",
            Self::Csv(_) | Self::Binary { .. } => true,
        }
    }

    fn of_statement(statement: &CopyStmt) -> Option<Self> {
        let options: Vec<&DefElem> = statement
            .options
            .iter()
            .map(|option| {
                let NodeEnum::DefElem(element) = option.node.as_ref()? else { return None };
                Some(&**element)
            })
            .collect::<Option<_>>()?;
        let text_of =
            |name: &str| options.iter().find(|option| option.defname == name).map(|option| word(option));
        let known =
            ["format", "delimiter", "null", "quote", "escape", "header", "force_quote", "encoding", "freeze"];
        if options.iter().any(|option| !known.contains(&option.defname.as_str())) {
            return None;
        }
        if let Some(encoding) = text_of("encoding") {
            let plain: String = encoding?.chars().filter(char::is_ascii_alphanumeric).collect();
            if !plain.eq_ignore_ascii_case("utf8") {
                return None;
            }
        }
        let format = text_of("format").unwrap_or_else(|| Some("text".to_owned()))?;
        let byte = |name: &str, default: u8| match text_of(name) {
            None => Some(default),
            Some(value) => match value?.as_bytes() {
                [byte] => Some(*byte),
                _ => None,
            },
        };
        let header = match options.iter().find(|option| option.defname == "header") {
            None => false,
            Some(option) => match word(option) {
                None => true,
                Some(word) => !matches!(word.to_ascii_lowercase().as_str(), "false" | "off" | "0"),
            },
        };
        let null = |default: &str| match text_of("null") {
            None => Some(default.as_bytes().to_vec()),
            Some(value) => value.map(String::into_bytes),
        };
        match format.to_ascii_lowercase().as_str() {
            "binary" => Some(Self::Binary { begun: false }),
            "text" => {
                let (delimiter, null) = (byte("delimiter", b'\t')?, null("\\N")?);
                Some(Self::Text(Dialect { delimiter, null, quote: 0, escape: b'\\', header }))
            }
            "csv" => {
                let (delimiter, quote, null) = (byte("delimiter", b',')?, byte("quote", b'"')?, null("")?);
                Some(Self::Csv(Dialect { delimiter, null, quote, escape: byte("escape", quote)?, header }))
            }
            _ => None,
        }
    }
}

/// The value of an option, if it is a word or a number.
fn word(option: &DefElem) -> Option<String> {
    let value = option.arg.as_ref()?.node.as_ref()?;
    if let NodeEnum::String(text) = value {
        Some(text.sval.clone())
    } else if let NodeEnum::Integer(number) = value {
        Some(number.ival.to_string())
    } else if let NodeEnum::Boolean(flag) = value {
        Some(flag.boolval.to_string())
    } else {
        None
    }
}

/// Appends the head of a `CopyData` message, its length to be set later; says where it begins.
fn begin(out: &mut BytesMut) -> usize {
    let start = out.len();
    out.put_slice(b"d\0\0\0\0");
    start
}

impl RowMasker<'_> {
    /// Appends the masked `CopyData` for the one in `frame`.
    ///
    /// # Errors
    /// The row cannot be read; then nothing of it may pass.
    pub(crate) fn copied(
        &mut self,
        frame: &[u8],
        format: &mut CopyFormat,
        out: &mut BytesMut,
    ) -> Result<(), Malformed> {
        let body = crate::frame::body(frame);
        if let CopyFormat::Text(dialect) = format
            && let Some(plain) = Plain::of(body, dialect)
            && self.is_clean(plain)
        {
            let RowPlan::Columns(masks) = self.plan else {
                out.put_slice(frame);
                return Ok(());
            };
            let start = begin(out);
            self.copied_plain(plain, masks, out);
            return super::patch_length(start, out);
        }
        self.copied_by_field(body, format, out)
    }

    /// Appends the masked message, each field looked at by itself.
    fn copied_by_field(
        &mut self,
        body: &[u8],
        format: &mut CopyFormat,
        out: &mut BytesMut,
    ) -> Result<(), Malformed> {
        let start = begin(out);
        match format {
            CopyFormat::Binary { begun } => self.copied_binary(body, begun, out)?,
            CopyFormat::Text(dialect) | CopyFormat::Csv(dialect) if dialect.header => {
                dialect.header = false;
                let names = self.masker.text(body, self.counts);
                out.put_slice(&names);
            }
            CopyFormat::Text(dialect) => self.copied_line(body, Writing { dialect, csv: false }, out)?,
            CopyFormat::Csv(dialect) => self.copied_line(body, Writing { dialect, csv: true }, out)?,
        }
        super::patch_length(start, out)
    }

    fn copied_binary(&mut self, bytes: &[u8], begun: &mut bool, out: &mut BytesMut) -> Result<(), Malformed> {
        let mut body = Body::new(bytes);
        if !std::mem::replace(begun, true) {
            let head = body.bytes(SIGNATURE.len() + 4)?;
            let extension = body.u32()?;
            if !head.starts_with(SIGNATURE) || extension != 0 {
                return Err(Malformed("the binary copy has another signature"));
            }
            out.put_slice(head);
            out.put_u32(extension);
            if body.is_empty() {
                return Ok(());
            }
        }
        let count = body.i16()?;
        out.put_i16(count);
        if count == -1 {
            return body.end();
        }
        let count = usize::try_from(count).ok().ok_or(Malformed("the binary copy has a negative count"))?;
        let aligned = self.is_aligned(count);
        for index in 0..count {
            self.next(&mut body, (index, aligned), out)?;
        }
        body.end()
    }

    fn copied_line(
        &mut self,
        line: &[u8],
        writing: Writing<'_>,
        out: &mut BytesMut,
    ) -> Result<(), Malformed> {
        let line = line.strip_suffix(b"\n").ok_or(Malformed("a copied row has no end"))?;
        let fields = writing.split(line)?;
        let aligned = self.is_aligned(fields.len());
        for (index, field) in fields.iter().enumerate() {
            if index > 0 {
                out.put_u8(writing.dialect.delimiter);
            }
            let Some(value) = writing.read(field) else {
                match self
                    .mask(index)
                    .filter(|mask| mask.hides_null)
                    .and_then(|mask| self.copied_masked(mask, &[]))
                {
                    Some(masked) => writing.write(&masked, out),
                    None => out.put_slice(field),
                }
                continue;
            };
            let masked = if aligned { self.copied_field(index, &value) } else { self.misaligned() };
            match masked {
                Some(masked) if *masked == *value => out.put_slice(field),
                Some(masked) => writing.write(&masked, out),
                None => out.put_slice(&writing.dialect.null),
            }
        }
        out.put_u8(b'\n');
        Ok(())
    }

    fn copied_masked(&mut self, mask: &ColumnMask, value: &[u8]) -> Option<Vec<u8>> {
        self.masker.value(&mask.mask, &mask.name, value, self.counts)
    }

    fn copied_field<'v>(&mut self, index: usize, value: &'v [u8]) -> Option<Cow<'v, [u8]>> {
        match self.mask(index) {
            Some(mask) => self.copied_masked(mask, value).map(Cow::Owned),
            None => Some(escaped::masked(self.masker, value, self.counts)),
        }
    }
}

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

#[cfg(test)]
mod tests {
    use super::{CopyFormat, Dialect, RowMasker, RowPlan};
    use crate::mask::ColumnMask;
    use bytes::{BufMut as _, BytesMut};
    use proxy_core::mask::{MaskCounts, Masker};
    use proxy_policy::{Mask, MaskType};

    fn masked(sql: &str, rows: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut format = CopyFormat::of(sql, 0).unwrap();
        let mask = Mask { type_: MaskType::Partial, keep_last: Some(2) };
        let plan =
            RowPlan::Columns(vec![None, Some(ColumnMask { mask, name: "c".to_owned(), hides_null: false })]);
        let (masker, mut counts) = (Masker::new(&[], &[0; 32]), MaskCounts::default());
        let mut masker = RowMasker { plan: &plan, shapes: &[], masker: &masker, counts: &mut counts };
        let rows = rows.iter().map(|row| {
            let (mut frame, mut out) = (BytesMut::new(), BytesMut::new());
            frame.put_u8(b'd');
            frame.put_u32(u32::try_from(row.len() + 4).unwrap());
            frame.put_slice(row);
            masker.copied(&frame, &mut format, &mut out).unwrap();
            assert_eq!(u32::from_be_bytes(out[1..5].try_into().unwrap()) as usize, out.len() - 1);
            out[5..].to_vec()
        });
        rows.collect()
    }

    fn lines(sql: &str, rows: &[&str]) -> Vec<String> {
        let rows: Vec<&[u8]> = rows.iter().map(|row| row.as_bytes()).collect();
        masked(sql, &rows).into_iter().map(|row| String::from_utf8(row).unwrap()).collect()
    }

    #[test]
    fn text_rows_are_masked_by_column() {
        let got = lines("copy t to stdout", &["1\t0123456789\n", "2\t\\N\n", "a\\tb\t01\\\\23456789\n"]);
        assert!(got[0].starts_with("1\t") && got[0].ends_with("89\n") && !got[0].contains("0123"), "{got:?}");
        assert_eq!(got[1], "2\t\\N\n");
        assert!(got[2].starts_with("a\\tb\t") && !got[2].contains("01"), "{got:?}");
    }

    #[test]
    fn a_delimiter_behind_a_backslash_does_not_end_a_field() {
        let got = lines("copy t to stdout (delimiter '|')", &["a\\|b|0123456789\n", "a\\\\|0123456789\n"]);
        assert!(got[0].starts_with("a\\|b|") && !got[0].contains("0123"), "{got:?}");
        assert!(got[1].starts_with("a\\\\|") && !got[1].contains("0123"), "{got:?}");
    }

    #[test]
    fn csv_rows_are_masked_by_column() {
        let sql = "copy t to stdout (format csv, header, force_quote *)";
        let got = lines(sql, &["id,ssn\n", "\"1,\"\"x\n\",\"0123456789\"\n", "2,\n"]);
        assert_eq!(got[0], "id,ssn\n");
        assert!(got[1].starts_with("\"1,\"\"x\n\",\"") && !got[1].contains("0123"), "{got:?}");
        assert_eq!(got[2], "2,\n");
    }

    #[test]
    fn a_row_with_another_number_of_columns_is_masked_whole() {
        assert_eq!(lines("copy t to stdout csv", &["1,2,3\n"]), [",,\n"]);
    }

    #[test]
    fn binary_rows_lose_their_masked_columns() {
        let head = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
        let row = b"\0\x02\0\0\0\x01a\0\0\0\x03ssn";
        let got = masked("copy t to stdout (format binary)", &[&[&head[..], row].concat(), row, b"\xff\xff"]);
        let hidden = b"\0\x02\0\0\0\x01a\xff\xff\xff\xff";
        assert_eq!(got, [[&head[..], hidden].concat(), hidden.to_vec(), b"\xff\xff".to_vec()]);
    }

    #[test]
    fn options_that_are_not_known_have_no_format() {
        assert_eq!(CopyFormat::of("copy t to stdout (encoding 'SJIS')", 0), None);
        assert_eq!(CopyFormat::of("select 1", 0), None);
        let dialect =
            Dialect { delimiter: b';', null: b"-".to_vec(), quote: b'\'', escape: b'\'', header: false };
        let sql = "select 1; copy t to stdout with delimiter ';' null '-' csv quote ''''";
        assert_eq!(CopyFormat::of(sql, 1), Some(CopyFormat::Csv(dialect)));
    }
}
