//! Input on its way to a pod: what of it is on record, and when.

use crate::gateway::Gateway;
use crate::spdy::{FIN, Heard, RST_STREAM, Side};
use crate::streams::{ALLOW, NONE, SUCCESS, binary, ends, forward, forward_as, program, sockets, spdy};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use proxy_audit::stream::{Channel, StreamEvent};
use std::collections::BTreeMap;

/// What was recorded, by channel.
fn recorded(gateway: &Gateway) -> Vec<(Channel, Bytes)> {
    let data =
        |event| if let StreamEvent::Data { channel, bytes } = event { Some((channel, bytes)) } else { None };
    gateway.recorded().into_iter().filter_map(data).collect()
}

fn recorded_on(gateway: &Gateway, wanted: Channel) -> String {
    let all = recorded(gateway).into_iter();
    let bytes: Vec<Bytes> = all.filter(|(channel, _)| *channel == wanted).map(|(_, bytes)| bytes).collect();
    String::from_utf8(bytes.concat()).unwrap()
}

#[tokio::test]
async fn what_is_typed_is_on_record_before_its_enter_goes_on_and_whatever_ends_the_stream() {
    for end in ["the program", "the policy", "the client"] {
        let gateway = Gateway::start(ALLOW).await;
        let query = "command=sh&stdin=true&stdout=true&tty=true";
        let (mut client, mut server) = sockets(&gateway, "exec", query).await;
        for key in ["r", "m", " ", "f", "\r"] {
            client.send(binary(&[b"\0", key.as_bytes()].concat())).await.unwrap();
            server.next().await.unwrap().unwrap();
        }
        assert_eq!(recorded_on(&gateway, Channel::STDIN), "rm f\r", "{end}");
        client.send(binary(b"\0:q")).await.unwrap();
        server.next().await.unwrap().unwrap();
        match end {
            "the program" => {
                server.send(binary(SUCCESS)).await.unwrap();
                server.close(None).await.unwrap();
                // a client that goes before it has heard so ended it
                while let Some(Ok(_)) = client.next().await {}
            }
            "the policy" => gateway.put_in_force(NONE),
            _ => client.close(None).await.unwrap(),
        }
        drop((client, server));
        let outcome = if end == "the program" { "ok" } else { "aborted" };
        gateway.wait_for_log(&format!("{outcome}: create pods/exec")).await;
        assert_eq!(recorded_on(&gateway, Channel::STDIN), "rm f\r:q", "{end}");
    }
}

#[tokio::test]
async fn what_is_typed_over_spdy_is_on_record_before_its_enter_goes_on() {
    let gateway = Gateway::start(ALLOW).await;
    let query = "command=sh&stdin=true&stdout=true&tty=true";
    let headers = [("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", "v4.channel.k8s.io")];
    let (client, server) = ends(&gateway, "exec", query, &headers).await;
    let (mut client, mut server) = (Side::new(client), Side::new(server));
    program(&mut client, &mut server).await;
    client.data(3, 0, b"rm f\r").await;
    assert_eq!(server.hear().await, Some(Heard::Data(3, 0, b"rm f\r".to_vec())));
    assert_eq!(recorded_on(&gateway, Channel::STDIN), "rm f\r");
    client.data(3, 0, b":q").await;
    assert_eq!(server.hear().await, Some(Heard::Data(3, 0, b":q".to_vec())));
    server.data(1, FIN, &SUCCESS[1..]).await;
    drop(server);
    assert_eq!(client.read(1, usize::MAX).await, SUCCESS[1..]);
    gateway.wait_for_log("ok: create pods/exec").await;
    assert_eq!(recorded_on(&gateway, Channel::STDIN), "rm f\r:q");
}

