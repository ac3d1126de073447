//! What a request does to which path.

use super::packet::{Fields, kind};
use super::{SftpError, Transfer};
use crate::paths;
use proxy_policy::{Access, Detail, Touch};
use std::collections::HashMap;

/// A request that needs a decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// The client's number of it, for the answer.
    pub id: u32,
    /// Its name in the protocol, in lower case: `open`, `remove`, `posix-rename@openssh.com`.
    pub name: &'static str,
    /// What it does.
    pub touches: Vec<Touch>,
    /// Which of the session's operations it is.
    pub opening: u64,
    /// The path that it opens.
    pub(super) opens: Option<String>,
}

impl Operation {
    /// The operation and its paths, for records: `open /srv/app/config`.
    pub fn text(&self) -> String {
        let mut text = self.name.to_owned();
        for (at, touch) in self.touches.iter().enumerate() {
            if self.touches.iter().take(at).all(|before| before.name != touch.name) {
                text.push(' ');
                text.push_str(&touch.name);
            }
        }
        text
    }
}

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Asked {
    Operation(Operation),
    Passes,
    /// It passes, and tells how much may be asked for at once.
    Limits,
    Unsupported,
}

/// `SSH_FXF_…`.
mod flag {
    pub(super) const READ: u32 = 1;
    pub(super) const WRITE: u32 = 2;
    pub(super) const ALL: u32 = 0x3f;
}

/// Which attributes follow.
mod attribute {
    pub(super) const SIZE: u32 = 0x1;
}

const READS: (&str, Access) = ("Read", Access::Read);
const WRITES: (&str, Access) = ("Write", Access::Write);
const LISTS: (&str, Access) = ("List", Access::Read);
const REMOVES: (&str, Access) = ("Remove", Access::Write);
const RENAMES: (&str, Access) = ("Rename", Access::Write);
const CHANGES: (&str, Access) = ("Attributes", Access::Write);

