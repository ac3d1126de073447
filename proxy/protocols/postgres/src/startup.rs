//! From an accepted socket to a startup packet over TLS, or to a cancel request.
//!
//! * `SSLRequest` is answered `S`; direct TLS (PostgreSQL 17) is taken when ALPN says `postgresql`; `GSSENCRequest` is
//!   answered `N`, and the client goes on to `SSLRequest`.
//! * Requests are read to their exact length from the bare socket, so no byte sent before the handshake can survive
//!   into the protected stream (CVE-2021-23214); a client that sent one anyway is dropped.
//! * A session without TLS is refused with a hint. A cancel request without TLS is taken: libpq before 17 sends them
//!   so, and the key in it is good for that one thing.
//! * Protocols 3.0 and 3.2; another minor version or an unknown `_pq_.` option is negotiated down
//!   (<https://www.postgresql.org/docs/18/protocol-flow.html>).

mod authentication;
mod parameters;

pub use authentication::Authenticate;
pub(crate) use authentication::authenticate;
pub(crate) use parameters::Parameters;

use crate::frontend::{self, Severity};
use crate::messages::Malformed;
use crate::wire::{Transport, Wire};
use bytes::BytesMut;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::startup::NegotiateProtocolVersion;
use proxy_core::refusal::{Refusal, RefusalKind};
use rustls::ServerConfig;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// What a connection turned out to be.
#[derive(Debug)]
pub(crate) enum Opening {
    /// A session, not authenticated yet.
    Session(Box<Arrival>),
    /// A cancel request.
    Cancel {
        /// Process identifier, as we gave it out.
        process: i32,
        /// Key, as we gave it out.
        key: Vec<u8>,
    },
    /// The peer went away, or never spoke PostgreSQL; there is nobody to answer.
    Nothing,
}

/// A client that asks for a session.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// Its connection.
    pub(crate) wire: Wire<Transport>,
    /// What it asks for.
    pub(crate) parameters: Parameters,
    /// Protocol 3.2: longer cancel keys.
    pub(crate) long_keys: bool,
    /// How the transport is protected: `TLSv1.3 TLS13_AES_256_GCM_SHA384`.
    pub(crate) transport: String,
}

/// Why an opening failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartupError {
    /// The socket or the handshake failed.
    #[error("negotiate connection")]
    Io(#[from] io::Error),
    /// The client sent something that is no startup packet.
    #[error("read startup packet")]
    Malformed(#[from] Malformed),
    /// It was refused and has been told.
    #[error("connection refused: {}", .0.message)]
    Refused(Refusal),
}

/// Reads what a connection is.
///
/// # Errors
/// The connection failed, or the client was refused; it has been told what it can be told.
pub(crate) async fn open(mut socket: TcpStream, tls: Arc<ServerConfig>) -> Result<Opening, StartupError> {
    for _ in 0..REQUESTS {
        let mut first = [0];
        if socket.peek(&mut first).await? == 0 {
            return Ok(Opening::Nothing);
        }
        if first == [TLS_HANDSHAKE] {
            return handshake(socket, tls, Alpn::Required).await;
        }
        let packet = read_packet(&mut socket).await?;
        match code(&packet)? {
            SSL_REQUEST => {
                let mut early = [0];
                if matches!(socket.try_read(&mut early), Ok(count) if count > 0) {
                    return Err(Malformed("bytes follow the request for TLS").into());
                }
                socket.write_all(b"S").await?;
                return handshake(socket, tls, Alpn::Optional).await;
            }
            GSS_REQUEST => socket.write_all(b"N").await?,
            CANCEL_REQUEST => return cancel(&packet),
            _ => return Err(refuse_plain(socket).await),
        }
    }
    Err(Malformed("too many requests before the startup packet").into())
}

/// Whether the client must name the protocol within the handshake.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Alpn {
    Required,
    Optional,
}

async fn handshake(socket: TcpStream, tls: Arc<ServerConfig>, alpn: Alpn) -> Result<Opening, StartupError> {
    let stream = TlsAcceptor::from(tls).accept(socket).await?;
    let (_, connection) = stream.get_ref();
    if alpn == Alpn::Required && connection.alpn_protocol() != Some(ALPN) {
        return Err(Malformed("direct TLS without the ALPN protocol postgresql").into());
    }
    let version = connection.protocol_version().map_or("", |version| version.as_str().unwrap_or_default());
    let suite =
        connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or_default();
    let transport = format!("{} {suite}", version.replace("TLSv1_", "TLSv1."));
    arrive(Transport::Client(Box::new(stream)), transport).await
}

