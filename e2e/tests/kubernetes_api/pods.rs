//! A node with a pod of busybox, and a gateway before it.

use crate::scene::{Scene, prepare};
use e2e::cluster::Cluster;
use e2e::image::Image;
use e2e::process::wait_until;
use e2e::tools;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};

pub(crate) const IMAGE: &str = "localhost/busybox-applets:e2e";
/// What pods of the stories run.
const APPLETS: [&str; 15] = [
    "sh",
    "tar",
    "cat",
    "sleep",
    "env",
    "head",
    "ls",
    "wc",
    "sha256sum",
    "echo",
    "httpd",
    "stty",
    "yes",
    "chmod",
    "mkdir",
];

/// A scene before a node whose namespace has the pod `web`.
pub(crate) struct Pods {
    pub(crate) scene: Scene,
    pub(crate) cluster: &'static Cluster,
    pub(crate) namespace: String,
}

impl Pods {
    /// `None`: skipped.
    pub(crate) fn start(name: &str, rules: &str) -> Option<Self> {
        let busybox = tools::or_skip("busybox")?;
        let cluster = Cluster::own_or_skip()?;
        let mut image = Image::of_binary(IMAGE, &busybox).unwrap().client().unwrap();
        for applet in APPLETS {
            image = image.program(&busybox, &format!("/bin/{applet}")).unwrap();
        }
        cluster.load(&image).unwrap();
        prepare(cluster.client()).unwrap();
        let scene = Scene::before(cluster.client().clone(), rules);
        let namespace = scene.namespace(name);
        wait_until("the namespace has a service account", || {
            cluster.kubectl(&["get", "serviceaccount/default", "--namespace", &namespace]).ok()
        })
        .unwrap();
        let pods = Self { scene, cluster, namespace };
        pods.run_pod("web", "echo started; echo hello > /tmp/index.html; exec httpd -f -p 8080 -h /tmp");
        Some(pods)
    }

    /// Starts a pod that runs a script, and waits until it is ready.
    pub(crate) fn run_pod(&self, name: &str, script: &str) {
        self.cluster.apply(&pod(name, &self.namespace, script).to_string()).unwrap();
        let n = format!("--namespace={}", self.namespace);
        let pod = format!("pod/{name}");
        self.cluster.kubectl(&["wait", "--for=condition=Ready", &pod, &n, "--timeout=60s"]).unwrap();
    }

    /// Arguments of kubectl that name the namespace, before these.
    pub(crate) fn arguments<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        [["--namespace", self.namespace.as_str()].as_slice(), rest].concat()
    }
}

/// A pod that runs a script.
pub(crate) fn pod(name: &str, namespace: &str, script: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "busybox", "image": IMAGE, "command": ["/bin/sh", "-c", script], "stdin": true,
                "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
            }],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    })
}

/// Arguments of kubectl for [`Forwarded`].
pub(crate) const FORWARD: &[&str] = &["port-forward", "web", ":8080"];

/// A running `kubectl port-forward` to the pod `web`. It ends with the value.
pub(crate) struct Forwarded {
    kubectl: Child,
    port: u16,
    said: String,
    // kubectl ends once nobody reads what it prints
    _printed: BufReader<ChildStdout>,
}

impl Forwarded {
    /// Waits until kubectl listens.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut kubectl = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut printed = BufReader::new(kubectl.stdout.take().unwrap());
        let mut line = String::new();
        printed.read_line(&mut line).unwrap();
        let port = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split_whitespace().next());
        let Some(port) = port else {
            let mut said = String::new();
            kubectl.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("{line} {said}")
        };
        let said = line.replace(port, "PORT");
        let port = port.parse().unwrap();
        Self { kubectl, port, said, _printed: printed }
    }

    /// What kubectl printed when it listened, without the port.
    pub(crate) fn said(&self) -> String {
        self.said.clone()
    }

    /// What the pod's web server answers over a connection of its own.
    pub(crate) fn page(&self) -> String {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        connection.write_all(b"GET /index.html HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        self.kubectl.kill().unwrap();
        self.kubectl.wait().unwrap();
    }
}
