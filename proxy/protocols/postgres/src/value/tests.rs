use super::*;
use proptest::prelude::*;

/// Object identifier of the type, its binary form in hexadecimal, its text: what a server says (`values.sql`).
pub(crate) fn values() -> Vec<(u32, Vec<u8>, &'static str)> {
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
    for (oid, bytes, written) in values() {
        // A numeric of a thousand zeros, too.
        assert_eq!(text(oid, &bytes).as_deref(), Some(written), "type {oid}: {}", const_hex::encode(&bytes));
        count += 1;
    }
    assert!(count > 130, "{count}");
}

#[test]
fn what_is_no_value_of_its_type_has_no_text() {
    assert_eq!(text(Type::INT4.oid(), &[1, 2]), None, "wrong length");
    assert_eq!(text(Type::POINT.oid(), &[0; 16]), None, "no such text");
    assert_eq!(text(99_999, &[1]), None, "somebody's own type");
    assert_eq!(text(Type::JSONB.oid(), b"\x02{}"), None, "another version");
}

#[test]
fn values_that_claim_to_be_large_take_no_more_room_than_they_bring() {
    // One digit and the weight of 131,000 zeros.
    let numeric = [0, 1, 0x7f, 0xff, 0, 0, 0, 0, 0, 1];
    assert_eq!(text(Type::NUMERIC.oid(), &numeric), None);
    // Two billion lists of nothing, and of something that is not there.
    for lengths in [[i32::MAX, 0], [0, i32::MAX], [i32::MAX, i32::MAX], [1, i32::MAX], [-1, 1]] {
        let mut array = [2, 0, 23].map(i32::to_be_bytes).concat();
        for length in lengths {
            array.extend([length, 1].map(i32::to_be_bytes).concat());
        }
        array.extend([0; 64]);
        assert_eq!(text(Type::INT4_ARRAY.oid(), &array), None, "{lengths:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_of_any_type_are_read(oid in 0_u32..4_100, bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        drop(text(oid, &bytes));
    }

    /// What a server sent, with a byte changed.
    #[test]
    fn changed_values_are_read(which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte: u8) {
        let values = values();
        let (oid, bytes, _) = which.get(&values);
        let mut bytes = bytes.clone();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        drop(text(*oid, &bytes));
    }
}
