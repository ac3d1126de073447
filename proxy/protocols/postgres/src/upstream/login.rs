//! Proving who we are to the server, and what it says once it believes it.

use super::{Upstream, UpstreamError, failed, next, sqlstate};
use crate::cancel::UpstreamKey;
use crate::messages::{Body, Malformed};
use crate::options::Credentials;
use crate::wire::{Transport, Wire};
use bytes::{BufMut, BytesMut};
use postgres_protocol::authentication::sasl::{
    ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use postgres_protocol::message::frontend;

/// Answers what the server asks until it is satisfied.
pub(super) async fn prove(
    wire: &mut Wire<Transport>,
    credentials: &Credentials,
    binding: Option<Vec<u8>>,
) -> Result<(), UpstreamError> {
    let (kind, data) = request(wire).await?;
    match kind {
        0 => Ok(()),
        3 => match wire.stream() {
            Transport::Upstream(_) => {
                let password = credentials.password.expose().as_bytes();
                frontend::password_message(password, &mut wire.output).map_err(failed("write password"))?;
                accepted(wire).await
            }
            Transport::Plain(_) | Transport::Client(_) => {
                Err(UpstreamError::Method("a cleartext password without TLS"))
            }
        },
        5 => Err(UpstreamError::Method("an MD5 password")),
        10 => scram(wire, credentials, binding, &data).await,
        _ => Err(UpstreamError::Method("another kind of authentication than SCRAM-SHA-256")),
    }
}

async fn scram(
    wire: &mut Wire<Transport>,
    credentials: &Credentials,
    binding: Option<Vec<u8>>,
    offer: &[u8],
) -> Result<(), UpstreamError> {
    let mut offered = Body::new(offer);
    let (mut plain, mut plus) = (false, false);
    while !offered.is_empty() {
        match offered.text()? {
            SCRAM_SHA_256 => plain = true,
            SCRAM_SHA_256_PLUS => plus = true,
            _ => {}
        }
    }
    let (mechanism, binding) = match binding {
        Some(signature) if plus => (SCRAM_SHA_256_PLUS, ChannelBinding::tls_server_end_point(signature)),
        // Saying that we could have bound the channel is what defeats a downgrade.
        Some(_) if plain => (SCRAM_SHA_256, ChannelBinding::unrequested()),
        None if plain => (SCRAM_SHA_256, ChannelBinding::unsupported()),
        Some(_) | None => return Err(UpstreamError::Method("an unknown SASL mechanism")),
    };
    let mut scram = ScramSha256::new(credentials.password.expose().as_bytes(), binding);
    frontend::sasl_initial_response(mechanism, scram.message(), &mut wire.output)
        .map_err(failed("write SASL response"))?;
    let (kind, data) = request(wire).await?;
    if kind != 11 {
        return Err(Malformed("a SASL challenge was expected").into());
    }
    scram.update(&data).map_err(failed("SCRAM challenge of the server"))?;
    frontend::sasl_response(scram.message(), &mut wire.output).map_err(failed("write SASL response"))?;
    let (kind, data) = request(wire).await?;
    if kind != 12 {
        return Err(Malformed("the end of the SASL exchange was expected").into());
    }
    // The server proves that it knows the password as well.
    scram.finish(&data).map_err(failed("SCRAM proof of the server"))?;
    accepted(wire).await
}

async fn accepted(wire: &mut Wire<Transport>) -> Result<(), UpstreamError> {
    match request(wire).await? {
        (0, _) => Ok(()),
        _ => Err(UpstreamError::Method("a second authentication")),
    }
}

/// The next authentication request: its kind and its data.
async fn request(wire: &mut Wire<Transport>) -> Result<(i32, Vec<u8>), UpstreamError> {
    loop {
        let (tag, body) = next(wire).await?;
        match tag {
            b'R' => {
                let mut body = Body::new(&body);
                return Ok((body.i32()?, body.rest().to_vec()));
            }
            b'E' => return Err(UpstreamError::Refused(sqlstate(&body))),
            b'N' | b'v' => {}
            _ => return Err(Malformed("an authentication request was expected").into()),
        }
    }
}

/// Everything up to the first `ReadyForQuery`.
pub(super) async fn greeting(mut wire: Wire<Transport>) -> Result<Upstream, UpstreamError> {
    let mut parameters = BytesMut::new();
    let mut key = UpstreamKey { process: 0, secret: 0 };
    loop {
        let (tag, body) = next(&mut wire).await?;
        match tag {
            b'S' => {
                parameters.put_u8(tag);
                parameters.put_u32(u32::try_from(body.len().saturating_add(4)).unwrap_or(u32::MAX));
                parameters.put_slice(&body);
            }
            b'K' => {
                let mut body = Body::new(&body);
                key = UpstreamKey { process: body.i32()?, secret: body.i32()? };
                body.end()?;
            }
            b'Z' => return Ok(Upstream { wire, parameters, key }),
            b'E' => return Err(UpstreamError::Refused(sqlstate(&body))),
            b'N' => {}
            _ => return Err(Malformed("it has no place in a login").into()),
        }
    }
}
