//! All detectors of one list of choices, compiled together and shared.

use super::finding::{Edges, Finding, Sink, merged};
use super::kinds::Names;
use super::patterns::Patterns;
use super::personal::Personal;
use super::secrets::Secrets;
use proxy_policy::DetectorChoice;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// So many different lists of choices are kept compiled.
const SHARED_LIMIT: usize = 256;

/// Compiled detectors.
#[derive(Debug)]
pub(super) struct Engine {
    secrets: Secrets,
    personal: Personal,
    patterns: Patterns,
    /// Names of the masks that these detectors leave, and of others.
    names: Names,
}

impl Engine {
    fn new(choices: &[DetectorChoice]) -> Self {
        let detectors: Vec<_> = choices
            .iter()
            .flat_map(|choice| choice.detectors.iter().map(|detector| (*detector, &choice.with)))
            .collect();
        let mut personal = Personal::default();
        for (detector, mask) in &detectors {
            personal.select(*detector, mask);
        }
        let patterns = Patterns::new(choices);
        let names = Names::new(patterns.names());
        Self { secrets: Secrets::new(&detectors), personal, patterns, names }
    }

    pub(super) fn is_on(&self) -> bool {
        self.secrets.is_on() || self.personal.is_on() || self.patterns.is_on()
    }

    pub(super) fn has_patterns(&self) -> bool {
        self.patterns.is_on()
    }

    /// What must be hidden in a whole text: disjoint, in order.
    pub(super) fn findings(&self, text: &[u8]) -> Vec<Finding<'_>> {
        self.findings_within(text, Edges::Exact)
    }

    /// The same of a text that stands as `edges` say.
    pub(super) fn findings_within(&self, text: &[u8], edges: Edges<'_>) -> Vec<Finding<'_>> {
        let mut sink = Sink::new(false);
        self.scan(text, edges, &mut sink);
        self.patterns.scan(text, &mut sink);
        if sink.findings.is_empty() {
            return Vec::new();
        }
        let mut found = merged(sink.findings);
        found.retain(|finding| !self.names.hide(text, finding.start, finding.end));
        found
    }

    /// Whether a frame of values may hold a finding.
    pub(super) fn may_match(&self, frame: &[u8]) -> bool {
        let mut sink = Sink::new(true);
        self.scan(frame, Edges::Framed, &mut sink);
        sink.is_done() || self.patterns.may_match(frame)
    }

    fn scan<'a>(&'a self, text: &[u8], edges: Edges<'_>, sink: &mut Sink<'a>) {
        self.secrets.scan(text, edges, &self.names, sink);
        if self.personal.is_on() && !sink.is_done() {
            self.personal.scan(text, edges, sink);
        }
    }
}

/// The engine for these choices, compiled once per process.
pub(super) fn shared(choices: &[DetectorChoice]) -> Arc<Engine> {
    static SHARED: OnceLock<Mutex<HashMap<String, Arc<Engine>>>> = OnceLock::new();
    // `Debug` of a choice writes every field of it, and nothing secret
    let key = format!("{choices:?}");
    let mut shared = SHARED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(engine) = shared.get(&key) {
        return Arc::clone(engine);
    }
    if shared.len() >= SHARED_LIMIT {
        shared.clear();
    }
    let engine = Arc::new(Engine::new(choices));
    shared.insert(key, Arc::clone(&engine));
    engine
}

/// Makes hashes of this process differ from those of any other.
pub(super) fn process_salt() -> &'static [u8; 16] {
    static SALT: OnceLock<[u8; 16]> = OnceLock::new();
    SALT.get_or_init(rand::random)
}
