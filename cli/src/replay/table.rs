//! psql's aligned output: <https://www.postgresql.org/docs/current/app-psql.html#APP-PSQL-META-COMMAND-PSET-FORMAT>.

use unicode_width::UnicodeWidthChar as _;

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
    push_heads(&mut out, heads, &widths);
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
    let cells = rows.iter().filter_map(|row| row.get(number)).map(String::as_str);
    let lines = cells.chain([head.name.as_str()]).flat_map(|text| text.split('\n'));
    lines.map(columns).max().unwrap_or_default()
}

/// Columns that a line takes, as psql counts them: each character for itself, so that what a terminal joins to one (a
/// family, a flag) is as wide as its parts. Left are vowel signs of some scripts, which psql 15 counts.
fn columns(line: &str) -> usize {
    line.chars().map(|c| if is_counted(c) { 1 } else { c.width().unwrap_or_default() }).sum()
}

/// What shows nothing and still counts for psql 15: characters that format, and the parts of Korean syllables.
const fn is_counted(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
        | '\u{1160}'..='\u{11ff}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{206f}'
        | '\u{d7b0}'..='\u{d7fb}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}

/// Names of several lines are centered line by line; a `+` stands where one goes on.
fn push_heads(out: &mut String, heads: &[Head], widths: &[usize]) {
    let names: Vec<Vec<&str>> = heads.iter().map(|head| head.name.split('\n').collect()).collect();
    let height = names.iter().map(Vec::len).max().unwrap_or(1);
    for line in 0..height {
        let cells = names.iter().zip(widths).map(|(name, width)| {
            let text = name.get(line).copied().unwrap_or_default();
            format!(" {}{}", centered(text, *width), if line + 1 < name.len() { "+" } else { " " })
        });
        out.push_str(&cells.collect::<Vec<_>>().join("|"));
        out.push('\n');
    }
}

fn centered(text: &str, width: usize) -> String {
    let space = width.saturating_sub(columns(text));
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
            let space = " ".repeat(width.saturating_sub(columns(text)));
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

    fn left(name: &str) -> Head {
        Head { name: name.to_owned(), right: false }
    }

    #[test]
    fn a_name_of_several_lines_begins_none_of_its_own() {
        let heads = [left("a\n-- bc\nd"), left("long head"), left("p\nq\nr\ns")];
        let expected = "   a  +| long head | p+\n -- bc+|           | q+\n   d   |           | r+\n       |           | s \n-------+-----------+---\n 1     | x         | y\n(1 row)\n\n";
        let row = ["1", "x", "y"].map(str::to_owned).to_vec();
        assert_eq!(aligned(&heads, &[row]), expected);
        let expected = "  h +| last+\n  i  | one  \n-----+------\n one+| x\n two | \n(1 row)\n\n";
        let row = ["one\ntwo", "x"].map(str::to_owned).to_vec();
        assert_eq!(aligned(&[left("h\ni"), left("last\none")], &[row]), expected);
    }

    /// Each as psql 15 aligns it.
    #[test]
    fn characters_are_as_wide_as_they_are_for_psql() {
        for (text, width) in [
            ("\u{200b}", 1),
            ("a\u{200d}b", 3),
            ("\u{1f468}\u{200d}\u{1f469}", 5),
            ("e\u{301}", 1),
            ("\u{fe0f}\u{2764}", 1),
            ("日本", 4),
            ("\u{ad}\u{600}\u{2060}\u{feff}", 4),
            ("\u{1100}\u{1161}\u{11a8}", 4),
            ("\u{1f1e9}\u{1f1ea}", 2),
            ("\u{2764}\u{231a}\u{a9}\u{3000}\u{ff01}\u{ffe0}", 10),
        ] {
            assert_eq!(columns(text), width, "{text:?}");
        }
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
