//! Sessions cut anywhere.

use super::*;
use proxy_policy::{Detector, DetectorChoice, Mask, MaskType};
use sha2::{Digest as _, Sha256};

fn text(text: &[u8]) -> Vec<u8> {
    [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text].concat()
}

fn packet(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = [&[kind][..], &parts.concat()].concat();
    text(&body)
}

fn id(id: u32) -> [u8; 4] {
    id.to_be_bytes()
}

fn masker() -> Masker {
    let with = Mask { type_: MaskType::Redact, keep_last: None };
    let choice = DetectorChoice { detectors: vec![Detector::Secrets], patterns: Vec::new(), with };
    Masker::new(&[choice], &[7; 32])
}

/// Feeds `bytes` in pieces of `step` and gives what is asked, passed and closed. Everything asked is allowed.
fn feed(sftp: &mut Sftp, bytes: &[u8], step: usize, server: bool) -> (Vec<String>, Vec<u8>, Vec<Transfer>) {
    let (mut asked, mut passed, mut closed) = (Vec::new(), Vec::new(), Vec::new());
    for piece in bytes.chunks(step) {
        let mut items = Vec::new();
        if server { sftp.server(piece, &mut items) } else { sftp.client(piece, &mut items) }.unwrap();
        for item in items {
            match item {
                Item::Pass(bytes) => passed.extend(bytes),
                Item::Ask { operation, packet } => {
                    asked.push(
                        operation.touches.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
                    );
                    passed.extend(packet);
                }
                Item::Answer(bytes) => panic!("answered: {bytes:?}"),
                Item::Answered { opening, status } => panic!("{opening} is answered: {status}"),
                Item::Content(content) => panic!("nobody asked for {content:?}"),
                Item::Closed(transfer) => closed.push(*transfer),
            }
        }
    }
    (asked, passed, closed)
}

/// What is told, in order, where contents are: `opening written offset bytes`, and what is not opened or is closed.
fn told(sftp: &mut Sftp, bytes: &[u8], step: usize, server: bool) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    for piece in bytes.chunks(step) {
        let mut items = Vec::new();
        if server { sftp.server(piece, &mut items) } else { sftp.client(piece, &mut items) }.unwrap();
        for (at, item) in items.iter().enumerate() {
            match item {
                Item::Content(Content { opening, written, offset, data }) => {
                    let Some(Item::Pass(passes)) = items.get(at + 1) else { panic!("told, and not passed") };
                    assert!(passes.windows(data.len()).any(|window| window == data));
                    let data = String::from_utf8_lossy(data);
                    told.push(format!("{opening} {written} {offset} {data}"));
                }
                Item::Answered { opening, status } => told.push(format!("{opening} is answered {status}")),
                Item::Closed(transfer) => told.push(format!("{} is closed", transfer.opening)),
                Item::Pass(_) | Item::Ask { .. } | Item::Answer(_) => {}
            }
        }
    }
    told
}

#[test]
fn contents_are_told_before_they_pass_with_their_file_and_their_place_in_it() {
    for looks in [false, true] {
        let mut sftp = if looks { Sftp::looking(masker()) } else { Sftp::new() }.telling_contents();
        for (number, path) in [(1, b"/a"), (2, b"/b"), (3, b"/a")] {
            told(&mut sftp, &packet(3, &[&id(number), &text(path), &id(3), &id(0)]), 9, false);
        }
        let answers = [
            packet(102, &[&id(1), &text(b"h1")]),
            packet(101, &[&id(2), &id(2), &text(b"no such file"), &text(b"")]),
            packet(102, &[&id(3), &text(b"h3")]),
        ];
        assert_eq!(told(&mut sftp, &answers.concat(), 9, true), ["2 is answered 2"]);
        let write = |handle: &[u8], offset: u64, data: &[u8]| {
            packet(6, &[&id(7), &text(handle), &offset.to_be_bytes(), &text(data)])
        };
        let done = packet(101, &[&id(7), &id(0), &text(b""), &text(b"")]);
        for (handle, offset, data, expected) in
            [(b"h3", 5, b"later", "3 true 5 later"), (b"h1", 0, b"first", "1 true 0 first")]
        {
            assert_eq!(told(&mut sftp, &write(handle, offset, data), 100, false), [expected]);
            told(&mut sftp, &done, 100, true);
        }
        told(&mut sftp, &packet(5, &[&id(8), &text(b"h1"), &2_u64.to_be_bytes(), &id(2)]), 100, false);
        // a session that looks asks for what stands around it as well
        let data = if looks { &b"xxyyzz"[..] } else { b"yy" };
        let data = packet(103, &[&id(8), &text(data)]);
        assert_eq!(told(&mut sftp, &data, 100, true), ["1 false 2 yy"]);
        told(&mut sftp, &packet(4, &[&id(7), &text(b"h3")]), 100, false);
        assert_eq!(told(&mut sftp, &done, 100, true), ["3 is closed"]);
    }
}

