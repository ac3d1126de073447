//! Clients: TLS for tokio-postgres, and one that speaks bytes.

use crate::gateway::{Gateway, TOKEN};
use crate::server::Server;
use bytes::{BufMut, BytesMut};
use postgres_protocol::message::frontend;
use rustls::pki_types::ServerName;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Makes TLS for tokio-postgres.
#[derive(Clone)]
pub(crate) struct Tls(pub(crate) Arc<rustls::ClientConfig>);

pub(crate) struct TlsSocket(TlsStream<Socket>);

impl MakeTlsConnect<Socket> for Tls {
    type Stream = TlsSocket;
    type TlsConnect = Self;
    type Error = io::Error;

    fn make_tls_connect(&mut self, _domain: &str) -> io::Result<Self> {
        Ok(self.clone())
    }
}

impl TlsConnect<Socket> for Tls {
    type Stream = TlsSocket;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TlsSocket>> + Send>>;

    fn connect(self, stream: Socket) -> Self::Future {
        let name = ServerName::try_from("localhost").unwrap();
        Box::pin(async move { TlsConnector::from(self.0).connect(name, stream).await.map(TlsSocket) })
    }
}

impl tokio_postgres::tls::TlsStream for TlsSocket {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for TlsSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for TlsSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, bytes)
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}

/// A client that speaks bytes.
pub(crate) struct Raw {
    pub(crate) stream: TlsStream<TcpStream>,
    pub(crate) out: BytesMut,
    pub(crate) key: (i32, Vec<u8>),
}

/// One message of a server.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Message {
    pub(crate) tag: char,
    pub(crate) body: Vec<u8>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.tag, String::from_utf8_lossy(&self.body).escape_debug())
    }
}

impl Raw {
    pub(crate) async fn connect(gateway: &Gateway) -> Self {
        Self::secure(TcpStream::connect(("127.0.0.1", gateway.port)).await.unwrap(), gateway).await
    }

    /// Asks for TLS on a connection that may have asked for something else.
    pub(crate) async fn secure(mut socket: TcpStream, gateway: &Gateway) -> Self {
        socket.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await.unwrap();
        assert_eq!(socket.read_u8().await.unwrap(), b'S');
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(gateway.tls().0).connect(name, socket).await.unwrap();
        Self { stream, out: BytesMut::new(), key: (0, Vec::new()) }
    }

    /// Starts a session with a good token. Gives what was said, up to `ReadyForQuery` or a refusal.
    pub(crate) async fn start(&mut self, parameters: &[(&str, &str)]) -> Vec<Message> {
        frontend::startup_message(parameters.iter().copied(), &mut self.out).unwrap();
        self.send().await;
        assert_eq!(self.read().await.tag, 'R');
        frontend::password_message(TOKEN.as_bytes(), &mut self.out).unwrap();
        self.send().await;
        let mut heard = Vec::new();
        loop {
            let message = self.read().await;
            let tag = message.tag;
            if tag == 'K' {
                let process = i32::from_be_bytes(message.body[..4].try_into().unwrap());
                self.key = (process, message.body[4..].to_vec());
            }
            heard.push(message);
            match tag {
                'Z' | 'E' => return heard,
                'R' | 'S' | 'K' => {}
                _ => panic!("{heard:?}"),
            }
        }
    }

    /// Straight to the server as `app`, past every gateway.
    pub(crate) async fn directly(server: &Server, database: &str) -> Self {
        let mut socket = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
        socket.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await.unwrap();
        assert_eq!(socket.read_u8().await.unwrap(), b'S');
        let name = ServerName::try_from("localhost").unwrap();
        let tls = TlsConnector::from(Arc::new(server.certificates.client()));
        let stream = tls.connect(name, socket).await.unwrap();
        let mut raw = Self { stream, out: BytesMut::new(), key: (0, Vec::new()) };
        frontend::startup_message([("user", "app"), ("database", database)], &mut raw.out).unwrap();
        raw.send().await;
        assert!(raw.read().await.body.starts_with(&[0, 0, 0, 10]), "SASL is asked for");
        let binding = postgres_protocol::authentication::sasl::ChannelBinding::unsupported();
        let mut scram = postgres_protocol::authentication::sasl::ScramSha256::new(
            crate::server::PASSWORD.as_bytes(),
            binding,
        );
        frontend::sasl_initial_response("SCRAM-SHA-256", scram.message(), &mut raw.out).unwrap();
        raw.send().await;
        scram.update(&raw.read().await.body[4..]).unwrap();
        frontend::sasl_response(scram.message(), &mut raw.out).unwrap();
        raw.send().await;
        scram.finish(&raw.read().await.body[4..]).unwrap();
        raw.answer().await;
        raw
    }

