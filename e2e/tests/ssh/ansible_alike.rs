//! Ansible through the gateway and directly: what its modules say and what they leave must be the same.

use crate::alike::{Alike, put_tree};
use crate::ssh_clients::built;
use e2e::tools;

/// Tasks of one play each, behind arguments of `ansible-playbook`; `{{r}}` is the host's directory.
const PLAYS: &[(&str, &str)] = &[
    ("", "- ping: {data: hello}\n- ping: {data: crash}\n"),
    (
        "",
        "- command: {argv: [printf, '%s|', 'a b', \"it's\", '$HOME', '*', 'ümläut', '']}\n\
         - command: touch made\n  args: {chdir: '{{r}}', creates: '{{r}}/made'}\n\
         - command: {cmd: cat, stdin: \"from here\\n\"}\n\
         - shell: head -c 200000 /dev/zero | tr '\\0' x | fold -w 99\n  register: much\n  no_log: true\n\
         - debug: {msg: '{{much.stdout | hash}} {{much.stdout_lines | length}}'}\n\
         - shell: kill -9 $$\n  ignore_errors: true\n\
         - raw: echo raw; echo err >&2; exit 5\n  ignore_errors: true\n\
         - command: sh -c 'echo out; echo err >&2; exit 7'\n",
    ),
    (
        "",
        "- copy: {src: tree/large, dest: '{{r}}/large', mode: preserve}\n\
         - copy: {src: tree/d0/, dest: '{{r}}/many/', mode: '0600', directory_mode: '0750'}\n\
         - copy: {content: 'hello {% raw %}{{1 + 1}}{% endraw %}', dest: page.j2}\n  delegate_to: localhost\n\
         - template: {src: page.j2, dest: '{{r}}/page', mode: '0600'}\n\
         - template: {src: page.j2, dest: '{{r}}/page'}\n\
         - fetch: {src: '{{r}}/large', dest: fetched/flat, flat: true}\n\
         - copy: {src: tree/missing, dest: '{{r}}/x'}\n",
    ),
    (
        "",
        "- file: {path: '{{r}}/a/b/c', state: directory, mode: '0711'}\n\
         - file: {src: ../page, dest: '{{r}}/a/link', state: link}\n\
         - file: {path: '{{r}}/a/b', state: absent}\n\
         - lineinfile: {path: '{{r}}/conf', line: 'key = 1', create: true, mode: '0644'}\n\
         - lineinfile: {path: '{{r}}/conf', regexp: '^key', line: 'key = 2'}\n\
         - stat: {path: '{{r}}/conf', checksum_algorithm: sha256}\n\
         - slurp: {src: '{{r}}/conf'}\n\
         - lineinfile: {path: '{{r}}/nothing', line: x}\n",
    ),
    (
        "",
        "- setup: {gather_subset: ['!all', 'min'], filter: [ansible_system, ansible_distribution, ansible_user_id, ansible_machine]}\n\
         - service_facts:\n  no_log: true\n\
         - debug: {msg: '{{services | length}}'}\n",
    ),
    (
        "-e ansible_ssh_pipelining=true",
        "- ping:\n- copy: {src: tree/d1/f11, dest: '{{r}}/piped'}\n- command: cat {{r}}/conf\n- shell: exit 3\n",
    ),
    ("-e ansible_ssh_transfer_method=scp", "- copy: {src: tree/d1/f31, dest: '{{r}}/by-scp'}\n"),
    ("-e ansible_ssh_transfer_method=piped", "- copy: {src: tree/d1/f31, dest: '{{r}}/by-pipe'}\n"),
];

/// Runs one play; what it says has no times and no names of temporary files in it.
fn script(python: &str, arguments: &str, tasks: &str) -> String {
    let tasks: Vec<String> = tasks.lines().map(|line| ["  ", line, "\n"].concat()).collect();
    let tasks = tasks.concat();
    format!(
        "export ANSIBLE_HOME=$HOME/ansible ANSIBLE_NOCOLOR=1 ANSIBLE_REMOTE_TMP=$HOME/tmp ANSIBLE_DEPRECATION_WARNINGS=0 \
         ANSIBLE_SSH_ARGS='-o ControlMaster=auto -o ControlPersist=5' ANSIBLE_LOCALHOST_WARNING=0\n\
         cat >play.yaml <<'END OF PLAY'\n- hosts: web\n  gather_facts: false\n  tasks:\n{tasks}END OF PLAY\n\
         {python}/ansible-playbook -v -i web, -e r=$R -e ansible_python_interpreter={python}/python {arguments} play.yaml"
    )
}

/// Without what is another one each time.
fn timeless(text: &str) -> String {
    const KEYS: [&str; 15] = [
        "delta",
        "start",
        "end",
        "atime",
        "ctime",
        "mtime",
        "inode",
        "pid",
        "ansible_job_id",
        "results_file",
        "src",
        "elapsed",
        "source",
        "uuid",
        "version",
    ];
    let mut rest = text;
    let mut out = String::new();
    while let Some(at) = rest.find("\": ") {
        let (head, tail) = rest.split_at(at + 3);
        out.push_str(head);
        rest = tail;
        let key = head.trim_end_matches("\": ").rsplit('"').next().unwrap_or_default();
        if KEYS.contains(&key) {
            out.push('T');
            rest = tail.split_at(tail.find([',', '}', '\n']).unwrap_or(tail.len())).1;
        }
    }
    out + rest
}

#[test]
fn ansible_works_as_directly() {
    if tools::or_skip("python3").is_none() {
        return;
    }
    let Some(mut alike) = Alike::start(&["ssh", "scp", "sftp"]) else { return };
    let python = built("ssh_python").join("venv/bin");
    alike.prepare(|machine| put_tree(&machine.join("local/tree")));
    for (arguments, tasks) in PLAYS {
        alike.run(&script(python.to_str().unwrap(), arguments, tasks), timeless);
    }
    alike.end("ansible");
}
