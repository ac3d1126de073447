//! Column masks of all policies in one table, and the detectors of each policy.

use crds::v1alpha1::{Mask, MaskType, MaskingRule, PolicySpec, PredicateAccess};
use std::collections::HashMap;

use super::Problems;
use super::glob::ColumnGlob;
use crate::{DetectorChoice, FieldChoice};

/// Largest compiled size of an author's pattern, in bytes.
const MAX_PATTERN_SIZE: usize = 1 << 20;

/// Detectors of one policy.
pub(crate) type DetectorSet = Vec<DetectorChoice>;

/// One pattern of a masking rule.
#[derive(Debug)]
pub(crate) struct ColumnMask {
    /// Index of the policy in the set.
    pub(crate) policy: usize,
    pub(crate) mask: Mask,
    /// The policy refuses filtering by its masked columns.
    pub(crate) guards_predicates: bool,
    glob: ColumnGlob,
}

/// Every column mask of the set. Patterns without `*` are found by hashing, the others are tried one by one.
#[derive(Debug, Default)]
pub(crate) struct ColumnMasks {
    masks: Vec<ColumnMask>,
    /// Full name to masks.
    columns: HashMap<String, Vec<usize>>,
    /// `schema.table` to masks of its columns.
    rows: HashMap<String, Vec<usize>>,
    wild: Vec<usize>,
}

impl ColumnMasks {
    fn add(&mut self, pattern: &str, mask: ColumnMask) {
        let index = self.masks.len();
        if mask.glob.is_literal() {
            self.columns.entry(pattern.to_owned()).or_default().push(index);
            // With dots in a name, which one separates cannot be told: then the pattern is tried as a wild one too.
            match pattern.rsplit_once('.') {
                Some((row, _)) if row.matches('.').count() == 1 => {
                    self.rows.entry(row.to_owned()).or_default().push(index);
                }
                _ => self.wild.push(index),
            }
        } else {
            self.wild.push(index);
        }
        self.masks.push(mask);
    }

    /// Masks whose pattern matches `source`, of whichever policy. `schema.table.*` is every column of the table.
    pub(crate) fn hits<'a>(&'a self, source: &'a str) -> impl Iterator<Item = &'a ColumnMask> {
        let row = source.strip_suffix(".*");
        let literal = match row {
            Some(row) => self.rows.get(row),
            None => self.columns.get(source),
        };
        let literal = literal.into_iter().flatten().filter_map(|index| self.masks.get(*index));
        let wild =
            self.wild.iter().filter_map(|index| self.masks.get(*index)).filter(move |mask| match row {
                Some(row) => mask.glob.matches_row(row),
                None => mask.glob.matches(source),
            });
        literal.chain(wild)
    }

    /// Masks that cover `target` for certain. Of `schema.table.*`, where it is not known which column is meant,
    /// only patterns that match every column do.
    pub(crate) fn covers<'a>(&'a self, target: &'a str) -> impl Iterator<Item = &'a ColumnMask> {
        // The pattern sees the `*` of the target as a character that only a `*` of its own matches.
        let literal =
            self.columns.get(target).into_iter().flatten().filter_map(|index| self.masks.get(*index));
        let wild = self.wild.iter().filter_map(|index| self.masks.get(*index));
        literal.chain(wild.filter(move |mask| mask.glob.matches(target)))
    }
}

/// Compiles `spec.masking` of the policy at `policy` into `masks`, and gives its detectors.
pub(super) fn compile(
    masks: &mut ColumnMasks,
    policy: usize,
    spec: &PolicySpec,
    problems: &mut Problems<'_>,
) -> DetectorSet {
    let guards_predicates = spec.masked_predicates == PredicateAccess::Deny;
    let mut detectors = DetectorSet::new();
    for (index, rule) in spec.masking.iter().enumerate() {
        let path = format!("spec.masking[{index}]");
        check(&path, rule, problems);
        for (position, pattern) in rule.columns.iter().enumerate() {
            match ColumnGlob::parse(pattern) {
                Some(glob) => {
                    masks.add(pattern, ColumnMask { policy, mask: rule.with.clone(), guards_predicates, glob });
                }
                None => problems.add(
                    format!("{path}.columns[{position}]"),
                    format!("`{pattern}` is no column; expected schema.table.column, where `*` stands for any characters"),
                ),
            }
        }
        if !rule.detectors.is_empty() || !rule.patterns.is_empty() {
            detectors.push(DetectorChoice {
                detectors: rule.detectors.clone(),
                patterns: rule.patterns.clone(),
                with: rule.with.clone(),
            });
        }
    }
    detectors
}

/// Masks of fields of objects.
pub(super) fn fields(spec: &PolicySpec) -> Vec<FieldChoice> {
    let rules = spec.masking.iter().filter_map(|rule| Some((rule.fields.as_ref()?, &rule.with)));
    let choices = rules.map(|(fields, with)| FieldChoice {
        resources: fields.resources.clone(),
        paths: fields.paths.clone(),
        with: with.clone(),
    });
    choices.collect()
}

fn check(path: &str, rule: &MaskingRule, problems: &mut Problems<'_>) {
    let set = [
        !rule.columns.is_empty(),
        rule.fields.is_some(),
        !rule.detectors.is_empty(),
        !rule.patterns.is_empty(),
    ];
    if set.iter().filter(|set| **set).count() != 1 {
        problems.add(path, "set exactly one of columns, fields, detectors and patterns");
    }
    match (rule.with.type_, rule.with.keep_last) {
        (MaskType::Partial, Some(keep)) if !(1..=8).contains(&keep) => {
            problems.add(format!("{path}.with.keepLast"), "must be from 1 to 8");
        }
        (MaskType::Partial, _) | (_, None) => {}
        (_, Some(_)) => problems.add(format!("{path}.with.keepLast"), "is only for `type: Partial`"),
    }
    for (index, pattern) in rule.patterns.iter().enumerate() {
        let compiled = regex::bytes::RegexBuilder::new(&pattern.regex).size_limit(MAX_PATTERN_SIZE).build();
        let field = format!("{path}.patterns[{index}].regex");
        match compiled {
            Ok(regex) if regex.is_match(b"") => {
                problems.add(field, "matches the empty text, so it would mask everywhere");
            }
            Ok(_) => {}
            Err(regex::Error::CompiledTooBig(_)) => problems.add(field, "is too large once compiled"),
            Err(error) => problems.add(field, last_line(&error.to_string())),
        }
    }
}

/// `regex` draws the place over several lines; the last one says what is wrong.
fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or(text).trim().to_owned()
}
