//! Rows on their way to the client: rewritten one by one, and by whole sessions wherever the stream is cut.
//!
//! A server writes rows with a canary in every masked column. What comes out is whole frames, the canary is in none of
//! them, and columns without a mask are as they were.

#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::{Corpus, fuzz_target};
use proxy_core::mask::Masker;
use proxy_policy::{Detector, DetectorChoice, Mask, MaskType, OutputMask};
use proxy_postgres::fuzzing::Rows;
use proxy_postgres_fuzz::frames::{contains, cut, frame, only, pieces, read_values, text, values};
use proxy_postgres_fuzz::gateway::{Manner, run, session};
use std::sync::LazyLock;

/// Longer than what a partial mask keeps. No escape sequence ends in its first letter.
const CANARY: &[u8] = b"K4narY0x9Zw7Q2sP";

/// Signature, flags, and length of what extends the header of a binary copy.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// A form of `COPY`, as a server writes it.
struct Form {
    options: &'static str,
    csv: bool,
    delimiter: u8,
    null: &'static [u8],
    quote: u8,
    escape: u8,
    force: bool,
    header: bool,
}

const TEXT: Form = Form {
    options: "",
    csv: false,
    delimiter: b'\t',
    null: b"\\N",
    quote: 0,
    escape: b'\\',
    force: false,
    header: false,
};
const CSV: Form = Form {
    options: "(format csv)",
    csv: true,
    delimiter: b',',
    null: b"",
    quote: b'"',
    escape: b'"',
    ..TEXT
};
const FORMS: [Form; 9] = [
    TEXT,
    Form { options: "(delimiter '|', null '')", delimiter: b'|', null: b"", ..TEXT },
    Form { options: "(header, null 'nil')", header: true, null: b"nil", ..TEXT },
    Form { options: "with delimiter ' '", delimiter: b' ', ..TEXT },
    CSV,
    Form { options: "(format csv, header, force_quote *)", header: true, force: true, ..CSV },
    Form { options: "(format csv, delimiter ';', escape '\\')", delimiter: b';', escape: b'\\', ..CSV },
    Form {
        options: "(format csv, quote '''', escape '%', null '-')",
        quote: b'\'',
        escape: b'%',
        null: b"-",
        ..CSV
    },
    Form {
        options: "with csv delimiter '\t' null 'x' quote '~'",
        delimiter: b'\t',
        null: b"x",
        quote: b'~',
        escape: b'~',
        ..CSV
    },
];

