//! A token is traded for a certificate, and plain `ssh` presents it.

use crate::scene::{Answer, Scene};
use std::process::{Command, Stdio};

#[test]
fn a_certificate_opens_a_session_until_it_is_nobodys() {
    let Some(scene) = Scene::start() else { return };
    let keys = scene.agent.path().join("keys");
    let directory = keys.to_str().unwrap();
    let gateway = format!("127.0.0.1:{}", scene.agent.port);
    let stanza = scene
        .portcullis(
            &[
                "ssh-config",
                "web",
                "--gateway",
                &gateway,
                "--host-key",
                &scene.hosts.host_key,
                "--role",
                "deploy",
                "--directory",
                directory,
            ],
            0,
        )
        .out;
    let config = scene.agent.path().join("plain_config");
    std::fs::write(&config, &stanza).unwrap();
    let config = config.to_str().unwrap();
    let plain = |line: &str| {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", config, "-oBatchMode=yes", "web", line]).env_remove("SSH_ASKPASS");
        Answer::of(ssh.stdin(Stdio::null()))
    };
    let token = scene.agent.path().join("token");
    let login = ["ssh", "login", "web", "--ssh-config", config, "--directory", directory, "--token-file"];
    let login = |file: &str, code: i32| scene.portcullis(&[&login[..], &[file]].concat(), code);
    // without a certificate nobody comes in
    assert_eq!(plain("id -un").code, Some(255));
    login(token.to_str().unwrap(), 0);
    let answer = plain("id -un");
    assert_eq!((answer.code, answer.out), (Some(0), format!("{}\n", e2e::sshd::user().unwrap())));
    assert_eq!(plain("rm -rf /nowhere").code, Some(126), "the policy is the same");
    // the certificate shows its token to nobody
    let shown =
        Command::new("ssh-keygen").args(["-L", "-f"]).arg(keys.join("web-cert.pub")).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("token@portcullis.dev"), "{shown}");
    let secret = std::fs::read_to_string(&token).unwrap();
    let certificate = std::fs::read_to_string(keys.join("web-cert.pub")).unwrap();
    assert!(!certificate.contains(&secret[..40]));
    // another key with this certificate is nobody
    e2e::sshd::keygen(&scene.agent.path().join("other")).unwrap();
    std::fs::copy(scene.agent.path().join("other"), keys.join("web")).unwrap();
    assert_eq!(plain("id -un").code, Some(255));
    let refused = scene.agent.path().join("refused");
    std::fs::write(&refused, "no.such.token").unwrap();
    let refused = login(refused.to_str().unwrap(), 1);
    assert!(refused.err.contains("gave no certificate"), "{refused:?}");
}
