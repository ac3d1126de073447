//! Looking at a line as a whole hides what looking at each field hides.

use super::super::CopyFormat;
use super::Plain;
use crate::mask::{ColumnMask, RowMasker, RowPlan};
use bytes::{BufMut as _, BytesMut};
use proptest::prelude::*;
use proxy_core::mask::{MaskCounts, Masker};
use proxy_policy::{Detector, DetectorChoice, Mask, MaskType, PatternMask};

fn masker() -> Masker {
    let with = Mask { type_: MaskType::Redact, keep_last: None };
    let pattern = PatternMask { name: "ticket".to_owned(), regex: "Q[0-9]".to_owned() };
    let detectors = vec![Detector::Secrets, Detector::PersonalData];
    Masker::new(&[DetectorChoice { detectors, patterns: vec![pattern], with }], &[7; 32])
}

/// Values in which something is found.
const FOUND: [&str; 9] = [
    "AKIAZ7QRN2VJXK4T5M6P",
    "jane.roe@example.org",
    "4111 1111 1111 1111",
    "+49 30 901820",
    "ssn 536-22-1234",
    "10.20.30.40",
    "password=Tr0ub4dor&3xyz",
    "Q7",
    "-----BEGIN PRIVATE KEY-----",
];

/// Every kind of mask.
const KINDS: [MaskType; 5] =
    [MaskType::Null, MaskType::Redact, MaskType::Partial, MaskType::Hash, MaskType::Token];

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z0-9 ,.:@-]{0,12}",
        2 => proptest::sample::select(&FOUND[..]).prop_map(str::to_owned),
        1 => "[ -~]{0,24}",
        1 => Just("\\N".to_owned()),
        1 => Just("a\\\\Nb".to_owned()),
        1 => Just("t\\\tab".to_owned()),
    ]
}

fn mask() -> impl Strategy<Value = Option<ColumnMask>> {
    proptest::option::of(proptest::sample::select(&KINDS[..])).prop_map(|kind| {
        let mask = Mask { type_: kind?, keep_last: Some(2) };
        Some(ColumnMask { mask, name: "column public.t.c".to_owned(), hides_null: false })
    })
}

/// What a line becomes, and what is counted.
fn copied(frame: &[u8], plan: &RowPlan, by_field: bool) -> (Option<BytesMut>, MaskCounts) {
    let mut format = CopyFormat::of("copy t to stdout", 0).unwrap();
    let (masker, mut counts, mut out) = (masker(), MaskCounts::default(), BytesMut::new());
    let mut rows = RowMasker { plan, shapes: &[], masker: &masker, counts: &mut counts };
    let done = if by_field {
        rows.copied_by_field(crate::frame::body(frame), &mut format, &mut out)
    } else {
        rows.copied(frame, &mut format, &mut out)
    };
    (done.is_ok().then_some(out), counts)
}

fn frame(fields: &[String]) -> BytesMut {
    let line = format!("{}\n", fields.join("\t"));
    let mut frame = BytesMut::new();
    frame.put_u8(b'd');
    frame.put_u32(u32::try_from(line.len() + 4).unwrap());
    frame.put_slice(line.as_bytes());
    frame
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn a_line_looked_at_as_a_whole_hides_what_each_field_hides(
        fields in prop::collection::vec(value(), 1..7),
        masks in prop::collection::vec(mask(), 6),
        columns in 1..7_usize,
        any_columns in prop::bool::weighted(0.8),
        misaligned in prop::bool::weighted(0.1),
    ) {
        let count = if misaligned { columns } else { fields.len() };
        let masks = masks.into_iter().take(count).collect();
        let plan = if any_columns { RowPlan::Columns(masks) } else { RowPlan::Detect };
        let frame = frame(&fields);
        prop_assert_eq!(copied(&frame, &plan, false), copied(&frame, &plan, true));
    }
}

#[test]
fn lines_with_nulls_are_plain_and_lines_with_other_backslashes_are_not() {
    let Some(CopyFormat::Text(dialect)) = CopyFormat::of("copy t to stdout", 0) else { panic!("text") };
    for plain in ["1\ta\n", "\\N\ta\n", "a\t\\N\n", "\\N\n", "\n", "\\N\t\\N\t\\N\n"] {
        assert!(Plain::of(plain.as_bytes(), &dialect).is_some(), "{plain:?}");
    }
    for other in ["1\ta", "a\\\\N\n", "a\\N\n", "\\Na\n", "a\\\tb\n", "\\\\\n", "\\"] {
        assert!(Plain::of(other.as_bytes(), &dialect).is_none(), "{other:?}");
    }
}

#[test]
fn only_clean_lines_are_taken_as_a_whole() {
    let masker = masker();
    let mask = Mask { type_: MaskType::Redact, keep_last: None };
    let plan = RowPlan::Columns(vec![
        None,
        Some(ColumnMask { mask, name: "c".to_owned(), hides_null: false }),
        None,
    ]);
    let mut counts = MaskCounts::default();
    let rows = RowMasker { plan: &plan, shapes: &[], masker: &masker, counts: &mut counts };
    let Some(CopyFormat::Text(dialect)) = CopyFormat::of("copy t to stdout", 0) else { panic!("text") };
    let clean = |line: &str| rows.is_clean(Plain::of(line.as_bytes(), &dialect).unwrap());
    assert!(clean("1\tjane.roe@example.org\tnote\n"));
    assert!(!clean("1\tname\tjane.roe@example.org\n"));
    assert!(!clean("Q1\tname\tnote\n"));
    assert!(!clean("1\tname\n"));
}
