//! What a command means, by the analyser of its Resource's protocol.

use super::judge::Asker;
use proxy_core::mask::Masker;
use proxy_kubernetes::analyze::Body;
use proxy_kubernetes::mask::Masks;
use proxy_kubernetes::request::RequestInfo;
use proxy_policy::Command;
use proxy_postgres::analyze::{Analyzer, SessionState};
use proxy_postgres::catalogue::Catalogue;

/// Analyses commands of one protocol.
#[derive(Debug)]
pub(super) enum Commands<'a> {
    /// Requests: `METHOD PATH`, and a body in JSON or YAML after it.
    Kubernetes,
    /// Statements.
    Postgresql { analyzer: Analyzer, catalogue: &'a Catalogue },
    /// Command lines.
    Ssh,
}

/// A command, analysed.
#[derive(Debug)]
pub(super) struct Analyzed {
    pub(super) command: Command,
    /// What was not found in the catalogue.
    pub(super) unresolved: Vec<String>,
}

impl<'a> Commands<'a> {
    /// The analyser of a protocol; what is none of the others is PostgreSQL's.
    pub(super) fn new(protocol: &str, catalogue: &'a Catalogue) -> Self {
        match protocol {
            "kubernetes" => Self::Kubernetes,
            "ssh" => Self::Ssh,
            _ => Self::Postgresql { analyzer: Analyzer::new(REMEMBERED), catalogue },
        }
    }

    /// Analyses a command of a fresh session.
    ///
    /// # Errors
    /// Why the gateway would refuse it, whatever the policies say.
    pub(super) fn analyze(&self, asker: Asker<'_>, text: &str) -> Result<Analyzed, String> {
        let known = |command| Analyzed { command, unresolved: Vec::new() };
        match self {
            Self::Kubernetes => request(text).map(known),
            Self::Postgresql { analyzer, catalogue } => {
                let state = SessionState::new(asker.role, asker.namespace);
                let analysis = analyzer.analyze(text, &state, catalogue);
                let command = Command::clone(&analysis.command);
                Ok(Analyzed { command, unresolved: analysis.unresolved.clone() })
            }
            Self::Ssh => Ok(known(proxy_shell::analyze(text.as_bytes(), asker.role, asker.namespace))),
        }
    }
}

fn request(text: &str) -> Result<Command, String> {
    let mut words = text.trim().splitn(3, char::is_whitespace);
    let method = words.next().unwrap_or_default();
    let target = words.next().ok_or("expected METHOD PATH, as in: GET /api/v1/namespaces/shop/pods")?;
    let body = words.next().unwrap_or_default().trim();
    let refused = |refused: proxy_kubernetes::request::Refused| refused.message;
    let info = RequestInfo::read(method, target).map_err(refused)?;
    let body = Body { content_type: content_type(method, body), bytes: body.as_bytes() };
    // whose masks apply makes no difference to what is decided
    let masks = Masks::new(Masker::new(&[], &[0; 32]), &[]);
    proxy_kubernetes::analyze::analyze(&info, body, &masks).map(|analysis| analysis.command).map_err(refused)
}

/// What a client would call the body: a patch is a JSON patch if it is a list, else a merge patch.
fn content_type(method: &str, body: &str) -> Option<&'static str> {
    match (method, body.chars().next()?) {
        ("PATCH", '[') => Some("application/json-patch+json"),
        ("PATCH", _) => Some("application/merge-patch+json"),
        (_, '{') => Some("application/json"),
        _ => Some("application/yaml"),
    }
}

/// Repeated texts are common in a batch.
const REMEMBERED: usize = 1024;
