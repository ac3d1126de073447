//! The work that a text makes grows as the text does, whatever it repeats.

use super::*;
use crate::mask::rules;
use std::time::{Duration, Instant};

/// What stands between words.
const SEPARATORS: &[&str] = &["", "-", ".", "/", "+", "=", "\\", ":", "\"", " ", "\n", ";"];

/// Each keyword meets one of so many separators.
const APART: usize = 6;

/// How long all looks at these texts took.
fn looked(masker: &Masker, texts: &[String]) -> Duration {
    let start = Instant::now();
    for text in texts {
        // where a token may start anywhere, one does at every keyword
        std::hint::black_box(masker.found_in_pieces(text.as_bytes(), true, &|range| range.end));
    }
    start.elapsed()
}

fn repeated(unit: &str, length: usize) -> String {
    unit.repeat(length / unit.len())
}

/// The time of one text is compared with that of texts a quarter as long, as many as are as long together: where a byte
/// costs the same in both, they take the same time, and the longer one four times as long where each keyword is followed
/// to the end. The bound is half-way, and the best of a few goes counts, for a machine may do other things.
#[test]
fn a_keyword_over_and_over_costs_as_much_each_time() {
    const LENGTH: usize = 8 * 1024;
    let masker = everything();
    Masker::compile_all();
    let mut keywords: Vec<&str> = rules::all().iter().flat_map(rules::keywords).collect();
    keywords.extend([pem::BEGIN, "-----BEGIN RSA PRIVATE KEY-----", pem::WRAPPED, pem::PUTTY]);
    let written = keywords.iter().flat_map(|keyword| [spelled(keyword), keyword.to_uppercase()]);
    let mut written: Vec<String> = written.collect();
    written.sort_unstable();
    written.dedup();
    for (number, written) in written.iter().enumerate() {
        // all pairs take too long: neighbours, which are alike, meet different ones
        for separator in SEPARATORS.iter().skip(number % APART).step_by(APART) {
            let unit = format!("{written}{separator}");
            let whole = vec![repeated(&unit, LENGTH)];
            let parts = vec![repeated(&unit, LENGTH / 4); 4];
            let is_even = (0..40).any(|_| {
                let whole = looked(&masker, &whole);
                whole < Duration::from_millis(3) || whole < looked(&masker, &parts) * 2
            });
            assert!(is_even, "{unit:?}");
        }
    }
}

/// Rules compile when they are first met: a gateway that starts does not wait for them. The best of a few goes counts,
/// for a machine may do other things; the names differ so that no go finds what another one compiled.
#[test]
fn every_detector_is_ready_in_a_moment() {
    let load = |go: usize| {
        let name = format!("load-{go}");
        let pattern = PatternMask { name, regex: r"\bEMP-\d{6}\b".to_owned() };
        let detectors = vec![Detector::Secrets, Detector::PersonalData];
        let choice = DetectorChoice { detectors, patterns: vec![pattern], with: Mask::default() };
        let start = Instant::now();
        std::hint::black_box(Masker::new(&[choice], &[0; 32]));
        start.elapsed()
    };
    let fastest = (0..10).map(load).min().expect("ten goes");
    println!("{fastest:?}");
    assert!(fastest < Duration::from_millis(300), "{fastest:?}");
}

/// A keyword as the token has it, where that is neither all lower nor all upper case.
fn spelled(keyword: &str) -> String {
    match keyword {
        "zxlk" => "ZXlK".to_owned(),
        "eyjrijoi" => "eyJrIjoi".to_owned(),
        other => other.to_owned(),
    }
}

/// The same of long rows: where each keyword is followed as far as a secret may reach, the ratio is eight and more.
#[test]
fn a_row_of_beginnings_of_tokens_costs_what_its_parts_cost() {
    const LENGTH: usize = 128 * 1024;
    let masker = everything();
    for unit in [
        "ey-",
        "eyJ-",
        "ZXlK+",
        "ZXlK\n",
        "key=",
        "facebook ",
        "ya29.",
        "cookie:a=bcdefgh ",
        "xoxb-0000000000-0000000000-",
        "eyAAAAAAAAAAAAAAAAAA.eyAAAAAAAAAAAAAAAAAAA.",
    ] {
        let whole = vec![repeated(unit, LENGTH)];
        let parts = vec![repeated(unit, LENGTH / 64); 64];
        let is_even = (0..40).any(|_| looked(&masker, &whole) < looked(&masker, &parts) * 4);
        assert!(is_even, "{unit:?}");
    }
}

#[test]
fn a_token_behind_beginnings_of_tokens_is_found() {
    let masker = masker(&[Detector::Secrets]);
    let jwt = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U";
    for before in [
        "ey-",
        "ey-ey-ey-ey-ey-ey-ey-ey-",
        "ey.ey.ey.",
        "eyJ-eyJ-eyJ-eyJ-eyJ-eyJ-eyJ-eyJ-eyJ-eyJ-eyJ-eyJ-eyJ-",
    ] {
        let out = text(&masker, &format!("{before}{jwt} end"));
        assert!(!out.contains("dozjgNry") && out.ends_with(" end"), "{out}");
    }
}
