//! One value of a result as text. Text values are shown as they are; binary ones as the server would write them, or as
//! hexadecimal.

use crate::output::printable;
use postgres_types::Type;
use proxy_postgres::value;
use unicode_width::UnicodeWidthStr as _;

/// Type of a column, as far as showing it needs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct CellType {
    /// Object identifier of the type: `pg_type.oid`.
    pub(super) oid: u32,
    /// The values are in the binary format.
    pub(super) binary: bool,
}

impl CellType {
    /// psql aligns numbers to the right.
    pub(super) fn is_number(self) -> bool {
        let numbers = [
            Type::INT2,
            Type::INT4,
            Type::INT8,
            Type::OID,
            Type::FLOAT4,
            Type::FLOAT8,
            Type::NUMERIC,
            Type::MONEY,
            Type::XID,
            Type::XID8,
            Type::CID,
        ];
        numbers.iter().any(|number| number.oid() == self.oid)
    }

    /// The value as text.
    pub(super) fn show(self, value: &[u8]) -> String {
        let text = if self.binary {
            value::text(self.oid, value)
        } else {
            std::str::from_utf8(value).ok().map(str::to_owned)
        };
        text.map_or_else(|| hexadecimal(value), |text| escaped(&text))
    }
}

/// A text as psql shows it in a table: what moves the cursor is written out. What would only change the order in which
/// the text is read psql lets through, and is replaced here.
pub(super) fn escaped(text: &str) -> String {
    let (mut shown, mut column) = (String::new(), 0);
    for c in text.chars() {
        let start = shown.len();
        match c {
            '\n' => shown.push('\n'),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.extend(std::iter::repeat_n(' ', TAB - column % TAB)),
            c if c.is_ascii_control() => shown.extend([format!("\\x{:02X}", u32::from(c))]),
            c if c.is_control() => shown.extend([format!("\\u{:04X}", u32::from(c))]),
            c => shown.push(c),
        }
        column = match (c, shown.get(start..)) {
            ('\n', _) | (_, None) => 0,
            (_, Some(added)) => column + added.width(),
        };
    }
    printable(&shown)
}

/// Columns from one tab to the next.
const TAB: usize = 8;

/// As the server writes `bytea`.
fn hexadecimal(bytes: &[u8]) -> String {
    format!("\\x{}", const_hex::encode(bytes))
}

#[cfg(test)]
mod tests;
