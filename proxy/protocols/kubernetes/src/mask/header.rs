//! What an object says of itself before it is masked.

use super::Unmaskable;
use super::scan::Scanner;
use std::borrow::Cow;

/// Reasons whose messages speak of names alone.
const PLAIN_REASONS: [&str; 9] = [
    "AlreadyExists",
    "Conflict",
    "Expired",
    "MethodNotAllowed",
    "NotAcceptable",
    "NotFound",
    "ServiceUnavailable",
    "TooManyRequests",
    "Unauthorized",
];

/// What an object says of itself, as far as it matters here.
#[derive(Debug, Default)]
pub(super) struct Header<'a> {
    pub(super) kind: Cow<'a, str>,
    pub(super) reason: Cow<'a, str>,
    pub(super) message: Cow<'a, str>,
}

impl Header<'_> {
    /// Whether a `Status` says nothing of values. RBAC's own refusals name the user and the verb.
    pub(super) fn is_plain(&self) -> bool {
        PLAIN_REASONS.contains(&self.reason.as_ref())
            || (self.reason == "Forbidden" && self.message.contains(" is forbidden: User "))
    }
}

/// `kind`, `reason` and `message` of the object that is next.
pub(super) fn read(mut scanner: Scanner<'_>) -> Result<Header<'_>, Unmaskable> {
    let mut header = Header::default();
    scanner.expect(b'{')?;
    if scanner.eat(b'}') {
        return Ok(header);
    }
    loop {
        scanner.peek();
        let key = scanner.string()?;
        scanner.expect(b':')?;
        if scanner.peek() == Some(b'"') {
            let value = scanner.string()?;
            match scanner.decode(key)?.as_ref() {
                "kind" => header.kind = scanner.decode(value)?,
                "reason" => header.reason = scanner.decode(value)?,
                "message" => header.message = scanner.decode(value)?,
                _ => {}
            }
        } else {
            skip(&mut scanner)?;
        }
        if scanner.eat(b'}') {
            return Ok(header);
        }
        scanner.expect(b',')?;
    }
}

/// Skips a value.
fn skip(scanner: &mut Scanner<'_>) -> Result<(), Unmaskable> {
    let mut depth = 0_usize;
    loop {
        match scanner.peek() {
            Some(open @ (b'{' | b'[')) => {
                scanner.expect(open)?;
                depth += 1;
            }
            Some(close @ (b'}' | b']')) if depth > 0 => {
                scanner.expect(close)?;
                depth -= 1;
            }
            Some(between @ (b',' | b':')) if depth > 0 => scanner.expect(between)?,
            Some(b'"') => drop(scanner.string()?),
            Some(_) => scanner.scalar()?,
            None => return Err(Unmaskable::Malformed),
        }
        if depth == 0 {
            return Ok(());
        }
    }
}
