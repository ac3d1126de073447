//! One value of a result as text. Text values are shown as they are; binary ones as the server would write them, when
//! their type is one of its own that is often met, or a list of these.
//!
//! The binary forms are those of the server's `…send` functions, the texts those of its `…out` functions:
//! <https://github.com/postgres/postgres/tree/REL_18_STABLE/src/backend/utils/adt>. With a zone, times are shown in UTC.

mod array;
mod moment;
mod number;

use crate::output::printable;
use postgres_types::{Kind, Type};
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
            Type::from_oid(self.oid).and_then(|kind| binary(&kind, value))
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

/// A binary value as the server writes it; nothing of another type, or of what is no such value.
fn binary(kind: &Type, value: &[u8]) -> Option<String> {
    if let Kind::Array(element) = kind.kind() { array::text(element, value) } else { simple(kind, value) }
}

fn simple(kind: &Type, value: &[u8]) -> Option<String> {
    Some(match *kind {
        Type::BOOL => match value {
            [0] => "f".to_owned(),
            [1] => "t".to_owned(),
            _ => return None,
        },
        Type::INT2 => i16::from_be_bytes(value.try_into().ok()?).to_string(),
        Type::INT4 => i32::from_be_bytes(value.try_into().ok()?).to_string(),
        Type::INT8 => i64::from_be_bytes(value.try_into().ok()?).to_string(),
        Type::OID | Type::XID | Type::CID => u32::from_be_bytes(value.try_into().ok()?).to_string(),
        Type::XID8 => u64::from_be_bytes(value.try_into().ok()?).to_string(),
        Type::PG_LSN => {
            let place = u64::from_be_bytes(value.try_into().ok()?);
            format!("{:X}/{:X}", place >> 32, place & 0xffff_ffff)
        }
        Type::FLOAT4 => number::single(f32::from_be_bytes(value.try_into().ok()?)),
        Type::FLOAT8 => number::double(f64::from_be_bytes(value.try_into().ok()?)),
        Type::NUMERIC => number::numeric(value)?,
        Type::DATE => moment::date(value)?,
        Type::TIME => moment::time(value)?,
        Type::TIMETZ => moment::time_with_zone(value)?,
        Type::TIMESTAMP => moment::timestamp(value)?,
        Type::TIMESTAMPTZ => moment::timestamp_with_zone(value)?,
        Type::INTERVAL => moment::interval(value)?,
        Type::UUID => uuid::Uuid::from_slice(value).ok()?.to_string(),
        Type::INET | Type::CIDR => network(kind, value)?,
        Type::BYTEA => hexadecimal(value),
        // A number says which version of the form it is.
        Type::JSONB | Type::JSONPATH => text(value.strip_prefix(&[1])?)?,
        Type::TEXT
        | Type::VARCHAR
        | Type::BPCHAR
        | Type::NAME
        | Type::CHAR
        | Type::JSON
        | Type::XML
        | Type::UNKNOWN => text(value)?,
        _ => return None,
    })
}

fn text(value: &[u8]) -> Option<String> {
    std::str::from_utf8(value).ok().map(str::to_owned)
}

/// The mask is not shown of a whole `inet` address.
fn network(kind: &Type, value: &[u8]) -> Option<String> {
    let network = postgres_protocol::types::inet_from_sql(value).ok()?;
    let (address, mask) = (network.addr(), network.netmask());
    let whole = if address.is_ipv4() { 32 } else { 128 };
    Some(if *kind == Type::INET && mask == whole { address.to_string() } else { format!("{address}/{mask}") })
}

/// As the server writes `bytea`.
fn hexadecimal(bytes: &[u8]) -> String {
    format!("\\x{}", const_hex::encode(bytes))
}

#[cfg(test)]
mod tests;
