//! Clients that change one thing after the other, each under a name of its own, until their gateway dies. They write
//! down what they were told is done.

use crate::whole::Whole;
use e2e::hosts;
use e2e::process::wait_until;
use e2e::shop;
use std::fmt::Write as _;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A running client.
#[derive(Debug)]
pub(super) struct Client {
    child: Child,
    told: PathBuf,
}

impl Client {
    fn start(whole: &Whole, name: &str, command: &mut Command) -> Self {
        let told = whole.file(&format!("{name}.told"));
        command.stdin(Stdio::null()).stdout(File::create(&told).unwrap()).stderr(Stdio::null());
        Self { child: command.spawn().unwrap(), told }
    }

    /// Waits for its end; gives the names of what it was told is done, in order.
    pub(super) fn told(mut self) -> Vec<String> {
        self.child.wait().unwrap();
        let text = std::fs::read_to_string(self.told).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

/// Starts all clients of a round, two of each protocol.
pub(super) fn start(whole: &Whole, round: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for number in 0..2 {
        clients.push(rows(whole, &format!("row-{round}-{number}")));
        clients.push(files(whole, &format!("file-{round}-{number}")));
    }
    clients.push(objects(whole, &format!("object-{round}-0")));
    clients.push(objects_over_one_connection(whole, &format!("object-{round}-1")));
    clients
}

/// Waits until clients of each protocol have changed something in this round.
pub(super) fn wait_for_effects(whole: &Whole, round: usize) {
    let row = format!("select 1 from marks where name like 'row-{round}-%' limit 1");
    wait_until("a row", || (whole.shop.server.sql(shop::DATABASE, &row).ok()? == "1").then_some(())).unwrap();
    let told = |kind: &str, number: usize| {
        let told = whole.file(&format!("{kind}-{round}-{number}.told"));
        std::fs::metadata(told).is_ok_and(|file| file.len() > 0)
    };
    for kind in ["file", "object"] {
        wait_until(kind, || (0..2).any(|number| told(kind, number)).then_some(())).unwrap();
    }
}

/// psql, which inserts rows. No literal is on record, so that the name is an alias as well.
fn rows(whole: &Whole, name: &str) -> Client {
    let script: String = (0..3_000).fold(String::new(), |mut script, n| {
        let insert = format!("insert into marks select '{name}-{n}' as \"{name}-{n}\"");
        writeln!(script, "{insert};\n\\echo {name}-{n}").unwrap();
        script
    });
    let file = whole.file(&format!("{name}.sql"));
    std::fs::write(&file, script).unwrap();
    let mut psql = whole.shop.psql("app", &whole.token(shop::AUDIENCE)).unwrap();
    Client::start(whole, name, psql.args(["-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(&file))
}

/// ssh, which makes files.
fn files(whole: &Whole, name: &str) -> Client {
    let ssh = whole.agent.line(name);
    let step = format!("{ssh} {} \"touch {}/{name}-$n\"", hosts::RESOURCE, whole.files().display());
    let mut shell = Command::new("bash");
    whole.agent.introduce(&mut shell);
    Client::start(whole, name, shell.arg("-c").arg(again(&step, name)))
}

/// kubectl, which makes objects.
fn objects(whole: &Whole, name: &str) -> Client {
    let kubectl = whole.kubectl(name);
    let program = kubectl.get_program().to_string_lossy().into_owned();
    let step = format!("{program} create configmap {name}-$n --namespace={} >/dev/null", whole.namespace);
    let mut shell = Command::new("bash");
    for (name, value) in kubectl.get_envs() {
        shell.env(name, value.unwrap());
    }
    Client::start(whole, name, shell.arg("-c").arg(again(&step, name)))
}

fn again(step: &str, name: &str) -> String {
    format!("for n in $(seq 2000); do {step} || exit; echo {name}-$n; done")
}

/// curl, which makes objects, and makes them faster.
fn objects_over_one_connection(whole: &Whole, name: &str) -> Client {
    let address = format!("{}/api/v1/namespaces/{}/configmaps", whole.address(), whole.namespace);
    let (ca, token) = (whole.shop.gateway.ca(), whole.token(crate::scene::AUDIENCE));
    let requests = (0..1_000).fold(String::new(), |mut text, n| {
        let ca = ca.display();
        writeln!(text, "url = \"{address}\"\ncacert = \"{ca}\"\noutput = \"/dev/null\"\nfail").unwrap();
        writeln!(text, "header = \"Authorization: Bearer {token}\"").unwrap();
        writeln!(text, "header = \"Content-Type: application/json\"").unwrap();
        let object = format!(r#"{{\"metadata\": {{\"name\": \"{name}-{n}\"}}}}"#);
        // printed of whatever failed, too, but without its name
        writeln!(text, "data = \"{object}\"\nwrite-out = \"%{{http_code}} {name}-{n}\\n\"\nnext").unwrap();
        text
    });
    let file = whole.file(&format!("{name}.requests"));
    std::fs::write(&file, requests).unwrap();
    let mut shell = Command::new("bash");
    let curl = format!("curl --silent --fail-early --config {} | sed -un 's/^201 //p'", file.display());
    Client::start(whole, name, shell.arg("-c").arg(curl))
}
