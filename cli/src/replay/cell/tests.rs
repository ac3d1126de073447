use super::*;
use proptest::prelude::*;

fn binary_cell(oid: u32) -> CellType {
    CellType { oid, binary: true }
}

/// Object identifier of the type, its binary form in hexadecimal, its text: what a server says (`values.sql`).
fn values() -> Vec<(u32, Vec<u8>, &'static str)> {
    let parse = |line: &'static str| {
        let mut fields = line.split('\t');
        let (oid, bytes, text) = (fields.next()?, fields.next()?, fields.next()?);
        Some((oid.parse().ok()?, const_hex::decode(bytes).ok()?, text))
    };
    include_str!("values.tsv").lines().map(|line| parse(line).unwrap_or_else(|| panic!("{line}"))).collect()
}

#[test]
fn binary_values_read_as_the_server_writes_them() {
    let mut count = 0;
    for (oid, bytes, text) in values() {
        // A numeric of a thousand zeros, too.
        assert_eq!(binary_cell(oid).show(&bytes), text, "type {oid}: {}", const_hex::encode(&bytes));
        count += 1;
    }
    assert!(count > 130, "{count}");
}

#[test]
fn what_is_no_value_of_its_type_is_shown_as_hexadecimal() {
    assert_eq!(binary_cell(Type::INT4.oid()).show(&[1, 2]), "\\x0102", "wrong length");
    assert_eq!(
        binary_cell(Type::POINT.oid()).show(&[0; 16]),
        format!("\\x{}", "00".repeat(16)),
        "no such text"
    );
    assert_eq!(binary_cell(99_999).show(&[1]), "\\x01", "somebody's own type");
    assert_eq!(binary_cell(Type::JSONB.oid()).show(b"\x02{}"), "\\x027b7d", "another version");
    assert_eq!(CellType::default().show(&[0xff]), "\\xff");
}

#[test]
fn values_that_claim_to_be_large_take_no_more_room_than_they_bring() {
    // One digit and the weight of 131,000 zeros.
    let numeric = [0, 1, 0x7f, 0xff, 0, 0, 0, 0, 0, 1];
    assert!(binary_cell(Type::NUMERIC.oid()).show(&numeric).starts_with("\\x"));
    // Two billion lists of nothing, and of something that is not there.
    for lengths in [[i32::MAX, 0], [0, i32::MAX], [i32::MAX, i32::MAX], [1, i32::MAX], [-1, 1]] {
        let mut array = [2, 0, 23].map(i32::to_be_bytes).concat();
        for length in lengths {
            array.extend([length, 1].map(i32::to_be_bytes).concat());
        }
        array.extend([0; 64]);
        assert!(binary_cell(Type::INT4_ARRAY.oid()).show(&array).starts_with("\\x"), "{lengths:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_of_any_type_are_shown(oid in 0_u32..4_100, bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        binary_cell(oid).show(&bytes);
    }

    /// What a server sent, with a byte changed.
    #[test]
    fn changed_values_are_shown(which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte: u8) {
        let values = values();
        let (oid, bytes, _) = which.get(&values);
        let mut bytes = bytes.clone();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        binary_cell(*oid).show(&bytes);
    }
}

#[test]
fn escape_sequences_do_not_reach_the_terminal() {
    assert_eq!(CellType::default().show(b"a\x1b[2J"), "a\\x1B[2J");
    assert_eq!(binary_cell(Type::TEXT.oid()).show(b"a\x1b[2J"), "a\\x1B[2J");
    assert_eq!(CellType::default().show("é\r\u{9b}\u{202e}".as_bytes()), "é\\r\\u009B\u{fffd}");
    assert_eq!(CellType::default().show(b"ab\tc\n\td"), "ab      c\n        d");
}
