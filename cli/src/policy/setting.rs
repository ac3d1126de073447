//! What policies are tried on: the manifests of a directory, one Resource of them, and an identity.

use anyhow::{Context as _, bail};
use crds::manifest::Manifests;
use crds::v1alpha1::ProtectedResource;
use proxy_policy::{Identity, PolicySet, ResourceFacts, compile};
use serde::Deserialize;
use std::path::Path;

/// A Resource and the policies that are about it.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) policies: PolicySet,
    resource: ProtectedResource,
}

impl Setting {
    /// Reads a directory as the gateway does (Secrets need not be there) and compiles the policies of a Resource.
    pub(super) fn load(directory: &Path, resource: &str) -> anyhow::Result<Self> {
        let manifests = read(directory)?;
        let resource = pick(&manifests, resource)?;
        let facts = facts(&resource);
        let neighbours: Vec<_> = manifests
            .policies
            .iter()
            .filter(|policy| namespace(policy.metadata.namespace.as_deref()) == facts.namespace)
            .cloned()
            .collect();
        let policies = compile(&facts, &neighbours).map_err(|problems| {
            let located = problems.iter().map(|problem| {
                let origin = manifests.origin("Policy", &facts.namespace, &problem.policy);
                let file = origin.map(ToString::to_string).unwrap_or_default();
                format!("{file}: Policy {}: {}: {}", problem.policy, problem.path, problem.message)
            });
            anyhow::anyhow!("{}", located.collect::<Vec<_>>().join("\n"))
        })?;
        Ok(Self { policies, resource })
    }

    /// The role that is meant when none is named: the first of the Resource.
    pub(super) fn first_role(&self) -> String {
        self.resource.spec.roles().next().unwrap_or_default().to_owned()
    }

    /// Protocol of the Resource.
    pub(super) const fn protocol(&self) -> &'static str {
        self.resource.spec.protocol()
    }

    /// Where the session is, within the Resource: a database, or a host.
    pub(super) fn namespace<'a>(&'a self, place: Place<'a>) -> &'a str {
        let Some(target) = &self.resource.spec.ssh else { return place.database.unwrap_or("postgres") };
        let first = target.hosts.first().map(|host| host.name.as_str());
        place.host.or(first).unwrap_or_default()
    }

    /// An identity as people write one, completed: issuer and user name have sensible values.
    pub(super) fn complete(&self, given: &GivenIdentity) -> Identity {
        let issuers = &self.resource.spec.authentication.issuers;
        let issuer = given.issuer.clone().or_else(|| issuers.first().map(|issuer| issuer.issuer.clone()));
        Identity {
            issuer: issuer.unwrap_or_default(),
            subject: given.subject.clone(),
            username: given.username.clone().unwrap_or_else(|| given.subject.clone()),
            groups: given.groups.clone(),
            claims: given.claims.clone(),
        }
    }
}

/// A place as people name it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) database: Option<&'a str>,
    pub(super) host: Option<&'a str>,
}

/// An identity as people write one.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct GivenIdentity {
    /// Omitted: the first issuer of the Resource.
    issuer: Option<String>,
    subject: String,
    /// Omitted: the subject.
    username: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    claims: serde_json::Map<String, serde_json::Value>,
}

/// Reads a YAML or JSON file.
pub(super) fn document<T: for<'de> Deserialize<'de>>(path: &Path) -> anyhow::Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    serde_yaml_ng::from_str(&text).with_context(|| format!("read {}", path.display()))
}

fn read(directory: &Path) -> anyhow::Result<Manifests> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))? {
        let path = entry?.path();
        let manifest = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if manifest && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    let mut manifests = Manifests::default();
    let mut problems = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let read = Manifests::parse(&path.display().to_string(), &text);
        if let Err(errors) = read.and_then(|more| manifests.append(more)) {
            problems.extend(errors.iter().map(ToString::to_string));
        }
    }
    if problems.is_empty() { Ok(manifests) } else { bail!("{}", problems.join("\n")) }
}

fn pick(manifests: &Manifests, wanted: &str) -> anyhow::Result<ProtectedResource> {
    let (space, name) = wanted.split_once('/').map_or((None, wanted), |(space, name)| (Some(space), name));
    let mut found = manifests.resources.iter().filter(|resource| {
        resource.metadata.name.as_deref() == Some(name)
            && space.is_none_or(|space| namespace(resource.metadata.namespace.as_deref()) == space)
    });
    match (found.next(), found.next()) {
        (Some(resource), None) => Ok(resource.clone()),
        (Some(_), Some(_)) => {
            bail!("several namespaces have a Resource {name}: name one, as NAMESPACE/{name}")
        }
        (None, _) => {
            let all = manifests.resources.iter().filter_map(|resource| resource.metadata.name.as_deref());
            bail!("there is no Resource {wanted}; there are: {}", all.collect::<Vec<_>>().join(", "))
        }
    }
}

fn facts(resource: &ProtectedResource) -> ResourceFacts {
    let namespace = namespace(resource.metadata.namespace.as_deref()).to_owned();
    ResourceFacts { namespace, ..ResourceFacts::of(resource) }
}

fn namespace(given: Option<&str>) -> &str {
    given.filter(|namespace| !namespace.is_empty()).unwrap_or("default")
}
