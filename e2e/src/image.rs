//! Container images from files, with no container engine.
//!
//! The same files give the same bytes: entries are sorted, and times and owners are nobody's.

mod archive;
mod libraries;

use crate::tools;
use anyhow::{Context as _, Result};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// An image of one layer, as `FROM scratch` makes it.
#[derive(Clone, Debug)]
pub struct Image {
    name: String,
    files: BTreeMap<String, File>,
    entrypoint: Vec<String>,
    user: String,
}

/// A file of an image.
#[derive(Clone, Debug)]
struct File {
    content: Content,
    executable: bool,
}

#[derive(Clone, Debug)]
enum Content {
    /// Read when the image is written.
    Of(PathBuf),
    Text(String),
}

impl Image {
    /// An empty image with a name such as `localhost/pause:e2e`, run as the user 65532.
    pub fn new(name: &str) -> Self {
        let user = "65532:65532".to_owned();
        Self { name: name.to_owned(), files: BTreeMap::new(), entrypoint: Vec::new(), user }
    }

    /// An image of a program, which is its entry point, with the shared libraries that it needs.
    ///
    /// # Errors
    /// The program is not there, or one of its libraries is not.
    pub fn of_binary(name: &str, binary: &Path) -> Result<Self> {
        let file = binary.file_name().with_context(|| format!("{} is no file", binary.display()))?;
        let place = format!("/{}", file.to_string_lossy());
        Ok(Self::new(name).program(binary, &place)?.entrypoint(&[&place]))
    }

    /// One of the workspace's own programs, as it was built for these tests: `localhost/NAME:e2e`.
    ///
    /// # Errors
    /// It is not built.
    pub fn own(binary: &str) -> Result<Self> {
        Self::of_binary(&format!("localhost/{binary}:e2e"), &tools::own(binary)?)?.authorities()
    }

    /// Adds a program with the shared libraries that it needs.
    ///
    /// # Errors
    /// As [`Image::of_binary`].
    pub fn program(mut self, binary: &Path, place: &str) -> Result<Self> {
        for library in libraries::of(binary)? {
            self = self.file(&library, &library.to_string_lossy())?;
        }
        self.file(binary, place)
    }

    /// Adds a file; it is executable if the original is.
    ///
    /// # Errors
    /// It is not there.
    pub fn file(mut self, source: &Path, place: &str) -> Result<Self> {
        let metadata = fs::metadata(source).with_context(|| format!("read {}", source.display()))?;
        let executable = metadata.permissions().mode() & 0o111 != 0;
        self.files.insert(relative(place), File { content: Content::Of(source.to_owned()), executable });
        Ok(self)
    }

    /// Adds a file with this text.
    #[must_use]
    pub fn text(mut self, place: &str, text: &str) -> Self {
        let content = Content::Text(text.to_owned());
        self.files.insert(relative(place), File { content, executable: false });
        self
    }

    /// Adds this machine's certificate authorities.
    ///
    /// # Errors
    /// This machine has no `/etc/ssl/certs/ca-certificates.crt`.
    pub fn authorities(self) -> Result<Self> {
        self.file(Path::new(AUTHORITIES), AUTHORITIES)
    }

    /// Adds what other people's programs expect to find: certificate authorities, the order in which names are looked
    /// up, and a name for the user.
    ///
    /// # Errors
    /// As [`Image::authorities`].
    pub fn client(self) -> Result<Self> {
        Ok(self
            .authorities()?
            .text("/etc/nsswitch.conf", "hosts: files dns\n")
            .text("/etc/passwd", "root:x:0:0::/:/\nnonroot:x:65532:65532::/:/\n")
            .text("/etc/group", "root:x:0:\nnonroot:x:65532:\n"))
    }

    /// What it runs.
    #[must_use]
    pub fn entrypoint(mut self, command: &[&str]) -> Self {
        self.entrypoint = command.iter().map(|part| (*part).to_owned()).collect();
        self
    }

    /// The user and group it runs as, by number: `0:0`.
    #[must_use]
    pub fn user(mut self, user: &str) -> Self {
        user.clone_into(&mut self.user);
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes it as an archive that `ctr images import`, `docker load`, `podman load` and `kind load image-archive` read.
    ///
    /// # Errors
    /// A file cannot be read, or the archive not be written.
    pub fn write(&self, archive: &Path) -> Result<()> {
        archive::write(self, archive).with_context(|| format!("write {}", archive.display()))
    }
}

fn relative(place: &str) -> String {
    place.trim_start_matches('/').to_owned()
}

const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    /// Paths, modes and sizes of an archive's entries.
    fn entries(archive: &[u8]) -> Vec<(String, u32, u64)> {
        let mut archive = tar::Archive::new(archive);
        let entries = archive.entries().unwrap().map(Result::unwrap);
        entries
            .map(|entry| {
                let header = entry.header();
                (entry.path().unwrap().display().to_string(), header.mode().unwrap(), header.size().unwrap())
            })
            .collect()
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("program");
        fs::write(&program, "#!/bin/sh").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        let image = || {
            let image = Image::new("localhost/a:1").text("/etc/deep/a", "a");
            image.file(&program, "/program").unwrap().entrypoint(&["/program"])
        };
        let [one, two] = ["one", "two"].map(|name| directory.path().join(name));
        image().write(&one).unwrap();
        fs::File::open(&program).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        image().write(&two).unwrap();
        assert_eq!(fs::read(one).unwrap(), fs::read(two).unwrap());
    }

    #[test]
    fn a_layer_has_its_directories_before_its_files() {
        let directory = tempfile::tempdir().unwrap();
        let written = directory.path().join("image.tar");
        Image::new("localhost/a:1").text("/etc/deep/a", "abc").entrypoint(&["/x"]).write(&written).unwrap();

        let mut archive = tar::Archive::new(fs::File::open(&written).unwrap());
        let mut layer = Vec::new();
        let mut manifest = String::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            if path.ends_with("layer.tar") {
                entry.read_to_end(&mut layer).unwrap();
            } else if path == "manifest.json" {
                entry.read_to_string(&mut manifest).unwrap();
            }
        }
        assert!(manifest.contains(r#""RepoTags":["localhost/a:1"]"#), "{manifest}");
        let expected = [("etc/", 0o755, 0), ("etc/deep/", 0o755, 0), ("etc/deep/a", 0o644, 3)];
        assert_eq!(entries(&layer), expected.map(|(path, mode, size)| (path.to_owned(), mode, size)));
    }
}
