//! A session again, step by step, as its client and an observer saw it. Knows no protocol: the frames of a result
//! are bytes here.

use crate::chunks::ChunkRef;
use crate::event::{EventName, key};
use crate::query::{FindError, is, session_records};
use crate::record::Record;
use crate::source::Source;
use jiff::Timestamp;
use serde::Serialize;

/// One thing that happened.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// When.
    pub time: Timestamp,
    /// `portcullis.seq` of its record.
    pub sequence: u64,
    /// The command it belongs to.
    pub command: Option<i64>,
    /// What.
    #[serde(flatten)]
    pub kind: StepKind,
}

/// What happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum StepKind {
    /// A step in the approval of a held command.
    Approval {
        /// `requested`, `approved`, `denied`, `expired`, `withdrawn`, `left`, `claimed`.
        verdict: String,
        /// The human line.
        text: String,
        /// Who decided.
        approvers: Vec<String>,
        /// What the client was told, where that was the end of its command.
        #[serde(skip_serializing_if = "Option::is_none")]
        refusal: Option<Refusal>,
    },
    /// A command and the verdict on it.
    Command {
        /// Masked text.
        text: String,
        /// `allow`, `deny` or `hold`.
        verdict: String,
        /// `policy/rule`.
        rule: String,
        /// Operation.
        operation: String,
        /// What the client was told instead of an answer. Absent from records of older gateways.
        #[serde(skip_serializing_if = "Option::is_none")]
        refusal: Option<Refusal>,
    },
    /// The session's end.
    End {
        /// Why.
        reason: String,
    },
    /// Something failed.
    Error {
        /// The human line.
        text: String,
    },
    /// Wire frames of a result, after masking. A frame may be split over several of these.
    Output {
        /// The frames.
        #[serde(serialize_with = "as_base64")]
        frames: Vec<u8>,
    },
    /// The command is done.
    Result {
        /// `ok`, `error`, `refused`, `aborted`.
        outcome: String,
        /// Rows returned or affected.
        rows: Option<i64>,
        /// SQLSTATE, exit code or HTTP status.
        status_code: Option<String>,
        /// The result was longer than what is recorded.
        truncated: bool,
        /// What was masked in it: `column public.users.email ×3`. Names and counts, never values.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        masked: Vec<String>,
        /// What the client was told, where the command was held and no approval released it.
        #[serde(skip_serializing_if = "Option::is_none")]
        refusal: Option<Refusal>,
    },
    /// Part of a result that lies beside the log, encrypted for the auditors, and that nobody opened.
    Sealed {
        /// Bytes of its frames.
        bytes: u64,
        /// Nobody can read it any more: the session's key is gone. `false` also where that cannot be told, as of copies.
        erased: bool,
    },
    /// The session's start.
    Start {
        /// The human line.
        text: String,
    },
}

/// What the client of a refused command was told, in no protocol's words.
#[derive(Clone, Debug, Serialize)]
pub struct Refusal {
    /// What kind of refusal: `denied`. Absent from records of older gateways.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What was refused, and why.
    pub message: String,
    /// What to do next; may be empty.
    pub hint: String,
    /// `policy/rule`.
    pub rule: String,
}

impl Refusal {
    fn of(record: &Record) -> Option<Self> {
        let text = |key| record.text(key).map(str::to_owned);
        Some(Self {
            kind: text(key::REFUSAL_KIND),
            message: text(key::REFUSAL_MESSAGE)?,
            hint: text(key::REFUSAL_HINT).unwrap_or_default(),
            rule: rule(record),
        })
    }
}

fn rule(record: &Record) -> String {
    let text = |key| record.text(key).unwrap_or_default();
    format!("{}/{}", text(key::POLICY_NAME), text(key::RULE)).trim_matches('/').to_owned()
}

/// The steps of the one session whose identifier begins so.
///
/// # Errors
/// See [`FindError`].
pub fn steps(source: &dyn Source, prefix: &str) -> Result<impl Iterator<Item = Step>, FindError> {
    Ok(session_records(source, prefix)?.into_iter().flat_map(|record| steps_of(&record)))
}

/// Says of sealed results that they were erased.
pub fn erased(steps: &mut [Step]) {
    for step in steps {
        if let StepKind::Sealed { erased, .. } = &mut step.kind {
            *erased = true;
        }
    }
}

fn steps_of(record: &Record) -> Vec<Step> {
    let step = |kind| Step {
        time: record.time(),
        sequence: record.sequence(),
        command: record.int(key::COMMAND),
        kind,
    };
    let frames = match (record.bytes(key::FRAMES), ChunkRef::of(record)) {
        (Some(frames), _) => Some(step(StepKind::Output { frames: frames.to_vec() })),
        (None, Some(chunk)) => Some(step(StepKind::Sealed { bytes: chunk.bytes, erased: false })),
        (None, None) => None,
    };
    frames.into_iter().chain(kind(record).map(step)).collect()
}

fn kind(record: &Record) -> Option<StepKind> {
    let text = |key| record.text(key).unwrap_or_default().to_owned();
    let body = record.body().to_owned();
    Some(if is(record, EventName::Statement) {
        let operation = record.operation().to_owned();
        StepKind::Command {
            text: record.command_text().to_owned(),
            verdict: text(key::VERDICT),
            rule: rule(record),
            operation,
            refusal: Refusal::of(record),
        }
    } else if is(record, EventName::Result) {
        StepKind::Result {
            outcome: text(key::OUTCOME),
            rows: record.int(key::ROWS),
            status_code: record.status(),
            truncated: record.truth(key::TRUNCATED).unwrap_or_default(),
            masked: record.list(key::MASKED).into_iter().map(str::to_owned).collect(),
            refusal: Refusal::of(record),
        }
    } else if is(record, EventName::Approval) {
        let approvers = record.list(key::APPROVERS).into_iter().map(str::to_owned).collect();
        let refusal = Refusal::of(record);
        StepKind::Approval { verdict: text(key::APPROVAL_VERDICT), text: body, approvers, refusal }
    } else if is(record, EventName::SessionStart) {
        StepKind::Start { text: body }
    } else if is(record, EventName::SessionEnd) {
        StepKind::End { reason: text(key::REASON) }
    } else if is(record, EventName::Error) {
        StepKind::Error { text: body }
    } else {
        return None;
    })
}

fn as_base64<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    use base64::Engine as _;
    serializer.serialize_str(&base64::engine::general_purpose::STANDARD.encode(bytes))
}
