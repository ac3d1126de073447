//! Group `portcullis.dev`, version `v1alpha1`.

#[expect(unreachable_pub, reason = "KubeSchema derives a hidden struct with the visibility of the spec")]
mod approval_request;
pub mod conditions;
#[expect(unreachable_pub, reason = "KubeSchema derives a hidden struct with the visibility of the spec")]
mod masking;
#[expect(unreachable_pub, reason = "KubeSchema derives a hidden struct with the visibility of the spec")]
mod policy;
mod refs;
#[expect(unreachable_pub, reason = "KubeSchema derives a hidden struct with the visibility of the spec")]
mod resource;

pub use approval_request::{
    ApprovalRequest, ApprovalRequestSpec, ApprovalRequestStatus, ApprovalVerdict, Decision, HeldCommand,
    HeldMember, PolicyRef, Requester, ResourceRef, TransactionState,
};
pub use masking::{Detector, FieldMask, Mask, MaskType, MaskingRule, PatternMask, PredicateAccess};
pub use policy::{
    Approval, ClaimMatch, ExecEffect, KubernetesMatch, OnDisconnect, Policy, PolicyMode, PolicyRule,
    PolicySpec, PolicyStatus, PostgresqlEffect, PostgresqlMatch, ProgramPattern, ReviewerRequirement,
    RuleAction, ShellMode, SshEffect, SshMatch, Subject, TargetKind, TargetRef, TimeWindow, Weekday,
};
pub use refs::{ClaimRef, KeyKind, KeyRef, SecretRef};
pub use resource::{
    Authentication, ClaimMapping, Durability, Gateway, GatewayReport, GatewayService, GatewayTls, Issuer,
    IssuerKind, IssuerRef, KubeconfigRef, KubernetesTarget, PolicyAttachment, PostgresqlRole,
    PostgresqlTarget, ProtectedResource, Recording, ResourceSpec, ResourceStatus, ResultEncryption,
    ResultRecording, RunningPolicy, ServiceType, SpoolVolume, SshHost, SshRole, SshTarget, TlsMode,
    TransferRecording, UpstreamAccount, UpstreamTls,
};

/// The API group of every kind in this crate.
pub const GROUP: &str = "portcullis.dev";
/// The API version of every kind in this module.
pub const VERSION: &str = "v1alpha1";