#[test]
fn a_download_is_asked_passed_and_digested_however_it_is_cut() {
    let content = b"line\n".repeat(20_000);
    for step in [1, 7, 4096, 1 << 20] {
        let mut sftp = Sftp::new();
        let requests =
            [packet(1, &[&id(3)]), packet(3, &[&id(1), &text(b"/srv/./app/../f"), &id(1), &id(0)])].concat();
        let (asked, passed, _) = feed(&mut sftp, &requests, step, false);
        assert_eq!(asked, ["Read /srv/f"]);
        assert_eq!(passed, requests);
        let answers = [packet(2, &[&id(3)]), packet(102, &[&id(1), &text(b"h1")])].concat();
        assert_eq!(feed(&mut sftp, &answers, step, true).1, answers);
        let (mut reads, mut datas) = (Vec::new(), Vec::new());
        for (at, piece) in content.chunks(32 * 1024).enumerate() {
            let number = 10 + u32::try_from(at).unwrap();
            let offset = (at as u64 * 32 * 1024).to_be_bytes();
            reads.extend(packet(5, &[&id(number), &text(b"h1"), &offset, &id(32 * 1024)]));
            datas.extend(packet(103, &[&id(number), &text(piece)]));
        }
        assert_eq!(feed(&mut sftp, &reads, step, false).1, reads);
        assert_eq!(feed(&mut sftp, &datas, step, true).1, datas);
        feed(&mut sftp, &packet(4, &[&id(99), &text(b"h1")]), step, false);
        let (_, _, closed) =
            feed(&mut sftp, &packet(101, &[&id(99), &id(0), &text(b""), &text(b"")]), step, true);
        let [transfer] = closed.as_slice() else { panic!("{closed:?}") };
        assert_eq!((transfer.path.as_str(), transfer.read.bytes), ("/srv/f", content.len() as u64));
        assert_eq!(transfer.read.sha256(), Some(Sha256::digest(&content).into()));
        assert_eq!(transfer.written.sha256(), None);
    }
}

#[test]
fn an_upload_out_of_order_has_a_size_and_no_digest() {
    let mut sftp = Sftp::new();
    feed(&mut sftp, &packet(3, &[&id(1), &text(b"f"), &id(0x1a), &id(0)]), 3, false);
    feed(&mut sftp, &packet(102, &[&id(1), &text(b"h")]), 3, true);
    for (number, offset) in [(2_u32, 5_u64), (3, 0)] {
        let write = packet(6, &[&id(number), &text(b"h"), &offset.to_be_bytes(), &text(b"12345")]);
        assert_eq!(feed(&mut sftp, &write, 4, false).1, write);
    }
    let left = sftp.finish();
    assert_eq!((left[0].path.as_str(), left[0].written.bytes, left[0].written.sha256()), ("~/f", 10, None));
}

