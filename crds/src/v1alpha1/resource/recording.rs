//! What a gateway records, and for how long.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is recorded, and how hard a record must be before the command goes on.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!(self.transfers == 'Contents' && self.results == 'Metadata')")
    .message("transfers: Contents needs results: Full"))]
pub struct Recording {
    /// Whether results are recorded. Omitted: `Full`.
    #[serde(default)]
    pub results: ResultRecording,
    /// Most bytes recorded of one command's result, as a Kubernetes quantity; what follows is counted and the
    /// record says that it was cut. Omitted: `10Mi`.
    #[serde(default = "default_max_result_bytes")]
    #[schemars(regex(pattern = r"^[0-9]+(Ki|Mi|Gi|k|M|G)?$"), length(max = 20))]
    pub max_result_bytes: String,
    /// What is recorded of files that go through `sftp`. Omitted: `Digests`.
    #[serde(default)]
    pub transfers: TransferRecording,
    /// When a record counts as durable. Omitted: `Auto`.
    #[serde(default)]
    pub durability: Durability,
    /// How long records are kept: `eu-ai` (184 days), `pci` (366), `hipaa` (2192), `sox` (2557), or days, as `90d`.
    /// Older ones leave the gateway's disk, once the Collector and the archive have them, where the gateway delivers to
    /// such; where there is an archive, after 30 days at the latest (`pci`: 92). Nothing is ever removed from an archive.
    /// Omitted: nothing is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^(eu-ai|hipaa|pci|sox|[1-9][0-9]{0,3}d)$"), length(max = 20))]
    pub retention: Option<String>,
    /// Encrypts results for auditors: they lie beside the log instead of in it, and only who has an auditor's private
    /// key can read them. Omitted: results are in the records, masked as everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<ResultEncryption>,
}

/// For whom results are encrypted.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResultEncryption {
    /// Public keys of auditors, as `age-keygen` prints them (`age1…`); each can read alone. Give two at least: what
    /// is encrypted for a key that is lost is lost.
    #[schemars(
        length(min = 1, max = 16),
        inner(regex(pattern = r"^age1[02-9ac-hj-np-z]{58}$"), length(max = 62))
    )]
    pub recipients: Vec<String>,
}

impl Default for Recording {
    fn default() -> Self {
        Self {
            results: ResultRecording::default(),
            max_result_bytes: default_max_result_bytes(),
            transfers: TransferRecording::default(),
            durability: Durability::default(),
            retention: None,
            encryption: None,
        }
    }
}

/// Whether results are recorded.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ResultRecording {
    /// The masked result itself, up to `maxResultBytes`, so that a session replays exactly.
    #[default]
    Full,
    /// Status, rows, bytes and mask counts only.
    Metadata,
}

/// What is recorded of a file that goes through `sftp`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum TransferRecording {
    /// Its path, size and SHA-256.
    #[default]
    Digests,
    /// What is read and written as well, masked, up to `maxResultBytes` each time that it is opened.
    Contents,
}

/// When a record counts as durable.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Durability {
    /// On disk (group commit) for a command that can change something, was held or was denied; for a read, in
    /// the operating system, which survives any crash of the gateway.
    #[default]
    Auto,
    /// On disk always.
    Synced,
}

fn default_max_result_bytes() -> String {
    "10Mi".to_owned()
}
