//! What a text means in this session now: its state, its catalogue, and what transactions do to both.
//!
//! A statement's changes of state are taken over once it has succeeded; [`SessionState`] knows transaction blocks, and
//! this room the implicit transactions of a pipeline. Where it cannot be told which changes remain (an error behind a
//! commit or savepoint within one message), the session is *uncertain*: from then on every effect is unknown, which
//! only a policy that allows unknown effects lets run.

use crate::analyze::{
    Analysis, Analyzer, Circumstances, Meant, Recent, Sense, SessionState, StateChange, StatementKind,
};
use crate::catalogue::Catalogue;
use crate::frontend::refusal;
use crate::options::{Credentials, Options};
use crate::snapshot::Slot;
use proxy_core::gate::Chain;
use proxy_core::refusal::{Refusal, RefusalKind};
use proxy_policy::{Command, Effects, Reading};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where a command's text is.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// Here.
    Text(Arc<str>),
    /// In a statement or portal that the protocol made.
    Made {
        /// The text.
        text: Arc<str>,
        /// What it meant when the server took it in.
        made: Made,
    },
    /// In a portal of a statement that SQL `PREPARE` made: planned once and for all.
    Planned(Arc<Analysis>),
    /// In a statement that SQL `PREPARE` made.
    Prepared(String),
    /// In a cursor that SQL `DECLARE` made.
    Cursor(String),
}

/// What a text meant when the server took in its names. It may run with that although they stand for something else by
/// now.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    /// What names depended on then; `None`: it has several meanings, and any may be the one that runs.
    sense: Option<Arc<Sense>>,
    pub(crate) analysis: Arc<Analysis>,
}

impl Made {
    /// It may as well mean this.
    pub(crate) fn or(&self, then: &Meant) -> Self {
        let analysis = self.analysis.or(then);
        let same = Arc::ptr_eq(&analysis, &self.analysis);
        Self { sense: self.sense.clone().filter(|_| same), analysis }
    }
}

/// What a session's meaning is made of.
#[derive(Debug)]
pub(crate) struct Meaning {
    pub(crate) analyzer: Arc<Analyzer>,
    pub(crate) options: Arc<Options>,
    pub(crate) credentials: Credentials,
    pub(crate) slot: Arc<Slot>,
    /// Role as the client named it: the one that policies know.
    pub(crate) role: Arc<str>,
    pub(crate) state: SessionState,
    pub(crate) catalogue: Option<Arc<Catalogue>>,
    pub(crate) recent: Recent,
    /// What names depended on when it was last asked for.
    pub(crate) sense: Option<Arc<Sense>>,
    /// The catalogue must have been loaded after this.
    pub(crate) stale: Option<Instant>,
    pub(crate) transaction: Transaction,
    pub(crate) uncertain: bool,
    /// A command ran of which it cannot be told what it did: it may have put any value into a setting.
    pub(crate) unseen: bool,
    /// No transaction was open when the server was last ready.
    pub(crate) idle: bool,
}

/// What happened since the server was last ready.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    /// State before the first change of an implicit transaction.
    before: Option<SessionState>,
    changed_catalogue: bool,
    /// What changed is there for other sessions as well.
    changed_for_all: bool,
    failed: bool,
}

impl Meaning {
    /// What a text means now. Names that are not found make the catalogue load again, once.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// The catalogue cannot be loaded.
    pub(crate) async fn analyze(&mut self, source: &Source) -> Result<Arc<Analysis>, Refusal> {
        match source {
            Source::Made { text, made } => {
                let now = self.analyze_now(&Source::Text(Arc::clone(text))).await?;
                let same = made.sense.is_some() && made.sense == self.sense();
                Ok(if same { now } else { now.or(&made.analysis.meant()) })
            }
            Source::Planned(analysis) if !self.uncertain => Ok(Arc::clone(analysis)),
            Source::Planned(_) | Source::Text(_) | Source::Prepared(_) | Source::Cursor(_) => {
                self.analyze_now(source).await
            }
        }
    }

    /// What a text means to the server when it takes it in or may plan it again: now, and as far as can be told it
    /// meant before. `earlier`: what it meant until now.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// The catalogue cannot be loaded.
    pub(crate) async fn make(&mut self, text: &Arc<str>, earlier: Option<&Made>) -> Result<Made, Refusal> {
        let sense = self.sense();
        if let Some(earlier) = earlier.filter(|made| made.sense.is_some() && made.sense == sense) {
            return Ok(earlier.clone());
        }
        let now = self.analyze_now(&Source::Text(Arc::clone(text))).await?;
        let sense = self.sense();
        let Some(earlier) = earlier else { return Ok(Made { sense, analysis: now }) };
        let looked_up_again = earlier.sense.as_ref().zip(sense.as_ref());
        if looked_up_again.is_some_and(|(then, now)| now.has_the_objects_of(then)) {
            return Ok(Made { sense, analysis: now });
        }
        Ok(Made { sense, analysis: now }.or(&earlier.analysis.meant()))
    }

