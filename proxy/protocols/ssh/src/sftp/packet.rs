//! Packets out of a stream: whole ones, or their heads and then their data as it comes.

use super::{PACKET_MAX, SftpError};

/// Kinds of packets.
pub(super) mod kind {
    pub(in super::super) const INIT: u8 = 1;
    pub(in super::super) const VERSION: u8 = 2;
    pub(in super::super) const OPEN: u8 = 3;
    pub(in super::super) const CLOSE: u8 = 4;
    pub(in super::super) const READ: u8 = 5;
    pub(in super::super) const WRITE: u8 = 6;
    pub(in super::super) const LSTAT: u8 = 7;
    pub(in super::super) const FSTAT: u8 = 8;
    pub(in super::super) const SETSTAT: u8 = 9;
    pub(in super::super) const FSETSTAT: u8 = 10;
    pub(in super::super) const OPENDIR: u8 = 11;
    pub(in super::super) const READDIR: u8 = 12;
    pub(in super::super) const REMOVE: u8 = 13;
    pub(in super::super) const MKDIR: u8 = 14;
    pub(in super::super) const RMDIR: u8 = 15;
    pub(in super::super) const REALPATH: u8 = 16;
    pub(in super::super) const STAT: u8 = 17;
    pub(in super::super) const RENAME: u8 = 18;
    pub(in super::super) const READLINK: u8 = 19;
    pub(in super::super) const SYMLINK: u8 = 20;
    pub(in super::super) const STATUS: u8 = 101;
    pub(in super::super) const HANDLE: u8 = 102;
    pub(in super::super) const DATA: u8 = 103;
    pub(in super::super) const NAME: u8 = 104;
    pub(in super::super) const ATTRS: u8 = 105;
    pub(in super::super) const EXTENDED: u8 = 200;
    pub(in super::super) const EXTENDED_REPLY: u8 = 201;
}

/// `SSH_FILEXFER_ATTR_EXTENDED`.
const EXTENDED_ATTRIBUTES: u32 = 1 << 31;

/// Longest packet that is held whole, in bytes: two paths of the longest kind and attributes.
const WHOLE_MAX: usize = 32 * 1024;

/// Who speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    Client,
    Server,
}

/// A piece of the stream.
#[derive(Debug)]
pub(super) enum Part {
    /// A packet, or of one with data all that stands before these.
    Packet(Vec<u8>),
    /// Data, or the rest of a packet that is not looked at.
    Data(Vec<u8>),
}

/// Cuts one direction into packets. Holds at most [`WHOLE_MAX`] bytes, and whole data at most [`PACKET_MAX`].
#[derive(Debug, Default)]
pub(super) struct Packets {
    held: Vec<u8>,
    /// Data and names of the server are given with their packet, not as they come.
    whole_data: bool,
    /// Bytes of the packet that pass as they come.
    left: usize,
}

impl Packets {
    /// Packets of a server, each whole.
    pub(super) fn with_data() -> Self {
        Self { whole_data: true, ..Self::default() }
    }

    /// The next piece of what is held and of `bytes`, which it is taken from. `None`: more bytes are needed.
    pub(super) fn next(&mut self, bytes: &mut &[u8], side: Side) -> Result<Option<Part>, SftpError> {
        if self.left > 0 {
            if bytes.is_empty() {
                return Ok(None);
            }
            let data = take(bytes, self.left);
            self.left -= data.len();
            return Ok(Some(Part::Data(data)));
        }
        loop {
            let (wanted, total) = self.wanted(side)?;
            if self.held.len() >= wanted {
                self.left = total.saturating_sub(self.held.len());
                return Ok(Some(Part::Packet(std::mem::take(&mut self.held))));
            }
            if bytes.is_empty() {
                return Ok(None);
            }
            self.held.extend(take(bytes, wanted - self.held.len()));
        }
    }

    /// How many bytes of the packet are held before it is given, as far as these tell, and how long it is.
    fn wanted(&self, side: Side) -> Result<(usize, usize), SftpError> {
        let Some(length) = self.u32_at(0) else { return Ok((4, 4)) };
        if length == 0 || length > PACKET_MAX {
            return Err(SftpError::Malformed);
        }
        let total = 4 + length;
        let Some(kind) = self.held.get(4) else { return Ok((5, total)) };
        let head = match (side, *kind) {
            // id, handle, offset, length of the data
            (Side::Client, kind::WRITE) => match self.u32_at(9) {
                None => 13,
                Some(handle) if handle > super::HANDLE_MAX => return Err(SftpError::Malformed),
                Some(handle) => 13 + handle + 12,
            },
            (Side::Server, kind::DATA) => 13,
            (Side::Server, kind::NAME | kind::ATTRS | kind::EXTENDED_REPLY) => 9,
            _ if length > WHOLE_MAX => return Err(SftpError::Malformed),
            _ => total,
        };
        if head > total {
            return Err(SftpError::Malformed);
        }
        if matches!((side, *kind), (Side::Client, kind::WRITE) | (Side::Server, kind::DATA))
            && self.held.len() >= head
            && self.u32_at(head - 4) != Some(total - head)
        {
            // data of another length than the packet's rest: the two sides would read on at different places
            return Err(SftpError::Malformed);
        }
        let looked_at = matches!(*kind, kind::DATA | kind::NAME | kind::EXTENDED_REPLY);
        let whole = self.whole_data && side == Side::Server && looked_at;
        Ok((if whole { total } else { head }, total))
    }

    fn u32_at(&self, at: usize) -> Option<usize> {
        let bytes = self.held.get(at..at + 4)?;
        usize::try_from(u32::from_be_bytes(bytes.try_into().ok()?)).ok()
    }
}

fn take(bytes: &mut &[u8], most: usize) -> Vec<u8> {
    let (taken, rest) = bytes.split_at(most.min(bytes.len()));
    *bytes = rest;
    taken.to_vec()
}

/// The fields of a packet, in order.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Of a packet with its length.
    pub(super) fn of(packet: &'a [u8]) -> Self {
        Self { rest: packet.get(4..).unwrap_or_default() }
    }

    pub(super) fn kind(&mut self) -> Result<u8, SftpError> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    pub(super) fn u32(&mut self) -> Result<u32, SftpError> {
        let bytes = self.take(4)?.try_into().map_err(|_error| SftpError::Malformed)?;
        Ok(u32::from_be_bytes(bytes))
    }

    pub(super) fn u64(&mut self) -> Result<u64, SftpError> {
        let bytes = self.take(8)?.try_into().map_err(|_error| SftpError::Malformed)?;
        Ok(u64::from_be_bytes(bytes))
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], SftpError> {
        let length = usize::try_from(self.u32()?).map_err(|_error| SftpError::Malformed)?;
        self.take(length)
    }

    /// Attributes of a file as they stand. Source: the draft, section 5.
    pub(super) fn attributes(&mut self) -> Result<&'a [u8], SftpError> {
        let whole = self.rest;
        let flags = self.u32()?;
        for (flag, bytes) in [(1, 8), (2, 8), (4, 4), (8, 8)] {
            if flags & flag != 0 {
                self.take(bytes)?;
            }
        }
        if flags & EXTENDED_ATTRIBUTES != 0 {
            for _ in 0..self.u32()? {
                self.bytes()?;
                self.bytes()?;
            }
        }
        Ok(whole.get(..whole.len() - self.rest.len()).unwrap_or_default())
    }

    /// Nothing follows.
    pub(super) const fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], SftpError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(SftpError::Malformed)?;
        self.rest = rest;
        Ok(taken)
    }
}
