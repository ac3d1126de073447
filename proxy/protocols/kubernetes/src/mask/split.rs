//! A stream of JSON documents, cut where it can be masked piece by piece.
//!
//! A document is masked whole when its end has come, so an event of a watch is given out with its last byte. A document
//! with an array `items` or `rows` at its top is not waited for: what is before the array is masked once the array
//! begins, then each element as it ends, then what comes after. Never is more held than one element.
//!
//! Only strings, brackets and commas are told apart here; [`object`] sees to the grammar of each piece. Pieces are put
//! together from the very bytes that came, so that what the client parses is what was cut.

use super::object::{self, Place};
use super::rules::Rules;
use super::{Masks, OBJECT_LIMIT, Unmaskable};
use proxy_core::mask::MaskCounts;

/// Closes what a list's head leaves open, to make it a document.
const HEAD_END: &str = "]}";
/// Opens what a list's tail closes.
const TAIL_START: &str = "{\"\":0";

/// What pieces are masked by, and where they go.
#[derive(Debug)]
pub(super) struct Sink<'a> {
    pub(super) masks: &'a Masks,
    pub(super) rules: &'a Rules,
    pub(super) counts: &'a mut MaskCounts,
    pub(super) out: &'a mut Vec<u8>,
}

/// Where the next byte is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Between documents.
    Outside,
    /// In a document that is held from its start.
    Document,
    /// Among the elements of a list.
    Elements(Place),
    /// In an element.
    Element(Place),
    /// Behind the elements of a list.
    Tail,
}

/// Masks a stream of documents.
#[derive(Debug)]
pub(super) struct Splitter {
    state: State,
    /// Bytes not yet given out.
    held: Vec<u8>,
    /// So many of them are given out, and only not yet dropped.
    from: usize,
    /// So many of them have been looked at.
    seen: usize,
    /// The first byte of the document.
    root: u8,
    /// Brackets open within `held`, strings aside.
    depth: usize,
    in_string: bool,
    /// The last byte was a backslash in a string.
    escaped: bool,
    /// The member that the next value at depth 1 belongs to: where its name starts and ends in `held`.
    key: (usize, usize),
    /// Where the string being read starts.
    string: usize,
    /// The next string at depth 1 is a name.
    names: bool,
    /// What may be next among elements.
    next: Next,
}

/// What may stand among the elements of a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Next {
    /// The first element or the end.
    First,
    /// An element.
    Element,
    /// A comma or the end.
    Comma,
}

impl Splitter {
    pub(super) fn new() -> Self {
        Self {
            state: State::Outside,
            held: Vec::new(),
            from: 0,
            seen: 0,
            root: 0,
            depth: 0,
            in_string: false,
            escaped: false,
            key: (0, 0),
            string: 0,
            names: true,
            next: Next::First,
        }
    }

    /// Takes bytes, gives out what is complete.
    pub(super) fn push(&mut self, bytes: &[u8], sink: &mut Sink<'_>) -> Result<(), Unmaskable> {
        self.held.extend_from_slice(bytes);
        while let Some(byte) = self.next() {
            self.step(byte, sink)?;
        }
        self.held.drain(..self.from);
        for place in [&mut self.seen, &mut self.key.0, &mut self.key.1, &mut self.string] {
            *place = place.saturating_sub(self.from);
        }
        self.from = 0;
        if self.held.len() > OBJECT_LIMIT {
            return Err(Unmaskable::TooLarge);
        }
        Ok(())
    }

    /// The stream has ended.
    pub(super) fn finish(&mut self, sink: &mut Sink<'_>) -> Result<(), Unmaskable> {
        match self.state {
            State::Outside => Ok(()),
            // a scalar ends with the stream
            State::Document if self.depth == 0 && !self.in_string => {
                self.give(self.held.len(), Place::Document, sink)
            }
            State::Document | State::Elements(_) | State::Element(_) | State::Tail => {
                Err(Unmaskable::Malformed)
            }
        }
    }

