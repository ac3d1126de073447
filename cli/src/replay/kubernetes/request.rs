//! A request as the command line of kubectl that would have sent it.
//!
//! Only what is certain is written so: parameters that are not known here, or a name that a shell would read otherwise,
//! leave the request as it was recorded.

use crate::output::printable;
use std::collections::BTreeMap;

/// A request, read from the text of its record.
#[derive(Debug, Default)]
pub(super) struct Request {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    /// The command line of an exec, quoted as a shell needs it.
    command: Option<String>,
    body: Option<String>,
    /// What it is about; `None`: a path that is no resource, or not certain.
    target: Option<Target>,
}

/// What a request is about.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Target {
    group: String,
    pub(super) resource: String,
    namespace: Option<String>,
    pub(super) name: Option<String>,
    subresource: Option<String>,
}

impl Target {
    /// `deployments.apps`.
    fn kind(&self) -> String {
        if self.group.is_empty() {
            self.resource.clone()
        } else {
            format!("{}.{}", self.resource, self.group)
        }
    }
}

impl Request {
    /// The form is that of `portcullis.command.text`: `GET /path?name=value -- command line`, then the body.
    pub(super) fn read(text: &str) -> Self {
        let (line, body) = text.split_once('\n').map_or((text, None), |(line, body)| (line, Some(body)));
        let (line, command) = line.split_once(" -- ").map_or((line, None), |(line, rest)| (line, Some(rest)));
        let (method, address) = line.split_once(' ').unwrap_or((line, ""));
        let (path, query) = address.split_once('?').unwrap_or((address, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let query = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let query = query.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut request = Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query,
            command: command.map(str::to_owned),
            body: body.map(str::to_owned),
            target: None,
        };
        request.target = target(path).filter(|_| request.is_certain(address));
        request
    }

    /// Whether nothing of it could be read in another way.
    fn is_certain(&self, address: &str) -> bool {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._:/?&=,!()%".contains(c);
        address.chars().all(plain)
            && address.matches('?').count() <= 1
            && self.query.keys().all(|name| KNOWN.contains(&name.as_str()))
    }

    /// What it is about.
    pub(super) fn target(&self) -> Option<&Target> {
        self.target.as_ref()
    }

    fn is(&self, name: &str) -> bool {
        self.query.get(name).is_some_and(|value| matches!(value.as_str(), "true" | "1"))
    }

    /// Whether it asks for events, one after another.
    pub(super) fn is_watch(&self) -> bool {
        self.is("watch") || self.path.contains("/watch/")
    }

    /// Whether it may change something.
    pub(super) fn changes(&self) -> bool {
        self.method != "GET" && self.method != "HEAD"
    }

    /// What kubectl says that it did: `created`.
    pub(super) fn done(&self) -> &'static str {
        match self.method.as_str() {
            "POST" => "created",
            "PUT" => "replaced",
            "PATCH" => "patched",
            "DELETE" => "deleted",
            _ => "",
        }
    }

    /// The command line; `None`: kubectl has no words for it.
    pub(super) fn line(&self) -> Option<String> {
        let told = self.body.as_deref().is_none_or(|body| body.trim() == USUAL_DELETE);
        if self.method == "DELETE" && !told {
            return None;
        }
        let mut words = match &self.target {
            Some(target) => self.resource(target)?,
            None if self.method == "GET" && self.path.starts_with('/') && self.has_no_options() => {
                vec!["get".to_owned(), "--raw".to_owned(), quoted(&self.path)?]
            }
            None => return None,
        };
        words.insert(0, "kubectl".to_owned());
        if let Some(namespace) = self.target.as_ref().and_then(|target| target.namespace.as_ref()) {
            words.push(format!("--namespace={namespace}"));
        }
        words.extend(self.options());
        let mut line = words.join(" ");
        match (&self.command, &self.body) {
            (Some(command), _) => line.extend([" -- ", &printable(command)]),
            (None, Some(body)) if self.method == "PATCH" => {
                line.extend([" --patch='", &printable(body).replace('\'', r"'\''"), "'"]);
            }
            (None, Some(body)) if matches!(self.method.as_str(), "POST" | "PUT") => {
                line.extend([" --filename=- <<'.'\n", &printable(body), "\n."]);
            }
            (None, _) => {}
        }
        Some(line)
    }

