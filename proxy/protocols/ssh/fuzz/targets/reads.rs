//! A file with a key in it, read in any order and in pieces of any size from a server with any limit: no byte of the key
//! comes out, and what comes is what stands there.
//!
//! Input: where the key stands, the server's limit, then reads: offset and length.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy_core::mask::Masker;
use proxy_policy::{Detector, DetectorChoice, Mask, MaskType};
use proxy_ssh::sftp::{Item, Sftp};
use std::sync::LazyLock;

const KEY: &str = "AKIAQ3EGRJ5NLXVW7TZB";
const LENGTH: usize = 80_000;

static MASKER: LazyLock<Masker> = LazyLock::new(|| {
    let with = Mask { type_: MaskType::Redact, keep_last: None };
    let choice = DetectorChoice { detectors: vec![Detector::Secrets], patterns: Vec::new(), with };
    Masker::new(&[choice], &[7; 32])
});

static CONTENT: LazyLock<Vec<u8>> =
    LazyLock::new(|| b"nothing to hide here\n".iter().copied().cycle().take(LENGTH).collect());

fn packet(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = [&[kind][..], &parts.concat()].concat();
    [&(body.len() as u32).to_be_bytes()[..], &body].concat()
}

fn text(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u32).to_be_bytes()[..], text].concat()
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

fuzz_target!(|data: &[u8]| {
    let [a, b, c, limit, reads @ ..] = data else { return };
    let at = number(&[*a, *b, *c]) % (LENGTH - KEY.len() - 2);
    let limit = [16_384, 32_768, 65_536, 261_120][usize::from(*limit) % 4];
    let mut content = CONTENT.clone();
    content[at..at + KEY.len() + 2].copy_from_slice(format!("\n{KEY}\n").as_bytes());
    let key = at + 1..at + 1 + KEY.len();
    let mut sftp = Sftp::looking(MASKER.clone());
    let mut items = Vec::new();
    sftp.client(&packet(3, &[&[0, 0, 0, 1], &text(b"f"), &[0, 0, 0, 1], &[0; 4]]), &mut items).unwrap();
    sftp.server(&packet(102, &[&[0, 0, 0, 1], &text(b"h")]), &mut items).unwrap();
    for (id, read) in (2_u32..).zip(reads.chunks_exact(5)) {
        let offset = number(&read[..3]) % (LENGTH + 100);
        let length = number(&read[3..]) as u32;
        let ask = packet(
            5,
            &[&id.to_be_bytes(), &text(b"h"), &(offset as u64).to_be_bytes(), &length.to_be_bytes()],
        );
        let mut items = Vec::new();
        sftp.client(&ask, &mut items).unwrap();
        let [Item::Pass(asked)] = items.as_slice() else { continue };
        let (from, wanted) = (number(&asked[14..22]), number(&asked[22..26]));
        let there = &content[from.min(LENGTH)..];
        let there = &there[..there.len().min(wanted).min(limit)];
        let answer = match there {
            [] => packet(101, &[&id.to_be_bytes(), &[0, 0, 0, 1], &text(b""), &text(b"")]),
            there => packet(103, &[&id.to_be_bytes(), &text(there)]),
        };
        let mut items = Vec::new();
        sftp.server(&answer, &mut items).unwrap();
        for item in items {
            let Item::Pass(bytes) = item else { continue };
            if bytes[4] == 103 {
                let got = &bytes[13..];
                assert!(
                    got.len() <= length as usize && content[offset..].starts_with(got),
                    "not what is there"
                );
                let given = offset..offset + got.len();
                assert!(given.end <= key.start || given.start >= key.end, "{given:?} of {key:?}");
            }
        }
    }
});
