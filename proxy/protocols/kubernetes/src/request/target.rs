//! The path of a request target, decoded once, strictly.

use super::Refused;

/// Decodes a path. The result begins with a slash, has no empty segment but for one trailing slash, and no segment
/// `.` or `..`.
pub(super) fn read(path: &str) -> Result<String, Refused> {
    let Some(rest) = path.strip_prefix('/') else {
        return Err(Refused::bad("the request target must be a path: the absolute form is not spoken here"));
    };
    let mut out = String::with_capacity(path.len());
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        out.push('/');
        if segment.is_empty() {
            if segments.peek().is_some() {
                return Err(Refused::bad("the path has an empty segment (//)"));
            }
            continue;
        }
        let decoded = decode(segment, false)?;
        check(&decoded)?;
        out.push_str(&decoded);
    }
    Ok(out)
}

/// The API server refuses names with these as well (`IsValidPathSegmentName`).
fn check(segment: &str) -> Result<(), Refused> {
    if segment == "." || segment == ".." {
        return Err(Refused::bad("the path has a segment . or .."));
    }
    if segment.contains(['/', '\\', '%']) {
        return Err(Refused::bad("the path has an encoded slash, backslash or percent sign"));
    }
    if segment.chars().any(char::is_control) {
        return Err(Refused::bad("the path has a control character"));
    }
    Ok(())
}

/// Decodes `%xx`, and `+` where it stands for a space. Anything that is not well-formed UTF-8 is refused.
pub(super) fn decode(text: &str, plus: bool) -> Result<String, Refused> {
    let malformed = || Refused::bad("the request target is not well encoded");
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let high = bytes.next().and_then(hex).ok_or_else(malformed)?;
                let low = bytes.next().and_then(hex).ok_or_else(malformed)?;
                out.push((high << 4) | low);
            }
            b'+' if plus => out.push(b' '),
            // what stands raw in a target is visible ASCII, and nothing that ends it or begins something else
            b'!'..=b'~' if !matches!(byte, b'#' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`') => out.push(byte),
            _ => return Err(malformed()),
        }
    }
    String::from_utf8(out).map_err(|_not_utf8| malformed())
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
