//! The gateway's certificate from the operator's authority, its keys for SSH, and the tenant's key: what is random, and so is made once and
//! not built anew each time.

use super::apply::{ApplyError, apply, is_controlled_by};
use super::validate::ValidatedResource;
use crate::context::Context;
use crate::names::{self, ISSUED_FOR, MANAGER, RENEW_AT, TENANT_KEY, TENANT_KEY_SECRET};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt as _};
use serde_json::json;
use ssh_key::{Algorithm, LineEnding, PrivateKey};
use std::collections::BTreeMap;

/// Length of a tenant key, in bytes.
const TENANT_KEY_BYTES: usize = 32;

/// Issues the gateway's certificate if it has none, or one that is for another authority or other names, or old.
///
/// Cancel safe.
///
/// # Errors
/// The API server did not take it.
pub async fn ensure(
    context: &Context,
    resource: &ValidatedResource,
    now: Timestamp,
) -> Result<(), ApplyError> {
    let name = names::certificate(&resource.name);
    let dns_names = resource.dns_names();
    let fingerprint = context.authority.fingerprint(&dns_names);
    let known = context.stores.owned.get("Secret").and_then(|store| {
        let kind = kube::api::ApiResource::erase::<Secret>(&());
        store.get(&ObjectRef::new_with(&name, kind).within(&resource.namespace))
    });
    let is_current = known.is_some_and(|known| {
        let annotations = known.annotations();
        let renew_at = annotations.get(RENEW_AT).and_then(|at| at.parse::<Timestamp>().ok());
        annotations.get(ISSUED_FOR) == Some(&fingerprint) && renew_at.is_some_and(|at| now < at)
    });
    if is_current {
        return Ok(());
    }
    let issued = context.authority.issue(&dns_names, now).map_err(ApplyError::Certificate)?;
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": resource.namespace,
            "labels": names::labels(&resource.name),
            "annotations": {ISSUED_FOR: fingerprint, RENEW_AT: issued.renew_at.to_string()},
            "ownerReferences": [resource.owner],
        },
        "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": issued.certificate, "tls.key": issued.key},
    });
    apply(context, resource, secret).await.map(drop)
}

/// Makes the namespace's tenant key, if there is none. It is never changed and never removed: digests and tokens in
/// records would mean nothing any more.
///
/// Cancel safe.
///
/// # Errors
/// The API server did not take it.
pub async fn ensure_tenant_key(context: &Context, namespace: &str) -> Result<(), ApplyError> {
    if context.stores.secrets.get(&ObjectRef::new(TENANT_KEY_SECRET).within(namespace)).is_some() {
        return Ok(());
    }
    let key: [u8; TENANT_KEY_BYTES] = rand::random();
    let mut secret = Secret {
        immutable: Some(true),
        type_: Some("portcullis.dev/tenant-key".to_owned()),
        data: Some(BTreeMap::from([(TENANT_KEY.to_owned(), ByteString(key.to_vec()))])),
        ..Secret::default()
    };
    secret.metadata.name = Some(TENANT_KEY_SECRET.to_owned());
    create(context, namespace, &secret).await
}

/// Makes the gateway's keys for SSH, if there are none: the key by which clients know it, and the one that signs
/// certificates for agents. They are never changed: clients have pinned the first.
///
/// Cancel safe.
///
/// # Errors
/// The API server did not take them.
pub async fn ensure_ssh_keys(context: &Context, resource: &ValidatedResource) -> Result<(), ApplyError> {
    let name = names::ssh_keys(&resource.name);
    if let Some(known) = context.stores.secrets.get(&ObjectRef::new(&name).within(&resource.namespace)) {
        // Whoever made another one of that name knows its keys.
        return if is_controlled_by(known.owner_references(), &resource.owner.uid) {
            Ok(())
        } else {
            Err(ApplyError::Taken { kind: "Secret".to_owned(), name })
        };
    }
    let (host_key, authority) = (ssh_key("portcullis gateway")?, ssh_key("portcullis authority")?);
    let mut secret = Secret {
        immutable: Some(true),
        type_: Some("portcullis.dev/ssh-keys".to_owned()),
        string_data: Some(BTreeMap::from([
            ("ssh-hostkey".to_owned(), host_key),
            ("ssh-ca".to_owned(), authority),
        ])),
        ..Secret::default()
    };
    secret.metadata.name = Some(name);
    secret.metadata.labels = Some(names::labels(&resource.name));
    secret.metadata.owner_references = Some(vec![resource.owner.clone()]);
    create(context, &resource.namespace, &secret).await
}

/// A new Ed25519 key in OpenSSH's format.
fn ssh_key(comment: &str) -> Result<String, ApplyError> {
    let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519);
    let text = key.and_then(|mut key| {
        key.set_comment(comment);
        key.to_openssh(LineEnding::LF)
    });
    text.map(|text| text.to_string()).map_err(ApplyError::SshKey)
}

/// Creates a Secret, unless it is there already.
async fn create(context: &Context, namespace: &str, secret: &Secret) -> Result<(), ApplyError> {
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    context.metrics.wrote("Secret", "create");
    match Api::<Secret>::namespaced(context.client.clone(), namespace).create(&params, secret).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(source) => Err(ApplyError::Api {
            step: "create",
            kind: "Secret".to_owned(),
            name: secret.name_any(),
            source: Box::new(source),
        }),
    }
}
