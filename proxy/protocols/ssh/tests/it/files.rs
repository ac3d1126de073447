//! Files: `sftp` operation by operation, `scp` in both of its ways.

use crate::exec::said;
use crate::gateway::{Gateway, Ran, ran};
use proxy_audit::event::key;
use proxy_audit::stream::{Channel, StreamDecoder, StreamEvent};
use std::process::Stdio;

const POLICY: &str = "
rules:
- {name: transfer, action: Allow, ssh: {subsystems: [sftp]}}
- {name: programs, action: Allow, ssh: {commands: [{name: scp}]}}
- {name: in-tmp, action: Allow, ssh: {effects: [Read, Write, List, Attributes], paths: ['/tmp/*']}}
- {name: not-that, action: Deny, ssh: {paths: ['*/forbidden*']}, message: 'That one is for people.'}
";

async fn copy(gateway: &Gateway, arguments: &[&str]) -> Ran {
    let mut command = gateway.program("scp");
    ran(command.args(arguments).stdin(Stdio::null()).output().await.unwrap())
}

#[tokio::test]
async fn a_file_goes_both_ways_and_leaves_its_size_and_digest() {
    use sha2::Digest as _;
    let Some(gateway) = Gateway::start(POLICY).await else { return };
    let content: Vec<u8> = (0..1_000_003_u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
    let digest: [u8; 32] = sha2::Sha256::digest(&content).into();
    let here = gateway.path().join("here");
    let (there, back) = (gateway.path().join("there"), gateway.path().join("back"));
    std::fs::write(&here, &content).unwrap();
    let remote = format!("deploy@127.0.0.1:{}", there.display());
    let put = copy(&gateway, &[here.to_str().unwrap(), &remote]).await;
    assert_eq!(put.code, Some(0), "{put:?}\n{}", gateway.sshd.log());
    let get = copy(&gateway, &[&remote, back.to_str().unwrap()]).await;
    assert_eq!(get.code, Some(0), "{get:?}");
    assert!(std::fs::read(&there).unwrap() == content && std::fs::read(&back).unwrap() == content);
    let mut omitted = Vec::new();
    for record in gateway.records().iter().filter(|record| record.name() == "portcullis.result") {
        let frames = StreamDecoder::default().feed(record.bytes(key::FRAMES).unwrap_or_default()).unwrap();
        omitted.extend(frames.into_iter().filter_map(|frame| match frame.event {
            StreamEvent::Omitted { channel, bytes, digest } => Some((channel, bytes, digest)),
            _ => None,
        }));
    }
    let length = u64::try_from(content.len()).unwrap();
    assert_eq!(omitted, [(Channel::STDIN, length, digest), (Channel::STDOUT, length, digest)]);
}

#[tokio::test]
async fn an_operation_that_is_refused_costs_nothing_else() {
    let Some(gateway) = Gateway::start(POLICY).await else { return };
    std::fs::write(gateway.path().join("forbidden"), "secret").unwrap();
    std::fs::write(gateway.path().join("allowed"), "open").unwrap();
    let batch = format!(
        "-get {0}/forbidden {0}/stolen\n-get /etc/hostname {0}/hostname\n-rm {0}/allowed\nget {0}/allowed {0}/got\n",
        gateway.path().display()
    );
    std::fs::write(gateway.path().join("batch"), batch).unwrap();
    let mut sftp = gateway.program("sftp");
    let batch = gateway.path().join("batch");
    let ran =
        ran(sftp.args(["-oBatchMode=no", "-b"]).arg(batch).arg("deploy@127.0.0.1").output().await.unwrap());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(std::fs::read_to_string(gateway.path().join("got")).unwrap(), "open");
    for missing in ["stolen", "hostname"] {
        assert!(!gateway.path().join(missing).exists(), "{missing}");
    }
    assert!(gateway.path().join("allowed").exists());
    let denied = gateway.records().iter().filter(|r| r.text(key::VERDICT) == Some("deny")).count();
    assert!(denied >= 3, "{denied}");
}

/// What the record says of an operation is what the host made of it.
#[tokio::test]
async fn an_operation_ends_as_the_host_answered_it() {
    let policy =
        POLICY.replace("Read, Write, List, Attributes", "Read, Write, List, Attributes, Remove, Rename");
    let Some(gateway) = Gateway::start(&policy).await else { return };
    std::fs::write(gateway.path().join("there"), "content").unwrap();
    let batch = "-rm {0}/nothing\n-mkdir {0}/there\n-rename {0}/there {0}/moved\n-get {0}/there {0}/got\n"
        .replace("{0}", &gateway.path().display().to_string());
    std::fs::write(gateway.path().join("batch"), batch).unwrap();
    let mut sftp = gateway.program("sftp");
    sftp.args(["-oBatchMode=no", "-b"]).arg(gateway.path().join("batch")).arg("deploy@127.0.0.1");
    let ran = ran(sftp.output().await.unwrap());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let records = gateway.records();
    let ended = |name: &str| {
        let line = |record: &&proxy_audit::record::Record| {
            record.text(key::COMMAND_LINE).is_some_and(|line| line.starts_with(name))
        };
        let number = records.iter().find(line).and_then(|record| record.int(key::COMMAND)).unwrap();
        let end = records
            .iter()
            .rfind(|record| record.int(key::COMMAND) == Some(number) && record.text(key::OUTCOME).is_some());
        end.map(|end| (end.text(key::OUTCOME).unwrap().to_owned(), end.int(key::EXIT_CODE)))
    };
    let is = |outcome: &str, status: i64| Some((outcome.to_owned(), Some(status)));
    assert_eq!(ended("mkdir "), is("error", 4));
    assert_eq!(ended("posix-rename"), is("ok", 0));
    assert!(gateway.path().join("moved").exists() && !gateway.path().join("got").exists());
    // of what is not there the client asks first, which the host has answered as well
    assert_eq!(ended("lstat "), is("error", 2));
}

/// A mask would move all that follows it, and clients ask for files by offset: a file with a secret is not given out,
/// others are as they are.
#[tokio::test]
async fn a_file_that_holds_a_secret_is_not_read_where_secrets_are_masked() {
    let policy = format!("{POLICY}masking:\n- {{detectors: [Secrets], with: {{type: Redact}}}}\n");
    let Some(gateway) = Gateway::start(&policy).await else { return };
    let canary = format!("AKIA{}", "Q3EGRJ5NLXVW7TZB");
    let filling = "nothing to hide here\n".repeat(20_000);
    // at the start, across two packets, encoded, and nowhere
    let lines = "nothing to hide here\n".repeat(1_559);
    let across = format!("{:x<18}\n{lines}{canary}\n{filling}", "");
    assert!((across.find(&canary).unwrap()..).take(canary.len()).any(|at| at == 32 * 1024));
    let plain = filling.clone();
    let backwards: String = canary.chars().rev().collect();
    for (name, content, goes) in [
        ("start", format!("{canary}\n{filling}"), false),
        ("across", across, false),
        ("backwards", format!("{filling}{backwards}\n"), false),
        ("plain", plain, true),
    ] {
        let (there, back) = (gateway.path().join(name), gateway.path().join(format!("{name}.back")));
        std::fs::write(&there, &content).unwrap();
        let get =
            copy(&gateway, &[&format!("deploy@127.0.0.1:{}", there.display()), back.to_str().unwrap()]).await;
        let got = std::fs::read_to_string(&back).unwrap_or_default();
        assert_eq!((get.code == Some(0), got == content), (goes, goes), "{name}: {get:?}");
        // in which words is up to the client, which may have asked for more already
        assert!(goes || !get.err.is_empty(), "{name}: {get:?}");
        assert!(
            !canary.as_bytes().windows(4).any(|part| got.contains(str::from_utf8(part).unwrap())),
            "{name}"
        );
    }
    // putting is not reading
    let put = copy(
        &gateway,
        &[
            gateway.path().join("start").to_str().unwrap(),
            &format!("deploy@127.0.0.1:{}/put", gateway.path().display()),
        ],
    )
    .await;
    assert_eq!(put.code, Some(0), "{put:?}");
    let records = gateway.records();
    let withheld = records
        .iter()
        .filter(|record| record.text(key::OUTCOME) == Some("error") && !record.list(key::MASKED).is_empty());
    assert_eq!(withheld.count(), 3, "each withheld file is on record as that");
}

/// At every place around the end of what a client reads at once, with both of OpenSSH's programs.
#[tokio::test]
async fn nothing_of_a_secret_across_two_packets_reaches_the_client() {
    let policy = format!("{POLICY}masking:\n- {{detectors: [Secrets], with: {{type: Redact}}}}\n");
    let Some(gateway) = Gateway::start(&policy).await else { return };
    let canary = format!("AKIA{}", "Q3EGRJ5NLXVW7TZB");
    let filling = "nothing to hide here\n".repeat(15_000);
    let mut batch = Vec::new();
    let names: Vec<String> = (0..=canary.len()).map(|at| format!("at-{at}")).collect();
    for (at, name) in names.iter().enumerate() {
        // the client reads 32 KiB at a time
        let start: String = filling.chars().take((32 << 10) - at - 1).collect();
        let content = format!("{start}\n{canary}\n{filling}");
        std::fs::write(gateway.path().join(name), content).unwrap();
        let there = gateway.path().join(name);
        batch.push(format!("-get {0} {0}.back\n", there.display()));
    }
    std::fs::write(gateway.path().join("batch"), batch.concat()).unwrap();
    let mut sftp = gateway.program("sftp");
    sftp.args(["-oBatchMode=no", "-B", "32768", "-b"]).arg(gateway.path().join("batch"));
    let sftp = ran(sftp.arg("deploy@127.0.0.1").output().await.unwrap());
    let came = |name: &str| {
        let got = std::fs::read_to_string(gateway.path().join(format!("{name}.back"))).unwrap_or_default();
        let part = canary.as_bytes().windows(4).find(|part| got.contains(str::from_utf8(part).unwrap()));
        assert!(part.is_none() && !got.ends_with("\nA") && !got.ends_with("\nAK"), "{name}");
        got.len()
    };
    let longest = names.iter().map(|name| came(name)).max();
    assert!(longest.is_some_and(|longest| longest <= 32 << 10), "{longest:?}: {sftp:?}");
    for name in names.iter().step_by(7) {
        let back = gateway.path().join(format!("{name}.back"));
        let there = format!("deploy@127.0.0.1:{}", gateway.path().join(name).display());
        let get = copy(&gateway, &[&there, back.to_str().unwrap()]).await;
        assert!(get.code != Some(0), "{name}: {get:?}");
        came(name);
    }
    let records = gateway.records();
    let withheld = records.iter().filter(|record| !record.list(key::MASKED).is_empty());
    assert_eq!(withheld.count(), names.len() + names.len().div_ceil(7));
}

#[tokio::test]
async fn legacy_scp_is_a_command_line() {
    let Some(gateway) = Gateway::start(POLICY).await else { return };
    let here = gateway.path().join("here");
    std::fs::write(&here, "content\n").unwrap();
    let there = format!("deploy@127.0.0.1:{}/there", gateway.path().display());
    let put = copy(&gateway, &["-O", here.to_str().unwrap(), &there]).await;
    assert_eq!(put.code, Some(0), "{put:?}");
    assert_eq!(std::fs::read_to_string(gateway.path().join("there")).unwrap(), "content\n");
    assert!(said(&gateway.stream(2), Channel::STDIN).contains("content"), "{:?}", gateway.stream(2));
    let back = gateway.path().join("back");
    let get = copy(&gateway, &["-O", &there, back.to_str().unwrap()]).await;
    assert_eq!(
        (get.code, std::fs::read_to_string(&back).unwrap().as_str()),
        (Some(0), "content\n"),
        "{get:?}"
    );
    let file = gateway.stream(2).into_iter().find_map(|event| match event {
        StreamEvent::File { channel, bytes, digest, path } => Some((channel, bytes, digest, path)),
        _ => None,
    });
    let digest = <sha2::Sha256 as sha2::Digest>::digest(b"content\n").into();
    assert_eq!(file, Some((Channel::STDOUT, 8, digest, "there".to_owned())));
    let forbidden = format!("deploy@127.0.0.1:{}/forbidden", gateway.path().display());
    let put = copy(&gateway, &["-O", here.to_str().unwrap(), &forbidden]).await;
    assert!(put.code != Some(0) && put.err.contains("for people"), "{put:?}");
    assert!(!gateway.path().join("forbidden").exists());
}
