//! Personal data in generated tables: nothing of it is left, and nothing else is touched.

use proxy_core::mask::{MaskCounts, Masker};
use proxy_policy::{Detector, DetectorChoice, Mask};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const ROWS: usize = 20_000;

/// Makes up one value.
type Make = fn(&mut StdRng) -> String;

fn masker() -> Masker {
    let choice = DetectorChoice {
        detectors: vec![Detector::Secrets, Detector::PersonalData],
        patterns: vec![],
        with: Mask::default(),
    };
    Masker::new(&[choice], &[0; 32])
}

fn digits(random: &mut StdRng, count: usize) -> String {
    (0..count).map(|_| char::from(b'0' + random.random_range(0..10_u8))).collect()
}

/// A number with a valid last digit (ISO/IEC 7812-1).
fn card(random: &mut StdRng) -> String {
    let (prefix, length) = [
        ("4", 16),
        ("4", 13),
        ("4", 19),
        ("51", 16),
        ("55", 16),
        ("2221", 16),
        ("2720", 16),
        ("34", 15),
        ("37", 15),
        ("300", 14),
        ("36", 14),
        ("38", 14),
        ("6011", 16),
        ("65", 16),
        ("3528", 16),
        ("3589", 16),
        ("2131", 15),
        ("1800", 15),
        ("5018", 13),
        ("6304", 18),
        ("62", 19),
    ][random.random_range(0..21)];
    let body = format!("{prefix}{}", digits(random, length - prefix.len() - 1));
    let sum: u32 = body
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let value = u32::from(digit - b'0') * if place % 2 == 0 { 2 } else { 1 };
            if value > 9 { value - 9 } else { value }
        })
        .sum();
    let number = format!("{body}{}", (10 - sum % 10) % 10);
    let sizes: &[usize] = match number.len() {
        15 => &[4, 6, 5],
        14 => &[4, 6, 4],
        16 => &[4, 4, 4, 4],
        _ => return number,
    };
    match random.random_range(0..3) {
        0 => number,
        separator => groups(&number, sizes, if separator == 1 { " " } else { "-" }),
    }
}

fn groups(number: &str, sizes: &[usize], separator: &str) -> String {
    let mut rest = number;
    let mut parts = Vec::new();
    for size in sizes {
        let (part, after) = rest.split_at(*size);
        parts.push(part);
        rest = after;
    }
    parts.join(separator)
}

/// A number with valid check digits (ISO 13616-1).
fn iban(random: &mut StdRng) -> String {
    let (country, letters, numbers) =
        [("DE", 0, 18), ("GB", 4, 14), ("NL", 4, 10), ("FR", 0, 23), ("NO", 0, 11), ("MT", 4, 23)]
            [random.random_range(0..6)];
    let bank: String = (0..letters).map(|_| char::from(b'A' + random.random_range(0..26_u8))).collect();
    let account = format!("{bank}{}", digits(random, numbers));
    let remainder = format!("{account}{country}00").bytes().fold(0_u32, |remainder, character| {
        if character.is_ascii_digit() {
            (remainder * 10 + u32::from(character - b'0')) % 97
        } else {
            (remainder * 100 + u32::from(character - b'A') + 10) % 97
        }
    });
    let number = format!("{country}{:02}{account}", 98 - remainder);
    if random.random_bool(0.5) {
        return number;
    }
    number.as_bytes().chunks(4).map(|chunk| String::from_utf8_lossy(chunk)).collect::<Vec<_>>().join(" ")
}

fn ssn(random: &mut StdRng) -> String {
    let area = loop {
        let area = random.random_range(1..900_u16);
        if area != 666 {
            break area;
        }
    };
    format!("{area:03}-{:02}-{:04}", random.random_range(1..100_u8), random.random_range(1..10_000_u16))
}

fn email(random: &mut StdRng) -> String {
    let names = ["ann", "bob.smith", "o'neil", "x+tag", "user_1", "a-b", "jürgen", "j.r.r"];
    let hosts =
        ["example.com", "mail.example.co.uk", "sub.a-b.io", "münchen.de", "x.museum", "10minutes.net"];
    format!(
        "{}{}@{}",
        names[random.random_range(0..names.len())],
        random.random_range(0..1000),
        hosts[random.random_range(0..hosts.len())]
    )
}

/// A value in a cell of its own, or with words around it.
fn cell(random: &mut StdRng, value: &str) -> String {
    match random.random_range(0..6) {
        0 => format!("paid with {value}, thanks"),
        1 => format!("({value})"),
        2 => format!("{{\"v\": \"{value}\"}}"),
        3 => format!("{value}."),
        _ => value.to_owned(),
    }
}

#[test]
fn no_generated_card_account_person_or_address_is_left_in_a_table() {
    let masker = masker();
    let mut random = StdRng::seed_from_u64(42);
    let makers: [(&str, Make); 4] = [("card", card), ("iban", iban), ("ssn", ssn), ("email", email)];
    for (name, make) in makers {
        for row in 0..ROWS {
            let value = make(&mut random);
            let cell = cell(&mut random, &value);
            let line = format!("{row}\t{cell}\tok\n");
            for text in [&cell, &line] {
                let out = masker.text(text.as_bytes(), &mut MaskCounts::default());
                let out = String::from_utf8_lossy(&out);
                assert!(!out.contains(&value), "{name} {value:?} left in {out:?}");
                // not even most of it
                let shown = out.replace(|c: char| !c.is_ascii_digit(), "");
                let numbers = value.replace(|c: char| !c.is_ascii_digit(), "");
                assert!(
                    numbers.len() < 9 || numbers.get(..8).is_none_or(|most| !shown.contains(most)),
                    "{name} {value:?} in {out:?}"
                );
                assert!(masker.row_may_match(text.as_bytes()), "{text:?}");
            }
        }
    }
}

#[test]
fn rows_of_numbers_times_and_identifiers_are_left_alone() {
    let masker = masker();
    let mut random = StdRng::seed_from_u64(43);
    let mut counts = MaskCounts::default();
    for row in 0..ROWS as u64 {
        let (a, b): (u64, u64) = (random.random(), random.random());
        let (hex, uuid) = (format!("{a:016x}{b:016x}"), uuid::Uuid::from_u64_pair(a, b));
        let time = 1_600_000_000_000_000_u64 + a % 300_000_000_000_000;
        let line = format!(
            "{row}\t{}\t{}\t{uuid}\t{hex}{:08x}\t{time}\t{}\t{}\t2026-{:02}-{:02} {:02}:{:02}:{:02}.{:06}+00\t{}.{:02}\n",
            a % 100_000_000,
            b % 1_000_000_000,
            a & 0xffff_ffff,
            time / 1000,
            time / 1_000_000,
            1 + a % 12,
            1 + b % 28,
            a % 24,
            b % 60,
            a % 60,
            b % 1_000_000,
            a % 100_000,
            b % 100,
        );
        let out = masker.text(line.as_bytes(), &mut counts);
        assert_eq!(String::from_utf8_lossy(&out), line);
    }
}
