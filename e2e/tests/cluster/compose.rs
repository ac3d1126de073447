//! The Compose file: the compose tool's own parser takes it, and what it mounts is there.

use e2e::tools::{or_skip, repository};
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;

#[test]
fn the_compose_file_is_one() {
    let Some(compose) = or_skip("docker-compose") else { return };
    let file = repository().join("compose.yaml");
    let output = Command::new(compose).arg("--file").arg(file).arg("config").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let config: Value = serde_yaml_ng::from_slice(&output.stdout).unwrap();
    let services: BTreeMap<String, Value> = serde_json::from_value(config["services"].clone()).unwrap();
    for service in ["agent", "collector", "gateway", "issuer", "postgres", "setup", "tools"] {
        assert!(services.contains_key(service), "no service {service}");
    }
    // Agents get to the database through the gateway, or not at all.
    let networks = |service: &str| -> Vec<String> {
        services[service]["networks"].as_object().unwrap().keys().cloned().collect()
    };
    assert!(networks("agent").iter().all(|network| !networks("postgres").contains(network)));
    for service in ["gateway", "issuer", "tools"] {
        assert_eq!(services[service]["user"], "65532:65532", "{service}");
        assert_eq!(services[service]["read_only"], true, "{service}");
    }
    let mounts = services.values().flat_map(|service| service["volumes"].as_array().into_iter().flatten());
    let sources: Vec<&str> = mounts.filter_map(|mount| mount.as_str()?.split(':').next()).collect();
    let paths: Vec<&&str> = sources.iter().filter(|source| source.starts_with('/')).collect();
    assert!(paths.len() >= 5, "{sources:?}");
    for path in paths {
        assert!(std::path::Path::new(path).exists(), "{path} is mounted, but not there");
    }
}
