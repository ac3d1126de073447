//! Whether a rule is about a request to a Kubernetes API server.

use crds::v1alpha1::{KubernetesMatch, RuleAction};

use super::Problems;
use super::exec::ExecRule;
use super::glob::Globs;
use crate::{ApiRequest, Touch};

/// A `kubernetes` stanza, compiled.
#[derive(Debug)]
pub(crate) struct KubernetesRule {
    verbs: Globs,
    groups: Globs,
    resources: Globs,
    /// Some pattern of `resources` is `*`: every resource and subresource.
    every_resource: bool,
    subresources: Globs,
    namespaces: Globs,
    names: Globs,
    urls: Globs,
    exec: ExecRule,
    images: Globs,
    fields: Globs,
    stdin: Option<bool>,
    tty: Option<bool>,
    dry_run: Option<bool>,
    /// Nothing is set: about everything.
    open: bool,
}

impl KubernetesRule {
    pub(super) fn compile(
        path: &str,
        stanza: &KubernetesMatch,
        action: RuleAction,
        problems: &mut Problems<'_>,
    ) -> Self {
        check(path, stanza, problems);
        Self {
            verbs: Globs::new(&stanza.verbs),
            groups: Globs::new(&stanza.api_groups),
            resources: Globs::new(&stanza.resources),
            every_resource: stanza.resources.iter().any(|pattern| pattern == "*"),
            subresources: Globs::new(&stanza.subresources),
            namespaces: Globs::new(&stanza.namespaces),
            names: Globs::new(&stanza.names),
            urls: Globs::new(&stanza.non_resource_urls),
            exec: ExecRule::compile(path, stanza, action, problems),
            images: Globs::new(&stanza.images),
            fields: Globs::new(&stanza.fields),
            stdin: stanza.stdin,
            tty: stanza.tty,
            dry_run: stanza.dry_run,
            open: *stanza == KubernetesMatch::default(),
        }
    }

    /// Whether the rule is about a touch. What cannot be told is meant by a `Deny` of everything alone; the caller has
    /// seen to the other actions.
    pub(super) fn matches(&self, touch: &Touch, action: RuleAction) -> bool {
        let Some(request) = touch.detail.request() else { return self.open };
        met(&self.verbs, &request.verb, action)
            && self.matches_place(request, action)
            && (self.matches_particulars(request, action) || may_have_any(request, action))
    }

    fn matches_particulars(&self, request: &ApiRequest, action: RuleAction) -> bool {
        self.matches_exec(request, action)
            && (self.images.is_empty() || every_or_any(action, &self.images, &request.images))
            && self.matches_fields(request, action)
            && self.dry_run.is_none_or(|dry_run| dry_run == request.dry_run)
    }

    fn matches_place(&self, request: &ApiRequest, action: RuleAction) -> bool {
        if request.resource.is_empty() {
            let resources =
                [&self.groups, &self.resources, &self.subresources, &self.namespaces, &self.names];
            return if self.urls.is_empty() {
                resources.into_iter().all(Globs::is_empty)
            } else {
                met(&self.urls, &request.path, action)
            };
        }
        self.urls.is_empty()
            && met(&self.groups, &request.group, action)
            && (self.matches_resource(request) || is_any(&request.resource, action))
            && (met(&self.subresources, &request.subresource, action) || is_any(&request.resource, action))
            && self.matches_namespace(request, action)
            && self.matches_name(request, action)
    }

    /// Of every namespace, the ones that are meant are among them. What stands in none is in none that is meant.
    fn matches_namespace(&self, request: &ApiRequest, action: RuleAction) -> bool {
        self.namespaces.is_empty()
            || (request.every_namespace && action != RuleAction::Allow)
            || (!request.namespace.is_empty() && self.namespaces.matches(&request.namespace))
    }

    /// `pods` is not `pods/exec`: whoever may read pods may not thereby run programs in them.
    fn matches_resource(&self, request: &ApiRequest) -> bool {
        if self.resources.is_empty() || self.every_resource {
            return true;
        }
        if request.subresource.is_empty() {
            return self.resources.matches(&request.resource);
        }
        let whole = format!("{}/{}", request.resource, request.subresource);
        self.resources.iter().any(|glob| glob.contains('/') && glob.matches(&whole))
            // with `subresources`, `resources` may name the resource alone
            || (!self.subresources.is_empty() && self.resources.matches(&request.resource))
    }

