use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proxy_audit::{Event, EventName, SessionStamp, Severity, Spool, SpoolOptions, Value};
use std::collections::BTreeSet;

const VALUE: &str = "s3\"\\cret CANARY/é!*'()+";

/// An encoding in lines of so many characters.
fn in_lines(text: &str, width: usize, end: &str) -> String {
    let lines: Vec<&str> =
        text.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).unwrap()).collect();
    lines.join(end)
}

/// Ways in which a program writes the value, and how it is called.
fn written() -> Vec<(&'static str, String)> {
    let json = serde_json::to_string(VALUE).unwrap();
    let every: Vec<String> = VALUE.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let units: Vec<String> = VALUE.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
    let among_others = format!("{}{VALUE}{}", "before ".repeat(9), "after ".repeat(9));
    let base64 = |width, end| in_lines(&STANDARD.encode(&among_others), width, end);
    vec![
        ("as it is", VALUE.to_owned()),
        // Python's quote leaves `/`, encodeURIComponent `!*'()`; forms write a blank as `+`; some digits are small.
        ("percent-encoded", "s3%22%5Ccret%20CANARY/%C3%A9%21%2A%27%28%29%2B".to_owned()),
        ("percent-encoded", "s3%22%5Ccret%20CANARY%2F%C3%A9!*'()%2B".to_owned()),
        ("percent-encoded", "s3%22%5ccret+CANARY%2f%c3%a9%21*%27%28%29%2b".to_owned()),
        ("percent-encoded", every.concat()),
        ("escaped as in JSON", json.clone()),
        ("escaped as in JSON", json.replace('/', "\\/").replace('é', "\\u00e9")),
        ("escaped as in JSON", units.concat()),
        ("base64", STANDARD.encode(VALUE)),
        ("base64", STANDARD.encode(VALUE).replace('/', "\\/")),
        ("base64", base64(76, "\n")),
        ("base64", base64(76, "\r\n")),
        ("base64", base64(64, "\\r\\n")),
        ("base64", base64(60, "\\n")),
        ("hexadecimal", const_hex::encode(VALUE)),
        ("hexadecimal", in_lines(&const_hex::encode_upper(&among_others), 60, "\n")),
    ]
}

fn search() -> Search {
    Search::new([VALUE.as_bytes()].into_iter()).unwrap()
}

#[test]
fn a_value_is_found_in_whichever_way_it_was_written_and_where_it_begins() {
    let search = search();
    for (form, written) in written() {
        let mut found = BTreeSet::new();
        search.find(format!("..{written}..").as_bytes(), 0, |_, form, at| {
            found.insert((form, at));
        });
        let forms: BTreeSet<_> = found.iter().map(|(form, _)| *form).collect();
        assert_eq!(forms, [form].into(), "{written}");
        assert!(found.iter().all(|(_, at)| *at >= 2 && *at < 2 + written.len()), "{written}: {found:?}");
        if !["base64", "hexadecimal"].contains(&form) {
            let begin = written.find(['s', '%', '\\']).unwrap();
            assert_eq!(found.first().unwrap().1, 2 + begin, "{written}");
        }
    }
}

#[test]
fn what_only_looks_alike_is_not_found() {
    let search = search();
    let other = [
        VALUE.replace(' ', "+"),
        VALUE.replace('C', "\nC"),
        VALUE.replace('/', "%2G"),
        VALUE.replace('/', "\\x2f"),
    ];
    for text in other {
        search.find(text.as_bytes(), 0, |_, form, _| panic!("{form} in {text}"));
    }
}

/// All records of one log: each text as a result cut in two, at every place.
async fn cut_everywhere(texts: &[String]) -> (tempfile::TempDir, Vec<Record>) {
    let directory = tempfile::tempdir().unwrap();
    let options = SpoolOptions::new(directory.path().join("log"), "dev/default/orders/0");
    let (spool, _) = Spool::open(&options).unwrap();
    let stamp = SessionStamp::new(vec![(key::SESSION_ID.into(), "s".into())]);
    let mut command = 0_i64;
    for text in texts {
        for cut in 1..text.len() {
            command += 1;
            let (first, second) = text.as_bytes().split_at(cut);
            for (name, bytes) in [(EventName::ResultChunk, first), (EventName::Result, second)] {
                let event = Event::new(name, Severity::Info, "part")
                    .with(key::COMMAND, command)
                    .with(key::FRAMES, Value::Bytes(bytes.to_vec().into()));
                spool.append(&stamp, event).unwrap();
            }
        }
    }
    spool.close().await.unwrap();
    let records = proxy_audit::read::records(&options.directory).unwrap();
    let results = records.map(Result::unwrap).filter(|record| record.bytes(key::FRAMES).is_some()).collect();
    (directory, results)
}

