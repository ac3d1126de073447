//! Which files the arguments of a program may name of which nobody knows what it does with them.
//!
//! What rules deny, no program may be given. That takes in what looks like a path: with a slash, or with a home; and
//! every word, where it is known that the program reads files.

use super::super::argument::Sort;
use super::super::walk::Walk;
use super::Call;

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
    for arg in call.args.iter().filter(|arg| arg.sort != Sort::Open) {
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
fn named(text: &str) -> impl Iterator<Item = &str> {
    let is_path = |part: &&str| part.contains('/') || part.starts_with('~') || matches!(*part, "." | "..");
    let attached = text.strip_prefix('-').filter(|rest| !rest.starts_with('-')).and_then(|rest| {
        let at = rest.find(['/', '~'])?;
        rest.get(at..)
    });
    let parts = text.split(['=', '@', ':', ',']).filter(is_path);
    attached.into_iter().chain(std::iter::once(text).filter(is_path)).chain(parts)
}
