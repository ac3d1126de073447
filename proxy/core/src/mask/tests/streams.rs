//! Streams: the same output however they are cut.

use super::*;
use proptest::prelude::*;

fn masked(masker: &Masker, pieces: &[&[u8]]) -> Vec<u8> {
    let mut stream = StreamMasker::new(masker.clone());
    let mut out = Vec::new();
    for piece in pieces {
        stream.push(piece, &mut out);
    }
    stream.finish(&mut out);
    out
}

fn key(lines: usize) -> String {
    let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n".repeat(lines);
    format!("-----BEGIN PRIVATE KEY-----\n{body}-----END PRIVATE KEY-----\n")
}

#[test]
fn enter_ends_a_line_that_is_typed_and_none_of_a_key_that_is_pasted() {
    let mut stream = StreamMasker::of_terminal(everything());
    let mut out = Vec::new();
    stream.push(b"ls -l", &mut out);
    assert_eq!(out, b"");
    stream.push(b"\rmail ann@example.com\x04", &mut out);
    assert_eq!(out, b"ls -l\rmail [MASKED:email]\x04");
    for ends in ["\r", "\r\n", "\n"] {
        let pasted = format!("cat >key{ends}{}exit{ends}", key(3).replace('\n', ends));
        for step in [1, 7, pasted.len()] {
            let (mut stream, mut out) = (StreamMasker::of_terminal(everything()), Vec::new());
            for piece in pasted.as_bytes().chunks(step) {
                stream.push(piece, &mut out);
            }
            stream.finish(&mut out);
            let out = String::from_utf8(out).expect("UTF-8");
            assert_eq!(out, format!("cat >key{ends}[MASKED:private-key]{ends}exit{ends}"));
        }
    }
}

/// A key of PGP as `GnuPG` exports it.
fn pgp() -> String {
    let body = "lQOYBGf3Q3sBCADQ0zY3Yl9sKq1Jx0nC4y7mVv8aZr2TtU5bWc6XeDhGfIjKkLlM\n".repeat(3);
    format!(
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: GnuPG v2.0.22 (GNU/Linux)\n\n{body}kf8=\n=ESFR\n\
         -----END PGP PRIVATE KEY BLOCK-----\n"
    )
}

/// A key of `PuTTY`.
fn putty() -> String {
    let body = "AAAAC3NzaC1lZDI1NTE5AAAAIHk4Zr2TtU5bWc6XeDhGfIjKkLlMnN0pPq1Jx0nC\n";
    format!(
        "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nComment: deploy_key (old)\nPublic-Lines: 2\n{body}4y7m\n\
         Private-Lines: 1\n{body}Private-MAC: 5e3cb8bd1d4c1c9e2bb4bd0e30ef1e24d5fbb8a1c2e9d2b30a4c0c8e7d6f5a4b\n"
    )
}

/// Each line with `before` before it.
fn prefixed(before: &str, lines: &str) -> String {
    lines.split_inclusive('\n').flat_map(|line| [before, line]).collect()
}

/// Each line with what stands before and after it.
fn around(lines: &str, before: fn(usize) -> String, after: &str) -> String {
    lines
        .lines()
        .enumerate()
        .flat_map(|(n, line)| [before(n), line.into(), after.into(), "\n".into()])
        .collect()
}

const TIME: &str = "2026-11-30T12:00:00.123Z ";

/// Lines with what is as long as a key's lines, and no key.
const LOGGED: &[&str] = &[
    "INFO trace_id=4bf92f3577b34da6a3ce929d0e0e4736 status=200\n",
    "INFO requestID=4bf92f3577b34da6a3ce929d0e0e4736\n",
    "INFO pulled sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n",
    "2026-11-30T12:00:00Z INFO container 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n",
    "ad19de0f4b1c2d3e4f5061728394a5b6c7d8e9f0 Ask a server through the gateway\n",
    "GET /api/v1/namespaces/shop/configmaps/settings\n",
    "{\"level\":\"info\",\"trace\":\"4bf92f3577b34da6a3ce929d0e0e4736\",\"status\":200}\n",
    "INFO etag Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MEFCQ0RFRkdISUpLTE1O of an object\n",
];

/// What is logged behind a mention of a key.
fn mentioned(logged: &str) -> String {
    format!("WARN want -----BEGIN RSA PRIVATE KEY-----\n{logged}")
}

