//! What is left of a private key whose beginning was released: lines that come so slowly that its header is no context
//! any more.

use proxy_core::mask::Found;

/// The name of its findings.
pub(super) const NAME: &str = "private-key";

/// So many bytes behind the last that were found together with a header its lines are looked for.
pub(super) const REACH: usize = 16 * 1024;

/// So many bytes stay known to tell its last line.
pub(super) const TAIL: usize = 160;

/// Shortest piece of base64 that is one of its lines.
const MATERIAL: usize = 32;

/// Where the last line of a key ends, once it is there whole.
pub(super) fn end(text: &[u8]) -> Option<usize> {
    let behind = |mark: &[u8], end: &[u8]| {
        let at = find(text, mark)? + mark.len();
        Some(at + find(text.get(at..)?, end)? + end.len())
    };
    let ends = [behind(PEM_END, b"-----"), behind(PUTTY_END, b"\n")];
    ends.into_iter().flatten().min()
}

/// Whether the last line of a key begins in it.
pub(super) fn ends(text: &[u8]) -> bool {
    [PEM_END, PUTTY_END].iter().any(|mark| find(text, mark).is_some())
}

/// Whether a key begins in it.
pub(super) fn begins(text: &[u8]) -> bool {
    [&b"PRIVATE KEY-----"[..], b"PuTTY-User-Key-File-"].iter().any(|mark| find(text, mark).is_some())
}

/// What may be lines of a key, whatever stands before them.
pub(super) fn lines(text: &[u8]) -> Vec<Found> {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    let (mut found, mut at) = (Vec::new(), 0);
    for piece in text.split(|byte| !is_base64(byte)) {
        if piece.len() >= MATERIAL {
            let shown = format!("[MASKED:{NAME}]").into_bytes();
            found.push(Found { range: at..at + piece.len(), name: NAME.to_owned(), shown });
        }
        at += piece.len() + 1;
    }
    found
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

const PEM_END: &[u8] = b"-----END";
const PUTTY_END: &[u8] = b"Private-MAC:";
