//! A record's bytes, looked over without building the record.
//!
//! [`scan`] knows the one byte form as `encode` writes it, and nothing else. What it takes, a decoder takes as well and
//! would encode to the very same bytes; what it does not take may still be a record, and only decoding tells. So
//! whoever needs little of most records (`verify`) or has to know that a form is canonical ([`crate::record`]) asks
//! here first.

use crate::encode::{ATTRIBUTE, BODY, EVENT_NAME, OBSERVED_TIME, SEVERITY_NUMBER, SEVERITY_TEXT, TIME};
use crate::event::key;
use crate::record::is_sequence;

/// Value of an attribute, as far as anybody asks for it here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scalar<'a> {
    Text(&'a str),
    Int(i64),
    Bytes(&'a [u8]),
    /// A truth value or a list.
    Other,
}

/// What is not an attribute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Envelope<'a> {
    pub(crate) time_unix_nano: u64,
    pub(crate) event_name: &'a str,
}

/// Looks over a record and shows its attributes in their order; `None` when the bytes are not surely canonical, or when a
/// number of the record is none, and attributes that were shown by then do not count.
pub(crate) fn scan<'a>(leaf: &'a [u8], mut show: impl FnMut(&'a str, Scalar<'a>)) -> Option<Envelope<'a>> {
    let mut rest = Cursor(leaf);
    let time_unix_nano = rest.expect(TIME)?.time()?;
    rest.expect(SEVERITY_NUMBER)?.severity()?;
    rest.expect(SEVERITY_TEXT)?.text().filter(|text| !text.is_empty())?;
    value(rest.expect(BODY)?.bytes()?)?;
    while rest.next_is(ATTRIBUTE) {
        let mut attribute = Cursor(rest.bytes()?);
        let key = attribute.expect(TEXT)?.text().filter(|key| !key.is_empty())?;
        let value = value(attribute.expect(VALUE)?.bytes()?)?;
        attribute.end()?;
        if let (key::SEQUENCE | key::SESSION_SEQUENCE, Scalar::Int(number)) = (key, value)
            && !is_sequence(number)
        {
            return None;
        }
        show(key, value);
    }
    rest.expect(OBSERVED_TIME)?.time()?;
    let event_name = rest.expect(EVENT_NAME)?.text().filter(|name| !name.is_empty())?;
    rest.end()?;
    Some(Envelope { time_unix_nano, event_name })
}

const TEXT: u8 = 0x0a; // field 1 of a KeyValue, of an AnyValue, and of an array's values
const VALUE: u8 = 0x12; // field 2 of a KeyValue
const TRUTH: u8 = 0x10; // field 2 of an AnyValue
const NUMBER: u8 = 0x18; // field 3
const ARRAY: u8 = 0x2a; // field 5
const BYTES: u8 = 0x3a; // field 7

/// An `AnyValue` with a value. An empty one is written out: a value that is set is never left out.
fn value(any: &[u8]) -> Option<Scalar<'_>> {
    let (tag, after) = any.split_first()?;
    let mut rest = Cursor(after);
    let value = match *tag {
        TEXT => Scalar::Text(rest.text()?),
        TRUTH => rest.varint().filter(|truth| *truth <= 1).map(|_| Scalar::Other)?,
        NUMBER => Scalar::Int(rest.varint()?.cast_signed()),
        BYTES => Scalar::Bytes(rest.bytes()?),
        ARRAY => {
            let mut array = Cursor(rest.bytes()?);
            while array.next_is(TEXT) {
                let mut text = Cursor(array.bytes()?);
                text.expect(TEXT)?.text()?;
                text.end()?;
            }
            array.end()?;
            Scalar::Other
        }
        _ => return None,
    };
    rest.end()?;
    Some(value)
}