#[tokio::test]
async fn a_value_cut_anywhere_between_two_records_is_found_once_and_in_the_record_where_it_ends() {
    let written = written();
    let texts: Vec<String> = written.iter().map(|(_, text)| text.clone()).collect();
    let (_directory, records) = cut_everywhere(&texts).await;
    let mut search = search();
    let mut pairs = records.chunks(2);
    for (form, text) in &written {
        for cut in 1..text.len() {
            let found: Vec<BTreeSet<&str>> = pairs
                .next()
                .unwrap()
                .iter()
                .map(|record| {
                    let mut found = BTreeSet::new();
                    search.record(record, |_, form, _| {
                        found.insert(form);
                    });
                    found
                })
                .collect();
            let all: BTreeSet<_> = found.iter().flatten().copied().collect();
            assert_eq!(all, [*form].into(), "{text} cut at {cut}");
            assert!(found[0].is_disjoint(&found[1]), "{text} cut at {cut}");
        }
    }
}

#[tokio::test]
async fn what_a_record_before_had_is_no_finding_of_the_next() {
    let (_directory, records) = cut_everywhere(&[format!("{VALUE} and more {VALUE}")]).await;
    let mut search = search();
    let mut total = 0;
    for pair in records.chunks(2) {
        let counts: Vec<usize> = pair
            .iter()
            .map(|record| {
                let mut in_result = 0;
                search.record(record, |_, _, place| {
                    let Place::Record { part, .. } = place else { panic!("{place:?}") };
                    in_result += usize::from(part == key::FRAMES);
                });
                in_result
            })
            .collect();
        assert_eq!(counts.iter().sum::<usize>(), 2);
        total += counts[0];
    }
    assert!(total > 0 && total < records.len(), "some end in the first");
}

#[tokio::test]
async fn a_result_that_is_not_followed_to_its_end_is_counted() {
    let (_directory, records) = cut_everywhere(&[VALUE.to_owned()]).await;
    let mut search = search();
    search.most = 2;
    let mut look = |records: &mut dyn Iterator<Item = &Record>| {
        records.for_each(|record| drop(search.record(record, |_, _, _| {})));
        search.given_up()
    };
    assert_eq!(look(&mut records.iter()), 0, "one is open at a time");
    // Three begin before any ends, and the first is given up.
    assert_eq!(look(&mut records.iter().take(6).step_by(2)), 1);
}

#[tokio::test]
async fn of_a_forwarded_port_every_connection_is_followed_and_none_that_is_over() {
    use proxy_audit::stream::{Channel, StreamEncoder};
    use std::time::Duration;
    const COUNT: u32 = 300;
    let directory = tempfile::tempdir().unwrap();
    let options = SpoolOptions::new(directory.path().join("log"), "dev/default/cluster/0");
    let (spool, _) = Spool::open(&options).unwrap();
    let stamp = SessionStamp::new(vec![(key::SESSION_ID.into(), "s".into())]);
    let (first, second) = VALUE.as_bytes().split_at(VALUE.len() / 2);
    let mut encoder = StreamEncoder::default();
    // all of them begin before any of them ends
    for part in [first, second] {
        let mut frames = Vec::new();
        for channel in (0..COUNT).map(|connection| Channel(4 + 2 * connection)) {
            encoder.data(Duration::ZERO, channel, part, &mut frames);
            if part == second {
                encoder.encode(Duration::ZERO, &StreamEvent::End(channel), &mut frames);
            }
        }
        let event = Event::new(EventName::ResultChunk, Severity::Info, "part")
            .with(key::COMMAND, 1_i64)
            .with(key::FRAMES, Value::Bytes(frames.into()));
        spool.append(&stamp, event).unwrap();
    }
    spool.close().await.unwrap();
    let (mut search, mut found) = (search(), BTreeSet::new());
    for record in proxy_audit::read::records(&options.directory).unwrap() {
        search.record(&record.unwrap(), |_, _, place| {
            let Place::Record { part, .. } = place else { panic!("{place:?}") };
            found.insert(part);
        });
    }
    assert_eq!(found.len(), usize::try_from(COUNT).unwrap(), "{found:?}");
    assert!(found.contains("stream 602"), "{found:?}");
    assert!(search.results.values().all(|result| result.channels.is_empty()));
}
