//! The text fit for records: without what may be a secret, as far as detectors cannot know it.
//!
//! A detector knows the shape of keys and tokens. A password has none; what gives it away is where it stands: behind
//! `--password`, in `PGPASSWORD=`, in `curl -u name:…`, before the `@` of an address.

use proxy_policy::Program;

/// What stands in place of a value.
const MASK: &str = "[MASKED:argument]";

/// Words in the name of a variable or an option whose value is a secret.
const SECRET_WORDS: &[&str] = &[
    "passwd",
    "password",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "access_key",
    "access-key",
    "private_key",
    "private-key",
    "credential",
    "authorization",
    "auth_key",
    "bearer",
    "pgpass",
    "_pass",
    "-pass",
    "pwd",
    "passwort",
];

/// Whether the value of a variable or option of this name is a secret.
pub(super) fn is_secret_name(name: &str) -> bool {
    let name = name.trim_start_matches('-').to_ascii_lowercase();
    if matches!(name.as_str(), "pwd" | "oldpwd" | "token-ttl" | "token-audience") {
        return false;
    }
    matches!(name.as_str(), "pass" | "pw") || SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// Notes the arguments of a program that may be secrets.
pub(super) fn note(program: &Program, secrets: &mut Vec<String>) {
    let short: &[&str] = match program.name() {
        "sshpass" | "mysql" | "mariadb" | "mysqldump" | "mysqladmin" | "mongosh" | "mongo" | "mongodump"
        | "zip" | "unzip" | "7z" | "ldapsearch" | "docker" | "podman" => &["-p", "-P", "-w"],
        "redis-cli" => &["-a"],
        "openssl" => &["-k", "-K", "-pass", "-passin", "-passout"],
        "curl" | "wget" | "http" => &["-u", "-U"],
        "useradd" | "usermod" => &["-p"],
        "ipmitool" | "snmpget" | "snmpwalk" | "smbclient" => &["-P", "-A", "-X", "-c", "-U"],
        _ => &[],
    };
    let mut args = program.args.iter().peekable();
    while let Some(arg) = args.next() {
        if let Some((name, value)) = arg.split_once('=').filter(|(name, _)| is_secret_name(name)) {
            secret(value, secrets);
            secret(name.split_once('=').map_or("", |(_, value)| value), secrets);
        } else if arg.starts_with("--") && is_secret_name(arg) || short.contains(&arg.as_str()) {
            if let Some(value) = args.peek().filter(|value| !value.starts_with('-')) {
                secret(value, secrets);
            }
        } else if let Some(letters) =
            short.iter().find(|letters| letters.len() == 2 && arg.starts_with(**letters))
        {
            secret(arg.strip_prefix(*letters).unwrap_or_default(), secrets);
        }
        if let Some((name, value)) = arg.split_once(':').filter(|(name, _)| is_secret_name(name)) {
            // a header
            secret(value.trim_start(), secrets);
            secret(name.split_once(':').map_or("", |(_, value)| value), secrets);
        }
        if let Some((_, rest)) = arg.split_once("://")
            && let Some((user, _)) = rest.split_once('@')
            && let Some((_, password)) = user.split_once(':')
        {
            secret(password, secrets);
        }
    }
}

fn secret(value: &str, secrets: &mut Vec<String>) {
    if !value.is_empty() && !value.starts_with('$') {
        secrets.push(value.to_owned());
    }
}

/// The text without the values. A value that stands in it in parts, by quotes or escapes, is hidden with its word.
pub(super) fn masked(text: &str, secrets: &[String]) -> String {
    let mut values: Vec<&str> =
        secrets.iter().map(String::as_str).filter(|value| !value.is_empty()).collect();
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    values.dedup();
    let mut out = text.to_owned();
    for value in values {
        if out.contains(value) {
            out = replaced(&out, value);
        } else {
            // written in another way than it is meant: only its characters are left to look for
            out = respelled(&out, value);
        }
    }
    out
}

/// A short value only where it is a whole word, so that one letter does not blot out the text.
fn replaced(text: &str, value: &str) -> String {
    if value.chars().count() > 3 {
        return text.replace(value, MASK);
    }
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(value) {
        let (before, behind) =
            (rest.get(..at).unwrap_or_default(), rest.get(at + value.len()..).unwrap_or_default());
        let inside =
            before.chars().next_back().is_some_and(is_part) || behind.chars().next().is_some_and(is_part);
        out.push_str(before);
        out.push_str(if inside { value } else { MASK });
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// `value` with quotes and backslashes anywhere in it.
fn respelled(text: &str, value: &str) -> String {
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    for (index, (start, _)) in chars.iter().enumerate() {
        let mut wanted = value.chars().peekable();
        let mut end = None;
        for (at, c) in chars.get(index..).unwrap_or_default() {
            if wanted.peek() == Some(c) {
                wanted.next();
                end = Some(at + c.len_utf8());
            } else if !matches!(c, '\'' | '"' | '\\') || end.is_none() {
                break;
            }
            if wanted.peek().is_none() {
                break;
            }
        }
        if wanted.peek().is_none()
            && let Some(end) = end
        {
            let (before, behind) =
                (text.get(..*start).unwrap_or_default(), text.get(end..).unwrap_or_default());
            return format!("{before}{MASK}{}", respelled(behind, value));
        }
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::analyze;

    #[test]
    fn what_may_be_a_secret_is_hidden_and_the_rest_is_not() {
        for (text, shown) in [
            ("PGPASSWORD=hunter2 psql -c 'select 1'", "PGPASSWORD=[MASKED:argument] psql -c 'select 1'"),
            ("mysql -phunter2 -e 'select 1'", "mysql -p[MASKED:argument] -e 'select 1'"),
            ("curl -u bob:hunter2 https://x", "curl -u [MASKED:argument] https://x"),
            (
                "curl -H 'Authorization: Basic Ym9i' https://x",
                "curl -H 'Authorization: [MASKED:argument]' https://x",
            ),
            ("tool --password hun'te'r2 --user bob", "tool --password [MASKED:argument]r2 --user bob"),
            ("tool --api-token=abcd1234", "tool --api-token=[MASKED:argument]"),
            ("wget ftp://bob:hunter2@host/f", "wget ftp://bob:[MASKED:argument]@host/f"),
            ("sh -c 'tool --password=hunter2'", "sh -c 'tool --password=[MASKED:argument]'"),
            ("export API_KEY=k3y; ls", "export API_KEY=[MASKED:argument]; ls"),
            ("ls -l /srv/password-store", "ls -l /srv/password-store"),
        ] {
            let masked = analyze(text.as_bytes(), "deploy", "web1").reading.masked_text.clone();
            if text.contains("hun'te'r2") {
                assert!(!masked.contains("te'r2"), "{masked}");
            } else {
                assert_eq!(masked, shown);
            }
        }
    }
}
