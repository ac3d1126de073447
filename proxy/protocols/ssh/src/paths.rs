//! Paths of a host, written so that rules can match them.

use proxy_shell::paths::clean;

/// Where a path leads that stands in a link.
pub(crate) fn beside(link: &str, path: &[u8]) -> String {
    if path.starts_with(b"/") {
        return served(path);
    }
    let directory = link.rsplit_once('/').map_or("", |(directory, _)| directory);
    clean(&format!("{directory}/{}", text(path)))
}

/// The path of a socket: absolute, or relative to a directory that only the host's server knows.
pub(crate) fn socket(path: &str) -> String {
    if path.starts_with('/') { clean(path) } else { format!("?/{}", clean(path)) }
}

fn text(path: &[u8]) -> String {
    std::str::from_utf8(path).map_or_else(|_error| path.escape_ascii().to_string(), str::to_owned)
}

/// A path as a file server gets it: relative ones are below home, and bytes that are not UTF-8 are escaped.
pub(crate) fn served(path: &[u8]) -> String {
    let text = text(path);
    if text.starts_with('/') { clean(&text) } else { clean(&format!("~/{text}")) }
}
