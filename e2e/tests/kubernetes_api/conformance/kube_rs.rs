//! kube-rs: what it sees directly and through the gateway.

use super::{RULES, Sides};
use crate::scene::Scene;
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::config::KubeConfigOptions;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::pin::pin;

/// The kubeconfig that leads through the gateway.
pub(super) fn gated(scene: &Scene) -> PathBuf {
    let command = scene.kubectl(&scene.token("bot"));
    let found = command.get_envs().find(|(name, _)| *name == "KUBECONFIG").and_then(|(_, value)| value);
    found.unwrap().into()
}

/// What kube-rs sees of objects that it makes, lists, watches and deletes.
async fn by_kube(kubeconfig: &Path, namespace: &str) -> Vec<Value> {
    let config = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
    let api: Api<ConfigMap> = Api::namespaced(kube::Client::try_from(config).unwrap(), namespace);
    let object = |name: &str, value: &str| -> ConfigMap {
        serde_json::from_value(json!({"metadata": {"name": name}, "data": {"a": value}})).unwrap()
    };
    let mut seen = Vec::new();
    let made = api.create(&PostParams::default(), &object("kube", "b")).await.unwrap();
    seen.push(json!(made.data));
    let patch = Patch::Merge(json!({"data": {"c": "d"}}));
    seen.push(json!(api.patch("kube", &PatchParams::default(), &patch).await.unwrap().data));
    let applied =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": {"e": "f"}});
    let parameters = PatchParams::apply("kube").force();
    seen.push(json!(api.patch("applied", &parameters, &Patch::Apply(applied)).await.unwrap().data));
    let list = api.list(&ListParams::default()).await.unwrap();
    seen.push(list.items.iter().map(|item| item.metadata.name.clone()).collect());
    let metadata = api.get_metadata("kube").await.unwrap();
    seen.push(json!([metadata.types, metadata.metadata.name]));
    let version = list.metadata.resource_version.unwrap();
    let mut events = pin!(api.watch(&WatchParams::default(), &version).await.unwrap());
    api.delete("kube", &DeleteParams::default()).await.unwrap();
    match events.next().await {
        Some(Ok(WatchEvent::Deleted(object))) => seen.push(json!(["deleted", object.data])),
        other => panic!("{other:?}"),
    }
    for failed in [
        api.get("nobody").await.unwrap_err(),
        api.create(&PostParams::default(), &object("applied", "")).await.unwrap_err(),
    ] {
        let kube::Error::Api(status) = failed else { panic!("{failed:?}") };
        seen.push(json!([status.code, status.reason, status.message]));
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn kubernetes_kube_rs_sees_what_it_sees_without_the_gateway() {
    let Some(scene) = Scene::start(RULES) else { return };
    let sides = Sides::new(&scene, "kube");
    for namespace in [&sides.direct, &sides.gated] {
        let n = format!("--namespace={namespace}");
        scene.direct.run(&["wait", "--for=create", "configmap/kube-root-ca.crt", &n]).unwrap();
    }
    let direct = by_kube(scene.direct.kubeconfig(), &sides.direct).await;
    let gated = by_kube(&gated(&scene), &sides.gated).await;
    assert_eq!(direct, gated);
}
