//! How long the analyser takes for everyday and destructive lines, and the masker for output.
//!
//! `cargo run --release -p proxy-ssh --example analyze_bench [random]`: of outputs, those with that in their name.

#![expect(clippy::print_stdout, clippy::cast_precision_loss, reason = "it prints figures")]

use proxy_core::mask::Masker;
use proxy_policy::{Detector, DetectorChoice, Mask, MaskType};
use proxy_shell::analyze;
use proxy_ssh::mask::OutputMasker;
use std::hint::black_box;
use std::time::Instant;

const ROUNDS: u32 = 20;

fn main() {
    let wanted = std::env::args().nth(1);
    if wanted.is_none() {
        analyser();
    }
    let with = Mask { type_: MaskType::Redact, keep_last: None };
    let masker = Masker::new(
        &[DetectorChoice { detectors: vec![Detector::Secrets], patterns: Vec::new(), with }],
        &[7; 32],
    );
    Masker::compile_all();
    let wanted = wanted.unwrap_or_default();
    for (name, text) in outputs().into_iter().filter(|(name, _)| name.contains(&wanted)) {
        let (mut output, mut out) = (OutputMasker::new(masker.clone()), Vec::new());
        let text = text.repeat(if wanted.is_empty() { 1 } else { 20 });
        let before = Instant::now();
        for piece in text.chunks(32 * 1024) {
            out.clear();
            output.push(piece, &mut out);
        }
        output.finish(&mut out);
        println!("masker, {name}: {:.0} MB/s", text.len() as f64 / 1e6 / before.elapsed().as_secs_f64());
    }
}

fn analyser() {
    for (name, corpus) in [
        ("everyday", include_str!("../../../shell/tests/corpus/everyday.yaml")),
        ("destructive", include_str!("../../../shell/tests/corpus/destructive.yaml")),
    ] {
        let lines: Vec<&str> = corpus.lines().filter(|line| line.starts_with("- ")).collect();
        let mut times: Vec<f64> = Vec::new();
        for line in &lines {
            let text = line.trim_start_matches("- ").trim_start_matches("{script: ").trim_matches(['"', '}']);
            let before = Instant::now();
            for _ in 0..ROUNDS {
                black_box(analyze(text.as_bytes(), "deploy", "web1"));
            }
            times.push(before.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS));
        }
        times.sort_by(f64::total_cmp);
        let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
        println!(
            "{name}: {} lines, p50 {:.0} µs, p90 {:.0} µs, p99 {:.0} µs",
            times.len(),
            at(50),
            at(90),
            at(99)
        );
    }
}

/// So many bytes of each kind of output.
const BYTES: usize = 6_000_000;

/// What programs say much of, from a fixed seed.
fn outputs() -> Vec<(&'static str, Vec<u8>)> {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed.to_le_bytes()
    };
    let random: Vec<u8> = std::iter::repeat_with(&mut next).flatten().take(BYTES).collect();
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letter = |byte: &u8| letters.get(usize::from(*byte & 63)).copied().unwrap_or_default();
    let base64: Vec<u8> = random.iter().map(letter).collect();
    let lines = |width: usize| -> Vec<u8> {
        base64.chunks(width).flat_map(|line| line.iter().copied().chain([b'\n'])).take(BYTES).collect()
    };
    let hex: Vec<u8> =
        random.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).take(BYTES).collect();
    let dump = random.chunks(16).enumerate().flat_map(|(at, row)| {
        let byte = |(at, byte): (usize, &u8)| {
            if at % 2 == 0 { format!(" {byte:02x}") } else { format!("{byte:02x}") }
        };
        let pairs = row.iter().enumerate().map(byte).collect::<Vec<_>>().concat();
        format!("{:08x}:{pairs}  ................\n", at * 16).into_bytes()
    });
    let dump: Vec<u8> = dump.take(BYTES).collect();
    let repeated = |line: &str| line.repeat(BYTES / line.len()).into_bytes();
    vec![
        ("one line", repeated("an ordinary line of a log, level=info msg=done\n")),
        (
            "log lines",
            repeated(
                "2026-11-24T20:00:00Z web1 nginx[812]: GET /healthz 200 12ms \"curl/8.5.0\" upstream=10.0.0.5:8080\n",
            ),
        ),
        (
            "identifiers",
            repeated(
                "7f3c2d1e-9b8a-4c5d-8e7f-0a1b2c3d4e5f sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n",
            ),
        ),
        (
            "coloured",
            repeated("\u{1b}[0m\u{1b}[01;34mdirectory\u{1b}[0m  \u{1b}[32mscript.sh\u{1b}[0m  größe.txt\n"),
        ),
        (
            "base64 of text",
            repeated("YW4gb3JkaW5hcnkgbGluZSBvZiBhIGxvZywgbGV2ZWw9aW5mbyBtc2c9ZG9uZQphbiBvcmRpbmFy\n"),
        ),
        ("base64 lines", lines(76)),
        ("base64 in one line", base64.clone()),
        ("settings", repeated("- key: node.kubernetes.io/not-ready\n  operator: Exists\n  value: \"\"\n")),
        ("short lines", lines(4)),
        ("letters", lines(1)),
        ("numbers", repeated("1 20 300 4 50 60 7 8 99 100 123 44 5 6 77 8\n")),
        ("hexadecimal", hex),
        ("a dump", dump),
        ("random", random),
    ]
}
