//! What must hold of a match before it counts: entropy, shape, and not being a placeholder.

use super::finding::is_word;
use super::pem::decoded;
use super::rules::{Check, Rule};

/// Whether `secret`, found by `rule` behind the name `context`, is worth hiding; of connection strings `context` is what
/// stands around.
pub(super) fn passes(rule: &Rule, secret: &[u8], context: &[u8]) -> bool {
    // a token that goes on far is cheaper to read than to measure
    if matches!(rule.check, Check::Jwt | Check::WrappedJwt) {
        let glance = secret.get(..ENTROPY).unwrap_or(secret);
        return holds(rule, secret, context) && entropy(glance) > rule.entropy;
    }
    (rule.entropy <= 0.0 || entropy(secret) > rule.entropy) && holds(rule, secret, context)
}

/// Whether the rule's check holds.
fn holds(rule: &Rule, secret: &[u8], context: &[u8]) -> bool {
    match rule.check {
        Check::None => !is_repeated(secret) && !PUBLISHED.iter().any(|end| secret.ends_with(end)),
        Check::Jwt => is_jwt(secret) || is_like_jwt(secret),
        Check::WrappedJwt => decoded(secret.get(..GLANCE).unwrap_or(secret)).is_some_and(|inner| {
            let header = inner.split(|b| *b == b'.').next().unwrap_or_default();
            decoded(header).is_some_and(|json| json.starts_with(b"{\""))
        }),
        Check::Mixed => secret.iter().any(u8::is_ascii_digit),
        Check::Unhashed => secret.iter().any(|byte| !byte.is_ascii_hexdigit() && *byte != b'-'),
        Check::Password | Check::Manifest => !is_reference(secret),
        Check::UserPassword => is_user_password(secret),
        Check::Connection => !is_reference(unquoted(secret)) && is_connection(context),
        Check::Quoted => {
            !is_reference(unquoted(secret)) && is_password(unquoted(secret)) && !is_harmless(secret, context)
        }
        Check::Chosen => !is_reference(secret) && is_password(secret) && !is_harmless(secret, context),
        Check::Generic => !is_reference(secret) && is_generic(secret, context),
        Check::Long => is_long(secret) && !says(context, HARMLESS) && !is_public(secret),
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

/// So many bytes of a token tell how it is mixed.
const ENTROPY: usize = 256;

/// So many bytes of a token tell most of what is none.
const GLANCE: usize = 96;

/// The header is JSON and names an algorithm or an encryption (RFC 7515, 7516).
fn is_jwt(token: &[u8]) -> bool {
    let glance = token.get(..GLANCE).unwrap_or_default();
    // a header may end just there
    let goes_on = !glance.is_empty() && !glance.contains(&b'.') && token.get(GLANCE) != Some(&b'.');
    if goes_on && !is_begun_json(glance) {
        return false;
    }
    let header = token.get(..memchr::memchr(b'.', token).unwrap_or(token.len())).unwrap_or_default();
    let Some(json) = decoded(header) else { return false };
    match serde_json::from_slice::<serde_json::Value>(&json) {
        Ok(serde_json::Value::Object(fields)) => fields.contains_key("alg") || fields.contains_key("enc"),
        Ok(_) | Err(_) => false,
    }
}

/// Whether base64 of JSON may begin like this.
fn is_begun_json(base64: &[u8]) -> bool {
    decoded(base64).is_some_and(|json| {
        serde_json::from_slice::<serde_json::Value>(&json).is_err_and(|error| error.is_eof())
    })
}

/// Two parts that start like JSON in base64: rather hidden than decoded with care.
fn is_like_jwt(token: &[u8]) -> bool {
    const SHORTEST: usize = 19;
    let Some(header) = memchr::memchr(b'.', token) else { return false };
    let payload = token.get(header + 1..header + 1 + SHORTEST).unwrap_or_default();
    header >= SHORTEST
        && token.starts_with(b"ey")
        && payload.starts_with(b"ey")
        && payload.len() == SHORTEST
        && !payload.contains(&b'.')
}

/// Last characters of Google keys that its own documentation and samples publish.
#[rustfmt::skip]
const PUBLISHED: &[&[u8]] = &[
    b"z1234567", b"-oo6YyIs", b"Eke8agEM", b"HIAODrlU", b"R_znhrh0", b"fhixbX4A", b"_UUPwX7c", b"KctWmLd4",
    b"jaXeDQgY", b"_a_p4wtM", b"jmdnP5sQ", b"rOq1cS7g", b"FnzAvvuU", b"JmprNXsw", b"aOi4FmqE", b"VL_n0nvY",
];

/// A password that is neither a reference nor a word that stands for one.
fn is_user_password(pair: &[u8]) -> bool {
    let trim =
        |text: &[u8]| -> Vec<u8> { text.iter().copied().filter(|b| !matches!(b, b'"' | b'\'')).collect() };
    let bare = trim(pair);
    let Some(colon) = bare.iter().position(|b| *b == b':') else { return true };
    let (user, password) = bare.split_at(colon);
    let password = password.get(1..).unwrap_or_default();
    let is_word = matches!(
        password.to_ascii_lowercase().as_slice(),
        b"pass" | b"password" | b"pwd" | b"test" | b"token" | b"changeme" | b"changeit" | b"secret"
    );
    let is_nothing = password.is_empty() && is_reference(user);
    let is_listed = password.starts_with(b"[") && password.ends_with(b"]");
    !(is_word || is_nothing || is_listed || (!password.is_empty() && is_reference(password)))
}

/// Without quotes around it.
fn unquoted(secret: &[u8]) -> &[u8] {
    let start = secret.iter().take_while(|b| matches!(b, b'"' | b'\'')).count();
    let end = secret.iter().rev().take_while(|b| matches!(b, b'"' | b'\'')).count();
    secret.get(start..secret.len().saturating_sub(end)).unwrap_or_default()
}

/// Whether what stands around a password names a server, a user or a database.
fn is_connection(context: &[u8]) -> bool {
    const PARTS: &[&[u8]] = &[
        b"host=",
        b"hostaddr=",
        b"server=",
        b"user=",
        b"user id=",
        b"uid=",
        b"dbname=",
        b"database=",
        b"data source=",
        b"host =",
        b"server =",
        b"user =",
        b"dbname =",
        b"database =",
    ];
    PARTS.iter().any(|part| context.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part)))
}

