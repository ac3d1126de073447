//! Text to parse tree, within bounds.

use pg_query::protobuf::ParseResult;
// pg_query decodes its trees with this version of prost; naming it here keeps the feature that lifts its depth limit.
use prost_pg as _;

/// Longest text that is parsed, in bytes.
pub(super) const TEXT_MAX: usize = 1024 * 1024;

/// Parses a text of any number of statements.
///
/// # Errors
/// Why it cannot be parsed, as PostgreSQL's grammar words it, which may quote the text.
pub(super) fn parse(text: &str) -> Result<ParseResult, String> {
    if text.len() > TEXT_MAX {
        return Err(format!("longer than {TEXT_MAX} bytes"));
    }
    match pg_query::parse(text, 0) {
        Ok(parsed) => Ok(parsed.protobuf),
        Err(error) => Err(error.to_string()),
    }
}
