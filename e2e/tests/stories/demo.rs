//! The demo is what a newcomer sees first: it ends with all checks passed, and leaves nothing running.

use e2e::process::Process;
use e2e::tools;
use std::fs;
use std::process::Command;

/// In the environment of the demo and of whatever it starts.
const MARK: &str = "PORTCULLIS_STORY_OF_THE_DEMO";

#[test]
fn the_demo_passes_its_checks_and_leaves_nothing_running() {
    if ["postgres", "psql", "curl"].iter().any(|program| tools::or_skip(program).is_none()) {
        return;
    }
    let mark = format!("{MARK}={}", std::process::id());
    let mut command = Command::new(tools::own("demo").unwrap());
    command.arg("run").env(MARK, std::process::id().to_string()).env("NO_COLOR", "1");
    let mut demo = Process::start("demo", &mut command).unwrap();
    demo.wait_for_line("that its shop runs", |line| line.contains("gateway     localhost").then_some(()))
        .unwrap();
    let running = marked(&mark);
    // The kernel keeps fifteen letters of a name.
    for program in ["demo", "portcullis-prox", "postgres"] {
        assert!(running.iter().any(|name| name == program), "{program} is not among {running:?}");
    }
    let summary = demo.wait_for_line("its summary", |line| {
        let (passed, all) = line.strip_suffix(" checks passed")?.split_once(" of ")?;
        Some((passed.parse::<u32>().ok()?, all.parse::<u32>().ok()?))
    });
    // Told to end, it ends what it started, however far it came.
    if summary.is_err() {
        demo.signal("TERM").unwrap();
    }
    let code = demo.wait().unwrap();
    let (passed, all) = summary.unwrap();
    assert_eq!((passed, code), (all, Some(0)), "{}", demo.log());
    assert!(all >= 20, "only {all} checks:\n{}", demo.log());
    assert_eq!(marked(&mark), Vec::<String>::new(), "left running");
}

/// Names of the processes that run with this in their environment.
fn marked(mark: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let process = entry.ok()?.path();
        let environment = fs::read(process.join("environ")).ok()?;
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()).then_some(())?;
        Some(fs::read_to_string(process.join("comm")).ok()?.trim_end().to_owned())
    });
    processes.collect()
}
