//! `demo serve`: the owner of a shop that stays. It ends when it is told to, and everything ends with it.

use super::{OWNER, READY, Ready, directory, write};
use crate::known::Known;
use anyhow::{Context as _, Result};
use e2e::process;
use e2e::shop::{RESOURCE, Shop};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

/// Starts the shop, says that it is ready, and waits.
pub(crate) fn serve() -> Result<()> {
    let directory = directory()?;
    let shop = Shop::start()?;
    link(&shop, &directory)?;
    let ready = Ready {
        port: shop.gateway.port(RESOURCE)?,
        issuer: shop.issuer.url().to_owned(),
        processes: Known::of_shop(&shop)?,
        directories: shop.directories(),
    };
    write(&directory, READY, &ready)?;
    // Without this file nobody could stop it any more.
    while !process::interrupted() && directory.join(OWNER).exists() {
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Short names for what a visitor needs.
fn link(shop: &Shop, directory: &Path) -> Result<()> {
    for (name, there) in [
        ("ca.crt", shop.gateway.ca().as_path()),
        ("config", shop.gateway.config()),
        ("issuer", shop.keys()),
        ("state", shop.gateway.state()),
    ] {
        symlink(there, directory.join(name)).with_context(|| format!("link {name}"))?;
    }
    Ok(())
}