#[tokio::test]
async fn input_without_an_end_of_line_is_on_record_before_long() {
    let gateway = Gateway::start(ALLOW).await;
    let (mut client, _server) = sockets(&gateway, "exec", "command=sh&stdin=true&stdout=true").await;
    client.send(binary(b"\0head of a script")).await.unwrap();
    for _ in 0..500 {
        if recorded_on(&gateway, Channel::STDIN) == "head of a script" {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("it never was");
}

#[tokio::test]
async fn what_went_through_a_port_is_on_record_when_the_pod_closes() {
    let gateway = Gateway::start(ALLOW).await;
    let (mut client, mut server) = spdy(&gateway, "portforward", "portforward.k8s.io").await;
    forward(&mut client, &mut server, 1).await;
    client.data(3, 0, b"no line").await;
    assert_eq!(server.hear().await, Some(Heard::Data(3, 0, b"no line".to_vec())));
    server.data(3, 0, b"an answer").await;
    assert_eq!(client.hear().await, Some(Heard::Data(3, 0, b"an answer".to_vec())));
    server.leave().await;
    assert_eq!(client.hear().await, None);
    gateway.wait_for_log("ok: create pods/portforward").await;
    let data: Vec<Bytes> = recorded(&gateway).into_iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(data, [b"no line".as_slice(), b"an answer"]);
}

#[tokio::test]
async fn each_connection_through_a_port_is_told_apart_on_record_however_many_there_are() {
    const COUNT: u32 = 320;
    let gateway = Gateway::start(ALLOW).await;
    let (mut client, mut server) = spdy(&gateway, "portforward", "portforward.k8s.io").await;
    for connection in 0..COUNT {
        let first = connection * 4 + 1;
        // every one of them under the same name of the client's
        forward_as(&mut client, &mut server, first, "0").await;
        let data = first + 2;
        client.data(data, FIN, format!("to {connection}").as_bytes()).await;
        assert!(matches!(server.hear().await, Some(Heard::Data(on, FIN, _)) if on == data));
        if connection % 2 == 0 {
            server.data(data, FIN, format!("from {connection}").as_bytes()).await;
            assert_eq!(client.read(data, usize::MAX).await, format!("from {connection}").as_bytes());
        } else {
            server.data(data, 0, format!("from {connection}").as_bytes()).await;
            assert!(matches!(client.hear().await, Some(Heard::Data(on, 0, _)) if on == data));
            let reset = [data.to_be_bytes(), 5_u32.to_be_bytes()].concat();
            server.control(RST_STREAM, 0, &reset).await;
            assert_eq!(client.hear().await, Some(Heard::Control(RST_STREAM, 0, reset)));
        }
    }
    server.leave().await;
    assert_eq!(client.hear().await, None);
    gateway.wait_for_log("ok: create pods/portforward").await;

    let mut all: BTreeMap<Channel, (Vec<u8>, u32)> = BTreeMap::new();
    for event in gateway.recorded() {
        if let StreamEvent::Data { channel, bytes } = event {
            all.entry(channel).or_default().0.extend(bytes);
        } else if let StreamEvent::End(channel) = event {
            all.entry(channel).or_default().1 += 1;
        } else {
            panic!("{event:?}");
        }
    }
    let expected = (0..COUNT).flat_map(|connection| {
        let way = |base: u32, word: &str| {
            (Channel(base + connection * 2), (format!("{word} {connection}").into_bytes(), 1))
        };
        [way(4, "to"), way(5, "from")]
    });
    assert_eq!(all, expected.collect());
}

/// What was recorded of failures, by connection from 0 on; anything on standard error is not.
fn failures(gateway: &Gateway) -> Vec<(u32, String)> {
    let failed = recorded(gateway)
        .into_iter()
        .filter_map(|(channel, bytes)| Some((channel.failed()?, String::from_utf8(bytes.to_vec()).unwrap())));
    failed.collect()
}

#[tokio::test]
async fn why_a_connection_through_a_port_failed_is_recorded_as_its_own_over_spdy() {
    let gateway = Gateway::start(ALLOW).await;
    let (mut client, mut server) = spdy(&gateway, "portforward", "portforward.k8s.io").await;
    for first in [1, 5, 9] {
        forward(&mut client, &mut server, first).await;
    }
    // of the last first, and nothing of the second
    for (stream, why) in [(9, "no third"), (1, "no first")] {
        server.data(stream, FIN, why.as_bytes()).await;
        assert_eq!(client.read(stream, usize::MAX).await, why.as_bytes());
    }
    server.data(7, FIN, b"an answer").await;
    assert_eq!(client.read(7, usize::MAX).await, b"an answer");
    server.leave().await;
    assert_eq!(client.hear().await, None);
    gateway.wait_for_log("ok: create pods/portforward").await;
    assert_eq!(failures(&gateway), [(2, "no third".to_owned()), (0, "no first".to_owned())]);
    let ended = gateway
        .recorded()
        .into_iter()
        .filter_map(|event| if let StreamEvent::End(channel) = event { channel.failed() } else { None });
    assert_eq!(ended.collect::<Vec<_>>(), [2, 0]);
}

#[tokio::test]
async fn why_a_connection_through_a_port_failed_is_recorded_as_its_own_over_websocket() {
    let gateway = Gateway::start(ALLOW).await;
    let (mut client, mut server) = sockets(&gateway, "portforward", "ports=80,81").await;
    let mut say = async |channel: u8, bytes: &[u8]| {
        server.send(binary(&[&[channel], bytes].concat())).await.unwrap();
        loop {
            let heard = client.next().await.unwrap().unwrap();
            if heard.is_binary() {
                assert_eq!(heard.into_data(), [&[channel], bytes].concat());
                return;
            }
        }
    };
    // each channel begins with the number of its port
    for (channel, port) in [(0, 80_u16), (1, 80), (2, 81), (3, 81)] {
        say(channel, &port.to_le_bytes()).await;
    }
    say(3, b"no second\n").await;
    say(1, b"no first\n").await;
    server.close(None).await.unwrap();
    gateway.wait_for_log("ok: create pods/portforward").await;
    assert_eq!(failures(&gateway), [(1, "no second\n".to_owned()), (0, "no first\n".to_owned())]);
}
