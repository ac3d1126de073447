//! What each detector finds, and what it leaves alone.

use super::*;

/// Detector, text, and what of it must be hidden.
pub(super) const FOUND: &[(Detector, &str, &str)] = &[
    (Detector::AwsAccessKey, "id AKIAIOSFODNN7EXAMPLE.", "AKIAIOSFODNN7EXAMPLE"),
    (Detector::AwsAccessKey, "ASIAQ3EGRZ7DKXWJ2M5P", "ASIAQ3EGRZ7DKXWJ2M5P"),
    (
        Detector::AwsAccessKey,
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzzzzzzz",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzzzzzzz",
    ),
    (
        Detector::Jwt,
        "t=eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U&x",
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    ),
    (Detector::UrlPassword, "postgres://app:s3cr3t!@db:5432/shop", "s3cr3t!"),
    (Detector::UrlPassword, "amqp://:pw@mq/", "pw"),
    (Detector::UrlPassword, "postgresql://db/shop?user=app&password=hunter2", "hunter2"),
    (Detector::UrlPassword, "host=db user=app password=hunter2 dbname=shop", "hunter2"),
    (Detector::UrlPassword, "Server=db;User Id=app;Password=hunter2;", "hunter2"),
    (Detector::GenericSecret, "{\"user\": \"app\", \"password\": \"Tr0ub4dor&3\"}", "Tr0ub4dor&3"),
    (Detector::GenericSecret, "api_key=zaCELgL0imfnc8mVLWwsAawjYr4Rx", "zaCELgL0imfnc8mVLWwsAawjYr4Rx"),
    (Detector::GenericSecret, "Authorization: Bearer abc123DEF456ghi", "abc123DEF456ghi"),
    (Detector::GenericSecret, "Cookie: sid=s3ss10nAbCdEf; theme=dark", "sid=s3ss10nAbCdEf; theme=dark"),
    (
        Detector::GenericSecret,
        "set-cookie: sid=s3ss10nAbCdEf; Path=/; HttpOnly",
        "sid=s3ss10nAbCdEf; Path=/; HttpOnly",
    ),
    (Detector::GenericSecret, "machine h.example login app password hunter2x", "hunter2x"),
    (Detector::GenericSecret, "machine h.example\n  login app\n  password hunter2x\n", "hunter2x"),
    (Detector::GenericSecret, "  password hunter2x", "hunter2x"),
    (Detector::GenericSecret, "db.example:5432:shop:app:hunter2x", "hunter2x"),
    (Detector::GenericSecret, "*:*:*:app:hunter2x\n", "hunter2x"),
    (Detector::GenericSecret, "sshpass -p hunter2 ssh app@host1", "hunter2"),
    (Detector::GenericSecret, "sshpass -v -p 'hunter 2' ssh host1", "'hunter 2'"),
    (
        Detector::Secrets,
        "sk-ant-oat01-q8Wz3LkV5nRt7YpXc2Bm9JdHs4Gf6Ta1Qe0Uy-Io_PaSdFgHjKlZxCvBnM ",
        "sk-ant-oat01-q8Wz3LkV5nRt7YpXc2Bm9JdHs4Gf6Ta1Qe0Uy-Io_PaSdFgHjKlZxCvBnM",
    ),
    (
        Detector::Secrets,
        "is sk-ant-ort01-q8Wz3LkV5nRt7YpXc2Bm9JdHs4Gf6Ta1Qe0Uy-Io_PaSdFgHjKlZxCvBnM",
        "sk-ant-ort01-q8Wz3LkV5nRt7YpXc2Bm9JdHs4Gf6Ta1Qe0Uy-Io_PaSdFgHjKlZxCvBnM",
    ),
    (
        Detector::Secrets,
        "is sk-ant-sid01-q8Wz3LkV5nRt7YpXc2Bm9JdHs4Gf6Ta1Qe0Uy-Io_PaSdFgHjKlZxCvBnM",
        "sk-ant-sid01-q8Wz3LkV5nRt7YpXc2Bm9JdHs4Gf6Ta1Qe0Uy-Io_PaSdFgHjKlZxCvBnM",
    ),
    (
        Detector::Secrets,
        "is ya29.a0AfH6SMBq8Wz3LkV5nRt7YpXc2Bm9JdHs4Gf6 so",
        "ya29.a0AfH6SMBq8Wz3LkV5nRt7YpXc2Bm9JdHs4Gf6",
    ),
    (Detector::Secrets, "is 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", "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"),
    (
        Detector::Secrets,
        "is 1//0gq8Wz3LkV5nRt7YpXc2Bm9JdHs4Gf6Ta1Qe0Uy",
        "1//0gq8Wz3LkV5nRt7YpXc2Bm9JdHs4Gf6Ta1Qe0Uy",
    ),
    (
        Detector::Secrets,
        "is 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",
        "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",
    ),
    (
        Detector::Secrets,
        "is 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",
        "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",
    ),
    (
        Detector::Secrets,
        "is xai-q8Wz3LkV5nRt7YpXc2Bm9JdHs4Gf6Ta1Qe0UyIoPaSdFgHjKlZxCvBnMq8Wz3LkV5nRt7YpXc2Bm9JdHs",
        "xai-q8Wz3LkV5nRt7YpXc2Bm9JdHs4Gf6Ta1Qe0UyIoPaSdFgHjKlZxCvBnMq8Wz3LkV5nRt7YpXc2Bm9JdHs",
    ),
    (
        Detector::Secrets,
        "is whsec_q8Wz3LkV5nRt7YpXc2Bm9JdHs4Gf6Ta1",
        "whsec_q8Wz3LkV5nRt7YpXc2Bm9JdHs4Gf6Ta1",
    ),
    (Detector::Secrets, "is hvs.q8Wz3LkV5nRt7YpXc2Bm9JdH", "hvs.q8Wz3LkV5nRt7YpXc2Bm9JdH"),
    (Detector::Secrets, "is hf_q8Wz3LkV5nRt7YpXc2Bm9JdHs4Gf6Ta1Qe", "hf_q8Wz3LkV5nRt7YpXc2Bm9JdHs4Gf6Ta1Qe"),
    (
        Detector::Secrets,
        "is 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",
        "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",
    ),
    (
        Detector::Secrets,
        "https://a.example/c?sv=2024-11-04&sig=q8Wz3LkV5nRt7YpXc2Bm9JdHs4Gf6Ta1Qe0UyIoPaSd%3D&se=1",
        "q8Wz3LkV5nRt7YpXc2Bm9JdHs4Gf6Ta1Qe0UyIoPaSd%3D",
    ),
    (
        Detector::Secrets,
        "Endpoint=sb://n.example/;SharedAccessKeyName=all;SharedAccessKey=q8Wz3LkV5nRt7YpXc2Bm9JdHs4Gf6Ta1Qe0UyIoPaSd=",
        "q8Wz3LkV5nRt7YpXc2Bm9JdHs4Gf6Ta1Qe0UyIoPaSd=",
    ),
    (Detector::CreditCard, "4111 1111 1111 1111 12/29", "4111 1111 1111 1111"),
    (Detector::CreditCard, "4111-1111-1111-1111", "4111-1111-1111-1111"),
    (Detector::CreditCard, "x\t378282246310005\ty", "378282246310005"),
    (Detector::CreditCard, "amex 3782 822463 10005,", "3782 822463 10005"),
    (Detector::CreditCard, "{7,4111111111111111}", "4111111111111111"),
    (Detector::CreditCard, "10,4111111111111111,12/29", "4111111111111111"),
    (Detector::CreditCard, "30569309025904", "30569309025904"),
    (Detector::CreditCard, "6011111111111117", "6011111111111117"),
    (Detector::Iban, "to GB82WEST12345698765432.", "GB82WEST12345698765432"),
    (Detector::Iban, "DE89 3704 0044 0532 0130 00", "DE89 3704 0044 0532 0130 00"),
    (Detector::Email, "mail <ann.o'hara+x@mail.example.co.uk>.", "ann.o'hara+x@mail.example.co.uk"),
    (Detector::Email, "jürgen@münchen.de", "jürgen@münchen.de"),
    (Detector::Phone, "+49 30 901820", "+49 30 901820"),
    (Detector::Phone, "call (415) 555-2671 now", "(415) 555-2671"),
    (Detector::Phone, "415-555-2671", "415-555-2671"),
    (Detector::Phone, "phone: 4155552671", "4155552671"),
    (Detector::IpAddress, "from 10.1.2.3:5432", "10.1.2.3"),
    (Detector::IpAddress, "at 2001:db8::8a2e:370:7334.", "2001:db8::8a2e:370:7334"),
    (Detector::UsSsn, "is 078-05-1120", "078-05-1120"),
    (Detector::UsSsn, "SSN: 078051120", "078051120"),
];