#[test]
fn every_request_says_what_it_does() {
    let path = text(b"/a/b");
    let two = [text(b"/a/b"), text(b"/c")].concat();
    let extended = |name: &[u8], rest: &[u8]| [text(name), rest.to_vec()].concat();
    for (kind, rest, expected) in [
        (3, [&path[..], &id(1), &id(0)].concat(), "Read /a/b"),
        (3, [&path[..], &id(2), &id(0)].concat(), "Write /a/b"),
        (3, [&path[..], &id(3), &id(0)].concat(), "Read /a/b, Write /a/b"),
        (3, [&path[..], &id(0x1a), &id(0)].concat(), "Write /a/b"),
        (3, [&path[..], &id(0x19), &id(0)].concat(), "Read /a/b, Write /a/b"),
        (7, path.clone(), "List /a/b"),
        (17, path.clone(), "List /a/b"),
        (9, [&path[..], &id(0)].concat(), "Attributes /a/b"),
        // a size among the attributes cuts the file
        (9, [&path[..], &id(1), &[0; 8]].concat(), "Attributes /a/b, Write /a/b"),
        (200, extended(b"lsetstat@openssh.com", &[&path[..], &id(0xc)].concat()), "Attributes /a/b"),
        (
            200,
            extended(b"lsetstat@openssh.com", &[&path[..], &id(0xd)].concat()),
            "Attributes /a/b, Write /a/b",
        ),
        (11, path.clone(), "List /a/b"),
        (13, path.clone(), "Remove /a/b"),
        (14, [&path[..], &id(0)].concat(), "Write /a/b"),
        (15, path.clone(), "Remove /a/b (unbounded)"),
        (18, two.clone(), "Rename /a/b, Write /c"),
        (19, path.clone(), "List /a/b"),
        (20, two.clone(), "Write /a/b, Write /c, Read /a/b"),
        (
            20,
            [text(b"../b"), text(b"/srv/app/link")].concat(),
            "Write ~/../b, Write /srv/app/link, Write /srv/b, Read /srv/b",
        ),
        (200, extended(b"posix-rename@openssh.com", &two), "Rename /a/b, Write /c"),
        (200, extended(b"hardlink@openssh.com", &two), "Read /a/b, Write /c, Write /a/b"),
        (200, extended(b"statvfs@openssh.com", &path), "List /a/b"),
    ] {
        let (asked, ..) = feed(&mut Sftp::new(), &packet(kind, &[&id(1), &rest]), 100, false);
        assert_eq!(asked, [expected], "kind {kind}");
    }
}

#[test]
fn what_is_not_in_the_table_is_answered_and_never_passed() {
    for request in [
        packet(200, &[&id(7), &text(b"run-this@example.com"), &text(b"x")]),
        packet(21, &[&id(7), &text(b"/a")]),
        packet(5, &[&id(7), &text(b"nobody"), &0_u64.to_be_bytes(), &id(1)]),
        packet(10, &[&id(7), &text(b"nobody"), &id(0)]),
        packet(3, &[&id(7), &text(b"/a"), &id(0x100), &id(0)]),
    ] {
        let mut items = Vec::new();
        Sftp::new().client(&request, &mut items).unwrap();
        let [Item::Answer(answer)] = items.as_slice() else { panic!("{items:?}") };
        assert_eq!((answer[4], &answer[5..9]), (101, &id(7)[..]));
    }
}

#[test]
fn a_refusal_is_a_status_with_the_reason() {
    let mut sftp = Sftp::new();
    let mut items = Vec::new();
    sftp.client(&packet(13, &[&id(5), &text(b"/etc/passwd")]), &mut items).unwrap();
    let [Item::Ask { operation, .. }] = items.as_slice() else { panic!("{items:?}") };
    assert_eq!(operation.text(), "remove /etc/passwd");
    let answer = sftp.refuse(operation, "denied by rule x");
    assert_eq!(answer, packet(101, &[&id(5), &id(3), &text(b"denied by rule x"), &text(b"")]));
    // nobody answers it a second time
    assert_eq!(
        sftp.server(&packet(101, &[&id(5), &id(0), &text(b""), &text(b"")]), &mut Vec::new()),
        Err(SftpError::Unasked)
    );
}

