//! Masking of values and texts: detectors, mask kinds, streams.
//!
//! Which column is masked is policy's answer ([`proxy_policy::MaskPlan`]); how a frame is rebuilt is the
//! protocol's. This room knows bytes of one value, or of one text, and hides what must be hidden.
//!
//! A finding is a function of the bytes near it: a keyword and what follows, or a number and what surrounds it.
//! Findings that share bytes are hidden as one. What a mask leaves is never a finding again.

mod check;
mod engine;
mod finding;
mod keywords;
mod kinds;
mod patterns;
mod pem;
mod personal;
mod rules;
mod secrets;
mod stream;
mod tails;

#[cfg(test)]
mod tests;

use engine::Engine;
use finding::{Edges, Finding, Pieces};
use kinds::Keys;
use proxy_policy::{DetectorChoice, Mask, MaskType};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

pub use stream::StreamMasker;

/// So many times a text is looked at, at most: until nothing more is found.
const ROUNDS: usize = 64;

/// Names and counts of what was masked, never values.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct MaskCounts(pub BTreeMap<String, u64>);

impl MaskCounts {
    /// Counts one more finding named `name`.
    pub fn add(&mut self, name: &str) {
        if let Some(count) = self.0.get_mut(name) {
            *count += 1;
        } else {
            self.0.insert(name.to_owned(), 1);
        }
    }

    /// How many findings there were of all names.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

/// Masks of one identity on one resource: compiled detectors and the tenant key. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Masker {
    engine: Arc<Engine>,
    keys: Arc<Keys>,
    tenant: TenantKey,
}

/// A finding: where it is, what it is called, and what is shown in its place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// Bytes to hide.
    pub range: Range<usize>,
    /// Name of what was found.
    pub name: String,
    /// What stands in its place.
    pub shown: Vec<u8>,
}

/// A key without a `Debug` of its bytes.
#[derive(Clone)]
struct TenantKey([u8; 32]);

impl std::fmt::Debug for TenantKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TenantKey(..)")
    }
}

impl Masker {
    /// Compiles the choices; compiled rule sets are shared by all maskers with the same choices.
    ///
    /// A detector chosen twice is masked as the first choice says. A pattern that does not compile hides whole texts:
    /// the policy compiler refuses it, so this is never seen.
    pub fn new(choices: &[DetectorChoice], tenant_key: &[u8; 32]) -> Self {
        Self {
            engine: engine::shared(choices),
            keys: Arc::new(Keys::new(tenant_key, engine::process_salt())),
            tenant: TenantKey(*tenant_key),
        }
    }

    /// Whether both find the same and mask it alike.
    pub fn masks_as(&self, other: &Self) -> bool {
        // as long as not very many are in use, equal choices are compiled once
        Arc::ptr_eq(&self.engine, &other.engine)
    }

    /// The same masks with hashes ([`MaskType::Hash`]) that belong to the log named `log`: equal values give equal
    /// hashes in one log, unrelated ones in two. Without this, hashes belong to the process.
    #[must_use]
    pub fn for_log(&self, log: &[u8]) -> Self {
        Self { keys: Arc::new(Keys::new(&self.tenant.0, log)), ..self.clone() }
    }

    /// Compiles what is otherwise compiled on first use, and says how many expressions that are: for who would rather
    /// wait at the start.
    pub fn compile_all() -> usize {
        (0..rules::all().len()).filter(|id| rules::compiled(*id).is_some()).count()
    }

    /// Whether there are any detectors: if not, texts pass untouched.
    pub fn has_detectors(&self) -> bool {
        self.engine.is_on()
    }

    /// Whether there are patterns of the author's own among them, which may find anything.
    pub fn has_patterns(&self) -> bool {
        self.engine.has_patterns()
    }

    /// Hides every finding in one complete value or text. Borrowed when there is none.
    ///
    /// A part of a text cannot be NULL: [`MaskType::Null`] is shown as `[MASKED:name]` here.
    pub fn text<'a>(&self, text: &'a [u8], counts: &mut MaskCounts) -> Cow<'a, [u8]> {
        let findings = self.engine.findings(text);
        if findings.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut out = Vec::with_capacity(text.len());
        self.render(text, &findings, counts, &mut out);
        // what is hidden may have kept something else from being found
        for _ in 1..ROUNDS {
            let findings = self.engine.findings(&out);
            if findings.is_empty() {
                break;
            }
            let mut next = Vec::with_capacity(out.len());
            self.render(&out, &findings, counts, &mut next);
            out = next;
        }
        Cow::Owned(out)
    }

    /// Every finding in one complete text: disjoint, in order. For protocols that look at a text in more than one way.
    pub fn found(&self, text: &[u8]) -> Vec<Found> {
        self.shown(text, self.engine.findings(text))
    }

    /// The same in a text that is put together from pieces. Where it is `open` their borders are lost, and a value may
    /// start in the middle of a word. A value that is told by the name before it ends where `whole` says that what stands
    /// in its place was not one before: elsewhere any words would be its end.
    pub fn found_in_pieces(
        &self,
        text: &[u8],
        open: bool,
        whole: &dyn Fn(Range<usize>) -> usize,
    ) -> Vec<Found> {
        self.shown(text, self.engine.findings_within(text, Edges::Pieces(Pieces { open, whole })))
    }

    fn shown(&self, text: &[u8], findings: Vec<Finding<'_>>) -> Vec<Found> {
        let shown = |finding: &Finding<'_>| {
            let value = text.get(finding.start..finding.end).unwrap_or_default();
            self.keys.replacement(finding.mask, finding.name, value)
        };
        let found = |finding: Finding<'_>| Found {
            range: finding.start..finding.end,
            name: finding.name.to_owned(),
            shown: shown(&finding),
        };
        findings.into_iter().map(found).collect()
    }

    /// Appends `text` with `findings`, disjoint and in order, replaced.
    fn render(&self, text: &[u8], findings: &[Finding<'_>], counts: &mut MaskCounts, out: &mut Vec<u8>) {
        let mut done = 0;
        for finding in findings {
            out.extend_from_slice(text.get(done..finding.start).unwrap_or_default());
            let value = text.get(finding.start..finding.end).unwrap_or_default();
            out.extend_from_slice(&self.keys.replacement(finding.mask, finding.name, value));
            counts.add(finding.name);
            done = finding.end;
        }
        out.extend_from_slice(text.get(done..).unwrap_or_default());
    }

    /// Masks one whole text value by a column rule; `None` is NULL.
    ///
    /// Bytes that are not UTF-8 are redacted whatever the kind.
    pub fn value(&self, mask: &Mask, name: &str, value: &[u8], counts: &mut MaskCounts) -> Option<Vec<u8>> {
        counts.add(name);
        match mask.type_ {
            MaskType::Null => None,
            MaskType::Redact | MaskType::Partial | MaskType::Hash | MaskType::Token => {
                Some(self.keys.replacement(mask, name, value))
            }
        }
    }

    /// Whether a frame of several values may hold a finding. `false` is certain: the frame can be forwarded as it is.
    ///
    /// `bytes` is a row as it stands in its frame: values with four-byte lengths before them, or delimited by control
    /// bytes. The cost is that of [`Self::text`] over a clean text of that length, in one call instead of one per value;
    /// checks of entropy and placeholders are left out, so some frames with `true` turn out clean.
    pub fn row_may_match(&self, bytes: &[u8]) -> bool {
        self.engine.may_match(bytes)
    }
}