#[test]
fn each_detector_hides_its_examples_whole_and_nothing_else() {
    for (detector, input, secret) in FOUND {
        let masker = masker(&[*detector]);
        let mut counts = MaskCounts::default();
        let out = String::from_utf8(masker.text(input.as_bytes(), &mut counts).into_owned()).expect("UTF-8");
        let (before, after) = input.split_once(secret).expect("the example holds the secret");
        assert!(out.starts_with(before) && out.ends_with(after), "{input:?} became {out:?}");
        assert_eq!(counts.total(), 1, "{input:?}: {counts:?}");
        assert!(!out.contains(secret), "{out:?}");
        assert!(masker.row_may_match(input.as_bytes()), "{input:?}");
        assert_eq!(text(&masker, &out), out, "masking twice is masking once");
    }
}

/// What looks like a finding and is not.
const CLEAN: &[&str] = &[
    "",
    "2026-11-23 23:20:10.123456+00",
    "1763940010123",
    "1763940010123456",
    "1763940010123456789",
    "550e8400-e29b-41d4-a716-446655440000",
    "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
    "57e9896d2f1f3c0b7a9d4e8c5b6a7f8091a2b3c4",
    "d41d8cd98f00b204e9800998ecf8427e",
    "1\t1\t0\t",
    "4\t83726\t-4821\t2026-11-23 23:20:10.554\t",
    "COPY public.pgbench_accounts (aid, bid, abalance, filler) FROM stdin;",
    "-- Dumped by pg_dump version 18.1 (Debian 18.1-1.pgdg13+1)",
    "SELECT pg_catalog.set_config('search_path', '', false);",
    "x::text, 'a'::character varying, abc::de",
    "0.4111111111111111",
    "0,4111111111111111",
    "4111111111111112",
    "GB82WEST12345698765433",
    "000-12-3456",
    "999-12-3456",
    "user@localhost",
    "@Override",
    "version 1.2.3.4.5",
    "12:34:56",
    "primary key (id), foreign key (account_id) references accounts",
    "password = ${DB_PASSWORD}",
    "api_key = $API_KEY",
    "postgres://db:5432/shop",
    "https://example.com/a:b",
    "{\"orderId\": 4829304756, \"total\": 129.99}",
    "\"Passwords\": {\"$comment\": \"List of passwords.\", \"insertionOrder\": true}",
    "host key SHA256:AbCd1efGh2ijKl3mnOp4qrSt5uvWx6yzAbCd7efGh8i",
    "{\"key\": \"sha256:57e9896d2f1f3c0b7a9d4e8c5b6a7f8091a2b3c457e9896d2f1f3c0b7a9d4e8c\"}",
    "\"ansible_ssh_host_key_ed25519_public\": \"AAAAC3NzaC1lZDI1NTE5AAAAIKYYi9q7sxdxc31nXPiI4zKVHlUjS3lxAzIRSU/T1crC\",",
    "\"ansible_ssh_host_key_ecdsa_public\": \"AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBI3499wQ8h4WCB7v4r6x00B1/2kAlQVzJnx4oyjxVoVn8Jti9+Luj60+Y8riywX6hhQ3C3gd9YZkKhAN/ucNyOU=\"",
];

