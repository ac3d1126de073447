//! A session that stays open: psql fed line by line.

use crate::scene::Scene;
use e2e::process::wait_until;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex};

/// An open psql. Dropping it kills it.
pub(crate) struct Live {
    child: Child,
    input: ChildStdin,
    lines: Arc<Mutex<Vec<String>>>,
    asked: usize,
}

impl Live {
    /// Opens a session; an error in it does not end it.
    pub(crate) fn open(scene: &Scene, role: &str, account: &str) -> Self {
        let mut command = scene.psql(role, account, "");
        command
            .args(["-v", "ON_ERROR_STOP=0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = Arc::default();
        collect(child.stdout.take().unwrap(), &lines);
        collect(child.stderr.take().unwrap(), &lines);
        let input = child.stdin.take().unwrap();
        let mut live = Self { child, input, lines, asked: 0 };
        assert!(live.ask("select 'open'").contains("open"));
        live
    }

    /// Sends a statement and gives everything that is printed up to its end, or the session's.
    pub(crate) fn ask(&mut self, sql: &str) -> String {
        self.asked += 1;
        let end = format!("end of statement {}", self.asked);
        let from = self.lines.lock().unwrap().len();
        // it may have been ended just now; what it said is collected all the same
        writeln!(self.input, "{sql};\n\\echo {end}\n\\warn {end}").ok();
        wait_until(sql, || {
            let over = self.child.try_wait().unwrap().is_some();
            let lines = self.lines.lock().unwrap();
            let (ends, said): (Vec<&String>, Vec<&String>) =
                lines[from..].iter().partition(|line| line.starts_with("end of statement"));
            // both streams have come to the end
            (over || ends.iter().filter(|line| ***line == end).count() == 2)
                .then(|| said.into_iter().flat_map(|line| [line.as_str(), "\n"]).collect())
        })
        .unwrap()
    }

    /// Whether the server side has ended it.
    pub(crate) fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn collect(stream: impl std::io::Read + Send + 'static, lines: &Arc<Mutex<Vec<String>>>) {
    let lines = Arc::clone(lines);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            lines.lock().unwrap().push(line);
        }
    });
}
