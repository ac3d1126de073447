//! Setting conditions without touching what did not change.
//! <https://github.com/kubernetes/community/blob/main/contributors/devel/sig-architecture/api-conventions.md#typical-status-properties>

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Longest message, in characters; the API allows 32768.
const MAX_MESSAGE: usize = 2048;

/// What a condition is to say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wanted {
    /// Its type.
    pub kind: &'static str,
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    /// One word for machines.
    pub reason: &'static str,
    /// What it is about and what to do, for people.
    pub message: String,
}

impl Wanted {
    /// Status `True`.
    pub fn yes(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, status: "True", reason, message: message.into() }
    }

    /// Status `False`.
    pub fn no(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, status: "False", reason, message: message.into() }
    }

    /// Status `Unknown`.
    pub fn unknown(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, status: "Unknown", reason, message: message.into() }
    }

    /// Whether it says `True`.
    pub fn holds(&self) -> bool {
        self.status == "True"
    }
}

/// The conditions that are wanted, with the transition times of those whose status stays as it is.
pub fn merge(
    before: &[Condition],
    wanted: Vec<Wanted>,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let merged = wanted.into_iter().map(|wanted| {
        let same = before.iter().find(|old| old.type_ == wanted.kind && old.status == wanted.status);
        Condition {
            last_transition_time: same.map_or(Time(now), |old| old.last_transition_time.clone()),
            message: wanted.message.chars().take(MAX_MESSAGE).collect(),
            observed_generation: generation,
            reason: wanted.reason.to_owned(),
            status: wanted.status.to_owned(),
            type_: wanted.kind.to_owned(),
        }
    });
    merged.collect()
}

/// A condition by type.
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Whether a condition is there and `True`.
pub fn holds(conditions: &[Condition], kind: &str) -> bool {
    find(conditions, kind).is_some_and(|condition| condition.status == "True")
}

/// Conditions whose status is another one than before, or that are new: what is worth an Event.
pub fn transitions<'a>(before: &[Condition], after: &'a [Condition]) -> Vec<&'a Condition> {
    let changed = |new: &&Condition| {
        find(before, &new.type_).is_none_or(|old| old.status != new.status || old.reason != new.reason)
    };
    after.iter().filter(changed).collect()
}

#[cfg(test)]
mod tests {
    use super::{Wanted, merge, transitions};

    #[test]
    fn the_transition_time_changes_with_the_status_only() {
        let first = "2026-01-01T00:00:00Z".parse().unwrap();
        let later = "2026-01-02T00:00:00Z".parse().unwrap();
        let before = merge(&[], vec![Wanted::no("Ready", "Starting", "a")], Some(1), first);
        let same = merge(&before, vec![Wanted::no("Ready", "Waiting", "b")], Some(2), later);
        assert_eq!(same[0].last_transition_time.0, first);
        assert_eq!((same[0].reason.as_str(), same[0].observed_generation), ("Waiting", Some(2)));
        let other = merge(&same, vec![Wanted::yes("Ready", "Serving", "c")], Some(2), later);
        assert_eq!(other[0].last_transition_time.0, later);
        assert_eq!(transitions(&same, &other).len(), 1);
        assert!(transitions(&other, &other).is_empty());
    }
}
