//! Which sessions somebody asks for.

use crate::query::SessionSummary;
use jiff::Timestamp;

/// Conditions on a session; all given ones must hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// User identifier `issuer#subject`, its subject alone, or the user name.
    pub identity: Option<String>,
    /// One of its groups.
    pub group: Option<String>,
    /// Resource, as `name` or `namespace/name`.
    pub resource: Option<String>,
    /// Not ended before.
    pub since: Option<Timestamp>,
    /// Begun before.
    pub until: Option<Timestamp>,
    /// A command got this verdict: `allow`, `deny` or `hold`.
    pub verdict: Option<String>,
    /// Claims that are on its records, by name and value.
    pub claims: Vec<(String, String)>,
}

impl Filter {
    /// Whether the session fits.
    pub fn admits(&self, session: &SessionSummary) -> bool {
        let identity = |wanted: &String| {
            session.user == *wanted
                || session.user_name == *wanted
                || session.user.rsplit_once('#').is_some_and(|(_, subject)| subject == wanted)
        };
        let resource = |wanted: &String| {
            session.resource == *wanted || format!("{}/{}", session.namespace, session.resource) == *wanted
        };
        let verdict = |wanted: &String| match wanted.as_str() {
            "allow" => session.allowed > 0,
            "deny" => session.denied > 0,
            "hold" => session.held > 0,
            _ => false,
        };
        self.identity.as_ref().is_none_or(identity)
            && self.group.as_ref().is_none_or(|group| session.groups.contains(group))
            && self.resource.as_ref().is_none_or(resource)
            && self.since.is_none_or(|since| session.end.unwrap_or(session.last) >= since)
            && self.until.is_none_or(|until| session.start < until)
            && self.verdict.as_ref().is_none_or(verdict)
            && self.claims.iter().all(|(name, value)| session.claims.get(name) == Some(value))
    }
}
