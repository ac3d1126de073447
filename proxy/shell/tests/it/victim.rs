//! A tree that must not go, and what is said of it.

use proxy_policy::{Command, Effects};
use std::fs;
use std::process::Stdio;

/// The removal of a whole tree is told, or it is told that nobody knows.
pub(crate) fn is_refused(command: &Command) -> bool {
    match &command.reading.effects {
        Effects::Unknown { .. } => true,
        Effects::Known(touches) => touches.iter().any(|touch| touch.effect == "Remove" && touch.unbounded),
    }
}

/// Whether the tree is gone, or no file of it is left, after bash has run `script` beside it.
pub(crate) fn destroys(script: &str) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let victim = dir.path().join("victim");
    fs::create_dir_all(victim.join("d")).unwrap();
    for file in ["f", "d/g"] {
        fs::write(victim.join(file), "content\n").unwrap();
    }
    let status = std::process::Command::new("timeout")
        .args(["10", "bash", "-c", script])
        .current_dir(dir.path())
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap())
        .env("HOME", dir.path())
        .env("OLDPWD", dir.path())
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_ne!(status.code(), Some(124), "it does not end: {script}");
    // what runs in the background may still be at it
    for _ in 0..100 {
        if !["f", "d/g"].iter().any(|file| fs::metadata(victim.join(file)).is_ok_and(|file| file.len() > 0)) {
            return true;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    false
}
