//! From text to a syntax tree, within bounds that keep the parser's time and stack small.
//!
//! The parser is a recursive one that tries alternatives again at each level of parentheses and of `case`: without a
//! bound a line of forty `(` would take it years.

use super::found::Why;
use brush_parser::{ParseError, ParserOptions, Token, TokenizerError, ast};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Longest text that is analysed, in bytes. Longer ones are not known.
pub(super) const TEXT_MAX: usize = 64 * 1024;

/// So many expansions may begin in one text.
const EXPANSIONS_MAX: usize = 1_000;
/// So many compound commands may begin in one text.
const COMPOUNDS_MAX: usize = 200;
/// So many `case` may stand in one text.
const CASES_MAX: usize = 6;
/// So deep may parentheses be nested.
const PARENTHESES_MAX: usize = 8;
/// Digits of a file descriptor.
const DESCRIPTOR_MAX: usize = 8;

/// How much the parser may be made to recurse by a text: many times that in kilobytes of stack.
pub(super) fn openings(text: &str) -> usize {
    let expansions = text.matches("$(").count() + text.matches("${").count() + text.matches("$[").count();
    let words =
        text.split(|c: char| c.is_whitespace() || ";|&()".contains(c)).filter(|word| opens(word)).count();
    expansions + words + text.matches('(').count()
}

/// The tokens of a text.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Why> {
    if let Some(why) = refused(text) {
        return Err(why);
    }
    let options = options().tokenizer_options();
    let tokens = caught(|| brush_parser::uncached_tokenize_str(text, &options).ok())?;
    let tokens = tokens.ok_or_else(|| Why::new("it is not a command line that bash can parse"))?;
    if has_joined_substitution(&tokens) {
        return Err(Why::new("a process substitution within a word"));
    }
    Ok(tokens)
}

/// Whether `<(…)` stands right behind a word: to bash it belongs to that.
fn has_joined_substitution(tokens: &[Token]) -> bool {
    let joined = |one: &Token, next: &Token| one.location().end.index == next.location().start.index;
    tokens.windows(3).any(|three| match three {
        [word @ Token::Word(..), sign @ Token::Operator(operator, _), paren @ Token::Operator(opens, _)] => {
            matches!(operator.as_str(), "<" | ">")
                && opens == "("
                && joined(word, sign)
                && joined(sign, paren)
        }
        _ => false,
    })
}

/// Why a text is not even cut into tokens.
fn refused(text: &str) -> Option<Why> {
    if text.len() > TEXT_MAX {
        return Some(Why::new(format!("it is longer than {TEXT_MAX} bytes")));
    }
    if text.chars().any(|c| c == '\0') {
        return Some(Why::new("it holds a NUL"));
    }
    let expansions = text.matches("$(").count() + text.matches("${").count() + text.matches("$[").count();
    if expansions > EXPANSIONS_MAX {
        return Some(Why::new(format!("it holds more than {EXPANSIONS_MAX} expansions")));
    }
    if may_lack_an_end_tag(text) {
        return Some(Why::new("it has a here-document with an empty end tag"));
    }
    has_long_descriptor(text).then(|| Why::new("a file descriptor out of range"))
}

/// Whether a here-document of the text may end with an empty line: at the end of such a text the parser's tokens never
/// end, and take all memory. Where quotes leave no doubt that what looks like one is text, it is text.
fn may_lack_an_end_tag(text: &str) -> bool {
    let text = text.replace("\\\n", "");
    // What else opens or closes a quote, or keeps one from doing so.
    let sure = ['\'', '"'].into_iter().find(|quote| {
        let others = ['\'', '"', '\\', '$', '`', '#'];
        !text.contains(others.map(|other| if other == *quote { '\0' } else { other }))
    });
    let (mut rest, mut quoted, mut documents) = (text.as_str(), false, false);
    while let Some((before, run)) = rest.find('<').map(|at| rest.split_at(at)) {
        quoted ^= sure.is_some_and(|quote| before.matches(quote).count() % 2 == 1);
        rest = run.trim_start_matches('<');
        let length = run.len() - rest.len();
        let here_string = length == 3 && !before.ends_with('\\');
        // in a here-document a quote is a letter, and says nothing of what follows
        if length >= 2 && !here_string && (documents || !quoted) {
            if begins_like_no_tag(rest) {
                return true;
            }
            documents = true;
        }
    }
    false
}

/// Whether nothing, or nothing but quotes and blanks, may be left of an end tag that is written so.
fn begins_like_no_tag(tag: &str) -> bool {
    let tag = tag.strip_prefix('-').unwrap_or(tag);
    let tag = tag.strip_prefix([' ', '\t']).unwrap_or(tag);
    let mut characters = tag.chars();
    match characters.next() {
        Some('\'' | '"' | '\\') => {
            characters.next().is_none_or(|c| c.is_ascii_whitespace() || matches!(c, '\'' | '"' | '\\'))
        }
        // a blank before an operator is a tag of its own within `$(…)`
        Some(c) => c.is_ascii_whitespace() || ";|&()<>#".contains(c),
        None => false,
    }
}

/// The commands of a text.
pub(super) fn program(tokens: &[Token]) -> Result<ast::Program, Why> {
    bounded(tokens)?;
    caught(|| brush_parser::parse_tokens(tokens, &options()).ok())?
        .ok_or_else(|| Why::new("it is not a command line that bash can parse"))
}

/// What is open at the end of a text, so that a shell would read on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Open {
    /// Here-documents with these end tags.
    Documents(Vec<String>),
    /// A quote.
    Quote(char),
    /// Something that any line may end.
    Other,
}

