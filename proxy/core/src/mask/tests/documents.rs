//! What is hidden in a document ends with the string that it stands in: the document is still one.

use super::*;
use serde_json::{Value, json};

/// Values that are hidden behind names of secrets, and such as are not.
const VALUES: &[&str] = &[
    "Tr0ub4dor&3",
    "hunter2x9",
    "abcdefgh12",
    "abcdefgh",
    "zaCELgL0imfnc8mVLWwsAawjYr4Rx",
    "q8Wz3LkV5nRt7YpXc2Bm9+JdHs4Gf6Ta1/Qe0UyIoq8Wz3LkV5nRt7YpXc2Bm9+JdHs4Gf6Ta1/Qe0UyIoq8Wz3LkV5nRt7YpXc2Bm9",
    "AKIAQ3EGRJ5NLXVW7TZB",
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "postgres://app:s3cr3t!@db:5432/shop",
    "host=db user=app password=hunter2",
    "host=db user=app password='hunter 2' dbname=x",
    "Server=db;User Id=app;Password=hunter2;",
    "db.example:5432:shop:app:hunter2x",
    "Bearer abc123DEF456ghi",
    "sid=s3ss10nAbCdEf; theme=dark",
    "machine h.example login app password hunter2x",
    "sshpass -p hunter2 ssh app@host1",
    "sshpass -p 'hunter 2' ssh app@host1",
    "curl -u app:hunter2x https://h",
    "curl -u 'app:hunter2x' https://h",
    "-H 'X-Api-Key: q8Wz3LkV5nRt7YpXc2Bm9'",
    "Authorization: Basic YXBwOmh1bnRlcjJ4eHg=",
    "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
    "md5a6343a68d964ca596d9752250d54bb8a",
    "api_key = zaCELgL0imfnc8mVLWwsAawjYr4Rx",
    "key = 1",
    "none",
    "0644",
    "550e8400-e29b-41d4-a716-446655440000",
    "SHA256:AbCd1efGh2ijKl3mnOp4qrSt5uvWx6yzAbCd7efGh8i",
];

const NAMES: &[&str] = &[
    "password",
    "passwd",
    "pwd",
    "secret",
    "key",
    "token",
    "auth",
    "api",
    "authorization",
    "cookie",
    "line",
    "client_secret",
    "administrator_login_password",
    "keyboard",
    "tokens",
    "Set-Cookie",
    "passphrase",
];

/// A document with `value` in many places, and the others that programs write.
fn document(name: &str, value: &str) -> Value {
    json!({
        name: value,
        "mode": "0644",
        "nested": { name: value, "on": true },
        "list": [name, value, "0644", name],
        "pairs": [{"name": name, "value": value}, {"Key": name, "Value": value}],
        "line": format!("{name} = {value}"),
        "env": [format!("{name}={value}"), "MODE=0644", format!("{name}: {value}")],
        "count": 17,
        "none": null,
        "last": format!("{name} {value}"),
    })
}

/// Whether both are the same but for what is hidden in strings, and names of fields are as they were.
fn is_same_but_for_masks(was: &Value, is: &Value) -> bool {
    match (was, is) {
        (Value::Object(was), Value::Object(is)) => {
            was.len() == is.len()
                && was.iter().all(|(name, was)| is.get(name).is_some_and(|is| is_same_but_for_masks(was, is)))
        }
        (Value::Array(was), Value::Array(is)) => {
            was.len() == is.len() && was.iter().zip(is).all(|(was, is)| is_same_but_for_masks(was, is))
        }
        (Value::String(was), Value::String(is)) => was == is || is.contains("[MASKED:"),
        (was, is) => was == is,
    }
}

#[test]
fn a_document_with_masks_is_a_document_with_the_same_fields() {
    let masker = masker(&[Detector::Secrets]);
    let (mut broken, mut hidden) = (Vec::new(), 0);
    for (name, value) in NAMES.iter().flat_map(|name| VALUES.iter().map(move |value| (name, value))) {
        let document = document(name, value);
        let spaced = document.to_string().replace("\":", "\": ").replace(",\"", ", \"");
        for said in [document.to_string(), serde_json::to_string_pretty(&document).expect("JSON"), spaced] {
            let was: Value = serde_json::from_str(&said).expect("JSON");
            let shown = text(&masker, &said);
            hidden += shown.matches("[MASKED:").count();
            let is = serde_json::from_str(&shown);
            if !is.is_ok_and(|is| is_same_but_for_masks(&was, &is)) {
                broken.push(shown);
            }
        }
    }
    assert!(hidden > 1_000, "{hidden}");
    assert!(broken.is_empty(), "{} are broken:\n{}", broken.len(), broken.join("\n"));
}
