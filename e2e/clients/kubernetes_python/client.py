"""Drives the Python client: objects, patches, a watch, pages, logs and exec over WebSocket.

KUBECONFIG says which server, NAMESPACE where, IMAGE what pods run; one line of JSON for each behaviour.
"""

import json
import os
import sys
import time

from kubernetes import client, config, dynamic, watch
from kubernetes.client.rest import ApiException
from kubernetes.stream import stream

config.load_kube_config()
NAMESPACE, IMAGE = os.environ["NAMESPACE"], os.environ["IMAGE"]
core, apps = client.CoreV1Api(), client.AppsV1Api()


def config_map():
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="py", labels={"of": "py"}), data={"a": "b"})
    core.create_namespaced_config_map(NAMESPACE, body)
    core.patch_namespaced_config_map("py", NAMESPACE, {"data": {"c": "d"}})
    patch = [{"op": "replace", "path": "/data/a", "value": "e"}]
    return core.patch_namespaced_config_map("py", NAMESPACE, patch).data


def deployment():
    container = client.V1Container(name="main", image=IMAGE, command=["sleep", "3600"])
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels={"app": "py"}), spec=client.V1PodSpec(containers=[container])
    )
    spec = client.V1DeploymentSpec(
        replicas=0, selector=client.V1LabelSelector(match_labels={"app": "py"}), template=template
    )
    body = client.V1Deployment(metadata=client.V1ObjectMeta(name="py"), spec=spec)
    made = apps.create_namespaced_deployment(NAMESPACE, body)
    return client.ApiClient().sanitize_for_serialization(made.spec)


def pages():
    names, token = [], None
    while True:
        page = core.list_namespaced_config_map(NAMESPACE, limit=1, _continue=token)
        names += [item.metadata.name for item in page.items]
        token = page.metadata._continue
        if not token:
            return names


def watched():
    seen = []
    events = watch.Watch()
    for event in events.stream(core.list_namespaced_config_map, NAMESPACE, label_selector="of=py", timeout_seconds=20):
        seen.append([event["type"], event["object"].data])
        if len(seen) == 1:
            core.patch_namespaced_config_map("py", NAMESPACE, {"data": {"f": "g"}})
        if len(seen) == 2:
            events.stop()
    return seen


def by_dynamic():
    api = dynamic.DynamicClient(client.ApiClient()).resources.get(api_version="v1", kind="ConfigMap")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": {"a": "b"}}
    made = api.server_side_apply(body, name="applied", namespace=NAMESPACE, field_manager="py")
    return [made.data.to_dict(), made.metadata.managedFields[0].manager]


def failures(*calls):
    seen = []
    for call in calls:
        try:
            call()
        except ApiException as failed:
            body = json.loads(failed.body)
            seen.append([failed.status, failed.reason, body["reason"], body["message"].replace(NAMESPACE, "NAMESPACE")])
    return seen


def errors():
    return failures(
        lambda: core.read_namespaced_config_map("nobody", NAMESPACE),
        lambda: core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": "No Name"}}),
        lambda: core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": "py"}}),
    )


def denied():
    return failures(lambda: core.read_namespaced_config_map("crown-jewels", NAMESPACE))


def run():
    container = {"name": "main", "image": IMAGE, "command": ["sh", "-c", "echo started; exec sleep 3600"]}
    body = {"metadata": {"name": "py"}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}}
    core.create_namespaced_pod(NAMESPACE, body)
    while core.read_namespaced_pod("py", NAMESPACE).status.phase != "Running":
        time.sleep(0.1)
    command = ["sh", "-c", "echo out; echo err >&2; exit 5"]
    call = core.connect_get_namespaced_pod_exec
    there = stream(call, "py", NAMESPACE, command=command, stdout=True, stderr=True, _preload_content=False)
    there.run_forever(timeout=20)
    log = core.read_namespaced_pod_log("py", NAMESPACE)
    return [there.read_stdout(), there.read_stderr(), there.returncode, log]


def collection():
    core.delete_collection_namespaced_config_map(NAMESPACE, label_selector="of=py")
    return len(core.list_namespaced_config_map(NAMESPACE, label_selector="of=py").items)


for behaviour in (config_map, deployment, pages, watched, by_dynamic, errors, denied, run, collection):
    line = {"behaviour": behaviour.__name__}
    try:
        line["saw"] = behaviour()
    except Exception as failed:  # what went wrong is what is compared
        line["failed"] = f"{type(failed).__name__}: {failed}"[:500]
    print(json.dumps(line))
    sys.stdout.flush()
