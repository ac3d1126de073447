//! Cuts a byte stream into frames: one tag byte, a big-endian length that counts itself, a body
//! (<https://www.postgresql.org/docs/18/protocol-message-formats.html>).
//!
//! Strict: a length that cannot be, or over the limit, is an error before any of the body is waited for.

/// Tag and size of the frame that a buffer begins with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Header {
    /// The tag.
    pub(crate) tag: u8,
    /// Bytes of the whole frame, tag and length included.
    pub(crate) length: usize,
}

/// Why a stream cannot be cut any further.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum FrameError {
    /// A length that cannot be.
    #[error("message {tag:#04x} has the impossible length {length}")]
    Length {
        /// The tag before it.
        tag: u8,
        /// The length as sent.
        length: u32,
    },
    /// More than is taken.
    #[error("message {tag:#04x} of {length} bytes is over the limit of {limit}")]
    TooLarge {
        /// The tag before it.
        tag: u8,
        /// The length as sent.
        length: u32,
        /// The limit, in bytes.
        limit: usize,
    },
}

/// Bytes before a body.
pub(crate) const HEADER_BYTES: usize = 5;

/// Reads the header at the start of `bytes`; `None`: it is not all there yet.
///
/// # Errors
/// The length cannot be, or is over `limit` bytes.
pub(crate) fn header(bytes: &[u8], limit: usize) -> Result<Option<Header>, FrameError> {
    let Some((&[tag, a, b, c, d], _)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let length = u32::from_be_bytes([a, b, c, d]);
    if length < 4 || length > i32::MAX.unsigned_abs() {
        return Err(FrameError::Length { tag, length });
    }
    let whole = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(1);
    if whole > limit {
        return Err(FrameError::TooLarge { tag, length, limit });
    }
    Ok(Some(Header { tag, length: whole }))
}

/// The body of one whole frame.
pub(crate) fn body(frame: &[u8]) -> &[u8] {
    frame.get(HEADER_BYTES..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{FrameError, Header, header};
    use proptest::prelude::{any, prop, proptest};

    fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut frame = vec![tag];
        frame.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        frame.extend(body);
        frame
    }

    fn cut(stream: &mut Vec<u8>, limit: usize) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while let Ok(Some(Header { length, .. })) = header(stream, limit) {
            if stream.len() < length {
                break;
            }
            frames.push(stream.drain(..length).collect());
        }
        frames
    }

    proptest! {
        #[test]
        fn the_same_frames_come_out_wherever_the_stream_is_split(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6),
        ) {
            let frames: Vec<Vec<u8>> = bodies.iter().map(|body| frame(b'Q', body)).collect();
            let stream = frames.concat();
            for split in 0..=stream.len() {
                let mut buffer = stream[..split].to_vec();
                let mut got = cut(&mut buffer, 1024);
                buffer.extend_from_slice(&stream[split..]);
                got.extend(cut(&mut buffer, 1024));
                assert_eq!(got, frames);
                assert!(buffer.is_empty());
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..16)) {
            drop(header(&bytes, 100));
        }
    }

    #[test]
    fn a_length_that_does_not_count_itself_is_an_error() {
        assert_eq!(header(b"Q\0\0\0\x03", 100), Err(FrameError::Length { tag: b'Q', length: 3 }));
        assert_eq!(
            header(b"Q\xff\xff\xff\xff", usize::MAX),
            Err(FrameError::Length { tag: b'Q', length: u32::MAX })
        );
    }

    #[test]
    fn a_frame_over_the_limit_is_an_error_before_its_body_arrives() {
        assert!(matches!(header(b"Q\0\0\x10\0", 100), Err(FrameError::TooLarge { .. })));
    }
}
