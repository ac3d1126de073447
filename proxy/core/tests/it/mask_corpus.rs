//! False findings over text that holds no secret: the source of Go's standard library.

use crate::tool;
use proxy_core::mask::{MaskCounts, Masker};
use proxy_policy::{Detector, DetectorChoice, Mask};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("testdata") {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "go")
            // tests hold real keys
            && !path.to_string_lossy().ends_with("_test.go")
        {
            files.push(path);
        }
    }
}

#[test]
fn source_code_is_hardly_ever_masked() {
    if !tool::is_here("go", "version") {
        return;
    }
    let root = Command::new("go").args(["env", "GOROOT"]).output().expect("go").stdout;
    let mut files = Vec::new();
    collect(&Path::new(String::from_utf8_lossy(&root).trim()).join("src"), &mut files);
    files.sort();
    let choice =
        DetectorChoice { detectors: vec![Detector::Secrets], patterns: vec![], with: Mask::default() };
    let masker = Masker::new(&[choice], &[0; 32]);
    let (mut bytes, mut counts) = (0, MaskCounts::default());
    for file in files {
        let source = fs::read(&file).expect("readable");
        let before = counts.clone();
        let out = masker.text(&source, &mut counts);
        if counts != before {
            let (source, out) = (String::from_utf8_lossy(&source), String::from_utf8_lossy(&out));
            for (was, is) in source.lines().zip(out.lines()).filter(|(was, is)| was != is).take(3) {
                println!("{}: {was:?} became {is:?}", file.display());
            }
        }
        bytes += source.len();
        if bytes > 40_000_000 {
            break;
        }
    }
    println!("{} findings in {bytes} bytes: {:?}", counts.total(), counts.0);
    assert!(bytes > 10_000_000, "{bytes} bytes");
    assert!(counts.total() * 10_000_000 <= 3 * bytes as u64, "more than three false masks in 10 MB");
}
