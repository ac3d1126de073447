use super::server::router;
use proxy_audit::event::key;
use proxy_audit::inventory;
use proxy_audit::note::certificate::certifier;
use proxy_audit::witness::{Witness, WitnessAddress, WitnessOptions, WitnessStatus, Witnessing};
use proxy_audit::{Event, EventName, SessionStamp, Severity, Spool, SpoolOptions};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;

/// A witness on a loopback port.
async fn witness(state: &Path) -> (WitnessAddress, tokio::task::JoinHandle<()>) {
    let certifier = certifier(&[1; 32], "prod").unwrap().public();
    let witness = Witness::open(state, "witness.local", vec![certifier], &[]).unwrap();
    let key = witness.key();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move { axum::serve(listener, router(witness)).await.unwrap() });
    (WitnessAddress { key, url }, serving)
}

fn options(address: &WitnessAddress) -> WitnessOptions {
    let brief = Duration::from_millis(20);
    WitnessOptions {
        interval: brief,
        initial_backoff: brief,
        max_backoff: brief,
        ..WitnessOptions::new(vec![address.clone()])
    }
}

fn log(folder: &Path, name: &str) -> (Spool, String, SpoolOptions) {
    let options = SpoolOptions {
        segment_bytes: 4_000,
        ..SpoolOptions::new(folder.join(name), format!("prod/shop/orders/{name}"))
    };
    let (spool, _) = Spool::open(&options).unwrap();
    let certifier = certifier(&[1; 32], "prod").unwrap();
    let certificate = inventory::enter(folder, &options.directory, &certifier).unwrap();
    (spool, certificate, options)
}

fn write(spool: &Spool, count: usize) {
    let session = SessionStamp::new(vec![(key::SESSION_ID.into(), "s1".into())]);
    for _ in 0..count {
        spool.append(&session, Event::new(EventName::Statement, Severity::Info, "statement")).unwrap();
    }
}

async fn until(witnessing: &Witnessing, what: impl FnMut(&WitnessStatus) -> bool) -> WitnessStatus {
    let mut status = witnessing.watch().next().unwrap();
    let waited = tokio::time::timeout(Duration::from_secs(30), status.wait_for(what)).await;
    waited.expect("in time").unwrap().clone()
}

#[tokio::test]
async fn a_growing_log_is_cosigned_to_its_end_and_again_after_restarts() {
    let (folder, state) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (address, _serving) = witness(state.path()).await;
    let (spool, certificate, options_of_log) = log(folder.path(), "gw-1");
    let witnessing = Witnessing::start(&spool, Some(&certificate), &options(&address)).unwrap();
    let mut size = 0;
    for _ in 0..4 {
        write(&spool, 30);
        size = until(&witnessing, |status| status.size > size).await.size;
    }
    spool.close().await.unwrap();
    let status = witnessing.drain(Duration::from_secs(30)).await.remove(0);
    assert_eq!((status.size, status.done, status.last_error), (121, true, None));
    drop(spool);
    // The next one knows neither what was sent nor what the witness saw.
    std::fs::remove_file(options_of_log.directory.join("cosigned")).unwrap();
    let (spool, _) = Spool::open(&options_of_log).unwrap();
    spool.close().await.unwrap();
    let rest = Witnessing::finish(&options_of_log.directory, Some(&certificate), &options(&address)).unwrap();
    assert!(until(&rest, |status| status.done).await.size > 121);
}

#[tokio::test]
async fn a_witness_that_is_away_holds_nothing_up_and_covers_all_when_it_is_back() {
    let (folder, state) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (address, serving) = witness(state.path()).await;
    serving.abort();
    drop(serving.await);
    let (spool, certificate, _) = log(folder.path(), "gw-1");
    let witnessing = Witnessing::start(&spool, Some(&certificate), &options(&address)).unwrap();
    write(&spool, 50);
    until(&witnessing, |status| status.failures > 1 && status.size == 0).await;
    write(&spool, 50);
    let certifier = certifier(&[1; 32], "prod").unwrap().public();
    let again = Witness::open(state.path(), "witness.local", vec![certifier], &[]).unwrap();
    let port = address.url.rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    tokio::spawn(async move { axum::serve(listener, router(again)).await.unwrap() });
    assert_eq!(until(&witnessing, |status| status.size > 100).await.last_error, None);
}

#[tokio::test]
async fn a_log_that_was_rolled_back_or_is_not_certified_is_not_cosigned() {
    let (folder, state) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (address, _serving) = witness(state.path()).await;
    let (spool, certificate, options_of_log) = log(folder.path(), "gw-1");
    write(&spool, 40);
    spool.close().await.unwrap();
    drop(spool);
    let copy = folder.path().join("copy");
    copy_log(&options_of_log.directory, &copy);
    let (spool, _) = Spool::open(&options_of_log).unwrap();
    write(&spool, 40);
    spool.close().await.unwrap();
    let all = Witnessing::finish(&options_of_log.directory, Some(&certificate), &options(&address)).unwrap();
    until(&all, |status| status.done).await;
    let back = Witnessing::finish(&copy, Some(&certificate), &options(&address)).unwrap();
    let status = until(&back, |status| status.failures > 0).await;
    assert!(status.last_error.unwrap().contains("its end is missing"), "{}", status.size);
    // The copy goes on in its own way: it signs another history.
    drop(back);
    let forked = SpoolOptions { directory: copy.clone(), ..options_of_log.clone() };
    let (spool, _) = Spool::open(&forked).unwrap();
    write(&spool, 90);
    spool.close().await.unwrap();
    let fork = Witnessing::finish(&copy, Some(&certificate), &options(&address)).unwrap();
    let status = until(&fork, |status| status.failures > 0).await;
    assert!(status.last_error.unwrap().contains("not the beginning of this one"), "{}", status.size);
    let (unknown, _, options_of_unknown) = log(folder.path(), "gw-2");
    unknown.close().await.unwrap();
    let unknown = Witnessing::finish(&options_of_unknown.directory, None, &options(&address)).unwrap();
    let status = until(&unknown, |status| status.failures > 0).await;
    assert!(status.last_error.unwrap().contains("does not know this log"), "{}", status.size);
}

fn copy_log(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
