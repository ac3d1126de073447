//! Forms of a text: without literals for records, and canonical for digests.

use pg_query::protobuf::{ScanToken, Token};

/// What the scanner found in a text: its tokens, comments left out.
#[derive(Debug)]
pub(super) struct Scanned<'a> {
    pub(super) text: &'a str,
    pub(super) tokens: Vec<ScanToken>,
}

impl<'a> Scanned<'a> {
    /// The tokens of a text; `None` if the scanner cannot tell them.
    pub(super) fn of(text: &'a str) -> Option<Self> {
        if text.len() > super::parse::TEXT_MAX || text.contains('\0') {
            return None;
        }
        let blank = text.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c));
        // Of a text without tokens the library makes a slice from a null pointer.
        let mut tokens = if blank { Vec::new() } else { pg_query::scan_tokens(text).ok()? };
        tokens.retain(|token| !matches!(token.token(), Token::SqlComment | Token::CComment));
        Some(Self { text, tokens })
    }

    fn slice(&self, token: &ScanToken) -> &'a str {
        let range = usize::try_from(token.start).ok().zip(usize::try_from(token.end).ok());
        range.and_then(|(start, end)| self.text.get(start..end)).unwrap_or_default()
    }

    /// The text with every literal replaced by `$1`, `$2`, … in order, comments left out and white space evened.
    pub(super) fn masked(&self) -> String {
        let mut masked = String::with_capacity(self.text.len());
        let mut count = 0_usize;
        let mut end = 0;
        for token in &self.tokens {
            if !masked.is_empty() && token.start > end {
                masked.push(' ');
            }
            end = token.end;
            if is_literal(token.token()) {
                count += 1;
                masked.push('$');
                masked.push_str(&count.to_string());
            } else {
                masked.push_str(self.slice(token));
            }
        }
        masked
    }

    /// The tokens evened: keywords and unquoted names in lower case, one space between, no comments. Two texts with the
    /// same form are the same statement. Literals are kept: another value is another effect.
    pub(super) fn canonical(&self) -> String {
        let mut canonical = String::with_capacity(self.text.len());
        for token in &self.tokens {
            if !canonical.is_empty() {
                canonical.push(' ');
            }
            let text = self.slice(token);
            if is_literal(token.token()) || text.starts_with(['"', 'U', 'u']) {
                canonical.push_str(text);
            } else {
                canonical.push_str(&text.to_ascii_lowercase());
            }
        }
        canonical.trim_end_matches([' ', ';']).to_owned()
    }
}

/// Constants of every kind.
pub(super) fn is_literal(token: Token) -> bool {
    matches!(
        token,
        Token::Sconst | Token::Iconst | Token::Fconst | Token::Bconst | Token::Xconst | Token::Usconst
    )
}

/// Stands for a text that cannot be scanned.
pub(super) fn unreadable(text: &str) -> String {
    format!("(unparsable statement, {} bytes)", text.len())
}

#[cfg(test)]
mod tests {
    use super::Scanned;

    #[test]
    fn a_text_without_tokens_is_scanned_all_the_same() {
        let tokens = |text: &str| Scanned::of(text).map(|scanned| scanned.tokens.len());
        for text in ["", " \r\n\t", "\u{b}\u{c}", "-- nothing", "/* nothing */ "] {
            assert_eq!(tokens(text), Some(0), "{text:?}");
        }
        assert_eq!(tokens(";"), Some(1));
    }
}