#[test]
fn streams_that_two_sides_would_read_differently_end() {
    let mut items = Vec::new();
    let open = |sftp: &mut Sftp| {
        feed(sftp, &packet(3, &[&id(1), &text(b"f"), &id(2), &id(0)]), 100, false);
        feed(sftp, &packet(102, &[&id(1), &text(b"h")]), 100, true);
    };
    for bad in [
        id(0).to_vec(),
        id(1 << 30).to_vec(),
        packet(13, &[&id(1), &id(100)]),
        // data shorter and longer than the packet
        packet(6, &[&id(2), &text(b"h"), &0_u64.to_be_bytes(), &id(2), b"12345"]),
        packet(6, &[&id(2), &text(b"h"), &0_u64.to_be_bytes(), &id(9), b"12345"]),
        packet(6, &[&id(2), &text(b"nobody"), &0_u64.to_be_bytes(), &text(b"12345")]),
        packet(13, &[&id(1), &text(&vec![b'a'; 64 * 1024])]),
    ] {
        let mut sftp = Sftp::new();
        open(&mut sftp);
        assert_eq!(sftp.client(&bad, &mut items), Err(SftpError::Malformed), "{bad:?}");
    }
    assert_eq!(Sftp::new().server(&packet(2, &[&id(6)]), &mut items), Err(SftpError::Version(6)));
    assert_eq!(Sftp::new().server(&packet(103, &[&id(1), &text(b"x")]), &mut items), Err(SftpError::Unasked));
}

/// Reads a file as a client does that asks for `step` bytes at a time, of a server with `most` bytes in an answer.
/// Gives what came, and whether anything was refused.
fn read_all(content: &[u8], step: u32, most: usize) -> (Vec<u8>, bool) {
    let mut sftp = Sftp::looking(masker());
    feed(&mut sftp, &packet(3, &[&id(1), &text(b"f"), &id(1), &id(0)]), 100, false);
    feed(&mut sftp, &packet(102, &[&id(1), &text(b"h")]), 100, true);
    let mut got = Vec::new();
    for number in 2.. {
        let at = u64::try_from(got.len()).unwrap();
        let mut items = Vec::new();
        let read = packet(5, &[&id(number), &text(b"h"), &at.to_be_bytes(), &id(step)]);
        sftp.client(&read, &mut items).unwrap();
        let [Item::Pass(asked)] = items.as_slice() else { panic!("{items:?}") };
        let offset = usize::try_from(u64::from_be_bytes(asked[14..22].try_into().unwrap())).unwrap();
        let length = usize::try_from(u32::from_be_bytes(asked[22..].try_into().unwrap())).unwrap();
        let there = &content[offset.min(content.len())..];
        let there = &there[..there.len().min(length).min(most)];
        let answer = if there.is_empty() {
            packet(101, &[&id(number), &id(1), &text(b""), &text(b"")])
        } else {
            packet(103, &[&id(number), &text(there)])
        };
        let (_, passed, _) = feed(&mut sftp, &answer, 10_000, true);
        assert_eq!(passed[5..9], id(number));
        match (passed[4], passed[12]) {
            (103, _) => got.extend_from_slice(&passed[13..]),
            (101, 1) => return (got, false),
            _ => return (got, true),
        }
    }
    unreachable!()
}

/// `scp` takes a short answer for the end of a file. So whoever keeps to the limits that it is told gets no short one.
#[test]
fn a_read_as_long_as_the_client_may_ask_for_is_answered_whole() {
    let limits = |most: u64| [256 << 10, most, 255 << 10, 1_019].map(u64::to_be_bytes).concat();
    let told = |sftp: &mut Sftp, most: u64| {
        feed(sftp, &packet(200, &[&id(1), &text(b"limits@openssh.com")]), 7, false);
        let (_, passed, _) = feed(sftp, &packet(201, &[&id(1), &limits(most)]), 7, true);
        assert_eq!(
            (passed.len(), &passed[..17], &passed[25..]),
            (41, &packet(201, &[&id(1), &limits(most)])[..17], &limits(most)[16..])
        );
        u64::from_be_bytes(passed[17..25].try_into().unwrap())
    };
    assert_eq!(told(&mut Sftp::new(), 255 << 10), 255 << 10);
    assert_eq!(told(&mut Sftp::looking(masker()), 1_000), 1_000);
    assert_eq!(told(&mut Sftp::looking(masker()), 0), told(&mut Sftp::looking(masker()), 255 << 10));
    let most = told(&mut Sftp::looking(masker()), 255 << 10);
    let content = vec![b'x'; 600_000];
    for at in [0, 1_000, 4_000, 300_000] {
        let part = &[(at, u32::try_from(most).unwrap())];
        assert_eq!(read_parts(&content, part).0.len(), usize::try_from(most).unwrap(), "at {at}");
    }
}