/// Letters with a digit or a mark among them, as people choose passwords, not code or a path.
fn is_password(secret: &[u8]) -> bool {
    let has_letter = secret.iter().any(u8::is_ascii_alphabetic);
    let has_other =
        secret.iter().any(|b| b.is_ascii_digit() || matches!(b, b'!' | b'@' | b'#' | b'^' | b'*' | b'?'));
    let is_code = secret
        .iter()
        .any(|b| matches!(b, b'(' | b')' | b'{' | b'}' | b'[' | b']' | b'/' | b',' | b';' | b'|'));
    let has_format = secret.contains(&b'%');
    has_letter && has_other && !is_code && !has_format && !is_identifier(secret)
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

/// Words that stand in names of things that are no secrets, in or with `key`, `token`, `api`, `auth`, `access`.
#[rustfmt::skip]
const HARMLESS: &[&[u8]] = &[
    b"accessor", b"accessibility", b"access_id", b"access-id", b"accessid", b"random_access", b"randomaccess",
    b"apiname", b"api_name", b"api-name", b"api_version", b"apiversion", b"api-version", b"api_id", b"rapid", b"capital",
    b"author", b"authentication-results", b"credentials_id", b"credentialsid", b"credentialid", b"credential_id",
    b"credentials-id", b"foreign_key", b"foreignkey", b"primary_key", b"primarykey", b"public_key", b"publickey",
    b"pubkey", b"pub_key", b"public-key", b"hotkey", b"turkey", b"keyword", b"keyboard", b"keyname", b"key_name",
    b"key_id", b"keyid", b"key-id", b"keypair", b"key_pair", b"keyring", b"keystore", b"key_length", b"keysize",
    b"key_size", b"keyframe", b"keycode", b"key_code", b"keystone", b"keypress", b"key_down", b"key_up", b"keydown", b"keyup", b"keymesh",
    b"monkey", b"keying", b"csrf", b"secret_name", b"secretname", b"secret-name", b"secret_length", b"usersecretsid",
    b"schema_key", b"sequence_key", b"bucket_key", b"bucketkey", b"natural_key", b"idx_key", b"idxkey", b"token_file",
    b"tokenfile", b"key_file", b"keyfile", b"api_url", b"apiurl", b"api_uri", b"token_url", b"tokenurl", b"token_uri",
    b"api_endpoint", b"credentials_url", b"credentials.url", b"keyvault", b"key_vault", b"issuerkeyhash", b"key_alias",
    b"keyalias", b"keyselector", b"key_selector", b"key_signature", b"public_token", b"publictoken", b"io.jsonwebtoken", b":jar:",
    b"api.url", b"token.url", b"access.id",
];

/// Pieces of values that are no secrets: words in configuration, versions, examples.
#[rustfmt::skip]
const HARMLESS_VALUES: &[&[u8]] = &[
    b"example", b"abcdefghij", b"0123456789", b"placeholder", b"changeme", b"change_me", b"your_", b"your-", b"-snapshot", b".local",
    b".com", b".org", b".net", b"http", b"localhost", b"xxxx", b"...", b"/usr/", b"/etc/", b"/var/", b"node_modules",
];

/// A name of something in a program: joined words with a number or two in them.
fn is_identifier(secret: &[u8]) -> bool {
    let numbers = secret.split(|b| !b.is_ascii_digit()).filter(|number| !number.is_empty()).count();
    let is_joined = secret.iter().any(|b| matches!(b, b'_' | b'.'));
    let is_plain = secret.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'));
    is_joined && is_plain && numbers <= 2
}

/// Neither a word nor an identifier nor a path, and not assigned to a name that only sounds secret.
fn is_generic(secret: &[u8], context: &[u8]) -> bool {
    let has_digit = secret.iter().any(u8::is_ascii_digit);
    let has_letter = secret.iter().any(u8::is_ascii_alphabetic);
    if !has_digit || !has_letter {
        return false;
    }
    !is_identifier(secret) && !is_harmless(secret, context) && !is_public(secret) && !is_digest(context)
}

/// How base64 of public keys of SSH begins: the length of the name of their kind, and that name.
const PUBLIC: &[&[u8]] =
    &[b"AAAAB3NzaC1", b"AAAAC3NzaC1", b"AAAAE2VjZHNhLXNoYTIt", b"AAAAGnNrLX", b"AAAAInNrLX"];

/// Whether it is a public key of SSH.
fn is_public(secret: &[u8]) -> bool {
    PUBLIC.iter().any(|start| secret.starts_with(start))
}

/// Whether what stands before a value says that it is the digest of something, as fingerprints of keys are.
fn is_digest(context: &[u8]) -> bool {
    const LABELS: [&[u8]; 3] = [b"sha256:", b"sha384:", b"sha512:"];
    let Some((before, label)) = context.len().checked_sub(7).and_then(|at| context.split_at_checked(at))
    else {
        return false;
    };
    // `password_sha256:` is a name
    LABELS.iter().any(|known| label.eq_ignore_ascii_case(known))
        && before.last().is_some_and(|byte| !is_word(*byte))
}

/// Whether the name before the secret only sounds like one, or the secret says of itself that it is none.
fn is_harmless(secret: &[u8], name: &[u8]) -> bool {
    says(name, HARMLESS) || says(secret, HARMLESS_VALUES)
}

/// Whether one of `words` stands in `text`.
fn says(text: &[u8], words: &[&[u8]]) -> bool {
    words.iter().any(|word| text.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word)))
}

/// So long that it is neither a word nor a name, and not a path or an address.
fn is_long(secret: &[u8]) -> bool {
    let is_path = secret.starts_with(b"/") || secret.starts_with(b".") || secret.starts_with(b"http");
    secret.iter().any(u8::is_ascii_digit)
        && secret.iter().any(u8::is_ascii_alphabetic)
        && !is_path
        && !is_identifier(secret)
}
