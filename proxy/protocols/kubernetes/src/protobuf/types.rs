//! The table of types: which field is called what in JSON, and what it holds.
//!
//! `types.txt` is written by `e2e/cluster/protobuf` from the tags of the Go types in `k8s.io/api`, by which API server
//! and clients themselves encode. The `.proto` files would not do: they do not say which members stand inline, nor what
//! JSON leaves out. Numbers are never given twice, so a newer table reads what older clients write.

use std::collections::HashMap;
use std::sync::LazyLock;

/// The table. Read once, when the first protobuf comes.
pub(super) static TYPES: LazyLock<Types> = LazyLock::new(|| Types::read(include_str!("types.txt")));

/// Every type that is known.
#[derive(Debug, Default)]
pub(super) struct Types {
    /// From version and kind; `*` is every version.
    bodies: HashMap<(&'static str, &'static str), usize>,
    messages: Vec<Message>,
}

/// A message.
#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) name: &'static str,
    /// By number.
    fields: Vec<Field>,
}

/// A field of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    number: u64,
    /// In JSON.
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) holds: Holds,
    /// JSON leaves it out when it is empty.
    pub(super) omits_empty: bool,
}

/// How often a field stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Shape {
    One,
    List,
    /// From texts.
    Map,
}

/// What a field holds. Messages are places in the table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Holds {
    Bool,
    Bytes,
    Double,
    Int,
    IntOrString,
    /// A list of texts in a message of its own.
    Items,
    /// JSON within protobuf.
    Json,
    Message(usize),
    MicroTime,
    /// A schema, or whether there is any.
    OrBool(usize),
    /// One schema or several.
    OrList(usize),
    /// A schema or names.
    OrTexts(usize),
    Quantity,
    Text,
    Time,
}

impl Field {
    /// Whether the members of the message stand in the object around it.
    pub(super) fn is_inline(&self) -> bool {
        self.name == "."
    }
}

impl Message {
    pub(super) fn field(&self, number: u64) -> Option<&Field> {
        let at = self.fields.binary_search_by_key(&number, |field| field.number).ok()?;
        self.fields.get(at)
    }

    /// Whether it has a field of such a name, or one whose members stand in its place, which is not looked into.
    pub(super) fn has(&self, is: impl Fn(&str) -> bool) -> bool {
        self.fields.iter().any(|field| field.is_inline() || is(field.name))
    }
}

impl Types {
    /// The message of a body that says this of itself.
    pub(super) fn body(&self, version: &str, kind: &str) -> Option<usize> {
        self.bodies.get(&(version, kind)).or_else(|| self.bodies.get(&("*", kind))).copied()
    }

    /// A message of the table. One that is not there has no fields.
    pub(super) fn message(&self, at: usize) -> &Message {
        static NONE: Message = Message { name: "nothing", fields: Vec::new() };
        self.messages.get(at).unwrap_or(&NONE)
    }

    /// Reads the table. A line that is not understood is as if it were not there, which a test rules out.
    fn read(text: &'static str) -> Self {
        let mut types = Self::default();
        let mut places = HashMap::new();
        for name in text.lines().filter_map(|line| line.strip_prefix("message ")) {
            places.insert(name, types.messages.len());
            types.messages.push(Message { name, fields: Vec::new() });
        }
        let mut current = None;
        for line in text.lines() {
            let mut words = line.split(' ');
            match words.next() {
                Some("kind") => types.add_body(words, &places),
                Some("message") => {
                    current = words.next().and_then(|name| places.get(name)).copied();
                }
                Some(number) => {
                    let message = current.and_then(|at| types.messages.get_mut(at));
                    let field = field(number, words, &places);
                    if let (Some(message), Some(field)) = (message, field) {
                        message.fields.push(field);
                    }
                }
                None => {}
            }
        }
        types
    }

    fn add_body(
        &mut self,
        mut words: impl Iterator<Item = &'static str>,
        places: &HashMap<&'static str, usize>,
    ) {
        if let (Some(version), Some(kind), Some(message)) = (words.next(), words.next(), words.next())
            && let Some(place) = places.get(message)
        {
            self.bodies.insert((version, kind), *place);
        }
    }
}

/// One line of the table.
fn field(
    number: &str,
    mut words: impl Iterator<Item = &'static str>,
    places: &HashMap<&'static str, usize>,
) -> Option<Field> {
    let number = number.parse().ok()?;
    let (name, type_) = (words.next()?, words.next()?);
    let message = words.next().and_then(|name| places.get(name)).copied();
    let (shape, type_) = if let Some(type_) = type_.strip_prefix("[]") {
        (Shape::List, type_)
    } else if let Some(type_) = type_.strip_prefix("{}") {
        (Shape::Map, type_)
    } else {
        (Shape::One, type_)
    };
    let (omits_empty, type_) = match type_.strip_prefix('?') {
        Some(type_) => (true, type_),
        None => (false, type_),
    };
    let holds = match type_ {
        "bool" => Holds::Bool,
        "bytes" => Holds::Bytes,
        "double" => Holds::Double,
        "int" => Holds::Int,
        "int-or-string" => Holds::IntOrString,
        "items" => Holds::Items,
        "json" => Holds::Json,
        "message" => Holds::Message(message?),
        "microtime" => Holds::MicroTime,
        "or-bool" => Holds::OrBool(message?),
        "or-list" => Holds::OrList(message?),
        "or-texts" => Holds::OrTexts(message?),
        "quantity" => Holds::Quantity,
        "text" => Holds::Text,
        "time" => Holds::Time,
        _ => return None,
    };
    Some(Field { number, name, shape, holds, omits_empty })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_understood() {
        let text = include_str!("types.txt");
        let of = |word: &str| text.lines().filter(|line| line.starts_with(word)).count();
        let fields = text.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).count();
        assert_eq!(TYPES.bodies.len(), of("kind "));
        assert_eq!(TYPES.messages.len(), of("message "));
        assert_eq!(TYPES.messages.iter().map(|message| message.fields.len()).sum::<usize>(), fields);
        let all = of("kind ") + of("message ") + of("#") + fields;
        assert_eq!(text.lines().count(), all);
        for message in &TYPES.messages {
            assert!(message.fields.is_sorted_by(|a, b| a.number < b.number), "{}", message.name);
        }
    }
}
