//! An API server that says what a test scripts, over real TLS, and remembers what it was asked.

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderName, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// One authority for both servers of a test.
pub(crate) struct Certificates {
    authority: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = params.self_signed(&key).unwrap();
        Self { authority, issuer: Issuer::new(params, key) }
    }

    /// What a server is configured with that takes nobody without a certificate of this authority.
    pub(crate) fn server_of_members(&self) -> rustls::ServerConfig {
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(self.roots(), provider());
        self.serving(|builder| builder.with_client_cert_verifier(verifier.build().unwrap()))
    }

    pub(crate) fn server(&self, alpn: &[&[u8]]) -> rustls::ServerConfig {
        let mut config = self.serving(
            rustls::ConfigBuilder::<rustls::ServerConfig, rustls::WantsVerifier>::with_no_client_auth,
        );
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        config
    }

    fn serving(
        &self,
        admit: impl FnOnce(
            rustls::ConfigBuilder<rustls::ServerConfig, rustls::WantsVerifier>,
        )
            -> rustls::ConfigBuilder<rustls::ServerConfig, rustls::server::WantsServerCert>,
    ) -> rustls::ServerConfig {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let builder =
            rustls::ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        admit(builder.unwrap()).with_single_cert(vec![certificate.der().clone()], key).unwrap()
    }

    pub(crate) fn client(&self) -> rustls::ClientConfig {
        self.trusting().with_no_client_auth()
    }

    /// A client that shows a certificate of this authority.
    pub(crate) fn member(&self) -> rustls::ClientConfig {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(Vec::new()).unwrap().signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        self.trusting().with_client_auth_cert(vec![certificate.der().clone()], key).unwrap()
    }

    fn trusting(&self) -> rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert> {
        let builder =
            rustls::ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        builder.unwrap().with_root_certificates(self.roots())
    }

    fn roots(&self) -> Arc<rustls::RootCertStore> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        Arc::new(roots)
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// What a path answers.
#[derive(Clone, Debug)]
pub(crate) enum Script {
    /// Status, content type, body.
    Answer(u16, &'static str, Vec<u8>),
    /// Messages of a WebSocket, once the client has sent so many; then a close.
    Socket { after: usize, messages: Vec<Vec<u8>> },
    /// Content type and body, whose end never comes.
    Endless(&'static str, Vec<u8>),
    /// The connection itself, once it is upgraded: the test speaks on it.
    Hand(mpsc::UnboundedSender<Handed>),
}

/// An upgraded connection, of the API server's side.
pub(crate) type Handed = TokioIo<hyper::upgrade::Upgraded>;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What it was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
    /// Whose end of which connection it came on.
    pub(crate) from: SocketAddr,
}

/// The server.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    tried: Arc<Mutex<Vec<Asked>>>,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    scripts: Arc<Mutex<HashMap<String, Script>>>,
}

impl Server {
    pub(crate) async fn start(certificates: &Certificates) -> Self {
        Self::start_with(certificates.server(&[b"http/1.1"])).await
    }

    pub(crate) async fn start_with(tls: rustls::ServerConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            asked: Arc::default(),
            tried: Arc::default(),
            heard: Arc::default(),
            scripts: Arc::default(),
        };
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let serving = server.clone();
        tokio::spawn(async move {
            loop {
                let (socket, from) = listener.accept().await.unwrap();
                let (acceptor, server) = (acceptor.clone(), serving.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(socket).await else { return };
                    let service = service_fn(move |request| server.clone().answer(request, from));
                    let serving = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service);
                    serving.with_upgrades().await.unwrap_or_default();
                });
            }
        });
        server
    }

    /// What a path (without its query) answers from now on; with `?dryRun=All` behind it, to who tries.
    pub(crate) fn script(&self, path: &str, script: Script) {
        self.scripts.lock().unwrap().insert(path.to_owned(), script);
    }

    /// Everything that it was asked to try.
    pub(crate) fn tried(&self) -> Vec<Asked> {
        self.tried.lock().unwrap().clone()
    }

    /// Everything that it was asked, but to try something.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// What it heard once a connection was upgraded.
    pub(crate) fn heard(&self) -> Vec<Vec<u8>> {
        self.heard.lock().unwrap().clone()
    }

    async fn answer(
        self,
        mut request: Request<Incoming>,
        from: SocketAddr,
    ) -> Result<Response<Body>, Infallible> {
        let body = request.body_mut().collect().await.unwrap().to_bytes();
        let is_tried = request.uri().query().is_some_and(|query| query.contains("dryRun=All"));
        let list = if is_tried { &self.tried } else { &self.asked };
        list.lock().unwrap().push(Asked { headers: request.headers().clone(), body, from });
        let path = request.uri().path();
        let script = {
            let scripts = self.scripts.lock().unwrap();
            let tried = scripts.get(&format!("{path}?dryRun=All")).filter(|_| is_tried);
            tried.or_else(|| scripts.get(path)).cloned()
        };
        let mut response = Response::new(Full::default().boxed_unsync());
        match script {
            None => *response.status_mut() = StatusCode::NOT_FOUND,
            Some(Script::Answer(status, content_type, body)) => {
                *response.body_mut() = Full::new(body.into()).boxed_unsync();
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                response.headers_mut().insert(header::CONTENT_TYPE, content_type.parse().unwrap());
            }
            Some(Script::Endless(content_type, body)) => {
                let first = futures_util::stream::iter([Ok(Frame::data(body.into()))]);
                let body = StreamBody::new(first.chain(futures_util::stream::pending()));
                *response.body_mut() = body.boxed_unsync();
                response.headers_mut().insert(header::CONTENT_TYPE, content_type.parse().unwrap());
            }
            Some(Script::Socket { after, messages }) => {
                upgrade(request.headers(), &mut response);
                tokio::spawn(self.speak(hyper::upgrade::on(&mut request), after, messages));
            }
            Some(Script::Hand(to)) => {
                upgrade(request.headers(), &mut response);
                let upgraded = hyper::upgrade::on(&mut request);
                tokio::spawn(async move { to.send(TokioIo::new(upgraded.await.unwrap())).unwrap() });
            }
        }
        Ok(response)
    }

    async fn speak(self, upgrade: hyper::upgrade::OnUpgrade, after: usize, messages: Vec<Vec<u8>>) {
        let io = TokioIo::new(upgrade.await.unwrap());
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
        for _ in 0..after {
            let Some(Ok(Message::Binary(heard))) = socket.next().await else { return };
            self.heard.lock().unwrap().push(heard.to_vec());
        }
        for message in messages {
            socket.send(Message::Binary(message.into())).await.unwrap();
        }
        socket.close(None).await.unwrap();
        // until the other side has closed too
        while let Some(Ok(_)) = socket.next().await {}
    }
}

/// Agrees to the upgrade that is asked for, and to the first protocol that is offered.
fn upgrade(asked: &http::HeaderMap, response: &mut Response<Body>) {
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, "Upgrade".parse().unwrap());
    headers.insert(header::UPGRADE, asked[header::UPGRADE].clone());
    if let Some(key) = asked.get(header::SEC_WEBSOCKET_KEY) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()).parse().unwrap());
    }
    for name in [header::SEC_WEBSOCKET_PROTOCOL, HeaderName::from_static("x-stream-protocol-version")] {
        if let Some(offered) = asked.get(&name) {
            let first = offered.to_str().unwrap().split(", ").next().unwrap();
            headers.insert(name, first.parse().unwrap());
        }
    }
}
