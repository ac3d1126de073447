//! How a client presents its token.
//!
//! A server offers one method only, before it knows what the client can do. What is offered:
//!
//! * `AuthenticationCleartextPassword`, inside TLS: every driver answers it with its password, the token. The default.
//! * SASL `OAUTHBEARER` (RFC 7628, PostgreSQL 18) for clients that ask for it with the startup option
//!   `-c portcullis.auth=oauthbearer` (`PGOPTIONS`, or `options` in a connection string). Nothing else in a startup
//!   packet tells whether a client has an OAuth flow: libpq 18 sends the same packet with and without one.

use super::{Arrival, StartupError, refuse};
use crate::frame;
use crate::frontend::{self, Severity};
use crate::messages::{self, Body, Malformed};
use crate::wire::{Read, Transport, Wire};
use bytes::{Bytes, BytesMut};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::startup::Authentication;
use proxy_core::authn::{Authenticator, BearerToken, Verified};
use proxy_core::refusal::{Refusal, RefusalKind};
use proxy_core::secret::Secret;
use std::fmt;

/// Verifies tokens. `proxy_core::authn::Authenticator` is the one; tests have another.
#[async_trait::async_trait]
pub trait Authenticate: Send + Sync + fmt::Debug {
    /// Who presents this token.
    ///
    /// # Errors
    /// The token is not good, or cannot be checked now; in words for the client.
    async fn verify(&self, token: &BearerToken) -> Result<Verified, Refusal>;

    /// Discovery document of the issuer that a client should ask for a token, for RFC 7628 section 3.2.2.
    fn discovery_url(&self) -> Option<String>;
}

#[async_trait::async_trait]
impl Authenticate for Authenticator {
    async fn verify(&self, token: &BearerToken) -> Result<Verified, Refusal> {
        Self::verify(self, token).await.map_err(|error| error.refusal())
    }

    fn discovery_url(&self) -> Option<String> {
        self.issuers().first().map(|issuer| issuer.discovery_url.clone())
    }
}

/// What a client presented.
#[derive(Debug)]
pub(crate) enum Credential {
    /// A token.
    Token(BearerToken),
    /// Nothing: a client asking which issuer to use, answered already.
    Discovery,
}

/// Asks for a token and verifies it.
///
/// # Errors
/// The connection failed, or the client was refused and told.
pub(crate) async fn authenticate(
    arrival: &mut Arrival,
    authenticator: &dyn Authenticate,
) -> Result<Option<Verified>, StartupError> {
    let wire = &mut arrival.wire;
    let credential =
        if arrival.parameters.sasl { by_sasl(wire, authenticator).await? } else { by_password(wire).await? };
    let Credential::Token(token) = credential else { return Ok(None) };
    match authenticator.verify(&token).await {
        Ok(verified) => Ok(Some(verified)),
        Err(refusal) => Err(refuse(wire, refusal).await),
    }
}

async fn by_password(wire: &mut Wire<Transport>) -> Result<Credential, StartupError> {
    ask(wire, Authentication::CleartextPassword).await?;
    let body = answer(wire).await?;
    token(wire, messages::text(&body)).await
}

async fn by_sasl(
    wire: &mut Wire<Transport>,
    authenticator: &dyn Authenticate,
) -> Result<Credential, StartupError> {
    ask(wire, Authentication::SASL(vec!["OAUTHBEARER".to_owned()])).await?;
    let body = answer(wire).await?;
    let message = match initial_response(&body) {
        Ok(message) => message,
        Err(malformed) => return Err(refuse(wire, wrong(malformed)).await),
    };
    let Some(text) = message else {
        // An empty token asks which issuer to use. The exchange then has to fail (RFC 7628 section 4.3).
        discovery(wire, authenticator).await?;
        return Ok(Credential::Discovery);
    };
    token(wire, Ok(text)).await
}

async fn token(
    wire: &mut Wire<Transport>,
    text: Result<&str, Malformed>,
) -> Result<Credential, StartupError> {
    match text {
        Ok("") => {
            let hint = "give an OIDC token as the password";
            Err(refuse(wire, frontend::refusal(RefusalKind::Authentication, "the password is empty", hint))
                .await)
        }
        Ok(text) => Ok(Credential::Token(Secret::new(text.to_owned()))),
        Err(malformed) => Err(refuse(wire, wrong(malformed)).await),
    }
}

