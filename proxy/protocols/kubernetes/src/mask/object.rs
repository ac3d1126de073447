//! One JSON value masked: an object, a list's element, an event.
//!
//! Walked once: fields are masked on the way, and the texts that detectors must see are gathered into one piece for
//! their prefilter. Only where that cannot rule a finding out is each text looked at.

use super::header;
use super::rules::{Field, LAST_APPLIED, Rules};
use super::scan::{Scanner, Span};
use super::search::{Text, Texts};
use super::telling::{is_flag, is_free_map, is_telling, is_word};
use super::{Masks, Unmaskable, value};
use proxy_core::mask::MaskCounts;
use std::sync::Arc;

/// Deepest nesting. The API server's own decoder allows 10,000; no object that is of use comes near.
const DEPTH_LIMIT: usize = 200;
/// So many annotations of one object inside the other are looked into.
const NESTING_LIMIT: usize = 4;
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
    !masks.masker.has_detectors() && !rules.any() && !rules.withholds && lacks(b"Secret")
}

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

/// How the values below a node are masked.
#[derive(Clone, Debug)]
enum Cover {
    /// By detectors.
    Open,
    /// As this field.
    Field(Arc<[Field]>, usize),
    /// An error's text: withheld.
    Message,
}

/// Where an object begins: how much of the path is outside it, and its rules.
#[derive(Debug)]
struct Start {
    offset: usize,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Fields(Arc<[Field]>),
    /// A `Status` whose messages may quote what is masked.
    Status,
}

/// What the members of one object have to do with each other.
#[derive(Debug)]
struct Siblings {
    /// People choose their names.
    are_free: bool,
    /// The value of the member `name` that came before: `{name: PASSWORD, value: …}`.
    named: Option<Span>,
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
    nested: Vec<Span>,
    detects: bool,
    nesting: usize,
}

impl<'a> Walk<'a> {
    fn new(text: &'a str, masks: &'a Masks, rules: &'a Rules, counts: &'a mut MaskCounts) -> Self {
        let has = |needle: &[u8]| memchr::memmem::find(text.as_bytes(), needle).is_some();
        let asks = has(b"\"Secret\"") || (rules.withholds && has(b"\"Status\""));
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
            nesting: 0,
        }
    }

    fn run(mut self, place: Place) -> Result<Vec<Edit>, Unmaskable> {
        let is_start = match place {
            Place::Document | Place::Item => true,
            Place::Row => {
                self.path.push_str("rows");
                false
            }
        };
        if is_start {
            self.begin();
        }
        self.value(&Cover::Open, None, "")?;
        if self.scanner.peek().is_some() {
            return Err(Unmaskable::Malformed);
        }
        self.detect()?;
        self.edits.sort_by_key(|edit| edit.start);
        Ok(self.edits)
    }

    /// An object of the request begins here.
    fn begin(&mut self) {
        self.starts
            .push(Start { offset: self.path.len(), kind: Kind::Fields(Arc::clone(&self.rules.fields)) });
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
        let mut siblings = Siblings { are_free: is_free_map(name), named: None };
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
        if self.detects && !is_word(&name) {
            self.gather(key, None)?;
        }
        let starts = self.starts.len();
        let covered = if self.tracks { self.enter(&name, cover) } else { Cover::Open };
        let is_string = self.scanner.peek() == Some(b'"');
        if is_string && name == LAST_APPLIED && matches!(covered, Cover::Open) {
            let span = self.scanner.string()?;
            self.nested.push(span);
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
        Ok(())
    }

    /// Goes down to a member: its path, its rules, what covers it.
    fn enter(&mut self, name: &str, cover: &Cover) -> Cover {
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(name);
        if self.is_embedded(name) {
            self.begin();
        }
        self.cover(cover)
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
            Cover::Open => self.gather(span, context),
            Cover::Message => {
                self.counts.add("message");
                self.replace(span, Some("[MASKED:message]"));
                Ok(())
            }
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
            Cover::Open => return,
            Cover::Message => "message",
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

    /// What covers the member that the path has come to.
    fn cover(&self, cover: &Cover) -> Cover {
        if !matches!(cover, Cover::Open) {
            return cover.clone();
        }
        for start in &self.starts {
            let path = self.path.get(start.offset..).unwrap_or_default();
            let path = path.strip_prefix('.').unwrap_or(path);
            match &start.kind {
                Kind::Status if matches!(path, "message" | "details.causes.message") => {
                    return Cover::Message;
                }
                Kind::Status => {}
                Kind::Fields(fields) => {
                    if let Some(index) = fields.iter().position(|field| field.matches(path)) {
                        return Cover::Field(Arc::clone(fields), index);
                    }
                }
            }
        }
        Cover::Open
    }

    /// The path within the innermost object.
    fn relative(&self) -> &str {
        let offset = self.starts.last().map_or(0, |start| start.offset);
        let path = self.path.get(offset..).unwrap_or_default();
        path.strip_prefix('.').unwrap_or(path)
    }

    /// Whether the member `name` is an object in its own right: of an event, or of a Table's row.
    fn is_embedded(&self, name: &str) -> bool {
        name == "object" && matches!(self.relative(), "object" | "rows.object")
    }

    /// Asks the object that is next what it is.
    fn ask(&mut self) -> Result<(), Unmaskable> {
        let header = header::read(self.scanner.clone())?;
        let kind = match header.kind.as_ref() {
            "Secret" => Kind::Fields(Arc::clone(&self.rules.secrets)),
            "Status" if self.rules.withholds && !header.is_plain() => Kind::Status,
            _ => return Ok(()),
        };
        self.starts.push(Start { offset: self.path.len(), kind });
        Ok(())
    }

    /// Notes a text for the detectors.
    fn gather(&mut self, span: Span, context: Option<Span>) -> Result<(), Unmaskable> {
        if self.detects { self.texts.note(&self.scanner, span, context) } else { Ok(()) }
    }

    fn detect(&mut self) -> Result<(), Unmaskable> {
        for span in std::mem::take(&mut self.nested) {
            self.nested(span)?;
        }
        for text in self.texts.suspects(&self.masks.masker) {
            self.detect_text(text)?;
        }
        Ok(())
    }

    fn detect_text(&mut self, text: Text) -> Result<(), Unmaskable> {
        let value = self.scanner.decode(text.span)?;
        let context = text.context.map(|context| self.scanner.decode(context)).transpose()?;
        if let Some(masked) = value::text(self.masks, context.as_deref(), &value, self.counts) {
            self.replace(text.span, Some(&masked));
        }
        Ok(())
    }

    /// An object kept as text in an annotation.
    fn nested(&mut self, span: Span) -> Result<(), Unmaskable> {
        let value = self.scanner.decode(span)?;
        let mut out = Vec::with_capacity(value.len());
        let mut walk = Walk::new(&value, self.masks, self.rules, self.counts);
        walk.nesting = self.nesting + 1;
        let edits =
            if walk.nesting > NESTING_LIMIT { Err(Unmaskable::TooDeep) } else { walk.run(Place::Item) };
        let Ok(edits) = edits else {
            self.counts.add("last-applied");
            self.replace(span, Some("[MASKED:last-applied]"));
            return Ok(());
        };
        if edits.is_empty() {
            return Ok(());
        }
        apply(&value, edits, &mut out);
        self.replace(span, Some(&String::from_utf8_lossy(&out)));
        Ok(())
    }
}
