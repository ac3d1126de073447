//! The subsystem `sftp`, operation by operation.
//!
//! A state machine over the bytes of both directions: packets span reads as they like, requests that touch a path are
//! held until they are decided, file data passes as it comes and leaves its size and digest; where a policy masks, data
//! that is read is looked at first. Version 3, which is what OpenSSH speaks; a server that answers with another one ends
//! the session.
//!
//! Requests on a handle pass without a question, because opening it was one. `REALPATH` passes as well: clients begin
//! with it, and all it tells is where a path leads. What is not in the table is answered as unsupported.
//!
//! The caller feeds [`Sftp::client`] and [`Sftp::server`] and does what they say in order: an [`Item::Ask`] is decided
//! before anything behind it is forwarded, so that nothing overtakes it.
//!
//! Source: draft-ietf-secsh-filexfer-02; OpenSSH's `PROTOCOL`, section 4.

mod armour;
mod names;
mod operation;
mod packet;
mod transfer;
mod window;

use packet::{Fields, Packets, Part, kind};
use proxy_core::mask::Masker;
use std::collections::HashMap;
use window::Window;

pub use operation::Operation;
use transfer::Looked;
pub use transfer::Transfer;

/// Longest packet, in bytes, its length excluded. OpenSSH's limit as well.
pub const PACKET_MAX: usize = 256 * 1024;

/// So many requests may wait for their answers.
const PENDING_MAX: usize = 4_096;

/// So many files and directories may be open.
const HANDLES_MAX: usize = 1_024;

/// So many, where their contents are told: who records them holds up to 200 KiB of each.
const HANDLES_TOLD: usize = 128;

/// Longest handle, in bytes. Source: the draft, section 6.3.
const HANDLE_MAX: usize = 256;

/// What stands before the data in its packet, in bytes: length, kind, id, length of the data.
const DATA_HEAD: usize = 13;

/// `SSH_FX_EOF`.
const END_OF_FILE: u32 = 1;

/// Longest message of a refusal, in bytes.
const MESSAGE_MAX: usize = 1_024;

/// What the caller does next.
#[derive(Debug)]
pub enum Item {
    /// Forward these bytes to the other side.
    Pass(Vec<u8>),
    /// Decide; then forward `packet`, or answer the client with [`Sftp::refuse`].
    Ask {
        /// What is asked for.
        operation: Operation,
        /// The request as it came.
        packet: Vec<u8>,
    },
    /// Answer the client with these bytes: the request is none that is forwarded.
    Answer(Vec<u8>),
    /// The server has answered a request that was decided, and that has opened nothing.
    Answered {
        /// [`Operation::opening`] of what asked for it.
        opening: u64,
        /// The server's status: 0 for success.
        status: u32,
    },
    /// Bytes of a file, which follow to be forwarded. Only of [`Sftp::telling_contents`].
    Content(Content),
    /// A file or directory has been closed, or the session has ended with it open.
    Closed(Box<Transfer>),
}

/// Bytes of a file on their way.
#[derive(Debug, Eq, PartialEq)]
pub struct Content {
    /// [`Operation::opening`] of what opened the file.
    pub opening: u64,
    /// They are written to it, not read from it.
    pub written: bool,
    /// Where in the file they stand.
    pub offset: u64,
    /// The bytes.
    pub data: Vec<u8>,
}

/// The session cannot go on.
#[derive(Debug, thiserror::Error, Eq, PartialEq)]
#[non_exhaustive]
pub enum SftpError {
    /// A packet is longer than any may be, or shorter than its fields.
    #[error("a malformed sftp packet")]
    Malformed,
    /// Another version than 3.
    #[error("the server speaks sftp version {0}, and only version 3 can be understood")]
    Version(u32),
    /// More requests than are kept track of.
    #[error("too many sftp requests at once")]
    TooMany,
    /// An answer to nothing.
    #[error("the server answers what was not asked")]
    Unasked,
}

/// What an answer will be about.
#[derive(Debug)]
enum Pending {
    /// A file or directory is opened: its path, and the number of its opening.
    Open(String, u64),
    /// A file or directory is closed.
    Close(Vec<u8>),
    /// Data of a file, and which.
    Read(Vec<u8>, Window),
    /// Data goes to a file.
    Write(Vec<u8>),
    /// Something that was decided, by its number.
    Decided(u64),
    /// How much may be asked for at once.
    Limits,
    /// Anything else.
    Other,
}

