//! Errors and notices, as psql shows them in its default verbosity: `reportErrorPosition` of
//! <https://github.com/postgres/postgres/blob/REL_18_STABLE/src/interfaces/libpq/fe-protocol3.c>.

use super::Fields;
use crate::output::printable;
use unicode_width::UnicodeWidthChar as _;

/// Most columns of a statement's line that are shown.
const MOST_COLUMNS: usize = 60;

/// So many columns behind the place of an error are shown, where the line goes on.
const COLUMNS_BEHIND: usize = 10;

/// An error or a notice about a statement of this text.
pub(super) fn report(body: &[u8], statement: &str) -> String {
    let mut fields = Fields(body);
    let [mut severity, mut message, mut detail, mut hint, mut query, mut context] =
        [const { String::new() }; 6];
    let (mut is_error, mut place, mut inner_place) = (false, None, None);
    while let Some(&[code]) = fields.take(1) {
        let Some(text) = fields.cstring().filter(|_| code != 0) else { break };
        let text = printable(&text);
        match code {
            b'S' => severity = text,
            b'V' => is_error = text == "ERROR" || text == "FATAL" || text == "PANIC",
            b'M' => message = text,
            b'P' => place = text.parse().ok(),
            b'p' => inner_place = text.parse().ok(),
            b'D' => detail = format!("DETAIL:  {text}\n"),
            b'H' => hint = format!("HINT:  {text}\n"),
            b'q' => query = text,
            b'W' if is_error => context = format!("CONTEXT:  {text}\n"),
            _ => {}
        }
    }
    let line = match (place, inner_place) {
        // A record has no values, so nobody knows where the place is that is counted with them.
        (Some(_), _) if has_placeholders(statement) => None,
        (Some(place), _) => line(statement, place),
        (None, Some(place)) => line(&query, place),
        (None, None) => None,
    };
    let line = line.unwrap_or_default();
    let query = if query.is_empty() { query } else { format!("QUERY:  {query}\n") };
    format!("{severity}:  {message}\n{line}{detail}{hint}{query}{context}")
}

fn has_placeholders(statement: &str) -> bool {
    statement.as_bytes().windows(2).any(|pair| matches!(pair, [b'$', b'0'..=b'9']))
}

/// The line of a statement that has its so many-th character, from 1, and below it a mark at this character. A long line
/// is cut on either side.
fn line(statement: &str, place: usize) -> Option<String> {
    let place = place.checked_sub(1)?;
    let text: Vec<char> = printable(statement).chars().map(|c| if c == '\t' { ' ' } else { c }).collect();
    let (before, after) = text.split_at_checked(place)?;
    let begin = before.iter().rposition(|c| *c == '\n').map_or(0, |end| end + 1);
    let number = before.iter().filter(|c| **c == '\n').count() + 1;
    let (before, after) = (before.get(begin..)?, after.split(|c| *c == '\n').next()?);

    let (mut left, mut right, mut cut) = (before, after, ("", ""));
    if width(before) + width(after) > MOST_COLUMNS {
        if MOST_COLUMNS >= width(before) + COLUMNS_BEHIND {
            while width(left) + width(right) > MOST_COLUMNS {
                right = right.split_last()?.1;
            }
            cut.1 = "...";
        } else {
            while width(right) > COLUMNS_BEHIND {
                right = right.split_last()?.1;
                cut.1 = "...";
            }
            while width(left) + width(right) > MOST_COLUMNS {
                left = left.split_first()?.1;
                cut.0 = "...";
            }
        }
    }
    let head = format!("LINE {number}: {}", cut.0);
    let mark = " ".repeat(head.len() + width(left));
    let shown: String = left.iter().chain(right).collect();
    Some(format!("{head}{shown}{}\n{mark}^\n", cut.1))
}

fn width(text: &[char]) -> usize {
    text.iter().map(|c| c.width().unwrap_or(1).max(1)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report_at(place: usize, statement: &str) -> String {
        let body = format!("SERROR\0VERROR\0C42703\0Mno\0P{place}\0\0");
        report(body.as_bytes(), statement).strip_prefix("ERROR:  no\n").unwrap().to_owned()
    }

    #[test]
    fn the_place_of_an_error_is_marked_as_psql_marks_it() {
        assert_eq!(report_at(8, "select broken"), "LINE 1: select broken\n               ^\n");
        assert_eq!(report_at(14, "select\n\t'漢', x\n from t"), "LINE 2:  '漢', x\n               ^\n");
        // What psql 15 prints.
        let before = format!("select 1{} broken from x", " +1".repeat(22));
        let expected = format!("LINE 1: ...1{} broken from x\n{}^\n", " +1".repeat(15), " ".repeat(70));
        assert_eq!(report_at(before.len(), &before), expected);
        let behind = format!("select broken {}", "+ 1".repeat(30));
        let shown = report_at(8, &behind);
        assert_eq!(
            shown.lines().next().unwrap().len(),
            "LINE 1: ".len() + MOST_COLUMNS + "...".len(),
            "{shown}"
        );
        assert!(shown.ends_with("...\n               ^\n"), "{shown}");
    }

    #[test]
    fn a_place_that_is_not_there_is_not_marked() {
        for place in [0, 15, usize::MAX] {
            assert_eq!(report_at(place, "select broken"), "", "{place}");
        }
        assert_eq!(
            report_at(14, "select broken"),
            "LINE 1: select broken\n                     ^\n",
            "its end"
        );
    }
}
