//! Much at once: long streams, many programs, many watches. Nothing is lost, reordered or blocked, and the gateway's
//! memory stays bounded.
//!
//! `PORTCULLIS_LOAD=full` makes it a gibibyte, 200 programs and 1,000 watches.

use crate::pods::Pods;
use crate::scene::Scene;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

const RULES: &str = r"
rules:
- name: everything
  action: Allow
  kubernetes: {}
masking:
- detectors: [Secrets, CreditCard]
  with: {type: Redact}
";

/// The size of a load: in CI, and in full.
fn size(short: usize, full: usize) -> usize {
    if std::env::var("PORTCULLIS_LOAD").is_ok_and(|load| load == "full") { full } else { short }
}

/// So much more than before a load the gateway's memory may have been at most, whatever the load: in KiB. Loads are at
/// least twice that, so that one which is kept shows.
const ROOM: u64 = 48 * 1024;

/// The memory of a gateway: what it has now, and the most that it had since.
struct Memory {
    process: u32,
    before: u64,
}

impl Memory {
    fn of(scene: &Scene) -> Self {
        let process = scene.gateway.process().id();
        // the peak begins anew (proc(5), clear_refs)
        std::fs::write(format!("/proc/{process}/clear_refs"), "5").unwrap();
        Self { process, before: kib(process, "VmRSS:") }
    }

    /// KiB that it had more at its peak.
    fn growth(&self) -> u64 {
        kib(self.process, "VmHWM:").saturating_sub(self.before)
    }
}

