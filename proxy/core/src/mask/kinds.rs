//! The kinds of mask: what stands where a value stood.

use super::{rules, secrets, stream};
use hmac::{Hmac, KeyInit, Mac};
use proxy_policy::{Mask, MaskType};
use sha2::Sha256;

/// A value shorter than what is kept and this is redacted: keeping most of it would hide nothing.
const PARTIAL_HIDES_AT_LEAST: usize = 6;

/// Keys of the keyed kinds. No `Debug` of them leaves this module.
#[derive(Clone)]
pub(super) struct Keys {
    tenant: [u8; 32],
    log: [u8; 32],
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(..)")
    }
}

impl Keys {
    /// Keys of a tenant, and of the log named `log`.
    pub(super) fn new(tenant: &[u8; 32], log: &[u8]) -> Self {
        Self { tenant: *tenant, log: digest(tenant, &[b"portcullis/mask/hash/v1\0", log]) }
    }

    /// What stands in place of `value`, inside a text.
    pub(super) fn replacement(&self, mask: &Mask, name: &str, value: &[u8]) -> Vec<u8> {
        match mask.type_ {
            // a part of a text cannot be NULL
            MaskType::Redact | MaskType::Null => redacted(name),
            MaskType::Partial => partial(mask.keep_last, value).unwrap_or_else(|| redacted(name)),
            MaskType::Hash => match std::str::from_utf8(value) {
                Ok(_) => self.hash(value),
                Err(_) => redacted(name),
            },
            MaskType::Token => match std::str::from_utf8(value) {
                Ok(text) => self.token(name, text),
                Err(_) => redacted(name),
            },
        }
    }

    fn hash(&self, value: &[u8]) -> Vec<u8> {
        let mut hash = const_hex::encode(digest(&self.log, &[value]));
        hash.truncate(16);
        format!("hash_{hash}").into_bytes()
    }

    fn token(&self, name: &str, value: &str) -> Vec<u8> {
        let digest = digest(
            &self.tenant,
            &[b"portcullis/mask/token/v1\0", name.as_bytes(), b"\0", normalised(name, value).as_bytes()],
        );
        format!("tok_{name}_{}", base32(&digest)).into_bytes()
    }
}

/// `[MASKED:name]`.
pub(super) fn redacted(name: &str) -> Vec<u8> {
    format!("[MASKED:{name}]").into_bytes()
}

/// A star for each character but the last ones; `None` when too little would be hidden or it is not text.
fn partial(keep_last: Option<i32>, value: &[u8]) -> Option<Vec<u8>> {
    let keep = usize::try_from(keep_last.unwrap_or(4)).ok()?.min(8);
    let text = std::str::from_utf8(value).ok()?;
    let hidden = text.chars().count().checked_sub(keep)?;
    if hidden < PARTIAL_HIDES_AT_LEAST {
        return None;
    }
    let mut out = "*".repeat(hidden);
    out.extend(text.chars().skip(hidden));
    Some(out.into_bytes())
}

/// Equal values should be equal tokens however they are written: without surrounding space, in lower case, numbers
/// without the separators between their digits.
fn normalised(name: &str, value: &str) -> String {
    let lower = value.trim().to_lowercase();
    if matches!(name, "credit-card" | "iban" | "us-ssn" | "phone") {
        lower.chars().filter(|c| c.is_alphanumeric()).collect()
    } else {
        lower
    }
}

fn digest(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC pads a short key with zeros to the hash's block size (RFC 2104)
    let mut block = [0_u8; 64];
    for (slot, byte) in block.iter_mut().zip(key) {
        *slot = *byte;
    }
    let mut mac = Hmac::<Sha256>::new(&block.into());
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// First 16 characters of base32 (RFC 4648 alphabet): 80 bits.
fn base32(digest: &[u8; 32]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut out = String::with_capacity(16);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in digest.iter().take(10) {
        bits = (bits << 8) | u32::from(*byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            let index = ((bits >> held) & 31) as usize;
            out.push(ALPHABET.get(index).copied().map_or('A', char::from));
        }
        bits &= (1 << held) - 1;
    }
    out
}

/// Longest that a mask can be, in bytes.
const LONGEST: usize = 96;

/// Names of masks that other rooms write beside those of detectors.
const OTHERS: &[&str] = &[
    secrets::KEY,
    stream::LONG,
    "argument",
    "begun-secret",
    "credit-card",
    "email",
    "iban",
    "ip-address",
    "notification",
    "password",
    "phone",
    "secret",
    "setting",
    "us-ssn",
];

/// Names that masks have: what calls itself a mask by another name may hold a secret in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Names(Vec<String>);

impl Names {
    /// Those of every detector, and of patterns of the author's own.
    pub(super) fn new(own: impl Iterator<Item = String>) -> Self {
        let known = rules::all().iter().map(|rule| rule.name).chain(OTHERS.iter().copied());
        let mut names: Vec<String> = known.map(ToOwned::to_owned).chain(own).collect();
        names.sort_unstable();
        names.dedup();
        Self(names)
    }

    fn has(&self, name: &[u8]) -> bool {
        self.0.binary_search_by(|known| known.as_bytes().cmp(name)).is_ok()
    }

    /// Whether the bytes from `start` to `end` are what a mask left, or part of it: they are not hidden a second time.
    pub(super) fn hide(&self, text: &[u8], start: usize, end: usize) -> bool {
        if end.saturating_sub(start) > LONGEST {
            return false;
        }
        (start.saturating_sub(LONGEST)..=start).any(|at| {
            let rest = text.get(at..).unwrap_or_default();
            matches!(rest.first(), Some(b'[' | b'h' | b't'))
                && self.length(rest).is_some_and(|length| at + length >= end)
        })
    }

    /// Length of what a mask left at the start of `text`.
    fn length(&self, text: &[u8]) -> Option<usize> {
        if let Some(rest) = text.strip_prefix(b"[MASKED:") {
            let name = rest.iter().take(LONGEST).take_while(|b| is_name(**b)).count();
            return (rest.get(name) == Some(&b']') && self.has(rest.get(..name)?)).then_some(8 + name + 1);
        }
        if let Some(hex) = text.strip_prefix(b"hash_") {
            let is_hash = hex.get(..16)?.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            return is_hash.then_some(21);
        }
        let rest = text.strip_prefix(b"tok_")?;
        let name = rest.iter().take(LONGEST).take_while(|b| is_name(**b)).count();
        // the first place where an underscore and sixteen characters of base32 stand
        (1..=name.min(63)).find_map(|at| {
            let tail = rest.get(at + 1..at + 17)?;
            let is_token = rest.get(at) == Some(&b'_')
                && tail.iter().all(|b| matches!(b, b'A'..=b'Z' | b'2'..=b'7'))
                && self.has(rest.get(..at)?);
            is_token.then_some(4 + at + 17)
        })
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}
