//! Other clients than OpenSSH's, each through the gateway and directly, compared.

use crate::scene::{Answer, Scene};
use e2e::tools;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// Everything is allowed, so that nothing but the gateway can make a difference.
pub(crate) const POLICY: &str = "
apiVersion: portcullis.dev/v1alpha1
kind: Policy
metadata: {name: web-agents, namespace: shop}
spec:
  targetRefs: [{name: web}]
  subjects: [{group: agents}]
  rules:
  - name: anything
    action: Allow
    ssh: {effects: [Attributes, Environment, Execute, List, Read, Remove, Rename, Subsystem, Terminal, Unknown, Write]}
  masking:
  - {detectors: [Secrets], with: {type: Redact}}
";

/// Two tests that share a folder must not build it at once.
static BUILDING: Mutex<()> = Mutex::new(());

/// Builds a client with its own `build` script, once.
pub(crate) fn built(client: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(client);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("clients").join(client);
    let _building = BUILDING.lock();
    let built = Answer::of(Command::new(source.join("build")).arg(&folder).stdin(Stdio::null()));
    assert_eq!(built.code, Some(0), "{built:?}");
    folder
}

/// Runs a program directly and through the gateway; it must say the same.
fn compare(scene: &Scene, program: impl Fn() -> Command) {
    let run = |variables: &[(&str, &str)]| {
        let mut command = Command::new("timeout");
        let program = program();
        command.args(["--kill-after=5", "120"]).arg(program.get_program()).args(program.get_args());
        command.envs(variables.iter().copied()).env_remove("SSH_AUTH_SOCK").stdin(Stdio::null());
        Answer::of(&mut command)
    };
    let (port, gateway) = (scene.hosts.sshd.port().to_string(), scene.agent.port.to_string());
    let (key, user) = (scene.hosts.sshd.user_key(), e2e::sshd::user().unwrap());
    let direct = run(&[
        ("SSH_PORT", &port),
        ("SSH_USER", &user),
        ("SSH_KEY", key.to_str().unwrap()),
        ("SSH_HOST_KEY", &scene.hosts.sshd.host_key().unwrap()),
    ]);
    assert!(direct.code == Some(0) && direct.out.contains("exec"), "directly: {direct:?}");
    let token = std::fs::read_to_string(scene.agent.path().join("token")).unwrap();
    let through = run(&[
        ("SSH_PORT", &gateway),
        ("SSH_USER", "deploy"),
        ("SSH_TOKEN", &token),
        ("SSH_HOST_KEY", &scene.hosts.host_key),
    ]);
    assert_eq!(through.code, Some(0), "{through:?}");
    assert_eq!(through.out, direct.out, "{}", through.err);
    println!("{} lines alike", through.out.lines().count());
}

#[test]
fn paramiko_and_asyncssh_work_as_directly() {
    let (Some(_), Some(scene)) = (tools::or_skip("python3"), Scene::with_policy(Some(POLICY))) else {
        return;
    };
    let folder = built("ssh_python");
    for client in ["paramiko_client.py", "asyncssh_client.py"] {
        compare(&scene, || {
            let mut command = Command::new(folder.join("venv/bin/python"));
            command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/ssh_python").join(client));
            command
        });
    }
}

#[test]
fn a_client_in_go_works_as_directly() {
    let (Some(_), Some(scene)) = (tools::or_skip("go"), Scene::with_policy(Some(POLICY))) else { return };
    let folder = built("ssh_go");
    compare(&scene, || Command::new(folder.join("client")));
}

#[test]
fn ansible_copies_templates_and_runs_as_directly() {
    let (Some(_), Some(scene)) = (tools::or_skip("python3"), Scene::with_policy(Some(POLICY))) else {
        return;
    };
    let folder = built("ssh_python");
    let (here, there) = (scene.agent.path().join("here"), scene.agent.path().join("there"));
    std::fs::write(&here, "hello {{ 1 + 1 }}\n").unwrap();
    let playbook = scene.agent.path().join("playbook.yaml");
    let tasks = format!(
        "- hosts: web\n  gather_facts: true\n  tasks:\n  - template: {{src: {here}, dest: {there}}}\n  \
         - command: cat {there}\n    register: said\n    changed_when: false\n  \
         - debug: {{msg: 'it says {{{{ said.stdout }}}}'}}\n",
        here = here.display(),
        there = there.display()
    );
    std::fs::write(&playbook, tasks).unwrap();
    let mut ansible = Command::new(folder.join("venv/bin/ansible-playbook"));
    // Ansible asks ssh for keys alone: it comes with a certificate
    let arguments = format!("-F {}", scene.log_in().display());
    let python = format!("ansible_python_interpreter={}", folder.join("venv/bin/python").display());
    ansible
        .args(["-i", "web,", "-e", &python, "--ssh-common-args", &arguments])
        .arg(&playbook)
        .env_remove("SSH_AUTH_SOCK");
    ansible.env("ANSIBLE_HOME", scene.agent.path().join("ansible")).env("ANSIBLE_NOCOLOR", "1");
    ansible.env("ANSIBLE_REMOTE_TMP", scene.agent.path().join("remote")).env("LC_ALL", "C.UTF-8");
    let answer = Answer::of(ansible.stdin(Stdio::null()));
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert!(answer.out.contains("it says hello 2") && answer.out.contains("failed=0"), "{answer:?}");
}
