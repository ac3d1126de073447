//! Bytes out of a pod and into it, by kubectl itself.

use super::super::measure::Row;
use super::compared;
use super::ways::{Way, Ways};
use anyhow::{Result, ensure};
use e2e::cluster::Cluster;
use e2e::image::Image;
use e2e::process::wait_until;
use e2e::tools;
use serde_json::json;
use std::fs::File;
use std::process::Stdio;
use std::time::Instant;

/// Bytes of a transfer, in MiB.
const MIB: u32 = 128;
const IMAGE: &str = "localhost/bench-applets:e2e";

pub(super) fn measure(cluster: &Cluster, ways: &Ways) -> Result<Vec<Row>> {
    let busybox = tools::need("busybox")?;
    let mut image = Image::of_binary(IMAGE, &busybox)?.client()?;
    for applet in ["sh", "head", "sleep", "wc", "yes"] {
        image = image.program(&busybox, &format!("/bin/{applet}"))?;
    }
    cluster.load(&image)?;
    wait_until("there is a service account", || cluster.kubectl(&["get", "serviceaccount/default"]).ok())?;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bench"},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [
            {"name": "busybox", "image": IMAGE, "command": ["/bin/sleep", "100000"]},
        ]},
    });
    cluster.apply(&pod.to_string())?;
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/bench", "--timeout=60s"])?;
    let all = [&ways.direct, &ways.proxy, &ways.plain, &ways.guarded];
    let mut rows = Vec::new();
    for (name, rate) in [("out of a pod", out as fn(&Ways, &Way) -> Result<f64>), ("into a pod", into)] {
        let mut best = [0.0_f64; 4];
        for _ in 0..3 {
            for (way, best) in all.into_iter().zip(&mut best) {
                *best = best.max(rate(ways, way)?);
            }
        }
        let [direct, proxy, plain, guarded] = best;
        let peers = [("kubectl proxy", proxy), ("direct", direct)];
        let name = format!("kubernetes: exec, {name}");
        rows.extend(compared(&name, "MiB/s", plain, peers));
        rows.extend(compared(&format!("{name}, every detector"), "MiB/s", guarded, peers));
    }
    Ok(rows)
}

/// MiB a second of what a program writes.
fn out(ways: &Ways, way: &Way) -> Result<f64> {
    let line = format!("yes 'an ordinary line of a log, level=info msg=done' | head -c {}", MIB << 20);
    let began = Instant::now();
    let mut command = ways.kubectl(way)?;
    let done = command
        .args(["exec", "bench", "--", "sh", "-c", &line])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()?;
    ensure!(done.success(), "{}: {done}", way.name);
    Ok(f64::from(MIB) / began.elapsed().as_secs_f64())
}

/// MiB a second of what a program reads.
fn into(ways: &Ways, way: &Way) -> Result<f64> {
    let mut file = tempfile::tempfile()?;
    let line = b"an ordinary line of a log, level=info msg=done\n".repeat(1 << 15);
    while file.metadata()?.len() < u64::from(MIB) << 20 {
        std::io::Write::write_all(&mut file, &line)?;
    }
    std::io::Seek::rewind(&mut file)?;
    let length = file.metadata()?.len();
    let began = Instant::now();
    let mut command = ways.kubectl(way)?;
    let done =
        command.args(["exec", "-i", "bench", "--", "wc", "-c"]).stdin(File::try_clone(&file)?).output()?;
    let elapsed = began.elapsed().as_secs_f64();
    let read = String::from_utf8_lossy(&done.stdout);
    ensure!(done.status.success() && read.trim() == length.to_string(), "{}: {read} of {length}", way.name);
    Ok(f64::from(MIB) / elapsed)
}
