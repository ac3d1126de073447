//! Records that have to be kept no longer: they leave the gateway's disk and stay in the archive, and both say so.

use crate::scene::{Scene, prepare};
use e2e::process::wait_until;
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// A shop with small segments whose gateway delivers its log to a directory; and the example's Resource.
fn archived() -> Option<(Scene, TempDir, String)> {
    let mut prepared = prepare()?;
    let archive = tempfile::tempdir().unwrap();
    let url = format!("file://{}", archive.path().display());
    for argument in ["--archive", &url, "--archive-interval=1", "--spool-segment-bytes=4000"] {
        prepared.setup = prepared.setup.argument(argument);
    }
    let resource = std::fs::read_to_string(prepared.setup.config().join("resource.yaml")).unwrap();
    Some((Scene::of(prepared.start().unwrap()), archive, resource))
}

fn keep(scene: &Scene, resource: &str, retention: &str) {
    let changed =
        resource.replacen("durability: Auto}", &format!("durability: Auto, retention: {retention}}}"), 1);
    assert_ne!(changed, resource);
    std::fs::write(scene.gateway.config().join("resource.yaml"), changed).unwrap();
}

fn agents_sessions(scene: &Scene, subject: &str, count: usize) {
    for _ in 0..count {
        let done = scene.run("readonly", &scene.token(subject), "select id, name from users order by id");
        assert!(done.success, "{done:?}");
    }
}

fn wait_until_archived(scene: &Scene) {
    wait_until("all is archived", || {
        let status = scene.portcullis_any(&["export", "status", "-o", "json"]).out;
        let status: Vec<Value> = serde_json::from_str(&status).ok()?;
        status.iter().all(|log| log["archive"]["lag"] == 0).then_some(())
    })
    .unwrap();
}

/// The logs that are verified, with the number of the first record that is there.
fn verified(scene: &Scene, arguments: &[&str], code: i32) -> Vec<Value> {
    let said = scene.portcullis(&[&["verify", "-o", "json"], arguments].concat(), code).out;
    serde_json::from_str(&said).unwrap()
}

/// In how many logs something was removed.
fn removed(scene: &Scene) -> usize {
    verified(scene, &[], 0).iter().filter(|log| log["removed_below"].as_u64() > Some(0)).count()
}

fn segments(log: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "seg")).collect();
    segments.sort();
    segments
}

/// Makes segments look as if they were written a hundred days ago.
fn age(segments: &[PathBuf]) {
    for segment in segments {
        let file = File::options().append(true).open(segment).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_hours(100 * 24)).unwrap();
    }
}

fn log_of(report: &Value) -> PathBuf {
    PathBuf::from(report["log"].as_str().unwrap())
}

#[test]
fn retention_removes_what_the_archive_has_and_verify_says_so() {
    let Some((mut scene, archive, resource)) = archived() else { return };
    let archive = format!("file://{}", archive.path().display());
    agents_sessions(&scene, "early-bot", 6);
    wait_until_archived(&scene);
    let own = log_of(&verified(&scene, &[], 0)[0]);
    let before = segments(&own);
    assert!(before.len() > 4, "{before:?}");
    age(&before[..before.len() - 2]);

    // What it cannot understand changes nothing, and says where it stands.
    keep(&scene, &resource, "forever");
    let problem = wait_until("the mistake is reported", || {
        let said = scene.gateway.admin("configz").ok()?;
        said.contains("spec.recording.retention").then_some(said)
    });
    assert!(problem.unwrap().contains("forever"));
    assert_eq!(segments(&own)[..before.len()], before);

    keep(&scene, &resource, "90d");
    wait_until("old records have left", || (removed(&scene) == 1).then_some(())).unwrap();
    assert!(!before[0].exists() && segments(&own).contains(&before[before.len() - 2]));
    let said = scene.portcullis(&["verify"], 0).out;
    assert!(said.contains("by retention") && said.contains("RESULT   OK"), "{said}");

    // A crash, and the log of the start before it is removed from as well.
    scene.gateway.crash_and_restart().unwrap();
    agents_sessions(&scene, "late-bot", 1);
    wait_until_archived(&scene);
    let key = |log: &Path| PathBuf::from(format!("{}.key", log.display())).exists();
    let keys = verified(&scene, &[], 0).iter().filter(|report| key(&log_of(report))).count();
    assert!(keys == 1 && !key(&own), "nobody can sign another history of a log that is closed");
    age(&segments(&own));
    keep(&scene, &resource, "91d");
    wait_until("the earlier log has shrunk", || {
        let reports = verified(&scene, &[], 0);
        let earlier = reports.iter().find(|report| log_of(report) == own)?;
        (earlier["sessions"] == 0).then_some(())
    })
    .unwrap();
    let here = scene.portcullis(&["sessions", "-o", "json"], 0).out;
    assert!(here.contains("late-bot") && !here.contains("early-bot"), "{here}");

    // The archive has all of it, and proves it.
    for log in verified(&scene, &["--from", &archive], 0) {
        assert_eq!((&log["first"], &log["removed_below"]), (&0.into(), &Value::Null), "{log}");
    }
    let there = scene.portcullis(&["sessions", "--from", &archive, "-o", "json"], 0).out;
    let there: Vec<Value> = serde_json::from_str(&there).unwrap();
    let of_the_early = there.iter().filter(|session| session.to_string().contains("early-bot")).count();
    assert_eq!((there.len(), of_the_early), (7, 6), "{there:?}");

    // What somebody else removes is missed.
    std::fs::remove_file(&segments(&own)[0]).unwrap();
    let said = scene.portcullis_any(&["verify"]);
    assert!(!said.success && said.out.contains(own.to_str().unwrap()), "{said:?}");
}
