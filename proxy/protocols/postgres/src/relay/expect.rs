//! What the server still owes, in order. Every message that is sent upstream leaves an entry; answers take them off the
//! front, so that each answer meets the permit it belongs to.

use super::meaning::Made;
use super::names::Portal;
use crate::analyze::{Analysis, StatementKind};
use crate::catalogue::{self, Catalogue, Relation};
use crate::frontend::refusal;
use crate::mask::{self, ColumnMask, CopyFormat, RowPlan, Shape, Withhold};
use crate::messages::{Column, Malformed};
use bytes::{Bytes, BytesMut};
use proxy_core::gate::{Gate, Permit};
use proxy_core::mask::MaskCounts;
use proxy_core::refusal::{Refusal, RefusalKind};
use proxy_policy::{ColumnName, Mask, MaskType, OutputMask, Outputs, Provenance};
use std::sync::Arc;

/// One thing that the server owes, or that stands in its place.
#[derive(Debug)]
pub(crate) enum Expect {
    /// `ParseComplete`.
    Parse {
        /// Name of the statement.
        name: String,
        /// Its text.
        text: Arc<str>,
        /// Types of its parameters, as sent.
        types: Arc<[u8]>,
        /// What it means.
        made: Made,
    },
    /// `BindComplete`.
    Bind {
        /// Name of the portal.
        name: String,
        /// What it will be.
        portal: Portal,
    },
    /// `CloseComplete`.
    Close {
        /// `S` or `P`.
        kind: u8,
        /// Its name.
        name: String,
    },
    /// `RowDescription` or `NoData`, before it `ParameterDescription` for a statement.
    Describe {
        /// `S` or `P`.
        kind: u8,
        /// Its name.
        name: String,
        /// Names of its columns cannot be foreseen, so they are withheld.
        withhold: bool,
        /// What a statement means now that the server may plan it again.
        made: Option<Made>,
    },
    /// The result of a portal.
    Execute(Box<Running>),
    /// The results of a simple query, up to `ReadyForQuery`.
    Query(Box<Running>),
    /// `ReadyForQuery`.
    Sync {
        /// How many ends of copying in the client had sent before it.
        copies: u64,
    },
    /// An error that we provoked, to be replaced by this refusal.
    Poison(Bytes),
    /// Nothing: this is our own answer, whose turn it is.
    Answer {
        /// The frames.
        frames: Bytes,
        /// `ReadyForQuery` follows.
        ready: bool,
    },
}

impl Expect {
    /// It makes or closes a statement or portal that has a name, or does not.
    pub(crate) fn makes_a_name(&self) -> bool {
        match self {
            Self::Parse { name, .. } | Self::Bind { name, .. } | Self::Close { name, .. } => !name.is_empty(),
            Self::Describe { .. }
            | Self::Execute(_)
            | Self::Query(_)
            | Self::Sync { .. }
            | Self::Poison(_)
            | Self::Answer { .. } => false,
        }
    }
}

/// So many bytes wait behind a completion that is kept back; what comes then takes it along.
const KEPT_BACK_MAX: usize = 64 * 1024;

/// A command that runs at the server.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) permit: Permit,
    /// Name of its portal.
    pub(crate) portal: String,
    pub(crate) analysis: Arc<Analysis>,
    pub(crate) counts: MaskCounts,
    pub(crate) rows: u64,
    /// SQLSTATE of its failure.
    pub(crate) failure: Option<String>,
    /// Completion of a result, kept back until something follows it: the last one waits for the record.
    pub(crate) completion: BytesMut,
    /// Types of the current result's columns.
    pub(crate) shapes: Arc<[Shape]>,
    /// Masks of the current result's rows.
    pub(crate) plan: RowPlan,
    /// How the current result is copied out, where it has to be looked into.
    pub(crate) format: Option<CopyFormat>,
    /// A commit was answered with a rollback.
    pub(crate) undone: bool,
    /// Which result is current.
    pub(super) result: usize,
    /// The server asked for data to copy in.
    pub(crate) copying_in: bool,
    /// How many ends of copying in the client had sent before it.
    pub(crate) copies: u64,
    /// Columns are masked for the identity, be it none of this command.
    pub(crate) masks_columns: bool,
}

impl Running {
    pub(crate) fn new(permit: Permit, analysis: Arc<Analysis>, (copies, masks_columns): (u64, bool)) -> Self {
        let mut running = Self {
            permit,
            portal: String::new(),
            analysis,
            counts: MaskCounts::default(),
            rows: 0,
            failure: None,
            completion: BytesMut::new(),
            shapes: Arc::default(),
            plan: RowPlan::Clear,
            format: None,
            undone: false,
            result: 0,
            copying_in: false,
            copies,
            masks_columns,
        };
        running.plan = running.plan_of(0);
        running
    }

    /// One result is complete, with this tag.
    pub(crate) fn completed(&mut self, tag: &str) {
        let kind = self.analysis.statements.get(self.result).map(|statement| &statement.kind);
        self.undone |= tag == "ROLLBACK" && matches!(kind, Some(StatementKind::Commit { .. }));
        let number = tag.rsplit(' ').next().and_then(|word| word.parse().ok());
        self.rows = self.rows.max(number.unwrap_or_default());
    }

