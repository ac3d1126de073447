//! Programs that remove files, trees or what devices hold.

use super::super::argument::{Arg, Sort, has_short, is_long};
use super::super::found::FileEffect;
use super::super::walk::Walk;
use super::Call;
use super::options::operands;

/// Whether it is one of them.
pub(super) fn run(walk: &mut Walk, call: &Call<'_>) -> bool {
    match call.name() {
        "rm" | "srm" | "trash" | "trash-put" | "wipe" | "rimraf" | "gomi" => rm(walk, call),
        "unlink" => remove(walk, call, operands(call.args, ""), false),
        // only an empty directory, but then that is the end of a tree
        "rmdir" => remove(walk, call, operands(call.args, ""), true),
        "shred" => shred(walk, call),
        "wipefs" | "blkdiscard" | "mkswap" | "mke2fs" | "mkdosfs" | "mkntfs" | "lvremove" | "vgremove"
        | "pvremove" | "tmpreaper" | "tmpwatch" | "badblocks" | "sgdisk" | "sfdisk" | "fdisk" | "gdisk"
        | "parted" | "hdparm" | "nvme" => {
            remove(walk, call, operands(call.args, ""), true);
        }
        name if name.starts_with("mkfs") => remove(walk, call, operands(call.args, "tLO"), true),
        "zfs" | "zpool" | "btrfs" | "cryptsetup" | "mdadm" | "rclone" | "gsutil" | "aws" | "mc" | "s3cmd"
        | "hdfs" | "hadoop" | "gio" | "bleachbit" | "systemd-tmpfiles" | "userdel" | "deluser" | "fdupes"
        | "git-annex" | "restic" | "borg" => worded(walk, call),
        _ => return false,
    }
    true
}

fn remove(walk: &mut Walk, call: &Call<'_>, files: Vec<&Arg>, whole: bool) {
    for file in files {
        walk.file_touch(file, FileEffect::REMOVE.whole(whole), Some(call.program));
    }
}

fn rm(walk: &mut Walk, call: &Call<'_>) {
    let before = call.args.iter().take_while(|arg| arg.value() != Some("--"));
    let recursive = before.clone().any(|arg| {
        has_short(arg, 'r', "")
            || has_short(arg, 'R', "")
            || is_long(arg, "recursive", 1)
            || may_be_recursive(arg)
    });
    remove(walk, call, operands(call.args, ""), recursive || call.name() != "rm");
}

/// A name that matches could be `-rf`.
fn may_be_recursive(arg: &Arg) -> bool {
    let letters =
        |c: char| "rRfivdI-*?[]!^".contains(c) || c.is_ascii_lowercase() && arg.text.starts_with("--");
    arg.sort == Sort::Open || arg.sort == Sort::AnyNames && arg.text.chars().all(letters)
}

fn shred(walk: &mut Walk, call: &Call<'_>) {
    let removes = call
        .args
        .iter()
        .any(|arg| has_short(arg, 'u', "ns") || is_long(arg, "remove", 2) || arg.may_be_option());
    for file in operands(call.args, "ns") {
        let whole = file.text.starts_with("/dev/");
        walk.file_touch(file, FileEffect::WRITE.whole(whole), Some(call.program));
        if removes {
            walk.file_touch(file, FileEffect::REMOVE.whole(whole), Some(call.program));
        }
    }
}

/// Programs that remove when a word among their arguments says so.
fn worded(walk: &mut Walk, call: &Call<'_>) {
    if !call.demands_literals(walk) {
        return;
    }
    let says = |words: &[&str]| call.args.iter().any(|arg| words.contains(&arg.text.as_str()));
    let removes = match call.name() {
        "zfs" | "zpool" => says(&["destroy", "rollback", "labelclear"]),
        "btrfs" => says(&["delete", "del"]),
        "cryptsetup" => says(&["luksFormat", "erase", "luksErase", "reencrypt", "luksKillSlot"]),
        "mdadm" => call.args.iter().any(|arg| is_long(arg, "zero-superblock", 3)),
        "rclone" => says(&[
            "delete",
            "purge",
            "sync",
            "move",
            "moveto",
            "rmdir",
            "rmdirs",
            "deletefile",
            "cleanup",
            "dedupe",
            "bisync",
        ]),
        "gsutil" | "aws" | "mc" | "s3cmd" => {
            says(&["rm", "rb", "mv", "del", "delete", "--delete", "-d", "--remove"])
        }
        "hdfs" | "hadoop" => says(&["-rm", "-rmr", "-rmdir", "-expunge"]),
        "gio" => says(&["trash", "remove"]),
        "userdel" | "deluser" => {
            call.args.iter().any(|arg| has_short(arg, 'r', "") || arg.text.starts_with("--remove"))
        }
        "systemd-tmpfiles" => says(&["--clean", "--remove", "--purge"]),
        "fdupes" => says(&["-d", "--delete"]),
        "restic" => says(&["forget", "prune"]),
        "borg" => says(&["delete", "prune", "compact"]),
        _ => true,
    };
    if removes {
        let what = call.args.iter().map(|arg| arg.text.as_str()).collect::<Vec<_>>().join(" ");
        walk.found.file(
            FileEffect::REMOVE.device(true),
            (format!("{}: {what}", call.name()), Sort::Exact),
            Some(call.program),
        );
    }
}
