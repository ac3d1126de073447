//! The look at a whole frame never misses what a look at each value finds.

use super::found::FOUND;
use super::*;
use proptest::prelude::*;

/// Values with their lengths before them, `None` as length -1.
fn frame(values: &[Option<Vec<u8>>]) -> Vec<u8> {
    let mut out = Vec::new();
    for value in values {
        match value {
            Some(value) => {
                out.extend_from_slice(&i32::try_from(value.len()).expect("short").to_be_bytes());
                out.extend_from_slice(value);
            }
            None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_frame_with_a_finding_may_match(
        which in 0..FOUND.len(),
        // values of any length, so that lengths end with digits and letters
        padding in "[a-z ,]{0,120}",
        tail in "[a-z ,]{0,120}",
        before in proptest::option::of("[ -~]{0,130}"),
        after in proptest::option::of("[ -~]{0,130}"),
        bare in any::<bool>(),
    ) {
        let masker = everything();
        let (_, example, secret) = FOUND[which];
        let value = if bare { format!("{secret} {tail}") } else { format!("{padding} {example} {tail}") };
        let found = matches!(masker.text(value.as_bytes(), &mut MaskCounts::default()), Cow::Owned(_));
        let frame = frame(&[before.map(String::into_bytes), Some(value.into_bytes()), after.map(String::into_bytes)]);
        prop_assert!(!found || masker.row_may_match(&frame));
    }
}

#[test]
fn a_clean_frame_is_forwarded() {
    let row = frame(&[
        Some(b"42".to_vec()),
        Some(b"550e8400-e29b-41d4-a716-446655440000".to_vec()),
        None,
        Some(b"2026-11-23 23:20:10.123456+00".to_vec()),
        Some(b"delivered to the front desk".to_vec()),
    ]);
    assert!(!everything().row_may_match(&row));
}
