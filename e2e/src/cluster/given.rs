//! A cluster that somebody else started, named by its kubeconfig.

use super::component::output;
use super::credentials::{ADMIN, USERS};
use super::kubectl::Kubectl;
use super::programs::KUBERNETES;
use crate::image::Image;
use crate::tools;
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// Its kubeconfig, with a context for each user that tests play: the same user, who impersonates them.
#[derive(Debug)]
pub(super) struct Given {
    directory: TempDir,
    kubectl: Kubectl,
    /// Name of the original context.
    context: String,
}

impl Given {
    pub(super) fn new(kubeconfig: &Path) -> Result<Self> {
        let program = KUBERNETES.build()?.join("kubectl");
        let mut view = Command::new(&program);
        view.env("KUBECONFIG", kubeconfig).args(["config", "view", "--minify", "--flatten", "--output=json"]);
        let original: Value = serde_json::from_str(&output(&mut view, "")?).context("read the kubeconfig")?;
        let context = original.get("current-context").and_then(Value::as_str).unwrap_or_default().to_owned();
        let directory = tempfile::Builder::new().prefix("portcullis-given-").tempdir()?;
        let kubeconfig = directory.path().join("kubeconfig");
        fs::write(&kubeconfig, with_users(&original)?.to_string()).context("write a kubeconfig")?;
        let kubectl = Kubectl { program, kubeconfig };
        kubectl.run(&["get", "--raw", "/readyz"]).context("the cluster does not answer")?;
        Ok(Self { directory, kubectl, context })
    }

    pub(super) fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    pub(super) fn load(&self, image: &Image) -> Result<()> {
        let archive = self.directory.path().join("image.tar");
        image.write(&archive)?;
        self.load_archive(&archive)
    }

    /// kind calls its contexts `kind-NAME`; other clusters get images in ways of their own.
    pub(super) fn load_archive(&self, archive: &Path) -> Result<()> {
        let Some(name) = self.context.strip_prefix("kind-") else {
            bail!("{} is not kind's: load the archives of `make images` into it yourself", self.context)
        };
        let mut kind = Command::new(tools::need("kind")?);
        output(kind.args(["load", "image-archive", "--name", name]).arg(archive), "").map(drop)
    }
}

fn with_users(config: &Value) -> Result<Value> {
    let cluster = config.pointer("/contexts/0/context/cluster").cloned().unwrap_or_default();
    let user =
        config.pointer("/users/0/user").and_then(Value::as_object).context("the kubeconfig has no user")?;
    let (mut users, mut contexts) = (Vec::new(), Vec::new());
    for (name, group) in USERS {
        let mut user = user.clone();
        if name != ADMIN {
            user.insert("as".to_owned(), json!(name));
            user.insert("as-groups".to_owned(), json!([group, "system:authenticated"]));
        }
        users.push(json!({"name": name, "user": user}));
        contexts.push(json!({"name": name, "context": {"cluster": cluster, "user": name}}));
    }
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": config.get("clusters"),
        "users": users,
        "contexts": contexts,
        "current-context": ADMIN,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_but_the_administrator_is_impersonated() {
        let config = json!({
            "clusters": [{"name": "c"}],
            "users": [{"name": "u", "user": {"token": "secret"}}],
            "contexts": [{"name": "kind-c", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "kind-c",
        });
        let config = with_users(&config).unwrap();
        assert_eq!(config["current-context"], "admin");
        assert_eq!(config["users"][0], json!({"name": "admin", "user": {"token": "secret"}}));
        let alice = json!({"token": "secret", "as": "alice", "as-groups": ["dba", "system:authenticated"]});
        assert_eq!(config["users"][1], json!({"name": "alice", "user": alice}));
        assert_eq!(config["contexts"][1]["context"], json!({"cluster": "c", "user": "alice"}));
    }
}
