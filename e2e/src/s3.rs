//! A real S3 server over a directory: versitygw, built from its Go module.

use crate::process::Process;
use crate::tools;
use anyhow::{Context as _, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Secret key of the server's one user: to be found nowhere.
pub const SECRET_KEY: &str = "hunter2-of-the-object-store";

const ACCESS_KEY: &str = "portcullis";
const REGION: &str = "us-east-1";

/// SHA-256 of a request's body that is empty.
const NO_BODY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// An S3 server. What it was given is still there after a restart.
#[derive(Debug)]
pub struct S3 {
    folder: TempDir,
    process: Process,
    port: u16,
}

impl S3 {
    /// For tests: whether one can be built; if not, a skip is printed.
    ///
    /// # Panics
    /// With `CI=true`, where Go must be there.
    pub fn is_possible() -> bool {
        tools::or_skip("go").is_some() && tools::or_skip("curl").is_some()
    }

    /// Starts one on a free loopback port. The first time it is built, which takes minutes.
    ///
    /// # Errors
    /// It cannot be built or does not start; with what was printed.
    pub fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        for name in ["objects", "versions"] {
            std::fs::create_dir(folder.path().join(name))?;
        }
        let port = tools::free_port()?;
        let process = spawn(folder.path(), port)?;
        Ok(Self { folder, process, port })
    }

    /// Kills it as a crash would.
    ///
    /// # Errors
    /// It does not end.
    pub fn crash(&mut self) -> Result<()> {
        self.process.signal("KILL")?;
        self.process.wait()?;
        Ok(())
    }

    /// Starts it again, at the same port.
    ///
    /// # Errors
    /// As [`S3::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.process = spawn(self.folder.path(), self.port)?;
        Ok(())
    }

    /// Makes a bucket whose objects can be locked.
    ///
    /// # Errors
    /// The server refuses.
    pub fn create_bucket(&self, name: &str) -> Result<()> {
        let (status, said) = self.request("PUT", name, &["-H", "x-amz-bucket-object-lock-enabled: true"])?;
        ensure!(status == 200, "create bucket {name}: {status} {said}");
        Ok(())
    }

    /// A signed request without a body, by curl: the answer's status and body. In a query every name has a `=`.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn request(&self, method: &str, path: &str, arguments: &[&str]) -> Result<(u16, String)> {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-X", method, "--aws-sigv4", &format!("aws:amz:{REGION}:s3")]);
        curl.args(["--user", &format!("{ACCESS_KEY}:{SECRET_KEY}"), "-w", "\n%{http_code}"]);
        curl.args(["-H", &format!("x-amz-content-sha256: {NO_BODY}")]);
        curl.args(arguments).arg(format!("http://127.0.0.1:{}/{path}", self.port));
        let done = curl.stdin(Stdio::null()).output().context("run curl")?;
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        ensure!(done.status.success(), "curl: {}", String::from_utf8_lossy(&done.stderr));
        let (body, status) = text.rsplit_once('\n').context("read curl's answer")?;
        Ok((status.parse()?, body.to_owned()))
    }

    /// What a client needs in its environment.
    pub fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.port)),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
        ]
    }

    /// The directory with its buckets: objects are files there.
    pub fn objects(&self) -> PathBuf {
        self.folder.path().join("objects")
    }
}

fn spawn(folder: &Path, port: u16) -> Result<Process> {
    let mut program = Command::new(tools::built("s3", "clients/s3", "versitygw")?);
    program.args(["--port", &format!("127.0.0.1:{port}"), "--region", REGION, "--keep-alive"]);
    program.env("ROOT_ACCESS_KEY_ID", ACCESS_KEY).env("ROOT_SECRET_ACCESS_KEY", SECRET_KEY);
    program.args(["posix", "--versioning-dir"]).arg(folder.join("versions")).arg(folder.join("objects"));
    let process = Process::start("versitygw", &mut program)?;
    crate::process::wait_until("the S3 server listens", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).ok()
    })
    .with_context(|| process.log())?;
    Ok(process)
}