/// What is left of some bytes.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// Steps over this tag where it is next.
    fn next_is(&mut self, tag: u8) -> bool {
        match self.0.split_first() {
            Some((first, rest)) if *first == tag => {
                self.0 = rest;
                true
            }
            Some(_) | None => false,
        }
    }

    fn expect(&mut self, tag: u8) -> Option<&mut Self> {
        self.next_is(tag).then_some(self)
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }

    /// The shortest form only.
    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for (place, byte) in self.0.iter().take(10).enumerate() {
            let low = u64::from(byte & 0x7f);
            // Of ten bytes the last holds one bit; a last byte of nothing makes the form longer than it has to be.
            if (place == 9 && low > 1) || (place > 0 && *byte == 0) {
                return None;
            }
            number |= low << (7 * place);
            if byte & 0x80 == 0 {
                self.0 = self.0.get(place + 1..)?;
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// A time that is not zero: zero is left out.
    fn time(&mut self) -> Option<u64> {
        let (bytes, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*bytes)).filter(|time| *time > 0)
    }

    /// One of the severities that OTLP has.
    fn severity(&mut self) -> Option<u64> {
        self.varint().filter(|number| (1..=24).contains(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{Draft, LogAttributes, Place};
    use crate::event::{Event, EventName, Severity, Value};
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
    use opentelemetry_proto::tonic::logs::v1::LogRecord;
    use proptest::prelude::*;
    use prost::Message as _;

    fn values() -> impl Strategy<Value = Value> {
        prop_oneof![
            ".{0,200}".prop_map(Value::Str),
            any::<i64>().prop_map(Value::Int),
            any::<bool>().prop_map(Value::Bool),
            prop::collection::vec(any::<u8>(), 0..200).prop_map(|bytes| Value::Bytes(bytes.into())),
            prop::collection::vec(".{0,100}", 0..4).prop_map(Value::List),
        ]
    }

    fn leaf(own: &Value, other: &Value, body: &str, time: u64) -> Vec<u8> {
        let event = Event::new(EventName::Statement, Severity::Warn, body)
            .with("own", own.clone())
            .with("other", other.clone());
        let place = Place { sequence: 7, session_sequence: 3, chain_previous: [5; 32], time_unix_nano: time };
        let mut leaf = Vec::new();
        Draft::new(&[], &event).place(&LogAttributes::new("dev/default/orders/0"), &place, &mut leaf);
        leaf
    }

    /// What is taken is what a decoder makes of it, and nothing that a decoder would write differently is taken.
    fn agrees(leaf: &[u8]) -> bool {
        let mut shown = Vec::new();
        let Some(envelope) = scan(leaf, |key, value| shown.push((key, value))) else { return false };
        let record = LogRecord::decode(leaf).unwrap();
        assert_eq!(record.encode_to_vec(), leaf);
        assert_eq!(
            (envelope.time_unix_nano, envelope.event_name),
            (record.time_unix_nano, &*record.event_name)
        );
        assert_eq!(shown.len(), record.attributes.len());
        for ((key, value), attribute) in shown.iter().zip(&record.attributes) {
            assert_eq!(*key, attribute.key);
            let decoded = match attribute.value.as_ref().unwrap().value.as_ref().unwrap() {
                Any::StringValue(text) => Scalar::Text(text),
                Any::IntValue(number) => Scalar::Int(*number),
                Any::BytesValue(bytes) => Scalar::Bytes(bytes),
                Any::BoolValue(_) | Any::ArrayValue(_) => Scalar::Other,
                Any::DoubleValue(_) | Any::KvlistValue(_) | Any::StringValueStrindex(_) => {
                    panic!("{attribute:?}")
                }
            };
            assert_eq!(*value, decoded);
        }
        true
    }

    proptest! {
        #[test]
        fn every_record_that_is_written_is_taken(
            own in values(), other in values(), body in ".{0,200}", time in 1..u64::MAX,
        ) {
            prop_assert!(agrees(&leaf(&own, &other, &body, time)));
        }

        #[test]
        fn nothing_is_taken_that_a_decoder_reads_or_writes_differently(
            own in values(), other in values(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cut in prop::option::of(any::<prop::sample::Index>()), more in prop::collection::vec(any::<u8>(), 0..3),
        ) {
            let mut leaf = leaf(&own, &other, "body", 1_700_000_000_000_000_000);
            for (at, byte) in changes {
                let at = at.index(leaf.len());
                leaf[at] = byte;
            }
            if let Some(cut) = cut {
                leaf.truncate(cut.index(leaf.len()));
            }
            leaf.extend_from_slice(&more);
            agrees(&leaf);
        }

        #[test]
        fn a_varint_has_one_form(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            let mut cursor = Cursor(&bytes);
            if let Some(number) = cursor.varint() {
                let mut written = Vec::new();
                prost::encoding::encode_varint(number, &mut written);
                prop_assert_eq!(&written[..], &bytes[..bytes.len() - cursor.0.len()]);
            }
        }
    }

    #[test]
    fn longer_forms_of_the_same_are_not_taken() {
        let whole = leaf(&Value::Int(1), &Value::Bool(true), "body", 1);
        assert!(agrees(&whole));
        // The severity's number in two bytes.
        let mut longer = whole.clone();
        assert_eq!(longer[9..11], [SEVERITY_NUMBER, 13]);
        longer.splice(10..11, [0x8d, 0]);
        assert!(!agrees(&longer));
        assert!(LogRecord::decode(&*longer).is_ok(), "a decoder reads it");
        for end in 0..whole.len() {
            assert!(!agrees(&whole[..end]), "{end}");
        }
    }
}