    /// The words that say what is done to what.
    fn resource(&self, target: &Target) -> Option<Vec<String>> {
        let all = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
        let kind = target.kind();
        let name = target.name.as_deref();
        match (self.method.as_str(), name, target.subresource.as_deref()) {
            ("GET" | "POST", Some(name), Some("exec")) => all(&["exec", name]),
            ("GET" | "POST", Some(name), Some("attach")) => all(&["attach", name]),
            ("GET" | "POST", Some(name), Some("portforward")) => all(&["port-forward", name]),
            ("GET", Some(name), Some("log")) => all(&["logs", name]),
            ("GET", None, None) if self.is_watch() => all(&["get", &kind, "--watch"]),
            ("GET", None, None) => all(&["get", &kind]),
            ("GET", Some(name), None) => all(&["get", &kind, name]),
            ("GET", Some(name), Some(sub)) => all(&["get", &kind, name, &format!("--subresource={sub}")]),
            ("POST", None, None) => all(&["create"]),
            ("PUT", Some(_), None) => all(&["replace"]),
            ("PATCH", Some(name), None) => all(&["patch", &kind, name]),
            ("PATCH", Some(name), Some(sub)) => all(&["patch", &kind, name, &format!("--subresource={sub}")]),
            ("DELETE", Some(name), None) => all(&["delete", &kind, name]),
            ("DELETE", None, None) => all(&["delete", &kind, "--all"]),
            _ => None,
        }
    }

    /// Whether nothing is asked for that `get --raw` of the path alone would not: clients put how long they wait into
    /// discovery.
    fn has_no_options(&self) -> bool {
        self.query.iter().all(|(name, value)| {
            name == "timeout" && value.chars().all(|c| c.is_ascii_alphanumeric() || c == '.')
        })
    }

    fn options(&self) -> Vec<String> {
        let mut options = Vec::new();
        let everywhere = self.target.as_ref().is_some_and(|target| {
            target.namespace.is_none()
                && target.name.is_none()
                && NAMESPACED.contains(&target.resource.as_str())
        });
        if everywhere {
            options.push("--all-namespaces".to_owned());
        }
        for (parameter, option) in SWITCHES {
            if self.is(parameter) {
                options.push(option.to_owned());
            }
        }
        for (parameter, option) in VALUES {
            if let Some(value) = self.query.get(parameter).filter(|value| !value.is_empty()) {
                options.push(format!("{option}={value}"));
            }
        }
        if self.query.get("dryRun").is_some_and(|value| value == "All") {
            options.push("--dry-run=server".to_owned());
        }
        options
    }
}

/// A path as a shell would need it.
fn quoted(path: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:/%".contains(c);
    path.chars().all(plain).then(|| path.to_owned())
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris>
fn target(path: &str) -> Option<Target> {
    let mut parts = path.strip_prefix('/')?.split('/').filter(|part| !part.is_empty());
    let group = match parts.next()? {
        "api" => "",
        "apis" => parts.next()?,
        _ => return None,
    };
    parts.next()?; // the version
    let mut parts: Vec<&str> = parts.collect();
    if parts.first() == Some(&"watch") {
        parts.remove(0);
    }
    let mut target = Target { group: group.to_owned(), ..Target::default() };
    let mut rest = parts.as_slice();
    if let ["namespaces", namespace, below @ ..] = rest
        && !below.is_empty()
        && !matches!(below, ["status" | "finalize"])
    {
        target.namespace = Some((*namespace).to_owned());
        rest = below;
    }
    let mut rest = rest.iter().map(|part| (*part).to_owned());
    target.resource = rest.next()?;
    target.name = rest.next();
    let subresource = rest.collect::<Vec<_>>().join("/");
    target.subresource = Some(subresource).filter(|subresource| !subresource.is_empty());
    Some(target)
}

/// Options of a delete that kubectl sends where it is told nothing.
const USUAL_DELETE: &str = r#"{"propagationPolicy":"Background"}"#;
/// Parameters that are shown as an option, or say nothing to people.
const KNOWN: [&str; 24] = [
    "allowWatchBookmarks",
    "command",
    "container",
    "continue",
    "dryRun",
    "fieldManager",
    "fieldSelector",
    "fieldValidation",
    "follow",
    "force",
    "labelSelector",
    "limit",
    "ports",
    "previous",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "stderr",
    "stdin",
    "stdout",
    "tailLines",
    "timeoutSeconds",
    "tty",
    "watch",
];
const SWITCHES: [(&str, &str); 4] =
    [("stdin", "--stdin"), ("tty", "--tty"), ("follow", "--follow"), ("previous", "--previous")];
const VALUES: [(&str, &str); 4] = [
    ("container", "--container"),
    ("labelSelector", "--selector"),
    ("fieldSelector", "--field-selector"),
    ("tailLines", "--tail"),
];
/// Kinds of which a list without a namespace is one of all namespaces. Of others it is not known.
const NAMESPACED: [&str; 12] = [
    "configmaps",
    "cronjobs",
    "daemonsets",
    "deployments",
    "events",
    "ingresses",
    "jobs",
    "pods",
    "replicasets",
    "secrets",
    "services",
    "statefulsets",
];
