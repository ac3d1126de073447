//! What a held request would do, for whoever has to decide: the API server is asked to try it, as the agent, with
//! `dryRun=All`. docs/adr/0012.
//!
//! Nothing of the answer is for the client. What is shown is masked like any answer to the agent, and bounded.

mod attempt;
mod difference;

pub(crate) use attempt::{Attempt, Look};

use super::known;
use crate::analyze::Unknown;
use crate::mask::Masks;
use crate::request::RequestInfo;
use crate::session::Session;
use crate::upstream::{Outgoing, Upstream};
use difference::Side;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use proxy_core::gate::Unasked;
use serde_json::Value;
use std::time::Duration;

/// A request that can be tried.
pub(super) struct Trial {
    info: RequestInfo,
    masks: Masks,
    outgoing: Outgoing,
}

/// Why nothing is known: half a sentence.
type Why = String;

impl Trial {
    /// `None`: it changes nothing, or is none that the API server could only try.
    pub(super) fn of(info: &RequestInfo, masks: &Masks, outgoing: &Outgoing) -> Option<Self> {
        let may_be_tried = info.is_resource
            && info.method.changes()
            && !info.is_proxy()
            && !info.is_connect()
            && info.subresource != "token"
            && info.parameter("dryRun").is_none();
        may_be_tried.then(|| Self { info: info.clone(), masks: masks.clone(), outgoing: outgoing.clone() })
    }

    /// Tries it, and says what came of it: a line, or one for each change.
    ///
    /// Cancel safe.
    pub(super) async fn run(self, upstream: &Upstream, session: &Session, held: &Unasked) -> String {
        let way = Way { upstream, session, held };
        match tokio::time::timeout(PATIENCE, self.tried(&way)).await {
            Ok(Ok(found)) => found,
            Ok(Err(why)) => format!("not tried: {why}"),
            Err(_elapsed) => {
                format!("not tried: the API server did not answer within {} s", PATIENCE.as_secs())
            }
        }
    }

    async fn tried(&self, way: &Way<'_>) -> Result<String, Why> {
        if !self.is_the_api_servers_own(way).await? {
            return Err("another server serves this API, and it may not know what a dry run is".to_owned());
        }
        let attempt = Attempt::dry_run(&self.info, &self.outgoing, &self.masks);
        let attempt = attempt.ok_or("it cannot be written as a dry run")?;
        // before it is tried: what it would change is what is there now
        let before = match self.info.verb {
            "update" | "patch" => Some(self.look(way, &self.info.path).await?),
            _ => None,
        };
        let (status, answer) = way.send(attempt).await?;
        if !status.is_success() {
            return Ok(format!("the API server would refuse it: {}", self.refusal(status, &answer)));
        }
        match before {
            None => Ok(self.done(&answer)),
            Some((StatusCode::NOT_FOUND, _)) => Ok("would create it: there is none now".to_owned()),
            Some((status, before)) if status.is_success() => self.changes(&before, &answer),
            Some((status, _)) => Ok(format!(
                "the API server would do it; what changes cannot be shown, for the agent may not look: {}",
                status.as_u16()
            )),
        }
    }

    /// Whether the API server itself does it, and not one behind it that may never have heard of dry runs.
    async fn is_the_api_servers_own(&self, way: &Way<'_>) -> Result<bool, Why> {
        if self.info.is_built_in() {
            return Ok(true);
        }
        let (status, service) = self.look(way, &Unknown::Server.path(&self.info)).await?;
        if !status.is_success() {
            return Err(format!(
                "whether the API server itself serves {} is not known, for the agent may not look ({})",
                self.info.group,
                status.as_u16()
            ));
        }
        Ok(Unknown::Server.told_by(&service).is_own)
    }

    async fn look(&self, way: &Way<'_>, path: &str) -> Result<(StatusCode, Value), Why> {
        let look = Look::at(path, HeaderMap::new()).ok_or("it cannot be looked at")?;
        way.send(look.into()).await
    }

    /// What a request without a before would do.
    fn done(&self, answer: &Value) -> String {
        match (self.info.verb, self.info.subresource.as_str()) {
            ("create", "") => "would create it".to_owned(),
            ("create", "eviction") => "would evict it: no disruption budget is in the way now".to_owned(),
            ("delete", "") => "would delete it".to_owned(),
            ("deletecollection", _) => self.collection(answer),
            _ => "the API server would do it".to_owned(),
        }
    }

    fn collection(&self, answer: &Value) -> String {
        let items = answer.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let name = |item: &Value| Some(item.get("metadata")?.get("name")?.as_str()?.to_owned());
        let names: Vec<String> = items.iter().take(NAMES).filter_map(name).collect();
        let more = items.len().saturating_sub(names.len());
        let more = if more == 0 { String::new() } else { format!(", and {more} more") };
        let list = self.masks.text(&names.join(", "));
        format!("would delete {} objects: {list}{more}", items.len())
    }

    fn refusal(&self, status: StatusCode, answer: &Value) -> String {
        let masked = self.masks.object(&self.info, answer).unwrap_or_default();
        let message = masked.get("message").and_then(Value::as_str).unwrap_or_default();
        let message: String = message.chars().take(MESSAGE_CHARACTERS).collect();
        format!("{} {message}", status.as_u16())
    }

    fn changes(&self, before: &Value, after: &Value) -> Result<String, Why> {
        let mask = |object: &Value| {
            self.masks.object(&self.info, object).map_err(|_unmaskable| "it cannot be masked".to_owned())
        };
        let (shown_before, shown_after) = (mask(before)?, mask(after)?);
        let lines = difference::lines(
            Side { raw: Some(before), shown: Some(&shown_before) },
            Side { raw: Some(after), shown: Some(&shown_after) },
        );
        if lines.is_empty() {
            return Ok("would change nothing".to_owned());
        }
        // a name that tells is masked too
        let lines: Vec<String> = lines.iter().map(|line| self.masks.text(line)).collect();
        Ok(format!("would change:\n{}", lines.join("\n")))
    }
}

/// As whom and where it is tried.
struct Way<'a> {
    upstream: &'a Upstream,
    session: &'a Session,
    held: &'a Unasked,
}

impl Way<'_> {
    async fn send(&self, attempt: Attempt) -> Result<(StatusCode, Value), Why> {
        let mut own = HeaderMap::new();
        own.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        self.session.agent().sign(self.held.number(), &mut own);
        let response = self.upstream.attempt(self.held, attempt.with_headers(own)).await;
        let response = response.map_err(|failure| failure.message().to_owned())?;
        known::object(response).await
    }
}

/// How long whoever asks for an approval waits for this.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most names of a collection that are shown.
const NAMES: usize = 50;
/// Most characters of the API server's own words.
const MESSAGE_CHARACTERS: usize = 500;
