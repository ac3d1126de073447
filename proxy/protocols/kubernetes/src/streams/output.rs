//! What a program writes, on its way to the client: masked, recorded, released.

use super::tape::Tape;
use proxy_audit::stream::{Channel, StreamEvent};
use proxy_core::mask::{MaskCounts, Masker, StreamMasker};
use proxy_core::refusal::Refusal;
use serde_json::Value;
use std::time::Duration;

/// After so long without more, a line without an end is shown: somebody waits at a prompt.
pub(super) const QUIET: Duration = Duration::from_millis(20);

/// One output stream.
#[derive(Debug)]
pub(super) struct Output {
    channel: Channel,
    kind: Masker,
    masker: StreamMasker,
}

impl Output {
    pub(super) fn new(channel: Channel, masker: Masker) -> Self {
        Self { channel, masker: StreamMasker::new(masker.clone()), kind: masker }
    }

    /// Takes bytes; gives those that are on record and may be sent.
    ///
    /// # Errors
    /// They cannot be recorded.
    pub(super) async fn push(&mut self, bytes: &[u8], tape: &mut Tape) -> Result<Vec<u8>, Refusal> {
        let mut out = Vec::with_capacity(bytes.len());
        self.masker.push(bytes, &mut out);
        tape.follow(self.channel, &out);
        tape.data(self.channel, &out).await?;
        Ok(out)
    }

    /// Whether [`Output::quiet`] may give something.
    pub(super) fn holds(&self) -> bool {
        self.masker.holds()
    }

    /// Nothing has come for [`QUIET`].
    ///
    /// # Errors
    /// What was held cannot be recorded.
    pub(super) async fn quiet(&mut self, tape: &mut Tape) -> Result<Vec<u8>, Refusal> {
        let mut out = Vec::new();
        self.masker.quiet(&mut out);
        tape.follow(self.channel, &out);
        tape.data(self.channel, &out).await?;
        Ok(out)
    }

    /// The stream has ended: gives the rest.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub(super) async fn finish(&mut self, tape: &mut Tape) -> Result<Vec<u8>, Refusal> {
        let mut out = Vec::new();
        let mut masker = std::mem::replace(&mut self.masker, StreamMasker::new(self.kind.clone()));
        masker.finish(&mut out);
        tape.count(masker.counts());
        tape.follow(self.channel, &out);
        tape.data(self.channel, &out).await?;
        Ok(out)
    }
}

/// The outcome of a command, as the error channel says it: masked and on record.
///
/// # Errors
/// It cannot be recorded.
pub(super) async fn outcome(status: &[u8], tape: &mut Tape) -> Result<Vec<u8>, Refusal> {
    let mut counts = MaskCounts::default();
    let masked = tape.masker().text(status, &mut counts).into_owned();
    tape.count(&counts);
    if let Some(code) = exit_code(&masked) {
        tape.event(&StreamEvent::Exit(code)).await?;
    } else {
        tape.fail();
        tape.data(Channel::STDERR, &masked).await?;
    }
    Ok(masked)
}

/// Of `v4.channel.k8s.io`: a `Status`, whose cause `ExitCode` is the program's own.
fn exit_code(status: &[u8]) -> Option<i32> {
    let status: Value = serde_json::from_slice(status).ok()?;
    if status.get("status")?.as_str()? == "Success" {
        return Some(0);
    }
    let causes = status.get("details")?.get("causes")?.as_array()?;
    let cause = causes.iter().find(|cause| cause.get("reason").is_some_and(|reason| reason == "ExitCode"))?;
    cause.get("message")?.as_str()?.parse().ok()
}

/// The terminal's size, as a client says it: `{"Width":80,"Height":24}`.
pub(super) fn size(message: &[u8]) -> Option<StreamEvent> {
    let size: Value = serde_json::from_slice(message).ok()?;
    let length = |name| size.get(name).and_then(Value::as_u64).and_then(|cells| u16::try_from(cells).ok());
    Some(StreamEvent::Resize { columns: length("Width")?, rows: length("Height")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_is_read_out_of_a_status() {
        assert_eq!(exit_code(br#"{"metadata":{},"status":"Success"}"#), Some(0));
        let failed = br#"{"metadata":{},"status":"Failure","reason":"NonZeroExitCode",
            "details":{"causes":[{"reason":"ExitCode","message":"7"}]}}"#;
        assert_eq!(exit_code(failed), Some(7));
        assert_eq!(exit_code(br#"{"status":"Failure","message":"no such container"}"#), None);
        assert_eq!(exit_code(b"not json"), None);
    }

    #[test]
    fn a_size_is_read_out_of_a_message() {
        let event = size(br#"{"Width":80,"Height":24}"#);
        assert_eq!(event, Some(StreamEvent::Resize { columns: 80, rows: 24 }));
        assert_eq!(size(br#"{"Width":80000,"Height":24}"#), None);
    }
}