/// How rows are written.
#[derive(Clone, Copy)]
enum Writing {
    DataRow,
    Binary,
    Lines(&'static Form),
}

/// Values of a row, and whether the column is masked.
type Row = Vec<(bool, Option<Vec<u8>>)>;

static PLAIN: LazyLock<Masker> = LazyLock::new(|| Masker::new(&[], &[7; 32]));
static DETECTING: LazyLock<Masker> = LazyLock::new(|| {
    let detectors = vec![Detector::UsSsn, Detector::CreditCard, Detector::Jwt];
    let with = Mask { type_: MaskType::Redact, keep_last: None };
    Masker::new(&[DetectorChoice { detectors, patterns: Vec::new(), with }], &[7; 32])
});

fuzz_target!(|data: &[u8]| -> Corpus {
    let mut input = Unstructured::new(data);
    match one(&mut input) {
        Ok(Some(())) => Corpus::Keep,
        Ok(None) | Err(_) => Corpus::Reject,
    }
});

/// `None`: the input is of no use.
fn one(input: &mut Unstructured<'_>) -> Result<Option<()>> {
    let ways: u8 = input.arbitrary()?;
    let writing = match ways & 15 {
        0..=3 => Writing::DataRow,
        4 | 5 => Writing::Binary,
        form => Writing::Lines(&FORMS[usize::from(form - 6) % FORMS.len()]),
    };
    if ways & 0xc0 == 0xc0 { streamed(writing, input) } else { rewritten(writing, ways, input) }
}

/// Row by row, under any plan.
fn rewritten(writing: Writing, ways: u8, input: &mut Unstructured<'_>) -> Result<Option<()>> {
    let detects = ways & 16 != 0;
    let masker: &Masker = if detects { &DETECTING } else { &PLAIN };
    let columns = input.int_in_range(1..=4)?;
    let (mut masks, mut shapes) = (Vec::new(), Vec::new());
    for _ in 0..columns {
        masks.push(if input.arbitrary()? { Some(mask(input)?) } else { None });
        // text, json, jsonb, int4, bytea, not known
        shapes.push((*input.choose(&[25, 114, 3802, 23, 17, 0])?, input.int_in_range(0..=1)?));
    }
    let masked: Vec<bool> = match input.int_in_range(0..=3)? {
        // Every column is masked: by a plan that says so, or because the row has another number of columns.
        0 | 1 => vec![true; columns],
        _ => masks.iter().map(Option::is_some).collect(),
    };
    let plan = match (masked.iter().all(|masked| *masked), input.arbitrary()?) {
        (true, true) => OutputMask::Whole(mask(input)?),
        (true, false) => {
            masks.push(None);
            OutputMask::Columns(masks)
        }
        (false, _) => OutputMask::Columns(masks),
    };
    let shapes = if input.arbitrary()? { shapes } else { Vec::new() };
    let Some(rows) = rows(&masked, input)? else { return Ok(None) };
    let mut rewriter = Rows::new(&plan, &shapes, masker.clone());
    if let Some(sql) = copy(writing) {
        rewriter = rewriter.copied_by(&sql).expect("a form that can be masked");
    }
    for (index, (row, bytes)) in stream(writing, &rows).into_iter().enumerate() {
        let out =
            rewriter.rewrite(&bytes).unwrap_or_else(|| panic!("row {index} ends the session: {bytes:?}"));
        check(writing, row, &bytes, &out, detects);
    }
    Ok(Some(()))
}

/// In a session, cut anywhere.
fn streamed(writing: Writing, input: &mut Unstructured<'_>) -> Result<Option<()>> {
    let (step, described): (u8, bool) = (input.arbitrary()?, input.arbitrary()?);
    let Some(rows) = rows(&[false, true, false], input)? else { return Ok(None) };
    let select = "select name, ssn, id from customers";
    let sql = copy(writing)
        .map_or_else(|| select.to_owned(), |copy| copy.replace("(select 1)", &format!("({select})")));
    let written = stream(writing, &rows);
    let mut bytes = Vec::new();
    if matches!(writing, Writing::DataRow) {
        if described {
            let column =
                |name: &[u8]| [name, b"\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"].concat();
            let columns = [column(b"name"), column(b"ssn"), column(b"id")].concat();
            bytes.extend(frame(b'T', &[&b"\0\x03"[..], &columns].concat()));
        }
    } else {
        bytes.extend(frame(b'H', b"\0\0\0"));
    }
    written.iter().for_each(|(_, frame)| bytes.extend(frame));
    if !matches!(writing, Writing::DataRow) {
        bytes.extend(frame(b'c', b""));
    }
    bytes.extend(text(b'C', "SELECT 1"));
    bytes.extend(frame(b'Z', b"I"));
    // A NULL of its own cannot be told from a value in text.
    let refused = matches!(writing, Writing::Lines(form) if !form.csv && form.null != TEXT.null);
    let heard = run(async {
        let (session, mut peers) = session(Manner { approvals: 0, detectors: false }).await;
        peers.client.say(&text(b'Q', &sql));
        let mut parts = Some(pieces(&bytes, step));
        peers.settle(&mut |_| parts.take().unwrap_or_default()).await;
        assert_eq!(parts.is_some(), refused, "{sql}: {}", String::from_utf8_lossy(&peers.client.heard));
        peers.client.say(&frame(b'X', b""));
        peers.settle(&mut |_| Vec::new()).await;
        peers.part(session).await;
        peers.client.heard
    });
    let (frames, rest) = cut(&heard);
    assert!(rest.is_empty(), "the client got half a message");
    let got: Vec<Vec<u8>> =
        frames.iter().filter(|(tag, _)| b"Dd".contains(tag)).map(|(tag, body)| frame(*tag, body)).collect();
    if refused {
        assert!(got.is_empty() && !contains(&heard, CANARY));
        return Ok(Some(()));
    }
    if written.iter().any(|(_, frame)| frame.len() > 2_000) {
        // Over the limit: the session ended there.
        assert!(got.len() < written.len() && !contains(&heard, CANARY));
        return Ok(Some(()));
    }
    assert_eq!(got.len(), written.len(), "{sql}: {heard:?}");
    for ((row, before), after) in written.iter().zip(&got) {
        check(writing, *row, before, after, false);
    }
    assert_eq!(frames.last().map(|(tag, _)| *tag), Some(b'Z'));
    assert!(!contains(&heard, CANARY));
    Ok(Some(()))
}

fn mask(input: &mut Unstructured<'_>) -> Result<Mask> {
    let kinds = [MaskType::Redact, MaskType::Partial, MaskType::Null, MaskType::Hash, MaskType::Token];
    let type_ = *input.choose(&kinds)?;
    let keep_last = if type_ == MaskType::Partial { Some(input.int_in_range(1..=8)?) } else { None };
    Ok(Mask { type_, keep_last })
}

/// A few rows. `None`: a canary is where it may stay.
fn rows(masked: &[bool], input: &mut Unstructured<'_>) -> Result<Option<Vec<Row>>> {
    let mut rows = Vec::new();
    for _ in 0..input.int_in_range(1..=3)? {
        let mut row = Vec::new();
        for masked in masked {
            let value = match input.int_in_range(0..=4)? {
                0 => None,
                _ => {
                    let mut value = bytes(input)?;
                    if contains(&value, CANARY) {
                        return Ok(None);
                    }
                    if *masked {
                        value.extend(CANARY);
                        value.extend(bytes(input)?);
                    }
                    Some(value)
                }
            };
            row.push((*masked, value));
        }
        rows.push(row);
    }
    Ok(Some(rows))
}

fn bytes(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let length = input.int_in_range(0..=40)?;
    Ok(input.bytes(usize::min(length, input.len()))?.to_vec())
}

fn copy(writing: Writing) -> Option<String> {
    match writing {
        Writing::DataRow => None,
        Writing::Binary => Some("copy (select 1) to stdout (format binary)".to_owned()),
        Writing::Lines(form) => Some(format!("copy (select 1) to stdout {}", form.options)),
    }
}

/// Frames, each with the row in it, if there is one.
fn stream(writing: Writing, rows: &[Row]) -> Vec<(Option<&Row>, Vec<u8>)> {
    let plain = |row: &Row| row.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>();
    let mut frames = Vec::new();
    match writing {
        Writing::DataRow => {
            frames.extend(rows.iter().map(|row| (Some(row), frame(b'D', &values(&plain(row))))))
        }
        Writing::Binary => {
            // The server sends the signature along with the first row.
            for (index, row) in rows.iter().enumerate() {
                let head = if index == 0 { SIGNATURE } else { b"" };
                frames.push((Some(row), frame(b'd', &[head, &values(&plain(row))].concat())));
            }
            frames.push((None, frame(b'd', b"\xff\xff")));
        }
        Writing::Lines(form) => {
            if form.header {
                frames.push((None, frame(b'd', b"name\tssn\n")));
            }
            frames.extend(rows.iter().map(|row| (Some(row), frame(b'd', &line(form, row)))));
        }
    }
    frames
}

fn line(form: &Form, row: &Row) -> Vec<u8> {
    let fields: Vec<Vec<u8>> =
        row.iter().map(|(_, value)| field(form, value.as_deref(), row.len() == 1)).collect();
    let mut line = fields.join(&form.delimiter);
    line.push(b'\n');
    line
}

/// A field as `CopyAttributeOutText` and `CopyAttributeOutCSV` write it.
fn field(form: &Form, value: Option<&[u8]>, single: bool) -> Vec<u8> {
    let Some(value) = value else { return form.null.to_vec() };
    let mut out = Vec::new();
    if form.csv {
        let special = |byte: &u8| [form.delimiter, form.quote, b'\n', b'\r'].contains(byte);
        let quoted =
            form.force || value == form.null || (single && value == b"\\.") || value.iter().any(special);
        if !quoted {
            return value.to_vec();
        }
        out.push(form.quote);
        for byte in value {
            if [form.quote, form.escape].contains(byte) {
                out.push(form.escape);
            }
            out.push(*byte);
        }
        out.push(form.quote);
        return out;
    }
    for byte in value {
        let letter = match *byte {
            8 => b'b',
            12 => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            11 => b'v',
            byte if byte == b'\\' || byte == form.delimiter => byte,
            byte => {
                out.push(byte);
                continue;
            }
        };
        out.extend([b'\\', letter]);
    }
    out
}

/// What came out for a frame: `row` is what went in.
fn check(writing: Writing, row: Option<&Row>, before: &[u8], after: &[u8], detects: bool) {
    let (tag, body) = only(after);
    assert_eq!(tag, before[0]);
    assert!(!contains(after, CANARY), "a masked value: {before:?} -> {after:?}");
    let Some(row) = row else {
        assert_eq!(before, after);
        return;
    };
    match writing {
        Writing::DataRow | Writing::Binary => {
            let got = read_values(body.strip_prefix(SIGNATURE).unwrap_or(body));
            assert_eq!(got.len(), row.len());
            for (got, (masked, value)) in got.iter().zip(row) {
                assert!(value.is_some() || got.is_none(), "a value out of nothing");
                assert!(*masked || detects || *got == value.as_deref(), "{before:?} -> {after:?}");
            }
        }
        Writing::Lines(form) => check_line(form, row, body, detects),
    }
}

/// Reads a line as `COPY FROM` would.
fn check_line(form: &Form, row: &Row, line: &[u8], detects: bool) {
    let mut rest = line.strip_suffix(b"\n").expect("a line has an end");
    for (index, (masked, value)) in row.iter().enumerate() {
        let length = field_length(form, rest);
        let (got, after) = rest.split_at(length);
        if !masked && !detects {
            assert_eq!(got, field(form, value.as_deref(), row.len() == 1), "{line:?}");
        }
        assert!(value.is_some() || got == form.null, "a value out of nothing: {line:?}");
        rest = match after {
            [] => {
                assert_eq!(index + 1, row.len(), "too few fields: {line:?}");
                &[]
            }
            [_, next @ ..] => {
                assert!(index + 1 < row.len(), "too many fields: {line:?}");
                next
            }
        };
    }
}

fn field_length(form: &Form, bytes: &[u8]) -> usize {
    let (mut quoted, mut skip) = (false, false);
    for (index, byte) in bytes.iter().enumerate() {
        if std::mem::take(&mut skip) {
            continue;
        }
        let next = bytes.get(index + 1);
        if form.csv && quoted {
            if *byte == form.escape && next.is_some_and(|next| [form.quote, form.escape].contains(next)) {
                skip = true;
            } else if *byte == form.quote {
                quoted = false;
            }
        } else if form.csv && *byte == form.quote {
            quoted = true;
        } else if *byte == form.delimiter {
            return index;
        } else {
            assert!(!matches!(*byte, b'\n' | b'\r'), "the line ends within a field: {bytes:?}");
            skip = !form.csv && *byte == b'\\';
        }
    }
    assert!(!quoted && !skip, "the line ends within a field: {bytes:?}");
    bytes.len()
}
