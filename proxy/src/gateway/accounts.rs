//! What upstreams say of the gateway's own accounts with them. Asked in the background: no session waits for it.

use super::Live;
use crate::config::ResourceKey;
use crds::v1alpha1::UpstreamAccount;
use std::collections::BTreeMap;
use std::sync::Weak;
use tokio::sync::watch;

/// What is known, for Resources whose protocol asks.
pub type Accounts = BTreeMap<ResourceKey, UpstreamAccount>;

/// Asks for as long as the Resource is there: now, with each configuration, and from time to time.
///
/// Cancel safe.
pub(super) async fn ask(live: Weak<Live>, known: watch::Sender<Accounts>) {
    let Some(mut changes) = live.upgrade().map(|live| live.changes()) else { return };
    let mut before: Option<UpstreamAccount> = None;
    loop {
        changes.mark_unchanged();
        let Some((key, service)) = live.upgrade().map(|live| (live.key().clone(), live.service())) else {
            return;
        };
        let asked = match &service {
            Some(service) => service.account(before.as_ref()).await,
            None => None,
        };
        drop(service);
        let (account, again) = asked.unzip();
        known.send_if_modified(|known| tell(known, key, account.as_ref()));
        before = account;
        let woken = match again {
            Some(again) => tokio::time::timeout(again, changes.changed()).await.unwrap_or(Ok(())),
            None => changes.changed().await,
        };
        if woken.is_err() {
            return;
        }
    }
}

/// Whether that is new.
fn tell(known: &mut Accounts, key: ResourceKey, account: Option<&UpstreamAccount>) -> bool {
    let before = match account {
        Some(account) => known.insert(key, account.clone()),
        None => known.remove(&key),
    };
    before.as_ref() != account
}
