//! Hosts: which are reached, by what, and what becomes of a client whose host does not answer.

use crate::exec::POLICY;
use crate::gateway::Gateway;
use crate::russh_client::through;
use crate::sshd::{Sshd, user};
use proxy_audit::event::key;
use proxy_core::secret::Secret;
use proxy_ssh::keys::{Certificate, HostKeys, PrivateKey};
use proxy_ssh::options::{Credentials, Host, Options, Proof};
use russh::server::{Auth, Handler, Session};
use russh::{ChannelMsg, server};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

/// A gateway whose host takes connections and says nothing, and that host.
async fn before_silence(limit: Duration) -> Option<(Gateway, TcpListener)> {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let gateway = Gateway::start_with(POLICY, |options| {
        options.hosts[0].port = port;
        options.limits.connect = limit;
    });
    Some((gateway.await?, silent))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_says_nothing_keeps_nobody_longer_than_one_login_may_take() {
    let limit = Duration::from_secs(3);
    let Some((gateway, _silent)) = before_silence(limit).await else { return };
    let gate = through(&gateway).await;
    let began = Instant::now();
    let mut refused = tokio::task::JoinSet::new();
    // four times as many as log in at once
    for _ in 0..20 {
        let mut channel = gate.channel_open_session().await.unwrap();
        channel.exec(true, "echo here").await.unwrap();
        refused.spawn(async move {
            let mut status = None;
            while let Some(message) = channel.wait().await {
                if let ChannelMsg::ExitStatus { exit_status } = message {
                    status = Some(exit_status);
                }
            }
            status
        });
    }
    let last_asked = began.elapsed();
    assert_eq!(refused.join_all().await, [Some(126); 20]);
    assert!(began.elapsed() < last_asked + limit * 2, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_is_not_waited_for_while_its_host_says_nothing() {
    let Some((gateway, _silent)) = before_silence(Duration::from_mins(5)).await else { return };
    let gate = through(&gateway).await;
    let channel = gate.channel_open_session().await.unwrap();
    channel.exec(true, "echo here").await.unwrap();
    channel.close().await.unwrap();
    let began = Instant::now();
    let ended = || {
        let records = gateway.records();
        let mut results = records.iter().filter(|record| record.int(key::COMMAND) == Some(2));
        results.find_map(|record| record.text(key::OUTCOME).map(str::to_owned))
    };
    while ended().is_none() {
        assert!(began.elapsed() < Duration::from_secs(10), "it is waited for");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(ended().unwrap(), "aborted");
}

/// A way to this port of this machine that opens after a while.
async fn late(port: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let late = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut here, _)) = listener.accept().await {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(3)).await;
                let mut there = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                tokio::io::copy_bidirectional(&mut here, &mut there).await.unwrap_or_default()
            });
        }
    });
    late
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_sends_while_its_host_is_waited_for_gets_there() {
    let Some(sshd) = Sshd::start() else { return };
    let late = late(sshd.port).await;
    let key = Proof::Key(PrivateKey::parse(&sshd.user_key).unwrap());
    // without detectors: they are slow in a build for tests
    let start = Gateway::start_with(POLICY.split("masking:").next().unwrap(), |options| {
        (options.hosts[0].port, options.hosts[0].keys) = (late, HostKeys::parse(&sshd.host_key).unwrap());
        options.roles.insert("deploy".to_owned(), Credentials { username: user(), proof: key });
        options.limits.connect = Duration::from_mins(1);
    });
    let Some(gateway) = start.await else { return };
    let mut ssh = gateway.program("ssh");
    ssh.args(["deploy@127.0.0.1", "wc -c"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = ssh.stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let sending = tokio::spawn(async move { stdin.write_all(&vec![b'x'; 24 << 20]).await });
    let said = crate::gateway::ran(child.wait_with_output().await.unwrap());
    assert_eq!((said.code, said.out.trim()), (Some(0), "25165824"), "{said:?}");
    sending.await.unwrap().unwrap();
}

/// A host that lets everybody in, and does not answer whoever wants it to listen.
struct Deaf;

impl Handler for Deaf {
    type Error = russh::Error;

    async fn auth_password(&mut self, _: &str, _: &str) -> Result<Auth, Self::Error> {
        Ok(Auth::Accept)
    }

    async fn tcpip_forward(&mut self, _: &str, _: &mut u32, _: &mut Session) -> Result<bool, Self::Error> {
        std::future::pending().await
    }
}

/// Serves one, and gives its port and its key.
async fn deaf() -> (u16, HostKeys) {
    let key = PrivateKey::generate().unwrap();
    let text = key.to_openssh().unwrap();
    let own = russh::keys::decode_secret_key(text.expose(), None).unwrap();
    let config = Arc::new(server::Config { keys: vec![own], ..server::Config::default() });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let running = server::run_stream(Arc::clone(&config), socket, Deaf);
            tokio::spawn(async move { running.await.unwrap().await });
        }
    });
    (port, HostKeys::parse(&key.public_line()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_does_not_say_whether_it_listens_stops_its_client_no_longer_than_a_login_would() {
    let (port, keys) = deaf().await;
    let rules = "rules:\n- {name: ports, action: Allow, ssh: {effects: [ForwardRemote]}}\n";
    let limit = Duration::from_secs(2);
    let gateway = Gateway::start_with(rules, |options| {
        (options.hosts[0].port, options.hosts[0].keys) = (port, keys);
        let proof = Proof::Password(Secret::new("any".to_owned()));
        options.roles.insert("deploy".to_owned(), Credentials { username: user(), proof });
        options.limits.connect = limit;
    });
    let Some(gateway) = gateway.await else { return };
    let gate = through(&gateway).await;
    let began = Instant::now();
    let listening = tokio::time::timeout(Duration::from_secs(20), gate.tcpip_forward("127.0.0.1", 0)).await;
    assert!(listening.expect("it is answered").is_err());
    assert!(began.elapsed() >= limit, "the host was asked");
    gate.channel_open_session().await.unwrap();
}

#[tokio::test]
async fn a_host_that_shows_another_key_is_not_logged_in_to() {
    let other = HostKeys::parse(&PrivateKey::generate().unwrap().public_line()).unwrap();
    let start = Gateway::start_with(POLICY, |options| options.hosts[0].keys = other);
    let Some(gateway) = start.await else { return };
    let ran = gateway.run("echo here").await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(126), ""), "{ran:?}");
    assert!(ran.err.contains("the host's key is none of those that its Resource names"), "{ran:?}");
    let log = gateway.sshd.log();
    assert!(!log.contains("Accepted") && !log.contains("Failed"), "it was shown credentials: {log}");
}

