//! One JSON value masked: an object, a list's element, an event.
//!
//! Walked once: fields are masked on the way, and the texts that detectors must see are gathered into one piece for
//! their prefilter. Only where that cannot rule a finding out is each text looked at.

use super::header::{self, Header};
use super::rules::{Field, LAST_APPLIED, Rules};
use super::scan::{Scanner, Span};
use super::telling::{is_flag, is_telling, shown};
use super::{Masks, Unmaskable, value};
use proxy_core::mask::MaskCounts;
use std::sync::Arc;

/// Deepest nesting. The API server's own decoder allows 10,000; no object that is of use comes near.
const DEPTH_LIMIT: usize = 200;
/// So many annotations of one object inside the other are looked into.
const NESTING_LIMIT: usize = 4;
/// What stands between texts that are searched together: neither a letter nor a space.
const BETWEEN: u8 = 1;
/// Reasons whose messages speak of names alone.
const PLAIN_REASONS: [&str; 9] = [
    "AlreadyExists",
    "Conflict",
    "Expired",
    "MethodNotAllowed",
    "NotAcceptable",
    "NotFound",
    "ServiceUnavailable",
    "TooManyRequests",
    "Unauthorized",
];

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
    let edits = Walk::new(text, masks, rules, counts).run(place)?;
    let mut done = 0;
    for edit in edits {
        out.extend_from_slice(text.as_bytes().get(done..edit.start).unwrap_or_default());
        out.extend_from_slice(&edit.with);
        done = edit.end;
    }
    out.extend_from_slice(text.as_bytes().get(done..).unwrap_or_default());
    Ok(())
}

/// Bytes to replace.
#[derive(Debug)]
struct Edit {
    start: usize,
    end: usize,
    with: Vec<u8>,
}

/// A text that detectors must see, and the name before it that may give it away.
#[derive(Clone, Copy, Debug)]
struct Text {
    span: Span,
    context: Option<Span>,
    /// An object inside an annotation: decoded and masked as one.
    nested: bool,
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
    edits: Vec<Edit>,
    texts: Vec<Text>,
    /// All texts, for the prefilter.
    gathered: Vec<u8>,
    detects: bool,
    nesting: usize,
}