fn inputs() -> Vec<String> {
    let cut = |key: String| key.split_at(key.len() - 40).0.to_owned();
    vec![
        format!("a\n{}b\n", pgp()),
        format!("a\n{}b\n", putty()),
        format!("a\n{}b\n", prefixed(TIME, &key(3))),
        format!("a\n{}b\n", prefixed("| ", &key(3))),
        format!("a\n{}b\n", prefixed(TIME, &pgp())),
        cut(prefixed(TIME, &pgp())),
        cut(prefixed("| ", &key(3))),
        cut(prefixed("\u{1b}[32m2026-11-30T12:00:00.12Z\u{1b}[0m stdout F ", &key(3))),
        cut(around(&key(3), |_| "{\"log\":\"".into(), "\\n\",\"stream\":\"stdout\"}")),
        format!("{}a@b.example\n", mentioned(&LOGGED[0].repeat(3))),
        format!("grep '-----BEGIN RSA PRIVATE KEY-----' *.pem {{\n{}ann@example.com\n", key(2)),
        "1\tann@example.com\t4111 1111 1111 1111\n2\tbob@example.org\t\\N\n".into(),
        "token=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n\nend".into(),
        format!("before\n{}after 10.1.2.3\n", key(3)),
        format!("\"{}\",x\r\n", key(2).replace('\n', "\\n")),
        "-----BEGIN PRIVATE KEY-----\nis how a key begins. So.\nAKIAIOSFODNN7EXAMPLE\n".into(),
        "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"
            .into(),
        "API_URL=h\nAPI_KEY=zaCELgL0imfnc8mVLWwsAawjYr4Rx\n".into(),
        "no end of line, DE89 3704 0044 0532 0130 00".into(),
    ]
}

