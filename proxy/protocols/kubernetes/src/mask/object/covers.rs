//! Which rules hold where: what of a path is outside an object, and what covers a member.

use super::{Walk, header};
use crate::mask::Unmaskable;
use crate::mask::rules::{Field, Withholds};
use std::sync::Arc;

/// How the values below a node are masked.
#[derive(Clone, Debug)]
pub(super) enum Cover {
    /// By detectors.
    Open,
    /// As this field.
    Field(Arc<[Field]>, usize),
    /// Texts are withheld, whatever they say; counted by this name.
    Withheld(&'static str),
    /// An error's text: withheld where it quotes an object.
    Quoting,
}

/// Where an object begins: how much of the path is outside it, and its rules.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) offset: usize,
    pub(super) kind: Kind,
}

/// Whose rules they are.
#[derive(Debug)]
pub(super) enum Kind {
    /// An object of the request.
    Own(Arc<[Field]>),
    Secret(Arc<[Field]>),
    /// A `Status` whose messages may quote what is masked.
    Status(Withholds),
}

impl Walk<'_> {
    /// An object of the request begins here.
    pub(super) fn begin(&mut self) {
        self.starts.push(Start { offset: self.path.len(), kind: Kind::Own(Arc::clone(&self.rules.fields)) });
    }

    /// Goes down to a member: its path, its rules, what covers it.
    pub(super) fn enter(&mut self, name: &str, cover: &Cover) -> Cover {
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(name);
        if self.is_embedded(name) {
            self.begin();
        }
        self.cover(cover)
    }

    /// What covers the member that the path has come to.
    fn cover(&self, cover: &Cover) -> Cover {
        if !matches!(cover, Cover::Open) {
            return cover.clone();
        }
        for start in &self.starts {
            let path = self.path.get(start.offset..).unwrap_or_default();
            let path = path.strip_prefix('.').unwrap_or(path);
            match &start.kind {
                Kind::Status(withholds) => {
                    if matches!(path, "message" | "details.causes.message") {
                        return withheld(*withholds);
                    }
                }
                Kind::Own(fields) | Kind::Secret(fields) => {
                    if let Some(index) = fields.iter().position(|field| field.matches(path)) {
                        return Cover::Field(Arc::clone(fields), index);
                    }
                }
            }
        }
        if self.rules.hides_cells && self.relative() == "rows.cells" {
            return Cover::Withheld("cell");
        }
        Cover::Open
    }

    /// The path within the innermost object.
    pub(super) fn relative(&self) -> &str {
        let offset = self.starts.last().map_or(0, |start| start.offset);
        let path = self.path.get(offset..).unwrap_or_default();
        path.strip_prefix('.').unwrap_or(path)
    }

    /// Whether the member `name` is an object in its own right: of an event, or of a Table's row.
    fn is_embedded(&self, name: &str) -> bool {
        name == "object" && matches!(self.relative(), "object" | "rows.object")
    }

    /// Asks the object that is next what it is.
    pub(super) fn ask(&mut self) -> Result<(), Unmaskable> {
        let header = header::read(self.scanner.clone())?;
        let kind = match header.kind.as_ref() {
            "Secret" => Kind::Secret(Arc::clone(&self.rules.secrets)),
            "Status" if !header.is_plain() => Kind::Status(self.rules.withholds),
            _ if self.within.secret => Kind::Secret(Arc::clone(&self.rules.secrets)),
            _ => return Ok(()),
        };
        self.starts.push(Start { offset: self.path.len(), kind });
        Ok(())
    }

    /// Whether what is next belongs to a Secret.
    pub(super) fn is_in_secret(&self) -> bool {
        self.within.secret
            || self.rules.is_of_secrets
            || self.starts.iter().any(|start| matches!(start.kind, Kind::Secret(_)))
    }
}

const fn withheld(withholds: Withholds) -> Cover {
    match withholds {
        Withholds::Nothing => Cover::Open,
        Withholds::Objects => Cover::Quoting,
        Withholds::Values => Cover::Withheld("message"),
    }
}
