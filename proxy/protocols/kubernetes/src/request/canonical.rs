//! A request target, written from what was understood.

use super::RequestInfo;

/// Path and query. What is written decodes to what was judged, byte for byte, in every reader of RFC 3986.
pub(super) fn write(info: &RequestInfo) -> String {
    let mut out = String::with_capacity(info.path.len() + 16 * info.query.len());
    let path = if keeps_trailing_slash(info) { &info.path } else { info.path.trim_end_matches('/') };
    for byte in path.bytes() {
        encode(&mut out, byte, b"/:");
    }
    if out.is_empty() {
        out.push('/');
    }
    for (at, (key, value)) in info.query.iter().enumerate() {
        out.push(if at == 0 { '?' } else { '&' });
        key.bytes().for_each(|byte| encode(&mut out, byte, b""));
        out.push('=');
        value.bytes().for_each(|byte| encode(&mut out, byte, b":/,"));
    }
    out
}

/// Behind a proxy, and for paths that are no resource, a trailing slash can make a difference.
fn keeps_trailing_slash(info: &RequestInfo) -> bool {
    !info.is_resource || info.is_proxy()
}

/// Writes the unreserved characters of RFC 3986 and those of `also` as they are, everything else encoded.
fn encode(out: &mut String, byte: u8, also: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') || also.contains(&byte) {
        out.push(char::from(byte));
        return;
    }
    out.push('%');
    for nibble in [byte >> 4, byte & 15] {
        out.push(DIGITS.get(usize::from(nibble)).copied().map_or('0', char::from));
    }
}
