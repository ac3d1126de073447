//! An API server that says what a test scripts, over real TLS, and remembers what it was asked.

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
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

    pub(crate) fn server(&self, alpn: &[&[u8]]) -> rustls::ServerConfig {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        config
    }

    pub(crate) fn client(&self) -> rustls::ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }
}

/// What a path answers.
#[derive(Clone, Debug)]
pub(crate) enum Script {
    /// Status, content type, body.
    Answer(u16, &'static str, Vec<u8>),
    /// Messages of a WebSocket, once the client has sent so many; then a close.
    Socket { after: usize, messages: Vec<Vec<u8>> },
}

/// What it was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

/// The server.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    scripts: Arc<Mutex<HashMap<String, Script>>>,
}

impl Server {
    pub(crate) async fn start(certificates: &Certificates) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            asked: Arc::default(),
            heard: Arc::default(),
            scripts: Arc::default(),
        };
        let acceptor = TlsAcceptor::from(Arc::new(certificates.server(&[b"http/1.1"])));
        let serving = server.clone();
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (acceptor, server) = (acceptor.clone(), serving.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(socket).await else { return };
                    let service = service_fn(move |request| server.clone().answer(request));
                    let serving = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service);
                    serving.with_upgrades().await.unwrap_or_default();
                });
            }
        });
        server
    }

    /// What a path (without its query) answers from now on.
    pub(crate) fn script(&self, path: &str, script: Script) {
        self.scripts.lock().unwrap().insert(path.to_owned(), script);
    }

    /// Everything that it was asked.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// What it heard once a connection was upgraded.
    pub(crate) fn heard(&self) -> Vec<Vec<u8>> {
        self.heard.lock().unwrap().clone()
    }

    async fn answer(self, mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let body = request.body_mut().collect().await.unwrap().to_bytes();
        self.asked.lock().unwrap().push(Asked { headers: request.headers().clone(), body });
        let script = self.scripts.lock().unwrap().get(request.uri().path()).cloned();
        let mut response = Response::new(Full::default());
        match script {
            None => *response.status_mut() = StatusCode::NOT_FOUND,
            Some(Script::Answer(status, content_type, body)) => {
                *response.body_mut() = Full::new(body.into());
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                response.headers_mut().insert(header::CONTENT_TYPE, content_type.parse().unwrap());
            }
            Some(Script::Socket { after, messages }) => {
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                let accept = derive_accept_key(request.headers()["sec-websocket-key"].as_bytes());
                let headers = response.headers_mut();
                headers.insert(header::CONNECTION, "Upgrade".parse().unwrap());
                headers.insert(header::UPGRADE, "websocket".parse().unwrap());
                headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept.parse().unwrap());
                if let Some(offered) = request.headers().get(header::SEC_WEBSOCKET_PROTOCOL) {
                    let first = offered.to_str().unwrap().split(", ").next().unwrap();
                    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, first.parse().unwrap());
                }
                tokio::spawn(self.speak(hyper::upgrade::on(&mut request), after, messages));
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
