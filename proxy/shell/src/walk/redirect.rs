//! Where a command reads from and writes to.

use super::super::argument::{Arg, Sort};
use super::super::expand;
use super::super::found::{FileEffect, Why};
use super::super::word;
use super::{Dialect, Walk};
use brush_parser::ast;

/// What a command reads as its standard input.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in super::super) enum Input {
    /// What the client sends.
    Client,
    /// What another command writes, or what else nobody can tell.
    Computed,
    /// Names of files below these paths, each ended by a NUL.
    Paths(Vec<Arg>),
    /// This very text.
    Literal(String),
    /// A file.
    File(String),
}

impl Walk {
    /// Records what redirections touch; what the command reads then.
    pub(super) fn redirects(&mut self, redirects: Option<&ast::RedirectList>, input: &Input) -> Input {
        let mut input = input.clone();
        for redirect in redirects.iter().flat_map(|list| &list.0) {
            self.redirect(redirect, &mut input);
        }
        input
    }

    pub(super) fn redirect(&mut self, redirect: &ast::IoRedirect, input: &mut Input) {
        match redirect {
            ast::IoRedirect::File(descriptor, ..)
            | ast::IoRedirect::HereString(descriptor, _)
            | ast::IoRedirect::HereDocument(descriptor, _) => self.keeps_off(*descriptor),
            ast::IoRedirect::OutputAndError(..) => {}
        }
        match redirect {
            ast::IoRedirect::File(descriptor, kind, target) => self.file(*descriptor, kind, target, input),
            ast::IoRedirect::OutputAndError(target, _) => {
                self.target(&target.value, FileEffect::WRITE);
            }
            ast::IoRedirect::HereString(descriptor, word) => {
                let pieces = self.word(&word.value);
                let value = expand::value(&pieces, self.scope());
                let literal = match value.as_slice() {
                    [value] => value.value().map(|text| Input::Literal(format!("{text}\n"))),
                    _ => None,
                };
                put(input, *descriptor, literal.unwrap_or(Input::Computed));
            }
            ast::IoRedirect::HereDocument(descriptor, document) => {
                let read = self.document(document);
                put(input, *descriptor, read);
            }
        }
    }

    fn document(&mut self, document: &ast::IoHereDocument) -> Input {
        let tag = &document.here_end.value;
        let bare = tag.strip_prefix('\\').unwrap_or(tag);
        let bare = ['"', '\''].iter().fold(bare, |tag, quote| {
            tag.strip_prefix(*quote).and_then(|tag| tag.strip_suffix(*quote)).unwrap_or(tag)
        });
        if bare.is_empty() || !bare.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        {
            self.found.doubt(Why::new("a here-document with an unusual end tag"));
            return Input::Computed;
        }
        let body = &document.doc.value;
        if !document.requires_expansion {
            return Input::Literal(body.clone());
        }
        let pieces = word::decode_body(body);
        let pieces = self.pieces(pieces);
        match expand::value(&pieces, self.scope()).as_slice() {
            [value] if value.sort == Sort::Exact => Input::Literal(value.text.clone()),
            _ => Input::Computed,
        }
    }

    fn file(
        &mut self,
        descriptor: Option<ast::IoFd>,
        kind: &ast::IoFileRedirectKind,
        target: &ast::IoFileRedirectTarget,
        input: &mut Input,
    ) {
        use ast::IoFileRedirectKind as Kind;
        let word = match target {
            ast::IoFileRedirectTarget::ProcessSubstitution(_, shell) => {
                self.apart(|walk| walk.list(&shell.list));
                if matches!(kind, Kind::Read | Kind::ReadAndWrite) {
                    put(input, descriptor, Input::Computed);
                }
                return;
            }
            ast::IoFileRedirectTarget::Fd(copied) => return self.keeps_off(Some(*copied)),
            ast::IoFileRedirectTarget::Filename(word) => word,
            ast::IoFileRedirectTarget::Duplicate(word) => {
                self.keeps_off_copy(&word.value);
                if word.value.starts_with('-') && word.value.len() > 1 {
                    self.found.doubt(Why::new("a word behind `>&-`, which shells read differently"));
                }
                let plain = word.value.trim_end_matches('-');
                if plain.chars().all(|c| c.is_ascii_digit()) {
                    if matches!(kind, Kind::DuplicateInput) {
                        put(input, descriptor, Input::Computed);
                    }
                    return;
                }
                word
            }
        };
        match kind {
            Kind::Read | Kind::DuplicateInput => {
                let read = self.target(&word.value, FileEffect::READ);
                put(input, descriptor, read.map_or(Input::Computed, Input::File));
            }
            Kind::ReadAndWrite => {
                self.target(&word.value, FileEffect::READ);
                self.target(&word.value, FileEffect::WRITE);
                put(input, descriptor, Input::Computed);
            }
            Kind::Write | Kind::Append | Kind::Clobber | Kind::DuplicateOutput => {
                self.target(&word.value, FileEffect::WRITE);
            }
        }
    }

    /// Touches the file of a redirection; its name if that is known.
    fn target(&mut self, raw: &str, done: FileEffect) -> Option<String> {
        let pieces = self.word(raw);
        let lists = self.expanded(std::slice::from_ref(&pieces));
        if self.dialect != Dialect::Bash {
            // other shells take what is left of it for one name
            let whole = expand::value(&pieces, self.scope());
            for arg in whole
                .iter()
                .filter(|arg| arg.sort == Sort::Exact && !lists.iter().flatten().any(|told| told == *arg))
            {
                self.file_touch(arg, done, None);
            }
        }
        let mut name = None;
        for arg in lists.iter().flatten() {
            if arg.sort == Sort::Open {
                self.found
                    .doubt_program(Why::new(format!("the shell opens `{}`, which is not literal", arg.text)));
            }
            name = (lists.len() == 1 && arg.sort == Sort::Exact).then(|| arg.text.clone());
            self.file_touch(arg, done, None);
        }
        name
    }
}

fn put(input: &mut Input, descriptor: Option<ast::IoFd>, read: Input) {
    if descriptor.unwrap_or(0) == 0 {
        *input = read;
    }
}