#[test]
fn nothing_of_a_value_across_two_reads_is_given_out() {
    let canary = format!("AKIA{}", "Q3EGRJ5NLXVW7TZB");
    let line = "nothing to hide here\n";
    for (step, most) in [(4_096, 1 << 18), (32_768, 1 << 18), (32_768, 32_768), (1 << 20, 255 << 10)] {
        let edge = usize::try_from(step).unwrap().min(most - 2 * 1_024);
        for before in 0..=canary.len() {
            let at = edge - before - 1;
            let filling = line.repeat(at / line.len() + 1);
            let start: String = filling.chars().take(at).collect();
            let content = format!("{start}\n{canary}\n{filling}{filling}");
            let (got, refused) = read_all(content.as_bytes(), step, most);
            assert!(refused, "{step}, {before}");
            let got = String::from_utf8(got).unwrap();
            assert!(
                content.starts_with(&got) && got.len() <= at + 1,
                "{step}, {before}: {} bytes",
                got.len()
            );
        }
    }
}

/// What a client gets that reads these parts of a file, one after the other, until one is refused.
fn read_parts(content: &[u8], parts: &[(usize, u32)]) -> (Vec<u8>, bool) {
    let mut sftp = Sftp::looking(masker());
    feed(&mut sftp, &packet(3, &[&id(1), &text(b"f"), &id(1), &id(0)]), 100, false);
    feed(&mut sftp, &packet(102, &[&id(1), &text(b"h")]), 100, true);
    let mut got = Vec::new();
    for (number, (at, length)) in (2..).zip(parts) {
        let mut items = Vec::new();
        let at = u64::try_from(*at).unwrap().to_be_bytes();
        sftp.client(&packet(5, &[&id(number), &text(b"h"), &at, &id(*length)]), &mut items).unwrap();
        let Some(Item::Pass(asked)) = items.first() else { return (got, true) };
        let offset = usize::try_from(u64::from_be_bytes(asked[14..22].try_into().unwrap())).unwrap();
        let length = usize::try_from(u32::from_be_bytes(asked[22..].try_into().unwrap())).unwrap();
        let there = &content[offset..content.len().min(offset + length)];
        let (_, passed, _) = feed(&mut sftp, &packet(103, &[&id(number), &text(there)]), 10_000, true);
        match passed[4] {
            103 => got.extend_from_slice(&passed[13..]),
            _ => return (got, true),
        }
    }
    (got, false)
}

/// Lines that look like a key's, the same each time.
fn lines_of_base64(bytes: usize) -> String {
    let mut state = 7_u32;
    let letters: String = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
                [usize::try_from(state >> 26).unwrap()],
        )
    })
    .take(bytes)
    .collect();
    letters.as_bytes().chunks(70).map(|line| String::from_utf8(line.to_vec()).unwrap() + "\n").collect()
}

#[test]
fn nothing_of_a_key_is_given_out_however_long_it_is_and_wherever_it_is_read() {
    let dashes = "-".repeat(5);
    for kind in ["OPENSSH PRIVATE KEY", "PGP PRIVATE KEY BLOCK"] {
        let key =
            format!("{dashes}BEGIN {kind}{dashes}\n{}{dashes}END {kind}{dashes}\n", lines_of_base64(20_000));
        for before in [0, 3_000] {
            let content = format!("{}{key}", "x\n".repeat(before / 2));
            for parts in [
                &[(before + 4_200, 2_000)][..],
                &[(before + 6_000, 100), (before + 6_100, 100)],
                &[(0, 1), (before + 4_200, 2_000)],
                &[(before + 9_000, 9_000)],
                &[(before + 19_000, 10_000)],
            ] {
                let (got, refused) = read_parts(content.as_bytes(), parts);
                assert!(refused && got.len() <= 1, "{kind} {before} {parts:?}: {}", got.len());
            }
        }
    }
    let token = format!("eyJ{}", lines_of_base64(9_000).replace(['\n', '+', '/'], "a"));
    assert!(read_parts(token.as_bytes(), &[(5_000, 1_000)]).1);
}