fn kib(process: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn kubectl(pods: &Pods, transport: &str, rest: &[&str]) -> Command {
    let mut command = pods.scene.kubectl(&pods.scene.token("bot"));
    command.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", transport);
    command.args(pods.arguments(rest)).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Lines that are all different, so that one that is lost or out of order shows.
fn lines(numbers: std::ops::Range<usize>) -> Vec<u8> {
    numbers.flat_map(|number| format!("line {number:012} of an ordinary text\n").into_bytes()).collect()
}

/// Lines that are written at once.
const PART: usize = 4096;

/// Sends so many parts through a program that gives back what it gets, and hears them.
fn echoes(pods: &Pods, (name, transport): (&str, &str), parts: usize) {
    let began = Instant::now();
    // It ends a moment after its last word: a busy node may lose what a program says while it ends.
    let program = ["exec", "-i", "web", "--", "sh", "-c", "cat; sleep 2"];
    let mut child = kubectl(pods, transport, &program).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let writing = std::thread::spawn(move || {
        for part in 0..parts {
            input.write_all(&lines(part * PART..(part + 1) * PART)).unwrap();
        }
    });
    let mut output = child.stdout.take().unwrap();
    for part in 0..parts {
        let expected = lines(part * PART..(part + 1) * PART);
        let mut heard = vec![0; expected.len()];
        if let Err(error) = output.read_exact(&mut heard) {
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("{name}: part {part} of {parts}, after {:.1?}: {error}: {said}", began.elapsed());
        }
        assert!(heard == expected, "{name}: part {part} is not what was written");
    }
    writing.join().unwrap();
    assert_eq!(output.read(&mut [0; 1]).unwrap(), 0, "{name}: more than was written");
    assert!(child.wait().unwrap().success(), "{name}");
    let length = parts * lines(0..PART).len() / (1 << 20);
    println!("{name}: {length} MiB each way in {:.1?}", began.elapsed());
}

#[test]
fn kubernetes_long_streams_are_whole_in_both_directions_and_cost_no_memory() {
    let Some(pods) = Pods::start("long", RULES) else { return };
    let parts = size(100, 1024) * (1 << 20) / lines(0..PART).len();
    // The first of them takes twenty-odd MiB over either transport, once: what recording and masking keep at hand.
    echoes(&pods, ("first", "true"), size(25, 100) * (1 << 20) / lines(0..PART).len());
    for (name, transport) in [("websocket", "true"), ("spdy", "false")] {
        let memory = Memory::of(&pods.scene);
        echoes(&pods, (name, transport), parts);
        let growth = memory.growth();
        println!("{name}: {growth} KiB more memory");
        // some buffers of a message's size
        assert!(growth < size(16, 32) as u64 * 1024, "{name}: {growth} KiB more");
    }
    pods.scene.portcullis(&["verify"], 0);
}

#[test]
fn kubernetes_many_programs_at_once_each_have_their_own_input_output_and_exit_code() {
    let Some(pods) = Pods::start("many", RULES) else { return };
    let programs = size(20, 200);
    let memory = Memory::of(&pods.scene);
    let mut running: Vec<Child> = Vec::new();
    for number in 0..programs {
        let transport = if number % 2 == 0 { "true" } else { "false" };
        let script = format!("echo ready; cat; exit {}", number % 100 + 1);
        let arguments = ["exec", "-i", "web", "--", "sh", "-c", &script];
        running.push(kubectl(&pods, transport, &arguments).spawn().unwrap());
    }
    // all of them run before the first has any input
    let mut outputs: Vec<_> =
        running.iter_mut().map(|child| BufReader::new(child.stdout.take().unwrap())).collect();
    for (number, output) in outputs.iter_mut().enumerate() {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        if line != "ready\n" {
            let mut said = String::new();
            running[number].stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("{number}: {line}{said}");
        }
    }
    // kubectl asks for the pod first, and keeps that connection
    let metrics = pods.scene.gateway.admin("metrics").unwrap();
    let active = metrics.lines().find_map(|line| line.strip_prefix("portcullis_sessions_active ")).unwrap();
    assert!(active.parse::<usize>().unwrap() >= programs, "{metrics}");
    for (number, child) in running.iter_mut().enumerate() {
        child.stdin.take().unwrap().write_all(&lines(number * 50..(number + 1) * 50)).unwrap();
    }
    for (number, (child, output)) in running.iter_mut().zip(&mut outputs).enumerate() {
        let mut heard = Vec::new();
        output.read_to_end(&mut heard).unwrap();
        assert!(
            heard == lines(number * 50..(number + 1) * 50),
            "{number}: {}",
            String::from_utf8_lossy(&heard)
        );
        let code = child.wait().unwrap().code();
        assert_eq!(code, Some(i32::try_from(number % 100 + 1).unwrap()), "{number}");
    }
    let growth = memory.growth();
    println!("{programs} programs at once, {} KiB more memory for each", growth / programs as u64);
    assert!(growth < ROOM + 512 * programs as u64, "{growth} KiB more for {programs} programs");
    pods.scene.portcullis(&["verify"], 0);
}

/// Clients share a connection for so many watches.
const SHARED: usize = 100;
/// Changes that every watch sees.
const CHANGES: usize = 10;
/// Watches that nobody reads.
const SLOW: usize = 12;
/// Changes of what they watch, each of [`LARGE`] bytes: more than all buffers on their way, and no more events than the
/// API server keeps for somebody who is slow.
const MANY_CHANGES: usize = 80;
const LARGE: usize = 100_000;
/// Changes before them: what writing takes is there by then.
const FIRST_CHANGES: usize = 20;

struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Client {
    fn new(scene: &Scene) -> Self {
        let authority = std::fs::read(scene.gateway.ca()).unwrap();
        let authority = reqwest::Certificate::from_pem(&authority).unwrap();
        Self {
            http: reqwest::Client::builder().tls_certs_only([authority]).build().unwrap(),
            base: format!("https://localhost:{}", scene.gateway.port(crate::scene::RESOURCE).unwrap()),
            token: scene.token("bot"),
        }
    }

    async fn watch(&self, namespace: &str, name: &str) -> Watch {
        let url = format!(
            "{}/api/v1/namespaces/{namespace}/configmaps?watch=1&fieldSelector=metadata.name%3D{name}",
            self.base
        );
        let answer = self.http.get(url).bearer_auth(&self.token).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        Watch { answer, rest: Vec::new() }
    }

    async fn change(&self, namespace: &str, name: &str, data: &Value) {
        let url = format!("{}/api/v1/namespaces/{namespace}/configmaps/{name}", self.base);
        let request = self.http.patch(url).bearer_auth(&self.token).body(json!({ "data": data }).to_string());
        let answer = request.header("content-type", "application/merge-patch+json").send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    }
}

struct Watch {
    answer: reqwest::Response,
    rest: Vec<u8>,
}

impl Watch {
    /// The number in the next event that has one; `None` at the watch's end.
    async fn next(&mut self) -> Option<usize> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                let event: Value = serde_json::from_slice(&line).unwrap();
                if let Some(number) = event["object"]["data"]["number"].as_str() {
                    return Some(number.parse().unwrap());
                }
            } else {
                let piece = self.answer.chunk().await.unwrap()?;
                self.rest.extend_from_slice(&piece);
            }
        }
    }
}

