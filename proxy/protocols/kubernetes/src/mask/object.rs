//! One JSON value masked: an object, a list's element, an event.
//!
//! Walked once: fields are masked on the way, and the texts that detectors must see are gathered into one piece for
//! their prefilter. Only where that cannot rule a finding out is each text looked at.

mod covers;
mod managed;
mod texts;

use super::header;
use super::rules::{Rules, Withholds};
use super::scan::{Scanner, Span};
use super::search::Texts;
use super::telling::{is_flag, is_free_map, is_telling, is_word};
use super::{Masks, Unmaskable, value};
use covers::{Cover, Start};
use proxy_core::mask::MaskCounts;
use texts::Nested;

/// Deepest nesting. The API server's own decoder allows 10,000; no object that is of use comes near.
const DEPTH_LIMIT: usize = 200;

/// What a value is within the answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    /// A whole document: an object, a list, a Table, an event.
    Document,
    /// An element of a list's `items`.
    Item,
    /// An element of a Table's `rows`.
    Row,
}

/// Appends `text` masked. Borrowed parts are copied byte for byte.
pub(super) fn mask(
    text: &str,
    place: Place,
    (masks, rules): (&Masks, &Rules),
    counts: &mut MaskCounts,
    out: &mut Vec<u8>,
) -> Result<(), Unmaskable> {
    if is_clear(text, masks, rules) {
        out.extend_from_slice(text.as_bytes());
        return Ok(());
    }
    let edits = Walk::new(text, masks, rules, counts).run(place)?;
    apply(text, edits, out);
    Ok(())
}

/// Nothing in it can be masked, whatever it is: only a Secret could be, and the word is nowhere, annotations included.
fn is_clear(text: &str, masks: &Masks, rules: &Rules) -> bool {
    let lacks = |word: &[u8]| memchr::memmem::find(text.as_bytes(), word).is_none();
    let is_quiet = rules.withholds == Withholds::Nothing || lacks(STATUS);
    !masks.masker.has_detectors() && !rules.any() && is_quiet && lacks(b"Secret")
}

/// The kind of what says how a request went.
const STATUS: &[u8] = b"\"Status\"";

/// Appends `text` with edits, in order, made.
fn apply(text: &str, edits: Vec<Edit>, out: &mut Vec<u8>) {
    let mut done = 0;
    for edit in edits {
        out.extend_from_slice(text.as_bytes().get(done..edit.start).unwrap_or_default());
        out.extend_from_slice(&edit.with);
        done = edit.end;
    }
    out.extend_from_slice(text.as_bytes().get(done..).unwrap_or_default());
}

/// Bytes to replace.
#[derive(Debug)]
struct Edit {
    start: usize,
    end: usize,
    with: Vec<u8>,
}

/// What the members of one object have to do with each other.
#[derive(Debug)]
struct Siblings {
    /// People choose their names.
    are_free: bool,
    /// They are annotations, which may hold whole objects.
    are_annotations: bool,
    /// The value of the member `name` that came before: `{name: PASSWORD, value: …}`.
    named: Option<Span>,
}

/// What a text stands in that is an object by itself.
#[derive(Clone, Copy, Debug, Default)]
struct Within {
    /// So many annotations, one inside the other.
    annotations: usize,
    /// A Secret: what the text says of data is the Secret's.
    secret: bool,
}

struct Walk<'a> {
    text: &'a str,
    scanner: Scanner<'a>,
    masks: &'a Masks,
    rules: &'a Rules,
    counts: &'a mut MaskCounts,
    path: String,
    starts: Vec<Start>,
    depth: usize,
    /// Somewhere stands `"Secret"` or `"Status"`: objects are asked what they are.
    asks: bool,
    /// Some field may be masked, so that paths matter.
    tracks: bool,
    edits: Vec<Edit>,
    texts: Texts,
    /// Objects inside annotations: decoded and masked as such.
    nested: Vec<Nested>,
    detects: bool,
    within: Within,
    /// In managed fields: the path of the field that they name.
    managed: Option<String>,
}

impl<'a> Walk<'a> {
    fn new(text: &'a str, masks: &'a Masks, rules: &'a Rules, counts: &'a mut MaskCounts) -> Self {
        let has = |needle: &[u8]| memchr::memmem::find(text.as_bytes(), needle).is_some();
        let asks = has(b"\"Secret\"") || (rules.withholds != Withholds::Nothing && has(STATUS));
        Self {
            text,
            scanner: Scanner::new(text),
            masks,
            rules,
            counts,
            path: String::new(),
            starts: Vec::new(),
            depth: 0,
            asks,
            tracks: asks || rules.any(),
            edits: Vec::new(),
            texts: Texts::default(),
            nested: Vec::new(),
            detects: masks.masker.has_detectors(),
            within: Within::default(),
            managed: None,
        }
    }

    fn run(mut self, place: Place) -> Result<Vec<Edit>, Unmaskable> {
        // a list of some kind, or one object with a field of that name
        self.begin();
        match place {
            Place::Document => {}
            Place::Item => {
                self.path.push_str("items");
                self.begin();
            }
            Place::Row => self.path.push_str("rows"),
        }
        self.value(&Cover::Open, None, "")?;
        if self.scanner.peek().is_some() {
            return Err(Unmaskable::Malformed);
        }
        self.detect()?;
        self.edits.sort_by_key(|edit| edit.start);
        Ok(self.edits)
    }

