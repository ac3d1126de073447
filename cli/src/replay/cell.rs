//! One value of a result as text. Text values are shown as they are; binary ones when their type is simple.

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
        matches!(self.oid, INT2 | INT4 | INT8 | OID | FLOAT4 | FLOAT8 | NUMERIC | MONEY | XID | CID)
    }

    /// The value as text.
    pub(super) fn show(self, value: &[u8]) -> String {
        if self.binary {
            return self.show_binary(value).unwrap_or_else(|| hexadecimal(value));
        }
        match std::str::from_utf8(value) {
            Ok(text) => crate::output::printable(text),
            Err(_) => hexadecimal(value),
        }
    }

    fn show_binary(self, value: &[u8]) -> Option<String> {
        Some(match self.oid {
            BOOL => if *value.first()? == 0 { "f" } else { "t" }.to_owned(),
            INT2 => i16::from_be_bytes(value.try_into().ok()?).to_string(),
            INT4 => i32::from_be_bytes(value.try_into().ok()?).to_string(),
            INT8 => i64::from_be_bytes(value.try_into().ok()?).to_string(),
            OID | XID | CID => u32::from_be_bytes(value.try_into().ok()?).to_string(),
            FLOAT4 => f32::from_be_bytes(value.try_into().ok()?).to_string(),
            FLOAT8 => f64::from_be_bytes(value.try_into().ok()?).to_string(),
            TEXT | VARCHAR | BPCHAR | NAME | JSON | UNKNOWN => {
                crate::output::printable(std::str::from_utf8(value).ok()?)
            }
            _ => return None,
        })
    }
}

/// As psql shows `bytea`.
fn hexadecimal(bytes: &[u8]) -> String {
    format!("\\x{}", const_hex::encode(bytes))
}

// https://github.com/postgres/postgres/blob/REL_18_STABLE/src/include/catalog/pg_type.dat
const BOOL: u32 = 16;
const NAME: u32 = 19;
const INT8: u32 = 20;
const INT2: u32 = 21;
const INT4: u32 = 23;
const TEXT: u32 = 25;
const OID: u32 = 26;
const XID: u32 = 28;
const CID: u32 = 29;
const JSON: u32 = 114;
const FLOAT4: u32 = 700;
const FLOAT8: u32 = 701;
const UNKNOWN: u32 = 705;
const MONEY: u32 = 790;
const BPCHAR: u32 = 1042;
const VARCHAR: u32 = 1043;
const NUMERIC: u32 = 1700;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simple_binary_values_are_read_and_others_shown_as_hexadecimal() {
        let binary = |oid| CellType { oid, binary: true };
        assert_eq!(binary(INT4).show(&(-7_i32).to_be_bytes()), "-7");
        assert_eq!(binary(INT8).show(&9_i64.to_be_bytes()), "9");
        assert_eq!(binary(BOOL).show(&[1]), "t");
        assert_eq!(binary(TEXT).show(b"abc"), "abc");
        assert_eq!(binary(NUMERIC).show(&[0, 1]), "\\x0001");
        assert_eq!(binary(INT4).show(&[1, 2]), "\\x0102", "wrong length");
        assert_eq!(CellType::default().show(&[0xff]), "\\xff");
    }

    #[test]
    fn escape_sequences_do_not_reach_the_terminal() {
        assert_eq!(CellType::default().show(b"a\x1b[2J"), "a\u{fffd}[2J");
    }
}
