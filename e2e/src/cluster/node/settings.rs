//! Settings of the node's programs.

use super::{DNS, PAUSE};
use serde_json::json;
use std::path::Path;

/// containerd's configuration.
pub(super) fn containerd(root: &Path, socket: &Path, network: &Path) -> String {
    // Without restrict_oom_score_adj every pod fails where lowering it takes a capability that root does not have.
    format!(
        r#"version = 2
root = "{root}/root"
state = "{root}/state"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{root}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{network}"
"#,
        root = root.display(),
        socket = socket.display(),
        network = network.display(),
    )
}

/// The network of pods, for the CNI plugins: a bridge, without address translation.
pub(super) fn network(pods: &str, data: &Path) -> String {
    json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [{
            "type": "bridge",
            "bridge": "pods0",
            "isGateway": true,
            "hairpinMode": true,
            "ipMasq": false,
            "ipam": {
                "type": "host-local",
                "dataDir": data,
                "ranges": [[{"subnet": pods}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }],
    })
    .to_string()
}

/// The kubelet's configuration.
pub(super) fn kubelet(containerd: &Path, logs: &Path, group: &str) -> String {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": format!("unix://{}", containerd.display()),
        // A machine may have control groups of both versions mounted; this asks for neither.
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": true,
        // Pods' groups are below this one: what is left of them is found by its name.
        "cgroupRoot": format!("/{group}"),
        "enforceNodeAllocatable": [],
        "failCgroupV1": false,
        "failSwapOn": false,
        // Only the node's own network reaches it.
        "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
        "authorization": {"mode": "AlwaysAllow"},
        "clusterDNS": [DNS],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        "podLogsDir": logs.join("pods"),
        "makeIPTablesUtilChains": false,
        // The store of images is memory; a full disk of the machine is not the node's affair.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
    })
    .to_string()
}