    /// `name` is that of the member which the value is, or which the list is that it stands in.
    fn value(&mut self, cover: &Cover, context: Option<Span>, name: &str) -> Result<(), Unmaskable> {
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            return Err(Unmaskable::TooDeep);
        }
        match self.scanner.peek() {
            Some(b'{') => self.object(cover, name)?,
            Some(b'[') => self.array(cover, name)?,
            Some(b'"') => {
                let span = self.scanner.string()?;
                self.string(span, cover, context)?;
            }
            Some(_) => {
                let start = self.scanner.at();
                self.scanner.scalar()?;
                self.scalar(start, cover);
            }
            None => return Err(Unmaskable::Malformed),
        }
        self.depth -= 1;
        Ok(())
    }

    fn object(&mut self, cover: &Cover, name: &str) -> Result<(), Unmaskable> {
        let starts = self.starts.len();
        if self.asks {
            self.ask()?;
        }
        self.scanner.expect(b'{')?;
        let length = self.path.len();
        let mut siblings =
            Siblings { are_free: is_free_map(name), are_annotations: name == "annotations", named: None };
        if !self.scanner.eat(b'}') {
            loop {
                self.scanner.peek();
                let key = self.scanner.string()?;
                self.scanner.expect(b':')?;
                self.member(key, cover, &mut siblings)?;
                self.path.truncate(length);
                if self.scanner.eat(b'}') {
                    break;
                }
                self.scanner.expect(b',')?;
            }
        }
        self.starts.truncate(starts);
        Ok(())
    }

    /// One member of an object.
    fn member(&mut self, key: Span, cover: &Cover, siblings: &mut Siblings) -> Result<(), Unmaskable> {
        let name = self.scanner.decode(key)?;
        let starts = self.starts.len();
        let managed = self.managed.as_ref().map(String::len);
        let covered = if self.tracks { self.enter(&name, cover) } else { Cover::Open };
        let is_masked = self.tracks && self.manage(&name, key);
        if self.detects && !is_masked && !is_word(&name) {
            self.gather(key, None)?;
        }
        let is_string = self.scanner.peek() == Some(b'"');
        if is_string && matches!(covered, Cover::Open) && self.may_nest(&name, siblings)? {
            self.nest(&name)?;
        } else if is_string && name == "name" {
            siblings.named = Some(self.peek_string()?);
            self.value(&covered, None, &name)?;
        } else {
            let context = match siblings.named {
                Some(named) if name == "value" => Some(named),
                Some(_) | None => (siblings.are_free || is_telling(&name)).then_some(key),
            };
            self.value(&covered, context, &name)?;
        }
        self.starts.truncate(starts);
        self.unmanage(managed);
        Ok(())
    }

    fn array(&mut self, cover: &Cover, name: &str) -> Result<(), Unmaskable> {
        self.scanner.expect(b'[')?;
        if self.scanner.eat(b']') {
            return Ok(());
        }
        let is_items = self.tracks && self.relative() == "items";
        let mut flag = None;
        loop {
            let starts = self.starts.len();
            if is_items {
                self.begin();
            }
            let before = flag.take();
            if self.scanner.peek() == Some(b'"') {
                let span = self.peek_string()?;
                flag = is_flag(&self.scanner.decode(span)?).then_some(span);
            }
            self.value(cover, before, name)?;
            self.starts.truncate(starts);
            if self.scanner.eat(b']') {
                return Ok(());
            }
            self.scanner.expect(b',')?;
        }
    }

    /// The string that is next, not taken.
    fn peek_string(&self) -> Result<Span, Unmaskable> {
        self.scanner.clone().string()
    }

    fn string(&mut self, span: Span, cover: &Cover, context: Option<Span>) -> Result<(), Unmaskable> {
        match cover {
            Cover::Withheld(name) => {
                self.counts.add(name);
                self.replace(span, Some(&format!("[MASKED:{name}]")));
                Ok(())
            }
            Cover::Quoting if texts::quotes_object(&self.scanner.decode(span)?) => {
                self.string(span, &Cover::Withheld("message"), None)
            }
            Cover::Open | Cover::Quoting => self.gather(span, context),
            Cover::Field(fields, index) => {
                let Some(field) = fields.get(*index) else { return Err(Unmaskable::Malformed) };
                let value = self.scanner.decode(span)?;
                let masked = value::field(self.masks, field, &value, self.counts);
                self.replace(span, masked.as_deref());
                Ok(())
            }
        }
    }

    /// Numbers and the like below a masked field: typed clients read NULL as nothing, and text not at all.
    fn scalar(&mut self, start: usize, cover: &Cover) {
        let name = match cover {
            Cover::Open | Cover::Quoting => return,
            Cover::Withheld(name) => name,
            Cover::Field(fields, index) => fields.get(*index).map_or("field", |field| field.name.as_str()),
        };
        let is_null = self.text.get(start..self.scanner.at()) == Some("null");
        if !is_null {
            self.counts.add(name);
            self.edits.push(Edit { start, end: self.scanner.at(), with: b"null".to_vec() });
        }
    }

    /// Replaces a string, quotes included; `None` is NULL.
    fn replace(&mut self, span: Span, value: Option<&str>) {
        let with = value.map_or_else(|| b"null".to_vec(), value::quoted);
        self.edits.push(Edit { start: span.start.saturating_sub(1), end: span.end + 1, with });
    }
}
