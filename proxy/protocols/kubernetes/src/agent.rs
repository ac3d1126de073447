//! As whom the gateway acts in the cluster: the agent itself, by impersonation.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation>

use crate::options::Naming;
use crate::status::Failure;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, StatusCode};
use proxy_policy::Identity;

/// Extra facts of an identity, as the cluster's audit log shows them. Percent-encoded: `/` is not allowed in a header's
/// name.
const SESSION: HeaderName = HeaderName::from_static("impersonate-extra-portcullis.dev%2fsession");
const COMMAND: HeaderName = HeaderName::from_static("impersonate-extra-portcullis.dev%2fcommand");
const USER: HeaderName = HeaderName::from_static("impersonate-user");
const GROUP: HeaderName = HeaderName::from_static("impersonate-group");
const UID: HeaderName = HeaderName::from_static("impersonate-uid");

/// Names of the cluster's own components begin so.
const SYSTEM: &str = "system:";

/// An identity as the cluster knows it.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    user: String,
    headers: HeaderMap,
}

impl Agent {
    /// The identity under the Resource's naming, for one session.
    ///
    /// # Errors
    /// It would be one of the cluster's own components, or its name cannot be a header.
    pub(crate) fn new(identity: &Identity, naming: &Naming, session: &str) -> Result<Self, Failure> {
        let user = format!("{}{}", naming.username_prefix, identity.username);
        if naming.username_prefix.is_empty() && user.starts_with(SYSTEM) {
            return Err(refused("user names that begin with system: are the cluster's own"));
        }
        let mut headers = HeaderMap::new();
        headers.insert(USER, value(&user)?);
        // never empty: the subject is that of a verified token
        headers.insert(UID, value(&identity.subject)?);
        let own = |group: &&String| {
            let meant = naming.groups.as_ref().is_none_or(|groups| groups.contains(*group));
            meant && (!naming.groups_prefix.is_empty() || !group.starts_with(SYSTEM))
        };
        for group in identity.groups.iter().filter(own) {
            headers.append(GROUP, value(&format!("{}{group}", naming.groups_prefix))?);
        }
        headers.insert(SESSION, value(session)?);
        Ok(Self { user, headers })
    }

    /// Name of the user in the cluster.
    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    /// Adds the headers that make a request the agent's own which belongs to no command yet.
    pub(crate) fn sign_look(&self, headers: &mut HeaderMap) {
        headers.extend(self.headers.clone());
    }

    /// Adds the headers that make a request the agent's own.
    pub(crate) fn sign(&self, command: u64, headers: &mut HeaderMap) {
        self.sign_look(headers);
        headers.insert(COMMAND, HeaderValue::from(command));
    }
}

fn value(text: &str) -> Result<HeaderValue, Failure> {
    let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~')) && text.trim() == text;
    if !printable || text.is_empty() {
        return Err(refused(
            "a name of the identity is not printable ASCII, so the cluster cannot be told it",
        ));
    }
    HeaderValue::from_str(text).map_err(|_error| refused("a name of the identity cannot be a header"))
}

fn refused(message: &str) -> Failure {
    Failure::new(StatusCode::FORBIDDEN, "Forbidden", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(username: &str, groups: &[&str]) -> Identity {
        Identity {
            issuer: "https://idp.example.com".to_owned(),
            subject: "42".to_owned(),
            username: username.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            claims: serde_json::Map::new(),
        }
    }

    #[test]
    fn an_identity_is_impersonated_with_all_that_is_known_of_it() {
        let agent = Agent::new(&identity("bot", &["a", "b"]), &Naming::default(), "s-1").unwrap();
        let mut headers = HeaderMap::new();
        agent.sign(7, &mut headers);
        assert_eq!(headers["impersonate-user"], "bot");
        assert_eq!(headers["impersonate-uid"], "42");
        assert_eq!(headers.get_all("impersonate-group").iter().count(), 2);
        assert_eq!(headers["impersonate-extra-portcullis.dev%2fsession"], "s-1");
        assert_eq!(headers["impersonate-extra-portcullis.dev%2fcommand"], "7");
    }

    #[test]
    fn nobody_becomes_a_component_of_the_cluster() {
        assert!(Agent::new(&identity("system:admin", &[]), &Naming::default(), "s").is_err());
        let agent = Agent::new(&identity("bot", &["system:masters", "b"]), &Naming::default(), "s").unwrap();
        let groups: Vec<_> = agent.headers.get_all("impersonate-group").iter().collect();
        assert_eq!(groups, ["b"]);
    }

    #[test]
    fn a_prefix_sets_names_apart_from_the_clusters_own() {
        let naming =
            Naming { username_prefix: "idp:".to_owned(), groups_prefix: "idp:".to_owned(), groups: None };
        let agent = Agent::new(&identity("system:admin", &["system:masters"]), &naming, "s").unwrap();
        assert_eq!(agent.user(), "idp:system:admin");
        assert_eq!(agent.headers["impersonate-group"], "idp:system:masters");
    }

    #[test]
    fn groups_that_are_not_meant_are_left_out() {
        let mut naming = Naming { groups_prefix: "idp:".to_owned(), ..Naming::default() };
        naming.groups = Some(["a".to_owned(), "system:masters".to_owned()].into());
        let agent = Agent::new(&identity("bot", &["a", "b", "idp:a"]), &naming, "s").unwrap();
        let groups: Vec<_> = agent.headers.get_all("impersonate-group").iter().collect();
        assert_eq!(groups, ["idp:a"]);
        // named or not, without a prefix the cluster's own stay out
        naming.groups_prefix.clear();
        let agent = Agent::new(&identity("bot", &["system:masters"]), &naming, "s").unwrap();
        assert_eq!(agent.headers.get("impersonate-group"), None);
        naming.groups = Some([].into());
        let agent = Agent::new(&identity("bot", &["a"]), &naming, "s").unwrap();
        assert_eq!(agent.headers.get("impersonate-group"), None);
    }

    #[test]
    fn a_name_that_could_end_a_header_is_refused() {
        for name in ["a\r\nImpersonate-User: admin", "", "é", " a"] {
            assert!(Agent::new(&identity(name, &[]), &Naming::default(), "s").is_err(), "{name:?}");
        }
    }
}
