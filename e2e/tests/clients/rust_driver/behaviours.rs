//! The behaviours of `e2e/clients`, in Rust.

use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{SinkExt as _, StreamExt as _, TryStreamExt as _, future};
use serde_json::{Value, json};
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::config::SslNegotiation;

use super::Session;
use crate::stage::Login;

const FAILING: &str = "select 1 / (n - 1) from numbers where n = 1";

/// Runs all behaviours; one line for each, as the programs print them.
pub(super) async fn run(login: &Login, run: &str) -> String {
    let scene = Scene { login, run };
    let behaviours: Vec<(&str, BoxFuture<'_, Result<Value>>)> = vec![
        ("connect", Box::pin(scene.connect(SslNegotiation::Postgres))),
        ("direct tls", Box::pin(scene.connect(SslNegotiation::Direct))),
        ("parameters", Box::pin(scene.parameters())),
        ("prepared", Box::pin(scene.prepared())),
        ("pipeline", Box::pin(scene.pipeline())),
        ("pipeline with an error", Box::pin(scene.pipeline_with_an_error())),
        ("rollback", Box::pin(scene.rollback())),
        ("error in transaction", Box::pin(scene.error_in_transaction())),
        ("denied", Box::pin(scene.denied())),
        ("denied in transaction", Box::pin(scene.denied_in_transaction())),
        ("several statements", Box::pin(scene.several_statements())),
        ("fetch size", Box::pin(scene.fetch_size())),
        ("copy out", Box::pin(scene.copy_out())),
        ("copy in", Box::pin(scene.copy_in())),
        ("notify", Box::pin(scene.notify())),
        ("masked", Box::pin(scene.masked())),
        ("cancel", Box::pin(scene.cancel())),
        ("types", Box::pin(scene.types())),
    ];
    let mut lines = String::new();
    for (behaviour, future) in behaviours {
        let line = match future.await {
            Ok(saw) => json!({ "behaviour": behaviour, "saw": saw }),
            Err(error) => json!({ "behaviour": behaviour, "failed": format!("{error:#}") }),
        };
        lines.push_str(&line.to_string());
        lines.push('\n');
    }
    lines
}

struct Scene<'a> {
    login: &'a Login,
    run: &'a str,
}

fn state(error: &tokio_postgres::Error) -> String {
    error.code().map_or_else(|| format!("{error:?}"), |code| code.code().to_owned())
}

async fn refused(session: &Session, query: &str) -> String {
    match session.simple_query(query).await {
        Ok(_) => "no error".to_owned(),
        Err(error) => state(&error),
    }
}

async fn one(session: &Session) -> Result<i32> {
    Ok(session.query_one("select 1", &[]).await?.try_get(0)?)
}

