//! Rules of the repository that the compiler does not know: who imports whom, what a room must never say.

#![cfg(test)]

use e2e::tools::repository;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every arrow between our packages; one that is not here fails. `ARCHITECTURE.md` draws them.
const ARROWS: [(&str, &[&str]); 12] = [
    ("crds", &[]),
    ("proxy-policy", &["crds"]),
    // The operator judges a Policy with the gateway's own compiler.
    ("operator", &["crds", "proxy-policy"]),
    ("proxy-audit", &[]),
    ("proxy-core", &["proxy-audit", "proxy-policy"]),
    ("proxy-postgres", &["proxy-audit", "proxy-core", "proxy-policy"]),
    // Command lines of pods are read as those of hosts: docs/adr/0017.
    ("proxy-shell", &["proxy-policy"]),
    ("proxy-kubernetes", &["proxy-audit", "proxy-core", "proxy-policy", "proxy-shell"]),
    ("proxy-ssh", &["proxy-audit", "proxy-core", "proxy-policy", "proxy-shell"]),
    (
        "proxy",
        &[
            "crds",
            "proxy-audit",
            "proxy-core",
            "proxy-kubernetes",
            "proxy-policy",
            "proxy-postgres",
            "proxy-ssh",
        ],
    ),
    // The analyser is linked so that `policy explain` cannot differ from what happens: docs/adr/0004.
    (
        "portcullis",
        &[
            "crds",
            "proxy-audit",
            "proxy-core",
            "proxy-kubernetes",
            "proxy-policy",
            "proxy-postgres",
            "proxy-shell",
            "proxy-ssh",
        ],
    ),
    ("e2e", &["crds", "proxy-audit"]),
];

#[test]
fn imports_point_down() {
    let packages = packages();
    let ours: BTreeSet<&str> = packages.keys().map(String::as_str).collect();
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    for (name, package) in &packages {
        let allowed =
            allowed.get(name.as_str()).unwrap_or_else(|| panic!("{name}: a new package needs an ADR"));
        for dependency in normal_dependencies(package) {
            assert!(
                !ours.contains(dependency.as_str()) || allowed.contains(&dependency.as_str()),
                "{name} may not import {dependency}"
            );
        }
    }
}

#[test]
fn decisions_are_pure() {
    let packages = packages();
    for name in ["crds", "proxy-policy", "proxy-shell"] {
        for dependency in normal_dependencies(&packages[name]) {
            assert!(
                !["tokio", "hyper", "reqwest", "rand", "async-trait"].contains(&dependency.as_str()),
                "{name} must stay pure, but imports {dependency}"
            );
        }
    }
    for file in sources("proxy/policy/src") {
        let text = std::fs::read_to_string(&file).unwrap();
        for clock in ["Timestamp::now", "SystemTime::now", "Instant::now"] {
            assert!(!text.contains(clock), "{} looks at the clock: time is an argument", file.display());
        }
    }
}

#[test]
fn the_core_names_no_protocol() {
    for file in sources("proxy/core/src") {
        if file.components().any(|part| part.as_os_str() == "mask" || part.as_os_str() == "tests")
            || is_test(&file)
        {
            // Detectors know connection URLs and key formats of many products: that is data.
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap().to_lowercase();
        for word in ["postgres", "kubernetes", "openssh", "sql"] {
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let found = code.into_iter().find(|line| has_word(line, word));
            assert_eq!(found, None, "{} names a protocol", file.display());
        }
    }
}

#[test]
fn only_the_control_planes_talk_to_the_api_server() {
    let rooms =
        ["proxy/src/control/kubernetes", "operator/", "cli/", "e2e/"].map(|room| repository().join(room));
    for file in sources(".") {
        let shown = file.display().to_string();
        if rooms.iter().any(|room| shown.starts_with(&room.display().to_string())) {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        for client in ["kube::Client", "kube::Api", "kube::client", "kube::api", "kube::runtime"] {
            assert!(!text.contains(client), "{shown} uses {client}");
        }
    }
}

#[test]
fn every_package_inherits_lints_and_versions() {
    for package in packages().values() {
        let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap());
        let text = std::fs::read_to_string(&manifest).unwrap();
        assert!(text.contains("[lints]\nworkspace = true"), "{}: inherit the lints", manifest.display());
        let versions = text.lines().skip_while(|line| !line.contains("dependencies]")).filter(|line| {
            let line = line.trim();
            line.contains(" = \"") || (line.contains("version = \"") && !line.contains("workspace"))
        });
        let versions: Vec<_> =
            versions.filter(|line| !line.starts_with("name") && !line.starts_with("path")).collect();
        assert!(
            versions.is_empty(),
            "{}: versions belong to the workspace: {versions:?}",
            manifest.display()
        );
    }
}

#[test]
fn there_is_one_tls_stack() {
    let tree = cargo(&["tree", "--workspace", "--prefix", "none", "--format", "{p}"]);
    for banned in ["ring v", "openssl v", "native-tls v", "async-std v"] {
        let found = tree.lines().find(|line| line.starts_with(banned));
        assert_eq!(found, None, "one TLS stack and one runtime only");
    }
}

#[test]
fn no_module_is_a_mod_rs_and_none_is_called_utils() {
    for file in sources(".") {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(
            !["mod", "utils", "util", "helpers", "common"].contains(&name.as_str()),
            "{}",
            file.display()
        );
    }
}

#[test]
fn decision_records_are_numbered_without_gaps() {
    let entries = std::fs::read_dir(repository().join("docs/adr")).unwrap();
    let mut numbers: Vec<u32> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().split_once('-').unwrap().0.parse().unwrap())
        .collect();
    numbers.sort_unstable();
    let expected: Vec<u32> = (1..=u32::try_from(numbers.len()).unwrap()).collect();
    assert_eq!(numbers, expected);
}

