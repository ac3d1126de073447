//! What is asked, in `LogQL`: <https://grafana.com/docs/loki/latest/query/log_queries/>.
//!
//! Texts of the user stand in it as strings of Go, and in regular expressions as themselves: none of them can say more
//! than a text.

use crate::event::key;
use crate::source::Wanted;
use crate::source::loki::answer::label;

/// Characters that mean something in a regular expression.
const MARKS: &str = r"\.+*?()|[]{}^$";

/// The records of the sessions that are wanted; their time is not in a query.
pub(super) fn records(service: &str, wanted: &Wanted) -> String {
    let mut stages = vec![ours(service)];
    if let Some(session) = &wanted.session {
        let begins = string(&format!("{}.*", literal(session)));
        stages.push(format!("{}=~{begins}", label(key::SESSION_ID)));
    }
    if let Some(identity) = &wanted.identity {
        let (id, name) = (label(key::USER_ID), label(key::USER_NAME));
        let (exact, subject) = (string(identity), string(&format!(".*#{}", literal(identity))));
        stages.push(format!("{id}={exact} or {name}={exact} or {id}=~{subject}"));
    }
    if let Some(resource) = &wanted.resource {
        // A name of Kubernetes has no `/`.
        let (namespace, name) =
            resource.split_once('/').map_or((None, resource.as_str()), |(of, name)| (Some(of), name));
        if let Some(namespace) = namespace {
            stages.push(format!("{}={}", label(key::RESOURCE_NAMESPACE), string(namespace)));
        }
        stages.push(format!("{}={}", label(key::RESOURCE_NAME), string(name)));
    }
    stages.join(" | ")
}

/// The records of these sessions.
pub(super) fn of_sessions(service: &str, sessions: &[String]) -> String {
    let sessions: Vec<String> = sessions.iter().map(|session| literal(session)).collect();
    format!("{} | {}=~{}", ours(service), label(key::SESSION_ID), string(&sessions.join("|")))
}

/// Records of logs, and neither checkpoints nor what others log.
fn ours(service: &str) -> String {
    let (schema, sequence) = (label(key::SCHEMA), label(key::SEQUENCE));
    format!(r#"{} | {schema}!="" | {sequence}!="""#, selector(service))
}

/// What gateways export.
pub(super) fn selector(service: &str) -> String {
    format!("{{service_name={}}}", string(service))
}

/// A regular expression (RE2) that fits this text alone.
fn literal(text: &str) -> String {
    let escaped = text.chars().flat_map(|c| MARKS.contains(c).then_some('\\').into_iter().chain([c]));
    escaped.collect()
}

/// A text as a string of Go.
fn string(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.extend(["\\U", &const_hex::encode(u32::from(c).to_be_bytes())]),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
