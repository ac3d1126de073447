//! What analyses are remembered by: the text, and everything in the session that its meaning depends on.

use super::history::{History, Part};
use super::{Analysis, SessionState};
use crate::catalogue::Catalogue;
use std::borrow::Borrow;
use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Everything that an analysis depends on besides the text.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Circumstances<'a> {
    role: &'a str,
    database: &'a str,
    search_path: &'a [String],
    history: History,
    generation: u64,
}

impl<'a> Circumstances<'a> {
    pub(crate) fn of(state: &'a SessionState, catalogue: &Catalogue) -> Self {
        Self {
            role: &state.role,
            database: &state.database,
            search_path: &state.search_path,
            history: state.history(),
            generation: catalogue.generation(),
        }
    }

    pub(super) const fn key(self, subject: u8, text: &'a str) -> Parts<'a> {
        Parts { subject, text, circumstances: self }
    }
}

/// The parts of a key: asking copies nothing.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Parts<'a> {
    subject: u8,
    text: &'a str,
    circumstances: Circumstances<'a>,
}

impl Parts<'_> {
    pub(super) fn to_key(self) -> Key {
        let Parts { subject, text, circumstances } = self;
        Key { subject, text: text.to_owned(), circumstances: circumstances.into() }
    }
}

/// A key that is kept.
#[derive(Debug)]
pub(super) struct Key {
    subject: u8,
    text: String,
    circumstances: Kept,
}

#[derive(Clone, Debug)]
struct Kept {
    role: String,
    database: String,
    search_path: Vec<String>,
    history: History,
    generation: u64,
}

impl Kept {
    fn get(&self) -> Circumstances<'_> {
        let Self { role, database, search_path, history, generation } = self;
        Circumstances { role, database, search_path, history: *history, generation: *generation }
    }
}

impl From<Circumstances<'_>> for Kept {
    fn from(circumstances: Circumstances<'_>) -> Self {
        let Circumstances { role, database, search_path, history, generation } = circumstances;
        Self {
            role: role.to_owned(),
            database: database.to_owned(),
            search_path: search_path.to_owned(),
            history,
            generation,
        }
    }
}

/// Has the parts of a key. Keys and parts are compared and hashed as those, so that one finds the other.
pub(super) trait Keyed {
    fn parts(&self) -> Parts<'_>;
}

impl Keyed for Parts<'_> {
    fn parts(&self) -> Parts<'_> {
        *self
    }
}

impl Keyed for Key {
    fn parts(&self) -> Parts<'_> {
        Parts { subject: self.subject, text: &self.text, circumstances: self.circumstances.get() }
    }
}

impl Hash for dyn Keyed + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl PartialEq for dyn Keyed + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for dyn Keyed + '_ {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Key {}

impl<'a> Borrow<dyn Keyed + 'a> for Key {
    fn borrow(&self) -> &(dyn Keyed + 'a) {
        self
    }
}

/// Everything that names depend on: where it is the same, so is what they stand for.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Sense {
    role: String,
    search_path: Vec<String>,
    objects: Part,
    generation: u64,
}

impl Sense {
    pub(crate) fn of(state: &SessionState, catalogue: &Catalogue) -> Self {
        Self {
            role: state.role.clone(),
            search_path: state.search_path.clone(),
            objects: state.history().objects,
            generation: catalogue.generation(),
        }
    }

    /// Whether this is still what names depend on.
    pub(crate) fn holds(&self, state: &SessionState, catalogue: &Catalogue) -> bool {
        self.objects == state.history().objects
            && self.generation == catalogue.generation()
            && self.role == state.role
            && self.search_path == state.search_path
    }

    /// The same objects are there, be it that they are looked up by another path. Where the server takes two paths for
    /// the same, the same names stand for the same; where it does not, it analyses anew.
    pub(crate) fn has_the_objects_of(&self, other: &Self) -> bool {
        self.objects == other.objects && self.generation == other.generation
    }
}

