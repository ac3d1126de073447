//! Refusals in SSH's words: lines on standard error, a reason to disconnect, and an exit status.

use proxy_core::refusal::{Refusal, RefusalKind};
use std::fmt::Write as _;

/// Exit status of what was not run, as shells have it for a command that may not be executed (POSIX, XCU 2.8.2).
pub(crate) const EXIT_STATUS: u32 = 126;

/// A refusal that no policy made.
pub(crate) fn refusal(kind: RefusalKind, message: impl Into<String>, hint: &str) -> Refusal {
    Refusal { kind, rule: None, message: message.into(), hint: hint.to_owned() }
}

/// What a client sees on its standard error. Lines end with CR LF, as the client's terminal may be in raw mode.
pub(crate) fn lines(refusal: &Refusal) -> String {
    let mut text = notice(&refusal.message);
    if !refusal.hint.is_empty() {
        text.push_str(&notice(&refusal.hint));
    }
    text
}

/// One line from the gateway.
pub(crate) fn notice(message: &str) -> String {
    format!("portcullis: {}\r\n", printable(message))
}

/// A refusal on one line: where a protocol has one string for it.
pub(crate) fn sentence(refusal: &Refusal) -> String {
    let mut text = format!("portcullis: {}", printable(&refusal.message));
    if !refusal.hint.is_empty() {
        write!(text, "; {}", printable(&refusal.hint)).unwrap_or_default();
    }
    text
}

/// Without control characters: what a policy's author or an approver wrote must not drive the client's terminal.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::{lines, refusal};
    use proxy_core::refusal::RefusalKind;

    #[test]
    fn nothing_in_a_refusal_drives_a_terminal() {
        let refusal = refusal(RefusalKind::Denied, "no\u{1b}[2J\nportcullis: allowed", "ask");
        assert_eq!(lines(&refusal), "portcullis: no [2J portcullis: allowed\r\nportcullis: ask\r\n");
    }
}
