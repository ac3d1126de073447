//! An image as an archive: `manifest.json`, the configuration and the layer.

use super::{Content, Image};
use anyhow::{Context as _, Result};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use tar::{Builder, EntryType, Header};

pub(super) fn write(image: &Image, archive: &Path) -> Result<()> {
    let layer = layer(image)?;
    let layer_digest = digest(&layer);
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Entrypoint": image.entrypoint,
            "User": image.user,
            "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"],
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_digest}")]},
    });
    let config = config.to_string().into_bytes();
    let config_name = format!("{}.json", digest(&config));
    let layer_name = format!("{layer_digest}/layer.tar");
    let manifest = json!([{"Config": config_name, "RepoTags": [image.name], "Layers": [layer_name]}]);
    // Whoever reads the archive finds it whole or not at all.
    let parent = archive.parent().context("an archive needs a directory")?;
    fs::create_dir_all(parent)?;
    let mut file = tempfile::NamedTempFile::new_in(parent)?;
    let mut builder = Builder::new(file.as_file_mut());
    add(&mut builder, &config_name, &config, 0o644)?;
    add(&mut builder, &layer_name, &layer, 0o644)?;
    add(&mut builder, "manifest.json", manifest.to_string().as_bytes(), 0o644)?;
    builder.into_inner()?;
    file.persist(archive)?;
    Ok(())
}

fn layer(image: &Image) -> Result<Vec<u8>> {
    let mut builder = Builder::new(Vec::new());
    let mut directories = BTreeSet::new();
    for place in image.files.keys() {
        let parents = Path::new(place).ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty());
        directories.extend(parents.map(|parent| format!("{}/", parent.display())));
    }
    for directory in &directories {
        let mut header = header(0, 0o755);
        header.set_entry_type(EntryType::Directory);
        builder.append_data(&mut header, directory, std::io::empty())?;
    }
    for (place, file) in &image.files {
        let content = match &file.content {
            Content::Text(text) => text.clone().into_bytes(),
            Content::Of(source) => fs::read(source).with_context(|| format!("read {}", source.display()))?,
        };
        add(&mut builder, place, &content, if file.executable { 0o755 } else { 0o644 })?;
    }
    Ok(builder.into_inner()?)
}

fn add(builder: &mut Builder<impl Write>, place: &str, content: &[u8], mode: u32) -> Result<()> {
    let mut header = header(u64::try_from(content.len())?, mode);
    builder.append_data(&mut header, place, content).with_context(|| format!("add {place}"))
}

fn header(size: u64, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn digest(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// What images call this machine's architecture.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