    fn matches_name(&self, request: &ApiRequest, action: RuleAction) -> bool {
        self.names.is_empty()
            || (request.name.is_empty() && action != RuleAction::Allow)
            || (!request.name.is_empty() && self.names.matches(&request.name))
            || (action != RuleAction::Allow && self.names.matches(proxied(request)))
    }

    fn matches_exec(&self, request: &ApiRequest, action: RuleAction) -> bool {
        let streams = matches!(request.subresource.as_str(), "exec" | "attach");
        let is = |wanted: Option<bool>, given| wanted.is_none_or(|wanted| streams && wanted == given);
        self.exec.is_about(&request.runs, action)
            && is(self.stdin, request.stdin)
            && is(self.tty, request.tty)
    }

    fn matches_fields(&self, request: &ApiRequest, action: RuleAction) -> bool {
        if self.fields.is_empty() {
            return true;
        }
        match &request.fields {
            None => action != RuleAction::Allow && request.may_touch_any_field(),
            Some(fields) => every_or_any(action, &self.fields, fields),
        }
    }
}

/// The object behind a proxy, whatever port of it is meant: `name`, `name:port`, `scheme:name:port`.
fn proxied(request: &ApiRequest) -> &str {
    if request.subresource != "proxy" && request.verb != "proxy" {
        return &request.name;
    }
    let mut parts = request.name.split(':');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(_), Some(name), Some(_)) | (Some(name), ..) => name,
        (None, ..) => &request.name,
    }
}

/// No pattern, or one that matches.
fn met(patterns: &Globs, text: &str, action: RuleAction) -> bool {
    patterns.is_empty() || patterns.matches(text) || is_any(text, action)
}

/// Whether any is meant, as whoever reviews a right may ask: what a `Deny` or `Hold` is about is then among them, and an
/// `Allow` has to be about all.
fn is_any(text: &str, action: RuleAction) -> bool {
    text == "*" && action != RuleAction::Allow
}

/// Whether such a review leaves open what the request has of its own: its images, its fields, what it runs.
fn may_have_any(request: &ApiRequest, action: RuleAction) -> bool {
    let ApiRequest { verb, group, resource, subresource, .. } = request;
    [verb, group, resource, subresource].into_iter().any(|text| is_any(text, action))
}

/// An `Allow` must cover every one of several things, a `Deny` or `Hold` needs one.
fn every_or_any(action: RuleAction, patterns: &Globs, texts: &[String]) -> bool {
    match action {
        RuleAction::Allow => !texts.is_empty() && texts.iter().all(|text| patterns.matches(text)),
        RuleAction::Deny | RuleAction::Hold => texts.iter().any(|text| patterns.matches(text)),
    }
}

/// Patterns that can match nothing are mistakes, and in a `Deny` dangerous ones.
fn check(path: &str, stanza: &KubernetesMatch, problems: &mut Problems<'_>) {
    let lower = |text: &String| text.chars().any(|letter| letter.is_ascii_uppercase());
    for (field, patterns) in [("verbs", &stanza.verbs), ("resources", &stanza.resources)] {
        for (index, pattern) in patterns.iter().enumerate().filter(|(_, pattern)| lower(pattern)) {
            problems.add(
                format!("{path}.{field}[{index}]"),
                format!(
                    "`{pattern}` can match nothing: RBAC's words are in lower case, resources in the plural"
                ),
            );
        }
    }
    for (index, pattern) in stanza.non_resource_urls.iter().enumerate() {
        if !pattern.starts_with(['/', '*']) {
            problems.add(format!("{path}.nonResourceURLs[{index}]"), "must begin with `/`");
        }
    }
    let resources =
        [&stanza.api_groups, &stanza.resources, &stanza.subresources, &stanza.namespaces, &stanza.names];
    if !stanza.non_resource_urls.is_empty() && resources.into_iter().any(|patterns| !patterns.is_empty()) {
        problems.add(format!("{path}.nonResourceURLs"), "are no resources: use a rule of their own");
    }
}
