//! The shared libraries that a program needs, as its loader finds them.

use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Paths of the libraries and of the loader; none for a static program.
pub(super) fn of(binary: &Path) -> Result<Vec<PathBuf>> {
    let done = Command::new("ldd").arg(binary).output().context("run ldd")?;
    let (listed, said) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    if said.contains("not a dynamic executable") {
        return Ok(Vec::new());
    }
    if !done.status.success() {
        bail!("ldd {}: {}{}", binary.display(), said.trim(), listed.trim());
    }
    read(&listed).with_context(|| format!("ldd {}", binary.display()))
}

fn read(listed: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for line in listed.lines() {
        if line.contains("not found") {
            bail!("{}", line.trim());
        }
        // `libc.so.6 => /lib/libc.so.6 (0x1)`, or only a path for the loader; what the kernel brings has none.
        let place = line.split_once("=> ").map_or(line, |(_, place)| place).trim();
        let path = place.split_once(" (").map_or(place, |(path, _)| path);
        if path.starts_with('/') {
            found.push(PathBuf::from(path));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_loader_finds_is_read() {
        let listed = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/libc.so.6 (0x00007f)\n\t/lib64/ld.so.2 (0x00007e)\n";
        let expected: Vec<PathBuf> = ["/lib/libc.so.6", "/lib64/ld.so.2"].map(PathBuf::from).into();
        assert_eq!(read(listed).unwrap(), expected);
        assert_eq!(read("\tstatically linked\n").unwrap(), Vec::<PathBuf>::new());
        let missing = read("\tliba.so => not found\n").unwrap_err();
        assert_eq!(missing.to_string(), "liba.so => not found");
    }
}
