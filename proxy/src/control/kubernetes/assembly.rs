//! What was seen of the cluster → a configuration.
//!
//! Each part that cannot be used stays as it was last good, and the others go on: a Policy, or the Resource with all
//! that it refers to. So a Policy is enforced though the Resource names a Secret that is not mounted yet. Where nothing
//! was ever good, nothing is offered but the problems: fail closed.

mod policies;
#[cfg(test)]
mod tests;

use super::account::Account;
use super::described::Described;
use super::mounts::Mounted;
use crate::config::objects::{Located, Objects};
use crate::config::{self, Config, Place, Problem, Problems, ResourceConfig, ResourceKey};
use crate::control::Offer;
use crate::reload::Look;
use crds::v1alpha1::{GatewayTls, Policy, ProtectedResource, RunningPolicy, SecretRef};
use policies::{Chosen, Policies};
use proxy_policy::ResourceFacts;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// What was seen. It holds secrets, so this has no `Debug`.
pub(super) struct Seen<'a> {
    pub(super) resource: Option<Arc<Described<ProtectedResource>>>,
    pub(super) policies: Vec<Arc<Described<Policy>>>,
    pub(super) mounted: &'a Look<Mounted>,
}

/// What a gateway runs, for its report.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Running {
    pub(super) resource_generation: i64,
    pub(super) policies: Vec<RunningPolicy>,
    pub(super) problem: Option<String>,
    pub(super) ssh_host_key: Option<String>,
}

/// Remembers what was good.
#[derive(Debug)]
pub(super) struct Assembly {
    key: ResourceKey,
    account: Account,
    policies: Policies,
    /// The Resource in force.
    good: Option<Settings>,
    /// What is offered and not settled yet.
    offered: Option<Offered>,
    /// Digest of the last offer.
    digest: String,
    /// A state of the Resource and its mounts that the gateway could not take over, and why.
    refused: Option<(String, Problems)>,
    running: Running,
}

/// A Resource with all that it refers to. Its policies are those of the moment.
#[derive(Clone, Debug)]
struct Settings {
    /// Of the Resource and its mounts.
    digest: String,
    generation: i64,
    resource: Arc<ProtectedResource>,
    config: ResourceConfig,
}

#[derive(Debug)]
struct Offered {
    settings: Option<Settings>,
    policies: Vec<RunningPolicy>,
    held_back: Vec<Problem>,
}

impl Assembly {
    pub(super) fn new(key: &ResourceKey) -> Self {
        Self {
            key: key.clone(),
            account: Account::default(),
            policies: Policies::default(),
            good: None,
            offered: None,
            digest: String::new(),
            refused: None,
            running: Running::default(),
        }
    }

    /// What can be put in force now; `None` if that is what was offered last.
    pub(super) fn offer(&mut self, seen: &Seen<'_>) -> Option<Offer> {
        let settings = digest_of_settings(seen);
        let digest = digest_of_all(&settings, &seen.policies);
        if digest == self.digest {
            return None;
        }
        self.digest.clone_from(&digest);
        let mut held_back = Vec::new();
        let config = self.assemble(seen, settings, &mut held_back);
        Some(Offer { digest, config: config.map_err(Problems::new), held_back })
    }

    /// What became of the offer, and what is running now.
    pub(super) fn settled(&mut self, outcome: Result<(), &Problems>) -> Running {
        let offered = self.offered.take();
        match (outcome, offered) {
            (Ok(()), Some(Offered { settings: Some(settings), policies, held_back })) => {
                self.running = Running {
                    resource_generation: settings.generation,
                    policies,
                    problem: text(&held_back),
                    ssh_host_key: crate::protocols::host_key(&settings.config.upstream),
                };
                self.good = Some(settings);
                self.policies.are_in_force();
            }
            (Err(problems), Some(Offered { settings, held_back, .. })) => {
                let all: Vec<Problem> = problems.0.iter().chain(&held_back).cloned().collect();
                self.running.problem = text(&all);
                if let (Some(settings), Some(good)) = (settings, &self.good)
                    && settings.digest != good.digest
                {
                    // The policies must not wait for it: they are offered again with the last good settings.
                    self.refused = Some((settings.digest, problems.clone()));
                    self.digest.clear();
                }
            }
            (Err(problems), None) => self.running.problem = text(&problems.0),
            (Ok(()), Some(Offered { settings: None, .. }) | None) => {}
        }
        self.running.clone()
    }

