//! What stands where a value stood.

use super::*;

fn value(masker: &Masker, mask: &Mask, input: &[u8]) -> Option<String> {
    masker
        .value(mask, "email", input, &mut MaskCounts::default())
        .map(|out| String::from_utf8(out).expect("UTF-8"))
}

#[test]
fn partial_keeps_the_last_characters_only_of_what_is_long_enough() {
    let masker = masker(&[]);
    let keep = |n| Mask { type_: MaskType::Partial, keep_last: Some(n) };
    assert_eq!(value(&masker, &keep(4), b"1234567890").as_deref(), Some("******7890"));
    assert_eq!(value(&masker, &keep(4), b"123456789").as_deref(), Some("[MASKED:email]"));
    assert_eq!(value(&masker, &keep(2), "äöüäöüäé".as_bytes()).as_deref(), Some("******äé"));
    assert_eq!(value(&masker, &keep(2), b"\xff\xfe0123456789").as_deref(), Some("[MASKED:email]"));
}

#[test]
fn tokens_are_equal_for_equal_values_of_one_tenant_only() {
    let token = mask(MaskType::Token);
    let (one, other) = (masker(&[]), Masker::new(&[], &[7; 32]));
    let first = value(&one, &token, b"Ann@example.com").expect("a token");
    assert!(first.starts_with("tok_email_") && first.len() == "tok_email_".len() + 16, "{first}");
    assert_eq!(value(&one, &token, b" ann@example.com").as_ref(), Some(&first));
    assert_ne!(value(&one, &token, b"bob@example.com").as_ref(), Some(&first));
    assert_ne!(value(&other, &token, b"Ann@example.com").as_ref(), Some(&first));
}

#[test]
fn hashes_show_change_in_one_log_and_nothing_across_logs() {
    let hash = mask(MaskType::Hash);
    let (one, other) = (masker(&[]).for_log(b"a"), masker(&[]).for_log(b"b"));
    let first = value(&one, &hash, b"x").expect("a hash");
    assert!(first.starts_with("hash_") && first.len() == 21, "{first}");
    assert_eq!(value(&one, &hash, b"x").as_ref(), Some(&first));
    assert_ne!(value(&other, &hash, b"x").as_ref(), Some(&first));
}

#[test]
fn null_is_null_for_a_value_and_redaction_inside_a_text() {
    assert_eq!(value(&masker(&[]), &mask(MaskType::Null), b"x"), None);
    let masker = Masker::new(&[choice(&[Detector::Email], mask(MaskType::Null))], KEY);
    assert_eq!(text(&masker, "to a@b.example"), "to [MASKED:email]");
}

#[test]
fn what_any_kind_of_mask_leaves_is_never_masked_again() {
    for type_ in [MaskType::Redact, MaskType::Partial, MaskType::Null, MaskType::Hash, MaskType::Token] {
        let masker = Masker::new(&[choice(&[Detector::Secrets, Detector::PersonalData], mask(type_))], KEY);
        for (_, example, _) in found::FOUND {
            for input in [
                (*example).to_owned(),
                format!("secret={example}"),
                format!("token: \"{example}\" = x1y2z3a4b5c6d7"),
            ] {
                let once = text(&masker, &input);
                assert_eq!(text(&masker, &once), once, "{type_:?} of {input:?}");
            }
        }
    }
}

#[test]
fn what_calls_itself_a_mask_hides_no_secret() {
    let secret = "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";
    let patterns = vec![PatternMask { name: "order 9".into(), regex: r"\border-9\b".into() }];
    let all = choice(&[Detector::Secrets, Detector::PersonalData], mask(MaskType::Redact));
    let own = DetectorChoice { detectors: vec![], patterns, with: mask(MaskType::Redact) };
    let masker = Masker::new(&[all, own], KEY);
    for dressed in [
        format!("[MASKED:{secret}]"),
        format!("tok_{secret}_ABCDEFGHIJKLMNOP"),
        "password=[MASKED:hunter2] user=app".to_owned(),
        "postgres://app:[MASKED:hunter2]@db/shop".to_owned(),
        "postgres://app:tok_hunter2_ABCDEFGHIJKLMNOP@db/shop".to_owned(),
        "[MASKED:10.1.2.3]".to_owned(),
    ] {
        let out = text(&masker, &dressed);
        assert!(["ghp_", "hunter2", "10.1.2.3"].iter().all(|clear| !out.contains(clear)), "{out}");
        assert_eq!(text(&masker, &out), out);
    }
    for left in [
        "postgres://app:[MASKED:url-password]@db/shop",
        "postgres://app:[MASKED:order-9]@db/shop",
        "postgres://app:tok_url-password_ABCDEFGHIJKLMNOP@db/shop",
    ] {
        assert_eq!(text(&masker, left), left);
    }
}