    /// What names depend on now. The same one as long as nothing has changed.
    fn sense(&mut self) -> Option<Arc<Sense>> {
        let catalogue = self.catalogue.as_ref()?;
        let known = self.sense.take().filter(|sense| sense.holds(&self.state, catalogue));
        self.sense = Some(known.unwrap_or_else(|| Arc::new(Sense::of(&self.state, catalogue))));
        self.sense.clone()
    }

    async fn analyze_now(&mut self, source: &Source) -> Result<Arc<Analysis>, Refusal> {
        let asked = Instant::now();
        let catalogue = self.catalogue().await?;
        if let Source::Text(text) = source
            && !self.uncertain
            && let Some(known) = self.recent.of(text, Circumstances::of(&self.state, &catalogue))
        {
            return Ok(Arc::clone(known));
        }
        let analysis = self.analyze_with(source, &catalogue);
        if analysis.unresolved.is_empty() {
            // A text that nobody else holds does not come again.
            if let Source::Text(text) = source
                && !self.uncertain
                && Arc::strong_count(text) > 1
            {
                self.recent.keep(text, Circumstances::of(&self.state, &catalogue), &analysis);
            }
            return Ok(analysis);
        }
        let newer = match self.slot.loaded_after(asked.checked_sub(RELOAD_PAUSE)) {
            Some(newer) => newer,
            None => self.load(Some(asked)).await?,
        };
        self.adopt(newer);
        let catalogue = self.catalogue().await?;
        Ok(self.analyze_with(source, &catalogue))
    }

    /// The next text is judged with a catalogue that is loaded from now on.
    pub(crate) fn look_again(&mut self) {
        self.stale = Some(Instant::now());
    }

    /// The command of an analysis, in the role that policies know.
    pub(crate) fn command(&self, analysis: &Analysis) -> Arc<Command> {
        if analysis.command.role == self.role {
            return Arc::clone(&analysis.command);
        }
        Arc::new(Command { role: Arc::clone(&self.role), ..Command::clone(&analysis.command) })
    }

    fn analyze_with(&self, source: &Source, catalogue: &Catalogue) -> Arc<Analysis> {
        let analysis = match source {
            Source::Text(text) | Source::Made { text, .. } => {
                Some(self.analyzer.analyze(text, &self.state, catalogue))
            }
            Source::Planned(analysis) => Some(Arc::clone(analysis)),
            Source::Prepared(name) => self.analyzer.analyze_prepared(name, &self.state, catalogue),
            Source::Cursor(name) => self.analyzer.analyze_cursor(name, &self.state, catalogue),
        };
        let analysis = analysis.unwrap_or_else(|| self.unknown());
        if !self.uncertain {
            return analysis;
        }
        let mut analysis = Arc::unwrap_or_clone(analysis);
        let reading = Arc::make_mut(&mut Arc::make_mut(&mut analysis.command).reading);
        let touches = match &mut reading.effects {
            Effects::Known(touches) | Effects::Unknown { touches, .. } => std::mem::take(touches),
        };
        let why = "an earlier error or rollback left open what names mean in this session; connect again"
            .to_owned();
        reading.effects = Effects::Unknown { why, touches };
        Arc::new(analysis)
    }

    /// A portal or statement that nobody here has seen being made.
    fn unknown(&self) -> Arc<Analysis> {
        let why = "the statement or portal is not known in this session".to_owned();
        let effects = Effects::Unknown { why, touches: Vec::new() };
        let command = Command {
            text: "".into(),
            canonical: String::new(),
            role: Arc::clone(&self.role),
            namespace: self.state.database.as_str().into(),
            binding: Vec::new(),
            reading: Reading::new("UNKNOWN", "", effects).into(),
        };
        Arc::new(Analysis {
            command: Arc::new(command),
            statements: Arc::default(),
            unresolved: Vec::new(),
            state_changes: Vec::new(),
            undoable: false,
            catalogue_changed: true,
        })
    }

    async fn catalogue(&mut self) -> Result<Arc<Catalogue>, Refusal> {
        let stale = self.stale.max(self.slot.changed());
        let known = match self.slot.loaded_after(stale) {
            Some(known) => known,
            None => self.load(stale).await?,
        };
        self.adopt(Arc::clone(&known));
        self.refresh_in_background();
        Ok(known)
    }

    fn adopt(&mut self, newest: Arc<Catalogue>) {
        if self.catalogue.as_ref().is_some_and(|mine| Arc::ptr_eq(mine, &newest)) {
            return;
        }
        if self.idle && self.transaction.before.is_none() {
            self.state.catalogue_refreshed();
        }
        self.catalogue = Some(newest);
    }

    async fn load(&self, moment: Option<Instant>) -> Result<Arc<Catalogue>, Refusal> {
        let loaded = self.slot.load(&self.options, &self.credentials, &self.state.database, moment).await;
        loaded.map_err(|error| {
            tracing::error!(error = %Chain(&error), "load catalogue");
            let message =
                "the catalogue cannot be loaded, so the gateway cannot tell what the statement does";
            refusal(RefusalKind::Unavailable, message, "try again later; nothing was run")
        })
    }