    fn assemble(
        &mut self,
        seen: &Seen<'_>,
        digest: String,
        held_back: &mut Vec<Problem>,
    ) -> Result<Config, Vec<Problem>> {
        self.offered = None;
        let settings = match (self.settings(seen, digest), &self.good) {
            (Ok(settings), _) => settings,
            (Err(problems), Some(good)) => {
                held_back.extend(problems);
                good.clone()
            }
            (Err(problems), None) => return Err(problems),
        };
        let facts = ResourceFacts::of(&settings.resource);
        let chosen = self.policies.choose(&facts, &seen.policies);
        self.offered = Some(Offered {
            settings: Some(settings.clone()),
            policies: Vec::new(),
            held_back: held_back.clone(),
        });
        let Chosen { set, running, held_back: more } = chosen?;
        held_back.extend(more);
        let mut config = Config::default();
        let resource = ResourceConfig { policies: Arc::new(set), ..settings.config.clone() };
        config.resources.insert(self.key.clone(), resource);
        self.offered =
            Some(Offered { settings: Some(settings), policies: running, held_back: held_back.clone() });
        Ok(config)
    }

    /// The Resource with all that it refers to, as it is now.
    fn settings(&self, seen: &Seen<'_>, digest: String) -> Result<Settings, Vec<Problem>> {
        let place = Place::object("Resource", &self.key.namespace, &self.key.name);
        let Some(described) = &seen.resource else {
            let message = "expected it to exist: a gateway goes on with the last one until it is stopped";
            return Err(vec![place.problem("", message)]);
        };
        if let Some((refused, problems)) = &self.refused
            && *refused == digest
        {
            return Err(problems.0.clone());
        }
        let resource = match &described.object {
            Ok(resource) => Arc::clone(resource),
            Err(problems) => {
                let located = problems.iter().map(|problem| place.problem(&problem.path, &problem.message));
                return Err(located.collect());
            }
        };
        let mut objects = Objects::default();
        seen.mounted
            .as_ref()
            .map_err(|problems| problems.0.clone())?
            .add_to(&self.key.namespace, &mut objects);
        let (namespace, name) = (self.key.namespace.clone(), self.key.name.clone());
        let object = with_certificate(&resource);
        objects.resources.push(Located { place, namespace, name, object });
        let mut config = config::resolve(&objects)?;
        let resolved = config.resources.remove(&self.key);
        let mut config = resolved.ok_or_else(Vec::new)?;
        config.issuers.iter_mut().for_each(|issuer| self.account.introduce(issuer));
        Ok(Settings { digest, generation: described.generation, resource, config })
    }
}

/// Where the Resource names no Secret, the operator puts the certificate, or the keys of SSH, into one of its own name.
fn with_certificate(resource: &ProtectedResource) -> ProtectedResource {
    let mut resource = resource.clone();
    if let Some(target) = &mut resource.spec.ssh {
        let name = format!("{}-gateway-ssh", resource.metadata.name.as_deref().unwrap_or_default());
        target.keys_ref.get_or_insert(SecretRef { name });
        return resource;
    }
    let tls = &mut resource.spec.gateway.tls;
    if tls.as_ref().is_none_or(|tls| tls.secret_ref.is_none()) {
        let name = format!("{}-gateway-tls", resource.metadata.name.as_deref().unwrap_or_default());
        *tls = Some(GatewayTls { secret_ref: Some(SecretRef { name }), ..GatewayTls::default() });
    }
    resource
}

fn text(problems: &[Problem]) -> Option<String> {
    (!problems.is_empty()).then(|| Problems::new(problems.to_vec()).to_string())
}

/// A generation stands for a spec: the API server counts it up with every change of one. Labels are not part of it.
fn digest_of_settings(seen: &Seen<'_>) -> String {
    let mut hash = Sha256::new();
    if let Some(resource) = &seen.resource {
        hash.update(format!("{} {}\n", resource.uid, resource.generation));
        let object = resource.object.as_ref();
        hash.update(format!("{:?}\n", object.ok().map(|object| &object.metadata.labels)));
    }
    match seen.mounted {
        Ok(mounted) => mounted.hash(&mut hash),
        Err(problems) => hash.update(format!("{problems}")),
    }
    const_hex::encode(hash.finalize())
}

fn digest_of_all(settings: &str, policies: &[Arc<Described<Policy>>]) -> String {
    let mut hash = Sha256::new();
    hash.update(settings);
    for policy in policies {
        hash.update(format!("{} {} {}\n", policy.name, policy.uid, policy.generation));
    }
    const_hex::encode(hash.finalize())
}
