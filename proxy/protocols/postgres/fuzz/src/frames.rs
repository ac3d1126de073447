//! Frames as the protocol's description has them, cut and built independently of the gateway.

/// One frame: its tag and its body.
pub type Frame<'a> = (u8, &'a [u8]);

/// The whole frames that bytes begin with, and what is left over.
///
/// # Panics
/// A length cannot be.
pub fn cut(mut bytes: &[u8]) -> (Vec<Frame<'_>>, &[u8]) {
    let mut frames = Vec::new();
    while let Some((&[tag, a, b, c, d], _)) = bytes.split_first_chunk() {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        assert!(length >= 4 && length <= i32::MAX as usize, "a frame {tag:#04x} of {length} bytes");
        let Some((frame, rest)) = bytes.split_at_checked(length + 1) else { break };
        frames.push((tag, &frame[5..]));
        bytes = rest;
    }
    (frames, bytes)
}

/// The one frame that bytes are.
///
/// # Panics
/// They are not exactly one.
pub fn only(bytes: &[u8]) -> Frame<'_> {
    let (frames, rest) = cut(bytes);
    assert!(frames.len() == 1 && rest.is_empty(), "not one whole frame: {bytes:?}");
    frames[0]
}

/// Builds a frame.
pub fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![tag];
    frame.extend((body.len() as u32 + 4).to_be_bytes());
    frame.extend(body);
    frame
}

/// A frame whose body is one string.
pub fn text(tag: u8, text: &str) -> Vec<u8> {
    frame(tag, &[text.as_bytes(), b"\0"].concat())
}

/// Values as `DataRow` and binary `COPY` hold them, behind their count.
pub fn values(values: &[Option<Vec<u8>>]) -> Vec<u8> {
    let mut body = (values.len() as u16).to_be_bytes().to_vec();
    for value in values {
        match value {
            None => body.extend((-1_i32).to_be_bytes()),
            Some(value) => {
                body.extend((value.len() as i32).to_be_bytes());
                body.extend(value);
            }
        }
    }
    body
}

/// The values of such a body.
///
/// # Panics
/// It is not one.
pub fn read_values(body: &[u8]) -> Vec<Option<&[u8]>> {
    let (count, mut rest) = body.split_first_chunk().expect("a count");
    let values = (0..u16::from_be_bytes(*count)).map(|_| {
        let (length, after) = rest.split_first_chunk().expect("a length");
        let length = i32::from_be_bytes(*length);
        let taken = usize::try_from(length).unwrap_or(0);
        assert!(length >= -1 && after.len() >= taken, "a value of {length} bytes");
        rest = &after[taken..];
        (length >= 0).then(|| &after[..taken])
    });
    let values = values.collect();
    assert!(rest.is_empty(), "bytes follow the last value");
    values
}

/// Parts of a stream: of so many bytes each, 0 is all at once.
pub fn pieces(bytes: &[u8], step: u8) -> Vec<Vec<u8>> {
    let step = if step == 0 { bytes.len().max(1) } else { usize::from(step) };
    bytes.chunks(step).map(<[u8]>::to_vec).collect()
}

/// Whether `part` is somewhere in `bytes`.
pub fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
