//! Small requests a second, and a long list.

use super::super::measure::{Row, median};
use super::compared;
use super::ways::{OBJECTS, Way, Ways};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

/// Clients that ask at once, each over a connection of its own.
const CLIENTS: usize = 8;
/// How often each way is measured, in turn.
const ROUNDS: usize = 3;
/// Lists of one round.
const LISTS: u32 = 5;

const SMALL: &str = "/api/v1/namespaces/default/configmaps/small";
const MANY: &str = "/api/v1/namespaces/many/configmaps";

pub(super) async fn measure(ways: &Ways, seconds: u32) -> Result<Vec<Row>> {
    let all = [&ways.direct, &ways.proxy, &ways.plain, &ways.guarded];
    let mut figures: [[Vec<f64>; 3]; 4] = Default::default();
    for _ in 0..ROUNDS {
        for (way, [one, many, lists]) in all.into_iter().zip(&mut figures) {
            let time = Duration::from_secs(u64::from(seconds).div_ceil(2));
            one.push(small(way, 1, time).await?);
            many.push(small(way, CLIENTS, time).await?);
            lists.push(list(way).await?);
        }
    }
    let [direct, proxy, plain, guarded] = figures.map(|figures| figures.map(median));
    let mut rows = Vec::new();
    let names = ["kubernetes: small GETs, 1 client", "kubernetes: small GETs, 8 clients"];
    let list = format!("kubernetes: lists of {OBJECTS} objects");
    let names = names.into_iter().chain([list.as_str()]);
    for ((((name, direct), proxy), plain), guarded) in names.zip(direct).zip(proxy).zip(plain).zip(guarded) {
        let peers = [("kubectl proxy", proxy), ("direct", direct)];
        rows.extend(compared(name, "1/s", plain, peers));
        rows.extend(compared(&format!("{name}, every detector"), "1/s", guarded, peers));
    }
    Ok(rows)
}

/// Requests a second.
async fn small(way: &Way, clients: usize, time: Duration) -> Result<f64> {
    let mut tasks = Vec::new();
    for _ in 0..clients {
        let (way, client) = (way.clone(), way.client()?);
        ask(&way, &client, SMALL).await?;
        tasks.push((way, client));
    }
    let began = Instant::now();
    let tasks: Vec<_> = tasks
        .into_iter()
        .map(|(way, client)| {
            tokio::spawn(async move {
                let mut done = 0_u32;
                while began.elapsed() < time {
                    ask(&way, &client, SMALL).await?;
                    done += 1;
                }
                anyhow::Ok(done)
            })
        })
        .collect();
    let mut sum = 0_u32;
    for task in tasks {
        sum += task.await??;
    }
    Ok(f64::from(sum) / began.elapsed().as_secs_f64())
}

/// Lists a second, one after the other.
async fn list(way: &Way) -> Result<f64> {
    let client = way.client()?;
    let length = ask(way, &client, MANY).await?;
    ensure!(length > OBJECTS * 800, "{}: a list of {length} bytes", way.name);
    let began = Instant::now();
    for _ in 0..LISTS {
        ask(way, &client, MANY).await?;
    }
    Ok(f64::from(LISTS) / began.elapsed().as_secs_f64())
}

/// Reads an answer to its end; how long it was.
async fn ask(way: &Way, client: &reqwest::Client, path: &str) -> Result<usize> {
    let mut answer = way.get(client, path).send().await?;
    ensure!(answer.status().is_success(), "{}: {}: {}", way.name, answer.status(), answer.text().await?);
    let mut length = 0;
    while let Some(piece) = answer.chunk().await? {
        length += piece.len();
    }
    Ok(length)
}