/// Reads the request `kind`, whose fields begin behind its id.
pub(super) fn of(
    kind: u8,
    id: u32,
    fields: &mut Fields<'_>,
    handles: &HashMap<Vec<u8>, Transfer>,
) -> Result<Asked, SftpError> {
    let (name, done): (_, &[(&'static str, Access)]) = match kind {
        kind::OPEN => return open(id, fields),
        kind::EXTENDED => return extended(id, fields, handles),
        kind::FSETSTAT => return by_handle("fsetstat", id, fields, handles),
        kind::OPENDIR => {
            let path = paths::served(fields.bytes()?);
            let touches = vec![touch(LISTS, path.clone())];
            return Ok(Asked::Operation(Operation {
                id,
                name: "opendir",
                touches,
                opening: 0,
                opens: Some(path),
            }));
        }
        kind::LSTAT => ("lstat", &[LISTS]),
        kind::STAT => ("stat", &[LISTS]),
        kind::READLINK => ("readlink", &[LISTS]),
        kind::SETSTAT => ("setstat", &[CHANGES]),
        kind::REMOVE => ("remove", &[REMOVES]),
        kind::MKDIR => ("mkdir", &[WRITES]),
        kind::RMDIR => ("rmdir", &[REMOVES]),
        kind::RENAME => ("rename", &[RENAMES, WRITES]),
        kind::SYMLINK => return symlink(id, fields),
        _ => return Ok(Asked::Unsupported),
    };
    let mut operation = paths_of(name, id, fields, done)?;
    if kind == kind::RMDIR {
        // only an empty directory, but then that is the end of a tree
        operation.touches.iter_mut().for_each(|touch| touch.unbounded = true);
    }
    if kind == kind::SETSTAT {
        cuts(&mut operation, fields)?;
    }
    Ok(Asked::Operation(operation))
}

/// A link to a path, which is read from where the link is. Whoever writes through the link writes what it leads to.
///
/// OpenSSH's order is what a link leads to, then the link. Others have it as the draft does, so both are written.
fn symlink(id: u32, fields: &mut Fields<'_>) -> Result<Asked, SftpError> {
    let (leads, link) = (fields.bytes()?, paths::served(fields.bytes()?));
    let mut touches = vec![touch(WRITES, paths::served(leads)), touch(WRITES, link.clone())];
    let there = paths::beside(&link, leads);
    if !touches.iter().any(|touch| touch.name == there) {
        touches.push(touch(WRITES, there.clone()));
    }
    touches.push(touch(READS, there));
    // a name of a directory is one of everything below it
    for touch in touches.iter_mut().filter(|touch| touch.name != link) {
        touch.object = "directory";
    }
    Ok(Asked::Operation(Operation { id, name: "symlink", touches, opening: 0, opens: None }))
}

/// Attributes follow: with a size among them the file is cut, or filled up with zeros.
///
/// Source: draft-ietf-secsh-filexfer-02, section 5.
fn cuts(operation: &mut Operation, fields: &mut Fields<'_>) -> Result<(), SftpError> {
    if fields.u32()? & attribute::SIZE != 0 {
        let written =
            operation.touches.iter().map(|changed| touch(WRITES, changed.name.clone())).collect::<Vec<_>>();
        operation.touches.extend(written);
    }
    Ok(())
}

fn open(id: u32, fields: &mut Fields<'_>) -> Result<Asked, SftpError> {
    let path = paths::served(fields.bytes()?);
    let flags = fields.u32()?;
    if flags & !flag::ALL != 0 || flags & (flag::READ | flag::WRITE) == 0 && flags != 0 {
        return Ok(Asked::Unsupported);
    }
    let mut touches = Vec::new();
    // whatever else the flags say, a file that is not written is not changed
    if flags & flag::WRITE == 0 || flags & flag::READ != 0 {
        touches.push(touch(READS, path.clone()));
    }
    if flags & !flag::READ != 0 {
        touches.push(touch(WRITES, path.clone()));
    }
    Ok(Asked::Operation(Operation { id, name: "open", touches, opening: 0, opens: Some(path) }))
}

/// Source: OpenSSH's `PROTOCOL`, section 4, and draft-ietf-secsh-filexfer-extensions-00.
fn extended(
    id: u32,
    fields: &mut Fields<'_>,
    handles: &HashMap<Vec<u8>, Transfer>,
) -> Result<Asked, SftpError> {
    let name = fields.bytes()?;
    let operation = match name {
        b"posix-rename@openssh.com" => paths_of("posix-rename@openssh.com", id, fields, &[RENAMES, WRITES])?,
        b"hardlink@openssh.com" => {
            let mut operation = paths_of("hardlink@openssh.com", id, fields, &[READS, WRITES])?;
            // whoever writes the one name writes the other
            let source = operation.touches.first().map(|source| touch(WRITES, source.name.clone()));
            operation.touches.extend(source);
            operation
        }
        b"statvfs@openssh.com" => paths_of("statvfs@openssh.com", id, fields, &[LISTS])?,
        b"lsetstat@openssh.com" => {
            let mut operation = paths_of("lsetstat@openssh.com", id, fields, &[CHANGES])?;
            cuts(&mut operation, fields)?;
            operation
        }
        b"fsync@openssh.com" | b"fstatvfs@openssh.com" => return Ok(open_handles(fields, handles, 1)),
        b"copy-data" => {
            // read handle, offset and length, write handle
            let read = handles.get(fields.bytes()?);
            fields.u64()?;
            fields.u64()?;
            let (Some(read), Some(written)) = (read, handles.get(fields.bytes()?)) else {
                return Ok(Asked::Unsupported);
            };
            let touches = vec![touch(READS, read.path.clone()), touch(WRITES, written.path.clone())];
            Operation { id, name: "copy-data", touches, opening: 0, opens: None }
        }
        b"limits@openssh.com" => return Ok(Asked::Limits),
        b"expand-path@openssh.com" | b"home-directory" | b"users-groups-by-id@openssh.com" => {
            return Ok(Asked::Passes);
        }
        _ => return Ok(Asked::Unsupported),
    };
    Ok(Asked::Operation(operation))
}

fn open_handles(fields: &mut Fields<'_>, handles: &HashMap<Vec<u8>, Transfer>, count: usize) -> Asked {
    let known = (0..count).all(|_| fields.bytes().is_ok_and(|handle| handles.contains_key(handle)));
    if known { Asked::Passes } else { Asked::Unsupported }
}

fn by_handle(
    name: &'static str,
    id: u32,
    fields: &mut Fields<'_>,
    handles: &HashMap<Vec<u8>, Transfer>,
) -> Result<Asked, SftpError> {
    let Some(transfer) = handles.get(fields.bytes()?) else { return Ok(Asked::Unsupported) };
    let touches = vec![touch(CHANGES, transfer.path.clone())];
    let mut operation = Operation { id, name, touches, opening: 0, opens: None };
    cuts(&mut operation, fields)?;
    Ok(Asked::Operation(operation))
}

/// One path for each of `done`.
fn paths_of(
    name: &'static str,
    id: u32,
    fields: &mut Fields<'_>,
    done: &[(&'static str, Access)],
) -> Result<Operation, SftpError> {
    let touched = done.iter().map(|done| Ok(touch(*done, paths::served(fields.bytes()?))));
    Ok(Operation { id, name, touches: touched.collect::<Result<_, _>>()?, opening: 0, opens: None })
}

fn touch((effect, access): (&'static str, Access), name: String) -> Touch {
    Touch { effect, object: "file", name, access, unbounded: false, detail: Detail::None }
}