/// One session of the subsystem.
#[derive(Debug, Default)]
pub struct Sftp {
    from_client: Packets,
    from_server: Packets,
    pending: HashMap<u32, Pending>,
    handles: HashMap<Vec<u8>, Transfer>,
    /// The handle whose data is passing from the server.
    reading: Option<Vec<u8>>,
    /// The handle whose data is passing from the client.
    writing: Option<Vec<u8>>,
    /// Looks at what is read.
    masker: Option<Masker>,
    /// Requests so far that open something.
    openings: u64,
    /// The caller is told of contents.
    tells: bool,
}

impl Sftp {
    /// A session that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, of whose files nothing is given out that the detectors of `masker` find: reading such a file is
    /// answered as denied, and in names and messages it is masked. Holds a packet of data or names until it is whole.
    pub fn looking(masker: Masker) -> Self {
        if !masker.has_detectors() {
            return Self::new();
        }
        Self { from_server: Packets::with_data(), masker: Some(masker), ..Self::default() }
    }

    /// The same, which tells of all that goes through its files, before it goes.
    #[must_use]
    pub fn telling_contents(self) -> Self {
        Self { tells: true, ..self }
    }

    /// Takes bytes from the client.
    ///
    /// # Errors
    ///
    /// The bytes cannot be understood any further; nothing more may be forwarded.
    pub fn client(&mut self, mut bytes: &[u8], items: &mut Vec<Item>) -> Result<(), SftpError> {
        while let Some(part) = self.from_client.next(&mut bytes, packet::Side::Client)? {
            match part {
                Part::Data(data) => {
                    if let Some(transfer) =
                        self.writing.as_ref().and_then(|handle| self.handles.get_mut(handle))
                    {
                        items.extend(self.tells.then(|| transfer.writes(&data)));
                        transfer.written.add(&data);
                    }
                    pass(items, &data);
                }
                Part::Packet(packet) => self.request(packet, items)?,
            }
        }
        Ok(())
    }

    /// Takes bytes from the server.
    ///
    /// # Errors
    ///
    /// The bytes cannot be understood any further; nothing more may be forwarded.
    pub fn server(&mut self, mut bytes: &[u8], items: &mut Vec<Item>) -> Result<(), SftpError> {
        while let Some(part) = self.from_server.next(&mut bytes, packet::Side::Server)? {
            match part {
                Part::Data(data) => {
                    if let Some(transfer) =
                        self.reading.as_ref().and_then(|handle| self.handles.get_mut(handle))
                    {
                        items.extend(self.tells.then(|| transfer.reads(&data)));
                        transfer.read.add(&data);
                    }
                    pass(items, &data);
                }
                Part::Packet(packet) => self.answer(&packet, items)?,
            }
        }
        Ok(())
    }

    /// The answer to a request that is refused: permission denied, with the reason.
    pub fn refuse(&mut self, operation: &Operation, reason: &str) -> Vec<u8> {
        self.pending.remove(&operation.id);
        status(operation.id, 3, reason)
    }

    /// The session has ended: what became of the files that were open.
    pub fn finish(&mut self) -> Vec<Transfer> {
        self.pending.clear();
        self.handles.drain().map(|(_, transfer)| transfer).collect()
    }

