//! What a program gets as an argument, as far as that can be told.

/// One argument, or several.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Arg {
    /// The value; where it is not known, the pattern or source that stands for it.
    pub(super) text: String,
    pub(super) sort: Sort,
}

/// What is known of an argument.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sort {
    /// This very value.
    Exact,
    /// Names of files that match; never an option.
    Names,
    /// Names of files anywhere below a directory; never an option.
    Tree,
    /// Names of files that match, one of which could be an option.
    AnyNames,
    /// One value of a known shape (a date, a number, the name of the host), never an option.
    Shaped,
    /// Anything: one argument or many, options too.
    Open,
}

impl Sort {
    /// What it is with a pattern behind it.
    pub(super) fn pattern(self) -> Self {
        match self {
            Self::Exact | Self::Names | Self::AnyNames => Self::Names,
            Self::Tree | Self::Shaped | Self::Open => self,
        }
    }
}

impl Arg {
    pub(super) fn exact(text: impl Into<String>) -> Self {
        Self { text: text.into(), sort: Sort::Exact }
    }

    pub(super) fn open(text: impl Into<String>) -> Self {
        Self { text: text.into(), sort: Sort::Open }
    }

    /// The value, if it is known.
    pub(super) fn value(&self) -> Option<&str> {
        (self.sort == Sort::Exact).then_some(self.text.as_str())
    }

    /// It stands for what its text may become.
    pub(super) fn is_pattern(&self) -> bool {
        matches!(self.sort, Sort::Names | Sort::AnyNames | Sort::Tree | Sort::Shaped)
    }

    /// It may be an option, and if so nobody knows which.
    pub(super) fn may_be_option(&self) -> bool {
        matches!(self.sort, Sort::Open | Sort::AnyNames)
    }

    /// Why nobody can tell what it is, and what to write instead where that is plain.
    pub(super) fn unclear(&self) -> String {
        let remedy = match self.sort {
            Sort::AnyNames => "; a name may be an option: write `./` in front of it",
            Sort::Open if self.text.starts_with('$') && !self.text.starts_with("$(") => {
                "; without quotes it may be several words"
            }
            Sort::Exact | Sort::Names | Sort::Tree | Sort::Shaped | Sort::Open => "",
        };
        format!("has the argument `{}`, which is not literal{remedy}", self.text)
    }

    /// It is an option, of which the rest is not known.
    pub(super) fn may_hold_option(&self) -> bool {
        self.is_pattern() && self.text.starts_with('-')
    }

    /// It is, or may be, an option that nobody can tell.
    pub(super) fn is_unclear_option(&self) -> bool {
        self.may_be_option() || self.may_hold_option()
    }

    /// Names that begin as this one does: what is made beside it.
    pub(super) fn beside(&self) -> Self {
        Self { text: format!("{}*", self.text), sort: self.sort.pattern() }
    }

    /// It may be several arguments.
    pub(super) fn may_be_several(&self) -> bool {
        matches!(self.sort, Sort::Open | Sort::AnyNames | Sort::Names | Sort::Tree)
    }

    /// An option for certain.
    pub(super) fn is_option(&self) -> bool {
        self.sort == Sort::Exact && self.text.len() > 1 && self.text.starts_with('-')
    }
}

/// Whether `arg` is a cluster of short options with `letter`: `-rf` has `f`. Letters of `with_value` end the cluster.
pub(super) fn has_short(arg: &Arg, letter: char, with_value: &str) -> bool {
    if !arg.is_option() || arg.text.starts_with("--") {
        return false;
    }
    for c in arg.text.chars().skip(1) {
        if c == letter {
            return true;
        }
        if with_value.contains(c) {
            return false;
        }
    }
    false
}

/// Whether `arg` is `--name`, with a value or without, or an abbreviation of at least `least` letters.
pub(super) fn is_long(arg: &Arg, name: &str, least: usize) -> bool {
    let Some(given) = arg.value().and_then(|text| text.strip_prefix("--")) else { return false };
    let given = given.split_once('=').map_or(given, |(given, _)| given);
    given.len() >= least && name.starts_with(given)
}
