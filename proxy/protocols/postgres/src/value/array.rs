//! Lists, of any number of dimensions: <https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO>.

use postgres_types::{Kind, Type};
use std::fmt::Write as _;

/// Most dimensions that the server makes.
const MOST_DIMENSIONS: usize = 6;

/// Length and first index.
#[derive(Clone, Copy)]
struct Dimension {
    length: usize,
    first: i32,
}

/// Number of dimensions, whether there are nulls, type of the elements, of each dimension its length and first index;
/// then each element with its length.
pub(super) fn text(element: &Type, value: &[u8]) -> Option<String> {
    let mut rest = value;
    let count = usize::try_from(number(&mut rest)?).ok().filter(|count| *count <= MOST_DIMENSIONS)?;
    number(&mut rest)?; // nulls
    let is_list = matches!(element.kind(), Kind::Array(_));
    if number(&mut rest)?.cast_unsigned() != element.oid() || is_list {
        return None;
    }
    let (mut dimensions, mut elements) = (Vec::new(), 1_usize);
    for _ in 0..count {
        let length = usize::try_from(number(&mut rest)?).ok().filter(|length| *length > 0)?;
        elements = elements.checked_mul(length)?;
        dimensions.push(Dimension { length, first: number(&mut rest)? });
    }
    // Each element has a length of four bytes, so none is walked that cannot be there.
    if count > 0 && elements > rest.len() / 4 {
        return None;
    }
    let mut text = String::new();
    if dimensions.iter().any(|dimension| dimension.first != 1) {
        for Dimension { length, first } in &dimensions {
            let last = i64::from(*first) + i64::try_from(*length).ok()? - 1;
            write!(text, "[{first}:{last}]").ok()?;
        }
        text.push('=');
    }
    if dimensions.is_empty() {
        text.push_str("{}");
    } else {
        list(&dimensions, element, &mut rest, &mut text)?;
    }
    rest.is_empty().then_some(text)
}

fn number(rest: &mut &[u8]) -> Option<i32> {
    let (number, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(i32::from_be_bytes(*number))
}

/// One dimension; within it the others.
fn list(dimensions: &[Dimension], element: &Type, rest: &mut &[u8], text: &mut String) -> Option<()> {
    let (dimension, inner) = dimensions.split_first()?;
    text.push('{');
    for index in 0..dimension.length {
        if index > 0 {
            text.push(',');
        }
        if inner.is_empty() {
            match number(rest)? {
                -1 => text.push_str("NULL"),
                length => {
                    let (value, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                    *rest = after;
                    text.push_str(&quoted(&super::written(element, value)?));
                }
            }
        } else {
            list(inner, element, rest, text)?;
        }
    }
    text.push('}');
    Some(())
}

/// An element in quotes, where it could be read as something else.
fn quoted(element: &str) -> String {
    let special =
        |c: char| matches!(c, '"' | '\\' | '{' | '}' | ',') || c.is_ascii_whitespace() || c == '\x0b';
    if !element.is_empty() && !element.eq_ignore_ascii_case("null") && !element.contains(special) {
        return element.to_owned();
    }
    let mut text = "\"".to_owned();
    for c in element.chars() {
        if matches!(c, '"' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text + "\""
}
