//! A directory of this machine as the volume that a namespace's gateways keep their logs on.

use e2e::tools;
use proxy_audit::read;
use proxy_audit::record::Record;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// What `spec.gateway.spool` says for it.
pub(crate) const SPOOL: &str = "{claimRef: {name: logs}}";

/// The directory.
pub(crate) struct Claim {
    directory: TempDir,
}

impl Claim {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("portcullis-claim-").tempdir().unwrap();
        // a volume of a directory belongs to whom the directory does, and gateways are nobody in particular
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        Self { directory }
    }

    /// A volume of the directory, and the claim `logs` on it.
    pub(crate) fn manifests(&self, namespace: &str) -> String {
        let spec = json!({
            "accessModes": ["ReadWriteMany"], "storageClassName": "", "volumeName": format!("logs-{namespace}"),
            "resources": {"requests": {"storage": "1Gi"}},
        });
        let claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "logs"}, "spec": spec,
        });
        let volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": format!("logs-{namespace}")},
            "spec": {
                "accessModes": ["ReadWriteMany"], "capacity": {"storage": "1Gi"}, "storageClassName": "",
                "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": self.directory.path()},
            },
        });
        format!("{volume}\n---\n{claim}\n")
    }

    /// The directory's path.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Every record of every log, as far as they are written.
    pub(crate) fn records(&self) -> Vec<Record> {
        let logs = read::logs(self.directory.path()).unwrap();
        logs.iter().flat_map(|log| read::records(log).unwrap()).map(Result::unwrap).collect()
    }

    /// What `portcullis verify` reports of each log; it must find all of them whole.
    pub(crate) fn verified(&self) -> Vec<Value> {
        let mut portcullis = Command::new(tools::own("portcullis").unwrap());
        portcullis.args(["verify", "-o", "json", "--spool"]).arg(self.directory.path());
        let output = portcullis.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str(&said).unwrap()
    }
}