#[test]
fn any_single_cut_gives_what_no_cut_gives() {
    let masker = everything();
    for input in inputs() {
        let bytes = input.as_bytes();
        let whole = masked(&masker, &[bytes]);
        assert_ne!(whole, bytes, "{input:?}");
        for at in 0..=bytes.len() {
            let (left, right) = bytes.split_at(at);
            assert_eq!(masked(&masker, &[left, right]), whole, "{input:?} cut at {at}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(masked(&masker, &single), whole, "{input:?} byte by byte");
    }
}

#[test]
fn what_the_stream_hides_is_what_the_text_hides() {
    let masker = everything();
    for input in inputs() {
        assert_eq!(
            String::from_utf8(masked(&masker, &[input.as_bytes()])).expect("UTF-8"),
            text(&masker, &input)
        );
    }
}

#[test]
fn a_key_longer_than_any_is_hidden_up_to_its_end() {
    let masker = everything();
    let input = format!("a\n{}b\n", key(1000));
    let whole = masked(&masker, &[input.as_bytes()]);
    assert_eq!(String::from_utf8_lossy(&whole), "a\n[MASKED:private-key]\nb\n");
    for size in [1, 7, 4096, 20_000] {
        let pieces: Vec<&[u8]> = input.as_bytes().chunks(size).collect();
        assert_eq!(masked(&masker, &pieces), whole, "in pieces of {size}");
    }
}

#[test]
fn a_line_longer_than_the_buffer_leaks_nothing_where_it_is_cut() {
    let masker = everything();
    let cell = "x, ann@example.com, 4111-1111-1111-1111, lorem ipsum; ";
    let input = format!("{}\nnext a@b.example\n", cell.repeat(8_000));
    let whole = masked(&masker, &[input.as_bytes()]);
    let shown = String::from_utf8(whole.clone()).expect("UTF-8");
    assert!(!shown.contains("ann@") && !shown.contains("4111"));
    assert_eq!(shown, text(&masker, &input));
    for size in [1000, 65_535, 65_536, 65_537] {
        let pieces: Vec<&[u8]> = input.as_bytes().chunks(size).collect();
        assert_eq!(masked(&masker, &pieces), whole, "in pieces of {size}");
    }
}

proptest! {
    #[test]
    fn any_cuts_give_what_no_cut_gives(
        which in 0..inputs().len(),
        cuts in proptest::collection::vec(0_usize..600, 0..8),
    ) {
        let masker = everything();
        let input = inputs().swap_remove(which);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(input.len())).collect();
        cuts.sort_unstable();
        cuts.push(input.len());
        let mut from = 0;
        let mut pieces = Vec::new();
        for cut in cuts {
            pieces.push(&input.as_bytes()[from..cut]);
            from = cut;
        }
        prop_assert_eq!(masked(&masker, &pieces), masked(&masker, &[input.as_bytes()]));
    }
}

#[test]
fn nothing_of_a_key_is_released_before_its_end() {
    let masker = everything();
    for key in [pgp(), putty(), prefixed(TIME, &key(3)), prefixed("| ", &key(3)), prefixed(TIME, &pgp())] {
        for cut in key.match_indices('\n').map(|(at, _)| at + 1) {
            let (mut stream, mut out) = (StreamMasker::new(masker.clone()), Vec::new());
            stream.push(&key.as_bytes()[..cut], &mut out);
            stream.quiet(&mut out);
            stream.push(&key.as_bytes()[cut..], &mut out);
            stream.finish(&mut out);
            let out = String::from_utf8(out).expect("UTF-8");
            assert!(
                !out.contains("MIIEvQ") && !out.contains("lQOYBG") && !out.contains("AAAAC3"),
                "{cut}: {out}"
            );
        }
    }
}

#[test]
fn a_mention_of_a_key_holds_back_only_what_comes_at_once() {
    let masker = everything();
    let (mut stream, mut out) = (StreamMasker::new(masker.clone()), Vec::new());
    let said = "$ grep -r '-----BEGIN RSA PRIVATE KEY-----' .\nno match (exit 1).\n$ ";
    stream.push(said.as_bytes(), &mut out);
    stream.quiet(&mut out);
    assert_eq!(String::from_utf8_lossy(&out), said);
    let prose = format!("{said}{}", "it goes on, line by line (and so on).\n".repeat(1_000));
    out.clear();
    stream.push(prose.as_bytes(), &mut out);
    assert!(out.len() > prose.len() - 100, "{} of {}", out.len(), prose.len());
}

#[test]
fn hashes_behind_a_mention_of_a_key_are_no_key() {
    let masker = masker(&[Detector::PrivateKey]);
    for line in LOGGED {
        for lines in [1, 2, 50, 1_000] {
            let said = mentioned(&line.repeat(lines));
            for said in [said.replace("-----\n", "----- in tls.key\n"), said] {
                assert_eq!(text(&masker, &said), said);
                let (mut stream, mut out) = (StreamMasker::new(masker.clone()), Vec::new());
                stream.push(said.as_bytes(), &mut out);
                stream.quiet(&mut out);
                assert_eq!(String::from_utf8_lossy(&out), said, "released when nothing comes");
            }
        }
    }
}

#[test]
fn a_key_without_end_is_hidden_whatever_stands_around_its_lines() {
    let masker = everything();
    let body = key(12).replace("-----END PRIVATE KEY-----\n", "");
    for input in [
        around(&body, |_| "| ".into(), " |"),
        around(&body, |_| "\t\"".into(), "\\n\" +"),
        around(&body, |_| " ".into(), "   +"),
        around(&body, |number| format!("{number}:"), ""),
        around(
            &body,
            |number| format!("2026-11-30T12:00:00.{}Z ", "123456789".get(number % 9..).unwrap_or("1")),
            "",
        ),
        around(&body, |_| "{\"log\":\"".into(), "\\n\",\"stream\":\"stdout\"}"),
        around(
            &body,
            |_| "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 stdout F ".into(),
            "",
        ),
        around(&body, |_| "\u{1b}[31m".into(), "\u{1b}[0m"),
    ] {
        let whole = text(&masker, &input);
        assert!(!whole.contains("MIIEvQ") && !whole.contains("Us8cKj"), "{input:?}: {whole:?}");
        assert_eq!(String::from_utf8(masked(&masker, &[input.as_bytes()])).expect("UTF-8"), whole);
    }
}

#[test]
fn a_key_that_begins_where_a_mention_is_given_up_is_hidden() {
    let masker = everything();
    let line = "it goes on, line by line (and so on).\n";
    for lines in 425..450 {
        let input = format!("-----BEGIN RSA PRIVATE KEY-----.\n{}{}end.\n", line.repeat(lines), key(20));
        let whole = String::from_utf8(masked(&masker, &[input.as_bytes()])).expect("UTF-8");
        assert!(
            !whole.contains("MIIEvQ") && whole.ends_with("[MASKED:private-key]\nend.\n"),
            "{lines}: {whole}"
        );
        let pieces: Vec<&[u8]> = input.as_bytes().chunks(100).collect();
        assert_eq!(String::from_utf8(masked(&masker, &pieces)).expect("UTF-8"), whole);
        assert_eq!(text(&masker, &input), whole);
    }
}

#[test]
fn a_key_behind_a_long_line_is_hidden() {
    let masker = everything();
    let input = format!(
        "{}-----BEGIN RSA PRIVATE KEY-----\n{}",
        "word ".repeat(12_000),
        key(100).trim_start_matches("-----BEGIN PRIVATE KEY-----\n")
    );
    for size in [1000, 65_536, input.len()] {
        let pieces: Vec<&[u8]> = input.as_bytes().chunks(size).collect();
        assert!(
            !String::from_utf8_lossy(&masked(&masker, &pieces)).contains("MIIEvQ"),
            "in pieces of {size}"
        );
    }
}