impl Open {
    /// Whether it may end with a line like this.
    pub(super) fn may_end_with(&self, line: &str) -> bool {
        match self {
            Self::Documents(tags) => {
                let line = line.trim_matches(['\t', '\r']);
                tags.iter().any(|tag| tag == line)
            }
            Self::Quote(quote) => line.contains(*quote),
            Self::Other => true,
        }
    }
}

/// What is open at the end of the text; `None`: a shell would run it without reading on. A text that is not parsed for
/// its bounds counts as complete: it will be unknown.
pub(super) fn open(text: &str) -> Option<Open> {
    if refused(text).is_some() || openings(text) > super::SHALLOW_MAX {
        return None;
    }
    let options = options();
    let parsed = caught(|| {
        let tokens = match brush_parser::uncached_tokenize_str(text, &options.tokenizer_options()) {
            Ok(tokens) => tokens,
            Err(error) => return unfinished(&error).or_else(|| text.ends_with('\\').then_some(Open::Other)),
        };
        let ends_early = |tokens: &[Token]| {
            matches!(brush_parser::parse_tokens(tokens, &options), Err(ParseError::ParsingAtEndOfInput))
        };
        (bounded(&tokens).is_ok() && !tokens.is_empty() && ends_early(&tokens)).then_some(Open::Other)
    });
    parsed.unwrap_or(None)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the parser's crate says itself what is incomplete")]
fn unfinished(error: &TokenizerError) -> Option<Open> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    match error {
        TokenizerError::UnterminatedHereDocuments(tags, _) => {
            let tags: Vec<String> =
                tags.split(", ").map(|tag| tag.replace(['\'', '"', '\\'], "").trim().to_owned()).collect();
            // a tag that is read in another way than here would never be seen to come
            let known = tags.iter().all(|tag| !tag.is_empty() && tag.chars().all(plain));
            Some(if known { Open::Documents(tags) } else { Open::Other })
        }
        TokenizerError::UnterminatedSingleQuote(_) | TokenizerError::UnterminatedAnsiCQuote(_) => {
            Some(Open::Quote('\''))
        }
        TokenizerError::UnterminatedDoubleQuote(_) => Some(Open::Quote('"')),
        error => error.is_incomplete().then_some(Open::Other),
    }
}

/// Extended patterns are off in a shell that runs a command line.
fn options() -> ParserOptions {
    ParserOptions { enable_extended_globbing: false, ..ParserOptions::default() }
}

/// The bounds above leave nothing known that would make the parser panic; if something does, nothing is known.
fn caught<T>(parse: impl FnOnce() -> T) -> Result<T, Why> {
    catch_unwind(AssertUnwindSafe(parse)).map_err(|_panic| Why::new("its syntax cannot be analysed"))
}

fn opens(word: &str) -> bool {
    matches!(word, "{" | "if" | "while" | "until" | "for" | "case" | "[[" | "function" | "coproc" | "elif")
}

fn bounded(tokens: &[Token]) -> Result<(), Why> {
    let (mut compounds, mut cases, mut depth) = (0_usize, 0_usize, 0_usize);
    for token in tokens {
        match token {
            Token::Operator(operator, _) if operator == "(" => depth += 1,
            Token::Operator(operator, _) if operator == ")" => depth = depth.saturating_sub(1),
            Token::Operator(..) => {}
            Token::Word(word, _) => {
                compounds += usize::from(opens(word));
                cases += usize::from(word == "case");
            }
        }
        if compounds > COMPOUNDS_MAX || cases > CASES_MAX || depth > PARENTHESES_MAX {
            return Err(Why::new("it nests too many commands in each other"));
        }
    }
    Ok(())
}

fn has_long_descriptor(text: &str) -> bool {
    let mut digits = 0;
    for c in text.chars() {
        match c {
            '0'..='9' => digits += 1,
            '<' | '>' if digits > DESCRIPTOR_MAX => return true,
            _ => digits = 0,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_here_document_that_may_lack_an_end_tag_is_not_cut_into_tokens() {
        let blank = [
            "$(<<  ",
            "a $(b <<-  ",
            "$(<<\r\r",
            "x $(cat <<  EOF ",
            "$(a<< <<+b c ",
            "$(a << ;b ",
            "$(a << #b",
            "x $(cat <<\\\n  EOF ",
        ];
        let empty = [
            "cat <<'' ",
            "cat <<-\"\" ",
            "cat << '' ",
            "a <<'' | ",
            "a <<'' b <<'' ",
            "x <<\\\n'' ",
            "cat <<\\ ",
            "a <<<<<'' ",
        ];
        let unsure = ["echo \\' <<'' ", "echo \"'\" <<'' ", "# '\ncat <<'' ", "cat <<X\nit's\nX\ncat <<'' "];
        for text in [&blank[..], &empty, &unsure].concat() {
            assert!(tokens(text).is_err() && open(text).is_none(), "{text}");
        }
        for text in [
            "cat <<EOF\nx\nEOF",
            "cat << EOF\nx\nEOF",
            "cat <<-'EOF'\nx\nEOF",
            "cat <<\\EOF\nx\nEOF",
            "git grep '<<<<<<<' src",
            "echo \"1 <<  2\"",
            "cat <<<''",
            "cat <<< \"$x\"",
            "echo $((1 << 2))",
            "grep -c '<<' x; grep '<<' y",
            "$(cat <<X\na\nX\n)",
        ] {
            assert!(tokens(text).is_ok(), "{text}");
        }
        assert_eq!(open("cat <<EOF\nx"), Some(Open::Documents(vec!["EOF".to_owned()])));
    }
}