    /// The next byte that is not inside a string; strings are passed over.
    fn next(&mut self) -> Option<u8> {
        while self.in_string {
            let rest = self.held.get(self.seen..).unwrap_or_default();
            if self.escaped {
                if rest.is_empty() {
                    return None;
                }
                self.escaped = false;
                self.seen += 1;
                continue;
            }
            let Some(found) = memchr::memchr2(b'"', b'\\', rest) else {
                self.seen = self.held.len();
                return None;
            };
            self.seen += found + 1;
            if rest.get(found) == Some(&b'"') {
                self.in_string = false;
                self.end_string();
            } else {
                self.escaped = true;
            }
        }
        if self.is_inside() {
            // nothing but strings and brackets counts here
            let rest = self.held.get(self.seen..).unwrap_or_default();
            let plain = |byte: &u8| !matches!(byte, b'"' | b'{' | b'}' | b'[' | b']');
            self.seen += rest.iter().position(|byte| !plain(byte)).unwrap_or(rest.len());
        }
        let byte = self.held.get(self.seen).copied()?;
        self.seen += 1;
        Some(byte)
    }

    /// Whether the next byte is below what the splitter tells apart.
    fn is_inside(&self) -> bool {
        match self.state {
            State::Document | State::Tail => self.depth > 1,
            State::Element(_) => self.depth > 0,
            State::Outside | State::Elements(_) => false,
        }
    }

    fn end_string(&mut self) {
        if self.depth == 1 && self.names && matches!(self.state, State::Document | State::Tail) {
            self.key = (self.string, self.seen - 1);
            self.names = false;
        }
    }

    fn step(&mut self, byte: u8, sink: &mut Sink<'_>) -> Result<(), Unmaskable> {
        match self.state {
            State::Outside if byte.is_ascii_whitespace() => {
                self.pass(sink);
                return Ok(());
            }
            State::Outside => {
                self.state = State::Document;
                self.root = byte;
                self.names = true;
            }
            State::Elements(place) => return self.between(byte, place, sink),
            // numbers and words are separated by space
            State::Document if self.depth == 0 && byte.is_ascii_whitespace() => {
                let end = self.seen - 1;
                return self.give(end, Place::Document, sink);
            }
            State::Document | State::Element(_) | State::Tail => {}
        }
        match byte {
            b'"' => {
                self.in_string = true;
                self.string = self.seen;
            }
            b'{' | b'[' => self.open(byte, sink)?,
            b'}' | b']' => self.close(byte, sink)?,
            b',' => self.comma(sink)?,
            _ => {}
        }
        Ok(())
    }

    /// A bracket opens: a list that is not waited for, or anything else.
    fn open(&mut self, byte: u8, sink: &mut Sink<'_>) -> Result<(), Unmaskable> {
        self.depth += 1;
        let is_top = self.depth == 2 && byte == b'[' && matches!(self.state, State::Document | State::Tail);
        if !is_top || self.root != b'{' {
            return Ok(());
        }
        let place = match self.held.get(self.key.0..self.key.1) {
            Some(b"items") => Place::Item,
            Some(b"rows") => Place::Row,
            Some(_) | None => return Ok(()),
        };
        let head = self.take()?;
        let is_tail = self.state == State::Tail;
        let whole =
            if is_tail { format!("{TAIL_START}{head}{HEAD_END}") } else { format!("{head}{HEAD_END}") };
        let (before, after) = (if is_tail { TAIL_START.len() } else { 0 }, HEAD_END.len());
        frame(&whole, (before, after), sink)?;
        self.state = State::Elements(place);
        self.next = Next::First;
        self.depth = 0;
        Ok(())
    }

