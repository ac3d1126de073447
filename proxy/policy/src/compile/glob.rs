//! The one wildcard of this API: `*` stands for any characters, dots included. Case-sensitive.

mod word;

pub(crate) use word::Word;

/// A pattern of literal parts with `*` between them. Matching neither allocates nor backtracks.
#[derive(Clone, Debug)]
pub(crate) struct Glob {
    /// What stands before the first, between, and after the last `*`; a single part means there is none.
    parts: Box<[Box<str>]>,
}

impl Glob {
    pub(crate) fn new(pattern: &str) -> Self {
        Self { parts: pattern.split('*').map(Into::into).collect() }
    }

    /// Whether the pattern has no `*`, so that equality decides.
    pub(crate) fn is_literal(&self) -> bool {
        self.parts.len() <= 1
    }

    /// Whether `part` stands literally somewhere in the pattern.
    pub(crate) fn contains(&self, part: char) -> bool {
        self.parts.iter().any(|text| text.contains(part))
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        let (first, rest) = match &*self.parts {
            [] => return text.is_empty(),
            [only] => return text == &**only,
            [first, rest @ ..] => (first, rest),
        };
        let Some((last, middle)) = rest.split_last() else { return false };
        let Some(mut text) = text.strip_prefix(&**first).and_then(|text| text.strip_suffix(&**last)) else {
            return false;
        };
        for part in middle {
            // The leftmost place is always as good as any later one.
            match text.split_once(&**part) {
                Some((_, after)) => text = after,
                None => return false,
            }
        }
        true
    }

    /// Whether some text that begins with `prefix` matches.
    fn admits_prefix(&self, prefix: &str) -> bool {
        match &*self.parts {
            [] => prefix.is_empty(),
            [only] => only.starts_with(prefix),
            // Past the first part there is a `*`, which takes whatever is left of the prefix.
            [first, ..] => first.starts_with(prefix) || prefix.starts_with(&**first),
        }
    }
}

/// Several patterns, any of which may match.
#[derive(Clone, Debug, Default)]
pub(crate) struct Globs(Box<[Glob]>);

impl Globs {
    pub(crate) fn new(patterns: &[String]) -> Self {
        Self(patterns.iter().map(|pattern| Glob::new(pattern)).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Glob> {
        self.0.iter()
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        self.0.iter().any(|glob| glob.matches(text))
    }

    /// Whether a word may become what some pattern matches.
    pub(crate) fn may_match(&self, word: &Word) -> bool {
        self.0.iter().any(|glob| glob.may_match(word))
    }

    /// Whether a word may become a directory above what some pattern names.
    pub(crate) fn may_be_below(&self, word: &Word) -> bool {
        self.0.iter().any(|glob| glob.may_be_below(word))
    }

    /// Whether some pattern matches whatever a word becomes.
    pub(crate) fn covers(&self, word: &Word) -> bool {
        self.0.iter().any(|glob| glob.covers(word))
    }
}

/// A pattern over `schema.table.column`, which also answers for whole rows.
#[derive(Clone, Debug)]
pub(crate) struct ColumnGlob {
    whole: Glob,
    /// Schema and table by themselves, where the pattern has exactly three parts.
    table: Option<(Glob, Glob)>,
}

impl ColumnGlob {
    /// `None` unless the pattern has at least two dots and no empty part.
    pub(crate) fn parse(pattern: &str) -> Option<Self> {
        let parts: Vec<&str> = pattern.split('.').collect();
        if parts.len() < 3 || parts.iter().any(|part| part.is_empty()) {
            return None;
        }
        let table = match parts.as_slice() {
            [schema, table, _] => Some((Glob::new(schema), Glob::new(table))),
            _ => None,
        };
        Some(Self { whole: Glob::new(pattern), table })
    }

    pub(crate) fn is_literal(&self) -> bool {
        self.whole.is_literal()
    }

    pub(crate) fn matches(&self, column: &str) -> bool {
        self.whole.matches(column)
    }

    /// Whether it matches any column of the relation `row`, given as `schema.table`.
    pub(crate) fn matches_row(&self, row: &str) -> bool {
        match (&self.table, row.split_once('.')) {
            (Some((schema, table)), Some((row_schema, row_table))) if !row_table.contains('.') => {
                schema.matches(row_schema) && table.matches(row_table)
            }
            // Names with dots in them: which dot separates cannot be told, so match too much.
            _ => self.whole.admits_prefix(row),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, text, expected) in [
            ("public.*", "public.orders", true),
            ("public.*", "publicorders", false),
            ("*", "", true),
            ("*", "a.b", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("**", "x", true),
            ("", "", true),
            ("", "x", false),
            ("Orders", "orders", false),
            ("*é*", "caféx", true),
        ] {
            assert_eq!(Glob::new(pattern).matches(text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn a_column_pattern_answers_for_whole_rows() {
        for (pattern, row, expected) in [
            ("public.users.email", "public.users", true),
            ("public.users.email", "public.orders", false),
            ("public.users.email", "public.users2", false),
            ("*.users.email", "app.users", true),
            ("public.*.email", "public.orders", true),
            ("pub*.x.y", "public.users", false),
            ("*.*.*", "public.users", true),
        ] {
            assert_eq!(ColumnGlob::parse(pattern).unwrap().matches_row(row), expected, "{pattern} on {row}");
        }
    }

    #[test]
    fn a_column_pattern_needs_schema_table_and_column() {
        for bad in ["email", "users.email", "public..email", ".users.email", "*"] {
            assert!(ColumnGlob::parse(bad).is_none(), "{bad}");
        }
    }
}
