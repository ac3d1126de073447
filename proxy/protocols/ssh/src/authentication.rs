//! Who a client is: a token as a password, as keyboard-interactive answers, or inside a certificate of this gateway.
//!
//! OpenSSH's client cuts a password, typed or from `SSH_ASKPASS`, at 1,023 bytes (`readpass.c`); tokens are longer. So
//! the keyboard-interactive method (RFC 4256) asks again, `token from byte 1000: `, for as long as answers are that
//! long: a helper prints the part that it is asked for, and a client without that limit is never asked twice.

use proxy_core::authn::{Authenticator, BearerToken, Verified};
use proxy_core::refusal::{Refusal, RefusalKind};
use proxy_core::secret::Secret;
use std::fmt;

use crate::place::Place;
use crate::refusals::refusal;

/// Verifies tokens. `proxy_core::authn::Authenticator` is the one; tests have another.
#[async_trait::async_trait]
pub trait Authenticate: Send + Sync + fmt::Debug {
    /// Who presents this token.
    ///
    /// # Errors
    /// The token is not good, or cannot be checked now; in words for the client.
    async fn verify(&self, token: &BearerToken) -> Result<Verified, Refusal>;
}

#[async_trait::async_trait]
impl Authenticate for Authenticator {
    async fn verify(&self, token: &BearerToken) -> Result<Verified, Refusal> {
        Self::verify(self, token).await.map_err(|error| error.refusal())
    }
}

/// The answers of one keyboard-interactive login, so far.
#[derive(Default)]
pub(crate) struct Answers(String);

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answers({} bytes)", self.0.len())
    }
}

/// What an answer amounts to.
#[derive(Debug)]
pub(crate) enum Answered {
    /// A token that may be whole; if it is not, and `more`, ask for the rest.
    Token {
        /// The token so far.
        token: BearerToken,
        /// There may be more of it.
        more: bool,
    },
    /// More than any token has.
    TooLong,
}

impl Answers {
    /// Takes the next answer.
    pub(crate) fn take(&mut self, answer: &str) -> Answered {
        let answer = answer.trim();
        if self.0.len().saturating_add(answer.len()) > TOKEN_BYTES {
            return Answered::TooLong;
        }
        self.0.push_str(answer);
        Answered::Token { token: Secret::new(self.0.clone()), more: answer.len() >= PART_BYTES }
    }

    /// The question to ask next.
    pub(crate) fn prompt(&self) -> String {
        if self.0.is_empty() {
            "portcullis token: ".to_owned()
        } else {
            format!("portcullis token from byte {}: ", self.0.len())
        }
    }
}

/// A user name: a role, and the host that it is meant on. `role%host` or `role`, which means the first host.
pub(crate) fn place(user: &str, first_host: &str) -> Place {
    match user.split_once('%') {
        Some((role, host)) => Place { role: role.to_owned(), host: host.to_owned() },
        None => Place { role: user.to_owned(), host: first_host.to_owned() },
    }
}

/// The user name is the client's text, which may be anything: it is not repeated.
pub(crate) fn not_offered() -> Refusal {
    refusal(
        RefusalKind::Authentication,
        "that login or host is not offered",
        "give an offered role as user name, or role%host",
    )
}

/// Longest part of a token that OpenSSH passes on is 1,023 bytes; helpers give this many.
const PART_BYTES: usize = 1000;
/// As `proxy_core::authn` has it.
const TOKEN_BYTES: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::{Answered, Answers, place};

    #[test]
    fn a_long_token_is_asked_for_in_parts() {
        let token = "t".repeat(2_500);
        let mut answers = Answers::default();
        assert_eq!(answers.prompt(), "portcullis token: ");
        for (from, to, expected) in [(0, 1000, true), (1000, 2000, true), (2000, 2500, false)] {
            let Answered::Token { token: sofar, more } = answers.take(token.get(from..to).unwrap()) else {
                panic!("too long")
            };
            assert_eq!((sofar.expose().len(), more), (to, expected));
            assert_eq!(answers.prompt(), format!("portcullis token from byte {to}: "));
        }
        assert!(matches!(answers.take(&"t".repeat(14_000)), Answered::TooLong));
    }

    #[test]
    fn a_user_name_chooses_role_and_host() {
        assert_eq!((&*place("deploy", "web1").role, &*place("deploy", "web1").host), ("deploy", "web1"));
        assert_eq!(
            (&*place("deploy%web2", "web1").role, &*place("deploy%web2", "web1").host),
            ("deploy", "web2")
        );
    }
}