impl<'a> Walk<'a> {
    fn new(text: &'a str, masks: &'a Masks, rules: &'a Rules, counts: &'a mut MaskCounts) -> Self {
        let has = |needle: &[u8]| memchr::memmem::find(text.as_bytes(), needle).is_some();
        Self {
            text,
            scanner: Scanner::new(text),
            masks,
            rules,
            counts,
            path: String::new(),
            starts: Vec::new(),
            depth: 0,
            asks: has(b"\"Secret\"") || has(b"\"Status\""),
            edits: Vec::new(),
            texts: Vec::new(),
            gathered: Vec::new(),
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
        self.value(&Cover::Open, None)?;
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

    fn value(&mut self, cover: &Cover, context: Option<Span>) -> Result<(), Unmaskable> {
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            return Err(Unmaskable::TooDeep);
        }
        match self.scanner.peek() {
            Some(b'{') => self.object(cover)?,
            Some(b'[') => self.array(cover)?,
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

    fn object(&mut self, cover: &Cover) -> Result<(), Unmaskable> {
        let starts = self.starts.len();
        if self.asks {
            self.ask()?;
        }
        self.scanner.expect(b'{')?;
        let length = self.path.len();
        let mut named = None;
        if !self.scanner.eat(b'}') {
            loop {
                self.scanner.peek();
                let key = self.scanner.string()?;
                self.scanner.expect(b':')?;
                self.member(key, cover, &mut named)?;
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

    /// One member of an object. `named` is the value of the member `name` before it: `{name: PASSWORD, value: …}`.
    fn member(&mut self, key: Span, cover: &Cover, named: &mut Option<Span>) -> Result<(), Unmaskable> {
        let name = self.scanner.decode(key)?;
        let parent_is_map = self.is_free_map();
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(&name);
        self.gather(Text { span: key, context: None, nested: false })?;
        let starts = self.starts.len();
        if self.is_embedded(&name) {
            self.begin();
        }
        let covered = self.cover(cover);
        let is_string = self.scanner.peek() == Some(b'"');
        if is_string && name == LAST_APPLIED && matches!(covered, Cover::Open) {
            let span = self.scanner.string()?;
            self.texts.push(Text { span, context: None, nested: true });
        } else if is_string && name == "name" {
            *named = Some(self.peek_string()?);
            self.value(&covered, None)?;
        } else {
            let context = match named {
                Some(named) if name == "value" => Some(*named),
                Some(_) | None => (parent_is_map || is_telling(&name)).then_some(key),
            };
            self.value(&covered, context)?;
        }
        self.starts.truncate(starts);
        Ok(())
    }

    fn array(&mut self, cover: &Cover) -> Result<(), Unmaskable> {
        self.scanner.expect(b'[')?;
        if self.scanner.eat(b']') {
            return Ok(());
        }
        let is_items = self.is_items();
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
            self.value(cover, before)?;
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
            Cover::Open => self.gather(Text { span, context, nested: false }),
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

    /// Whether the elements of the array at the path are objects in their own right.
    fn is_items(&self) -> bool {
        self.relative() == "items"
    }

    /// Whether the member `name` is an object in its own right: of an event, or of a Table's row.
    fn is_embedded(&self, name: &str) -> bool {
        name == "object" && matches!(self.relative(), "object" | "rows.object")
    }

    /// Whether the object at the path is a map whose keys people choose.
    fn is_free_map(&self) -> bool {
        let last = self.path.rsplit('.').next().unwrap_or_default();
        matches!(last, "data" | "stringData" | "binaryData" | "annotations" | "parameters" | "env")
    }

    /// Asks the object that is next what it is.
    fn ask(&mut self) -> Result<(), Unmaskable> {
        let header = header::read(self.scanner.clone())?;
        let kind = match header.kind.as_ref() {
            "Secret" => Kind::Fields(Arc::clone(&self.rules.secrets)),
            "Status" if self.rules.withholds && !self.is_plain(&header) => Kind::Status,
            _ => return Ok(()),
        };
        self.starts.push(Start { offset: self.path.len(), kind });
        Ok(())
    }

    /// Whether a `Status` says nothing of values. RBAC's own refusals name the user and the verb.
    fn is_plain(&self, header: &Header<'_>) -> bool {
        PLAIN_REASONS.contains(&header.reason.as_ref())
            || (header.reason == "Forbidden" && self.text.contains(" is forbidden: User "))
    }

    /// Notes a text for the detectors.
    fn gather(&mut self, text: Text) -> Result<(), Unmaskable> {
        if !self.detects || text.span.start == text.span.end {
            return Ok(());
        }
        if let Some(context) = text.context {
            self.gathered.extend_from_slice(shown(&self.scanner.decode(context)?).as_bytes());
            self.gathered.push(b'=');
        }
        self.gathered.extend_from_slice(self.scanner.decode(text.span)?.as_bytes());
        self.gathered.push(BETWEEN);
        self.texts.push(text);
        Ok(())
    }

    fn detect(&mut self) -> Result<(), Unmaskable> {
        let may_match = !self.gathered.is_empty() && self.masks.masker.row_may_match(&self.gathered);
        for text in std::mem::take(&mut self.texts) {
            if text.nested {
                self.nested(text.span)?;
            } else if may_match {
                self.detect_text(text)?;
            }
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
        let mut done = 0;
        for edit in edits {
            out.extend_from_slice(value.as_bytes().get(done..edit.start).unwrap_or_default());
            out.extend_from_slice(&edit.with);
            done = edit.end;
        }
        out.extend_from_slice(value.as_bytes().get(done..).unwrap_or_default());
        self.replace(span, Some(&String::from_utf8_lossy(&out)));
        Ok(())
    }
}
