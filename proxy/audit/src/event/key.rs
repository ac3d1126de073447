//! Attribute keys. Semantic-convention names where one exists, else the prefix `portcullis.`.

/// Declares the keys and lists them with their meaning, so that `docs/audit-events.md` is made from one source.
macro_rules! keys {
    ($($(#[doc = $meaning:literal])+ pub const $name:ident: &str = $key:literal;)+) => {
        $($(#[doc = $meaning])+ pub const $name: &str = $key;)+

        /// Every key and the lines of its meaning.
        pub const ALL: &[(&str, &[&str])] = &[$(($key, &[$($meaning),+])),+];
    };
}

keys! {
    /// Version of the schema. On every record.
    pub const SCHEMA: &str = "portcullis.schema";
    /// Origin of the log, which is also the name of its key. On every record.
    pub const LOG_ORIGIN: &str = "portcullis.log.origin";
    /// Number of the record in its log, from 0, without gaps. On every record.
    pub const SEQUENCE: &str = "portcullis.seq";
    /// `UUIDv7` of the record, to tell repeated deliveries apart. On every record.
    pub const RECORD_ID: &str = "portcullis.record.id";
    /// SHA-256 of the previous record's leaf hash, 32 bytes; zeros on the first. On every record.
    pub const CHAIN_PREVIOUS: &str = "portcullis.chain.prev";
    /// Number of the record in its session, from 0, without gaps. On every record.
    pub const SESSION_SEQUENCE: &str = "portcullis.session.seq";
    /// What the recorder reports: `start`, `recovered`, `removed` (segments, by retention).
    pub const RECORDER_EVENT: &str = "portcullis.recorder.event";
    /// Whole records that opening found.
    pub const RECOVERED_RECORDS: &str = "portcullis.recorder.records";
    /// Bytes of a torn tail that opening cut off.
    pub const TORN_BYTES: &str = "portcullis.recorder.torn_bytes";
    /// Records with lower sequences were removed from disk, by retention.
    pub const REMOVED_BELOW: &str = "portcullis.recorder.removed_below";
    /// A checkpoint as a signed note.
    pub const CHECKPOINT_NOTE: &str = "portcullis.checkpoint.note";
    /// Size of the checkpoint; of the recorder's record, of the last one before this opening.
    pub const CHECKPOINT_SIZE: &str = "portcullis.checkpoint.size";
    /// SHA-256 of the last checkpoint's note before this opening, hexadecimal.
    pub const CHECKPOINT_DIGEST: &str = "portcullis.checkpoint.digest";
    /// Origin of the log that this one follows. On a log's first record.
    pub const PREDECESSOR_ORIGIN: &str = "portcullis.predecessor.origin";
    /// Size of that log's last checkpoint.
    pub const PREDECESSOR_SIZE: &str = "portcullis.predecessor.size";
    /// SHA-256 of that checkpoint's note, hexadecimal.
    pub const PREDECESSOR_DIGEST: &str = "portcullis.predecessor.digest";
    /// Identifier of the session (`UUIDv7`).
    pub const SESSION_ID: &str = "session.id";
    /// `issuer#subject`.
    pub const USER_ID: &str = "user.id";
    /// Mapped user name.
    pub const USER_NAME: &str = "user.name";
    /// Mapped groups.
    pub const USER_ROLES: &str = "user.roles";
    /// Prefix of a claim that is on every record: `portcullis.claim.repository`.
    pub const CLAIM_PREFIX: &str = "portcullis.claim.";
    /// Namespace of the Resource.
    pub const RESOURCE_NAMESPACE: &str = "portcullis.resource.namespace";
    /// Name of the Resource.
    pub const RESOURCE_NAME: &str = "portcullis.resource.name";
    /// Protocol of the Resource.
    pub const RESOURCE_PROTOCOL: &str = "portcullis.resource.protocol";
    /// Identifier of the session's token.
    pub const TOKEN_ID: &str = "portcullis.claim.jti";
    /// Name of the gateway process.
    pub const PROXY_INSTANCE: &str = "portcullis.proxy.instance";
    /// Address of the client.
    pub const CLIENT_ADDRESS: &str = "client.address";
    /// Port of the client.
    pub const CLIENT_PORT: &str = "client.port";
    /// The client's own name for itself; untrusted.
    pub const CLIENT_NAME: &str = "user_agent.original";
    /// How the client's transport is protected.
    pub const TRANSPORT: &str = "portcullis.transport";
    /// When the session's token expires.
    pub const TOKEN_EXPIRES: &str = "portcullis.token.expires";
    /// Commands of a session.
    pub const COMMANDS: &str = "portcullis.commands";
    /// Commands of a session by verdict: `allow 12`.
    pub const VERDICTS: &str = "portcullis.verdicts";
    /// Values masked in a session.
    pub const MASKED_COUNT: &str = "portcullis.masked.count";
    /// Upstream role of the session.
    pub const ROLE: &str = "portcullis.role";
    /// Number of the command within its session, from 1; joins statement, approval, chunks and result.
    pub const COMMAND: &str = "portcullis.command";
    /// Digest of the policy set in force; on a statement only if no earlier record of the session has this one.
    pub const POLICY_DIGEST: &str = "portcullis.policy.digest";
    /// Policy of the rule that decided.
    pub const POLICY_NAME: &str = "portcullis.policy.name";
    /// Generation of that policy; 0 outside Kubernetes.
    pub const POLICY_GENERATION: &str = "portcullis.policy.generation";
    /// Rule that decided.
    pub const RULE: &str = "portcullis.rule";
    /// `allow`, `deny`, `hold`.
    pub const VERDICT: &str = "portcullis.verdict";
    /// What Observe policies would have done: `deny policy/rule`.
    pub const OBSERVED: &str = "portcullis.observed";
    /// Effects, one line each.
    pub const EFFECTS: &str = "portcullis.effects";
    /// Keyed digest of the exact command.
    pub const DIGEST: &str = "portcullis.digest";
    /// Keyed digest of the canonical effect.
    pub const EFFECT_DIGEST: &str = "portcullis.effect_digest";
    /// Masked text of the command, of a database.
    pub const QUERY_TEXT: &str = "db.query.text";
    /// Masked text of the command, of SSH.
    pub const COMMAND_LINE: &str = "process.command_line";
    /// Masked text of the command, of the Kubernetes API: method, path and what matters of the body.
    pub const REQUEST: &str = "portcullis.request";
    /// Namespace that a request of the Kubernetes API is about; left out where it is about none.
    pub const K8S_NAMESPACE: &str = "k8s.namespace.name";
    /// Pod that a request is about.
    pub const K8S_POD: &str = "k8s.pod.name";
    /// Verb of a request, as RBAC names it; of a path that is no resource, its method.
    pub const K8S_VERB: &str = "portcullis.k8s.verb";
    /// API group of a request; left out for the core group.
    pub const K8S_GROUP: &str = "portcullis.k8s.group";
    /// Resource of a request, in the plural.
    pub const K8S_RESOURCE: &str = "portcullis.k8s.resource";
    /// Subresource of a request.
    pub const K8S_SUBRESOURCE: &str = "portcullis.k8s.subresource";
    /// Object of a request, where it names one.
    pub const K8S_NAME: &str = "portcullis.k8s.name";
    /// Operation of the command.
    pub const OPERATION: &str = "db.operation.name";
    /// Operation of the command, of other protocols than databases'.
    pub const ACTION: &str = "portcullis.operation";
    /// Database of the session.
    pub const NAMESPACE: &str = "db.namespace";
    /// Host of the session, among those of the Resource.
    pub const HOST: &str = "portcullis.host";
    /// `postgresql`.
    pub const DB_SYSTEM: &str = "db.system.name";
    /// SQLSTATE of a failed command.
    pub const STATUS_CODE: &str = "db.response.status_code";
    /// Exit code of a program.
    pub const EXIT_CODE: &str = "process.exit.code";
    /// Status of an HTTP response.
    pub const HTTP_STATUS: &str = "http.response.status_code";
    /// Rows returned or affected.
    pub const ROWS: &str = "db.response.returned_rows";
    /// Bytes of the masked result as the client got it.
    pub const BYTES: &str = "portcullis.result.bytes";
    /// The masked wire frames; of a terminal or `exec`, the form of `proxy/audit/src/stream.rs`.
    pub const FRAMES: &str = "portcullis.result.frames";
    /// SHA-256 of the encrypted chunk beside the log that the frames are in, 32 bytes; then they are not in the record.
    pub const CHUNK: &str = "portcullis.result.chunk";
    /// Bytes of the frames in that chunk.
    pub const CHUNK_BYTES: &str = "portcullis.result.chunk.bytes";
    /// SHA-256 of the session's encrypted key, 32 bytes. With the first chunk of a session.
    pub const CHUNK_KEY: &str = "portcullis.result.chunk.key";
    /// The result was longer than what is recorded.
    pub const TRUNCATED: &str = "portcullis.result.truncated";
    /// `ok`, `error`, `refused`, `aborted`.
    pub const OUTCOME: &str = "portcullis.outcome";
    /// What was masked: `column public.users.email ×3`, `detector Jwt ×1`. Names and counts, never values.
    pub const MASKED: &str = "portcullis.masked";
    /// Microseconds from the permit to the end.
    pub const DURATION_US: &str = "portcullis.duration_us";
    /// What kind of refusal the client of a refused command met: `denied`, `approval_denied`,
    /// `approval_expired`, `withdrawn`, `unavailable`, `session_ended`.
    pub const REFUSAL_KIND: &str = "portcullis.refusal.kind";
    /// The same: what and why.
    pub const REFUSAL_MESSAGE: &str = "portcullis.refusal.message";
    /// The same: what to do next.
    pub const REFUSAL_HINT: &str = "portcullis.refusal.hint";
    /// Why something ended or failed.
    pub const REASON: &str = "portcullis.reason";
    /// Name of the `ApprovalRequest`.
    pub const APPROVAL_NAME: &str = "portcullis.approval.name";
    /// Its UID.
    pub const APPROVAL_UID: &str = "portcullis.approval.uid";
    /// `requested`, `approved`, `denied`, `expired`, `withdrawn`, `left`, `claimed`.
    pub const APPROVAL_VERDICT: &str = "portcullis.approval.verdict";
    /// Who decided, `name (group): reason`.
    pub const APPROVERS: &str = "portcullis.approval.approvers";
    /// Milliseconds the command waited.
    pub const APPROVAL_WAIT_MS: &str = "portcullis.approval.wait_ms";
    /// What the approvers were told that it would do, masked; several lines.
    pub const APPROVAL_ESTIMATE: &str = "portcullis.approval.estimate";
}
