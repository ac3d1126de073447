//! Which files the arguments of a program may name of which nobody knows what it does with them.
//!
//! What rules deny, no program may be given. That takes in what looks like a path: with a slash, or with a home; and
//! every word, where it is known that the program reads files.

use super::super::argument::Sort;
use super::super::walk::Walk;
use super::{Call, containers};

/// So many are told apart.
const FILES_MAX: usize = 256;

/// Programs that do more than read, or say more than what they read, but do read what they are given.
const READ: &[&str] = &[
    "less",
    "more",
    "most",
    "zless",
    "zmore",
    "xxd",
    "hd",
    "uniq",
    "shuf",
    "split",
    "csplit",
    "view",
    "tsort",
    "ptx",
    "look",
    "hexyl",
    "pygmentize",
    "highlight",
    "iconv",
    "recode",
    "unix2dos",
    "dos2unix",
    "ul",
    "numfmt",
    "nroff",
];

/// The paths that it may be given.
pub(super) fn files(walk: &Walk, call: &Call<'_>) -> Vec<String> {
    let reads = READ.contains(&call.name());
    let mut found = Vec::new();
    for arg in containers::outside(call).iter().filter(|arg| arg.sort != Sort::Open) {
        if reads && !arg.text.starts_with('-') {
            found.extend(walk.place.paths(&arg.text));
        } else {
            found.extend(named(&arg.text).flat_map(|path| walk.place.paths(path)));
        }
    }
    if found.len() > FILES_MAX {
        return vec!["/".to_owned()];
    }
    found
}

/// The parts of an argument that look like paths: `/etc/x`, `--file=/etc/x`, `-f/etc/x`, `@/etc/x`, `/etc:/mnt:ro`.
///
/// A slash alone is the root only as a whole argument, behind the letters of an option, or before what it is mounted
/// on: elsewhere it is the path of an address (`--base=/`).
fn named(text: &str) -> impl Iterator<Item = &str> {
    let is_path = |part: &&str| part.contains('/') || part.starts_with('~') || matches!(*part, "." | "..");
    let attached = text.strip_prefix('-').filter(|rest| !rest.starts_with('-')).and_then(|rest| {
        let at = rest.find(['/', '~'])?;
        let (letters, path) = rest.split_at(at);
        (!is_root(path) || letters.chars().all(char::is_alphanumeric)).then_some(path)
    });
    let mut from = 0;
    let parts = text.split(SEPARATORS).filter(move |part| {
        from += part.len() + 1;
        is_path(part) && (!is_root(part) || text.as_bytes().get(from - 1) == Some(&b':'))
    });
    attached.into_iter().chain(std::iter::once(text).filter(is_path)).chain(parts)
}

/// What may stand between the parts of an argument.
const SEPARATORS: [char; 4] = ['=', '@', ':', ','];

fn is_root(path: &str) -> bool {
    path.trim_matches('/').is_empty()
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn a_slash_is_the_root_where_it_stands_for_itself() {
        for (text, expected) in [
            ("/", true),
            ("-r/", true),
            ("/:/mnt", true),
            ("--volume=/:/mnt:ro", true),
            ("--base=/", false),
            ("-Dpath=/", false),
            ("ingress.path=/", false),
            ("http://h/?next=/", false),
            ("a,/,b", false),
        ] {
            assert_eq!(named(text).any(|path| path == "/"), expected, "{text}");
        }
        assert!(named("--file=/etc/x").any(|path| path == "/etc/x"));
    }
}
