//! age's own command-line tools, built from their Go module: what an auditor has.

use crate::tools;
use anyhow::{Context as _, Result, ensure};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// `age` and `age-keygen`.
#[derive(Debug)]
pub struct Age {
    age: PathBuf,
}

impl Age {
    /// For tests: whether they can be built; if not, a skip is printed.
    ///
    /// # Panics
    /// With `CI=true`, where Go must be there.
    pub fn is_possible() -> bool {
        tools::or_skip("go").is_some()
    }

    /// Builds them, unless that has been done.
    ///
    /// # Errors
    /// They cannot be built; with what was printed.
    pub fn built() -> Result<Self> {
        Ok(Self { age: tools::built("age", "clients/age", "age")? })
    }

    /// Writes a new identity to this file, as its own tool does, and gives its recipient.
    ///
    /// # Errors
    /// The file is there already, or cannot be written.
    pub fn keygen(&self, file: &Path) -> Result<String> {
        let keygen = self.age.with_file_name("age-keygen");
        let done = Command::new(&keygen).arg("-o").arg(file).output().context("run age-keygen")?;
        ensure!(done.status.success(), "age-keygen: {}", String::from_utf8_lossy(&done.stderr));
        let done = Command::new(&keygen).arg("-y").arg(file).output().context("run age-keygen")?;
        ensure!(done.status.success(), "age-keygen -y: {}", String::from_utf8_lossy(&done.stderr));
        Ok(String::from_utf8(done.stdout)?.trim().to_owned())
    }

    /// `age -d -i FILE`.
    ///
    /// # Errors
    /// It is not for this identity, or was changed; in age's words.
    pub fn decrypt(&self, identity: &Path, ciphertext: &[u8]) -> Result<Vec<u8>> {
        let mut command = Command::new(&self.age);
        command.args(["-d", "-i"]).arg(identity);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        // At most one chunk, which is less than a pipe holds twice: nothing waits for the other.
        let mut input = child.stdin.take().context("no standard input")?;
        let written = input.write_all(ciphertext);
        drop(input);
        let done = child.wait_with_output()?;
        ensure!(done.status.success(), "age: {}", String::from_utf8_lossy(&done.stderr));
        written?;
        Ok(done.stdout)
    }
}