#[test]
fn what_is_named_before_a_secret_does_not_keep_it_from_being_found() {
    let masker = masker(&[Detector::Secrets]);
    for (before, secret) in [
        ("{\"author\":\"jane\",\"password\":\"", "Tr0ub4dor&3x9"),
        ("{\"token_url\":\"https://idp/x\",\"client_secret\":\"", "zaCELgL0imfnc8mVLWwsAawjYr4Rx"),
        ("{\"api_version\":\"v2\",\"api_key\":\"", "zaCELgL0imfnc8mVLWwsAawjYr4Rx"),
        ("{\"key_id\":\"k1\",\"secret\":\"", "zaCELgL0imfnc8mVLWwsAawjYr4Rx"),
        ("API_URL=https://h API_KEY=", "zaCELgL0imfnc8mVLWwsAawjYr4Rx"),
        ("API_URL=h\nAPI_KEY=", "zaCELgL0imfnc8mVLWwsAawjYr4Rx"),
        ("author=bob token=", "zaCELgL0imfnc8mVLWwsAawjYr4Rx"),
        ("public_key=abc private_token=", "zaCELgL0imfnc8mVLWwsAawjYr4Rx"),
        ("username: rapid, api_token: ", "zaCELgL0imfnc8mVLWwsAawjYr4Rx"),
    ] {
        let out = text(&masker, &format!("{before}{secret}\" end"));
        assert!(out.starts_with(before.trim_end_matches('"')) && out.ends_with("]\" end"), "{out}");
        assert!(out.contains("[MASKED:") && !out.contains(secret), "{out}");
    }
    for name in ["public_key", "my.foreign_key", "api-version", "token_url"] {
        let harmless = format!("{name}=zaCELgL0imfnc8mVLWwsAawjYr4Rx");
        assert_eq!(text(&masker, &harmless), harmless);
    }
}

