//! `Resource`: a protected upstream and the gateway in front of it.

mod kubernetes;
mod recording;
mod ssh;
mod status;

pub use kubernetes::{KubeconfigRef, KubernetesTarget};
pub use recording::{Durability, Recording, ResultEncryption, ResultRecording, TransferRecording};
pub use ssh::{SshHost, SshRole, SshTarget};
pub use status::{GatewayReport, PolicyAttachment, ResourceStatus, RunningPolicy, UpstreamAccount};

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::refs::{ClaimRef, KeyRef, SecretRef};

/// A protected upstream: what it is, who may prove an identity to it, how its gateway runs and records.
// The Rust type is not called `Resource` because `kube::Resource` is a trait that every user of it imports.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "portcullis.dev",
    version = "v1alpha1",
    kind = "Resource",
    root = "ProtectedResource",
    namespaced,
    status = "ResourceStatus",
    derive = "PartialEq",
    shortname = "pres",
    category = "portcullis",
    doc = "A protected upstream: a database, a host or a cluster that agents reach only through its gateway.",
    validation = Rule::new("self.metadata.name.size() <= 50 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name: expected a DNS label of at most 50 characters that begins with a letter; the gateway's Service is named after it"),
    printcolumn(name = "Protocol", type_ = "string", json_path = ".status.protocol"),
    printcolumn(name = "Address", type_ = "string", json_path = ".status.endpoint"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.postgresql), has(self.ssh), has(self.kubernetes)].filter(set, set).size() == 1")
    .message("exactly one of postgresql, ssh and kubernetes must be set"))]
pub struct ResourceSpec {
    /// A PostgreSQL server. Exactly one protocol is set per Resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgresql: Option<PostgresqlTarget>,
    /// Hosts that are reached over SSH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<SshTarget>,
    /// A Kubernetes API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesTarget>,
    /// Which identity providers are trusted for this Resource.
    pub authentication: Authentication,
    /// How the gateway runs. Omitted: every default of its fields.
    #[serde(default)]
    pub gateway: Gateway,
    /// What is recorded and how hard. Omitted: results in full up to 10Mi, durability `Auto`, kept for good.
    #[serde(default)]
    pub recording: Recording,
}

/// A PostgreSQL server as the gateway reaches it.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PostgresqlTarget {
    /// DNS name or address of the server. With `tls.mode: VerifyFull` its certificate must carry this name.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// TCP port. Omitted: 5432.
    #[serde(default = "default_postgresql_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// TLS from the gateway to the server. Omitted: `VerifyFull` with the system's certificate authorities.
    #[serde(default)]
    pub tls: UpstreamTls,
    /// Database roles that an agent may log in as; it asks for one by PostgreSQL user name. At least one.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub roles: Vec<PostgresqlRole>,
}

/// One login of the upstream, and the Secret with its credential.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PostgresqlRole {
    /// The name an agent gives as its PostgreSQL user, and the one that policies name under `roles`.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Secret with keys `username` and `password`. The credential stays in the gateway.
    pub credentials_ref: SecretRef,
}

/// TLS towards the upstream.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpstreamTls {
    /// How far the upstream's certificate is checked. Omitted: `VerifyFull`.
    #[serde(default)]
    pub mode: TlsMode,
    /// Certificate authorities in PEM. Omitted: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<KeyRef>,
}

/// How far an upstream's certificate is checked.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum TlsMode {
    /// The chain and the host name are verified.
    #[default]
    VerifyFull,
    /// The chain is verified, the host name is not.
    VerifyCa,
    /// No TLS. Only for an upstream on the same host or inside an encrypted mesh.
    Disable,
}

/// The identity providers of a Resource.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Authentication {
    /// Trusted OpenID Connect issuers. At least one; issuers must differ.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["issuer".into()]))]
    pub issuers: Vec<Issuer>,
}

/// One trusted OpenID Connect issuer.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Issuer {
    /// Exact value of the `iss` claim, and the base of the discovery document. `https`, or `http` on loopback.
    #[schemars(length(min = 1, max = 1024))]
    pub issuer: String,
    /// A token must carry at least one of these in `aud`. At least one.
    #[schemars(length(min = 1, max = 16))]
    pub audiences: Vec<String>,
    /// Which claims become the identity. Omitted: `sub` and `groups`.
    #[serde(default)]
    pub claims: ClaimMapping,
    /// Certificate authorities in PEM for the issuer's own TLS. Omitted: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<KeyRef>,
}

/// Names of the claims that become an identity.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimMapping {
    /// Claim whose string becomes the user name. Omitted: `sub`.
    #[serde(default = "default_username_claim")]
    pub username: String,
    /// Claim whose string or list of strings becomes the groups. Omitted: `groups`; absent in a token: none.
    #[serde(default = "default_groups_claim")]
    pub groups: String,
}

impl Default for ClaimMapping {
    fn default() -> Self {
        Self { username: default_username_claim(), groups: default_groups_claim() }
    }
}

