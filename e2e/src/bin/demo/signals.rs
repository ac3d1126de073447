//! Told to stop: by Ctrl-C, by `down`, or by a terminal that goes away.

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};

/// From now on these signals end every wait instead of this program, so that what it started ends with its values.
pub(crate) fn listen() -> Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a runtime")?;
    let _entered = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
            }
        });
        e2e::process::interrupt();
    });
    Ok(())
}
