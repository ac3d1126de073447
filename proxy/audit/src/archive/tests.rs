use super::*;
use crate::event::{Event, EventName, Severity, key};
use crate::read;
use crate::segment::Segment;
use crate::source::{ArchiveSource, Source as _, SpoolSource, Wanted};
use crate::verify::{Outcome, verify};
use crate::{SessionStamp, Spool, SpoolOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const ORIGIN: &str = "dev/default/orders/0";

struct Scene {
    folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    fn spool(&self) -> SpoolOptions {
        let options = SpoolOptions::new(self.folder.path().join("spool/log"), ORIGIN);
        SpoolOptions { segment_bytes: 4_000, ..options }
    }

    fn objects(&self) -> PathBuf {
        self.folder.path().join("archive")
    }

    fn location(&self) -> Location {
        Location::parse(&format!("file://{}", self.objects().display())).unwrap()
    }

    fn options(&self) -> ArchiveOptions {
        ArchiveOptions {
            interval: Duration::from_millis(20),
            part_bytes: 1_500,
            initial_backoff: Duration::from_millis(20),
            ..ArchiveOptions::new(self.location())
        }
    }

    /// What verify says of the log, fetched from the archive.
    async fn verified(&self) -> crate::verify::Report {
        let location = self.location();
        let into = TempDir::new().unwrap();
        let path = into.path().to_owned();
        tokio::task::spawn_blocking(move || mirror(&location, None, &path)).await.unwrap().unwrap();
        verify(&into.path().join(ORIGIN), None).unwrap()
    }

    /// The leaf hashes of all records in the archive.
    async fn records(&self) -> Result<Vec<crate::merkle::Hash>, String> {
        let source = ArchiveSource::new(self.location());
        let read = move || {
            let records = source.records(&Wanted::default()).map_err(|error| error.to_string())?;
            let hash = |record: Result<crate::record::Record, _>| match record {
                Ok(record) => Ok(*record.leaf_hash()),
                Err(error) => Err(crate::source::SourceError::to_string(&error)),
            };
            records.map(hash).collect()
        };
        tokio::task::spawn_blocking(read).await.unwrap()
    }

    /// How many records are read with what is damaged left out, and what that was.
    async fn read_on(&self) -> (usize, Vec<String>) {
        let source = ArchiveSource::new(self.location());
        let read = move || {
            let (mut count, mut damage) = (0, Vec::new());
            for record in source.records(&Wanted::default()).unwrap() {
                match record {
                    Ok(_) => count += 1,
                    Err(error) if error.is_damage() => damage.push(error.to_string()),
                    Err(error) => panic!("{error}"),
                }
            }
            (count, damage)
        };
        tokio::task::spawn_blocking(read).await.unwrap()
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut pending = vec![self.objects()];
        while let Some(path) = pending.pop() {
            if path.is_dir() {
                pending.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else {
                found.push(path);
            }
        }
        found.sort();
        found
    }
}

fn append(spool: &Spool, count: usize) {
    let session = uuid::Uuid::now_v7().to_string();
    let stamp = SessionStamp::new(vec![(key::SESSION_ID.into(), session.into())]);
    for number in 0..count {
        let event = Event::new(EventName::Error, Severity::Error, "x").with(key::REASON, format!("{number}"));
        spool.append(&stamp, event).unwrap();
    }
}

async fn until(archiver: &Archiver, what: impl FnMut(&ArchiveStatus) -> bool) -> ArchiveStatus {
    let mut watch = archiver.watch();
    let reached = tokio::time::timeout(Duration::from_secs(30), watch.wait_for(what));
    reached.await.expect("the status is reached").expect("the archiver lives").clone()
}

#[tokio::test]
async fn a_log_is_in_the_archive_byte_for_byte_and_verifies_there() {
    let scene = Scene::new();
    let (spool, _) = Spool::open(&scene.spool()).unwrap();
    let archiver = Archiver::start(&spool, scene.options()).unwrap();
    for _ in 0..5 {
        append(&spool, 20);
        let next = until(&archiver, |status| status.next > 0 && status.last_error.is_none()).await.next;
        assert!(scene.records().await.unwrap().len() as u64 >= next);
    }
    spool.close().await.unwrap();
    let status = archiver.drain(Duration::from_secs(30)).await;
    assert!(status.complete && status.lag == 0 && status.failures == 0, "{status:?}");

    let directory = scene.spool().directory;
    let of_log: Vec<_> = read::records(&directory).unwrap().map(|r| *r.unwrap().leaf_hash()).collect();
    assert_eq!(scene.records().await.unwrap(), of_log);
    assert!(Segment::list(&directory).unwrap().len() > 3, "several segments");
    let into = TempDir::new().unwrap();
    let (location, path) = (scene.location(), into.path().to_owned());
    tokio::task::spawn_blocking(move || mirror(&location, None, &path)).await.unwrap().unwrap();
    for name in std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()) {
        if name == "lock" || name == ARCHIVE_CURSOR {
            continue;
        }
        let there = std::fs::read(into.path().join(ORIGIN).join(&name)).unwrap();
        assert_eq!(std::fs::read(directory.join(&name)).unwrap(), there, "{}", name.display());
    }
    let report = scene.verified().await;
    assert_eq!((report.outcome, report.records), (Outcome::Ok, of_log.len() as u64), "{report:?}");
    assert_eq!(standing(&directory).unwrap().unwrap().next, of_log.len() as u64);
    drop(SpoolSource::new(vec![directory]));
}

#[tokio::test]
async fn while_it_grows_nothing_in_the_archive_contradicts_itself() {
    let scene = Scene::new();
    let (spool, _) = Spool::open(&scene.spool()).unwrap();
    let archiver = Archiver::start(&spool, scene.options()).unwrap();
    let mut seen = 0;
    for _ in 0..15 {
        append(&spool, 15);
        until(&archiver, |status| status.next > seen && status.rounds > 0).await;
        let report = scene.verified().await;
        // what signs the newest records comes behind them
        assert!(report.first_bad().is_none(), "no checkpoint over records that are not there: {report:?}");
        assert!(report.signed_size <= report.end && report.records >= seen, "{report:?}");
        seen = report.records;
    }
}

#[tokio::test]
async fn a_delivery_that_is_killed_anywhere_goes_on_from_what_is_there() {
    let scene = Scene::new();
    let (spool, _) = Spool::open(&scene.spool()).unwrap();
    for round in 0..12_u64 {
        append(&spool, 20);
        let archiver = Archiver::start(&spool, scene.options()).unwrap();
        let wanted = 100 * round;
        until(&archiver, |status| status.bytes >= wanted.min(400)).await;
        // Dropped in the middle of whatever it does.
        drop(archiver);
    }
    spool.close().await.unwrap();
    drop(spool);
    let archiver = Archiver::finish(&scene.spool().directory, scene.options()).unwrap();
    let status = archiver.drain(Duration::from_secs(30)).await;
    assert!(status.complete, "{status:?}");
    let report = scene.verified().await;
    assert_eq!((report.outcome, report.end, report.tail()), (Outcome::Ok, report.records, 0), "{report:?}");
    // And one that was delivered is not delivered again.
    let before = scene.files();
    let again = Archiver::finish(&scene.spool().directory, scene.options()).unwrap();
    assert!(again.drain(Duration::from_secs(30)).await.bytes == 0);
    assert_eq!(scene.files(), before);
}

#[tokio::test]
async fn an_archive_that_is_away_is_waited_for_and_loses_nothing() {
    let scene = Scene::new();
    let (spool, _) = Spool::open(&scene.spool()).unwrap();
    let archiver = Archiver::start(&spool, scene.options()).unwrap();
    append(&spool, 10);
    until(&archiver, |status| status.rounds > 0).await;
    let away = scene.folder.path().join("away");
    std::fs::rename(scene.objects(), &away).unwrap();
    std::fs::write(scene.objects(), "no directory").unwrap();
    append(&spool, 10);
    let status = until(&archiver, |status| status.failures > 2).await;
    assert!(status.last_error.is_some());
    std::fs::remove_file(scene.objects()).unwrap();
    std::fs::rename(&away, scene.objects()).unwrap();
    spool.close().await.unwrap();
    assert!(archiver.drain(Duration::from_secs(30)).await.complete);
    assert_eq!(scene.verified().await.outcome, Outcome::Ok);
}

#[tokio::test]
async fn what_was_changed_or_taken_away_there_is_found() {
    let scene = Scene::new();
    let (spool, _) = Spool::open(&scene.spool()).unwrap();
    append(&spool, 60);
    spool.close().await.unwrap();
    drop(spool);
    let archiver = Archiver::finish(&scene.spool().directory, scene.options()).unwrap();
    assert!(archiver.drain(Duration::from_secs(30)).await.complete);
    let whole = scene.records().await.unwrap().len();
    let parts: Vec<PathBuf> =
        scene.files().into_iter().filter(|path| folder(path).contains(".seg")).collect();
    assert!(parts.len() > 8, "{parts:?}");

    // A bit of a record.
    let part = &parts[3];
    let bytes = std::fs::read(part).unwrap();
    let mut changed = bytes.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    std::fs::write(part, &changed).unwrap();
    let report = scene.verified().await;
    assert!(report.outcome == Outcome::Tampered && report.first_bad().unwrap().first.is_some(), "{report:?}");
    std::fs::write(part, &bytes).unwrap();

    // A whole part within a segment, and a whole segment.
    std::fs::remove_file(part).unwrap();
    assert!(scene.records().await.unwrap_err().contains("lacks its bytes from"));
    let (read, damage) = scene.read_on().await;
    assert!(read < whole && read > whole / 2 && damage.len() == 1, "{read} of {whole}: {damage:?}");
    let report = scene.verified().await;
    let first = report.first_bad().unwrap().first.unwrap();
    assert!(report.outcome == Outcome::Tampered && report.records == read as u64, "{report:?}");
    assert!(
        damage[0].ends_with(&format!(
            "behind record {}, in archive file://{}",
            first - 1,
            scene.objects().display()
        )),
        "{damage:?}"
    );
    std::fs::write(part, &bytes).unwrap();
    let segment = part.parent().unwrap();
    let hidden = scene.folder.path().join("hidden");
    std::fs::rename(segment, &hidden).unwrap();
    assert_eq!(scene.verified().await.outcome, Outcome::Tampered);
    assert!(scene.records().await.unwrap_err().contains("are missing"));
    std::fs::rename(&hidden, segment).unwrap();
    assert_eq!(scene.records().await.unwrap().len(), whole);
}

#[tokio::test]
async fn what_went_missing_there_is_delivered_again_and_nothing_is_written_over() {
    let scene = Scene::new();
    let (spool, _) = Spool::open(&scene.spool()).unwrap();
    append(&spool, 60);
    spool.close().await.unwrap();
    drop(spool);
    let directory = scene.spool().directory;
    let deliver = || async {
        std::fs::remove_file(directory.join(ARCHIVE_CURSOR)).unwrap_or_default();
        let archiver = Archiver::finish(&directory, scene.options()).unwrap();
        archiver.drain(Duration::from_millis(500)).await
    };
    assert!(deliver().await.complete);
    let parts: Vec<PathBuf> =
        scene.files().into_iter().filter(|path| folder(path).contains(".seg")).collect();
    std::fs::remove_file(&parts[1]).unwrap();
    assert!(deliver().await.complete);
    assert_eq!(scene.verified().await.outcome, Outcome::Ok);
    // Somebody wrote something else there meanwhile.
    let key = scene.objects().join(ORIGIN).join("log.vkey/00000000000000000000");
    assert!(key.is_file());
    std::fs::write(&parts[1], "something else").unwrap();
    let status = deliver().await;
    assert!(!status.complete && status.last_error.is_some(), "{status:?}");
    assert_eq!(std::fs::read_to_string(&parts[1]).unwrap(), "something else");
}

#[tokio::test]
async fn names_that_lead_elsewhere_are_not_followed() {
    let scene = Scene::new();
    let (spool, _) = Spool::open(&scene.spool()).unwrap();
    append(&spool, 3);
    spool.close().await.unwrap();
    drop(spool);
    let archiver = Archiver::finish(&scene.spool().directory, scene.options()).unwrap();
    assert!(archiver.drain(Duration::from_secs(30)).await.complete);
    let evil = scene.objects().join(ORIGIN).join("authorized_keys");
    std::fs::create_dir_all(&evil).unwrap();
    std::fs::write(evil.join("00000000000000000000"), "ssh-ed25519 AAAA").unwrap();
    let into = TempDir::new().unwrap();
    let (location, path) = (scene.location(), into.path().to_owned());
    tokio::task::spawn_blocking(move || mirror(&location, None, &path)).await.unwrap().unwrap();
    assert!(into.path().join(ORIGIN).join("log.vkey").is_file());
    assert!(!into.path().join(ORIGIN).join("authorized_keys").exists());
}

fn folder(part: &Path) -> String {
    part.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned()
}