fn host(name: &str, sshd: &Sshd) -> Host {
    Host {
        name: name.to_owned(),
        host: "127.0.0.1".to_owned(),
        port: sshd.port,
        keys: HostKeys::parse(&sshd.host_key).unwrap(),
    }
}

/// A gateway that logs in to this host in this way.
async fn with_proof(sshd: &Sshd, proof: Proof) -> Option<Gateway> {
    Gateway::start_with(POLICY, |options: &mut Options| {
        options.hosts = vec![host("web1", sshd)];
        options.roles.insert("deploy".to_owned(), Credentials { username: user(), proof });
    })
    .await
}

/// Has a key certified by another one, for this user name, and gives the certificate.
fn certified(directory: &std::path::Path, principal: &str) -> Certificate {
    for name in ["authority", "login"] {
        std::fs::remove_file(directory.join(name)).unwrap_or_default();
        let made = std::process::Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
            .arg(directory.join(name))
            .status();
        assert!(made.unwrap().success());
    }
    let signed = std::process::Command::new("ssh-keygen")
        .args(["-q", "-I", "gateway", "-n", principal, "-V", "+1h", "-s"])
        .args([directory.join("authority"), directory.join("login.pub")])
        .status();
    assert!(signed.unwrap().success());
    Certificate::parse(&std::fs::read_to_string(directory.join("login-cert.pub")).unwrap()).unwrap()
}

