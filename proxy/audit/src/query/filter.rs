//! Which sessions, commands and approvals somebody asks for.

use crate::query::{ApprovalRow, Command, SessionSummary};
use jiff::Timestamp;

/// What a statement's verdict may be.
pub const VERDICTS: [&str; 3] = ["allow", "deny", "hold"];

/// What a step in an approval may be called.
pub const APPROVAL_VERDICTS: [&str; 7] =
    ["requested", "approved", "denied", "expired", "withdrawn", "left", "claimed"];

/// Conditions; all given ones must hold. A session fits conditions on commands when one of its commands fits them all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// User identifier `issuer#subject`, its subject alone, or the user name.
    pub identity: Option<String>,
    /// One of the user's groups.
    pub group: Option<String>,
    /// Resource, as `name` or `namespace/name`.
    pub resource: Option<String>,
    /// Not ended before; of a command or approval: not before.
    pub since: Option<Timestamp>,
    /// Begun before; of a command or approval: before.
    pub until: Option<Timestamp>,
    /// Claims that are on its records, by name and value.
    pub claims: Vec<(String, String)>,
    /// Sessions whose identifier begins so.
    pub session: Option<String>,
    /// The verdict: one of [`VERDICTS`], of an approval one of [`APPROVAL_VERDICTS`].
    pub verdict: Option<String>,
    /// The rule that decided, as `rule` or `policy/rule`.
    pub rule: Option<String>,
    /// Part of the masked text; upper and lower case are the same.
    pub text: Option<String>,
    /// Something that was masked: name of a detector or of a column, `Jwt`, `public.users.email`.
    pub detector: Option<String>,
}

impl Filter {
    /// Whether something is asked of commands.
    pub fn asks_of_commands(&self) -> bool {
        self.verdict.is_some() || self.rule.is_some() || self.text.is_some() || self.detector.is_some()
    }

    /// Whether the session fits, its commands aside.
    pub fn admits_session(&self, session: &SessionSummary) -> bool {
        self.admits_who(session)
            && self.since.is_none_or(|since| session.end.unwrap_or(session.last) >= since)
            && self.until.is_none_or(|until| session.start < until)
    }

    /// Whether it is a session of whom and where is asked for, whenever it was.
    pub fn admits_who(&self, session: &SessionSummary) -> bool {
        let identity = |wanted: &String| {
            session.user == *wanted
                || session.user_name == *wanted
                || session.user.rsplit_once('#').is_some_and(|(_, subject)| subject == wanted)
        };
        let resource = |wanted: &String| {
            session.resource == *wanted || format!("{}/{}", session.namespace, session.resource) == *wanted
        };
        self.identity.as_ref().is_none_or(identity)
            && self.group.as_ref().is_none_or(|group| session.groups.contains(group))
            && self.resource.as_ref().is_none_or(resource)
            && self.session.as_ref().is_none_or(|prefix| session.id.starts_with(prefix.as_str()))
            && self.claims.iter().all(|(name, value)| session.claims.get(name) == Some(value))
    }

    /// Whether something at this time fits.
    pub fn admits_time(&self, time: Timestamp) -> bool {
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until)
    }

    /// Whether the command fits what is asked of commands.
    pub fn admits_command(&self, command: &Command) -> bool {
        self.verdict.as_ref().is_none_or(|verdict| command.verdict == *verdict)
            && self.admits_rule(&command.rule)
            && self.admits_text(&command.text)
            && self.detector.as_ref().is_none_or(|wanted| {
                command.masked.iter().any(|masked| masked_name(masked).eq_ignore_ascii_case(wanted))
            })
    }

    /// Whether the step of an approval fits. Nothing is masked in one, so one that is asked for a detector fits never.
    pub fn admits_approval(&self, row: &ApprovalRow) -> bool {
        self.verdict.as_ref().is_none_or(|verdict| row.approval.verdict == *verdict)
            && self.admits_rule(&row.rule)
            && self.admits_text(&row.text)
            && self.detector.is_none()
    }

    fn admits_rule(&self, rule: &str) -> bool {
        self.rule.as_ref().is_none_or(|wanted| {
            rule == wanted || rule.rsplit_once('/').is_some_and(|(_, name)| name == wanted)
        })
    }

    fn admits_text(&self, text: &str) -> bool {
        self.text.as_ref().is_none_or(|wanted| text.to_lowercase().contains(&wanted.to_lowercase()))
    }
}

/// The name in `column public.users.email ×3` and `detector Jwt ×1`.
pub(crate) fn masked_name(masked: &str) -> &str {
    let name = masked.split_once(' ').map_or(masked, |(_, name)| name);
    name.rsplit_once(" ×").map_or(name, |(name, _)| name)
}
