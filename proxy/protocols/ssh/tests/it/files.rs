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
    // into a directory its client may write under any name, also under one that is denied wherever it is
    let there = format!("deploy@127.0.0.1:{}/there", gateway.path().display());
    let put = copy(&gateway, &["-O", "/etc/hostname", &there]).await;
    assert!(put.code != Some(0) && put.err.contains("for people"), "{put:?}");
    gateway.put_in_force(&POLICY.replace("*/forbidden", &format!("{}/forbidden", gateway.path().display())));
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

/// Whether a program is here; without it a test of it is skipped.
fn is_here(program: &str) -> bool {
    let here = crate::sshd::find(program).is_some();
    assert!(here || std::env::var_os("CI").is_none(), "{program} is missing: run .ci/packages");
    if !here {
        println!("skipped: {program} is not here");
    }
    here
}

/// How a program reaches the gateway when it runs `ssh` itself.
fn remote_shell(gateway: &Gateway) -> String {
    let ssh = gateway.program("ssh");
    let words = ssh.as_std().get_args().map(|arg| arg.to_str().unwrap().to_owned());
    std::iter::once("ssh".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

async fn with_shell(gateway: &Gateway, program: &str, arguments: &[&str]) -> Ran {
    let mut command = tokio::process::Command::new(program);
    command
        .env("SSH_ASKPASS", gateway.askpass(crate::gateway::TOKEN))
        .env("SSH_ASKPASS_REQUIRE", "force")
        .env("GIT_SSH_COMMAND", remote_shell(gateway))
        .env("RSYNC_RSH", remote_shell(gateway))
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*");
    ran(command.args(arguments).stdin(Stdio::null()).output().await.unwrap())
}

#[tokio::test]
async fn rsync_reads_and_writes_the_trees_that_it_names_and_is_judged_by_them() {
    if !is_here("rsync") {
        return;
    }
    let Some(gateway) = Gateway::start(POLICY).await else { return };
    let dir = gateway.path().to_str().unwrap();
    gateway.put_in_force(&format!(
        "rules:\n- {{name: rsync, action: Allow, ssh: {{commands: [{{name: rsync}}]}}}}\n\
         - {{name: trees, action: Allow, ssh: {{effects: [Read, Write], paths: ['{dir}*']}}}}\n\
         - {{name: kept, action: Deny, ssh: {{paths: ['{dir}/kept/*']}}, message: 'Those stay.'}}\n"
    ));
    for name in ["kept", "open"] {
        std::fs::create_dir(gateway.path().join(name)).unwrap();
        std::fs::write(gateway.path().join(name).join("f"), name).unwrap();
    }
    let at = |name: &str| format!("deploy@127.0.0.1:{dir}/{name}");
    let got = with_shell(&gateway, "rsync", &["-a", &at("open/"), &format!("{dir}/got/")]).await;
    assert_eq!(got.code, Some(0), "{got:?}");
    assert_eq!(std::fs::read_to_string(gateway.path().join("got/f")).unwrap(), "open");
    let put = with_shell(&gateway, "rsync", &["-a", &format!("{dir}/open/"), &at("put/")]).await;
    assert_eq!(put.code, Some(0), "{put:?}");
    let kept = format!("{dir}/stolen/");
    for arguments in [
        ["-a", &at("kept/"), &kept],
        ["-a", &at("kept"), &kept],
        ["-a", &at("ke*/f"), &kept],
        ["-a", &at(""), &kept],
        ["-a", &format!("{dir}/open/"), &at("kept/")],
        ["-as", &at("open/"), &kept],
    ] {
        let ran = with_shell(&gateway, "rsync", &arguments).await;
        assert!(ran.code != Some(0), "{arguments:?}: {ran:?}");
        assert!(ran.err.contains("Those stay.") || ran.err.contains("`-s`"), "{arguments:?}: {ran:?}");
    }
    assert!(!gateway.path().join("stolen/f").exists() && !gateway.path().join("stolen/kept").exists());
    assert_eq!(std::fs::read_to_string(gateway.path().join("kept/f")).unwrap(), "kept");
    let records = gateway.records();
    let lines: Vec<_> = records.iter().filter_map(|record| record.text(key::COMMAND_LINE)).collect();
    assert!(
        lines.iter().any(|line| line.starts_with("rsync --server") && line.contains("/open/")),
        "{lines:?}"
    );
}

#[tokio::test]
async fn git_reads_and_writes_the_repositories_that_it_names_and_is_judged_by_them() {
    if !is_here("git") {
        return;
    }
    let Some(gateway) = Gateway::start(POLICY).await else { return };
    let dir = gateway.path().to_str().unwrap();
    gateway.put_in_force(&format!(
        "rules:\n- {{name: git, action: Allow, ssh: {{commands: [{{name: 'git-*'}}]}}}}\n\
         - {{name: read, action: Allow, ssh: {{effects: [Read], paths: ['{dir}*']}}}}\n\
         - {{name: write, action: Allow, ssh: {{effects: [Write], paths: ['{dir}/open*']}}}}\n\
         - {{name: kept, action: Deny, ssh: {{paths: ['{dir}/kept*']}}, message: 'Those stay.'}}\n"
    ));
    for name in ["kept.git", "open.git", "read.git"] {
        let bare = format!("{dir}/{name}");
        let made = with_shell(&gateway, "git", &["init", "--bare", "-q", "-b", "main", &bare]).await;
        assert_eq!(made.code, Some(0), "{made:?}");
    }
    let at = |name: &str| format!("ssh://deploy@127.0.0.1{dir}/{name}");
    let work = format!("{dir}/work");
    let git = async |arguments: &[&str]| with_shell(&gateway, "git", arguments).await;
    let cloned = git(&["clone", "-q", &at("open.git"), &work]).await;
    assert_eq!(cloned.code, Some(0), "{cloned:?}");
    let author = ["-c", "user.name=Bot", "-c", "user.email=bot@example.com", "-C", &work];
    let commit = ["commit", "-q", "--allow-empty", "-m", "one"];
    assert_eq!(git(&[&author[..], &commit].concat()).await.code, Some(0));
    let pushed = git(&["-C", &work, "push", "-q", &at("open.git"), "HEAD:main"]).await;
    assert_eq!(pushed.code, Some(0), "{pushed:?}");
    let listed = git(&["ls-remote", &at("open.git")]).await;
    assert!(listed.out.contains("refs/heads/main"), "{listed:?}");
    assert_eq!(git(&["ls-remote", &at("read.git")]).await.code, Some(0));
    for (arguments, why) in [
        (vec!["ls-remote".to_owned(), at("kept.git")], "Those stay."),
        (
            ["-C", &work, "push", "-q", &at("kept.git"), "HEAD:main"].map(str::to_owned).to_vec(),
            "Those stay.",
        ),
        (
            ["-C", &work, "push", "-q", &at("read.git"), "HEAD:main"].map(str::to_owned).to_vec(),
            "no rule allows Write",
        ),
    ] {
        let ran = git(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await;
        assert!(ran.code != Some(0) && ran.err.contains(why), "{arguments:?}: {ran:?}");
    }
    let records = gateway.records();
    let lines: Vec<_> = records.iter().filter_map(|record| record.text(key::COMMAND_LINE)).collect();
    assert!(
        lines.iter().any(|line| line.starts_with("git-receive-pack") && line.contains("/open.git")),
        "{lines:?}"
    );
}

/// Who asks without end and takes no answer is not asked on, and what waits for it has a bound.
#[tokio::test(flavor = "multi_thread")]
async fn answers_for_a_client_that_reads_nothing_wait_only_up_to_a_bound() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    const REQUESTS: u32 = 6_000;
    let message = "This one is for people. ".repeat(38);
    let policy = POLICY.replace("That one is for people.", message.trim());
    let Some(gateway) = Gateway::start(&policy).await else { return };
    let mut ssh = gateway.program("ssh");
    ssh.args(["-s", "deploy@127.0.0.1", "sftp"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = ssh.spawn().unwrap();
    let (mut asks, mut answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let packet = |kind: u8, fields: &[u8]| {
        let length = u32::try_from(fields.len() + 1).unwrap();
        [&length.to_be_bytes()[..], &[kind], fields].concat()
    };
    let mut requests = packet(1, &3_u32.to_be_bytes());
    for id in 0..REQUESTS {
        let path = b"/tmp/forbidden";
        let length = u32::try_from(path.len()).unwrap().to_be_bytes();
        requests.extend(packet(17, &[&id.to_be_bytes()[..], &length, path].concat()));
    }
    let asking = tokio::spawn(async move {
        asks.write_all(&requests).await.unwrap();
        asks
    });
    let denied = || {
        let is = |record: &&proxy_audit::record::Record| record.text(key::VERDICT) == Some("deny");
        gateway.records().iter().filter(is).count()
    };
    // what the client's window and its pipe hold is answered, and then nothing is asked any more
    let (mut last, mut same) = (0, 0);
    while same < 6 {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let now = denied();
        same = if now == last && now > 0 { same + 1 } else { 0 };
        last = now;
    }
    assert!(
        last > 500 && last < 4_500,
        "{last} of {REQUESTS} were looked at, for a client that reads nothing"
    );
    let (mut came, mut seen) = (vec![0; 1 << 16], Vec::new());
    let mut statuses = 0;
    while statuses < REQUESTS {
        let length = answers.read(&mut came).await.unwrap();
        assert!(length > 0, "{statuses} answers came");
        seen.extend_from_slice(&came[..length]);
        while let Some(head) = seen.first_chunk::<4>() {
            let whole = 4 + usize::try_from(u32::from_be_bytes(*head)).unwrap();
            if seen.len() < whole {
                break;
            }
            statuses += u32::from(seen[4] == 101);
            seen.drain(..whole);
        }
    }
    drop(asking.await.unwrap());
    child.wait().await.unwrap();
    assert_eq!(denied(), usize::try_from(REQUESTS).unwrap(), "once it reads, all is asked");
}
