//! How a token gets here, and what it is worth.

use crate::exec::POLICY;
use crate::gateway::{Gateway, TOKEN};

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
