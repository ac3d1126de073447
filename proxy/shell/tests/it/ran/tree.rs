//! The files that scripts find, and what has become of them.

use std::collections::BTreeMap;
use std::fs::{self, FileTimes, Permissions};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Where files are.
pub(super) const ROOTS: [&str; 3] = ["/home/deploy", "/srv", "/tmp"];

const FILES: &[(&str, &str)] = &[
    ("/home/deploy/a.txt", "one\ntwo\nthree\n"),
    ("/home/deploy/b.txt", "b\na\nc\n"),
    ("/home/deploy/c d.txt", "with a blank\n"),
    ("/home/deploy/.hidden", "hidden\n"),
    ("/home/deploy/list", "a.txt\nb.txt\n"),
    ("/home/deploy/run.sh", "echo run\n"),
    ("/home/deploy/victim/f", "content\n"),
    ("/home/deploy/victim/d/g", "content\n"),
    ("/home/deploy/dir/x", "x\n"),
    ("/home/deploy/dir/sub/y", "y\n"),
    ("/srv/app/config.ini", "path=/old\n"),
    ("/srv/app/data/db", "data\n"),
    ("/srv/app/releases/1/bin", "1\n"),
    ("/tmp/t", "t\n"),
    ("/tmp/p.diff", "--- a.txt\n+++ a.txt\n@@ -1,3 +1,3 @@\n-one\n+eins\n two\n three\n"),
];

/// Links, and where they lead.
const LINKS: &[(&str, &str)] = &[
    ("/home/deploy/link", "/home/deploy/victim/f"),
    ("/home/deploy/ldir", "/home/deploy/dir"),
    ("/srv/app/current", "/srv/app/data"),
];

/// What is known of a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Entry {
    kind: &'static str,
    mode: u32,
    read: i64,
    written: (i64, i64),
    content: Vec<u8>,
}

impl Entry {
    pub(super) fn is_directory(&self) -> bool {
        self.kind == "directory"
    }
}

/// Makes all files anew.
pub(super) fn reset() {
    for root in ROOTS {
        fs::create_dir_all(root).unwrap();
        fs::set_permissions(root, Permissions::from_mode(0o755)).unwrap();
        clear(Path::new(root));
    }
    for (file, content) in FILES {
        let path = Path::new(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let times = FileTimes::new().set_accessed(long_ago).set_modified(long_ago);
        fs::File::options().write(true).open(path).unwrap().set_times(times).unwrap();
    }
    for (link, leads) in LINKS {
        symlink(leads, link).unwrap();
    }
}

fn clear(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
            clear(&path);
            fs::remove_dir(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }
}

/// All that is there.
pub(super) fn seen() -> BTreeMap<String, Entry> {
    let mut found = BTreeMap::new();
    for root in ROOTS {
        see(Path::new(root), &mut found);
    }
    found
}

fn see(path: &Path, found: &mut BTreeMap<String, Entry>) {
    let Ok(meta) = path.symlink_metadata() else { return };
    let kind = meta.file_type();
    let entry = Entry {
        kind: match kind {
            _ if kind.is_dir() => "directory",
            _ if kind.is_symlink() => "link",
            _ if kind.is_fifo() => "pipe",
            _ if kind.is_file() => "file",
            _ => "other",
        },
        mode: meta.mode(),
        read: meta.atime(),
        written: (meta.mtime(), meta.mtime_nsec()),
        content: Vec::new(),
    };
    let content = match entry.kind {
        "directory" => {
            let locked = meta.mode() & 0o700 != 0o700;
            if locked {
                fs::set_permissions(path, Permissions::from_mode(0o700)).unwrap();
            }
            for inside in fs::read_dir(path).unwrap().flatten() {
                see(&inside.path(), found);
            }
            Vec::new()
        }
        "file" => {
            if meta.mode() & 0o400 == 0 {
                fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
            }
            // the first few kilobytes tell apart what scripts write
            let mut content = fs::read(path).unwrap_or_default();
            content.truncate(4096);
            content
        }
        "link" => fs::read_link(path).unwrap().to_string_lossy().into_owned().into_bytes(),
        _ => Vec::new(),
    };
    found.insert(path.to_string_lossy().into_owned(), Entry { content, ..entry });
}

/// Something that has become of a file, and the effects any of which tells of it.
pub(super) type Change = (&'static str, String, &'static [&'static str]);

pub(super) fn changes(before: &BTreeMap<String, Entry>, after: &BTreeMap<String, Entry>) -> Vec<Change> {
    let mut found: Vec<Change> = Vec::new();
    for (path, was) in before {
        match after.get(path) {
            None => found.push(("removed", path.clone(), &["Remove", "Rename"])),
            Some(is) if is.kind != was.kind || is.content != was.content => {
                found.push(("changed", path.clone(), &["Write"]));
            }
            Some(is) => {
                if is.mode != was.mode {
                    found.push(("mode changed", path.clone(), &["Attributes", "Write"]));
                }
                if is.kind == "file" && is.written != was.written {
                    found.push(("written", path.clone(), &["Write", "Attributes"]));
                } else if is.kind == "file" && is.read != was.read {
                    found.push(("read", path.clone(), &["Read", "Write", "Rename"]));
                }
            }
        }
    }
    for path in after.keys().filter(|path| !before.contains_key(*path)) {
        found.push(("created", path.clone(), &["Write"]));
    }
    found
}

/// All names of a file, through the links that were there.
pub(super) fn names(path: &str) -> Vec<String> {
    let through = LINKS.iter().filter_map(|(link, leads)| {
        let rest = path.strip_prefix(leads).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
        Some(format!("{link}{rest}"))
    });
    std::iter::once(path.to_owned()).chain(through).collect()
}
