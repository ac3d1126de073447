//! Events of watches: how many a second, and how much later than directly each begins to arrive.

use super::super::measure::{Row, median};
use super::compared;
use super::ways::{OBJECTS, Way, Ways};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::time::Instant;
use tokio::sync::mpsc;

/// Events whose way is timed.
const EVENTS: u32 = 200;
/// How often the events of all objects are taken.
const ROUNDS: usize = 5;

const PATH: &str = "/api/v1/namespaces/default/configmaps";

pub(super) async fn measure(ways: &Ways) -> Result<Vec<Row>> {
    let all = [&ways.direct, &ways.proxy, &ways.plain, &ways.guarded];
    let mut figures: [Vec<f64>; 4] = Default::default();
    for _ in 0..ROUNDS {
        for (way, figures) in all.into_iter().zip(&mut figures) {
            figures.push(replay(way).await?);
        }
    }
    let [direct, proxy, plain, guarded] = figures.map(median);
    let peers = [("kubectl proxy", proxy), ("direct", direct)];
    let mut rows = Vec::new();
    let name = "kubernetes: watch events";
    rows.extend(compared(name, "1/s", plain, peers));
    rows.extend(compared(&format!("{name}, every detector"), "1/s", guarded, peers));
    let [proxy, plain, guarded] = delays(ways).await?;
    for (name, ours) in [("", plain), (", every detector", guarded)] {
        let name = format!("kubernetes: watch event, first byte later than directly, median{name}");
        rows.push(Row::new(name, "ms", ours.0, ("kubectl proxy", proxy.0)));
    }
    let name = "kubernetes: watch event, first byte later than directly, p99, every detector";
    rows.push(Row::new(name, "ms", guarded.1, ("kubectl proxy", proxy.1)));
    Ok(rows)
}

/// Events a second, of all objects that are there when a watch begins.
async fn replay(way: &Way) -> Result<f64> {
    let client = way.client()?;
    let path = "/api/v1/namespaces/many/configmaps?watch=1&resourceVersion=0";
    let began = Instant::now();
    let mut answer = way.get(&client, path).send().await?;
    let mut events = 0;
    while events < OBJECTS {
        let piece = answer.chunk().await?.context("the watch ended")?;
        events += piece.split(|byte| *byte == b'\n').count() - 1;
    }
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    Ok(events as f64 / began.elapsed().as_secs_f64())
}

/// Median and 99th percentile in milliseconds of how much later than directly events come: of `kubectl proxy`, of the
/// gateway, and of the gateway with detectors. All watch at once, so that each event is its own measure.
async fn delays(ways: &Ways) -> Result<[(f64, f64); 3]> {
    let (said, mut heard) = mpsc::unbounded_channel();
    let all = [&ways.direct, &ways.proxy, &ways.plain, &ways.guarded];
    let mut tasks = Vec::new();
    for (index, way) in all.into_iter().enumerate() {
        let answer = way.get(&way.client()?, &format!("{PATH}?watch=1")).send().await?;
        ensure!(answer.status().is_success(), "{}: {}", way.name, answer.status());
        tasks.push(tokio::spawn(listen(index, answer, said.clone())));
    }
    let client = ways.direct.client()?;
    let mut added: [Vec<f64>; 3] = Default::default();
    for number in 1..=EVENTS {
        let patch = json!({"data": {"number": number.to_string()}});
        let request = ways.direct.patch(&client, &format!("{PATH}/small"), &patch);
        request.send().await?.error_for_status()?;
        let mut arrived: [Option<Instant>; 4] = [None; 4];
        while arrived.iter().any(Option::is_none) {
            let (index, event, at): (usize, u32, Instant) = heard.recv().await.context("a watch ended")?;
            if let Some(arrived) = arrived.get_mut(index).filter(|_| event == number) {
                *arrived = Some(at);
            }
        }
        if let [Some(direct), rest @ ..] = arrived {
            for (added, at) in added.iter_mut().zip(rest.into_iter().flatten()) {
                let later = at.saturating_duration_since(direct).as_secs_f64();
                let earlier = direct.saturating_duration_since(at).as_secs_f64();
                added.push((later - earlier) * 1_000.0);
            }
        }
    }
    for task in tasks {
        task.abort();
    }
    Ok(added.map(|mut figures| {
        figures.sort_by(f64::total_cmp);
        let p99 = figures.get(figures.len() * 99 / 100).copied().unwrap_or(f64::NAN);
        (median(figures), p99)
    }))
}

/// Says of each event when its first byte came.
async fn listen(
    index: usize,
    mut answer: reqwest::Response,
    said: mpsc::UnboundedSender<(usize, u32, Instant)>,
) -> Result<()> {
    let (mut line, mut began) = (Vec::new(), None);
    while let Some(piece) = answer.chunk().await? {
        let at = Instant::now();
        for byte in piece {
            began.get_or_insert(at);
            if byte != b'\n' {
                line.push(byte);
                continue;
            }
            let event: Value = serde_json::from_slice(&line)?;
            let number = event
                .pointer("/object/data/number")
                .and_then(Value::as_str)
                .and_then(|number| number.parse().ok());
            if let (Some(number), Some(at)) = (number, began) {
                said.send((index, number, at))?;
            }
            line.clear();
            began = None;
        }
    }
    Ok(())
}
