//! A connection to the server: TCP, TLS, login, first parameters.
//!
//! Passwords are proved by SCRAM-SHA-256, with channel binding (`tls-server-end-point`, RFC 5929) when the server
//! offers it. MD5 is refused; a cleartext password is given inside verified TLS only.

mod login;
mod tls;

use crate::cancel::UpstreamKey;
use crate::frame;
use crate::messages::{Body, Malformed};
use crate::options::{Credentials, Options, UpstreamTls};
use crate::wire::{Read, Transport, Wire};
use bytes::{Bytes, BytesMut};
use postgres_protocol::message::frontend;
use std::io;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// A session at the server, ready for statements.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// The connection.
    pub(crate) wire: Wire<Transport>,
    /// `ParameterStatus` messages, as sent.
    pub(crate) parameters: BytesMut,
    /// How to cancel there.
    pub(crate) key: UpstreamKey,
}

/// What a session asks the server for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Login<'a> {
    /// With what.
    pub(crate) credentials: &'a Credentials,
    /// Database.
    pub(crate) database: &'a str,
    /// Settings of the session.
    pub(crate) settings: &'a [(String, String)],
}

/// Why the server cannot be used. `Display` holds nothing of the server's own words but its SQLSTATE.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    /// Not within the time.
    #[error("the server did not answer within {} s", .0.as_secs())]
    Deadline(Duration),
    /// The network, or TLS.
    #[error("{step}")]
    Io {
        /// What failed.
        step: &'static str,
        /// Because of.
        source: io::Error,
    },
    /// The server does not speak TLS, and it is required.
    #[error("the server does not speak TLS")]
    NoTls,
    /// The server asks for what is not given.
    #[error("the server asks for {0}, which the gateway does not do")]
    Method(&'static str),
    /// The server refused.
    #[error("the server refused (SQLSTATE {0})")]
    Refused(String),
    /// The server broke the protocol.
    #[error("the server sent a message that cannot be read")]
    Malformed(#[from] Malformed),
}

/// Connects and logs in.
///
/// # Errors
/// See [`UpstreamError`].
pub(crate) async fn connect(options: &Options, login: Login<'_>) -> Result<Upstream, UpstreamError> {
    let limit = options.limits.connect;
    match tokio::time::timeout(limit, connect_unbounded(options, login)).await {
        Ok(result) => result,
        Err(_) => Err(UpstreamError::Deadline(limit)),
    }
}

async fn connect_unbounded(options: &Options, login: Login<'_>) -> Result<Upstream, UpstreamError> {
    let socket = dial(options).await?;
    let (transport, binding) = match &options.tls {
        UpstreamTls::Disable => (Transport::Plain(socket), None),
        UpstreamTls::Require(config) => tls::protect(socket, &options.host, config).await?,
    };
    log_in(transport, binding, login).await
}

/// Proves who we are, and takes what the server says up to its first `ReadyForQuery`.
pub(crate) async fn log_in(
    transport: Transport,
    binding: Option<Vec<u8>>,
    login: Login<'_>,
) -> Result<Upstream, UpstreamError> {
    let mut wire = Wire::new(transport);
    let mut parameters = vec![
        ("user", login.credentials.username.as_str()),
        ("database", login.database),
        ("client_encoding", "UTF8"),
        ("standard_conforming_strings", "on"),
    ];
    parameters.extend(login.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    frontend::startup_message(parameters, &mut wire.output).map_err(failed("write startup message"))?;
    login::prove(&mut wire, login.credentials, binding).await?;
    login::greeting(wire).await
}

async fn dial(options: &Options) -> Result<TcpStream, UpstreamError> {
    let socket = TcpStream::connect((options.host.as_str(), options.port))
        .await
        .map_err(failed("connect to the server"))?;
    socket.set_nodelay(true).map_err(failed("connect to the server"))?;
    Ok(socket)
}

/// Cancels what a session runs. The server answers nothing; it closes.
///
/// # Errors
/// The server cannot be reached.
pub(crate) async fn cancel(options: &Options, key: UpstreamKey) -> Result<(), UpstreamError> {
    let limit = options.limits.connect;
    let send = async {
        let socket = dial(options).await?;
        let mut stream = match &options.tls {
            UpstreamTls::Disable => Transport::Plain(socket),
            UpstreamTls::Require(config) => tls::protect(socket, &options.host, config).await?.0,
        };
        let mut message = BytesMut::new();
        frontend::cancel_request(key.process, key.secret, &mut message);
        stream.write_all(&message).await.map_err(failed("send cancel request"))?;
        stream.shutdown().await.map_err(failed("send cancel request"))
    };
    tokio::time::timeout(limit, send).await.unwrap_or(Err(UpstreamError::Deadline(limit)))
}

impl Upstream {
    /// Runs one statement that this gateway wrote and returns the first column of its rows. For the start of a session
    /// and for catalogues, never for what a client sent.
    ///
    /// # Errors
    /// See [`UpstreamError`].
    pub(crate) async fn ask(&mut self, sql: &str) -> Result<Vec<String>, UpstreamError> {
        frontend::query(sql, &mut self.wire.output).map_err(failed("write statement"))?;
        let mut rows = Vec::new();
        let mut refused = None;
        loop {
            let (tag, body) = next(&mut self.wire).await?;
            match tag {
                b'D' => {
                    let mut body = Body::new(&body);
                    body.count()?;
                    let value = body.value()?.unwrap_or_default();
                    rows.push(String::from_utf8_lossy(value).into_owned());
                }
                b'E' => refused = Some(sqlstate(&body)),
                b'Z' => break,
                _ => {}
            }
        }
        refused.map_or(Ok(rows), |code| Err(UpstreamError::Refused(code)))
    }
}

/// Flushes what is to be sent, and reads the next frame.
async fn next(wire: &mut Wire<Transport>) -> Result<(u8, Bytes), UpstreamError> {
    wire.drain().await.map_err(failed("write to the server"))?;
    loop {
        match frame::header(&wire.input, MESSAGE_BYTES) {
            Err(_) => return Err(Malformed("its length is impossible").into()),
            Ok(Some(header)) if wire.input.len() >= header.length => {
                let mut frame = wire.input.split_to(header.length).freeze();
                bytes::Buf::advance(&mut frame, frame::HEADER_BYTES);
                return Ok((header.tag, frame));
            }
            Ok(Some(_) | None) => {}
        }
        if wire.fill().await.map_err(failed("read from the server"))? == Read::End {
            return Err(failed("read from the server")(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

/// The SQLSTATE of an `ErrorResponse`.
pub(crate) fn sqlstate(body: &[u8]) -> String {
    let code = field(body, b'C').unwrap_or_default();
    String::from_utf8_lossy(code).chars().filter(char::is_ascii_alphanumeric).take(5).collect()
}

/// Whether an `ErrorResponse` is the last message of its session.
pub(crate) fn ends_session(body: &[u8]) -> bool {
    matches!(field(body, b'V'), Some(b"FATAL" | b"PANIC"))
}

/// A field of an `ErrorResponse`.
fn field(body: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut body = Body::new(body);
    while let (Ok(tag), Ok(value)) = (body.u8(), body.cstring()) {
        if tag == wanted {
            return Some(value);
        }
    }
    None
}

fn failed(step: &'static str) -> impl FnOnce(io::Error) -> UpstreamError {
    move |source| UpstreamError::Io { step, source }
}

/// Largest message at login and of a catalogue, in bytes.
const MESSAGE_BYTES: usize = 16 << 20;

impl Upstream {
    /// Says goodbye.
    pub(crate) async fn close(mut self) {
        goodbye(&mut self.wire).await;
    }
}

/// `Terminate`, and the end of the connection.
pub(crate) async fn goodbye(wire: &mut Wire<Transport>) {
    frontend::terminate(&mut wire.output);
    let done = async {
        if let Err(error) = wire.drain().await {
            tracing::debug!(%error, "say goodbye to the server");
        }
        wire.close().await;
    };
    if tokio::time::timeout(GOODBYE, done).await.is_err() {
        tracing::debug!("the server takes no goodbye");
    }
}

/// Time for the last bytes of a connection.
pub(crate) const GOODBYE: Duration = Duration::from_secs(1);
