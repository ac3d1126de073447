//! A whole node.

use e2e::cluster::Cluster;
use e2e::image::Image;
use e2e::process::wait_until;
use e2e::tools;
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

const IMAGE: &str = "localhost/busybox:e2e";

/// A namespace of the shared cluster, where pods can run busybox.
fn namespace(name: &str) -> Option<&'static Cluster> {
    let busybox = tools::or_skip("busybox")?;
    let cluster = Cluster::own_or_skip()?;
    let image = Image::of_binary(IMAGE, &busybox).unwrap().client().unwrap();
    cluster.load(&image).unwrap();
    // Only what the strictest profile allows runs here, as in a careful cluster.
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
    cluster.apply(&namespace.to_string()).unwrap();
    wait_until("the namespace has a service account", || {
        cluster.kubectl(&["get", "serviceaccount/default", "--namespace", name]).ok()
    })
    .unwrap();
    Some(cluster)
}

fn pod(command: &[&str]) -> serde_json::Value {
    json!({
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "terminationGracePeriodSeconds": 0,
        "containers": [{
            "name": "busybox", "image": IMAGE, "command": command,
            "securityContext": {
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
            },
        }],
    })
}

/// Runs a command in a pod until it succeeds, and gives what it printed.
fn in_pod(cluster: &Cluster, namespace: &str, command: &str) -> String {
    let mut last = String::new();
    let printed = wait_until(command, || {
        let arguments = ["exec", "client", "--namespace", namespace, "--", "/busybox", "sh", "-c", command];
        cluster.kubectl(&arguments).map_err(|error| last = error.to_string()).ok()
    });
    printed.unwrap_or_else(|error| panic!("{error}: {last}"))
}

#[test]
fn a_deployment_behind_a_service_answers_by_its_name() {
    let Some(cluster) = namespace("answers") else { return };
    let labels = json!({"app": "shop"});
    let script = "echo hello > /tmp/index.html; exec /busybox httpd -f -p 8080 -h /tmp";
    let mut spec = pod(&["/busybox", "sh", "-c", script]);
    spec["containers"][0]["volumeMounts"] = json!([{"name": "tmp", "mountPath": "/tmp"}]);
    spec["volumes"] = json!([{"name": "tmp", "emptyDir": {}}]);
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop", "namespace": "answers"},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop", "namespace": "answers"},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
    });
    let client = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client", "namespace": "answers"},
        "spec": pod(&["/busybox", "sleep", "3600"]),
    });
    cluster.apply(&[deployment, service, client].map(|object| object.to_string()).join("\n---\n")).unwrap();
    cluster
        .kubectl(&["rollout", "status", "deployment/shop", "--namespace=answers", "--timeout=60s"])
        .unwrap();

    for name in ["shop", "shop.answers.svc.cluster.local"] {
        let printed = in_pod(cluster, "answers", &format!("/busybox wget -qO- http://{name}/"));
        assert_eq!(printed, "hello\n");
    }

    // From this machine too, and from a program that runs in the node's network.
    let service = cluster.client().get(&["service/shop", "--namespace=answers"]).unwrap();
    let address = format!("{}:80", service["spec"]["clusterIP"].as_str().unwrap());
    let port = cluster.forward(address.parse().unwrap()).unwrap();
    let mut connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
    connection.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("hello\n"), "{answer}");
    let answer = cluster.exec("curl", &["-sS".to_owned(), format!("http://{address}/")]).unwrap();
    assert_eq!(answer, "hello\n");
}

#[test]
fn pods_reach_a_server_of_the_tests() {
    let Some(cluster) = namespace("reaches") else { return };
    let server = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = cluster.expose(server.local_addr().unwrap().port()).unwrap();
    std::thread::spawn(move || {
        for mut client in server.incoming().map_while(Result::ok) {
            // Closing with a request unread would reset the connection, answer and all.
            assert!(client.read(&mut [0; 1024]).unwrap() > 0);
            client.write_all(b"HTTP/1.0 200 OK\r\n\r\nfrom outside\n").unwrap();
        }
    });
    let client = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client", "namespace": "reaches"},
        "spec": pod(&["/busybox", "sleep", "3600"]),
    });
    cluster.apply(&client.to_string()).unwrap();
    let printed = in_pod(cluster, "reaches", &format!("/busybox wget -qO- http://{address}/"));
    assert_eq!(printed, "from outside\n");
}

#[test]
fn programs_built_for_tests_run_from_images() {
    let Some(cluster) = namespace("programs") else { return };
    for program in ["portcullis-operator", "portcullis-proxy"] {
        let image = Image::own(program).unwrap();
        cluster.load(&image).unwrap();
        let mut spec = pod(&[]);
        spec["restartPolicy"] = json!("Never");
        spec["containers"][0]["image"] = json!(image.name());
        spec["containers"][0]["command"] = json!(null);
        spec["containers"][0]["args"] = json!(["--help"]);
        let metadata = json!({"name": program, "namespace": "programs"});
        cluster
            .apply(
                &json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}).to_string(),
            )
            .unwrap();
        let name = format!("pod/{program}");
        let ended = [
            "wait",
            "--for=jsonpath={.status.phase}=Succeeded",
            &name,
            "--namespace=programs",
            "--timeout=60s",
        ];
        cluster.kubectl(&ended).unwrap();
        let printed = cluster.kubectl(&["logs", &name, "--namespace=programs"]).unwrap();
        assert!(printed.contains(&format!("Usage: {program}")), "{printed}");
    }
}

#[test]
fn helm_reaches_the_cluster() {
    let Some(cluster) = Cluster::or_skip() else { return };
    let version = cluster.helm(&["version", "--short"]).unwrap();
    assert!(version.starts_with("v4."), "{version}");
    assert_eq!(cluster.helm(&["list", "--all-namespaces", "--short"]).unwrap(), "");
}
