//! The API server's algorithm: `RequestInfoFactory.NewRequestInfo` with the prefixes `api` (no group) and `apis`.

use super::{Method, Refused, RequestInfo, query, selector};

/// Verbs that old paths carry: `/api/v1/watch/pods`.
const SPECIAL_VERBS: [&str; 2] = ["proxy", "watch"];
/// What can follow a namespace's name without being a resource in it.
const NAMESPACE_SUBRESOURCES: [&str; 2] = ["status", "finalize"];

/// Resolves a decoded path.
pub(super) fn resolve(
    method: Method,
    path: String,
    query: Vec<(String, String)>,
) -> Result<RequestInfo, Refused> {
    let mut info = RequestInfo {
        method,
        is_resource: false,
        verb: lower(method),
        api_prefix: String::new(),
        group: String::new(),
        version: String::new(),
        namespace: String::new(),
        resource: String::new(),
        subresource: String::new(),
        name: String::new(),
        parts: Vec::new(),
        field_selector: String::new(),
        label_selector: String::new(),
        path,
        query,
    };
    let path = info.path.clone();
    let parts: Vec<&str> = match path.trim_matches('/') {
        "" => Vec::new(),
        trimmed => trimmed.split('/').collect(),
    };
    let Some(rest) = after_version(&mut info, &parts) else {
        refuse_open_query(&info)?;
        return Ok(info);
    };
    info.is_resource = true;
    let by_path = verb(&mut info, rest)?;
    name_parts(&mut info, if by_path { rest.get(1..).unwrap_or_default() } else { rest });
    if !info.is_proxy() {
        query::refuse_ambiguous(&info.query)?;
    }
    selectors(&mut info, by_path)?;
    Ok(info)
}

/// Paths that are no resource: nothing in their query selects anything, so that repeating is harmless but in the API's
/// own discovery.
fn refuse_open_query(info: &RequestInfo) -> Result<(), Refused> {
    let is_api = info.path.starts_with("/api") || info.path.starts_with("/openapi");
    if is_api { query::refuse_ambiguous(&info.query) } else { Ok(()) }
}

const fn lower(method: Method) -> &'static str {
    match method {
        Method::Get => "get",
        Method::Head => "head",
        Method::Post => "post",
        Method::Put => "put",
        Method::Patch => "patch",
        Method::Delete => "delete",
    }
}

/// Takes prefix, group and version. `None`: it is no resource.
fn after_version<'a>(info: &mut RequestInfo, parts: &'a [&'a str]) -> Option<&'a [&'a str]> {
    match parts {
        ["api", version, rest @ ..] if !rest.is_empty() => {
            "api".clone_into(&mut info.api_prefix);
            (*version).clone_into(&mut info.version);
            Some(rest)
        }
        // the API server notes the prefix here even where nothing else comes of it
        ["apis", rest @ ..] if rest.len() >= 2 => {
            "apis".clone_into(&mut info.api_prefix);
            let [group, version, rest @ ..] = rest else { return None };
            if rest.is_empty() {
                return None;
            }
            (*group).clone_into(&mut info.group);
            (*version).clone_into(&mut info.version);
            Some(rest)
        }
        _ => None,
    }
}

/// Sets the verb by the path's own or by the method; whether it was the path's.
fn verb(info: &mut RequestInfo, parts: &[&str]) -> Result<bool, Refused> {
    let first = parts.first().copied().unwrap_or_default();
    if let Some(special) = SPECIAL_VERBS.into_iter().find(|special| *special == first) {
        if parts.len() < 2 {
            return Err(Refused::bad(format!("the path ends behind /{special}: name a resource")));
        }
        info.verb = special;
        return Ok(true);
    }
    info.verb = match info.method {
        Method::Post => "create",
        Method::Get | Method::Head => "get",
        Method::Put => "update",
        Method::Patch => "patch",
        Method::Delete => "delete",
    };
    Ok(false)
}

/// Namespace, resource, name, subresource.
fn name_parts(info: &mut RequestInfo, parts: &[&str]) {
    let mut parts = parts;
    if let ["namespaces", namespace, rest @ ..] = parts {
        (*namespace).clone_into(&mut info.namespace);
        if rest.first().is_some_and(|first| !NAMESPACE_SUBRESOURCES.contains(first)) {
            parts = rest;
        }
    }
    info.parts = parts.iter().map(|part| (*part).to_owned()).collect();
    let part = |at: usize| parts.get(at).copied().unwrap_or_default().to_owned();
    info.resource = part(0);
    info.name = part(1);
    if info.verb != "proxy" {
        info.subresource = part(2);
    }
}

/// Tells lists from gets, and collections from objects.
fn selectors(info: &mut RequestInfo, by_path: bool) -> Result<(), Refused> {
    let fields = info.parameter("fieldSelector").unwrap_or_default().to_owned();
    let labels = info.parameter("labelSelector").unwrap_or_default().to_owned();
    if info.name.is_empty() && info.verb == "get" {
        selector::check_labels(&labels)?;
        let name = selector::name(&fields)?;
        info.verb = if info.flag("watch") { "watch" } else { "list" };
        info.name = name.unwrap_or_default();
    }
    if info.name.is_empty() && info.verb == "delete" {
        selector::check_labels(&labels)?;
        selector::name(&fields)?;
        info.verb = "deletecollection";
    }
    if !by_path && matches!(info.verb, "list" | "watch" | "deletecollection") {
        info.field_selector = fields;
        info.label_selector = labels;
    }
    Ok(())
}
