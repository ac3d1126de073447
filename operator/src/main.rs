//! `portcullis-operator`: Resources become gateways.

use clap::Parser as _;
use operator::args::Args;
use operator::run::run;
use operator::telemetry;
use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match start(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // standard error is all there is to say it on; when it is closed, the exit code still says it
            writeln!(std::io::stderr().lock(), "portcullis-operator: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

fn start(args: Args) -> anyhow::Result<()> {
    // before anything that speaks TLS: rustls refuses to choose between providers later
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        anyhow::bail!("another cryptographic provider was installed first");
    }
    telemetry::start(args.log_format, &args.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(args))?;
    Ok(())
}
