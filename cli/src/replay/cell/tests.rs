use super::*;

fn binary_cell(oid: u32) -> CellType {
    CellType { oid, binary: true }
}

#[test]
fn a_binary_value_is_shown_as_its_text_or_as_hexadecimal() {
    assert_eq!(binary_cell(Type::INT4.oid()).show(&[0, 0, 0, 7]), "7");
    assert_eq!(binary_cell(Type::INT4.oid()).show(&[1, 2]), "\\x0102", "wrong length");
    assert_eq!(binary_cell(99_999).show(&[1]), "\\x01", "somebody's own type");
    assert_eq!(CellType::default().show(&[0xff]), "\\xff");
}

#[test]
fn escape_sequences_do_not_reach_the_terminal() {
    assert_eq!(CellType::default().show(b"a\x1b[2J"), "a\\x1B[2J");
    assert_eq!(binary_cell(Type::TEXT.oid()).show(b"a\x1b[2J"), "a\\x1B[2J");
    assert_eq!(CellType::default().show("é\r\u{9b}\u{202e}".as_bytes()), "é\\r\\u009B\u{fffd}");
    assert_eq!(CellType::default().show(b"ab\tc\n\td"), "ab      c\n        d");
}