#[tokio::test]
async fn a_certificate_opens_a_host_that_trusts_its_authority() {
    let keys = tempfile::tempdir().unwrap();
    for (principal, code) in [(user(), 0), ("somebody-else".to_owned(), 126)] {
        let certificate = certified(keys.path(), &principal);
        let authority = keys.path().join("authority.pub");
        let trust = format!("AuthorizedKeysFile none\nTrustedUserCAKeys {}", authority.display());
        let Some(sshd) = Sshd::start_with(&trust) else { return };
        let key = PrivateKey::parse(&std::fs::read_to_string(keys.path().join("login")).unwrap()).unwrap();
        let Some(gateway) = with_proof(&sshd, Proof::Certified(key, Box::new(certificate))).await else {
            return;
        };
        let ran = gateway.run("echo here").await;
        assert_eq!(ran.code, Some(code), "{principal}: {ran:?}\n{}", sshd.log());
        assert_eq!(ran.err.contains("does not accept the role's credentials"), code != 0, "{ran:?}");
        assert_eq!(sshd.log().contains("Accepted publickey"), code == 0);
    }
}

#[tokio::test]
async fn a_password_opens_a_host_that_takes_it_or_asks_for_it() {
    let methods = [
        ("PasswordAuthentication yes\nKbdInteractiveAuthentication no", "Accepted password"),
        ("PasswordAuthentication no\nKbdInteractiveAuthentication yes", "Accepted keyboard-interactive/pam"),
    ];
    for (config, accepted) in methods {
        for (password, code) in [("open sesame", 0), ("open barley", 126)] {
            let config = format!("{config}\nPubkeyAuthentication no");
            let Some(sshd) = Sshd::start_with_password(&config, "open sesame") else { return };
            let Some(gateway) = with_proof(&sshd, Proof::Password(Secret::new(password.to_owned()))).await
            else {
                return;
            };
            let ran = gateway.run("echo here").await;
            assert_eq!(ran.code, Some(code), "{accepted}, {password}: {ran:?}\n{}", sshd.log());
            assert_eq!(ran.err.contains("does not accept the role's credentials"), code != 0, "{ran:?}");
            assert_eq!(sshd.log().contains(accepted), code == 0, "{}", sshd.log());
        }
    }
}

#[tokio::test]
async fn a_user_name_with_a_host_leads_there_and_nowhere_else() {
    let Some(second) = Sshd::start() else { return };
    let key = Proof::Key(PrivateKey::parse(&second.user_key).unwrap());
    let start = Gateway::start_with(POLICY, |options| {
        options.hosts.push(host("web2", &second));
        options.roles.insert("second".to_owned(), Credentials { username: user(), proof: key });
    });
    let Some(gateway) = start.await else { return };
    // the last word of it is the port of the host's own
    let line = "echo $SSH_CONNECTION";
    let port = |ran: &crate::gateway::Ran| ran.out.split_whitespace().last().map(str::to_owned);
    let ran = gateway.run_to("second%web2", line).await;
    assert_eq!(port(&ran), Some(second.port.to_string()), "{ran:?}\n{}", second.log());
    let ran = gateway.run_to("deploy", line).await;
    assert_eq!(port(&ran), Some(gateway.sshd.port.to_string()), "{ran:?}");
    // each host takes its own key: nobody is led to the other one
    let ran = gateway.run_to("second", line).await;
    assert!(ran.code == Some(126) && ran.err.contains("does not accept the role's credentials"), "{ran:?}");
    gateway
        .put_in_force("rules:\n- {name: first, action: Allow, ssh: {effects: [Execute], hosts: [web1]}}\n");
    let ran = gateway.run_to("deploy%web1", "echo here").await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "here\n"), "{ran:?}");
    let ran = gateway.run_to("second%web2", "echo here").await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(126), ""), "the policy knows the host: {ran:?}");
}
