//! Names that give away what stands behind them.

/// How such names end, in lower case, without separators.
const ENDINGS: [&str; 12] = [
    "accesskey",
    "apikey",
    "clientsecret",
    "credentials",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "pwd",
    "secret",
    "secretkey",
    "token",
];

/// Longest name that is looked at, in bytes.
const LONGEST: usize = 128;

/// Whether a field's name says that its value is a secret. `secretName` and `secretRef` do not: they name an object.
pub(super) fn is_telling(name: &str) -> bool {
    // most names end otherwise, and cost nothing
    if !matches!(
        name.bytes().next_back(),
        Some(b'y' | b't' | b's' | b'e' | b'd' | b'n' | b'Y' | b'T' | b'S' | b'E' | b'D' | b'N')
    ) || name.len() > LONGEST
    {
        return false;
    }
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    ENDINGS.iter().any(|ending| plain.ends_with(ending))
}

/// Stands before a password for the detectors: within a connection string, it need not look like a secret.
pub(super) const PASSWORD: &str = "user=x password";

/// How a name stands before its value for the detectors.
pub(super) fn shown(name: &str) -> &str {
    let plain = name.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    let ends = |ending: &str| {
        let from = plain.len().checked_sub(ending.len());
        from.and_then(|from| plain.get(from..)).is_some_and(|end| end.eq_ignore_ascii_case(ending))
    };
    if name.len() <= LONGEST && ["password", "passwd", "passphrase", "pwd"].into_iter().any(ends) {
        PASSWORD
    } else {
        name
    }
}

/// Whether a word of a command line takes its value from the next word: `--password hunter2`.
pub(super) fn is_flag(word: &str) -> bool {
    word.starts_with('-') && !word.contains('=') && is_telling(word)
}

/// Whether an object of that name is a map whose keys people choose.
pub(super) fn is_free_map(name: &str) -> bool {
    matches!(name, "data" | "stringData" | "binaryData" | "annotations" | "parameters" | "env")
}

/// Whether a key is a word, as the fields of every type are (`f:` before it, in managed fields): nothing to detect.
pub(super) fn is_word(key: &str) -> bool {
    key.strip_prefix("f:").unwrap_or(key).bytes().all(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_values_tell_and_names_of_objects_do_not() {
        for telling in ["password", "DB_PASSWORD", "aws-secret-key", "clientSecret", "githubToken", "api.key"]
        {
            assert!(is_telling(telling), "{telling}");
        }
        for other in ["secretName", "secretKeyRef", "name", "image", "tokens", "passwordless", ""] {
            assert!(!is_telling(other), "{other}");
        }
        assert_eq!((shown("DB_Password"), shown("pgpwd"), shown("X-Token")), (PASSWORD, PASSWORD, "X-Token"));
        assert!(is_flag("--password") && !is_flag("--password=x") && !is_flag("password"));
    }
}
