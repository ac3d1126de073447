//! The inventory of a state directory: is it whole, and are all logs here that it names?

use crate::inventory::{CERTIFICATE, CERTIFIER_KEY, INVENTORY, Inventory};
use crate::merkle::Hash;
use crate::note::LogKey;
use crate::note::certificate::Certificate;
use crate::verify::witnesses::missing_log;
use crate::verify::{Report, Subject, VerifyError, choose_key, own_key};
use std::io;
use std::path::Path;

/// Compares the logs of a state directory with the inventory in it; without an inventory there is nothing to compare.
/// Gives a report for the inventory when it is not whole, and one for every log that is not here. Without the
/// certifier's key among `keys`, the one beside the inventory is used, which whoever changed it could have changed too.
///
/// # Errors
/// A file cannot be read.
pub fn verify_inventory(
    directory: &Path,
    keys: &[LogKey],
    reports: &[Report],
) -> Result<Vec<Report>, VerifyError> {
    let path = directory.join(INVENTORY);
    let inventory =
        Inventory::read(directory).map_err(|source| VerifyError::Io { path: path.clone(), source })?;
    if inventory.entries.is_empty() {
        return Ok(Vec::new());
    }
    let own = read_key(&directory.join(CERTIFIER_KEY))?;
    let pinned = own.as_ref().filter(|own| keys.contains(own));
    let mut whole = Report::new(&path, pinned.or(own.as_ref()), pinned.is_some());
    whole.subject = Subject::Missing;
    if let Some(own) = own.as_ref().filter(|_| pinned.is_none() && certify(keys, &inventory, reports)) {
        let what =
            format!("the certifier's key beside the inventory ({}) is none of the given", own.fingerprint());
        whole.tampered(None, what);
    }
    let mut found = Vec::new();
    let mut before: Hash = [0; 32];
    for (number, entry) in inventory.entries.iter().enumerate() {
        let certificate = match entry {
            Ok(certificate) => certificate,
            Err(error) => {
                whole.tampered(None, format!("entry {number} of the inventory: {error}"));
                continue;
            }
        };
        entry_fits(number, certificate, (own.as_ref(), before), &mut whole);
        before = certificate.digest();
        found.extend(log_of(number, &certificate.unverified().log, reports));
    }
    if inventory.torn_bytes > 0 {
        whole.incomplete(None, "the last entry of the inventory is unfinished".to_owned());
    }
    if !whole.problems.is_empty() {
        whole.conclude();
        found.insert(0, whole);
    }
    Ok(found)
}

/// Whether some of these keys certify logs: those are above a log's name, and a log's own key is not. Who gave only
/// keys of logs did not say whose inventory it must be.
fn certify(keys: &[LogKey], inventory: &Inventory, reports: &[Report]) -> bool {
    let listed = inventory.entries.iter().flatten().map(|entry| entry.unverified().log.name());
    let mut logs = listed.chain(reports.iter().filter_map(|report| report.origin.as_deref()));
    let above =
        |key: &LogKey, log: &str| log.strip_prefix(key.name()).is_some_and(|rest| rest.starts_with('/'));
    logs.any(|log| keys.iter().any(|key| above(key, log)))
}

fn entry_fits(
    number: usize,
    certificate: &Certificate,
    expected: (Option<&LogKey>, Hash),
    whole: &mut Report,
) {
    let (certifier, before) = expected;
    let says = certificate.unverified();
    if says.number != number as u64 || says.previous != before {
        whole.tampered(None, format!("entry {number} of the inventory does not follow the one before it"));
    }
    match certifier.map(|certifier| certificate.verify(certifier)) {
        Some(Ok(_)) => {}
        Some(Err(error)) => whole.tampered(None, format!("entry {number} of the inventory: {error}")),
        None => {
            whole.incomplete(None, format!("entry {number} of the inventory: there is no {CERTIFIER_KEY}"));
        }
    }
}

/// What is wrong with a log that the inventory names.
fn log_of(number: usize, key: &LogKey, reports: &[Report]) -> Option<Report> {
    match reports.iter().find(|report| report.origin.as_deref() == Some(key.name())) {
        None => {
            let what = format!("the whole log is not here: it is number {number} of the inventory");
            Some(missing_log(key, what))
        }
        Some(report) if report.key.as_ref() != Some(&key.fingerprint()) => {
            let mut report = Report::new(&report.log, Some(key), true);
            report.subject = Subject::Missing;
            report.tampered(None, format!("number {number} of the inventory has this log with another key"));
            report.conclude();
            Some(report)
        }
        Some(_) => None,
    }
}

/// The log's key, when one of these keys certified it.
///
/// # Errors
/// The certificate cannot be read.
pub fn certified_key(log: &Path, keys: &[LogKey]) -> Result<Option<LogKey>, VerifyError> {
    let text = crate::inventory::certificate(log)
        .map_err(|source| VerifyError::Io { path: log.join(CERTIFICATE), source })?;
    let certificate = text.and_then(|text| Certificate::parse(&text).ok());
    let certified =
        certificate.and_then(|certificate| keys.iter().find_map(|key| certificate.verify(key).ok().cloned()));
    Ok(certified.map(|certified| certified.log))
}

/// The key to check a log with, of those that were given: the log's, as one of them certified it; else as
/// [`choose_key`] does. `None` only when none was given.
///
/// # Errors
/// The log's key or its certificate cannot be read.
pub fn given_key(log: &Path, keys: &[LogKey]) -> Result<Option<LogKey>, VerifyError> {
    if let Some(certified) = certified_key(log, keys)? {
        return Ok(Some(certified));
    }
    let own = own_key(log)?;
    Ok(choose_key(keys, own.as_ref().map_or("", LogKey::name)).cloned())
}

fn read_key(path: &Path) -> Result<Option<LogKey>, VerifyError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(LogKey::parse(&text).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(VerifyError::Io { path: path.to_owned(), source }),
    }
}
