//! API servers that have said everything and gone while their clients, which have not read it yet, speak on: kubectl
//! sends a ping every five seconds. A connection that is closed with something unread is reset.

use crate::gateway::Gateway;
use crate::server::Handed;
use crate::spdy::{FIN, PING, Side};
use crate::streams::{ALLOW, SUCCESS, Socket, binary, program, sockets, spdy};
use futures_util::{SinkExt as _, StreamExt as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;

const LINE: &[u8] = b"an ordinary line\n";
/// Lines of a piece of output.
const LINES: usize = 1000;

/// Pieces that were sent until nobody took any more: what all buffers between both ends hold.
async fn until_full(sent: Arc<AtomicUsize>) -> usize {
    let mut before = usize::MAX;
    loop {
        let now = sent.load(Ordering::Relaxed);
        if now == before && now > 0 {
            return now;
        }
        before = now;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// Pieces that fill the buffers towards the client, and leave room in those that the server fills.
const fn to_fill_half(full: usize) -> usize {
    full / 4 * 3
}

async fn say(server: &mut Side<Handed>, pieces: usize, sent: &AtomicUsize) {
    for _ in 0..pieces {
        server.data(5, 0, &LINE.repeat(LINES)).await;
        sent.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn output_over_spdy_is_whole_though_the_client_speaks_on() {
    let gateway = Gateway::start(ALLOW).await;
    let (mut client, mut server) = spdy(&gateway, "exec", "v4.channel.k8s.io").await;
    program(&mut client, &mut server).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let endless = tokio::spawn(async move { say(&mut server, usize::MAX, &counted).await });
    let pieces = to_fill_half(until_full(sent).await);
    endless.abort();
    drop(client);

    let (mut client, mut server) = spdy(&gateway, "exec", "v4.channel.k8s.io").await;
    program(&mut client, &mut server).await;
    say(&mut server, pieces, &AtomicUsize::new(0)).await;
    server.data(5, FIN, b"").await;
    server.data(1, FIN, &SUCCESS[1..]).await;
    server.leave().await;
    for number in 1..=10_u32 {
        client.control(PING, 0, &number.to_be_bytes()).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    let heard = client.read(5, usize::MAX).await;
    assert_eq!(heard.len(), pieces * LINES * LINE.len());
    assert_eq!(client.read(1, usize::MAX).await, SUCCESS[1..]);
    drop(client);
    gateway.wait_for_log("ok: create pods/exec").await;
}

async fn tell(server: &mut Socket, pieces: usize, sent: &AtomicUsize) {
    let piece = binary(&[b"\x01".as_slice(), &LINE.repeat(LINES)].concat());
    for _ in 0..pieces {
        server.send(piece.clone()).await.unwrap();
        sent.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn output_over_websocket_is_whole_though_the_client_speaks_on() {
    let gateway = Gateway::start(ALLOW).await;
    let query = "command=cat&stdin=true&stdout=true";
    let (client, mut server) = sockets(&gateway, "exec", query).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let endless = tokio::spawn(async move { tell(&mut server, usize::MAX, &counted).await });
    let pieces = to_fill_half(until_full(sent).await);
    endless.abort();
    drop(client);

    let (mut client, mut server) = sockets(&gateway, "exec", query).await;
    tell(&mut server, pieces, &AtomicUsize::new(0)).await;
    server.send(binary(SUCCESS)).await.unwrap();
    server.close(None).await.unwrap();
    drop(server);
    for _ in 0..10 {
        client.send(Message::Ping("still there".into())).await.unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    let (mut output, mut outcome) = (0, Vec::new());
    while let Some(Ok(message)) = client.next().await {
        match message.into_data().split_first() {
            Some((1, piece)) => output += piece.len(),
            Some((3, status)) => outcome.extend_from_slice(status),
            _ => {}
        }
    }
    assert_eq!(output, pieces * LINES * LINE.len());
    assert_eq!(outcome, SUCCESS[1..]);
    gateway.wait_for_log("ok: create pods/exec").await;
}

/// Numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

/// A program that says so much in pieces of any size and ends at once, and a client that reads in fits and starts.
async fn says_and_ends(gateway: &Gateway, numbers: &mut Numbers) {
    let query = ["command=cat&stdout=true", "command=cat&stdin=true&stdout=true"][numbers.below(2)];
    let (client, mut server) = sockets(gateway, "exec", query).await;
    let pieces: Vec<usize> = (0..numbers.below(60)).map(|_| 1 + numbers.below(40_000)).collect();
    let said = LINE.repeat(pieces.iter().sum::<usize>().div_ceil(LINE.len()));
    let total = pieces.iter().sum::<usize>();
    let told = said.clone();
    let telling = tokio::spawn(async move {
        let mut rest = told.as_slice();
        for length in pieces {
            let (piece, behind) = rest.split_at(length);
            server.send(binary(&[b"\x01", piece].concat())).await.unwrap();
            rest = behind;
        }
        server.send(binary(SUCCESS)).await.unwrap();
        server.close(None).await.unwrap();
    });
    let (mut to_gateway, mut from_gateway) = client.split();
    let speaking = tokio::spawn(async move {
        while to_gateway.send(Message::Ping("still there".into())).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    let (mut output, mut outcome) = (Vec::new(), Vec::new());
    while let Some(Ok(message)) = from_gateway.next().await {
        if numbers.below(8) == 0 {
            tokio::time::sleep(Duration::from_millis(numbers.below(6) as u64)).await;
        }
        match (&message, message.clone().into_data().split_first()) {
            (Message::Binary(_), Some((1, piece))) => output.extend_from_slice(piece),
            (Message::Binary(_), Some((3, status))) => outcome.extend_from_slice(status),
            _ => {}
        }
    }
    assert!(output == said[..total], "{} of {total}", output.len());
    assert_eq!(outcome, SUCCESS[1..]);
    telling.await.unwrap();
    speaking.abort();
}

#[tokio::test]
async fn what_a_program_says_before_it_ends_is_whole_over_websocket() {
    let gateway = Gateway::start(ALLOW).await;
    let mut numbers = Numbers(1);
    for _ in 0..ROUNDS {
        says_and_ends(&gateway, &mut numbers).await;
    }
}

/// So often the end of a program is tried. Six hundred times found nothing that a few do not.
const ROUNDS: usize = 20;
