//! Which attributes an event carries, for readers of the log and for its documentation.

use crate::event::{EventName, SCHEMA_VERSION, key};
use std::fmt::Write as _;

/// One kind of event.
#[derive(Clone, Copy, Debug)]
pub struct EventSchema {
    /// Which.
    pub name: EventName,
    /// What it says.
    pub meaning: &'static str,
    /// Its severities.
    pub severities: &'static str,
    /// Its attributes beside the envelope and the session's stamp. Not all are on every one.
    pub keys: &'static [&'static str],
}

/// Attributes that the spool puts on every record, in this order.
pub const ENVELOPE: &[&str] = &[
    key::SCHEMA,
    key::LOG_ORIGIN,
    key::SEQUENCE,
    key::RECORD_ID,
    key::CHAIN_PREVIOUS,
    key::SESSION_SEQUENCE,
];

/// Attributes that are on every record of a session, after the envelope.
pub const STAMP: &[&str] = &[
    key::SESSION_ID,
    key::USER_ID,
    key::USER_NAME,
    key::USER_ROLES,
    key::CLAIM_PREFIX,
    key::RESOURCE_NAMESPACE,
    key::RESOURCE_NAME,
    key::RESOURCE_PROTOCOL,
    key::ROLE,
    key::NAMESPACE,
    key::HOST,
];

/// All events, in the order in which a session produces them.
pub const EVENTS: &[EventSchema] = &[
    EventSchema {
        name: EventName::SessionStart,
        meaning: "A session began: an identity was verified and may use the resource.",
        severities: "INFO",
        keys: &[
            key::CLIENT_ADDRESS,
            key::CLIENT_PORT,
            key::CLIENT_NAME,
            key::TRANSPORT,
            key::TOKEN_EXPIRES,
            key::TOKEN_ID,
            key::PROXY_INSTANCE,
            key::POLICY_DIGEST,
        ],
    },
    EventSchema {
        name: EventName::Statement,
        meaning: "A command and the verdict on it. On record before the first byte goes upstream.",
        severities: "INFO when allowed, WARN when denied or held",
        keys: &[
            key::COMMAND,
            key::OPERATION,
            key::ACTION,
            key::QUERY_TEXT,
            key::COMMAND_LINE,
            key::REQUEST,
            key::K8S_NAMESPACE,
            key::K8S_POD,
            key::K8S_VERB,
            key::K8S_GROUP,
            key::K8S_RESOURCE,
            key::K8S_SUBRESOURCE,
            key::K8S_NAME,
            key::EFFECTS,
            key::DIGEST,
            key::EFFECT_DIGEST,
            key::VERDICT,
            key::POLICY_NAME,
            key::POLICY_GENERATION,
            key::RULE,
            key::POLICY_DIGEST,
            key::OBSERVED,
            key::REFUSAL_KIND,
            key::REFUSAL_MESSAGE,
            key::REFUSAL_HINT,
        ],
    },
    EventSchema {
        name: EventName::Approval,
        meaning: "A step in the approval of a held command.",
        severities: "INFO when approved, WARN otherwise, ERROR when the control plane failed",
        keys: &[
            key::COMMAND,
            key::APPROVAL_NAME,
            key::APPROVAL_UID,
            key::APPROVAL_VERDICT,
            key::APPROVERS,
            key::APPROVAL_WAIT_MS,
            key::APPROVAL_ESTIMATE,
            key::POLICY_NAME,
            key::POLICY_GENERATION,
            key::RULE,
            key::REASON,
            key::REFUSAL_KIND,
            key::REFUSAL_MESSAGE,
            key::REFUSAL_HINT,
        ],
    },
    EventSchema {
        name: EventName::ResultChunk,
        meaning: "An earlier part of a result that does not fit one record, or behind it what the server sent without \
                  being asked, such as a notification; after masking.",
        severities: "INFO",
        keys: &[key::COMMAND, key::FRAMES, key::CHUNK, key::CHUNK_BYTES, key::CHUNK_KEY],
    },
    EventSchema {
        name: EventName::Result,
        meaning: "How a command ended, with its masked result or the last part of it. On record before the command's \
                  completion is released to the client.",
        severities: "INFO, WARN when aborted or refused, ERROR when it failed",
        keys: &[
            key::COMMAND,
            key::OUTCOME,
            key::ROWS,
            key::BYTES,
            key::DURATION_US,
            key::POLICY_NAME,
            key::POLICY_GENERATION,
            key::RULE,
            key::STATUS_CODE,
            key::EXIT_CODE,
            key::HTTP_STATUS,
            key::TRUNCATED,
            key::MASKED,
            key::FRAMES,
            key::CHUNK,
            key::CHUNK_BYTES,
            key::CHUNK_KEY,
            key::REFUSAL_KIND,
            key::REFUSAL_MESSAGE,
            key::REFUSAL_HINT,
        ],
    },
    EventSchema {
        name: EventName::Error,
        meaning: "Something failed that an investigator should know: a protocol violation, a failed login.",
        severities: "ERROR",
        keys: &[key::REASON, key::CLIENT_ADDRESS, key::CLIENT_PORT],
    },
    EventSchema {
        name: EventName::SessionEnd,
        meaning: "A session ended. After a crash it is written at the next start, with reason `crash_recovered`.",
        severities: "INFO, WARN after a crash",
        keys: &[key::REASON, key::COMMANDS, key::VERDICTS, key::BYTES, key::MASKED_COUNT],
    },
    EventSchema {
        name: EventName::Recorder,
        meaning: "The recorder itself. The first record of every start.",
        severities: "INFO, WARN when something had to be repaired",
        keys: &[
            key::RECORDER_EVENT,
            key::RECOVERED_RECORDS,
            key::TORN_BYTES,
            key::CHECKPOINT_SIZE,
            key::CHECKPOINT_DIGEST,
            key::PREDECESSOR_ORIGIN,
            key::PREDECESSOR_SIZE,
            key::PREDECESSOR_DIGEST,
            key::REMOVED_BELOW,
        ],
    },
    EventSchema {
        name: EventName::Checkpoint,
        meaning: "Only in exports: a signed state of the log, so that copies can be checked where the log is not. It is \
                  no record of the log, and of the envelope has the schema and the origin alone.",
        severities: "INFO",
        keys: &[key::CHECKPOINT_SIZE, key::CHECKPOINT_NOTE],
    },
];

