//! What this gateway says to a client itself, in PostgreSQL's words.
//!
//! Codes are from <https://www.postgresql.org/docs/18/errcodes-appendix.html>, fields from
//! <https://www.postgresql.org/docs/18/protocol-error-fields.html>. Encoded by pgwire's types.

use bytes::BytesMut;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::{ErrorResponse, NoticeResponse, ReadyForQuery, TransactionStatus};
use proxy_core::gate::Notice;
use proxy_core::refusal::{Refusal, RefusalKind};

/// How bad it is for the session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Severity {
    /// The command is refused, the session goes on.
    Error,
    /// The session ends.
    Fatal,
}

/// SQLSTATE of a refusal.
pub(crate) const fn sqlstate(kind: RefusalKind, severity: Severity) -> &'static str {
    match kind {
        RefusalKind::Authentication => "28000",
        // insufficient_privilege, as the server itself says of what a role may not do
        RefusalKind::Denied | RefusalKind::ApprovalDenied | RefusalKind::ApprovalExpired => "42501",
        // query_canceled
        RefusalKind::Withdrawn => "57014",
        // system_error; cannot_connect_now before there is a session
        RefusalKind::Unavailable => match severity {
            Severity::Error => "58000",
            Severity::Fatal => "57P03",
        },
        // admin_shutdown: drivers take it for a connection that is gone
        RefusalKind::SessionEnded => "57P01",
        // protocol_violation
        RefusalKind::Protocol => "08P01",
        // program_limit_exceeded
        RefusalKind::TooLarge => "54000",
        // too_many_connections
        RefusalKind::Full => "53300",
    }
}

/// Appends `ErrorResponse`.
pub(crate) fn put_refusal(refusal: &Refusal, severity: Severity, out: &mut BytesMut) {
    let word = match severity {
        Severity::Error => "ERROR",
        Severity::Fatal => "FATAL",
    };
    let mut fields = fields(word, sqlstate(refusal.kind, severity), &refusal.message);
    if let Some(rule) = refusal.rule.as_ref().filter(|rule| !rule.rule.is_empty()) {
        let detail = if rule.policy.is_empty() {
            format!("built-in rule {}", rule.rule)
        } else {
            format!("policy {}, rule {}", rule.policy, rule.rule)
        };
        fields.push((b'D', line(&detail)));
    }
    if !refusal.hint.is_empty() {
        fields.push((b'H', line(&refusal.hint)));
    }
    put(PgWireBackendMessage::ErrorResponse(ErrorResponse::new(fields)), out);
}

/// Appends `NoticeResponse` for a command that waits.
pub(crate) fn put_notice(notice: &Notice, out: &mut BytesMut) {
    // 00000: nothing is wrong
    let mut fields = fields("NOTICE", "00000", &notice.message);
    fields.push((b'H', line(&notice.hint)));
    put(PgWireBackendMessage::NoticeResponse(NoticeResponse::new(fields)), out);
}

/// Appends `ReadyForQuery`.
pub(crate) fn put_ready(status: TransactionStatus, out: &mut BytesMut) {
    put(PgWireBackendMessage::ReadyForQuery(ReadyForQuery::new(status)), out);
}

/// Appends one message.
#[expect(clippy::needless_pass_by_value, reason = "a message is built to be sent, and then gone")]
pub(crate) fn put(message: PgWireBackendMessage, out: &mut BytesMut) {
    let before = out.len();
    if let Err(error) = message.encode(out) {
        // Half a message would be worse than none; a message of ours has no reason to fail.
        out.truncate(before);
        tracing::error!(%error, "encode message");
    }
}

/// A refusal that no rule is to blame for.
pub(crate) fn refusal(kind: RefusalKind, message: impl Into<String>, hint: &str) -> Refusal {
    Refusal { kind, rule: None, message: message.into(), hint: hint.to_owned() }
}

fn fields(severity: &str, code: &str, message: &str) -> Vec<(u8, String)> {
    vec![
        (b'S', severity.to_owned()),
        (b'V', severity.to_owned()),
        (b'C', code.to_owned()),
        (b'M', line(message)),
    ]
}

/// A NUL would end the field.
fn line(text: &str) -> String {
    text.replace('\0', " ")
}

#[cfg(test)]
mod tests {
    use super::{Severity, put_refusal, refusal};
    use bytes::BytesMut;
    use proxy_core::refusal::RefusalKind;

    #[test]
    fn a_refusal_is_one_whole_error_response() {
        let mut out = BytesMut::new();
        put_refusal(&refusal(RefusalKind::Denied, "no\0drops", "ask"), Severity::Error, &mut out);
        assert_eq!(&out[..], b"E\0\0\0)SERROR\0VERROR\0C42501\0Mno drops\0Hask\0\0".as_slice());
    }
}