#[test]
fn a_file_of_base64_comes_whole_to_who_reads_it_from_its_start() {
    let content = lines_of_base64(700_000);
    for (step, most) in [(1_000, 1 << 18), (32_768, 1 << 18), (32_768, 16_384), (261_120, 255 << 10)] {
        let (got, refused) = read_all(content.as_bytes(), step, most);
        assert!(got == content.as_bytes() && !refused, "by {step}: {}", got.len());
    }
    // as OpenSSH does: one request behind the other, and what was left out afterwards
    let parts = [(0, 261_120), (261_120, 261_120), (522_240, 261_120), (256_096, 5_024), (517_216, 5_024)];
    let (got, refused) = read_parts(content.as_bytes(), &parts);
    assert!(!refused && got.len() >= content.len() - 10, "{}", got.len());
}

#[test]
fn what_is_masked_is_masked_in_names_and_messages_and_their_packets_stay_whole() {
    let canary = format!("AKIA{}", "Q3EGRJ5NLXVW7TZB");
    let attributes = [&id(0x8000_0005)[..], &[7; 8], &id(0o644), &id(1), &text(b"a@b"), &text(b"c")].concat();
    let line = |name: &str| format!("-rw-r--r-- 1 root root 17 Nov 30 15:56 {name}");
    let entry =
        |name: &str| [text(name.as_bytes()), text(line(name).as_bytes()), attributes.clone()].concat();
    let names = |names: &[&str]| {
        let entries = names.iter().map(|name| entry(name)).collect::<Vec<_>>().concat();
        packet(104, &[&id(2), &id(u32::try_from(names.len()).unwrap()), &entries])
    };
    let told = |message: &str| packet(101, &[&id(2), &id(4), &text(message.as_bytes()), &text(b"")]);
    for (said, expected) in [
        (names(&["a", &canary, "b"]), names(&["a", "[MASKED:aws-access-key]", "b"])),
        (names(&["nothing", "to hide"]), names(&["nothing", "to hide"])),
        (told(&format!("no {canary} here")), told("no [MASKED:aws-access-key] here")),
        (packet(101, &[&id(2), &id(4)]), packet(101, &[&id(2), &id(4)])),
    ] {
        for step in [1, 7, 10_000] {
            let mut sftp = Sftp::looking(masker());
            feed(&mut sftp, &packet(16, &[&id(2), &text(b"/x")]), 100, false);
            assert_eq!(feed(&mut sftp, &said, step, true).1, expected, "by {step}");
        }
    }
    let mut sftp = Sftp::looking(masker());
    feed(&mut sftp, &packet(16, &[&id(2), &text(b"/x")]), 100, false);
    let cut = packet(104, &[&id(2), &id(2), &entry("a")]);
    assert_eq!(sftp.server(&cut, &mut Vec::new()), Err(SftpError::Malformed));
}

#[test]
fn a_file_with_nothing_to_hide_comes_whole_however_it_is_read() {
    for length in [0, 1, 1_023, 1_024, 1_025, 4_096, 40_000, 600_000] {
        let content = b"nothing to hide here\n".repeat(length / 21 + 1);
        let content = &content[..length];
        for (step, most) in [(1_000, 1 << 18), (32_768, 1 << 18), (32_768, 16_384), (1 << 20, 255 << 10)] {
            let (got, refused) = read_all(content, step, most);
            assert!(got == content && !refused, "{length} bytes by {step}: {}", got.len());
        }
    }
}

fn answered(number: u32, status: u32) -> Vec<u8> {
    packet(101, &[&id(number), &id(status), &text(b""), &text(b"")])
}