impl Scene<'_> {
    async fn open(&self) -> Result<Session> {
        let opening = Session::open(self.login, SslNegotiation::Postgres);
        tokio::time::timeout(Duration::from_secs(15), opening).await.context("connecting takes too long")?
    }

    async fn connect(&self, negotiation: SslNegotiation) -> Result<Value> {
        let c = Session::open(self.login, negotiation).await?;
        let name: String = c.query_one("select current_database()::text", &[]).await?.try_get(0)?;
        Ok(json!([name, true]))
    }

    async fn parameters(&self) -> Result<Value> {
        let c = self.open().await?;
        let query = "select name from parts where id = $1 and price::float8 < $2";
        let second: String = c.query_one(query, &[&2_i32, &0.75_f64]).await?.try_get(0)?;
        let first: String = c.query_one(query, &[&1_i32, &0.75_f64]).await?.try_get(0)?;
        Ok(json!([second, first]))
    }

    async fn prepared(&self) -> Result<Value> {
        let c = self.open().await?;
        let statement = c.prepare("select name from parts where id = $1").await?;
        let mut names: Vec<String> = Vec::new();
        for id in 1..=3_i32 {
            names.push(c.query_one(&statement, &[&id]).await?.try_get(0)?);
        }
        Ok(json!(names))
    }

    async fn pipeline(&self) -> Result<Value> {
        let c = self.open().await?;
        let statement = c.prepare("select n from numbers where n = $1").await?;
        let ids: Vec<i32> = (1..=50).collect();
        let queries =
            ids.iter().map(|id| async { c.query_one(&statement, &[id]).await?.try_get::<_, i32>(0) });
        Ok(json!(future::try_join_all(queries).await?.iter().sum::<i32>()))
    }

    async fn pipeline_with_an_error(&self) -> Result<Value> {
        let c = self.open().await?;
        let statement = c.prepare("select 1 / (n - 2) from numbers where n = $1").await?;
        let ids = [1_i32, 2, 3];
        let queries =
            ids.iter().map(|id| async { c.query_one(&statement, &[id]).await?.try_get::<_, i32>(0) });
        let seen = future::join_all(queries).await;
        let seen: Vec<Value> = seen
            .into_iter()
            .map(|each| each.map_or_else(|error| json!(state(&error)), |n| json!(n)))
            .collect();
        Ok(json!(seen))
    }

    async fn rollback(&self) -> Result<Value> {
        let mut c = self.open().await?;
        let count = "select count(*)::int from deliveries where run = $1";
        let before: i32 = c.query_one(count, &[&self.run]).await?.try_get(0)?;
        let transaction = c.client.build_transaction().read_only(false).start().await?;
        transaction.execute("insert into deliveries (run, n) values ($1, 1)", &[&self.run]).await?;
        let inside: i32 = transaction.query_one(count, &[&self.run]).await?.try_get(0)?;
        transaction.rollback().await?;
        let after: i32 = c.query_one(count, &[&self.run]).await?.try_get(0)?;
        Ok(json!([before, inside, after]))
    }

    async fn error_in_transaction(&self) -> Result<Value> {
        let c = self.open().await?;
        c.batch_execute("begin").await?;
        let seen = (refused(&c, FAILING).await, refused(&c, "select 1").await);
        c.batch_execute("rollback").await?;
        Ok(json!([seen.0, seen.1, one(&c).await?]))
    }

    async fn denied(&self) -> Result<Value> {
        let c = self.open().await?;
        let simple = refused(&c, "drop table keepsakes").await;
        let extended = match c.query("drop table keepsakes", &[]).await {
            Ok(_) => "no error".to_owned(),
            Err(error) => state(&error),
        };
        let kept: i64 = c.query_one("select count(*) from keepsakes", &[]).await?.try_get(0)?;
        Ok(json!([simple, extended, kept]))
    }

    async fn denied_in_transaction(&self) -> Result<Value> {
        let c = self.open().await?;
        c.batch_execute("begin").await?;
        let seen = refused(&c, "drop table keepsakes").await;
        c.batch_execute("rollback").await?;
        Ok(json!([seen, one(&c).await?]))
    }

    async fn several_statements(&self) -> Result<Value> {
        let c = self.open().await?;
        let mut seen: Vec<i32> = Vec::new();
        for message in c.simple_query("select 1; select 2; select 3").await? {
            if let SimpleQueryMessage::Row(row) = message {
                seen.push(row.get(0).context("a value")?.parse()?);
            }
        }
        Ok(json!(seen))
    }

    /// A portal that suspends after each hundred rows.
    async fn fetch_size(&self) -> Result<Value> {
        let mut c = self.open().await?;
        let transaction = c.client.transaction().await?;
        let portal = transaction.bind("select n from numbers order by n", &[]).await?;
        let (mut count, mut sum) = (0, 0);
        loop {
            let rows = transaction.query_portal(&portal, 100).await?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                count += 1;
                sum += row.try_get::<_, i32>(0)?;
            }
        }
        transaction.commit().await?;
        Ok(json!([count, sum]))
    }

    async fn copied(&self, query: &str) -> Result<String> {
        let c = self.open().await?;
        let rows: Vec<Bytes> = c.copy_out(&format!("copy ({query}) to stdout")).await?.try_collect().await?;
        Ok(String::from_utf8(rows.concat())?)
    }

    async fn copy_out(&self) -> Result<Value> {
        Ok(json!(self.copied("select id, name from parts order by id").await?))
    }

    async fn copy_in(&self) -> Result<Value> {
        let c = self.open().await?;
        let run = format!("{} copy", self.run);
        let mut sink = pin!(c.copy_in("copy deliveries (run, n, note) from stdin").await?);
        sink.send(Bytes::from(format!("{run}\t10\ta\n{run}\t2"))).await?;
        sink.send(Bytes::from(format!("0\t\\N\n{run}\t30\tc\n"))).await?;
        let count = sink.as_mut().finish().await?;
        let sum = c.query_one("select sum(n)::int from deliveries where run = $1", &[&run]).await?;
        Ok(json!([count, sum.try_get::<_, i32>(0)?]))
    }

    async fn notify(&self) -> Result<Value> {
        let mut listener = self.open().await?;
        listener.batch_execute(&format!("listen \"{}\"", self.run)).await?;
        self.open().await?.batch_execute(&format!("notify \"{}\", 'hello'", self.run)).await?;
        let heard = tokio::time::timeout(Duration::from_secs(10), listener.notifications.recv()).await?;
        Ok(json!([heard.context("the connection ended")?.payload()]))
    }

    async fn masked(&self) -> Result<Value> {
        let query = "select id, supplier_email from parts order by id";
        let c = self.open().await?;
        let mut text: Vec<Option<String>> = Vec::new();
        for message in c.simple_query(query).await? {
            if let SimpleQueryMessage::Row(row) = message {
                text.push(row.get(1).map(str::to_owned));
            }
        }
        let mut binary: Vec<Option<String>> = Vec::new();
        for row in c.query(query, &[]).await? {
            binary.push(row.try_get(1)?);
        }
        Ok(json!({ "text": text, "binary": binary, "copy": self.copied(query).await? }))
    }

    async fn cancel(&self) -> Result<Value> {
        let c = self.open().await?;
        let started = Instant::now();
        let token = c.cancel_token();
        let running = refused(&c, "select pg_sleep(10)");
        let cancelling = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            token.cancel_query(c.tls.clone()).await
        };
        let (seen, cancelled) = future::join(running, cancelling).await;
        cancelled?;
        Ok(json!([seen, started.elapsed() < Duration::from_secs(8), one(&c).await?]))
    }

    /// The bytes of every column in binary, which this driver asks for, and the texts.
    async fn types(&self) -> Result<Value> {
        let c = self.open().await?;
        let mut texts: Vec<Vec<Option<String>>> = Vec::new();
        for message in c.simple_query("select * from every_type order by id").await? {
            if let SimpleQueryMessage::Row(row) = message {
                texts.push((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect());
            }
        }
        let mut binary: Vec<Vec<Option<Vec<u8>>>> = Vec::new();
        let mut rows = pin!(c.query_raw("select * from every_type order by id", Vec::<i32>::new()).await?);
        while let Some(row) = rows.next().await {
            let row = row?;
            let raw =
                |column| row.try_get::<_, Option<Raw>>(column).map(|value| value.map(|Raw(bytes)| bytes));
            binary.push((0..row.len()).map(raw).collect::<Result<_, _>>()?);
        }
        Ok(json!({ "text": texts, "binary": binary }))
    }
}

/// A value as it came.
struct Raw(Vec<u8>);

impl tokio_postgres::types::FromSql<'_> for Raw {
    fn from_sql(
        _: &tokio_postgres::types::Type,
        raw: &[u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }
    fn accepts(_: &tokio_postgres::types::Type) -> bool {
        true
    }
}
