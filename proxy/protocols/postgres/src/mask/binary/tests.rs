use super::*;
use crate::mask::{RowMasker, RowPlan};
use bytes::{BufMut as _, BytesMut};
use proptest::prelude::*;
use proxy_core::mask::{MaskCounts, Masker};
use proxy_policy::{Detector, DetectorChoice, Mask, PatternMask};

fn everything() -> Masker {
    let detectors = vec![Detector::Secrets, Detector::PersonalData];
    Masker::new(&[DetectorChoice { detectors, patterns: vec![], with: Mask::default() }], &[0; 32])
}

fn binary(type_oid: u32) -> Shape {
    Shape { type_oid, format: 1, ..Shape::default() }
}

const CARD: i64 = 4_111_111_111_111_111;

/// 4111111111111111, in digits to the base 10,000.
const NUMERIC: &[u8] = b"\0\x04\0\x03\0\0\0\0\x10\x0f\x04\x57\x04\x57\x04\x57";
const ADDRESS: &[u8] = b"\x02\x20\0\x04\xcb\0\x71\x07";

fn with_length(value: &[u8]) -> Vec<u8> {
    [&u32::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
}

/// A list of one element of a type, and a row of one field.
fn list_and_row(type_oid: u32, value: &[u8]) -> [Vec<u8>; 2] {
    let word = u32::to_be_bytes;
    let list = [1, 0, type_oid, 1, 1].map(word).concat();
    let row = [1, type_oid].map(word).concat();
    [[list, with_length(value)].concat(), [row, with_length(value)].concat()]
}

/// The `DataRow` of one value, masked: what is left of the value, and how much was found.
fn masked(shape: Shape, value: &[u8], masker: &Masker) -> (Option<Vec<u8>>, u64) {
    let shapes = [shape];
    let (mut counts, mut frame, mut out) =
        (MaskCounts::default(), BytesMut::from("D\0\0\0\0"), BytesMut::new());
    frame.put_u16(1);
    frame.put_slice(&with_length(value));
    crate::mask::patch_length(0, &mut frame).unwrap();
    let mut rows = RowMasker { plan: &RowPlan::Detect, shapes: &shapes, masker, counts: &mut counts };
    rows.row(&frame, &mut out).unwrap();
    let left = Body::new(&out[7..]).value().unwrap().map(<[u8]>::to_vec);
    // Beside a column that is masked each value is looked at by itself: to the same end.
    let mut alone = MaskCounts::default();
    let mut rows = RowMasker { plan: &RowPlan::Detect, shapes: &shapes, masker, counts: &mut alone };
    assert_eq!(rows.detect(shape, value).map(std::borrow::Cow::into_owned), left);
    (left, counts.total())
}

fn is_hidden(type_oid: u32, value: &[u8]) -> bool {
    let (left, found) = masked(binary(type_oid), value, &everything());
    assert_eq!(left.is_none(), found > 0, "{type_oid}: {value:?}");
    left.is_none()
}

#[test]
fn what_numbers_and_addresses_say_in_text_is_found_in_binary() {
    let card = CARD.to_be_bytes();
    for (name, type_oid, value) in [
        ("int8", 20, card.to_vec()),
        ("a negative one", 20, (-CARD).to_be_bytes().to_vec()),
        ("float8", 701, 378_282_246_310_005_f64.to_be_bytes().to_vec()),
        ("numeric", 1700, NUMERIC.to_vec()),
        ("inet", 869, ADDRESS.to_vec()),
        ("cidr", 650, [&[2, 32, 1], &ADDRESS[3..]].concat()),
        ("int8range", 3926, [vec![0x12], with_length(&card)].concat()),
    ] {
        assert!(is_hidden(type_oid, &value), "{name}");
    }
    for (type_oid, array, value) in
        [(20, 1016, &card[..]), (1700, 1231, NUMERIC), (869, 1041, ADDRESS), (25, 1009, b"ada@example.org")]
    {
        let [list, row] = list_and_row(type_oid, value);
        assert!(is_hidden(array, &list), "list of {type_oid}");
        assert!(is_hidden(2249, &row), "row of {type_oid}");
        assert!(is_hidden(2249, &list_and_row(2249, &row)[1]), "row in a row of {type_oid}");
        assert!(is_hidden(2287, &list_and_row(2249, &row)[0]), "list of rows of {type_oid}");
    }
}

#[test]
fn a_word_does_not_begin_in_the_length_before_it() {
    let token = "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 of somebody";
    assert!(u8::try_from(token.len()).unwrap().is_ascii_digit());
    let [list, row] = list_and_row(25, token.as_bytes());
    assert!(is_hidden(1009, &list) && is_hidden(2249, &row));
    assert!(is_hidden(99_999, &[1_u32.to_be_bytes().to_vec(), with_length(token.as_bytes())].concat()));
}

#[test]
fn values_of_types_that_are_not_known_are_told_by_their_form() {
    let card = CARD.to_be_bytes();
    for value in [&card[..], NUMERIC, ADDRESS] {
        assert!(is_hidden(0, value) && is_hidden(99_999, value), "{value:?}");
        assert!(masked(Shape::default(), value, &everything()).0.is_none(), "nobody asked: {value:?}");
        for inner in list_and_row(99_998, value) {
            assert!(is_hidden(99_999, &inner) && is_hidden(0, &inner), "{value:?}");
        }
    }
    // Eight letters that are the bytes of a card number of nineteen digits, a float that may be one, a small number.
    for value in [*b"8AAAAAAA", 1.0_f64.to_be_bytes(), 42_i64.to_be_bytes()] {
        assert!(!is_hidden(0, &value), "{value:?}");
    }
}

#[test]
fn a_pattern_of_the_authors_own_finds_any_number() {
    let pattern = PatternMask { name: "staff".to_owned(), regex: "^7\\d{5}$|2026-11".to_owned() };
    let choice = DetectorChoice { detectors: vec![], patterns: vec![pattern], with: Mask::default() };
    let masker = Masker::new(&[choice], &[0; 32]);
    let date = 9_800_i32.to_be_bytes();
    for (type_oid, value) in
        [(23, 700_123_i32.to_be_bytes().to_vec()), (20, 700_123_i64.to_be_bytes().to_vec())]
    {
        assert!(masked(binary(type_oid), &value, &masker).0.is_none());
        assert!(masked(binary(0), &value, &masker).0.is_none());
    }
    assert_eq!(value::text(1082, &date).unwrap(), "2026-10-31");
    assert!(masked(binary(1082), &date, &masker).0.is_some());
    assert!(masked(binary(1082), &9_801_i32.to_be_bytes(), &masker).0.is_none());
}

#[test]
fn what_no_detector_finds_is_not_even_written() {
    let small = 42_i64.to_be_bytes();
    for (type_oid, value) in [
        (20, &small[..]),
        (23, &small[4..]),
        (701, &1.5_f64.to_be_bytes()),
        (1700, b"\0\x01\0\x01\0\0\0\0\x10\x0f"),
        (1184, &CARD.to_be_bytes()),
        (2950, &[0x41; 16]),
        (17, NUMERIC),
    ] {
        assert_eq!(text(binary(type_oid), value, false), None, "{type_oid}");
    }
}

proptest! {
    /// Whatever detectors find in the text of a value is looked for in its binary form.
    #[test]
    fn no_value_is_left_out(which in any::<prop::sample::Index>(), number: i64, shift in 0_u32..60, float: f64) {
        let mut values = value::tests::values();
        let (type_oid, value, _) = values.swap_remove(which.index(values.len()));
        let number = (number >> shift).to_be_bytes();
        for (type_oid, value) in [(type_oid, &value[..]), (20, &number), (701, &float.to_be_bytes())] {
            let written = value::text(type_oid, value).unwrap();
            let found = everything().text(written.as_bytes(), &mut MaskCounts::default()) != written.as_bytes();
            let is_text = matches!(Kind::of(type_oid), Kind::Text | Kind::Json) || type_oid == 17;
            prop_assert!(!found || is_text || text(binary(type_oid), value, false).is_some(), "{}", written);
        }
    }

    #[test]
    fn any_bytes_of_any_type_are_looked_at(type_oid in 0_u32..4_600, value in prop::collection::vec(any::<u8>(), 0..90), patterns: bool) {
        drop(text(binary(type_oid), &value, patterns));
    }
}