    fn request(&mut self, packet: Vec<u8>, items: &mut Vec<Item>) -> Result<(), SftpError> {
        let mut fields = Fields::of(&packet);
        let kind = fields.kind()?;
        if kind == kind::INIT {
            pass(items, &packet);
            return Ok(());
        }
        let id = fields.u32()?;
        if self.pending.len() >= PENDING_MAX {
            return Err(SftpError::TooMany);
        }
        if self.pending.contains_key(&id) {
            // which of the two an answer is for could not be told
            return Err(SftpError::Malformed);
        }
        if matches!(kind, kind::OPEN | kind::OPENDIR) && self.opens() >= self.handles_max() {
            items.push(Item::Answer(status(id, 4, "portcullis: too many files are open; close some first")));
            return Ok(());
        }
        let pending = match kind {
            kind::READ => return self.read(id, &mut fields, &packet, items),
            kind::WRITE => {
                let handle = self.handle(&mut fields)?;
                if let Some(transfer) = handle.as_ref().and_then(|handle| self.handles.get_mut(handle)) {
                    transfer.written.seek(fields.u64()?);
                }
                self.writing.clone_from(&handle);
                handle.map(Pending::Write)
            }
            kind::CLOSE => self.handle(&mut fields)?.map(Pending::Close),
            kind::FSTAT | kind::READDIR => self.handle(&mut fields)?.map(|_| Pending::Other),
            kind::REALPATH => Some(Pending::Other),
            _ => match operation::of(kind, id, &mut fields, &self.handles)? {
                operation::Asked::Operation(mut operation) => {
                    self.openings += 1;
                    operation.opening = self.openings;
                    let opens = operation.opens.clone();
                    let opened = opens.map(|path| Pending::Open(path, operation.opening));
                    self.pending.insert(id, opened.unwrap_or(Pending::Decided(operation.opening)));
                    items.push(Item::Ask { operation, packet });
                    return Ok(());
                }
                operation::Asked::Passes => Some(Pending::Other),
                operation::Asked::Limits => Some(Pending::Limits),
                operation::Asked::Unsupported => {
                    items.push(Item::Answer(status(id, 8, "not supported by the gateway")));
                    return Ok(());
                }
            },
        };
        match pending {
            Some(pending) => {
                self.pending.insert(id, pending);
                pass(items, &packet);
            }
            None if kind == kind::WRITE => {
                // its data is on the way, and would be taken for packets by a server that does not get its head
                return Err(SftpError::Malformed);
            }
            None => items.push(Item::Answer(status(id, 4, "no such handle"))),
        }
        Ok(())
    }

    /// Files and directories that are open, or may be by the time the server has answered.
    fn opens(&self) -> usize {
        let opening = self.pending.values().filter(|pending| matches!(pending, Pending::Open(..)));
        self.handles.len() + opening.count()
    }

    fn handles_max(&self) -> usize {
        if self.tells { HANDLES_TOLD } else { HANDLES_MAX }
    }

    /// Passes on that data of an open file is asked for. Where it is looked at: that and what is around it.
    fn read(
        &mut self,
        id: u32,
        fields: &mut Fields<'_>,
        packet: &[u8],
        items: &mut Vec<Item>,
    ) -> Result<(), SftpError> {
        let Some(handle) = self.handle(fields)? else {
            items.push(Item::Answer(status(id, 4, "no such handle")));
            return Ok(());
        };
        if let Some(name) = self.withheld(&handle) {
            items.push(Item::Answer(withholding(id, name)));
            return Ok(());
        }
        let (offset, length) = (fields.u64()?, fields.u32()?);
        let transfer = self.masker.as_ref().and_then(|_| self.handles.get_mut(&handle));
        let window = if let Some(transfer) = transfer.filter(|_| length > 0) {
            let window = Window::around(offset, length, transfer.asked);
            transfer.asked = window.end();
            pass(items, &window.request(id, &handle));
            window
        } else {
            pass(items, packet);
            Window::alone(offset)
        };
        self.pending.insert(id, Pending::Read(handle, window));
        Ok(())
    }

    /// Name of what is in an open file that is not given out.
    fn withheld(&self, handle: &[u8]) -> Option<&str> {
        self.handles.get(handle)?.withheld.as_deref()
    }

    /// The handle of a request, if it is open.
    fn handle(&self, fields: &mut Fields<'_>) -> Result<Option<Vec<u8>>, SftpError> {
        let handle = fields.bytes()?;
        Ok(self.handles.contains_key(handle).then(|| handle.to_vec()))
    }

