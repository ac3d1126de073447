//! Where a Resource's gateway listens, and what proves that it is the one: what its cluster says.

use crate::cluster::{Cluster, KubernetesArguments, innermost, is_name};
use anyhow::{Context as _, anyhow, ensure};
use crds::v1alpha1::ProtectedResource;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ApiResource, DynamicObject};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;

/// A gateway, as its cluster describes it.
#[derive(Debug)]
pub(crate) struct Gateway {
    resource: ProtectedResource,
    name: String,
    /// Where it listens, as seen from inside the cluster: `HOST:PORT`.
    pub(crate) endpoint: String,
}

/// What signed a gateway's certificate.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Authority {
    /// The operator's authority, in PEM.
    Own(String),
    /// Somebody's: the Resource names a Secret or an issuer.
    Others,
}

impl Gateway {
    /// Asks the cluster for the gateway of a Resource of this protocol, and for what signed its certificate, where it
    /// has one.
    ///
    /// # Errors
    /// There is no such Resource, it is of another protocol, or has no gateway yet.
    pub(crate) fn find(
        arguments: &KubernetesArguments,
        name: &str,
        protocol: &str,
    ) -> anyhow::Result<(Self, Authority)> {
        let cluster = Cluster::connect(arguments)?;
        let resource: ProtectedResource = get(&cluster, name)?;
        let gateway = Self::of(resource, name, protocol)?;
        let authority = if protocol == "ssh" || gateway.resource.spec.gateway.tls.is_some() {
            Authority::Others
        } else {
            let published: ConfigMap = get(&cluster, &format!("{name}-gateway-ca"))?;
            let pem = published.data.and_then(|mut data| data.remove("ca.crt"));
            Authority::Own(pem.with_context(|| format!("ConfigMap {name}-gateway-ca has no ca.crt"))?)
        };
        Ok((gateway, authority))
    }

    fn of(resource: ProtectedResource, name: &str, protocol: &str) -> anyhow::Result<Self> {
        let is = resource.spec.protocol();
        ensure!(is == protocol, "Resource {name} is of protocol {is}, not {protocol}");
        let endpoint = resource.status.as_ref().and_then(|status| status.endpoint.clone());
        let endpoint = endpoint.with_context(|| {
            format!(
                "Resource {name} has no gateway yet: kubectl describe resource.portcullis.dev {name} says why"
            )
        })?;
        Ok(Self { resource, name: name.to_owned(), endpoint })
    }

    /// DNS name in the gateway's certificate, whatever address leads to it.
    pub(crate) fn dns_name(&self) -> &str {
        self.endpoint.rsplit_once(':').map_or(self.endpoint.as_str(), |(host, _)| host)
    }

    /// The public key by which SSH clients know it: what every pod of it says.
    ///
    /// # Errors
    /// No pod says one, or not all say the same.
    pub(crate) fn ssh_host_key(&self) -> anyhow::Result<String> {
        let reports = self.resource.status.iter().flat_map(|status| &status.gateways);
        let keys: BTreeSet<&str> = reports.filter_map(|report| report.ssh_host_key.as_deref()).collect();
        let name = &self.name;
        ensure!(
            keys.len() < 2,
            "the gateways of {name} show different host keys: wait until all run the same, or give --host-key"
        );
        let key = keys.first().with_context(|| {
            format!("no gateway of {name} has published its host key yet: wait until the Resource is Ready")
        })?;
        Ok((*key).to_owned())
    }
}

/// An object of the namespace.
fn get<K: Resource<DynamicType = ()> + DeserializeOwned>(cluster: &Cluster, name: &str) -> anyhow::Result<K> {
    let (server, namespace) = (&cluster.server, &cluster.namespace);
    ensure!(is_name(name), "{name:?} is no name of an object");
    let kind = ApiResource::erase::<K>(&());
    let api = Api::<DynamicObject>::namespaced_with(cluster.client.clone(), namespace, &kind);
    let found = match cluster.runtime.block_on(api.get_opt(name)) {
        Ok(found) => found,
        Err(kube::Error::Api(status)) => {
            return Err(anyhow!("the API server at {server} refuses it: {}", status.message));
        }
        Err(error) => {
            return Err(anyhow!("no answer from the API server at {server}: {}", innermost(&error)));
        }
    };
    let found = found.with_context(|| {
        format!("there is no {} {name} in namespace {namespace} of the cluster at {server}", K::kind(&()))
    })?;
    let value = serde_json::to_value(found).context("read an object of the API server")?;
    serde_json::from_value(value)
        .with_context(|| format!("parse {name}: is this program as new as the operator of the cluster?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn gateway(status: &Value) -> anyhow::Result<Gateway> {
        let host = json!({"name": "web1", "host": "a", "hostKeys": ["ssh-ed25519 AAAA"]});
        let resource = json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "Resource", "metadata": {"name": "web"},
            "spec": {
                "ssh": {"hosts": [host], "roles": [{"name": "deploy", "credentialsRef": {"name": "s"}}]},
                "authentication": {"issuers": [{"issuer": "https://idp", "audiences": ["a"]}]},
            },
            "status": status,
        });
        Gateway::of(serde_json::from_value(resource).unwrap(), "web", "ssh")
    }

    #[test]
    fn a_host_key_is_what_all_gateways_say() {
        let status = |keys: &[&str]| {
            let reports: Vec<Value> =
                keys.iter().map(|key| json!({"pod": format!("p-{key}"), "sshHostKey": key})).collect();
            json!({"endpoint": "web-gateway.shop.svc:2222", "gateways": reports})
        };
        let found = gateway(&status(&["ssh-ed25519 A", "ssh-ed25519 A"])).unwrap();
        assert_eq!(found.ssh_host_key().unwrap(), "ssh-ed25519 A");
        assert_eq!(found.dns_name(), "web-gateway.shop.svc");
        for keys in [&[][..], &["ssh-ed25519 A", "ssh-ed25519 B"]] {
            assert!(gateway(&status(keys)).unwrap().ssh_host_key().is_err(), "{keys:?}");
        }
        assert!(gateway(&json!({})).unwrap_err().to_string().contains("no gateway yet"));
    }
}
