//! How much room the record of an ordinary command takes, of each protocol.

use crate::whole::Whole;
use e2e::{hosts, shop};
use proxy_audit::read;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::{Command, Stdio};

/// Commands of each protocol.
const COMMANDS: usize = 40;
/// Characters of an ordinary command, at most.
const ORDINARY: usize = 100;
/// Bytes of the mean of all records of a protocol, without results. The goal is 1,024; the log's name is in each, and with
/// it that of the machine, which may be longer than here.
const MEAN: usize = 1_088;
/// Bytes of the largest statement. It has the names of all that it is about, of a request of the Kubernetes API twice: in
/// the path and for itself.
const LARGEST: [(&str, usize); 3] = [("postgresql", 1_216), ("ssh", 1_216), ("kubernetes", 1_472)];

#[test]
fn records_of_ordinary_commands_are_small_whatever_the_protocol() {
    let Some(mut whole) = Whole::start() else { return };
    whole.renew();
    // each as long as an ordinary command is at most
    let insert = |n: usize| format!("insert into marks select '{n}' as \"{}\";\n", padded(n, 65));
    let script: String = (0..COMMANDS).map(insert).collect();
    let file = whole.file("day.sql");
    std::fs::write(&file, script).unwrap();
    let mut psql = whole.shop.psql("app", &whole.token(shop::AUDIENCE)).unwrap();
    run(psql.args(["-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(&file));
    let ssh = whole.agent.line("sizes");
    // what keeps the connection open must not keep the output open too
    let lines = (0..COMMANDS).fold("exec >/dev/null 2>&1\n".to_owned(), |mut lines, n| {
        writeln!(lines, "{ssh} {} 'cat /etc/hosts; echo {}' || exit", hosts::RESOURCE, padded(n, 75))
            .unwrap();
        lines
    });
    let mut shell = Command::new("bash");
    whole.agent.introduce(&mut shell);
    run(shell.arg("-c").arg(lines));
    for n in 0..COMMANDS {
        let name = padded(n, 40);
        let namespace = format!("--namespace={}", whole.namespace);
        run(whole.kubectl("sizes").args(["get", "pod", &name, "--ignore-not-found", &namespace]));
    }
    let mut sizes: BTreeMap<(String, String), Vec<usize>> = BTreeMap::new();
    for log in read::logs(whole.shop.gateway.state()).unwrap() {
        for record in read::records(&log).unwrap().map(Result::unwrap) {
            let Some(protocol) = record.text("portcullis.resource.protocol") else { continue };
            if record.command_text().len() <= ORDINARY && record.name() != "portcullis.result.chunk" {
                let result = record.bytes("portcullis.result.frames").map_or(0, <[u8]>::len);
                let kind = (protocol.to_owned(), record.name().to_owned());
                sizes.entry(kind).or_default().push(record.leaf().len() - result);
            }
        }
    }
    judge(&sizes);
}

fn judge(sizes: &BTreeMap<(String, String), Vec<usize>>) {
    for (protocol, limit) in LARGEST {
        let own = sizes.iter().filter(|((of, _), _)| of == protocol);
        let all: Vec<usize> = own.clone().flat_map(|(_, sizes)| sizes).copied().collect();
        let mean = all.iter().sum::<usize>() / all.len();
        for ((_, kind), sizes) in own {
            let (count, largest) = (sizes.len(), sizes.iter().max().unwrap());
            println!(
                "{protocol}: {count} of {kind}, {} bytes, at most {largest}",
                sizes.iter().sum::<usize>() / count
            );
            assert!(*largest <= limit, "{largest} bytes of {kind} of {protocol}");
        }
        let statements = &sizes[&(protocol.to_owned(), "portcullis.statement".to_owned())];
        assert!(statements.len() >= COMMANDS, "{} statements of {protocol}", statements.len());
        assert!(mean <= MEAN, "{mean} bytes a record of {protocol}");
        println!("{protocol}: {mean} bytes a record");
    }
}

/// A name of this length.
fn padded(n: usize, length: usize) -> String {
    format!("name-{n:0width$}", width = length - "name-".len())
}

fn run(command: &mut Command) {
    let done = command.stdin(Stdio::null()).output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}