impl Watch {
    /// Reads the changes of what the slow watch, in order, to the last or to the watch's end: before which number that is.
    /// One without a version begins with what is there, and the API server ends those that are too slow for it.
    async fn all_changes(mut self) -> usize {
        for number in FIRST_CHANGES - 1..FIRST_CHANGES + MANY_CHANGES {
            match self.next().await {
                Some(seen) => assert_eq!(seen, number),
                None => return number,
            }
        }
        FIRST_CHANGES + MANY_CHANGES
    }
}

#[test]
fn kubernetes_many_watches_see_every_change_in_order_beside_a_client_that_does_not_read() {
    let Some(scene) = Scene::start(RULES) else { return };
    let namespace = scene.namespace("watches");
    let n = format!("--namespace={namespace}");
    for name in ["fast", "slow"] {
        scene.direct.run(&["create", "configmap", name, "--from-literal=note=none", &n]).unwrap();
    }
    let watches = size(100, 1000);
    let memory = Memory::of(&scene);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let began = Instant::now();
        let clients: Vec<Client> = (0..watches.div_ceil(SHARED)).map(|_| Client::new(&scene)).collect();
        let mut all = Vec::new();
        for client in &clients {
            all.extend(join_all((0..SHARED).map(|_| client.watch(&namespace, "fast"))).await);
        }
        println!("{} watches are open after {:.1?}", all.len(), began.elapsed());
        let growth = memory.growth();
        println!("{} KiB more memory for each", growth / all.len() as u64);
        assert!(growth < ROOM + 256 * watches as u64, "{growth} KiB more for {watches} watches");
        let writer = Client::new(&scene);
        let large = "nothing of interest, ".repeat(LARGE / 21);
        let change = async |number: usize| {
            writer.change(&namespace, "slow", &json!({"number": number.to_string(), "note": large})).await;
        };
        for number in 0..FIRST_CHANGES {
            change(number).await;
        }
        // one over the same connection as others, and none read until these have seen everything
        let slow_client = Client::new(&scene);
        let at = |number| if number == 0 { &clients[0] } else { &slow_client };
        let slow = join_all((0..SLOW).map(|number| at(number).watch(&namespace, "slow"))).await;
        let memory = Memory::of(&scene);
        for number in FIRST_CHANGES..FIRST_CHANGES + MANY_CHANGES {
            change(number).await;
        }
        let changing = async {
            for number in 0..CHANGES {
                writer.change(&namespace, "fast", &json!({"number": number.to_string()})).await;
            }
        };
        let watching = join_all(all.iter_mut().map(|watch| async {
            for number in 0..CHANGES {
                assert_eq!(watch.next().await, Some(number));
            }
        }));
        tokio::join!(changing, watching);
        println!("all have seen {CHANGES} changes after {:.1?}", began.elapsed());
        let growth = memory.growth();
        println!("{growth} KiB more memory for {} KiB that nobody reads", SLOW * MANY_CHANGES * LARGE / 1024);
        assert!(growth < ROOM, "{growth} KiB more");
        let seen = join_all(slow.into_iter().map(Watch::all_changes)).await;
        println!("the slow have seen everything before {seen:?}");
        assert!(seen.iter().all(|number| *number > FIRST_CHANGES), "{seen:?}");
    });
    scene.portcullis(&["verify"], 0);
}