    /// It may begin or end a transaction.
    pub(crate) fn controls_transaction(&self) -> bool {
        let controls = |kind: &StatementKind| {
            matches!(
                kind,
                StatementKind::Begin | StatementKind::Commit { .. } | StatementKind::Rollback { .. }
            )
        };
        self.analysis.statements.iter().any(|one| controls(&one.kind))
    }

    /// The next result begins.
    pub(crate) fn next_result(&mut self) {
        self.result = self.result.saturating_add(1);
        self.shapes = Arc::default();
        self.plan = self.plan_of(self.result);
    }

    pub(crate) fn describe(&mut self, columns: &[Column<'_>]) {
        self.shapes = shapes(columns);
    }

    /// A copy whose format cannot be masked, though it would have to be.
    pub(crate) fn cannot_mask(&self) -> Option<Refusal> {
        let mut statements = self.analysis.statements.iter().enumerate();
        let found = statements.any(|(index, statement)| {
            statement.kind == StatementKind::CopyOut && self.copy_format(index, &self.plan_of(index)).is_err()
        });
        found.then(|| {
            let message = "this form of COPY cannot be masked, and its values would have to be";
            refusal(
                RefusalKind::Denied,
                message,
                "copy as text, csv or binary, in UTF-8 and with the usual NULL, or use SELECT",
            )
        })
    }

    /// The current result is copied out: its rows are read in its own format, and binary ones by the types that the
    /// catalogue knows of columns which come as they are. The server does not tell them.
    ///
    /// # Errors
    /// The format is not one that can be masked.
    pub(crate) fn copies_out(&mut self, catalogue: Option<&Catalogue>) -> Result<(), Malformed> {
        if self.plan != RowPlan::Clear {
            self.format = self.copy_format(self.result, &self.plan)?;
        }
        if matches!(self.format, Some(CopyFormat::Binary { .. })) {
            self.shapes = self.foreseen(catalogue);
        }
        Ok(())
    }

    /// The columns of a binary copy, as far as their types are known.
    fn foreseen(&self, catalogue: Option<&Catalogue>) -> Arc<[Shape]> {
        let Some(Outputs::Columns(columns)) = self.analysis.command.reading.outputs.get(self.result) else {
            return Arc::default();
        };
        let shape = |type_oid| Shape { type_oid, format: 1, origin: (0, 0) };
        let of = |column: &Provenance| {
            let mut types = column.sources.iter().map(|source| type_of(source, catalogue?));
            let first = types.next().flatten().filter(|_| column.verbatim && !column.opaque)?;
            types.all(|other| other == Some(first)).then_some(first)
        };
        columns.iter().map(|column| of(column).map(shape).unwrap_or_default()).collect()
    }

    /// The format in which a copy goes out, if it has to be known.
    ///
    /// # Errors
    /// It is not one that can be masked.
    fn copy_format(&self, result: usize, plan: &RowPlan) -> Result<Option<CopyFormat>, Malformed> {
        let known = || CopyFormat::of(&self.analysis.command.text, result);
        let format = match plan {
            RowPlan::Clear => return Ok(None),
            RowPlan::Detect => known(),
            RowPlan::Columns(_) | RowPlan::Whole(_) => known().filter(CopyFormat::tells_nulls),
        };
        format.map(Some).ok_or(Malformed("the copy has options that are not known"))
    }

    /// What of the server's words about it does not pass.
    pub(crate) fn withholds(&self) -> Withhold {
        match (self.permit.mask().tainted, self.masks_columns) {
            (true, _) => Withhold::Values,
            (false, true) => Withhold::Rows,
            (false, false) => Withhold::Findings,
        }
    }

    /// Puts bytes behind the completion that is kept back, if one is and there is room for them.
    pub(crate) fn keeps_back(&mut self, bytes: &[u8]) -> bool {
        let keeps = !self.completion.is_empty() && self.completion.len() < KEPT_BACK_MAX;
        if keeps {
            self.completion.extend_from_slice(bytes);
        }
        keeps
    }

    /// It has a statement that copies in.
    pub(crate) fn may_copy_in(&self) -> bool {
        self.analysis.statements.iter().any(|statement| statement.kind == StatementKind::CopyIn)
    }

    /// It changes what later texts mean: they wait for its end.
    pub(crate) fn changes_meaning(&self) -> bool {
        changes_meaning(&self.analysis)
    }

    fn plan_of(&self, result: usize) -> RowPlan {
        let mask = self.permit.mask();
        let detect = if self.permit.masker().has_detectors() { RowPlan::Detect } else { RowPlan::Clear };
        let has_none = self.analysis.command.reading.outputs.get(result) == Some(&Outputs::None);
        match mask.outputs.get(result) {
            // Rows all the same: of a rule on what it changes.
            Some(OutputMask::Clear) if has_none && self.masks_columns => unforeseen(),
            Some(OutputMask::Clear) => detect,
            Some(OutputMask::Columns(masks)) => {
                let named = masks.iter().enumerate().map(|(index, mask)| {
                    let mask = mask.clone()?;
                    Some(ColumnMask {
                        mask,
                        name: self.column_name(index),
                        hides_null: self.is_computed(index),
                    })
                });
                RowPlan::Columns(named.collect())
            }
            Some(OutputMask::Whole(mask)) => {
                let name = "column of unknown origin".to_owned();
                RowPlan::Whole(ColumnMask { mask: mask.clone(), name, hides_null: true })
            }
            None if mask.outputs.is_empty() && !mask.tainted => detect,
            // A result that nobody foresaw, of a command that has masks.
            None => unforeseen(),
        }
    }

    /// Holds what the server says of the current result's columns against what was foreseen: a column that is masked and
    /// would come in clear is not what the statement's names were taken for, and then nothing of the result is. Gives
    /// whether that was so.
    pub(crate) fn surprises(&mut self, catalogue: Option<&Catalogue>, gate: &mut Gate) -> bool {
        let Some(catalogue) = catalogue.filter(|_| self.masks_columns) else { return false };
        let mut in_clear = |(index, shape): (usize, &Shape)| {
            let (table, number) = shape.origin;
            if number <= 0 || self.plan.masks(index) {
                return false;
            }
            let Some(relation) = catalogue.relation_by_oid(table) else {
                return self.is_of_masked_table(index, catalogue, gate);
            };
            let column = relation.columns.iter().find(|column| column.attnum == number);
            // of a number that nobody knows nobody knows what it is
            column.is_none_or(|column| is_masked(relation, column, gate))
        };
        let surprised = self.shapes.iter().enumerate().any(&mut in_clear);
        if surprised {
            self.plan = unforeseen();
        }
        surprised
    }

    /// The column is taken for one of a table with masked columns, while it is of a table that nobody knows: the other may
    /// have been swapped for it, and its columns may stand in another order.
    fn is_of_masked_table(&self, index: usize, catalogue: &Catalogue, gate: &mut Gate) -> bool {
        let Some(Outputs::Columns(columns)) = self.analysis.command.reading.outputs.get(self.result) else {
            return false;
        };
        let sources = columns.get(index).into_iter().flat_map(|column| &column.sources);
        let mut tables = sources.filter_map(|source| {
            let (schema, name) = source.0.rsplit_once('.')?.0.split_once('.')?;
            // one that the session made has no identifier here
            catalogue.relation(schema, name).filter(|relation| relation.oid != 0)
        });
        tables.any(|table| table.columns.iter().any(|column| is_masked(table, column, gate)))
    }

    /// It is more, or may be, than the value of one column.
    fn is_computed(&self, index: usize) -> bool {
        let Some(Outputs::Columns(columns)) = self.analysis.command.reading.outputs.get(self.result) else {
            return true;
        };
        columns.get(index).is_none_or(|column| !column.verbatim || column.opaque)
    }

    fn column_name(&self, index: usize) -> String {
        let output = self.analysis.command.reading.outputs.get(self.result);
        let source = match output {
            Some(Outputs::Columns(columns)) => columns.get(index).and_then(|column| column.sources.first()),
            Some(Outputs::None | Outputs::Unaligned(_)) | None => None,
        };
        source.map_or_else(
            || format!("column {}", index.saturating_add(1)),
            |source| format!("column {source}"),
        )
    }
}

fn is_masked(relation: &Relation, column: &catalogue::Column, gate: &mut Gate) -> bool {
    gate.masks_column(&format!("{}.{}.{}", relation.schema, relation.name, column.name))
}

/// The type of a column, if it carries no text: a mask leaves NULL of it, as of one whose type is not known.
fn type_of(source: &ColumnName, catalogue: &Catalogue) -> Option<u32> {
    let (table, column) = source.0.rsplit_once('.')?;
    let (schema, name) = table.split_once('.')?;
    let columns = &catalogue.relation(schema, name)?.columns;
    let type_oid = columns.iter().find(|known| known.name == column)?.type_oid;
    mask::is_fixed(type_oid).then_some(type_oid)
}

/// The mask of a result that nobody foresaw.
fn unforeseen() -> RowPlan {
    let mask = Mask { type_: MaskType::Null, keep_last: None };
    RowPlan::Whole(ColumnMask { mask, name: "unforeseen result".to_owned(), hides_null: true })
}

/// A text whose success changes what later texts mean.
pub(crate) fn changes_meaning(analysis: &Analysis) -> bool {
    !analysis.state_changes.is_empty() || analysis.catalogue_changed
}

/// Types and formats of described columns.
pub(crate) fn shapes(columns: &[Column<'_>]) -> Arc<[Shape]> {
    let shape = |column: &Column<'_>| Shape {
        type_oid: column.type_oid,
        format: column.format,
        origin: (column.table, column.number),
    };
    columns.iter().map(shape).collect()
}
