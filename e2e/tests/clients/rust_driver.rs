//! tokio-postgres, whose queries are pipelined when their futures are polled together.

mod behaviours;
mod replayed;
mod tls;

use anyhow::{Context as _, Result, ensure};
use tokio::task::JoinHandle;
use tokio_postgres::config::SslNegotiation;
use tokio_postgres::{AsyncMessage, Client, Config, Notification};

use crate::observed::Observed;
use crate::programs;
use crate::stage::{Login, Stage};

/// A connection, its driver task and what the server sent without being asked.
struct Session {
    client: Client,
    notifications: tokio::sync::mpsc::UnboundedReceiver<Notification>,
    tls: tls::Verified,
    _driver: JoinHandle<()>,
}

impl std::ops::Deref for Session {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Session {
    async fn open(login: &Login, negotiation: SslNegotiation) -> Result<Self> {
        let mut config = Config::new();
        config.host("localhost").port(login.port).user(login.user).password(&login.password).dbname("shop");
        config.ssl_mode(tokio_postgres::config::SslMode::Require).ssl_negotiation(negotiation);
        let tls = tls::Verified::new(&login.ca)?;
        let (client, mut connection) = config.connect(tls.clone()).await.context("connect")?;
        let (sender, notifications) = tokio::sync::mpsc::unbounded_channel();
        let driver = tokio::spawn(async move {
            while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notification(notification) = message
                    && sender.send(notification).is_err()
                {
                    break;
                }
            }
        });
        Ok(Self { client, notifications, tls, _driver: driver })
    }
}

#[test]
fn tokio_postgres_sees_what_the_server_says() -> Result<()> {
    if !programs::present(&["postgres"]) {
        return Ok(());
    }
    let stage = Stage::start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let direct = Observed::parse(&runtime.block_on(behaviours::run(&stage.direct(), "by direct")))?;
    let gateway = Observed::parse(&runtime.block_on(behaviours::run(&stage.driver()?, "by gateway")))?;
    let differences = gateway.differences(&direct);
    let log = stage.gateway.log();
    ensure!(differences.is_empty(), "{} differ:\n{}\n{log}", differences.len(), differences.join("\n"));
    Ok(())
}