#[test]
fn a_digest_in_the_name_of_a_secret_is_one() {
    let hidden = text(
        &masker(&[Detector::Secrets]),
        "password_sha256:57e9896d2f1f3c0b7a9d4e8c5b6a7f8091a2b3c457e9896d2f1f3c0b7a9d4e8c",
    );
    assert_eq!(hidden, "password_sha256:[MASKED:generic-secret]");
}

#[test]
fn in_a_text_of_pieces_a_value_ends_where_its_pieces_do() {
    let masker = masker(&[Detector::Secrets]);
    let found = |text: &str, end: usize| {
        let found = masker.found_in_pieces(text.as_bytes(), true, &|range| range.end.min(end));
        found.into_iter().map(|found| (found.name, found.range)).collect::<Vec<_>>()
    };
    let generic = |end| vec![("generic-secret".to_owned(), 4..end)];
    let value = "key=zaCELgL0imfnc8mVLWws0644path";
    assert_eq!(found(value, 99), generic(value.len()));
    assert_eq!(found(value, 24), generic(24), "its end is none of it");
    assert_eq!(found(value, 9), [], "too little for a value");
    assert_eq!(found("key=1mode0644path", 5), []);
    let long = format!("key={}", "q8Wz3LkV5nRt7YpXc2Bm9".repeat(20));
    assert_eq!(found(&long, 300), generic(300));
    assert_eq!(found(&long, 120), generic(120));
    // no name tells a token
    let token = ("aws-access-key".to_owned(), 5..25);
    assert_eq!(found("key=1AKIAQ3EGRJ5NLXVW7TZB", 5), [token]);
}

#[test]
fn a_long_value_of_a_secret_name_is_hidden_whole() {
    let masker = masker(&[Detector::GenericSecret]);
    let piece = "q8Wz3LkV5nRt7YpXc2Bm9+JdHs4Gf6Ta1/Qe0UyIo";
    for (before, after) in [
        ("AWS_SESSION_TOKEN=", ""),
        ("aws_session_token = ", "\n[next]"),
        ("{\"SessionToken\": \"", "\", \"Expiration\": \"2026\"}"),
        ("access_token=ya29.a0", "&x=y"),
        ("refresh_token: '", "'"),
    ] {
        for times in [3, 4, 7, 20, 90] {
            let out = text(&masker, &format!("{before}{}{after}", piece.repeat(times)));
            assert!(
                !out.contains("YpXc2B") && out.contains("[MASKED:") && out.ends_with(after),
                "{before}: {out}"
            );
        }
    }
    let data = format!("key: {}", piece.repeat(200));
    assert_eq!(text(&masker, &data), data, "what is longer than any secret is data");
    let path = format!("token_dir = {}", "/srv/data9/some_directory".repeat(8));
    assert_eq!(text(&masker, &path), path);
    let live = format!("is sk_live_{}", "q8Wz3LkV5nRt7YpXc2Bm9JdHs4".repeat(5));
    assert_eq!(text(&self::masker(&[Detector::Secrets]), &live), "is [MASKED:stripe-access-token]");
}

#[test]
fn password_hashes_are_secrets() {
    let masker = masker(&[Detector::Secrets]);
    for hash in [
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        "md5a6343a68d964ca596d9752250d54bb8a",
        "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
        "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21l$iWh06vD8Fy27wf9npn6FXWiCX4K6pW6Ue1Bnzz07Z8A",
        "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/",
    ] {
        assert_eq!(text(&masker, &format!("app\t{hash}\t1")), "app\t[MASKED:password-hash]\t1");
    }
}

#[test]
fn a_token_is_found_far_behind_the_word_that_it_goes_with() {
    let masker = masker(&[Detector::Secrets]);
    let token = format!("{}|{}", "102938475610293", "q8Wz3LkV5nRt7YpXc2Bm9JdHs4G");
    for between in [1, 600, 5_000, 15_000] {
        let said = text(&masker, &format!("facebook{}{token} end", " ".repeat(between)));
        assert!(!said.contains("q8Wz3LkV") && said.ends_with(" end"), "{between}: {said}");
    }
}

