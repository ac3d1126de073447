//! How long the analyser takes for everyday and destructive lines, and the masker for output.
//!
//! `cargo run --release -p proxy-ssh --example analyze_bench`

#![expect(clippy::print_stdout, clippy::cast_precision_loss, reason = "it prints figures")]

use proxy_core::mask::Masker;
use proxy_policy::{Detector, DetectorChoice, Mask, MaskType};
use proxy_ssh::analyze::analyze;
use proxy_ssh::mask::OutputMasker;
use std::hint::black_box;
use std::time::Instant;

const ROUNDS: u32 = 20;

fn main() {
    for (name, corpus) in [
        ("everyday", include_str!("../tests/corpus/everyday.yaml")),
        ("destructive", include_str!("../tests/corpus/destructive.yaml")),
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
    let with = Mask { type_: MaskType::Redact, keep_last: None };
    let masker = Masker::new(
        &[DetectorChoice { detectors: vec![Detector::Secrets], patterns: Vec::new(), with }],
        &[7; 32],
    );
    Masker::compile_all();
    let log =
        "2026-11-24T20:00:00Z web1 nginx[812]: GET /healthz 200 12ms \"curl/8.5.0\" upstream=10.0.0.5:8080\n"
            .repeat(80_000);
    let base64 =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAA\n".repeat(20_000);
    for (name, text) in [("log lines", log), ("base64 lines", base64)] {
        let (mut output, mut out) = (OutputMasker::new(masker.clone()), Vec::new());
        let before = Instant::now();
        for piece in text.as_bytes().chunks(32 * 1024) {
            out.clear();
            output.push(piece, &mut out);
        }
        output.finish(&mut out);
        println!("masker, {name}: {:.0} MB/s", text.len() as f64 / 1e6 / before.elapsed().as_secs_f64());
    }
}
