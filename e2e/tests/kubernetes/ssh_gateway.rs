//! A host that is a pod, behind a gateway that is one: its key is in the Resource's status, and plain `ssh` does the rest.

use crate::place::{Place, is_below, refused, run};
use e2e::process::wait_until;
use e2e::sshd::keygen;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};

/// Shaped like a GitHub token, so that a detector finds it.
const CANARY: &str = "ghp_x7Qz1xP0vB2nM4kL6jH8gF5dS3aQ9wE1rT0y";
const NAMESPACE: &str = "ssh-story";
const RESOURCE: &str = "resource.portcullis.dev/web";

const MANIFESTS: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: agent}
---
apiVersion: v1
kind: Pod
metadata: {name: host, labels: {app: host}}
spec:
  terminationGracePeriodSeconds: 0
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, runAsUser: 65532, fsGroup: 65532, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: sshd
    image: localhost/host:e2e
    command: [/usr/sbin/sshd, -D, -e, -f, /keys/sshd_config]
    readinessProbe: {tcpSocket: {port: 2022}, periodSeconds: 1}
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
    volumeMounts:
    - {name: keys, mountPath: /keys}
    - {name: tmp, mountPath: /tmp}
  volumes:
  - {name: keys, secret: {secretName: host-keys, defaultMode: 288}}
  - {name: tmp, emptyDir: {}}
---
apiVersion: v1
kind: Service
metadata: {name: host}
spec: {selector: {app: host}, ports: [{port: 22, targetPort: 2022}]}
---
apiVersion: portcullis.dev/v1alpha1
kind: Policy
metadata: {name: agents}
spec:
  targetRefs: [{name: web}]
  subjects: [{user: "system:serviceaccount:NAMESPACE:agent"}]
  rules:
  - {name: looking-around, action: Allow, ssh: {commands: [{name: id}, {name: echo}, {name: cat}, {name: cd}, {name: exec}, {name: exit}]}}
  - {name: shell, action: Allow, ssh: {effects: [Shell]}}
  - {name: reading, action: Allow, ssh: {effects: [Read], paths: ["/etc/*"]}}
  - name: no-accounts
    action: Deny
    ssh: {paths: [/etc/passwd]}
  - name: no-removal
    action: Deny
    ssh: {effects: [Remove]}
    message: "Ask #ops."
  masking:
  - {detectors: [Secrets], with: {type: Redact}}
"#;

/// The host's keys, the credential of the role, and the Resource that pins the host's key.
fn manifests(directory: &Path) -> String {
    for name in ["host", "user"] {
        keygen(&directory.join(name)).unwrap();
    }
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
    let secret = |name: &str, data: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
    let host = secret(
        "host-keys",
        json!({"host": read("host"), "authorized": read("user.pub"), "sshd_config": SSHD_CONFIG}),
    );
    let login = secret("web-deploy", json!({"username": "nonroot", "ssh-privatekey": read("user")}));
    let issuer = json!({
        "issuer": "https://kubernetes.default.svc", "audiences": [format!("web.{NAMESPACE}")],
        "caRef": {"name": "kube-root-ca.crt", "key": "ca.crt"},
    });
    let public = read("host.pub").split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let host_name = format!("host.{NAMESPACE}.svc");
    let resource = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "Resource", "metadata": {"name": "web"},
        "spec": {
            "ssh": {
                "hosts": [{"name": "host", "host": host_name, "hostKeys": [public]}],
                "roles": [{"name": "deploy", "credentialsRef": {"name": "web-deploy"}}],
            },
            "authentication": {"issuers": [issuer]},
            "gateway": {"drainSeconds": 5, "spool": {"claimRef": {"name": "logs"}}},
        },
    });
    format!("{host}\n---\n{login}\n---\n{resource}\n---\n{MANIFESTS}")
}

const SSHD_CONFIG: &str = "Port 2022
HostKey /keys/host
AuthorizedKeysFile /keys/authorized
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
LogLevel VERBOSE
";