/// The token in a `SASLInitialResponse`; `None` if it is empty.
fn initial_response(body: &[u8]) -> Result<Option<&str>, Malformed> {
    let mut body = Body::new(body);
    if body.text()? != "OAUTHBEARER" {
        return Err(Malformed("another SASL mechanism was chosen than the one offered"));
    }
    let response = body.value()?.ok_or(Malformed("the SASL response is missing"))?;
    body.end()?;
    let response = std::str::from_utf8(response).ok().ok_or(Malformed("the SASL response is not UTF-8"))?;
    // gs2-header kvsep *kvpair kvsep; no channel binding and no authorization identity, as PostgreSQL has it
    let pairs = response.strip_prefix("n,,\u{1}").ok_or(Malformed("the SASL response has another header"))?;
    let pairs = pairs.strip_suffix("\u{1}\u{1}").ok_or(Malformed("the SASL response has no end"))?;
    let mut values = pairs.split('\u{1}').filter_map(|pair| pair.strip_prefix("auth="));
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(Malformed("the SASL response has not exactly one auth"));
    };
    if value.is_empty() {
        return Ok(None);
    }
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim_start())),
        Some(_) | None => Err(Malformed("the SASL response holds no bearer token")),
    }
}

async fn discovery(wire: &mut Wire<Transport>, authenticator: &dyn Authenticate) -> Result<(), StartupError> {
    let url = authenticator.discovery_url().unwrap_or_default();
    let status = serde_json::json!({"status": "invalid_token", "openid-configuration": url, "scope": ""});
    ask(wire, Authentication::SASLContinue(Bytes::from(status.to_string()))).await?;
    answer(wire).await?;
    let hint = "present a token of the issuer that was named";
    let refusal = frontend::refusal(RefusalKind::Authentication, "no token was presented", hint);
    frontend::put_refusal(&refusal, Severity::Fatal, &mut wire.output);
    wire.drain().await?;
    wire.close().await;
    Ok(())
}

fn wrong(malformed: Malformed) -> Refusal {
    frontend::refusal(RefusalKind::Protocol, malformed.to_string(), "give an OIDC token as the password")
}

async fn ask(wire: &mut Wire<Transport>, authentication: Authentication) -> Result<(), StartupError> {
    frontend::put(PgWireBackendMessage::Authentication(authentication), &mut wire.output);
    Ok(wire.drain().await?)
}

/// The body of the `p` message that answers.
async fn answer(wire: &mut Wire<Transport>) -> Result<BytesMut, StartupError> {
    loop {
        match frame::header(&wire.input, PASSWORD_BYTES) {
            Err(_) => return Err(Malformed("the password message has an impossible length").into()),
            Ok(Some(header)) if header.tag != b'p' => {
                return Err(Malformed("another message was sent instead of the password").into());
            }
            Ok(Some(header)) if wire.input.len() >= header.length => {
                let mut frame = wire.input.split_to(header.length);
                bytes::Buf::advance(&mut frame, frame::HEADER_BYTES);
                return Ok(frame);
            }
            Ok(Some(_) | None) => {}
        }
        if wire.fill().await? == Read::End {
            return Err(StartupError::Io(std::io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

/// Tokens of 16 KiB fit; the server's own limit for passwords is 64 KiB.
const PASSWORD_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::initial_response;

    fn response(mechanism: &str, text: &str) -> Vec<u8> {
        let mut body = format!("{mechanism}\0").into_bytes();
        body.extend(i32::try_from(text.len()).unwrap().to_be_bytes());
        body.extend(text.as_bytes());
        body
    }

    #[test]
    fn a_bearer_token_is_found_in_the_initial_response() {
        let body = response("OAUTHBEARER", "n,,\u{1}auth=Bearer a.b.c\u{1}\u{1}");
        assert_eq!(initial_response(&body), Ok(Some("a.b.c")));
        let body = response("OAUTHBEARER", "n,,\u{1}auth=\u{1}\u{1}");
        assert_eq!(initial_response(&body), Ok(None));
    }

    #[test]
    fn anything_else_is_malformed() {
        for text in [
            "",
            "n,,\u{1}auth=Bearer x",
            "y,,\u{1}auth=Bearer x\u{1}\u{1}",
            "n,,\u{1}auth=Basic x\u{1}\u{1}",
            "n,,\u{1}auth=Bearer x\u{1}auth=Bearer y\u{1}\u{1}",
        ] {
            assert!(initial_response(&response("OAUTHBEARER", text)).is_err(), "{text:?}");
        }
        assert!(initial_response(&response("SCRAM-SHA-256", "n,,\u{1}auth=Bearer x\u{1}\u{1}")).is_err());
    }
}
