//! A client of the other library there is in Rust: it gets the same from the gateway as from the host.

use crate::exec::POLICY;
use crate::gateway::{Gateway, TOKEN};
use crate::sshd::user;
use russh::client::{self, Handle, Handler};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate, decode_secret_key};
use russh::{Channel, ChannelMsg};
use std::sync::Arc;

/// Whom a test connects to it knows by the port.
struct AnyHost;

impl Handler for AnyHost {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

async fn connect(port: u16) -> Handle<AnyHost> {
    client::connect(Arc::default(), ("127.0.0.1", port), AnyHost).await.unwrap()
}

async fn directly(gateway: &Gateway) -> Handle<AnyHost> {
    let mut host = connect(gateway.sshd.port).await;
    let key = decode_secret_key(&gateway.sshd.user_key, None).unwrap();
    let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
    assert!(host.authenticate_publickey(user(), key).await.unwrap().success());
    host
}

async fn through(gateway: &Gateway) -> Handle<AnyHost> {
    let mut host = connect(gateway.port).await;
    assert!(host.authenticate_password("deploy", TOKEN).await.unwrap().success());
    host
}

/// What came of a command line.
#[derive(Debug, Default, Eq, PartialEq)]
struct Said {
    out: Vec<u8>,
    err: Vec<u8>,
    status: Option<u32>,
    ended: bool,
}

async fn start(host: &Handle<AnyHost>, line: &str) -> Channel<client::Msg> {
    let channel = host.channel_open_session().await.unwrap();
    channel.exec(true, line).await.unwrap();
    channel
}

async fn end(mut channel: Channel<client::Msg>, stdin: &[u8]) -> Said {
    channel.data_bytes(stdin.to_vec()).await.unwrap();
    channel.eof().await.unwrap();
    let mut said = Said::default();
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::Data { data } => said.out.extend_from_slice(&data),
            ChannelMsg::ExtendedData { data, ext: 1 } => said.err.extend_from_slice(&data),
            ChannelMsg::ExitStatus { exit_status } => said.status = Some(exit_status),
            ChannelMsg::Eof => said.ended = true,
            _ => {}
        }
    }
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_this_library_is_answered_as_directly() {
    let Some(gateway) = Gateway::start(POLICY).await else { return };
    let (host, gate) = (directly(&gateway).await, through(&gateway).await);
    let much = b"0123456789abcdef".repeat(20_000);
    for (line, stdin) in
        [("cat; echo done >&2; exit 3", &much[..]), ("printf 'one\\ntwo'", b""), ("seq 1 200000", b"")]
    {
        let direct = end(start(&host, line).await, stdin).await;
        assert!(direct.ended && direct.status.is_some() && !direct.out.is_empty(), "{line}");
        assert_eq!(end(start(&gate, line).await, stdin).await, direct, "{line}");
    }
    // channels beside each other, ended in the other order
    let (first, second) = (start(&gate, "cat").await, start(&gate, "cat").await);
    assert_eq!(end(second, b"second").await.out, b"second");
    assert_eq!(end(first, b"first").await.out, b"first");
    let refused = end(start(&gate, "rm -rf /nothing").await, b"").await;
    let told = String::from_utf8(refused.err).unwrap();
    assert!(refused.status == Some(126) && told.contains("Ask the owners."), "{told}");
}
