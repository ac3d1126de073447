//! Field and label selectors: only so far as the API server lets them decide what a request is about.

use super::Refused;

/// The one name that a field selector asks for, as `fields.ParseSelector` and `RequiresExactMatch` find it.
///
/// # Errors
/// It is not a field selector.
pub(super) fn name(selector: &str) -> Result<Option<String>, Refused> {
    let mut terms = split(selector);
    terms.sort_unstable();
    let mut found = None;
    for term in terms.into_iter().filter(|term| !term.is_empty()) {
        let (field, value, equal) = parts(term).ok_or_else(malformed)?;
        let value = unescape(value)?;
        if equal && field == "metadata.name" && found.is_none() {
            found = Some(value);
        }
    }
    Ok(found.filter(|name| is_segment(name)))
}

fn malformed() -> Refused {
    Refused::bad("the field selector is not understood: terms are field=value, separated by commas")
}

/// As `path.IsValidPathSegmentName`.
fn is_segment(name: &str) -> bool {
    name != "." && name != ".." && !name.contains(['/', '%'])
}

/// Terms between commas; a backslash takes the next character with it.
fn split(selector: &str) -> Vec<&str> {
    let mut escaped = false;
    let separator = |c: char| {
        let splits = c == ',' && !escaped;
        escaped = c == '\\' && !escaped;
        splits
    };
    selector.split(separator).collect()
}

/// Field, value, and whether they shall be equal, at the first operator.
fn parts(term: &str) -> Option<(&str, &str, bool)> {
    let at = term.char_indices().find_map(|(at, _)| {
        let (_, rest) = term.split_at_checked(at)?;
        (rest.starts_with("!=") || rest.starts_with('=')).then_some(at)
    })?;
    let (field, rest) = term.split_at_checked(at)?;
    if let Some(value) = rest.strip_prefix("!=") {
        return Some((field, value, false));
    }
    let value = rest.strip_prefix("==").or_else(|| rest.strip_prefix('='))?;
    Some((field, value, true))
}

/// As `fields.UnescapeValue`: `\\`, `\,` and `\=`, and no bare comma or equals sign.
fn unescape(value: &str) -> Result<String, Refused> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped @ ('\\' | ',' | '=')) => out.push(escaped),
                Some(_) | None => return Err(malformed()),
            },
            ',' | '=' => return Err(malformed()),
            _ => out.push(c),
        }
    }
    Ok(out)
}

/// Refuses a label selector that the API server would not take: it then forgets the field selector as well.
///
/// Stricter than `labels.Parse` where that is lenient about space.
pub(super) fn check_labels(selector: &str) -> Result<(), Refused> {
    let refused = || Refused::bad("the label selector is not understood");
    if selector.is_empty() {
        return Ok(());
    }
    requirements(selector)
        .and_then(|all| all.iter().all(|one| is_requirement(one.trim())).then_some(()))
        .ok_or_else(refused)
}

/// The labels that a selector is about. `None`: it is not understood.
pub(crate) fn label_keys(selector: &str) -> Option<Vec<String>> {
    if selector.is_empty() {
        return Some(Vec::new());
    }
    let all = requirements(selector)?;
    all.iter().all(|one| is_requirement(one.trim())).then(|| {
        let key = |one: &&str| {
            let one = one.trim().trim_start_matches('!').trim_start();
            one.split([' ', '\t', '=', '!', '<', '>', '(']).next().unwrap_or_default().to_owned()
        };
        all.iter().map(key).collect()
    })
}

/// Requirements between commas that no parenthesis encloses.
fn requirements(selector: &str) -> Option<Vec<&str>> {
    let mut inside = false;
    let mut nested = false;
    let separator = |c: char| {
        match c {
            '(' => {
                nested |= inside;
                inside = true;
            }
            ')' => {
                nested |= !inside;
                inside = false;
            }
            _ => {}
        }
        c == ',' && !inside
    };
    let all = selector.split(separator).collect();
    (!inside && !nested).then_some(all)
}

fn is_requirement(one: &str) -> bool {
    if let Some(key) = one.strip_prefix('!') {
        return is_key(key.trim());
    }
    if let Some((head, list)) = one.split_once('(') {
        let Some(list) = list.strip_suffix(')') else { return false };
        let mut words = head.split_ascii_whitespace();
        let (key, operator) = (words.next(), words.next());
        return key.is_some_and(is_key)
            && matches!(operator, Some("in" | "notin"))
            && words.next().is_none()
            && list.split(',').all(|value| is_value(value.trim()));
    }
    for operator in ["!=", "==", "="] {
        if let Some((key, value)) = one.split_once(operator) {
            return is_key(key.trim()) && is_value(value.trim());
        }
    }
    for operator in ['<', '>'] {
        if let Some((key, value)) = one.split_once(operator) {
            return is_key(key.trim()) && value.trim().parse::<i64>().is_ok_and(|_| is_value(value.trim()));
        }
    }
    is_key(one)
}

fn is_key(key: &str) -> bool {
    let name = match key.split_once('/') {
        Some((prefix, name)) => {
            let is_prefix = prefix.len() <= 253 && prefix.split('.').all(is_dns_label);
            if !is_prefix {
                return false;
            }
            name
        }
        None => key,
    };
    // a bare operator would be read as one
    !name.is_empty() && is_value(name) && !matches!(key, "in" | "notin")
}

fn is_dns_label(label: &str) -> bool {
    let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !label.is_empty() && label.bytes().all(is_inner) && !label.starts_with('-') && !label.ends_with('-')
}

/// A label's value: up to 63 characters, empty or with letters or digits at both ends.
fn is_value(value: &str) -> bool {
    let is_inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let is_outer = |b: Option<u8>| b.is_none_or(|b| b.is_ascii_alphanumeric());
    value.len() <= 63
        && value.bytes().all(is_inner)
        && is_outer(value.bytes().next())
        && is_outer(value.bytes().next_back())
        && !matches!(value, "in" | "notin")
}
