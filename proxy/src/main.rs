//! `portcullis-proxy`: the gateway.

use clap::Parser as _;
use proxy::args::Args;
use proxy::run::{RunError, run};
use proxy::telemetry;
use std::io::Write as _;
use std::process::ExitCode;

/// Judging and recording a statement takes and gives back a hundred small pieces of memory: docs/performance.md says what
/// that costs with another allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    match start(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let misconfigured = matches!(
                error.downcast_ref(),
                Some(RunError::Archive(_) | RunError::Config { .. } | RunError::Export(_) | RunError::Source)
            );
            // standard error is all there is to say it on; when it is closed, the exit code still says it
            writeln!(std::io::stderr().lock(), "portcullis-proxy: {error:#}").ok();
            ExitCode::from(if misconfigured { MISCONFIGURED } else { FAILED })
        }
    }
}

fn start(args: Args) -> anyhow::Result<()> {
    // before anything that speaks TLS: rustls refuses to choose between providers later
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        anyhow::bail!("another cryptographic provider was installed first");
    }
    telemetry::start(args.log_format, &args.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // the analyser of statements recurses as deep as the statement does
        .thread_stack_size(THREAD_STACK_BYTES)
        .build()?;
    runtime.block_on(run(args))?;
    Ok(())
}

/// Deep statements overflow the default of 2 MiB; PostgreSQL itself gives its parser 8.
const THREAD_STACK_BYTES: usize = 8 << 20;
/// Something failed while starting or running.
const FAILED: u8 = 1;
/// The configuration has problems; as for arguments that cannot be used.
const MISCONFIGURED: u8 = 2;