    fn close(&mut self, byte: u8, sink: &mut Sink<'_>) -> Result<(), Unmaskable> {
        match (self.state, self.depth) {
            // the list ends behind a number, a word or a string
            (State::Element(place), 0) if byte == b']' => {
                self.give(self.seen - 1, place, sink)?;
                self.end_list(sink);
                Ok(())
            }
            (_, 0) => Err(Unmaskable::Malformed),
            (state, 1) => {
                self.depth = 0;
                match state {
                    State::Document => self.give(self.seen, Place::Document, sink),
                    State::Element(place) => self.give(self.seen, place, sink),
                    State::Tail => {
                        let tail = self.take()?;
                        self.state = State::Outside;
                        frame(&format!("{TAIL_START}{tail}"), (TAIL_START.len(), 0), sink)
                    }
                    State::Outside | State::Elements(_) => Err(Unmaskable::Malformed),
                }
            }
            (_, depth) => {
                self.depth = depth - 1;
                Ok(())
            }
        }
    }

    fn comma(&mut self, sink: &mut Sink<'_>) -> Result<(), Unmaskable> {
        match (self.state, self.depth) {
            (State::Element(place), 0) => {
                self.give(self.seen - 1, place, sink)?;
                self.pass(sink);
                self.next = Next::Element;
            }
            (State::Document | State::Tail, 1) => self.names = true,
            _ => {}
        }
        Ok(())
    }

    /// A byte among elements.
    fn between(&mut self, byte: u8, place: Place, sink: &mut Sink<'_>) -> Result<(), Unmaskable> {
        match (byte, self.next) {
            (b']', Next::First | Next::Comma) => self.end_list(sink),
            (b',', Next::Comma) => {
                self.pass(sink);
                self.next = Next::Element;
            }
            _ if byte.is_ascii_whitespace() => self.pass(sink),
            (b',' | b']', _) | (_, Next::Comma) => return Err(Unmaskable::Malformed),
            (_, Next::First | Next::Element) => {
                self.state = State::Element(place);
                return self.step(byte, sink);
            }
        }
        Ok(())
    }

    /// The closing bracket of a list was just read; the document goes on.
    fn end_list(&mut self, sink: &mut Sink<'_>) {
        self.pass(sink);
        self.state = State::Tail;
        self.depth = 1;
        self.names = false;
    }

    /// Gives out what has been looked at as it is: space, commas, brackets.
    fn pass(&mut self, sink: &mut Sink<'_>) {
        sink.out.extend_from_slice(self.held.get(self.from..self.seen).unwrap_or_default());
        self.from = self.seen;
    }

    /// Masks and gives out what is held up to `end`.
    fn give(&mut self, end: usize, place: Place, sink: &mut Sink<'_>) -> Result<(), Unmaskable> {
        let piece = self.held.get(self.from..end).unwrap_or_default();
        let text = std::str::from_utf8(piece).map_err(|_not_utf8| Unmaskable::Malformed)?;
        object::mask(text, place, (sink.masks, sink.rules), sink.counts, sink.out)?;
        self.from = end;
        self.state = match place {
            Place::Document => State::Outside,
            Place::Item | Place::Row => State::Elements(place),
        };
        self.next = Next::Comma;
        Ok(())
    }

    /// What is held and has been looked at, given out by the caller.
    fn take(&mut self) -> Result<String, Unmaskable> {
        let piece = self.held.get(self.from..self.seen).unwrap_or_default().to_vec();
        self.from = self.seen;
        String::from_utf8(piece).map_err(|_not_utf8| Unmaskable::Malformed)
    }
}

/// Masks a document that was completed by `before` bytes at its start and `after` at its end, and gives out the rest.
fn frame(whole: &str, (before, after): (usize, usize), sink: &mut Sink<'_>) -> Result<(), Unmaskable> {
    let mut masked = Vec::with_capacity(whole.len());
    object::mask(whole, Place::Document, (sink.masks, sink.rules), sink.counts, &mut masked)?;
    let end = masked.len().saturating_sub(after);
    sink.out.extend_from_slice(masked.get(before..end).ok_or(Unmaskable::Malformed)?);
    Ok(())
}