    fn refresh_in_background(&self) {
        let Some(oldest) = Instant::now().checked_sub(self.slot.age(self.options.limits.catalogue_age))
        else {
            return;
        };
        if self.slot.loaded_after(Some(oldest)).is_some() {
            return;
        }
        let (slot, options, credentials) =
            (Arc::clone(&self.slot), Arc::clone(&self.options), self.credentials.clone());
        let database = self.state.database.clone();
        tokio::spawn(async move {
            if let Err(error) = slot.load(&options, &credentials, &database, Some(oldest)).await {
                tracing::warn!(error = %Chain(&error), "refresh catalogue");
            }
        });
    }

    /// Takes over what a text that has succeeded changed. `undone`: its commit turned out to be a rollback, as of every
    /// transaction that has failed.
    pub(crate) fn succeeded(&mut self, analysis: &Analysis, undone: bool) {
        if analysis.state_changes.is_empty() && !analysis.catalogue_changed {
            return;
        }
        let before = self.state.clone();
        self.transaction.changed_catalogue |= analysis.catalogue_changed;
        for change in &analysis.state_changes {
            let rolled_back = undone && matches!(change, StateChange::Committed);
            let change = if rolled_back { &StateChange::RolledBack } else { change };
            if let StateChange::Committed | StateChange::RolledBack = change {
                let changed = std::mem::take(&mut self.transaction.changed_for_all);
                if changed && matches!(change, StateChange::Committed) {
                    self.slot.has_changed();
                }
            }
            self.state.apply(std::slice::from_ref(change));
        }
        self.transaction.changed_for_all |= analysis.catalogue_changed && changes_for_all(analysis);
        if analysis.statements.iter().any(|one| ends_transaction(&one.kind)) {
            self.transaction.before = Some(self.state.clone());
        } else {
            self.transaction.before.get_or_insert(before);
        }
    }

    /// A text failed: whatever it changed before the error is undone, unless it committed on the way.
    pub(crate) fn failed(&mut self, analysis: Option<&Analysis>) {
        self.transaction.failed = true;
        let Some(analysis) = analysis else { return };
        self.replanned(analysis);
        // What is prepared and deallocated stays so whatever becomes of the rest.
        let kept = |kind: &StatementKind| {
            ends_transaction(kind)
                || matches!(
                    kind,
                    StatementKind::Savepoint
                        | StatementKind::Prepare { .. }
                        | StatementKind::Deallocate { .. }
                )
        };
        let several = analysis.statements.len() > 1;
        self.uncertain |= several && analysis.statements.iter().any(|one| kept(&one.kind));
    }

    /// The server may plan a statement of the protocol again: SQL that runs it by its name is told.
    pub(crate) fn planned(&mut self, name: &str, made: &Made) {
        let Some(meant) = self.state.prepared(name).and_then(|known| known.gains(&made.analysis.meant()))
        else {
            return;
        };
        self.state.apply(&[StateChange::Replanned { name: name.to_owned(), meant }]);
    }

    /// The server may have planned prepared statements again, whatever has become of the text that ran them.
    pub(crate) fn replanned(&mut self, analysis: &Analysis) {
        for change in &analysis.state_changes {
            if let StateChange::Replanned { .. } = change {
                self.state.apply(std::slice::from_ref(change));
            }
        }
    }

    /// The server is ready; `idle`: no transaction is open.
    pub(crate) fn ready(&mut self, idle: bool) {
        let Transaction { before, changed_catalogue, changed_for_all, failed } =
            std::mem::take(&mut self.transaction);
        if let Some(before) = before
            && idle
            && failed
        {
            self.state.undone_to(before);
        }
        if idle && changed_catalogue {
            self.stale = Some(Instant::now());
            if changed_for_all {
                self.slot.has_changed();
            }
        } else {
            self.transaction.changed_catalogue = changed_catalogue;
            self.transaction.changed_for_all = changed_for_all;
        }
        self.idle = idle;
    }
}

/// Whether other sessions see what a text changes: not its own temporary relations.
fn changes_for_all(analysis: &Analysis) -> bool {
    let (Effects::Known(touches) | Effects::Unknown { touches, .. }) = &analysis.command.reading.effects;
    let is_unknown = matches!(analysis.command.reading.effects, Effects::Unknown { .. });
    let defines = |effect: &str| matches!(effect, "Create" | "Alter" | "Drop" | "Grant");
    // an index is nothing that a name in a statement stands for
    let is_named = |object: &str, name: &str| object != "index" && !name.starts_with("pg_temp.");
    is_unknown || touches.iter().any(|touch| defines(touch.effect) && is_named(touch.object, &touch.name))
}

const fn ends_transaction(kind: &StatementKind) -> bool {
    matches!(kind, StatementKind::Commit { .. } | StatementKind::Rollback { .. })
}

/// A name that is not found makes the catalogue load again unless that was done so recently.
const RELOAD_PAUSE: Duration = Duration::from_millis(200);
