//! The startup packet's parameters: a closed list, because some of them change what statements mean.

use crate::frontend::refusal;
use crate::messages::Body;
use proxy_core::refusal::{Refusal, RefusalKind};

/// What a client asks for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Parameters {
    /// Role that it asks for.
    pub(crate) user: String,
    /// Database; the role's name if it gives none.
    pub(crate) database: String,
    /// Its own name for itself.
    pub(crate) application_name: String,
    /// Settings that are passed on: name and value.
    pub(crate) settings: Vec<(String, String)>,
    /// It asks to present its token by SASL `OAUTHBEARER`.
    pub(crate) sasl: bool,
    /// Protocol options that are not known here.
    pub(crate) unknown_options: Vec<String>,
}

/// Settings that a client may start with. None of them changes how a statement is read, or how values are encoded
/// beyond what masks expect; the search path is read back from the server once it is set.
const SETTINGS: [&str; 16] = [
    "application_name",
    "datestyle",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "extra_float_digits",
    "geqo",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "intervalstyle",
    "jit",
    "lock_timeout",
    "search_path",
    "statement_timeout",
    "timezone",
    "transaction_timeout",
    "work_mem",
];

impl Parameters {
    /// Reads the part of a startup packet after the protocol version.
    ///
    /// # Errors
    /// It is malformed, or asks for what is not offered. The texts hold nothing that the client sent but names of
    /// settings.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        let malformed = |_| refusal(RefusalKind::Protocol, "the startup packet cannot be read", "use UTF-8");
        let mut parameters = Self::default();
        let mut body = Body::new(bytes);
        loop {
            let name = body.text().map_err(malformed)?;
            if name.is_empty() {
                body.end().map_err(malformed)?;
                break;
            }
            let value = body.text().map_err(malformed)?;
            parameters.take(name, value)?;
        }
        if parameters.user.is_empty() {
            return Err(refusal(
                RefusalKind::Authentication,
                "no user name was given",
                "give one of the offered roles",
            ));
        }
        if parameters.database.is_empty() {
            parameters.database.clone_from(&parameters.user);
        }
        Ok(parameters)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        match name {
            "user" => value.clone_into(&mut self.user),
            "database" => value.clone_into(&mut self.database),
            "options" => return self.options(value),
            "replication" => {
                if !matches!(value.to_ascii_lowercase().as_str(), "false" | "off" | "no" | "0") {
                    return Err(refusal(
                        RefusalKind::Denied,
                        "replication connections are refused: they bypass every statement",
                        "connect without the replication parameter",
                    ));
                }
            }
            _ if name.starts_with("_pq_.") => self.unknown_options.push(name.to_owned()),
            _ => return self.setting(name, value),
        }
        Ok(())
    }

    fn setting(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        let name = name.to_ascii_lowercase().replace('-', "_");
        match name.as_str() {
            "client_encoding" => {
                let plain: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
                // `auto` is resolved by libpq before it is sent; SQL_ASCII would let any bytes through.
                if !matches!(plain.to_ascii_uppercase().as_str(), "UTF8" | "UNICODE") {
                    return Err(refusal(
                        RefusalKind::Protocol,
                        "only client_encoding UTF8 is spoken here",
                        "set PGCLIENTENCODING=UTF8",
                    ));
                }
            }
            "standard_conforming_strings" => {
                if !matches!(value.to_ascii_lowercase().as_str(), "on" | "true" | "yes" | "1") {
                    return Err(refusal(
                        RefusalKind::Protocol,
                        "standard_conforming_strings must be on",
                        "leave the setting out",
                    ));
                }
            }
            "portcullis.auth" => self.sasl = value.eq_ignore_ascii_case("oauthbearer"),
            "application_name" => value.clone_into(&mut self.application_name),
            _ if SETTINGS.contains(&name.as_str()) => self.settings.push((name, value.to_owned())),
            _ => {
                let shown: String =
                    name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(63).collect();
                return Err(refusal(
                    RefusalKind::Denied,
                    format!("the setting {shown} may not be given at the start of a session"),
                    "set it by a statement, which policy can judge",
                ));
            }
        }
        Ok(())
    }

    /// `options`: `-c name=value` and `--name=value`, a backslash before a character takes it as it is
    /// (`pg_split_opts`).
    fn options(&mut self, text: &str) -> Result<(), Refusal> {
        let unreadable = || {
            refusal(RefusalKind::Denied, "options may hold only -c name=value", "leave other switches out")
        };
        let mut words = split(text).into_iter();
        while let Some(word) = words.next() {
            let assignment = match word.strip_prefix("--") {
                Some(rest) => rest.to_owned(),
                None => match word.strip_prefix("-c") {
                    Some("") => words.next().ok_or_else(unreadable)?,
                    Some(rest) => rest.to_owned(),
                    None => return Err(unreadable()),
                },
            };
            let (name, value) = assignment.split_once('=').ok_or_else(unreadable)?;
            self.setting(name, value)?;
        }
        Ok(())
    }
}

fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character.is_ascii_whitespace() {
            words.extend(word.take());
        } else {
            let taken = if character == '\\' { characters.next() } else { Some(character) };
            word.get_or_insert_default().extend(taken);
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::Parameters;

    fn read(pairs: &[(&str, &str)]) -> Result<Parameters, String> {
        let mut bytes: Vec<u8> = pairs.iter().flat_map(|(k, v)| format!("{k}\0{v}\0").into_bytes()).collect();
        bytes.push(0);
        Parameters::read(&bytes).map_err(|refusal| refusal.message)
    }

    #[test]
    fn the_database_defaults_to_the_user() {
        assert_eq!(read(&[("user", "app")]).unwrap().database, "app");
    }

    #[test]
    fn options_are_read_as_the_server_reads_them() {
        let options =
            r"-c statement_timeout=5s --timezone=Europe/Berlin -cwork_mem=4MB -c application_name=a\ b";
        let read = read(&[("user", "app"), ("options", options)]).unwrap();
        assert_eq!(read.application_name, "a b");
        assert_eq!(read.settings.len(), 3);
    }

    #[test]
    fn what_changes_the_meaning_of_statements_is_refused() {
        for options in [
            "-c role=admin",
            "-c standard_conforming_strings=off",
            "-d 5",
            "-c session_preload_libraries=x",
            "-c client_encoding=SJIS",
        ] {
            assert!(read(&[("user", "app"), ("options", options)]).is_err(), "{options}");
        }
        assert!(read(&[("user", "app"), ("replication", "database")]).is_err());
        assert!(read(&[("user", "app"), ("session_authorization", "admin")]).is_err());
    }

    #[test]
    fn no_text_of_the_client_is_in_a_refusal() {
        let message = read(&[("user", "078-05-1120"), ("078-05-1120", "x")]).unwrap_err();
        assert!(!message.contains("078-05-1120"), "{message}");
    }
}