/// `docs/audit-events.md`.
pub fn markdown() -> String {
    let mut out = format!(
        "# Audit events\n\n\
         <!-- Generated from proxy/audit/src/event.rs; UPDATE_GOLDEN=1 cargo test -p proxy-audit docs -->\n\n\
         Schema `{SCHEMA_VERSION}`.\n\
         Every event is an OTLP log record: `event_name`, `time_unix_nano`, `observed_time_unix_nano`, \
         `severity_number` and `severity_text`, `body` (one human line), and attributes.\n\
         Attributes are in a fixed order: the envelope, the session, the event's own.\n\
         Texts and results are recorded after masking; digests are keyed.\n"
    );
    section(&mut out, "On every record", ENVELOPE);
    section(&mut out, "On every record of a session", STAMP);
    for event in EVENTS {
        section(&mut out, &format!("`{}`", event.name.as_str()), event.keys);
        let heading = format!("## `{}`\n\n", event.name.as_str());
        let facts = format!("{heading}{}\nSeverity: {}.\n\n", event.meaning, event.severities);
        out = out.replacen(&heading, &facts, 1);
    }
    out
}

fn section(out: &mut String, title: &str, keys: &[&str]) {
    out.extend(["\n## ", title, "\n\n| key | meaning |\n| --- | --- |\n"]);
    for key in keys {
        let shown = if key.ends_with('.') { format!("{key}*") } else { (*key).to_owned() };
        // Writing to a string cannot fail.
        writeln!(out, "| `{shown}` | {} |", meaning(key)).unwrap_or_default();
    }
}

fn meaning(wanted: &str) -> String {
    let lines = key::ALL.iter().find(|(key, _)| *key == wanted).map(|(_, lines)| *lines).unwrap_or_default();
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_docs_are_those_of_the_code() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/audit-events.md");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, markdown()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(written == markdown(), "{} is stale: run with UPDATE_GOLDEN=1", path.display());
    }

    #[test]
    fn every_key_is_documented_once_per_event_and_used_somewhere() {
        let unused = [key::DB_SYSTEM];
        for (key, lines) in key::ALL {
            assert!(!lines.is_empty(), "{key}");
            let used = ENVELOPE.contains(key)
                || STAMP.contains(key)
                || EVENTS.iter().any(|event| event.keys.contains(key))
                || unused.contains(key);
            assert!(used, "{key} is on no event");
        }
        for event in EVENTS {
            for (number, key) in event.keys.iter().enumerate() {
                assert!(!event.keys.iter().take(number).any(|other| other == key), "{key} twice");
                assert!(!STAMP.contains(key), "{key} is in the stamp");
            }
        }
    }
}