#[test]
fn what_was_decided_is_told_with_the_answer_of_the_server() {
    let mut sftp = Sftp::new();
    let path = text(b"/a");
    let requests = [
        packet(13, &[&id(1), &path]),
        packet(17, &[&id(2), &path]),
        packet(14, &[&id(3), &path, &id(0)]),
        packet(19, &[&id(4), &path]),
    ];
    assert_eq!(feed(&mut sftp, &requests.concat(), 5, false).0.len(), 4);
    let answers = [
        answered(3, 4),
        packet(105, &[&id(2), &id(0)]),
        answered(1, 0),
        packet(104, &[&id(4), &id(1), &text(b"/b"), &text(b"/b"), &id(0)]),
    ];
    let expected = ["3 is answered 4", "2 is answered 0", "1 is answered 0", "4 is answered 0"];
    assert_eq!(told(&mut sftp, &answers.concat(), 7, true), expected);
}

#[test]
fn a_file_that_the_server_could_not_write_is_told_as_that() {
    for (write, close, expected) in [(0, 0, 0), (0, 4, 4), (4, 0, 4), (4, 3, 4)] {
        let mut sftp = Sftp::new();
        feed(&mut sftp, &packet(3, &[&id(1), &text(b"/a"), &id(0x1a), &id(0)]), 100, false);
        feed(&mut sftp, &packet(102, &[&id(1), &text(b"h")]), 100, true);
        feed(
            &mut sftp,
            &packet(6, &[&id(2), &text(b"h"), &0_u64.to_be_bytes(), &text(b"12345")]),
            100,
            false,
        );
        feed(&mut sftp, &packet(4, &[&id(3), &text(b"h")]), 100, false);
        let (.., closed) = feed(&mut sftp, &[answered(2, write), answered(3, close)].concat(), 100, true);
        assert_eq!(closed[0].status, Some(expected), "{write} {close}");
    }
}

#[test]
fn what_the_server_copies_itself_is_an_operation() {
    let mut sftp = Sftp::new();
    for (number, path, flags) in [(1, b"/a", 1), (2, b"/b", 0x1a)] {
        feed(&mut sftp, &packet(3, &[&id(number), &text(path), &id(flags), &id(0)]), 100, false);
        feed(&mut sftp, &packet(102, &[&id(number), &text(path)]), 100, true);
    }
    let zero = 0_u64.to_be_bytes();
    let copy = packet(200, &[&id(3), &text(b"copy-data"), &text(b"/a"), &zero, &zero, &text(b"/b"), &zero]);
    assert_eq!(feed(&mut sftp, &copy, 100, false).0, ["Read /a, Write /b"]);
    assert_eq!(told(&mut sftp, &answered(3, 0), 100, true), ["3 is answered 0"]);
}

/// At the limit one more is refused, and everything else goes on: closing makes room again.
#[test]
fn the_last_file_that_may_be_open_can_be_closed() {
    let mut sftp = Sftp::new();
    let open = |number: u32| packet(3, &[&id(number), &text(b"/a"), &id(1), &id(0)]);
    let handle = |number: u32| format!("h{number}").into_bytes();
    let most = u32::try_from(HANDLES_MAX).unwrap();
    for number in 1..=most {
        assert_eq!(feed(&mut sftp, &open(number), 100, false).0, ["Read /a"], "{number}");
        // the last answers are on their way
        if number < most - 10 {
            feed(&mut sftp, &packet(102, &[&id(number), &text(&handle(number))]), 100, true);
        }
    }
    let mut items = Vec::new();
    sftp.client(&[open(5_000), packet(11, &[&id(5_001), &text(b"/a")])].concat(), &mut items).unwrap();
    let [Item::Answer(first), Item::Answer(second)] = items.as_slice() else { panic!("{items:?}") };
    for answer in [first, second] {
        assert!(String::from_utf8_lossy(answer).contains("close some first"));
    }
    feed(&mut sftp, &packet(8, &[&id(5_002), &text(&handle(1))]), 100, false);
    feed(&mut sftp, &packet(4, &[&id(5_003), &text(&handle(1))]), 100, false);
    assert_eq!(feed(&mut sftp, &[answered(5_002, 4), answered(5_003, 0)].concat(), 100, true).2.len(), 1);
    assert_eq!(feed(&mut sftp, &open(5_004), 100, false).0, ["Read /a"]);
}
