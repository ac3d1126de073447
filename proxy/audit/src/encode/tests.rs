use super::*;
use crate::event::EventName;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use proptest::prelude::*;
use prost::Message as _;

fn any_value(value: Any) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn key_value(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(any_value(value)), ..KeyValue::default() }
}

fn generated(value: &Value) -> Any {
    match value {
        Value::Str(text) => Any::StringValue(text.clone()),
        Value::Int(number) => Any::IntValue(*number),
        Value::Bool(truth) => Any::BoolValue(*truth),
        Value::Bytes(bytes) => Any::BytesValue(bytes.to_vec()),
        Value::List(texts) => Any::ArrayValue(ArrayValue {
            values: texts
                .iter()
                .map(|text| AnyValue { value: Some(Any::StringValue(text.clone())) })
                .collect(),
        }),
    }
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        ".{0,300}".prop_map(Value::Str),
        any::<i64>().prop_map(Value::Int),
        any::<bool>().prop_map(Value::Bool),
        prop::collection::vec(any::<u8>(), 0..400).prop_map(|bytes| Value::Bytes(bytes.into())),
        prop::collection::vec(".{0,200}", 0..4).prop_map(Value::List),
    ]
}

proptest! {
    #[test]
    fn the_generated_otlp_encoder_writes_the_same_bytes(
        stamp in values(), shared in values(), own in values(), body in ".{0,200}",
        sequence in any::<u32>(), time in any::<u64>(),
    ) {
        let event = Event::new(EventName::Statement, Severity::Warn, body.as_str())
            .with_common(Common::new(vec![("shared", shared.clone())]))
            .with("own", own.clone());
        let mut stamped = Vec::new();
        encode_attributes(&mut stamped, &[("stamp", stamp.clone())]);
        let draft = Draft::new(&stamped, &event);
        let log = LogAttributes::new("dev/default/orders/0");
        let time = time.max(1);
        let place = Place {
            sequence: sequence.into(), session_sequence: 3, chain_previous: [5; 32], time_unix_nano: time,
        };
        let mut leaf = Vec::new();
        draft.place(&log, &place, &mut leaf);

        let record = LogRecord {
            time_unix_nano: time,
            observed_time_unix_nano: time,
            severity_number: SeverityNumber::Warn as i32,
            severity_text: "WARN".to_owned(),
            body: Some(any_value(Any::StringValue(one_line(&body).into_owned()))),
            attributes: vec![
                key_value("portcullis.schema", Any::StringValue("v1".to_owned())),
                key_value("portcullis.log.origin", Any::StringValue("dev/default/orders/0".to_owned())),
                key_value("portcullis.seq", Any::IntValue(sequence.into())),
                key_value("portcullis.record.id", Any::StringValue(String::from_utf8(draft.record_id.0.to_vec()).unwrap())),
                key_value("portcullis.chain.prev", Any::BytesValue(vec![5; 32])),
                key_value("portcullis.session.seq", Any::IntValue(3)),
                key_value("stamp", generated(&stamp)),
                key_value("shared", generated(&shared)),
                key_value("own", generated(&own)),
            ],
            event_name: "portcullis.statement".to_owned(),
            ..LogRecord::default()
        };
        prop_assert_eq!(&leaf, &record.encode_to_vec());
        prop_assert!(leaf.len() <= draft.max_len(&log));
    }
}
