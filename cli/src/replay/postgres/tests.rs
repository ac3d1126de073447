use super::*;

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![tag];
    frame.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    frame.extend(body);
    frame
}

fn describe(columns: &[(&str, u32, u16)]) -> Vec<u8> {
    let mut body = u16::try_from(columns.len()).unwrap().to_be_bytes().to_vec();
    for (name, oid, format) in columns {
        body.extend(name.as_bytes());
        body.extend([0; 7]);
        body.extend(oid.to_be_bytes());
        body.extend([0; 6]);
        body.extend(format.to_be_bytes());
    }
    message(b'T', &body)
}

fn row(cells: &[Option<&[u8]>]) -> Vec<u8> {
    let mut body = u16::try_from(cells.len()).unwrap().to_be_bytes().to_vec();
    for cell in cells {
        match cell {
            Some(cell) => {
                body.extend(u32::try_from(cell.len()).unwrap().to_be_bytes());
                body.extend(*cell);
            }
            None => body.extend(u32::MAX.to_be_bytes()),
        }
    }
    message(b'D', &body)
}

fn complete(tag: &str) -> Vec<u8> {
    message(b'C', format!("{tag}\0").as_bytes())
}

fn text(parts: &[Part]) -> String {
    parts.iter().map(Part::text).collect()
}

fn check(frames: &[Vec<u8>], expected: &str) {
    let bytes = frames.concat();
    let mut whole = Transcript::default();
    assert_eq!(text(&whole.feed(&bytes)) + &text(&whole.finish()), expected);
    // However the record was split, it shows the same.
    let mut split = Transcript::default();
    let shown: String = bytes.chunks(3).map(|chunk| text(&split.feed(chunk))).collect();
    assert_eq!(shown + &text(&split.finish()), expected);
}

#[test]
fn rows_are_shown_as_a_table_without_the_tag() {
    let frames = [
        describe(&[("id", 23, 0), ("email", 25, 0)]),
        row(&[Some(b"1"), Some(b"***")]),
        row(&[Some(b"2"), None]),
        complete("SELECT 2"),
    ];
    check(&frames, " id | email \n----+-------\n  1 | ***\n  2 | \n(2 rows)\n\n");
}

#[test]
fn no_rows_are_a_table_too() {
    check(&[describe(&[("id", 23, 0)]), complete("SELECT 0")], " id \n----\n(0 rows)\n\n");
}

#[test]
fn binary_rows_are_read_by_their_type() {
    let frames = [describe(&[("n", 23, 1)]), row(&[Some(&5_i32.to_be_bytes())]), complete("SELECT 1")];
    check(&frames, " n \n---\n 5\n(1 row)\n\n");
}

#[test]
fn a_command_without_rows_shows_its_tag_and_one_that_returns_rows_both() {
    check(&[complete("DELETE 3")], "DELETE 3\n");
    let frames = [describe(&[("id", 23, 0)]), row(&[Some(b"1")]), complete("INSERT 0 1")];
    check(&frames, " id \n----\n  1\n(1 row)\n\nINSERT 0 1\n");
}

#[test]
fn errors_and_notices_read_as_in_psql() {
    let error = b"SERROR\0VERROR\0C42501\0Mpermission denied\0Ddetail\0Hask\0Win a function\0\0";
    check(
        &[message(b'E', error)],
        "ERROR:  permission denied\nDETAIL:  detail\nHINT:  ask\nCONTEXT:  in a function\n",
    );
    check(&[message(b'N', b"SNOTICE\0VNOTICE\0Mheld\0\0")], "NOTICE:  held\n");
}

#[test]
fn copied_lines_and_notifications_are_shown() {
    let frames =
        [message(b'H', &[0, 0, 0]), message(b'd', b"1\ta\n"), message(b'c', &[]), complete("COPY 1")];
    check(&frames, "1\ta\n");
    check(&[message(b'G', &[0, 0, 0]), complete("COPY 1")], "COPY 1\n");
    let expected =
        "Asynchronous notification \"jobs\" with payload \"7\" received from server process with PID 9.\n";
    check(&[message(b'A', b"\0\0\0\x09jobs\x007\0")], expected);
}

#[test]
fn rows_without_a_description_and_without_an_end_are_shown() {
    check(&[row(&[Some(b"1")])], " column1 \n---------\n 1\n(1 row)\n\n");
}

#[test]
fn hostile_frames_do_no_harm() {
    let mut transcript = Transcript::default();
    assert_eq!(text(&transcript.feed(&[b'T', 0, 0, 0, 1, 9])), "(unreadable frames)\n");
    for tag in 0..=u8::MAX {
        for body in [&[][..], &[0xff; 3], &[0xff; 40], &[0; 40]] {
            drop(Transcript::default().feed(&message(tag, body)));
        }
    }
}

#[test]
fn a_statement_that_was_described_once_has_its_columns_at_each_execution() {
    let descriptions = Descriptions::default();
    let run = |sql: &str, frames: &[Vec<u8>]| {
        let mut transcript = Transcript::new("shop", descriptions.clone());
        transcript.begin(sql);
        text(&transcript.feed(&frames.concat())) + &text(&transcript.finish())
    };
    let seven = row(&[Some(&7_i32.to_be_bytes())]);
    let shown = " n \n---\n 7\n(1 row)\n\n";
    let first = [describe(&[("n", 23, 1)]), seven.clone(), complete("SELECT 1")];
    assert_eq!(run("select n from a", &first), shown);
    for _ in 0..2 {
        assert_eq!(run("select n from a", &[seven.clone(), complete("SELECT 1")]), shown);
        assert_eq!(run("select n from a", &[complete("SELECT 0")]), " n \n---\n(0 rows)\n\n");
        assert_eq!(run("select n from a", std::slice::from_ref(&seven)), shown, "without an end");
    }
    // What it was told last counts.
    run("select n from a", &[describe(&[("m", 23, 0)]), complete("SELECT 0")]);
    assert_eq!(run("select n from a", &[row(&[Some(b"7")]), complete("SELECT 1")]), shown.replace('n', "m"));
    // Rows of other columns are not those that were told of.
    let two = [row(&[Some(b"1"), Some(b"2")]), complete("SELECT 1")];
    let none = " column1 | column2 \n---------+---------\n 1       | 2\n(1 row)\n\n";
    assert_eq!(run("select n from a", &two), none);
    // Another statement has columns of its own, and one that returns no rows none.
    assert_eq!(run("select * from b", &two), none);
    assert_eq!(run("delete from a", &[complete("DELETE 3")]), "DELETE 3\n");
}
