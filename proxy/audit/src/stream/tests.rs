use super::*;
use proptest::prelude::*;

fn channels() -> impl Strategy<Value = Channel> {
    prop_oneof![any::<u8>().prop_map(u32::from), any::<u32>()].prop_map(Channel)
}

fn events() -> impl Strategy<Value = StreamEvent> {
    prop_oneof![
        (channels(), prop::collection::vec(any::<u8>(), 1..200))
            .prop_map(|(channel, bytes)| StreamEvent::Data { channel, bytes: bytes.into() }),
        any::<(u16, u16)>().prop_map(|(columns, rows)| StreamEvent::Resize { columns, rows }),
        any::<i32>().prop_map(StreamEvent::Exit),
        "[A-Z0-9@.-]{0,64}".prop_map(StreamEvent::ExitSignal),
        "[A-Z]{0,64}".prop_map(StreamEvent::Signal),
        channels().prop_map(StreamEvent::End),
        (channels(), any::<u64>(), any::<[u8; 32]>())
            .prop_map(|(channel, bytes, digest)| StreamEvent::Omitted { channel, bytes, digest }),
        (channels(), any::<u64>(), any::<[u8; 32]>(), "[a-z/. ]{0,300}")
            .prop_map(|(channel, bytes, digest, path)| StreamEvent::File { channel, bytes, digest, path }),
        (channels(), any::<u64>(), "[a-z/. ]{0,300}").prop_map(|(channel, offset, path)| StreamEvent::Part {
            channel,
            offset,
            path
        }),
    ]
}

proptest! {
    #[test]
    fn a_recording_is_read_back_however_its_bytes_are_cut(
        steps in prop::collection::vec((0_u64..5_000_000, events()), 0..20),
        cut in 1_usize..64,
    ) {
        let mut encoder = StreamEncoder::default();
        let (mut bytes, mut expected, mut micros) = (Vec::new(), Vec::new(), 0);
        for (pause, event) in steps {
            micros += pause;
            encoder.encode(Duration::from_micros(micros), &event, &mut bytes);
            expected.push(StreamFrame { micros, event });
        }
        let mut decoder = StreamDecoder::default();
        let mut read = Vec::new();
        for part in bytes.chunks(cut) {
            read.extend(decoder.feed(part).unwrap());
        }
        prop_assert_eq!(read, expected);
        prop_assert_eq!(decoder.unfinished(), 0);
    }

    #[test]
    fn garbage_is_an_error_or_few_bytes_held_and_never_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..400), begun in any::<bool>(),
    ) {
        let mut decoder = StreamDecoder::default();
        if begun {
            decoder.feed(&MAGIC).unwrap();
        }
        // An error is an answer; what counts is what is held.
        drop(decoder.feed(&bytes));
        prop_assert!(decoder.unfinished() <= MAX_PAYLOAD_BYTES + 2 * MAX_NUMBER_BYTES + 1);
    }
}

#[test]
fn the_bytes_are_those_of_the_documented_form() {
    let mut bytes = Vec::new();
    let mut encoder = StreamEncoder::default();
    encoder.encode(Duration::ZERO, &StreamEvent::Resize { columns: 80, rows: 24 }, &mut bytes);
    encoder.data(Duration::from_micros(300), Channel::STDOUT, b"hi", &mut bytes);
    encoder.encode(Duration::from_micros(200), &StreamEvent::Exit(-1), &mut bytes);
    let expected: &[u8] = &[
        b'P', b'C', b'S', 1, // magic
        2, 0, 4, 0, 80, 0, 24, // resize
        1, 0xac, 2, 3, 1, b'h', b'i', // data after 300 µs
        3, 0xac, 2, 4, 0xff, 0xff, 0xff, 0xff, // exit, not before the data
    ];
    assert_eq!(bytes, expected);
}

#[test]
fn long_data_is_split_into_frames_that_a_reader_can_hold() {
    let long = vec![7; 3 * MAX_PAYLOAD_BYTES];
    let mut bytes = Vec::new();
    StreamEncoder::default().data(Duration::ZERO, Channel::STDERR, &long, &mut bytes);
    let frames = StreamDecoder::default().feed(&bytes).unwrap();
    assert_eq!(frames.len(), 4);
    let read: Vec<u8> = frames
        .into_iter()
        .flat_map(|frame| {
            let StreamEvent::Data { channel: Channel::STDERR, bytes } = frame.event else {
                panic!("{frame:?}");
            };
            bytes
        })
        .collect();
    assert_eq!(read, long);
}

#[test]
fn a_channel_above_255_is_told_in_a_kind_of_its_own_that_older_readers_skip() {
    let mut bytes = Vec::new();
    let mut encoder = StreamEncoder::default();
    encoder.data(Duration::ZERO, Channel(255), b"n", &mut bytes);
    encoder.data(Duration::ZERO, Channel(256), b"w", &mut bytes);
    encoder.encode(Duration::ZERO, &StreamEvent::End(Channel(70_000)), &mut bytes);
    let expected: &[u8] = &[
        b'P', b'C', b'S', 1, // magic
        1, 0, 2, 255, b'n', // data
        10, 0, 6, 0, 0, 1, 0, 1, b'w', // data of a wide channel
        10, 0, 5, 0, 1, 0x11, 0x70, 6, // its end
    ];
    assert_eq!(bytes, expected);
    let long = vec![7; 2 * MAX_PAYLOAD_BYTES];
    encoder.data(Duration::ZERO, Channel(256), &long, &mut bytes);
    assert_eq!(StreamDecoder::default().feed(&bytes).unwrap().len(), 3 + 3);
    let mut short = MAGIC.to_vec();
    short.extend_from_slice(&[10, 0, 4, 0, 0, 1, 0]);
    assert_eq!(StreamDecoder::default().feed(&short), Err(StreamError::Malformed));
}

#[test]
fn kinds_of_later_versions_are_skipped_and_other_bytes_refused() {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&[99, 1, 2, 0xaa, 0xbb, 6, 2, 1, 0]);
    let frames = StreamDecoder::default().feed(&bytes).unwrap();
    assert_eq!(frames, [StreamFrame { micros: 2, event: StreamEvent::End(Channel::STDIN) }]);
    assert_eq!(StreamDecoder::default().feed(b"{\"kind\":"), Err(StreamError::NotAStream));
    assert_eq!(StreamDecoder::default().feed(b"PCS\x02"), Err(StreamError::NotAStream));
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&[1, 0, 0x81, 0x80, 2]); // 32 KiB + 1
    assert_eq!(StreamDecoder::default().feed(&bytes), Err(StreamError::Malformed));
}

#[test]
fn a_recording_cut_within_a_frame_says_so() {
    let mut bytes = Vec::new();
    StreamEncoder::default().data(Duration::ZERO, Channel::STDOUT, b"whole", &mut bytes);
    let mut decoder = StreamDecoder::default();
    assert_eq!(decoder.feed(&bytes[..bytes.len() - 2]).unwrap(), []);
    assert!(decoder.unfinished() > 0);
}