/// Reads what a client asks for, over a transport that is protected as `transport` says.
pub(crate) async fn arrive(mut stream: Transport, transport: String) -> Result<Opening, StartupError> {
    let packet = read_packet(&mut stream).await?;
    let code = code(&packet)?;
    if code == CANCEL_REQUEST {
        return cancel(&packet);
    }
    let mut wire = Wire::new(stream);
    if code >> 16 != 3 {
        let refusal =
            frontend::refusal(RefusalKind::Protocol, "only protocol 3 is spoken here", "upgrade the client");
        return Err(refuse(&mut wire, refusal).await);
    }
    let parameters = match Parameters::read(packet.get(8..).unwrap_or_default()) {
        Ok(parameters) => parameters,
        Err(refusal) => return Err(refuse(&mut wire, refusal).await),
    };
    let minor = code & 0xffff;
    // 3.1 was never a protocol; a client that asks for it gets 3.0, as PostgreSQL 18 does.
    let spoken = if minor >= 2 { 2 } else { 0 };
    if minor != spoken || !parameters.unknown_options.is_empty() {
        let unknown = parameters.unknown_options.clone();
        let negotiate = NegotiateProtocolVersion::new((3 << 16) + spoken, unknown);
        frontend::put(PgWireBackendMessage::NegotiateProtocolVersion(negotiate), &mut wire.output);
    }
    Ok(Opening::Session(Box::new(Arrival { wire, parameters, long_keys: spoken == 2, transport })))
}

/// Ends a connection with a reason.
pub(crate) async fn refuse(wire: &mut Wire<Transport>, refusal: Refusal) -> StartupError {
    frontend::put_refusal(&refusal, Severity::Fatal, &mut wire.output);
    match wire.drain().await {
        Ok(()) => {
            wire.close().await;
            StartupError::Refused(refusal)
        }
        Err(error) => StartupError::Io(error),
    }
}

async fn refuse_plain(mut socket: TcpStream) -> StartupError {
    let refusal = frontend::refusal(
        RefusalKind::Authentication,
        "a session without TLS is refused: the token would travel in the clear",
        "connect with sslmode=require, or better verify-full",
    );
    let mut out = BytesMut::new();
    frontend::put_refusal(&refusal, Severity::Fatal, &mut out);
    match socket.write_all(&out).await {
        Ok(()) => StartupError::Refused(refusal),
        Err(error) => StartupError::Io(error),
    }
}

/// Reads one untagged packet, and not a byte more.
async fn read_packet<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, StartupError> {
    let length = stream.read_u32().await?;
    if !(8..=STARTUP_BYTES).contains(&length) {
        return Err(Malformed("the startup packet has an impossible length").into());
    }
    let mut packet = length.to_be_bytes().to_vec();
    packet.resize(usize::try_from(length).unwrap_or_default(), 0);
    stream.read_exact(packet.get_mut(4..).unwrap_or_default()).await?;
    Ok(packet)
}

fn code(packet: &[u8]) -> Result<i32, Malformed> {
    match packet.get(4..).and_then(<[u8]>::first_chunk) {
        Some(code) => Ok(i32::from_be_bytes(*code)),
        None => Err(Malformed("the startup packet is too short")),
    }
}

fn cancel(packet: &[u8]) -> Result<Opening, StartupError> {
    let body = packet.get(8..).unwrap_or_default();
    match body.split_first_chunk() {
        Some((process, key)) if (4..=256).contains(&key.len()) => {
            Ok(Opening::Cancel { process: i32::from_be_bytes(*process), key: key.to_vec() })
        }
        Some(_) | None => Err(Malformed("the cancel request has an impossible length").into()),
    }
}

/// `SSLRequest`, `GSSENCRequest`, and one more.
const REQUESTS: usize = 3;
/// First byte of a TLS handshake record.
const TLS_HANDSHAKE: u8 = 0x16;
/// Registered for PostgreSQL.
pub(crate) const ALPN: &[u8] = b"postgresql";
const SSL_REQUEST: i32 = 80_877_103;
const GSS_REQUEST: i32 = 80_877_104;
const CANCEL_REQUEST: i32 = 80_877_102;
/// The server's own limit (`MAX_STARTUP_PACKET_LENGTH`), in bytes.
const STARTUP_BYTES: u32 = 10_000;
