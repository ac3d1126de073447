//! The query of a request target: pairs that every reader takes for the same.

use super::Refused;
use super::target::decode;

/// Parameters that the API server knows by name; it reads the first of several.
const KNOWN: [&str; 40] = [
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
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "includeObject",
    "insecureSkipTLSVerifyBackend",
    "labelSelector",
    "limit",
    "limitBytes",
    "orphanDependents",
    "path",
    "pods",
    "ports",
    "pretty",
    "previous",
    "propagationPolicy",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "shardSelector",
    "sinceSeconds",
    "sinceTime",
    "stderr",
    "stdin",
    "stdout",
    "stream",
    "tailLines",
    "timeout",
    "timeoutSeconds",
    "timestamps",
    "tty",
    "watch",
];

/// Those of which several are meant.
const REPEATED: [&str; 2] = ["command", "ports"];

/// Decodes the pairs of a query, in order; empty pairs are left out, as the API server does.
pub(super) fn read(query: &str) -> Result<Vec<(String, String)>, Refused> {
    let mut pairs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        if pair.contains(';') {
            return Err(Refused::bad("the query has a semicolon: encode it, or use & between parameters"));
        }
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (key, value) = (decode(key, true)?, decode(value, true)?);
        if key.is_empty() || key.contains('\0') || value.contains('\0') {
            return Err(Refused::bad("the query has a parameter without a name, or a NUL"));
        }
        pairs.push((key, value));
    }
    Ok(pairs)
}

/// Refuses what would be read in two ways: a known parameter twice, or in another case. `strict` means every
/// parameter counts, known or not.
pub(super) fn refuse_ambiguous(pairs: &[(String, String)]) -> Result<(), Refused> {
    for (at, (key, _)) in pairs.iter().enumerate() {
        let known = KNOWN.iter().find(|known| known.eq_ignore_ascii_case(key));
        match known {
            Some(known) if known != key => {
                return Err(Refused::bad(format!("the query parameter {known} is spelled in another case")));
            }
            Some(known) if REPEATED.contains(known) => continue,
            Some(_) | None => {}
        }
        if pairs.iter().take(at).any(|(earlier, _)| earlier == key) {
            let name = known.copied().unwrap_or("of one name");
            return Err(Refused::bad(format!("the query parameter {name} is given twice")));
        }
    }
    for (key, value) in pairs {
        check_value(key, value)?;
    }
    Ok(())
}

fn check_value(key: &str, value: &str) -> Result<(), Refused> {
    let is_number = |value: &str| value.parse::<i64>().is_ok();
    let fits = match key {
        "limit" | "timeoutSeconds" | "gracePeriodSeconds" | "sinceSeconds" | "tailLines" | "limitBytes" => {
            is_number(value)
        }
        "dryRun" => value == "All",
        // a flag is compared case-insensitively, beyond ASCII
        "watch"
        | "allowWatchBookmarks"
        | "sendInitialEvents"
        | "stdin"
        | "stdout"
        | "stderr"
        | "tty"
        | "force"
        | "follow" => value.is_ascii(),
        _ => true,
    };
    if fits { Ok(()) } else { Err(Refused::bad(format!("the query parameter {key} has no valid value"))) }
}

/// As `Convert_Slice_string_To_bool`: anything but `0` and `false` is true, the empty text included.
pub(super) fn is_true(value: &str) -> bool {
    value != "0" && !value.eq_ignore_ascii_case("false")
}