/// What a decided shell makes of a script on its input.
fn a_script_of_lines_is_judged_line_by_line(config: &str) {
    let mut shell = Command::new("ssh");
    shell.args(["-F", config, "-oBatchMode=yes", "-T", "web"]).stdin(Stdio::piped());
    let mut shell = shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let script = "cd /etc\ncat passwd\nexec >/dev/null\necho unheard\nid -un >&2\n(exit 3)\n";
    std::io::Write::write_all(&mut shell.stdin.take().unwrap(), script.as_bytes()).unwrap();
    let shell = shell.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&shell.stderr);
    assert!(shell.stdout.is_empty() && said.contains("no-accounts") && said.ends_with("nonroot\n"), "{said}");
    assert_eq!(shell.status.code(), Some(3), "{said}");
}

#[test]
fn ssh_reaches_a_pod_through_a_gateway_pod_whose_key_is_in_status() {
    let keys = tempfile::tempdir().unwrap();
    let Some(place) = Place::set(NAMESPACE, &manifests(keys.path())) else { return };
    place.wait("Ready", &[RESOURCE, "policy.portcullis.dev/agents", "pod/host"]);

    // the stanza pins the key that the gateways published, and nothing else is asked of the agent
    let directory = place.home.path().join("keys");
    let directory = directory.to_str().unwrap();
    let gateway = place.reach("web", 2222);
    let written = ["ssh-config", "web", "--namespace", NAMESPACE, "--gateway", &gateway];
    let more = ["--role", "deploy", "--directory", directory];
    let stanza = run(&mut place.portcullis(&[&written[..], &more].concat()));
    let resource = place.cluster.client().get(&[RESOURCE, "--namespace", NAMESPACE]).unwrap();
    let reports = resource["status"]["gateways"].as_array().unwrap();
    assert_eq!(reports.len(), 2);
    for report in reports {
        let published = report["sshHostKey"].as_str().unwrap();
        let published = published.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        assert!(stanza.contains(&published), "{published} is not in {stanza}");
    }
    let config = place.home.path().join("ssh_config");
    std::fs::write(&config, stanza).unwrap();
    let config = config.to_str().unwrap();

    let token = place.token(&format!("web.{NAMESPACE}"));
    let login = ["ssh", "login", "web", "--ssh-config", config, "--directory", directory, "--token-file"];
    let login = [&login[..], &[token.to_str().unwrap()]].concat();
    // nodes route to a Service a moment after its pods are ready
    wait_until("the gateway answers", || {
        place.portcullis(&login).output().unwrap().status.success().then_some(())
    })
    .unwrap();
    let ssh = |line: &str| {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", config, "-oBatchMode=yes", "web", line]).stdin(Stdio::null());
        ssh
    };
    assert_eq!(run(&mut ssh("id -un")), "nonroot\n");
    let shown = run(&mut ssh(&format!("echo before {CANARY} after")));
    assert!(shown.contains("before") && shown.contains("after") && !shown.contains(CANARY), "{shown}");
    let (code, said) = refused(&mut ssh("rm -rf /tmp/all"));
    assert!(code == Some(126) && said.contains("no-removal") && said.contains("Ask #ops."), "{said}");
    // a file has more names than the one that a rule gives it, and a shell more lines than one
    for line in ["cat /etc/pass*", "cat /e??/{group,passwd}", "cat /proc/self/root/etc/passwd"] {
        let (code, said) = refused(&mut ssh(line));
        assert!(code == Some(126) && said.contains("no-accounts"), "{line}: {said}");
    }
    assert!(run(&mut ssh("cat /etc/grou?")).contains("nonroot:x:65532:"));
    a_script_of_lines_is_judged_line_by_line(config);

    let on_host = place.kubectl(&["logs", "pod/host"]).unwrap();
    assert!(on_host.contains("Accepted publickey for nonroot"), "{on_host}");

    wait_until("the record has all of it", || place.replayed().contains("$ rm -rf /tmp/all").then_some(()))
        .unwrap();
    let replayed = place.replayed();
    for part in ["$ id -un\nnonroot\n", "-- deny by agents/no-removal", "before "] {
        assert!(replayed.contains(part), "{part} is not in\n{replayed}");
    }
    place.claim.verified();
    assert!(!is_below(place.claim.path(), CANARY), "on record");
}
