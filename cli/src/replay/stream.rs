//! Recorded terminals and exec streams, of any protocol that records them.

use crate::output::{inline, printable};
use crate::replay::renderer::{Part, Renderer};
use proxy_audit::replay::Refusal;
use proxy_audit::stream::{StreamDecoder, StreamEvent, StreamFrame};

/// Shows recorded streams; bytes that are none are shown as text.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    decoder: StreamDecoder,
    /// The bytes are not a recorded stream.
    foreign: bool,
}

impl Renderer for Stream {
    fn begin(&mut self, text: &str) -> (String, String) {
        *self = Self::default();
        ("$ ".to_owned(), printable(text))
    }

    fn feed(&mut self, frames: &[u8]) -> Vec<Part> {
        if self.foreign {
            return vec![Part::Text(printable(&String::from_utf8_lossy(frames)))];
        }
        if let Ok(frames) = self.decoder.feed(frames) {
            return frames.into_iter().map(part).collect();
        }
        self.foreign = true;
        vec![Part::Text(printable(&String::from_utf8_lossy(frames)))]
    }

    fn refused(&self, refusal: &Refusal) -> String {
        let lines = [&refusal.message, &refusal.hint].into_iter().filter(|text| !text.is_empty());
        lines.map(|text| ["portcullis: ", &inline(text), "\n"].concat()).collect()
    }

    fn finish(&mut self) -> Vec<Part> {
        match self.decoder.unfinished() {
            0 => Vec::new(),
            bytes => vec![Part::Text(format!("({bytes} bytes of an unfinished frame)\n"))],
        }
    }
}

/// Why one of several forwarded connections failed is told in words: all that it is known by is its number.
fn part(frame: StreamFrame) -> Part {
    if let StreamEvent::Data { channel, bytes } = &frame.event
        && let Some(connection) = channel.failed()
    {
        let (number, why) = (u64::from(connection) + 1, String::from_utf8_lossy(bytes));
        return Part::Text(format!("(forwarded connection {number} failed: {})\n", inline(why.trim())));
    }
    Part::Stream(frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxy_audit::stream::{Channel, StreamEncoder};
    use std::time::Duration;

    #[test]
    fn a_failure_is_told_with_the_number_of_its_connection() {
        let mut frames = Vec::new();
        let mut encoder = StreamEncoder::default();
        encoder.data(Duration::ZERO, Channel::tunnel(1).answering(), b"pong", &mut frames);
        encoder.data(Duration::ZERO, Channel::failure(1), b"connection\nrefused\n", &mut frames);
        let texts: Vec<_> = Stream::default()
            .feed(&frames)
            .iter()
            .map(|part| match part {
                Part::Stream(_) => "a frame".to_owned(),
                Part::Text(_) | Part::Table(_) => part.text(),
            })
            .collect();
        assert_eq!(texts, ["a frame", "(forwarded connection 2 failed: connection\u{fffd}refused)\n"]);
    }
}
