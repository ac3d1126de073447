//! What a client received, as `portcullis replay` gives it.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proxy_audit::stream::{Channel, StreamDecoder, StreamEvent};
use serde_json::Value;
use std::collections::BTreeMap;

/// Every byte of standard output and of standard error, of what `portcullis replay ID -o json` printed.
///
/// # Errors
/// It is not what that prints, or a frame cannot be read.
pub fn streams(steps: &str) -> Result<[Vec<u8>; 2]> {
    let mut all = channels(steps)?;
    Ok([Channel::STDOUT, Channel::STDERR].map(|channel| all.remove(&channel).unwrap_or_default()))
}

/// Every byte of each channel, of what `portcullis replay ID -o json` printed.
///
/// # Errors
/// It is not what that prints, or a frame cannot be read.
pub fn channels(steps: &str) -> Result<BTreeMap<Channel, Vec<u8>>> {
    let steps: Vec<Value> = serde_json::from_str(steps).context("read the steps")?;
    let mut decoder = StreamDecoder::default();
    let mut all: BTreeMap<Channel, Vec<u8>> = BTreeMap::new();
    for step in steps.iter().filter(|step| step.get("step").is_some_and(|kind| kind == "output")) {
        let frames = step.get("frames").and_then(Value::as_str).context("an output without frames")?;
        for frame in decoder.feed(&STANDARD.decode(frames)?)? {
            if let StreamEvent::Data { channel, bytes } = frame.event {
                all.entry(channel).or_default().extend_from_slice(&bytes);
            }
        }
    }
    Ok(all)
}
