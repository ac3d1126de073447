//! A client of the other library there is in Rust: it gets the same from the gateway as from the host.

use crate::exec::POLICY;
use crate::gateway::{Gateway, TOKEN};
use crate::sshd::user;
use proxy_audit::stream::StreamEvent;
use russh::client::{self, Handle, Handler};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate, decode_secret_key};
use russh::{Channel, ChannelMsg, Sig};
use std::sync::Arc;

/// Whom a test connects to it knows by the port.
pub(crate) struct AnyHost;

impl Handler for AnyHost {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

pub(crate) async fn connect(port: u16) -> Handle<AnyHost> {
    client::connect(Arc::default(), ("127.0.0.1", port), AnyHost).await.unwrap()
}

async fn directly(gateway: &Gateway) -> Handle<AnyHost> {
    let mut host = connect(gateway.sshd.port).await;
    let key = decode_secret_key(&gateway.sshd.user_key, None).unwrap();
    let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
    assert!(host.authenticate_publickey(user(), key).await.unwrap().success());
    host
}

pub(crate) async fn through(gateway: &Gateway) -> Handle<AnyHost> {
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

const TERMINALS: &str = "
rules:
- {name: all, action: Allow, ssh: {effects: [Execute, Terminal, Read, Write]}}
";

/// Waits until the program has said that it is ready.
async fn ready(channel: &mut Channel<client::Msg>) {
    let mut said = Vec::new();
    while !said.windows(5).any(|window| window == b"ready") {
        let Some(ChannelMsg::Data { data }) = channel.wait().await else { continue };
        said.extend_from_slice(&data);
    }
}

/// What is left to be said, and how it ended.
async fn outcome(mut channel: Channel<client::Msg>) -> (String, Option<u32>, Option<Sig>) {
    let (mut out, mut status, mut signal) = (Vec::new(), None, None);
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::Data { data } => out.extend_from_slice(&data),
            ChannelMsg::ExitStatus { exit_status } => status = Some(exit_status),
            ChannelMsg::ExitSignal { signal_name, .. } => signal = Some(signal_name),
            _ => {}
        }
    }
    (String::from_utf8(out).unwrap(), status, signal)
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_of_a_terminal_and_signals_pass_in_both_directions_and_are_recorded() {
    let Some(gateway) = Gateway::start(TERMINALS).await else { return };
    let gate = through(&gateway).await;
    let mut terminal = gate.channel_open_session().await.unwrap();
    terminal.request_pty(true, "xterm", 80, 24, 0, 0, &[]).await.unwrap();
    let line = "stty size; trap 'stty size; exit 7' WINCH; echo ready; while true; do sleep 0.1; done";
    terminal.exec(true, line).await.unwrap();
    ready(&mut terminal).await;
    terminal.window_change(100, 40, 0, 0).await.unwrap();
    let (out, status, _) =
        tokio::time::timeout(std::time::Duration::from_secs(20), outcome(terminal)).await.unwrap();
    assert!(out.contains("40 100") && status == Some(7), "{out}: {status:?}");
    let sizes: Vec<_> = gateway
        .stream(2)
        .into_iter()
        .filter_map(|event| {
            if let StreamEvent::Resize { columns, rows } = event { Some((columns, rows)) } else { None }
        })
        .collect();
    assert_eq!(sizes, [(80, 24), (100, 40)]);

    // whether the host's `sshd` delivers it depends on whom it runs as: the program ends by one of its own as well
    for (line, signalled) in
        [("echo ready; sleep 1; kill -TERM $$", true), ("echo ready; kill -TERM $$", false)]
    {
        let mut program = start(&gate, line).await;
        ready(&mut program).await;
        if signalled {
            program.signal(Sig::TERM).await.unwrap();
        }
        let (_, status, signal) = outcome(program).await;
        assert_eq!((status, format!("{signal:?}").as_str()), (None, "Some(TERM)"));
        let events = gateway.stream(if signalled { 3 } else { 4 });
        assert_eq!(events.contains(&StreamEvent::Signal("TERM".to_owned())), signalled, "{events:?}");
        assert!(events.contains(&StreamEvent::ExitSignal("TERM".to_owned())), "{events:?}");
    }
}