#[test]
fn a_key_wrapped_in_base64_is_hidden_whole() {
    use base64::Engine as _;
    let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n".repeat(3);
    let key = format!("-----BEGIN PRIVATE KEY-----\n{body}-----END PRIVATE KEY-----\n");
    let wrapped = base64::engine::general_purpose::STANDARD.encode(key);
    assert_eq!(
        text(&masker(&[Detector::PrivateKey]), &format!("tls.key: {wrapped}")),
        "tls.key: [MASKED:private-key]"
    );
}

#[test]
fn an_encrypted_token_is_hidden_however_long_its_header_is() {
    use base64::Engine as _;
    let masker = masker(&[Detector::Jwt]);
    let start = r#"{"alg":"dir","enc":"A128CBC-HS256","kid":""#;
    for length in 60..=90 {
        let json = format!("{start}{}\"}}", "5".repeat(length - start.len() - 2));
        assert_eq!(json.len(), length);
        let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json);
        let token = format!(
            "{header}..48V1_ALb6US04U3b.5eym8TW_c8SuK0ltJ3rpYIzOeDQz7TALvtu6UG9oMo4vpzs9tX.XFBoMYUZodetZdvT"
        );
        let parted =
            token.replacen("..", ".UGhIOguC7IuEvf_NPVaXsGMoLOmwvc1GyqlIKOK1nN94nHPoltGRhWhw7Zx0.", 1);
        for token in [token, parted] {
            let said = text(&masker, &format!("token {token} end"));
            assert!(!said.contains("5eym8TW_c8"), "{length}: {said}");
        }
    }
}

#[test]
fn findings_that_share_bytes_are_hidden_as_one_in_the_strictest_way() {
    let patterns = vec![PatternMask { name: "name".into(), regex: "[a-z]+@".into() }];
    let email = choice(&[Detector::Email], Mask { type_: MaskType::Partial, keep_last: Some(4) });
    let name = DetectorChoice { detectors: vec![], patterns, with: mask(MaskType::Redact) };
    let masker = Masker::new(&[email, name], KEY);
    assert_eq!(text(&masker, "to ann@example.com."), "to [MASKED:email].");
}

#[test]
fn what_only_looks_like_a_finding_is_left_alone() {
    let masker = everything();
    for input in CLEAN {
        assert_eq!(text(&masker, input), *input);
    }
}

#[test]
fn a_private_key_is_hidden_with_all_its_lines() {
    let masker = masker(&[Detector::PrivateKey]);
    let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n".repeat(3);
    let key = format!("-----BEGIN PRIVATE KEY-----\n{body}-----END PRIVATE KEY-----");
    assert_eq!(text(&masker, &format!("a\n{key}\nb")), "a\n[MASKED:private-key]\nb");
    let cut = format!("-----BEGIN RSA PRIVATE KEY-----\n{body}");
    assert_eq!(text(&masker, &cut), "[MASKED:private-key]", "without its end too");
    let escaped = key.replace('\n', "\\n");
    assert_eq!(text(&masker, &format!("\"{escaped}\"")), "\"[MASKED:private-key]\"");
    let mention = "starts with -----BEGIN PRIVATE KEY----- and so on";
    assert_eq!(text(&masker, mention), mention);
}

#[test]
fn a_pattern_of_the_author_hides_its_secret_group_only() {
    let patterns = vec![
        PatternMask { name: "employee".into(), regex: r"\bE-(?<secret>\d{6})\b".into() },
        PatternMask { name: "project x".into(), regex: "(?i)bluebird".into() },
    ];
    let masker =
        Masker::new(&[DetectorChoice { detectors: vec![], patterns, with: mask(MaskType::Redact) }], KEY);
    assert_eq!(text(&masker, "E-123456 on BlueBird"), "E-[MASKED:employee] on [MASKED:project-x]");
    let broken = vec![PatternMask { name: "bad".into(), regex: "(".into() }];
    let masker = Masker::new(
        &[DetectorChoice { detectors: vec![], patterns: broken, with: mask(MaskType::Redact) }],
        KEY,
    );
    assert_eq!(text(&masker, "anything"), "[MASKED:bad]", "what cannot be looked for hides everything");
}