    pub(crate) async fn send(&mut self) {
        let out = self.out.split();
        self.stream.write_all(&out).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    pub(crate) async fn read(&mut self) -> Message {
        self.try_read().await.unwrap()
    }

    /// The next message, or `None` at the end of the stream.
    pub(crate) async fn try_read(&mut self) -> Option<Message> {
        let next = async {
            let tag = char::from(self.stream.read_u8().await.ok()?);
            let length = self.stream.read_u32().await.ok()?;
            let mut body = vec![0; length as usize - 4];
            self.stream.read_exact(&mut body).await.ok()?;
            Some(Message { tag, body })
        };
        tokio::time::timeout(Duration::from_secs(20), next).await.expect("a message within 20 s")
    }

    /// Everything up to `ReadyForQuery`, that included.
    pub(crate) async fn answer(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            let message = self.read().await;
            let done = message.tag == 'Z';
            messages.push(message);
            if done {
                return messages;
            }
        }
    }

    /// Sends one query, and gives its whole answer.
    pub(crate) async fn ask(&mut self, sql: &str) -> Vec<Message> {
        self.query(sql).send().await;
        self.answer().await
    }

    pub(crate) fn query(&mut self, sql: &str) -> &mut Self {
        frontend::query(sql, &mut self.out).unwrap();
        self
    }

    pub(crate) fn parse(&mut self, name: &str, sql: &str) -> &mut Self {
        frontend::parse(name, sql, [], &mut self.out).unwrap();
        self
    }

    pub(crate) fn bind(&mut self, portal: &str, statement: &str) -> &mut Self {
        self.bind_as(portal, statement, &[0; 6])
    }

    /// The results in the binary format.
    pub(crate) fn bind_binary(&mut self, portal: &str, statement: &str) -> &mut Self {
        self.bind_as(portal, statement, &[0, 0, 0, 0, 0, 1, 0, 1])
    }

    fn bind_as(&mut self, portal: &str, statement: &str, rest: &[u8]) -> &mut Self {
        self.out.put_u8(b'B');
        self.out.put_u32(u32::try_from(4 + portal.len() + statement.len() + 2 + rest.len()).unwrap());
        self.out.put_slice(portal.as_bytes());
        self.out.put_u8(0);
        self.out.put_slice(statement.as_bytes());
        self.out.put_u8(0);
        self.out.put_slice(rest);
        self
    }

    pub(crate) fn execute(&mut self, portal: &str) -> &mut Self {
        frontend::execute(portal, 0, &mut self.out).unwrap();
        self
    }

    pub(crate) fn sync(&mut self) -> &mut Self {
        frontend::sync(&mut self.out);
        self
    }

    /// Parse, Bind and Execute of the unnamed statement.
    pub(crate) fn extended(&mut self, sql: &str) -> &mut Self {
        self.parse("", sql).bind("", "").execute("")
    }
}

/// Tags of messages, in order.
pub(crate) fn tags(messages: &[Message]) -> String {
    messages.iter().map(|message| message.tag).collect()
}

/// A field of the first `ErrorResponse` or `NoticeResponse`.
pub(crate) fn field(messages: &[Message], tag: char, field: char) -> String {
    let message = messages
        .iter()
        .find(|message| message.tag == tag)
        .unwrap_or_else(|| panic!("no {tag}: {messages:?}"));
    let mut fields =
        message.body.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned());
    fields.find(|text| text.starts_with(field)).map(|text| text.split_at(1).1.to_owned()).unwrap_or_default()
}
