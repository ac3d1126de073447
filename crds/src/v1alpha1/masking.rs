//! What a policy masks, and how.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is masked, and how. Exactly one of `columns`, `fields`, `detectors`, `patterns` is set.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.columns), has(self.fields), has(self.detectors), has(self.patterns)].filter(set, set).size() == 1")
    .message("set exactly one of columns, fields, detectors and patterns"))]
pub struct MaskingRule {
    /// Source columns as `schema.table.column`, `*` stands for any characters. Masked wherever the value goes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub columns: Vec<String>,
    /// Fields of Kubernetes objects, in requests and answers. Values of Secrets are masked without being named here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fields: Option<FieldMask>,
    /// Detectors of secrets and personal data, over every value and message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub detectors: Vec<Detector>,
    /// Regular expressions of your own, over every value and message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub patterns: Vec<PatternMask>,
    /// How the value is masked. Omitted: `Redact`.
    #[serde(default)]
    pub with: Mask,
}

/// Fields of Kubernetes objects.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FieldMask {
    /// Resources in the plural, with the group where it is not the core one: `configmaps`, `issuers.cert-manager.io`;
    /// `*` stands for any characters.
    #[schemars(length(min = 1, max = 64))]
    pub resources: Vec<String>,
    /// Fields as dotted paths: `data.password`, `spec.template.spec.containers.env.value`; lists are passed through,
    /// and `*` stands for any characters. What is below a field is masked with it.
    #[schemars(length(min = 1, max = 64))]
    pub paths: Vec<String>,
}

/// A detector of your own.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PatternMask {
    /// Name, shown in the mask and in the record.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Regular expression (Rust `regex` syntax). A capture group named `secret` limits what is masked.
    #[schemars(length(min = 1, max = 1024))]
    pub regex: String,
}

/// A built-in detector, or a family of them.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Detector {
    /// Every secret detector below and all vendor token formats.
    Secrets,
    /// Every personal-data detector below.
    PersonalData,
    /// AWS access key ids and secret keys.
    AwsAccessKey,
    /// JSON Web Tokens.
    Jwt,
    /// PEM private keys.
    PrivateKey,
    /// Passwords inside connection URLs.
    UrlPassword,
    /// Assignments of high-entropy strings to names such as `password`, `api_key`, `token`.
    GenericSecret,
    /// Payment card numbers (Luhn-checked).
    CreditCard,
    /// International bank account numbers (checksum-checked).
    Iban,
    /// E-mail addresses.
    Email,
    /// Telephone numbers.
    Phone,
    /// IPv4 and IPv6 addresses.
    IpAddress,
    /// United States social security numbers.
    UsSsn,
}

/// How a value is masked.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!has(self.keepLast) || (has(self.type) && self.type == 'Partial')")
    .message("keepLast is only for type Partial"))]
pub struct Mask {
    /// Kind of mask. Omitted: `Redact`.
    #[serde(default, rename = "type")]
    pub type_: MaskType,
    /// With `Partial`: how many last characters stay. Values too short to hide enough are redacted. Omitted: 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 8))]
    pub keep_last: Option<i32>,
}

/// Kinds of mask.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum MaskType {
    /// `[MASKED:name]`; a type that cannot carry text becomes NULL.
    #[default]
    Redact,
    /// All but the last characters.
    Partial,
    /// NULL.
    Null,
    /// A keyed hash, different in each gateway log: shows change, not equality across logs.
    Hash,
    /// A keyed token, equal for equal values under one tenant key: joins and counts still work.
    Token,
}

/// Whether commands may filter by masked columns.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum PredicateAccess {
    /// They may: a count can tell whether a guess was right.
    #[default]
    Allow,
    /// They are refused.
    Deny,
}