    fn answer(&mut self, packet: &[u8], items: &mut Vec<Item>) -> Result<(), SftpError> {
        let mut fields = Fields::of(packet);
        let kind = fields.kind()?;
        let id = fields.u32()?;
        if kind == kind::VERSION {
            if id != 3 {
                return Err(SftpError::Version(id));
            }
            pass(items, packet);
            return Ok(());
        }
        self.reading = None;
        let pending = self.pending.remove(&id).ok_or(SftpError::Unasked)?;
        let limits = kind == kind::EXTENDED_REPLY && matches!(pending, Pending::Limits);
        let limited = self.masker.as_ref().filter(|_| limits).map(|_| window::limited(packet));
        let packet = limited.as_deref().unwrap_or(packet);
        match (kind, pending) {
            (kind::HANDLE, Pending::Open(path, opening)) => {
                let handle = fields.bytes()?;
                if handle.len() > HANDLE_MAX {
                    return Err(SftpError::Malformed);
                }
                self.handles.insert(handle.to_vec(), Transfer::of(path, opening));
            }
            (kind::DATA, Pending::Read(handle, window)) => {
                let transfer = self.handles.get_mut(&handle).ok_or(SftpError::Unasked)?;
                transfer.read.seek(window.offset);
                let data = packet.get(DATA_HEAD..).unwrap_or_default();
                if let Some(masker) = &self.masker {
                    let looked = transfer.look(masker, &window, data);
                    if let (Looked::Given(data), true) = (&looked, self.tells) {
                        let offset = window.offset;
                        let (opening, data) = (transfer.opening, data.to_vec());
                        items.push(Item::Content(Content { opening, written: false, offset, data }));
                    }
                    pass(items, &looked.answer(id));
                    return Ok(());
                }
                if self.tells && !data.is_empty() {
                    items.push(transfer.reads(data));
                }
                transfer.read.add(data);
                self.reading = Some(handle);
            }
            (kind::HANDLE | kind::DATA, _) => return Err(SftpError::Unasked),
            (kind::STATUS, pending) => {
                let status = fields.u32()?;
                self.answered(pending, status, items);
            }
            (_, Pending::Decided(opening)) => items.push(Item::Answered { opening, status: 0 }),
            _ => {}
        }
        let shown = self.masker.as_ref().map(|masker| names::masked(masker, packet)).transpose()?.flatten();
        pass(items, shown.as_deref().unwrap_or(packet));
        Ok(())
    }
}

impl Sftp {
    /// The server has answered with a status.
    fn answered(&mut self, pending: Pending, status: u32, items: &mut Vec<Item>) {
        match pending {
            Pending::Open(_, opening) | Pending::Decided(opening) => {
                items.push(Item::Answered { opening, status });
            }
            Pending::Close(handle) => {
                let closed = self.handles.remove(&handle);
                items.extend(closed.map(|mut transfer| {
                    transfer.closed(status);
                    Item::Closed(Box::new(transfer))
                }));
            }
            // the end of a file is none of its failures
            Pending::Read(..) if status == END_OF_FILE => {}
            Pending::Read(handle, _) | Pending::Write(handle) => {
                if let Some(transfer) = self.handles.get_mut(&handle) {
                    transfer.answered(status);
                }
            }
            Pending::Limits | Pending::Other => {}
        }
    }
}

impl Looked<'_> {
    /// What the client is answered.
    fn answer(&self, id: u32) -> Vec<u8> {
        match self {
            Self::Given(data) => {
                let head = [&[kind::DATA][..], &id.to_be_bytes()].concat();
                let length = u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes();
                framed(&[&head, &length[..], data].concat())
            }
            Self::End => status(id, 1, "end of file"),
            Self::Withheld(name) => withholding(id, name),
        }
    }
}

/// The answer in place of data that is not given out.
fn withholding(id: u32, name: &str) -> Vec<u8> {
    let reason = format!(
        "portcullis: the file holds what the policy masks ({name}), and a file is given out as it is or not at all; \
         read it with a program, whose output can be masked"
    );
    status(id, 3, &reason)
}

/// Joins what is passed to what was passed just before.
fn pass(items: &mut Vec<Item>, bytes: &[u8]) {
    if let Some(Item::Pass(last)) = items.last_mut() {
        last.extend_from_slice(bytes);
    } else {
        items.push(Item::Pass(bytes.to_vec()));
    }
}

/// A status packet.
fn status(id: u32, code: u32, message: &str) -> Vec<u8> {
    let mut end = message.len().min(MESSAGE_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    let message = message.get(..end).unwrap_or_default();
    let mut body = vec![kind::STATUS];
    body.extend(id.to_be_bytes());
    body.extend(code.to_be_bytes());
    for text in [message, ""] {
        body.extend(u32::try_from(text.len()).unwrap_or(0).to_be_bytes());
        body.extend(text.as_bytes());
    }
    framed(&body)
}

/// A packet with its length.
fn framed(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap_or(0).to_be_bytes()[..], body].concat()
}

#[cfg(test)]
mod tests;
