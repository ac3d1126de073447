//! Cuts, pauses and boundaries.

#![expect(clippy::format_collect, clippy::string_slice, reason = "test data, which is ASCII")]

use super::*;
use proptest::prelude::*;
use proxy_policy::{Detector, DetectorChoice, Mask, MaskType};
use rand::{SeedableRng as _, rngs::StdRng};
use std::fmt::Write as _;

/// Shaped like a key of AWS.
const CANARY: &str = "AKIAQ3EGRJ5NLXVW7TZB";

fn masker() -> Masker {
    let with = Mask { type_: MaskType::Redact, keep_last: None };
    Masker::new(
        &[DetectorChoice { detectors: vec![Detector::Secrets], patterns: Vec::new(), with }],
        &[7; 32],
    )
}

/// What comes out of `bytes` in pieces of `step`, with a pause after every `pause`-th piece.
fn masked(bytes: &[u8], step: usize, pause: usize) -> String {
    let (mut masker, mut out) = (OutputMasker::new(masker()), Vec::new());
    for (at, piece) in bytes.chunks(step).enumerate() {
        masker.push(piece, &mut out);
        if pause > 0 && at % pause == pause - 1 {
            masker.quiet(&mut out);
        }
    }
    masker.finish(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Binary output stops in the middle of nothing: the other side waits for all of it.
#[test]
fn whatever_bytes_a_program_stops_with_they_come_out_after_some_pauses() {
    for tail in [&[0xc4, 0xe1][..], &[0xe1, 0xe1, 0xe1, 0xe1], b"\x1b[\x1b[", b"\x1b]\xf0\xf0", &[0xff; 300]]
    {
        let (mut masker, mut out) = (OutputMasker::new(masker()), Vec::new());
        masker.push(tail, &mut out);
        let mut pauses = 0;
        while masker.holds() && pauses < 100 {
            masker.quiet(&mut out);
            pauses += 1;
        }
        assert!(out == tail && pauses <= 2 * usize::from(PAUSES) + 2, "{tail:?} after {pauses}: {out:?}");
    }
}

#[test]
fn however_output_is_cut_the_same_comes_out() {
    let colour: String = CANARY.chars().map(|c| format!("\x1b[31m{c}\x1b[0m")).collect();
    let text = format!("one {CANARY} two\r\nthree {colour} four\r\nfünf\r\n");
    let whole = masked(text.as_bytes(), text.len(), 0);
    assert!(whole.starts_with("one [MASKED:"), "{whole}");
    assert!(whole.ends_with("four\r\nfünf\r\n"), "{whole:?}");
    assert!(!whole.contains(CANARY) && !whole.contains("\x1b[31mK"), "{whole:?}");
    for step in 1..text.len() {
        assert_eq!(masked(text.as_bytes(), step, 0), whole, "in pieces of {step}");
    }
}

#[test]
fn a_prompt_comes_after_a_pause_and_nothing_of_it_is_held() {
    for prompt in [
        "deploy@web1:~$ ",
        "Password: ",
        "[y/N]? ",
        "\x1b[1;32mdeploy@web1\x1b[0m:\x1b[34m~\x1b[0m$ ",
        "sftp> ",
        "…",
    ] {
        let (mut masker, mut out) = (OutputMasker::new(masker()), Vec::new());
        masker.push(prompt.as_bytes(), &mut out);
        assert!(out.is_empty() && masker.holds());
        masker.quiet(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), prompt);
        assert!(!masker.holds());
    }
}

#[test]
fn half_a_character_or_sequence_waits_for_its_end() {
    for (first, rest) in [
        (&b"a\x1b["[..], &b"31mb"[..]),
        (b"a\xe2\x82", b"\xac"),
        (b"a\x1b", b"[0m"),
        (b"a\xf0\x9f", b"\x98\x80"),
    ] {
        let (mut masker, mut out) = (OutputMasker::new(masker()), Vec::new());
        masker.push(first, &mut out);
        masker.quiet(&mut out);
        assert_eq!(out, b"a");
        masker.push(rest, &mut out);
        masker.quiet(&mut out);
        assert_eq!(out, [first, rest].concat());
    }
}

#[test]
fn what_never_becomes_a_character_comes_after_a_few_pauses() {
    for end in [&b"\xf0\x01i"[..], b"\x1b[", b"\xe2", b"\x1b]i", b"N\x9d\x01i", b"\xc3"] {
        let (mut masker, mut out) = (OutputMasker::new(masker()), Vec::new());
        masker.push(end, &mut out);
        for _ in 0..=PAUSES {
            masker.quiet(&mut out);
        }
        assert_eq!(out, end);
        assert!(!masker.holds());
    }
}

#[test]
fn a_value_with_pauses_in_it_shows_no_more_than_its_beginning() {
    for step in 1..=CANARY.len() {
        let shown = masked(format!("key {CANARY}\nnext\n").as_bytes(), step, 1);
        let longest =
            (1..=CANARY.len()).filter(|length| shown.contains(&CANARY[..*length])).max().unwrap_or(0);
        assert!(longest <= 8, "{longest} letters of it, in drips of {step}: {shown}");
        assert!(shown.ends_with("\nnext\n"), "{shown}");
    }
}

/// What comes of pieces, each on a line with a pause behind it.
fn slowly(pieces: &[&str], end: &str) -> String {
    let (mut masker, mut out) = (OutputMasker::new(masker()), Vec::new());
    for piece in pieces {
        masker.push(format!("{piece}{end}").as_bytes(), &mut out);
        masker.quiet(&mut out);
    }
    masker.finish(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_value_that_comes_in_lines_with_pauses_shows_no_more_than_its_beginning() {
    for length in [1, 2, 3, 4, 7] {
        for end in ["\n", "\r\n"] {
            let pieces: Vec<&str> = (0..CANARY.len())
                .step_by(length)
                .map(|at| &CANARY[at..CANARY.len().min(at + length)])
                .collect();
            let shown = slowly(&pieces, end)
                .replace("[MASKED:begun-secret]", "")
                .replace("[MASKED:aws-access-key]", "");
            let letters = shown.chars().filter(char::is_ascii_alphanumeric).count();
            assert!(letters <= 8, "{length}: {shown:?}");
        }
    }
    // a program that counts, or says little, is understood
    let numbers: Vec<String> = (1..200).map(|number| number.to_string()).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    assert_eq!(slowly(&numbers, "\n"), numbers.join("\n") + "\n");
    let words = ["ready", "set", "go", "key", "is", "in", "place", "done", "ok", "a", "b", "c", "d", "e"];
    assert_eq!(slowly(&words, "\n"), words.join("\n") + "\n");
}

#[test]
fn a_value_as_it_stands_is_hidden_whatever_a_terminal_makes_of_it() {
    // on a terminal each of them is part of a longer word, or lacks a letter
    for behind in [" \x08A", "\x08", "\x1b[0mA", "\u{200b}A", "\u{ad}A", "\x1b]0;A\x07", "\x7fA", "\x0eA"] {
        for before in ["", "A \x08", "A\x1b[1m"] {
            let said = format!("key {before}{CANARY}{behind} is it\n");
            let shown = masked(said.as_bytes(), 64, 0);
            assert!(!shown.contains(CANARY), "{said:?}: {shown:?}");
        }
    }
    // bold, as manuals have it
    let bold: String = "NAME".chars().map(|c| format!("{c}\x08{c}")).collect();
    assert_eq!(masked(bold.as_bytes(), 64, 0), bold);
}

#[test]
fn a_flood_passes_and_what_is_in_it_does_not() {
    let line =
        "2026-11-24T20:00:00Z web1 nginx[812]: GET /healthz 200 12ms /usr/share/nginx/html/index.html\n";
    let mut text = line.repeat(5_000);
    let at = text.len() / 2;
    let at = at + text[at..].find('\n').unwrap() + 1;
    text.insert_str(at, &format!("{CANARY}\n"));
    for step in [1 << 20, 32 * 1024, 1_000] {
        let shown = masked(text.as_bytes(), step, 0);
        assert!(!shown.contains(CANARY));
        assert_eq!(shown.matches(line).count(), 5_000);
    }
}

#[test]
fn a_key_is_hidden_to_its_end_plain_or_encoded() {
    use base64::Engine as _;
    let body: String = (0..200_u32)
        .map(|at| format!("{:064x}\n", u128::from(at).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c)))
        .collect();
    let body: String =
        body.lines().map(|line| base64::engine::general_purpose::STANDARD.encode(line) + "\n").collect();
    for lines in [20, 190] {
        let body: String = body.lines().take(lines).map(|line| format!("{line}\n")).collect();
        let key = format!("-----BEGIN RSA PRIVATE KEY-----\n{body}-----END RSA PRIVATE KEY-----\n");
        for text in [key.clone(), base64::engine::general_purpose::STANDARD.encode(&key)] {
            let shown = masked(format!("before:\n{text}\n# after\n").as_bytes(), 1_000, 0);
            assert!(
                shown.starts_with("before:\n[MASKED:") && shown.ends_with("# after\n"),
                "{lines}: {shown:.200}"
            );
            let left = text.lines().filter(|line| line.len() > 40 && shown.contains(line)).count();
            assert_eq!(left, 0, "{lines} lines");
        }
    }
}

#[test]
fn a_key_that_comes_slowly_is_hidden_to_its_end_whatever_stands_before_its_lines() {
    use base64::Engine as _;
    let line = |at: u32| {
        let number = u128::from(at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834);
        base64::engine::general_purpose::STANDARD
            .encode(format!("{number:032x}{number:016x}").get(..48).unwrap())
    };
    let lines: Vec<String> = (0..60).map(line).collect();
    let pem = ["-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----"];
    let putty = [
        "PuTTY-User-Key-File-3: ssh-rsa\nPrivate-Lines: 60",
        "Private-MAC: 00112233445566778899aabbccddeeff",
    ];
    for [head, foot] in [pem, putty] {
        for prefix in ["", "| ", "2026-11-24T20:00:00Z web1 app[812]: "] {
            let text = format!(
                "{head}\n{}\n{foot}\n{CANARY} (d41d8cd98f00b204e9800998ecf8427e)\n",
                lines.join("\n")
            );
            let (mut masker, mut out) = (OutputMasker::new(masker()), Vec::new());
            for line in text.lines() {
                masker.push(format!("{prefix}{line}\n").as_bytes(), &mut out);
                masker.quiet(&mut out);
            }
            masker.finish(&mut out);
            let shown = String::from_utf8_lossy(&out);
            let left = lines.iter().filter(|line| shown.contains(line.as_str())).count();
            assert_eq!(left, 0, "{prefix:?}: {shown}");
            assert!(shown.ends_with("(d41d8cd98f00b204e9800998ecf8427e)\n"), "{prefix:?}: {shown}");
        }
    }
}

#[test]
fn ordinary_output_is_left_as_it_is() {
    for text in [
        "total 12\ndrwxr-xr-x 2 root root 4096 Nov 24 20:00 .\n-rw-r--r-- 1 root root 220 Nov 24 20:00 .bashrc\n",
        "00000000: 7f45 4c46 0201 0100 0000 0000 0000 0000  .ELF............\n00000010: 0300 3e00 0100 0000  ..>.....\n",
        "d41d8cd98f00b204e9800998ecf8427e  empty\ne3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  x\n",
        "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\nm\nn\no\np\nq\nr\n",
        "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20\n",
        "\x1b]0;deploy@web1: ~\x07\x1b[?2004hdeploy@web1:~$ ls\r\n\x1b[0m\x1b[01;34mbin\x1b[0m  notes.txt\r\n",
        "top - 20:00:01 up 3 days,  1:02,  1 user,  load average: 0.00, 0.01, 0.05\nTasks:  95 total,   1 running\n",
    ] {
        assert_eq!(masked(text.as_bytes(), 7, 0), text);
    }
}

/// What everyday tools say: short words beside the name of a secret are not its value.
#[test]
fn what_tools_say_of_settings_is_left_as_it_is() {
    let all = include_str!("tests/everyday.txt");
    let mut changed = Vec::new();
    for text in all.split("\n----\n").chain([all]) {
        for step in [1 << 20, 7] {
            let shown = masked(text.as_bytes(), step, 0);
            changed.extend(shown.lines().filter(|line| line.contains("[MASKED:")).map(ToOwned::to_owned));
            assert!(shown == text || !changed.is_empty());
        }
    }
    assert!(changed.is_empty(), "{}", changed.join("\n"));
}

/// Identifiers and hashes are in most of what tools say: read backwards or in capitals, one of some thousand would begin
/// as a token does.
#[test]
fn random_identifiers_and_hashes_are_no_values() {
    let mut random = StdRng::seed_from_u64(20_261_201);
    let mut hex = |digits: usize| -> String {
        (0..digits).map(|_| char::from_digit(random.random_range(0..16), 16).unwrap()).collect()
    };
    let mut text = String::new();
    for _ in 0..20_000 {
        let uuid = format!("{}-{}-4{}-a{}-{}", hex(8), hex(4), hex(3), hex(3), hex(12));
        writeln!(text, "{uuid}\npod {}\ncommit {}\nsha256:{}", uuid.to_uppercase(), hex(40), hex(64))
            .unwrap();
        writeln!(text, "/var/lib/kubelet/pods/{uuid}/volumes/kubernetes.io~projected").unwrap();
        writeln!(text, "web-{}-{} {}  /etc/{}", hex(10), hex(5), hex(32), hex(8).to_uppercase()).unwrap();
    }
    let shown = masked(text.as_bytes(), 1 << 20, 0);
    let changed: Vec<&str> = shown.lines().filter(|line| line.contains("[MASKED:")).collect();
    assert!(changed.is_empty() && shown == text, "{}: {}", changed.len(), changed.join("\n"));
}

/// `value` in pieces of so many letters, each with `between` behind it.
fn cut(value: &str, length: usize, between: &str) -> String {
    let pieces: Vec<&str> =
        (0..value.len()).step_by(length).map(|at| &value[at..value.len().min(at + length)]).collect();
    pieces.join(between)
}

#[test]
fn a_value_that_is_cut_evenly_is_found_by_its_name_and_ends_where_it_ends() {
    let value = "zaCELgL0imfnc8mVLWwsAawjYr4Rx";
    let hidden = "[MASKED:generic-secret]";
    for (length, between) in
        [(1, " "), (2, " "), (3, " : "), (4, "\t"), (1, "\", \""), (4, "\n"), (7, "\r\n"), (9, "\n")]
    {
        let pieces = cut(value, length, between);
        // the name as it is, and what has nothing to do with the value behind it
        let said = format!("key ={between}{pieces}; and so on\n");
        if length <= 4 && !between.contains('\n') {
            assert_eq!(masked(said.as_bytes(), 1 << 20, 0), format!("key ={between}{hidden}; and so on\n"));
        }
        // the name in pieces too
        for name in ["key=", "api_key=", "password=", "my_token="] {
            let said = format!("{}\nit is.\n", cut(&format!("{name}{value}"), length, between));
            let shown = masked(said.as_bytes(), 1 << 20, 0);
            assert!(shown.ends_with(&format!("{hidden}\nit is.\n")), "{said:?}: {shown:?}");
        }
        let lines = format!("key={pieces}\nit is.\n");
        if between.contains('\n') {
            assert_eq!(masked(lines.as_bytes(), 1 << 20, 0), format!("key={hidden}\nit is.\n"));
        }
    }
    let backwards: String = format!("key={value}").chars().rev().collect();
    let shown = masked(cut(&backwards, 1, " ").as_bytes(), 1 << 20, 0);
    assert!(shown.contains(hidden) && !shown.contains("x R"), "{shown}");
    // a token is told by its own letters: no name before it, and no cut, hides it
    for pieces in
        ["AK IAQ3 EGR J5NL XVW 7TZB", "AKIA\", \"Q3EG | RJ5N L XVW 7TZB", "A KIA Q3EG R J5NL, XVW 7TZ B"]
    {
        let said = format!("key = {pieces}\nmode 0644\n");
        let shown = masked(said.as_bytes(), 1 << 20, 0);
        assert!(shown.contains("[MASKED:aws-access-key]") && !shown.contains("XVW"), "{said:?}: {shown:?}");
    }
    // what is hidden takes nothing with it
    let settings = |value: &str| {
        format!(
            "host=db\nuser=me\npwd={value}\nport=5432\nsslmode=verify\n{{\"line\": \"key = 1\", \"mode\": \"0644\", \"path\": \"a\"}}\n"
        )
    };
    let shown = masked(settings("hunter2").as_bytes(), 1 << 20, 0);
    assert_eq!(shown, settings("[MASKED:connection-password]"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn nothing_panics_and_nothing_is_lost(bytes in proptest::collection::vec(any::<u8>(), 0..600), step in 1_usize..40, pause in 0_usize..4) {
        let clean = !masker().found(&bytes).iter().any(|_| true);
        let (mut masker, mut out) = (OutputMasker::new(masker()), Vec::new());
        for (at, piece) in bytes.chunks(step).enumerate() {
            masker.push(piece, &mut out);
            if pause > 0 && at % pause == 0 {
                masker.quiet(&mut out);
            }
        }
        masker.finish(&mut out);
        if clean && masker.counts().total() == 0 {
            prop_assert_eq!(out, bytes);
        }
    }
}

/// What is packed or encrypted looks like this.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// A pack of `git` or an archive comes out as it is; what stands in it, plain or said in another way, does not.
#[test]
fn noise_comes_out_as_it_is_and_a_value_in_it_does_not() {
    let length = std::env::var("PORTCULLIS_NOISE").map_or(2_000_000, |length| length.parse().unwrap());
    let mut noise = noise(length);
    for pause in [0, 1, 7] {
        let (mut output, mut out) = (OutputMasker::new(masker()), Vec::new());
        for (at, piece) in noise.chunks(if pause == 0 { 32 * 1024 } else { 3_001 }).enumerate() {
            output.push(piece, &mut out);
            if pause > 0 && at % pause == 0 {
                output.quiet(&mut out);
            }
        }
        output.finish(&mut out);
        assert!(out == noise, "{pause}: {:?}", output.counts());
    }
    let backwards: String = CANARY.chars().rev().collect();
    let hex: String = CANARY.bytes().map(|byte| format!("{byte:02x}")).collect();
    let apart: String = CANARY.chars().map(|letter| format!("{letter}\u{1}\u{2}")).collect();
    let wide: String = CANARY.chars().map(|letter| format!("{letter}\0")).collect();
    noise.truncate(40_000);
    for said in [CANARY.to_owned(), backwards, hex, apart, wide] {
        let all = [&noise[..20_000], b"\n", said.as_bytes(), b"\n", &noise[20_000..]].concat();
        let (mut output, mut out) = (OutputMasker::new(masker()), Vec::new());
        output.push(&all, &mut out);
        output.finish(&mut out);
        assert!(out.windows(8).any(|window| window == b"[MASKED:"), "{said:?}");
        assert!(!out.windows(said.len()).any(|window| window == said.as_bytes()), "{said:?}");
    }
}

#[test]
fn noise_is_given_out_and_a_value_in_it_is_not() {
    let masker = masker();
    let mut noise = noise(1_000_000);
    for packet in noise.chunks(32 * 1024) {
        assert_eq!(something_in(&masker, packet, 0..packet.len()), None);
    }
    noise.truncate(32 * 1024);
    noise.splice(1_000..1_000, format!("\0{CANARY}\0").into_bytes());
    assert!(something_in(&masker, &noise, 0..noise.len()).is_some());
    // a text may say it in other ways
    let backwards: String = CANARY.chars().rev().collect();
    let text = format!("{}{backwards}\n", "nothing to hide here, grüße\n".repeat(500));
    assert!(something_in(&masker, text.as_bytes(), 0..text.len()).is_some());
}

#[test]
fn a_step_back_does_not_reach_another_line_or_over_a_tab() {
    for between in ["\n", "\r\n", "\t", "\n\x1b[0m"] {
        for behind in ["\x08A", "\x08\0A\0", "\x08\x08\x08AB"] {
            let text = format!("key {CANARY}{between}{behind} end\n");
            for (step, pause) in [(1_000, 0), (3, 0), (1, 0)] {
                let shown = masked(text.as_bytes(), step, pause);
                assert!(!shown.contains(CANARY) && shown.contains("[MASKED:"), "{text:?}: {shown:?}");
            }
        }
    }
    // what is struck over is not seen all the same
    let struck: String = CANARY.chars().map(|letter| format!("x\x08{letter}")).collect();
    let shown = masked(struck.as_bytes(), 1_000, 0);
    assert!(shown.contains("[MASKED:") && !shown.contains("\x08K"), "{shown:?}");
}
