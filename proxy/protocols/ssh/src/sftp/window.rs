//! What is read of a file, with what stands around it.
//!
//! A value may begin in one read and end in the next. So where files are looked at the server is asked for more than the
//! client wants, on both sides; all of it is looked at, and the client gets its part. No read depends on another one, so
//! that clients may read in any order.

use super::packet::kind;

/// So much is looked at before and behind what a client reads, in bytes: longer than any value in any form but keys.
const AROUND: u64 = 1_024;

/// So much before it where a client does not read on from where it read last: a key is told by its first line. Less than
/// [`ROUND`], so that a file which ends there is not taken for a server's limit.
const BEFORE: u64 = 4_000;

/// What servers give at once, in bytes. Source: OpenSSH's `sftp-server`, `limits@openssh.com`.
const MOST: u64 = 255 * 1_024;

/// The longest read that is answered whole, wherever it is, in bytes.
const READ_MAX: u64 = MOST - AROUND - BEFORE;

/// From so many bytes on a power of two is taken for a server's limit.
const ROUND: usize = 4_096;

/// A server's answer to `limits@openssh.com`, as the client gets it: it may read no more at once than is looked at
/// together. For OpenSSH's `scp` an answer that is shorter than it asked for is the end of a file, sooner or later, and
/// it says nothing about that. Source: OpenSSH's `PROTOCOL`, section 4.8.
pub(super) fn limited(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    // behind the length, the kind, the id and the longest packet
    if let Some(field) = packet.get_mut(17..25) {
        let most = u64::from_be_bytes((&*field).try_into().unwrap_or_default());
        // 0 is no limit
        if !(1..=READ_MAX).contains(&most) {
            field.copy_from_slice(&READ_MAX.to_be_bytes());
        }
    }
    packet
}

/// A read of a file, and what the server is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Window {
    /// Offset that the client reads at.
    pub(super) offset: u64,
    /// Bytes before it.
    before: u64,
    /// Most bytes that the client gets.
    length: u64,
}

/// A part of what the server gave, as the client gets it.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Given<'a> {
    /// All that is known.
    pub(super) text: &'a [u8],
    /// Where in it the client's part begins.
    pub(super) from: usize,
    /// Where it ends.
    pub(super) to: usize,
}

impl Window {
    /// Of a read of `length` bytes at `offset`, where the last one ended at `last`.
    pub(super) fn around(offset: u64, length: u32, last: u64) -> Self {
        let before = offset.min(if offset == last { AROUND } else { BEFORE });
        Self { offset, before, length: u64::from(length).min(MOST - AROUND - before) }
    }

    /// As the client asks, with nothing around it.
    pub(super) const fn alone(offset: u64) -> Self {
        Self { offset, before: 0, length: u64::MAX }
    }

    /// The offset from which on it is looked at.
    pub(super) const fn start(&self) -> u64 {
        self.offset.saturating_sub(self.before)
    }

    /// The offset behind it.
    pub(super) const fn end(&self) -> u64 {
        self.offset.saturating_add(self.length)
    }

    /// The request for it: `SSH_FXP_READ` of `handle`.
    pub(super) fn request(&self, id: u32, handle: &[u8]) -> Vec<u8> {
        let mut body = vec![kind::READ];
        body.extend(id.to_be_bytes());
        body.extend(u32::try_from(handle.len()).unwrap_or(u32::MAX).to_be_bytes());
        body.extend(handle);
        body.extend((self.offset - self.before).to_be_bytes());
        body.extend(u32::try_from(self.asked()).unwrap_or(u32::MAX).to_be_bytes());
        super::framed(&body)
    }

    /// Bytes that the server is asked for.
    const fn asked(&self) -> u64 {
        self.before.saturating_add(self.length).saturating_add(AROUND)
    }

    /// The client's part of what the server gave. `None`: the file ends before it.
    ///
    /// Where the server gave less than it was asked for, the file ends, or that was the most that it gives at once. It is
    /// taken for the second where the number is a round one: then the client gets what has enough behind it, and asks on.
    pub(super) fn given<'a>(&self, text: &'a [u8]) -> Option<Given<'a>> {
        let from = usize::try_from(self.before).unwrap_or(usize::MAX);
        let length = usize::try_from(self.length).unwrap_or(usize::MAX);
        let around = usize::try_from(AROUND).unwrap_or(usize::MAX);
        let less = u64::try_from(text.len()).is_ok_and(|got| got < self.asked());
        let stops = less && text.len() >= ROUND && text.len().is_power_of_two();
        let known = text.len() - if stops { around } else { 0 };
        let to = from.saturating_add(length).min(if known > from { known } else { text.len() });
        (from < to).then_some(Given { text, from, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_is_widened_and_its_answer_cut() {
        let window = Window::around(10_000, 100, 10_000);
        assert_eq!((window.before, window.length, window.end()), (1_024, 100, 10_100));
        let request = window.request(7, b"h");
        let text = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().unwrap());
        assert_eq!(text(&request[14..22]), 10_000 - 1_024);
        assert_eq!(request[22..], (1_024_u32 + 100 + 1_024).to_be_bytes());
        let given = window.given(&[b'x'; 2_148]).unwrap();
        assert_eq!((given.from, given.to), (1_024, 1_124));
        // the file's end
        assert_eq!(window.given(&[b'x'; 1_050]).unwrap().to, 1_050);
        assert_eq!(window.given(&[b'x'; 1_024]), None);
        // the server's limit
        let window = Window::around(0, 40_000, 0);
        assert_eq!(window.given(&vec![b'x'; 32_768]).unwrap().to, 32_768 - 1_024);
        assert_eq!(window.given(&vec![b'x'; 32_769]).unwrap().to, 32_769);
    }

    #[test]
    fn a_read_elsewhere_looks_further_back_and_none_asks_for_more_than_there_is() {
        assert_eq!(Window::around(10_000, 100, 0).before, 4_000);
        assert_eq!(Window::around(10, 100, 0).before, 10);
        let longest = Window::around(1 << 40, u32::MAX, 0);
        assert_eq!(longest.before + longest.length + AROUND, MOST);
    }
}
