//! An authenticated use of one resource.

use crate::authn::Verified;
use crate::contact::Contact;
use crate::secret::Secret;
use arc_swap::ArcSwap;
use proxy_audit::Spool;
use proxy_audit::event::key;
use proxy_policy::PolicySet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// When a record counts as durable (`recording.durability`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Durability {
    /// On disk for what changes something, is held or denied; in the operating system for reads.
    #[default]
    Auto,
    /// On disk always.
    Synced,
}

/// How results are recorded (`recording`).
#[derive(Clone, Copy, Debug)]
pub struct Recording {
    /// Record the masked result itself, not only its measures.
    pub results: bool,
    /// Most bytes recorded of one result.
    pub max_result_bytes: u64,
    /// Record the contents of files where a protocol knows them as such, not only their sizes and digests.
    pub contents: bool,
    /// When a record counts as durable.
    pub durability: Durability,
}

/// What records call the parts of a command: semantic conventions have other names for each kind of protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wording {
    /// Key of the masked text.
    pub text: &'static str,
    /// Key of the operation.
    pub operation: &'static str,
    /// Key of the namespace within the resource; `None`: sessions have none.
    pub namespace: Option<&'static str>,
    /// Key of the status.
    pub status: Status,
    /// Results have rows.
    pub rows: bool,
}

/// Key of the status of a result.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// It is a number.
    Number(&'static str),
    /// It is a text.
    Text(&'static str),
}

impl Wording {
    /// Statements of a database.
    pub const DATABASE: Self = Self {
        text: key::QUERY_TEXT,
        operation: key::OPERATION,
        namespace: Some(key::NAMESPACE),
        status: Status::Text(key::STATUS_CODE),
        rows: true,
    };
    /// Programs on a host.
    pub const PROCESS: Self = Self {
        text: key::COMMAND_LINE,
        operation: key::ACTION,
        namespace: Some(key::HOST),
        status: Status::Number(key::EXIT_CODE),
        rows: false,
    };
    /// Requests of an HTTP API.
    pub const REQUEST: Self = Self {
        text: key::REQUEST,
        operation: key::ACTION,
        namespace: None,
        status: Status::Number(key::HTTP_STATUS),
        rows: false,
    };
}

/// Everything of a resource that its sessions share. One per Resource; protocol settings live in the protocol.
#[derive(Clone)]
pub struct ResourceContext {
    /// Namespace of the Resource.
    pub namespace: String,
    /// Name of the Resource.
    pub name: String,
    /// Its protocol, for records.
    pub protocol: &'static str,
    /// What records call the parts of its commands.
    pub wording: Wording,
    /// Policies in force; swapped whole when they change. The watch in `changes` fires after a swap.
    pub policies: Arc<ArcSwap<PolicySet>>,
    /// Counts policy swaps: live sessions watch it to end when their identity lost access.
    pub changes: tokio::sync::watch::Receiver<u64>,
    /// How long ago the policies were last known to be the newest.
    pub contact: Contact,
    /// The audit log.
    pub spool: Spool,
    /// Holds commands.
    pub approvals: Arc<dyn crate::approval::Approvals>,
    /// How results are recorded.
    pub recording: Recording,
    /// Key of digests and mask tokens: the tenant key, 32 bytes.
    pub tenant_key: Secret<[u8; 32]>,
    /// Counters.
    pub metrics: crate::metrics::Metrics,
    /// Name of this gateway process (`portcullis.proxy.instance`).
    pub instance: String,
}

impl fmt::Debug for ResourceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourceContext")
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}

/// One authenticated use of one resource. Needs a [`Verified`] identity: there is no other way to one.
#[derive(Debug)]
pub struct Session {
    /// UUIDv7.
    pub id: String,
    /// Who.
    pub identity: Verified,
    /// Upstream role asked for.
    pub role: String,
    /// Database, or another namespace within the resource.
    pub namespace: String,
    /// The client's address.
    pub client: SocketAddr,
    /// The client's own name for itself (`application_name`, user agent); untrusted, bounded to 256 bytes.
    pub client_name: String,
    /// How the transport is protected, for the record: `TLSv1.3 TLS13_AES_256_GCM_SHA384`.
    pub transport: String,
}
