//! What was changed, what is on record, and what clients were told, held against each other.

use crate::whole::Whole;
use e2e::shop;
use jiff::{SignedDuration, Timestamp};
use proxy_audit::event::key;
use proxy_audit::read;
use proxy_audit::record::Record;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Formatter};

/// What is changed, of each protocol; all names begin with it.
pub(super) const KINDS: [&str; 3] = ["row", "file", "object"];

/// A command on record.
#[derive(Debug)]
struct Command {
    recorded: Timestamp,
    /// Its end is on record as well, and is good.
    done: bool,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Seen {
    /// What is there, and the last moment at which it may have come.
    changes: BTreeMap<String, Timestamp>,
    commands: BTreeMap<String, Command>,
    /// What each client was told, in order.
    told: Vec<Vec<String>>,
}

impl Seen {
    pub(super) fn of(whole: &Whole, told: Vec<Vec<String>>) -> Self {
        let mut changes = rows(whole);
        changes.extend(files(whole));
        changes.extend(objects(whole));
        Self { changes, commands: commands(whole), told }
    }

    /// What ran without a record, or before it.
    pub(super) fn unrecorded(&self) -> Vec<&str> {
        let recorded = |name: &str, change: &Timestamp| {
            self.commands.get(name).is_some_and(|command| command.recorded <= *change)
        };
        let changes = self.changes.iter().filter(|(name, change)| !recorded(name, change));
        changes.map(|(name, _)| name.as_str()).collect()
    }

    /// What clients were told is what is on record, what is on record is what is there, and nobody lacks more of it than
    /// the answer that was under way.
    pub(super) fn judge(&self) {
        let unrecorded = self.unrecorded();
        assert!(unrecorded.is_empty(), "ran without a record: {unrecorded:?}");
        let done: BTreeSet<&str> = self.done().collect();
        let missing: Vec<_> = done.iter().filter(|name| !self.changes.contains_key(**name)).collect();
        assert!(missing.is_empty(), "on record as done, and not there: {missing:?}");
        let told: BTreeSet<&str> = self.told().collect();
        let unknown: Vec<_> = told.difference(&done).collect();
        assert!(unknown.is_empty(), "clients were told, and it is not on record: {unknown:?}");
        let mut lost: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for name in done.difference(&told) {
            lost.entry(client(name)).or_default().push(name);
        }
        lost.retain(|_, names| names.len() > 1);
        assert!(lost.is_empty(), "more than one answer is on record that its client did not get: {lost:?}");
    }

    /// Rounds in which something of every kind was changed.
    pub(super) fn rounds_of_every_kind(&self) -> usize {
        let mut rounds: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for name in self.changes.keys() {
            let mut parts = name.split('-');
            if let (Some(kind), Some(round)) = (parts.next(), parts.next()) {
                rounds.entry(round).or_default().insert(kind);
            }
        }
        rounds.values().filter(|kinds| kinds.len() == KINDS.len()).count()
    }

    fn done(&self) -> impl Iterator<Item = &str> {
        self.commands.iter().filter(|(_, command)| command.done).map(|(name, _)| name.as_str())
    }

    fn told(&self) -> impl Iterator<Item = &str> {
        self.told.iter().flatten().map(String::as_str)
    }
}

impl Display for Seen {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        for kind in KINDS {
            let changes = self.changes.keys().filter(|name| name.starts_with(kind)).count();
            write!(f, "{changes} {kind}s, ")?;
        }
        let (commands, done, told) = (self.commands.len(), self.done().count(), self.told().count());
        write!(f, "all on record; {commands} commands on record, {done} of them as done, {told} told so")
    }
}

/// `row-7-1` of `row-7-1-1204`.
fn client(name: &str) -> &str {
    name.rsplit_once('-').map_or(name, |(client, _)| client)
}

fn rows(whole: &Whole) -> BTreeMap<String, Timestamp> {
    let sql = "select name, (extract(epoch from at) * 1000000)::bigint from marks";
    let text = whole.shop.server.sql(shop::DATABASE, sql).unwrap();
    let rows = text.lines().map(|line| line.split_once('|').unwrap());
    rows.map(|(name, at)| (name.to_owned(), Timestamp::from_microsecond(at.parse().unwrap()).unwrap()))
        .collect()
}

fn files(whole: &Whole) -> BTreeMap<String, Timestamp> {
    let entries = std::fs::read_dir(whole.files()).unwrap().map(Result::unwrap);
    entries
        .map(|file| {
            let modified = Timestamp::try_from(file.metadata().unwrap().modified().unwrap()).unwrap();
            // file systems have the time of the kernel's last tick
            (file.file_name().into_string().unwrap(), modified + SignedDuration::from_millis(10))
        })
        .collect()
}

fn objects(whole: &Whole) -> BTreeMap<String, Timestamp> {
    let listed = whole.cluster.get(&["configmaps", "--namespace", &whole.namespace]).unwrap();
    let objects = listed["items"].as_array().unwrap().iter().map(|object| &object["metadata"]);
    let objects = objects.map(|metadata| {
        let created: Timestamp = metadata["creationTimestamp"].as_str().unwrap().parse().unwrap();
        // whole seconds
        (metadata["name"].as_str().unwrap().to_owned(), created + SignedDuration::from_secs(1))
    });
    // every namespace has one of the cluster's own
    objects.filter(|(name, _)| name != "kube-root-ca.crt").collect()
}

/// Commands that were allowed, by the name of what they change.
fn commands(whole: &Whole) -> BTreeMap<String, Command> {
    let mut commands: BTreeMap<String, Command> = BTreeMap::new();
    for log in read::logs(whole.shop.gateway.state()).unwrap() {
        let mut names: BTreeMap<(String, i64), String> = BTreeMap::new();
        for record in read::records(&log).unwrap().map(Result::unwrap) {
            let Some(number) = record.int(key::COMMAND) else { continue };
            let command = (record.text(key::SESSION_ID).unwrap().to_owned(), number);
            if let Some(name) = changed(&record) {
                assert_eq!(record.text(key::VERDICT), Some("allow"), "{record:?}");
                let recorded = Command { recorded: record.time(), done: false };
                let before = commands.insert(name.clone(), recorded);
                assert!(before.is_none(), "{name} is twice on record");
                names.insert(command, name);
            } else if let Some(name) = names.get(&command)
                && record.text(key::OUTCOME) == Some("ok")
                && let Some(command) = commands.get_mut(name)
            {
                command.done = true;
            }
        }
    }
    commands
}

/// Name of what a command changes.
fn changed(record: &Record) -> Option<String> {
    let words = record.command_text().split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    let is_name = |word: &&str| {
        word.split_once('-').is_some_and(|(kind, rest)| {
            KINDS.contains(&kind) && rest.chars().all(|c| c == '-' || c.is_ascii_digit())
        })
    };
    words.into_iter().find(is_name).map(str::to_owned)
}
