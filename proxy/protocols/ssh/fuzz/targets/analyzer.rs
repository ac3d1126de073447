//! Command lines to effects: an answer to each, the same one again, and no panic, not even one that the analyser would
//! survive. A removal behind a newline is seen whatever stands before it, unless the line is not understood at all.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy_policy::Effects;
use proxy_shell::{analyze, is_complete};

fuzz_target!(|data: &[u8]| {
    let command = analyze(data, "deploy", "web1");
    assert_eq!(command, analyze(data, "deploy", "web1"), "two answers");
    if let Effects::Unknown { why, .. } = &command.reading.effects {
        assert!(!why.is_empty() && command.reading.changes);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if is_complete(text) && !text.ends_with('\\') && matches!(command.reading.effects, Effects::Known(_)) {
        let more = format!("{text}\nrm -rf victim");
        let removes = match &analyze(more.as_bytes(), "deploy", "web1").reading.effects {
            Effects::Unknown { .. } => true,
            Effects::Known(touches) => {
                touches.iter().any(|touch| touch.effect == "Remove" && touch.unbounded)
            }
        };
        assert!(removes, "{more:?}");
    }
});
