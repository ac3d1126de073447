//! What must hold of a match before it counts: entropy, shape, and not being a placeholder.

use super::pem::decoded;
use super::rules::{Check, Rule};

/// Whether `secret`, found by `rule` in the match `context`, is worth hiding.
pub(super) fn passes(rule: &Rule, secret: &[u8], context: &[u8]) -> bool {
    if rule.entropy > 0.0 && entropy(secret) <= rule.entropy {
        return false;
    }
    match rule.check {
        Check::None => !is_repeated(secret),
        Check::Jwt => is_jwt(secret),
        Check::WrappedJwt => decoded(secret).is_some_and(|inner| {
            let header = inner.split(|b| *b == b'.').next().unwrap_or_default();
            decoded(header).is_some_and(|json| json.starts_with(b"{\""))
        }),
        Check::Password => !is_reference(secret),
        Check::Generic => !is_reference(secret) && is_generic(secret, context),
    }
}

/// Shannon entropy in bits per byte.
pub(super) fn entropy(bytes: &[u8]) -> f32 {
    let mut counts = [0_u16; 256];
    for byte in bytes.iter().take(usize::from(u16::MAX)) {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let total: f32 = counts.iter().map(|count| f32::from(*count)).sum();
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| {
            let share = f32::from(*count) / total;
            -share * share.log2()
        })
        .sum()
}

/// The header is JSON and names an algorithm or an encryption (RFC 7515, 7516).
fn is_jwt(token: &[u8]) -> bool {
    let header = token.split(|b| *b == b'.').next().unwrap_or_default();
    let Some(json) = decoded(header) else { return false };
    match serde_json::from_slice::<serde_json::Value>(&json) {
        Ok(serde_json::Value::Object(fields)) => fields.contains_key("alg") || fields.contains_key("enc"),
        Ok(_) | Err(_) => false,
    }
}

/// One character over and over.
fn is_repeated(secret: &[u8]) -> bool {
    secret.iter().all(|b| Some(b) == secret.first())
}

/// A placeholder, or a reference to where the secret is: hiding it would hide nothing.
fn is_reference(secret: &[u8]) -> bool {
    let trimmed = secret.trim_ascii();
    let is_wrapped = |open: &[u8], close: &[u8]| trimmed.starts_with(open) && trimmed.ends_with(close);
    is_repeated(trimmed)
        || is_wrapped(b"${", b"}")
        || is_wrapped(b"{{", b"}}")
        || is_wrapped(b"$(", b")")
        || is_wrapped(b"<", b">")
        || (is_wrapped(b"%", b"%") && trimmed.len() > 2)
        || is_wrapped(b"@", b"@")
        || is_variable(trimmed)
        || matches!(
            trimmed.to_ascii_lowercase().as_slice(),
            b"true" | b"false" | b"null" | b"none" | b"%s" | b"%v" | b"..."
        )
}

/// `$NAME` or `$1`.
fn is_variable(text: &[u8]) -> bool {
    text.strip_prefix(b"$")
        .is_some_and(|name| !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_'))
}

/// Words that stand in names of things that are no secrets, beside or in `key`, `token`, `api`, `auth`, `access`.
#[rustfmt::skip]
const HARMLESS: &[&[u8]] = &[
    b"accessor", b"accessibility", b"access_id", b"access-id", b"accessid", b"random_access", b"randomaccess",
    b"apiname", b"api_name", b"api-name", b"api_version", b"apiversion", b"api-version", b"api_id", b"rapid", b"capital",
    b"author", b"authentication-results", b"credentials_id", b"credentialsid", b"credentialid", b"credential_id",
    b"credentials-id", b"foreign_key", b"foreignkey", b"primary_key", b"primarykey", b"public_key", b"publickey",
    b"pubkey", b"pub_key", b"public-key", b"hotkey", b"turkey", b"keyword", b"keyboard", b"keyname", b"key_name",
    b"key_id", b"keyid", b"key-id", b"keypair", b"key_pair", b"keyring", b"keystore", b"key_length", b"keysize",
    b"key_size", b"keyframe", b"keycode", b"key_code", b"keystone", b"keypress", b"keydown", b"keyup", b"keymesh",
    b"monkey", b"keying", b"csrf", b"secret_name", b"secretname", b"secret-name", b"secret_length", b"usersecretsid",
    b"schema_key", b"sequence_key", b"bucket_key", b"bucketkey", b"natural_key", b"idx_key", b"idxkey", b"token_file",
    b"tokenfile", b"key_file", b"keyfile", b"api_url", b"apiurl", b"api_uri", b"token_url", b"tokenurl", b"token_uri",
    b"api_endpoint", b"credentials_url", b"credentials.url", b"keyvault", b"key_vault", b"issuerkeyhash", b"key_alias",
    b"keyalias", b"keyselector", b"key_selector", b"key_signature", b"public_token", b"io.jsonwebtoken", b":jar:",
    b"api.url", b"token.url", b"access.id",
];

/// Pieces of values that are no secrets: words in configuration, versions, examples.
#[rustfmt::skip]
const HARMLESS_VALUES: &[&[u8]] = &[
    b"example", b"abcdefghij", b"0123456789", b"placeholder", b"changeme", b"change_me", b"your_", b"your-", b"-snapshot", b".local",
    b".com", b".org", b".net", b"http", b"localhost", b"xxxx", b"....", b"/usr/", b"/etc/", b"/var/", b"node_modules",
];

/// Neither a word nor an identifier nor a path, and not assigned to a name that only sounds secret.
fn is_generic(secret: &[u8], context: &[u8]) -> bool {
    let has_digit = secret.iter().any(u8::is_ascii_digit);
    let has_letter = secret.iter().any(u8::is_ascii_alphabetic);
    if !has_digit || !has_letter {
        return false;
    }
    let name =
        context.get(..context.len().saturating_sub(secret.len())).unwrap_or_default().to_ascii_lowercase();
    let value = secret.to_ascii_lowercase();
    let says = |text: &[u8], words: &[&[u8]]| {
        words.iter().any(|word| text.windows(word.len()).any(|window| window == *word))
    };
    !says(&name, HARMLESS) && !says(&value, HARMLESS_VALUES)
}