#[test]
fn links_between_documents_lead_somewhere() {
    for document in listed("*.md") {
        let text = std::fs::read_to_string(&document).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            if file.is_empty() || link.contains("://") {
                continue;
            }
            assert!(
                document.parent().unwrap().join(file).exists(),
                "{}: {link} leads nowhere",
                document.display()
            );
        }
    }
}

#[test]
fn every_test_that_the_threats_name_exists() {
    let text = std::fs::read_to_string(repository().join("docs/threats.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ") && line.contains('`'));
    let last = rows.filter_map(|line| line.trim_end_matches('|').rsplit('|').next());
    let named: BTreeSet<&str> = last.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert!(named.len() > 40, "the table is not read: {named:?}");
    let sources: Vec<String> =
        sources(".").iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let missing: Vec<_> = named
        .into_iter()
        .filter(|name| !sources.iter().any(|source| source.contains(&format!("fn {name}("))))
        .collect();
    assert!(missing.is_empty(), "docs/threats.md names tests that are not there: {missing:?}");
}

#[test]
fn what_fuzzers_begin_with_exists() {
    for script in listed("**/fuzz/seeds") {
        let (here, root) = (script.parent().unwrap(), repository());
        let text = std::fs::read_to_string(&script).unwrap().replace('"', "");
        let text = text.replace("$here", &here.display().to_string());
        let text = text.replace("$root", &root.display().to_string());
        let seeds: Vec<_> = text.split_whitespace().filter(|word| word.contains("/tests/")).collect();
        assert!(!seeds.is_empty(), "{} names no corpus", script.display());
        for seed in seeds {
            let (directory, name) = seed.rsplit_once('/').unwrap();
            let suffix = name.trim_start_matches('*');
            let files = std::fs::read_dir(directory).map(|all| all.flatten().map(|one| one.file_name()));
            let found = files.is_ok_and(|mut all| all.any(|one| one.to_string_lossy().ends_with(suffix)));
            assert!(found, "{}: there is no {seed}", script.display());
        }
    }
}

fn packages() -> BTreeMap<String, Value> {
    let text = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&text).unwrap();
    let packages = metadata["packages"].as_array().unwrap().clone();
    packages.into_iter().map(|package| (package["name"].as_str().unwrap().to_owned(), package)).collect()
}

fn normal_dependencies(package: &Value) -> Vec<String> {
    let dependencies = package["dependencies"].as_array().unwrap().iter();
    let normal = dependencies.filter(|dependency| dependency["kind"].is_null());
    normal.map(|dependency| dependency["name"].as_str().unwrap().to_owned()).collect()
}

fn cargo(arguments: &[&str]) -> String {
    let done = Command::new(env!("CARGO")).args(arguments).current_dir(repository()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// Rust files that git knows below a directory.
fn sources(directory: &str) -> Vec<PathBuf> {
    listed(&format!("{directory}/*.rs"))
}

/// Files that git knows and that are called so, wherever they are.
fn listed(pattern: &str) -> Vec<PathBuf> {
    let mut git = Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard", "--", pattern]);
    let done = git.current_dir(repository()).output().unwrap();
    let listed = String::from_utf8(done.stdout).unwrap();
    let files: Vec<PathBuf> =
        listed.lines().map(|line| repository().join(line)).filter(|f| f.exists()).collect();
    assert!(!files.is_empty(), "nothing is called {pattern}");
    files
}

fn is_test(file: &Path) -> bool {
    file.file_stem().is_some_and(|name| name == "tests")
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| part.starts_with(word))
}
