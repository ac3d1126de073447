//! Keeps a [`Catalogue`] per database and role: loaded by a connection of our own as that role, shared by its
//! sessions, loaded again when somebody changed the schema or a name is not found.
//!
//! Loading is single-flight. A catalogue that cannot be loaded refuses the statement that needs it.

use crate::catalogue::{Catalogue, CatalogueError};
use crate::messages::Malformed;
use crate::options::{Credentials, Options};
use crate::upstream::{self, Login, Upstream, UpstreamError};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// All catalogues of one resource. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshots(Arc<Mutex<Slots>>);

/// By database and role.
type Slots = HashMap<(String, String), Arc<Slot>>;

/// The catalogue of one database as one role sees it.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    loading: tokio::sync::Mutex<()>,
    current: Mutex<Option<Loaded>>,
    changed: Changed,
}

/// When a session last changed what a database holds: catalogues from before are no good to any.
type Changed = Arc<Mutex<Option<Instant>>>;

#[derive(Clone, Debug)]
struct Loaded {
    catalogue: Arc<Catalogue>,
    /// When loading began: what was committed later may be missing.
    at: Instant,
    /// No definition is missing because of a lock.
    whole: bool,
}

/// Why there is no catalogue.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    /// The server.
    #[error("load catalogue")]
    Upstream(#[from] UpstreamError),
    /// Its answer.
    #[error("read catalogue")]
    Catalogue(#[from] CatalogueError),
}

impl Snapshots {
    /// The slot of a database and role.
    pub(crate) fn slot(&self, database: &str, role: &str) -> Arc<Slot> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changed =
            slots.iter().find(|((known, _), _)| known == database).map(|(_, slot)| slot.changed.clone());
        let slot = || Arc::new(Slot { changed: changed.unwrap_or_default(), ..Slot::default() });
        Arc::clone(slots.entry((database.to_owned(), role.to_owned())).or_insert_with(slot))
    }
}

impl Slot {
    /// What is known already, if its loading began after `moment`.
    pub(crate) fn loaded_after(&self, moment: Option<Instant>) -> Option<Arc<Catalogue>> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = current.as_ref().filter(|loaded| moment.is_none_or(|moment| loaded.at > moment))?;
        Some(Arc::clone(&loaded.catalogue))
    }

    /// A session has changed what the database holds, be it as another role.
    pub(crate) fn has_changed(&self) {
        *self.changed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// When what the database holds was last changed by a session.
    pub(crate) fn changed(&self) -> Option<Instant> {
        *self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loads, unless somebody else did so after `moment`; waits for whoever is loading.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// The server cannot be asked, or answers what cannot be read.
    pub(crate) async fn load(
        &self,
        options: &Options,
        credentials: &Credentials,
        database: &str,
        moment: Option<Instant>,
    ) -> Result<Arc<Catalogue>, SnapshotError> {
        let _loading = self.loading.lock().await;
        if let Some(catalogue) = self.loaded_after(moment) {
            return Ok(catalogue);
        }
        let at = Instant::now();
        let settings = [
            ("application_name".to_owned(), "portcullis catalogue".to_owned()),
            ("statement_timeout".to_owned(), LOAD_TIMEOUT.as_millis().to_string()),
            ("lock_timeout".to_owned(), LOCK_TIMEOUT.as_millis().to_string()),
            ("default_transaction_read_only".to_owned(), "on".to_owned()),
        ];
        let login = Login { credentials, database, settings: &settings };
        let (rows, whole) = tokio::time::timeout(LOAD_TIMEOUT, rows(options, login))
            .await
            .unwrap_or(Err(UpstreamError::Deadline(LOAD_TIMEOUT)))?;
        let catalogue = Arc::new(Catalogue::build(rows.iter().map(String::as_str))?);
        tracing::debug!(database, rows = rows.len(), took = ?at.elapsed(), "catalogue loaded");
        self.keep(Arc::clone(&catalogue), at, whole);
        Ok(catalogue)
    }

    /// How long what is known may be taken for true if nobody is known to have changed it.
    pub(crate) fn age(&self, of_whole: Duration) -> Duration {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_none_or(|loaded| loaded.whole) { of_whole } else { of_whole.min(RETRY) }
    }

    /// What is known from now on, of which loading began at `at`; `whole`: no definition is missing because of a lock.
    pub(crate) fn keep(&self, catalogue: Arc<Catalogue>, at: Instant, whole: bool) {
        let loaded = Loaded { catalogue, at, whole };
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(loaded);
    }
}

/// All rows, and whether none is missing that will be there once a lock is free.
async fn rows(options: &Options, login: Login<'_>) -> Result<(Vec<String>, bool), UpstreamError> {
    let mut upstream = upstream::connect(options, login).await?;
    upstream.ask(Catalogue::BEFORE_LOAD).await?;
    let mut rows = Vec::new();
    for query in Catalogue::REST {
        rows.append(&mut upstream.ask(query).await?);
    }
    let whole = match upstream.ask(&Catalogue::relations()).await {
        Err(UpstreamError::Refused(_)) => one_by_one(&mut upstream, &mut rows).await?,
        answered @ (Ok(_) | Err(_)) => {
            rows.append(&mut answered?);
            true
        }
    };
    upstream.close().await;
    Ok((rows, whole))
}

/// Every relation, and whether no definition has to be asked for again. What the server cannot show the definition of, or
/// not now since somebody has locked what it is made of, must not keep everybody from everything else.
async fn one_by_one(upstream: &mut Upstream, rows: &mut Vec<String>) -> Result<bool, UpstreamError> {
    rows.append(&mut upstream.ask(&Catalogue::plain()).await?);
    let mut whole = true;
    for oid in upstream.ask(&Catalogue::defined()).await? {
        let Ok(oid) = oid.parse() else {
            return Err(Malformed("an object identifier is no number").into());
        };
        let mut one = match upstream.ask(&Catalogue::one_relation(oid, true)).await {
            Err(UpstreamError::Refused(code)) => {
                tracing::warn!(oid, code, "the server does not show what this relation is defined by");
                whole &= code != LOCK_NOT_AVAILABLE;
                upstream.ask(&Catalogue::one_relation(oid, false)).await?
            }
            answered @ (Ok(_) | Err(_)) => answered?,
        };
        rows.append(&mut one);
    }
    Ok(whole)
}

/// Time that loading a catalogue may take.
const LOAD_TIMEOUT: Duration = Duration::from_secs(10);

/// `lock_not_available`.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// Time that it waits for a lock that somebody else has: as long as a view is made of what is being changed.
const LOCK_TIMEOUT: Duration = Duration::from_millis(200);

/// A catalogue that lacks such definitions is loaded again after that, behind whoever uses it.
const RETRY: Duration = Duration::from_secs(2);
