//! Throughput and load time of the detectors: `cargo run --release -p proxy-core --example mask_bench`.
//!
//! Rows are tab-separated: id, name, e-mail or note, amount, time, UUID, comment. One cell in about thirty of the
//! dirty ones holds a secret or personal data.

#![expect(clippy::print_stdout, reason = "it is a program that prints its measurements")]
#![expect(clippy::cast_precision_loss, reason = "sizes and times are far below 2^52")]

use proxy_core::mask::{MaskCounts, Masker, StreamMasker};
use proxy_policy::{Detector, DetectorChoice, Mask};
use std::fmt::Write;
use std::time::Instant;

const MIB: f64 = 1024.0 * 1024.0;

fn masker(detectors: &[Detector]) -> Masker {
    let choice =
        DetectorChoice { detectors: detectors.to_vec(), patterns: Vec::new(), with: Mask::default() };
    Masker::new(&[choice], &[7; 32])
}

/// So many rows, `dirty` or not, from a fixed seed.
fn rows(count: u32, dirty: bool) -> Vec<String> {
    let mut seed = 0x2545_f491_u32;
    let mut next = move || {
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        seed
    };
    (0..count)
        .map(|id| {
            let (a, b, c) = (next(), next(), next());
            let secret = match if dirty { a % 5 } else { 9 } {
                0 => format!("user{b}@mail.example.net"),
                1 if b % 4 == 0 => "4111 1111 1111 1111".to_owned(),
                2 if b % 8 == 0 => "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".to_owned(),
                _ => format!("order note {b}"),
            };
            let mut row = String::new();
            let written = write!(
                row,
                "{id}\tCustomer Nr {c}\t{secret}\t{}.{:02}\t2026-11-{:02} 10:{:02}:{:02}.{:06}+00\t{a:08x}-{:04x}-4{:03x}-8{:03x}-{b:08x}{:04x}\tdelivered to the front desk, paid by invoice",
                a % 10_000, b % 100, 1 + c % 28, a % 60, b % 60, c % 1_000_000,
                b & 0xffff, c & 0xfff, a & 0xfff, c & 0xffff,
            );
            assert!(written.is_ok(), "writing to a String cannot fail");
            row
        })
        .collect()
}

/// Rows measured at once: the median of many short runs is not moved by what else the machine does.
const SLICE: usize = 1000;

fn measure(name: &str, rows: &[String], mut run: impl FnMut(&[String])) {
    let mut rates: Vec<f64> = rows
        .chunks(SLICE)
        .map(|slice| {
            let bytes: usize = slice.iter().map(|row| row.len() + 1).sum();
            let start = Instant::now();
            run(slice);
            bytes as f64 / MIB / start.elapsed().as_secs_f64()
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    let rate = |share: usize| rates.get(rates.len() * share / 100).copied().unwrap_or_default();
    println!("{name:<48} median {:7.1} MiB/s, best tenth {:7.1} MiB/s", rate(50), rate(90));
}

fn measure_all(name: &str, masker: &Masker, rows: &[String]) {
    let mut counts = MaskCounts::default();
    measure(&format!("{name}, value by value"), rows, |slice| {
        for value in slice.iter().flat_map(|row| row.split('\t')) {
            std::hint::black_box(masker.text(value.as_bytes(), &mut counts));
        }
    });
    let mut hits = 0;
    measure(&format!("{name}, row_may_match"), rows, |slice| {
        hits += slice.iter().filter(|row| masker.row_may_match(row.as_bytes())).count();
    });
    println!("  {hits} of {} rows may match", rows.len());
    measure(&format!("{name}, one text"), rows, |slice| {
        std::hint::black_box(masker.text(slice.join("\n").as_bytes(), &mut counts));
    });
    let (mut stream, mut out) = (StreamMasker::new(masker.clone()), Vec::new());
    measure(&format!("{name}, stream"), rows, |slice| {
        out.clear();
        for piece in slice.join("\n").as_bytes().chunks(8192) {
            stream.push(piece, &mut out);
        }
    });
}

fn main() {
    let start = Instant::now();
    let all = masker(&[Detector::Secrets, Detector::PersonalData]);
    println!("load, lazily compiled {:>40.1} ms", start.elapsed().as_secs_f64() * 1000.0);
    let start = Instant::now();
    std::hint::black_box(
        all.text(b"api_key = x, AKIAIOSFODNN7EXAMPLE a@b.example", &mut MaskCounts::default()),
    );
    println!("first text {:>51.1} ms", start.elapsed().as_secs_f64() * 1000.0);
    let start = Instant::now();
    println!(
        "{} expressions compiled {:>36.1} ms",
        Masker::compile_all(),
        start.elapsed().as_secs_f64() * 1000.0
    );
    let (clean, dirty) = (rows(150_000, false), rows(150_000, true));
    for (name, masker) in [
        ("all", all),
        ("secrets", masker(&[Detector::Secrets])),
        ("personal data", masker(&[Detector::PersonalData])),
    ] {
        measure_all(&format!("{name}, clean"), &masker, &clean);
        measure_all(&format!("{name}, dirty"), &masker, &dirty);
    }
}
