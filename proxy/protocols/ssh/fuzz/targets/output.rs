//! Output with a key in it, cut anywhere and paused anywhere: without pauses the key never comes out, with them no more
//! than its beginning, and what is around it stays.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy_core::mask::Masker;
use proxy_policy::{Detector, DetectorChoice, Mask, MaskType};
use proxy_ssh::mask::OutputMasker;
use std::sync::LazyLock;

const CANARY: &str = "AKIAQ3EGRJ5NLXVW7TZB";

static MASKER: LazyLock<Masker> = LazyLock::new(|| {
    let with = Mask { type_: MaskType::Redact, keep_last: None };
    Masker::new(
        &[DetectorChoice { detectors: vec![Detector::Secrets], patterns: Vec::new(), with }],
        &[7; 32],
    )
});

fuzz_target!(|data: &[u8]| {
    let [step, pause, at, around @ ..] = data else { return };
    let (step, at) = (usize::from(*step).max(1), usize::from(*at).min(around.len()));
    if around.windows(4).any(|window| window == b"AKIA") {
        return;
    }
    // the key is a word of its own, and no sequence of the terminal swallows it
    let (before, behind) = around.split_at(at);
    let text = [before, b"\n\x1b[0m\n", CANARY.as_bytes(), b"\n", behind].concat();
    let (mut masker, mut out) = (OutputMasker::new(MASKER.clone()), Vec::new());
    for (index, piece) in text.chunks(step).enumerate() {
        masker.push(piece, &mut out);
        if *pause > 0 && index % usize::from(*pause) == 0 {
            masker.quiet(&mut out);
        }
    }
    masker.finish(&mut out);
    let shown = |length: usize| out.windows(length).any(|window| window == &CANARY.as_bytes()[..length]);
    assert!(!shown(if *pause > 0 { 12 } else { CANARY.len() }), "{:?}", String::from_utf8_lossy(&out));
});
