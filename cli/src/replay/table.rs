//! psql's aligned output: <https://www.postgresql.org/docs/current/app-psql.html#APP-PSQL-META-COMMAND-PSET-FORMAT>.

use unicode_width::UnicodeWidthStr;

/// A column's head.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) name: String,
    /// Its values are aligned to the right.
    pub(crate) right: bool,
}

/// Rows of a result. All text is printable.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) heads: Vec<Head>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    /// As psql prints it, with its row count and an empty line after it.
    pub(crate) fn aligned(&self) -> String {
        aligned(&self.heads, &self.rows)
    }
}

fn aligned(heads: &[Head], rows: &[Vec<String>]) -> String {
    if heads.is_empty() {
        return format!("--\n{}", format_count(rows.len()));
    }
    let widths: Vec<usize> =
        heads.iter().enumerate().map(|(number, head)| width(head, number, rows)).collect();
    let mut out = String::new();
    let head: Vec<String> = heads
        .iter()
        .zip(&widths)
        .map(|(head, width)| format!(" {} ", centered(&head.name, *width)))
        .collect();
    out.push_str(&head.join("|"));
    out.push('\n');
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
    out.push_str(&rule.join("+"));
    out.push('\n');
    for row in rows {
        push_row(&mut out, heads, &widths, row);
    }
    let count = rows.len();
    out.push_str(&format_count(count));
    out
}

fn format_count(count: usize) -> String {
    if count == 1 { "(1 row)\n\n".to_owned() } else { format!("({count} rows)\n\n") }
}

fn width(head: &Head, number: usize, rows: &[Vec<String>]) -> usize {
    let cells = rows.iter().filter_map(|row| row.get(number)).flat_map(|cell| cell.lines());
    cells.map(UnicodeWidthStr::width).max().unwrap_or_default().max(head.name.width())
}

fn centered(text: &str, width: usize) -> String {
    let space = width.saturating_sub(text.width());
    format!("{}{text}{}", " ".repeat(space / 2), " ".repeat(space - space / 2))
}

/// A row takes as many lines as its highest cell; a `+` stands where a cell goes on.
fn push_row(out: &mut String, heads: &[Head], widths: &[usize], row: &[String]) {
    let cells: Vec<Vec<&str>> = row.iter().map(|cell| cell.split('\n').collect()).collect();
    let height = cells.iter().map(Vec::len).max().unwrap_or(1).max(1);
    let last = heads.len().saturating_sub(1);
    for line in 0..height {
        for (number, (head, width)) in heads.iter().zip(widths).enumerate() {
            let cell = cells.get(number);
            let text = cell.and_then(|cell| cell.get(line)).copied().unwrap_or_default();
            let goes_on = cell.is_some_and(|cell| line + 1 < cell.len());
            let space = " ".repeat(width.saturating_sub(text.width()));
            let (before, after) = if head.right { (space.as_str(), "") } else { ("", space.as_str()) };
            out.extend([" ", before, text]);
            if number < last || goes_on {
                out.extend([after, if goes_on { "+" } else { " " }]);
            }
            if number < last {
                out.push('|');
            }
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_looks_as_psql_prints_it() {
        let heads = [
            Head { name: "id".to_owned(), right: true },
            Head { name: "name".to_owned(), right: false },
            Head { name: "note".to_owned(), right: false },
        ];
        let rows = [
            vec!["1".to_owned(), "Alice".to_owned(), String::new()],
            vec!["20".to_owned(), "Bö".to_owned(), "two\nlines".to_owned()],
        ];
        let expected = " id | name  | note  \n----+-------+-------\n  1 | Alice | \n 20 | Bö    | two  +\n    |       | lines\n(2 rows)\n\n";
        assert_eq!(aligned(&heads, &rows), expected);
    }

    #[test]
    fn rows_without_columns_are_counted() {
        assert_eq!(aligned(&[], &[vec![]]), "--\n(1 row)\n\n");
    }

    #[test]
    fn one_row_is_counted_in_the_singular() {
        let heads = [Head { name: "?column?".to_owned(), right: true }];
        let expected = " ?column? \n----------\n        1\n(1 row)\n\n";
        assert_eq!(aligned(&heads, &[vec!["1".to_owned()]]), expected);
    }
}