/// How the gateway of a Resource runs.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gateway {
    /// Gateway pods. Omitted: 2. Standalone: ignored.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 0, max = 64))]
    pub replicas: i32,
    /// Where clients reach the gateway.
    #[serde(default)]
    pub service: GatewayService,
    /// The gateway's own certificate. Omitted: the operator's authority issues one into the Secret
    /// `<name>-gateway-tls`, and publishes itself in the ConfigMap `<name>-gateway-ca`; standalone it is required. Not
    /// for `ssh`, which has keys of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<GatewayTls>,
    /// Where the audit log is kept until it is exported. Omitted: a volume that lives as long as the pod.
    /// Standalone: ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spool: Option<SpoolVolume>,
    /// Seconds that live sessions may go on after the gateway was told to stop. Omitted: 300.
    #[serde(default = "default_drain_seconds")]
    #[schemars(range(min = 0, max = 86400))]
    pub drain_seconds: i32,
    /// Most sessions at once per gateway pod; one more is refused. Omitted: 5000.
    #[serde(default = "default_max_sessions")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_sessions: i32,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            replicas: default_replicas(),
            service: GatewayService::default(),
            tls: None,
            spool: None,
            drain_seconds: default_drain_seconds(),
            max_sessions: default_max_sessions(),
        }
    }
}

/// The Service in front of a gateway; standalone, the port that is listened on.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayService {
    /// Kind of Service. Omitted: `ClusterIP`. Standalone: ignored.
    #[serde(default, rename = "type")]
    pub type_: ServiceType,
    /// TCP port. Omitted: 5432 for `postgresql`, 2222 for `ssh`, 6443 for `kubernetes`. Standalone, 0 takes a free
    /// port and logs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 65535))]
    pub port: Option<i32>,
}

impl ResourceSpec {
    /// Name of the protocol whose stanza is set, for records, metrics and the names of ports; empty where none is.
    pub const fn protocol(&self) -> &'static str {
        match (&self.postgresql, &self.ssh, &self.kubernetes) {
            (Some(_), ..) => "postgresql",
            (None, Some(_), _) => "ssh",
            (None, None, Some(_)) => "kubernetes",
            (None, None, None) => "",
        }
    }

    /// TCP port of the gateway, as written or the protocol's own.
    pub const fn gateway_port(&self) -> i32 {
        match (self.gateway.service.port, &self.ssh, &self.kubernetes) {
            (Some(port), ..) => port,
            (None, Some(_), _) => 2222,
            (None, None, Some(_)) => 6443,
            (None, None, None) => 5432,
        }
    }

    /// Names of the roles that one can log in as, in the order of the spec.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        let postgresql =
            self.postgresql.iter().flat_map(|target| &target.roles).map(|role| role.name.as_str());
        postgresql.chain(self.ssh.iter().flat_map(|target| &target.roles).map(|role| role.name.as_str()))
    }
}

/// Kinds of Service, in Kubernetes' own words.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ServiceType {
    /// Reachable inside the cluster.
    #[default]
    ClusterIP,
    /// Reachable on a port of every node.
    NodePort,
    /// Reachable through the cloud's load balancer.
    LoadBalancer,
}

/// The gateway's certificate.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.secretRef) != has(self.issuerRef)")
    .message("set either secretRef or issuerRef"))]
pub struct GatewayTls {
    /// Secret of type `kubernetes.io/tls`: keys `tls.crt` and `tls.key`. Omitted: `issuerRef` must be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// cert-manager issuer that signs the gateway's certificate. Omitted: `secretRef` must be set. Standalone: an
    /// error, for there is no cert-manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerRef>,
}

/// An issuer of cert-manager.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IssuerRef {
    /// Omitted: `Issuer`, in the same namespace.
    #[serde(default)]
    pub kind: IssuerKind,
    /// Name of the issuer.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Kinds of issuer that cert-manager has.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum IssuerKind {
    /// For one namespace.
    #[default]
    Issuer,
    /// For the whole cluster.
    ClusterIssuer,
}

/// The volume of a gateway's audit log.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!(has(self.claimRef) && has(self.sizeLimit))")
    .message("sizeLimit is for the volume that lives as long as the pod; a claim has its own size"))]
pub struct SpoolVolume {
    /// A PersistentVolumeClaim that outlives pods. With more than one replica it must be `ReadWriteMany`; every start
    /// of a gateway writes a directory of its own. Omitted: an `emptyDir`, which is gone with its pod: then have the
    /// log exported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim_ref: Option<ClaimRef>,
    /// Size of the `emptyDir`, as a Kubernetes quantity. Omitted: as much as the node has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]+(Ki|Mi|Gi|k|M|G)?$"), length(max = 20))]
    pub size_limit: Option<String>,
}

fn default_postgresql_port() -> i32 {
    5432
}
fn default_username_claim() -> String {
    "sub".to_owned()
}
fn default_groups_claim() -> String {
    "groups".to_owned()
}
fn default_replicas() -> i32 {
    2
}
fn default_drain_seconds() -> i32 {
    300
}
fn default_max_sessions() -> i32 {
    5000
}
