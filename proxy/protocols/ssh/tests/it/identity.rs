//! How a token gets here, and what it is worth.

use crate::exec::POLICY;
use crate::gateway::{Gateway, TOKEN};
use proxy_ssh::keys::PrivateKey;
use russh::keys::{Certificate, decode_secret_key};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

#[tokio::test]
async fn a_token_of_four_kibibytes_comes_through_openssh() {
    let Some(gateway) = Gateway::start(POLICY).await else { return };
    let token = format!("{TOKEN}/{}.", "x".repeat(4_096));
    let ran = gateway.run_as(&token, &[], "echo here").await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "here\n"), "{ran:?}");
}

#[tokio::test]
async fn a_token_is_a_password_too() {
    let Some(gateway) = Gateway::start(POLICY).await else { return };
    let ran = gateway.run_as(TOKEN, &["-oPreferredAuthentications=password"], "echo here").await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "here\n"), "{ran:?}");
}

#[tokio::test]
async fn a_refused_client_is_told_why() {
    let Some(gateway) = Gateway::start(POLICY).await else { return };
    let ran = gateway.run_as("nonsense", &[], "echo here").await;
    assert_eq!(ran.code, Some(255), "{ran:?}");
    assert!(ran.err.contains("the token is not trusted"), "{ran:?}");
    let ran = gateway.run_to("root%elsewhere", "echo here").await;
    assert_eq!(ran.code, Some(255), "{ran:?}");
    assert!(ran.err.contains("not offered") && !ran.err.contains("elsewhere"), "{ran:?}");
    let ran = gateway.run_to("deploy%web1", "echo here").await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "here\n"), "{ran:?}");
}

#[tokio::test]
async fn a_session_ends_with_its_token() {
    let Some(gateway) = Gateway::start(POLICY).await else { return };
    // how long logging in takes here nobody knows: a token that has expired by then is replaced by one that lives longer
    for seconds in [5, 15, 60, 180] {
        let ran = gateway.run_as(&format!("{TOKEN}-{seconds}"), &[], "echo begun; sleep 600").await;
        if ran.out.is_empty() {
            continue;
        }
        assert_eq!((ran.code, ran.out.as_str()), (Some(126), "begun\n"), "{ran:?}");
        assert!(ran.err.contains("token has expired"), "{ran:?}");
        return;
    }
    panic!("no session has begun within minutes");
}

/// Whoever says nothing, and whoever does not say who it is, is hung up on in time.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_prove_who_it_is_in_time_is_hung_up_on() {
    let limit = Duration::from_secs(5);
    let start = Gateway::start_with(POLICY, |options| options.limits.handshake = limit);
    let Some(gateway) = start.await else { return };
    let began = Instant::now();
    let mut silent = TcpStream::connect(("127.0.0.1", gateway.port)).await.unwrap();
    let mut nobody = crate::russh_client::connect(gateway.port).await;
    let mut said = Vec::new();
    let silence = tokio::time::timeout(Duration::from_secs(20), silent.read_to_end(&mut said)).await;
    silence.expect("it is hung up on").unwrap_or_default();
    let asked = nobody.authenticate_password("deploy", TOKEN);
    tokio::time::sleep(limit).await;
    let late = tokio::time::timeout(Duration::from_secs(20), asked).await.expect("it is hung up on");
    assert!(!late.is_ok_and(|answer| answer.success()), "it came too late");
    assert!(began.elapsed() >= limit);
}

/// A certificate is good for its own minutes, though its token is good for longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_has_expired_opens_nothing() {
    let rules = "rules:\n- {name: all, action: Allow, ssh: {effects: [Connect, Execute]}}\n";
    let life = Duration::from_secs(5);
    let start = Gateway::start_with(rules, |options| options.limits.certificate = life);
    let Some(gateway) = start.await else { return };
    let own = PrivateKey::generate().unwrap();
    let traded = gateway.run_to("portcullis-login", &format!("certificate {}", own.public_line())).await;
    assert_eq!(traded.code, Some(0), "{traded:?}");
    let certificate = Certificate::from_openssh(traded.out.trim()).unwrap();
    let expires = UNIX_EPOCH + Duration::from_secs(certificate.valid_before());
    let key = Arc::new(decode_secret_key(own.to_openssh().unwrap().expose(), None).unwrap());
    let opens = async || {
        let mut gate = crate::russh_client::connect(gateway.port).await;
        let shown = gate.authenticate_openssh_cert("deploy", Arc::clone(&key), certificate.clone()).await;
        shown.is_ok_and(|answer| answer.success())
    };
    assert!(opens().await || SystemTime::now() >= expires, "it is good at first");
    let left = expires.duration_since(SystemTime::now()).unwrap_or_default();
    tokio::time::sleep(left + Duration::from_secs(1)).await;
    assert!(!opens().await);
}
