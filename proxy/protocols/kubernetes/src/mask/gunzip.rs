//! Gzip bodies, unpacked as they arrive.

use super::Unmaskable;
use flate2::write::GzDecoder;
use std::io::Write;

/// Unpacked bytes handed on at once. What a small packed piece unpacks to can be a thousand times larger.
const PIECE: usize = 64 * 1024;
/// Packed bytes unpacked at once, so that what they become is bounded: DEFLATE makes at most 1,032 of one.
const PACKED_PIECE: usize = 1024;

/// Unpacks a stream.
#[derive(Debug)]
pub(super) struct Gunzip {
    decoder: GzDecoder<Vec<u8>>,
}

impl Gunzip {
    pub(super) fn new() -> Self {
        Self { decoder: GzDecoder::new(Vec::new()) }
    }

    /// Unpacks `packed`, handing what comes out on piece by piece.
    pub(super) fn push(
        &mut self,
        packed: &[u8],
        mut on: impl FnMut(&[u8]) -> Result<(), Unmaskable>,
    ) -> Result<(), Unmaskable> {
        for packed in packed.chunks(PACKED_PIECE) {
            self.decoder.write_all(packed).map_err(|_not_gzip| Unmaskable::Malformed)?;
            // what the decoder has but has not yet given
            self.decoder.flush().map_err(|_not_gzip| Unmaskable::Malformed)?;
            self.drain(&mut on)?;
        }
        Ok(())
    }

    /// The stream has ended: its checksum is compared.
    pub(super) fn finish(
        &mut self,
        mut on: impl FnMut(&[u8]) -> Result<(), Unmaskable>,
    ) -> Result<(), Unmaskable> {
        self.decoder.try_finish().map_err(|_not_gzip| Unmaskable::Malformed)?;
        self.drain(&mut on)
    }

    fn drain(&mut self, on: &mut impl FnMut(&[u8]) -> Result<(), Unmaskable>) -> Result<(), Unmaskable> {
        let unpacked = std::mem::take(self.decoder.get_mut());
        unpacked.chunks(PIECE).try_for_each(on)
    }
}
