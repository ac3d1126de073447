//! SPDY/3.1's header blocks, read only to learn what a stream is for.
//!
//! Blocks are deflated with one context for a whole direction, so every block is inflated, and the client's bytes are
//! sent on as they are: what was understood is what the API server reads too.
//! <https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/#TOC-2.6.10-Name-Value-Header-Block>

use flate2::{Decompress, FlushDecompress, Status};

/// Inflates the blocks of one direction.
pub(super) struct Inflater {
    zlib: Decompress,
    primed: bool,
}

/// A header block is not what it should be.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("malformed SPDY headers")]
pub(super) struct Malformed;

impl Inflater {
    pub(super) fn new() -> Self {
        Self { zlib: Decompress::new(true), primed: false }
    }

    /// The headers of the next block.
    ///
    /// # Errors
    /// It is malformed, or inflates to more than [`BLOCK`] bytes.
    pub(super) fn read(&mut self, block: &[u8]) -> Result<Vec<(String, String)>, Malformed> {
        let inflated = self.inflate(block)?;
        pairs(&inflated)
    }

    fn inflate(&mut self, mut block: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut out = Vec::with_capacity(1024);
        loop {
            let (taken, given) = (self.zlib.total_in(), self.zlib.total_out());
            let mut piece = [0_u8; 1024];
            let inflated = self.zlib.decompress(block, &mut piece, FlushDecompress::Sync);
            let taken = usize::try_from(self.zlib.total_in() - taken).map_err(|_overflow| Malformed)?;
            let given = usize::try_from(self.zlib.total_out() - given).map_err(|_overflow| Malformed)?;
            block = block.get(taken..).ok_or(Malformed)?;
            out.extend_from_slice(piece.get(..given).ok_or(Malformed)?);
            if out.len() > BLOCK {
                return Err(Malformed);
            }
            match inflated {
                Err(error) if error.needs_dictionary().is_some() && !self.primed => {
                    self.primed = true;
                    self.zlib.set_dictionary(&DICTIONARY).map_err(|_error| Malformed)?;
                }
                Ok(Status::Ok | Status::BufError) if block.is_empty() && given < piece.len() => {
                    return Ok(out);
                }
                Ok(Status::Ok) => {}
                Err(_) | Ok(Status::BufError | Status::StreamEnd) => return Err(Malformed),
            }
        }
    }
}

impl std::fmt::Debug for Inflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inflater").finish_non_exhaustive()
    }
}

fn pairs(block: &[u8]) -> Result<Vec<(String, String)>, Malformed> {
    let (count, mut rest) = number(block)?;
    let mut pairs = Vec::new();
    for _ in 0..count {
        let (name, after) = text(rest)?;
        let (value, after) = text(after)?;
        pairs.push((name, value));
        rest = after;
    }
    if rest.is_empty() { Ok(pairs) } else { Err(Malformed) }
}

fn number(bytes: &[u8]) -> Result<(u32, &[u8]), Malformed> {
    let (number, rest) = bytes.split_first_chunk::<4>().ok_or(Malformed)?;
    Ok((u32::from_be_bytes(*number), rest))
}

fn text(bytes: &[u8]) -> Result<(String, &[u8]), Malformed> {
    let (length, rest) = number(bytes)?;
    let length = usize::try_from(length).map_err(|_overflow| Malformed)?;
    let (text, rest) = rest.split_at_checked(length).ok_or(Malformed)?;
    Ok((String::from_utf8(text.to_vec()).map_err(|_not_utf8| Malformed)?, rest))
}

/// Most bytes of a block, inflated. Kubernetes' have three short headers.
const BLOCK: usize = 16 * 1024;

/// The dictionary of SPDY/3, section 2.6.10.1.
const DICTIONARY: [u8; 1423] = *include_bytes!("spdy3.dictionary");
