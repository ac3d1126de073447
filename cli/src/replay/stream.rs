//! Recorded terminals and exec streams, of any protocol that records them.

use crate::output::{inline, printable};
use crate::replay::renderer::{Part, Renderer};
use proxy_audit::replay::Refusal;
use proxy_audit::stream::StreamDecoder;

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
            return frames.into_iter().map(Part::Stream).collect();
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