/// The analyses of what a session ran last. Its prepared texts are known by their address.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    under: Option<Kept>,
    analyses: VecDeque<(Arc<str>, Arc<Analysis>)>,
}

impl Recent {
    /// What this very text meant, if nothing has changed since that it depends on.
    pub(crate) fn of(&self, text: &Arc<str>, circumstances: Circumstances<'_>) -> Option<&Arc<Analysis>> {
        self.under.as_ref().filter(|under| under.get() == circumstances)?;
        self.analyses.iter().find(|(known, _)| Arc::ptr_eq(known, text)).map(|(_, analysis)| analysis)
    }

    /// Keeps in mind what a text means.
    pub(crate) fn keep(&mut self, text: &Arc<str>, circumstances: Circumstances<'_>, is: &Arc<Analysis>) {
        if self.under.as_ref().is_none_or(|under| under.get() != circumstances) {
            self.under = Some(circumstances.into());
            self.analyses.clear();
        }
        self.analyses.truncate(RECENT.saturating_sub(1));
        self.analyses.push_front((Arc::clone(text), Arc::clone(is)));
    }
}

/// As many texts as the transaction of an ordinary program has.
const RECENT: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn parts_find_the_key_that_was_made_of_them_and_no_other() {
        let path = ["a".to_owned(), "b".to_owned()];
        let mut history = History::default();
        history.objects.changed("by a test");
        let under = Circumstances { role: "r", database: "d", search_path: &path, history, generation: 2 };
        let known = HashSet::from([under.key(0, "select 1").to_key()]);
        let finds = |parts: Parts<'_>| known.contains(&parts as &dyn Keyed);
        assert!(finds(under.key(0, "select 1")));
        for other in [
            under.key(1, "select 1"),
            under.key(0, "select 2"),
            Circumstances { role: "d", database: "r", ..under }.key(0, "select 1"),
            Circumstances { search_path: &path[..1], ..under }.key(0, "select 1"),
            Circumstances { history: History::default(), ..under }.key(0, "select 1"),
            Circumstances { generation: 3, ..under }.key(0, "select 1"),
        ] {
            assert!(!finds(other), "{other:?}");
        }
    }

    #[test]
    fn a_text_is_known_by_its_address_and_only_while_nothing_changes() {
        let catalogue = Catalogue::build(std::iter::empty()).unwrap();
        let mut state = SessionState::new("app", "shop");
        let analyzer = super::super::Analyzer::new(8);
        let text: Arc<str> = "SELECT 1".into();
        let analysis = analyzer.analyze(&text, &state, &catalogue);
        let mut recent = Recent::default();
        recent.keep(&text, Circumstances::of(&state, &catalogue), &analysis);
        let knows = |recent: &Recent, text: &Arc<str>, state: &SessionState, catalogue: &Catalogue| {
            recent.of(text, Circumstances::of(state, catalogue)).is_some()
        };
        assert!(knows(&recent, &text, &state, &catalogue));
        assert!(!knows(&recent, &"SELECT 1".into(), &state, &catalogue));
        let newer = Catalogue::build(std::iter::empty()).unwrap();
        assert!(!knows(&recent, &text, &state, &newer));
        let path = state.search_path.clone();
        state.search_path = vec!["elsewhere".to_owned()];
        assert!(!knows(&recent, &text, &state, &catalogue));
        state.search_path = path;
        assert!(knows(&recent, &text, &state, &catalogue));
        state.prepare("a", &"SELECT 2".into(), analysis.meant());
        assert!(!knows(&recent, &text, &state, &catalogue));
        recent.keep(&"SELECT 3".into(), Circumstances::of(&state, &catalogue), &analysis);
        assert!(!knows(&recent, &text, &state, &catalogue), "what was known before the change is forgotten");
        for number in 0..RECENT * 2 {
            let other: Arc<str> = format!("SELECT {number}").into();
            recent.keep(&other, Circumstances::of(&state, &catalogue), &analysis);
        }
        assert_eq!(recent.analyses.len(), RECENT);
    }
}
