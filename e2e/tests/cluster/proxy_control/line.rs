//! A line to the API server that can lose answers: what is asked still arrives.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Forwards connections. Ends with the test's process.
pub(super) struct Line {
    port: u16,
    muted: Arc<AtomicBool>,
}

impl Line {
    pub(super) fn to(address: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let muted = Arc::new(AtomicBool::new(false));
        let (address, mute) = (address.to_owned(), Arc::clone(&muted));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if let Ok(server) = TcpStream::connect(&address) {
                    forward(client, server, &mute);
                }
            }
        });
        Self { port, muted }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// While muted, nothing is answered on a connection on which something was asked. A watch goes on.
    pub(super) fn mute(&self, muted: bool) {
        self.muted.store(muted, Ordering::SeqCst);
    }
}

fn forward(client: TcpStream, server: TcpStream, muted: &Arc<AtomicBool>) {
    let deaf = Arc::new(AtomicBool::new(false));
    let (muted, heard) = (Arc::clone(muted), Arc::clone(&deaf));
    let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || {
        let mut buffer = [0; 16384];
        while let Ok(count @ 1..) = from_client.read(&mut buffer) {
            if muted.load(Ordering::SeqCst) {
                deaf.store(true, Ordering::SeqCst);
            }
            if to_server.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        to_server.shutdown(std::net::Shutdown::Both).ok();
    });
    let (mut from_server, mut to_client) = (server, client);
    std::thread::spawn(move || {
        let mut buffer = [0; 16384];
        while let Ok(count @ 1..) = from_server.read(&mut buffer) {
            // An answer that was lost makes the rest of the connection unreadable.
            if !heard.load(Ordering::SeqCst) && to_client.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        to_client.shutdown(std::net::Shutdown::Both).ok();
    });
}
