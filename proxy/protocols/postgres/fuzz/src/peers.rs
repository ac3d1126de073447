//! The other ends of the gateway's connections.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Turns in a row without a byte after which nothing more is expected before somebody writes again.
const QUIET: usize = 24;

/// A connection: the gateway's end and ours. A socket pair, which the gateway cannot tell from TCP and which needs no
/// port.
pub fn connection() -> (TcpStream, Peer) {
    let (theirs, ours) = UnixStream::pair().expect("a socket pair");
    theirs.set_nonblocking(true).expect("a flag");
    ours.set_nonblocking(true).expect("a flag");
    let theirs = std::net::TcpStream::from(OwnedFd::from(theirs));
    (TcpStream::from_std(theirs).expect("within the runtime"), Peer { socket: ours, heard: Vec::new() })
}

/// Our end of a connection.
#[derive(Debug)]
pub struct Peer {
    socket: UnixStream,
    /// All that the gateway has said.
    pub heard: Vec<u8>,
}

impl Peer {
    /// Says something; a gateway that is gone or reads no more does not hear it.
    pub fn say(&mut self, mut bytes: &[u8]) {
        while let Ok(count) = self.socket.write(bytes)
            && count > 0
        {
            bytes = &bytes[count..];
        }
    }

    /// Says nothing more.
    pub fn finish(&mut self) {
        // A gateway that is gone does not mind.
        let _ = self.socket.shutdown(std::net::Shutdown::Write);
    }

    /// Takes what the gateway has said, and gives back what is new.
    pub fn listen(&mut self) -> &[u8] {
        let before = self.heard.len();
        let mut buffer = [0; 4096];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => self.heard.extend(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        &self.heard[before..]
    }
}

/// Both peers of a session.
#[derive(Debug)]
pub struct Peers {
    pub client: Peer,
    pub server: Peer,
}

impl Peers {
    /// Lets the gateway work until it has nothing more to do. `answer` gets what arrives at the server and says what
    /// the server sends, part by part.
    pub async fn settle(&mut self, answer: &mut impl FnMut(&[u8]) -> Vec<Vec<u8>>) {
        let mut quiet = 0;
        while quiet < QUIET {
            tokio::task::yield_now().await;
            let heard = !self.client.listen().is_empty();
            let parts = match self.server.listen() {
                [] if heard => Vec::new(),
                [] => {
                    quiet += 1;
                    continue;
                }
                bytes => answer(bytes),
            };
            quiet = 0;
            for part in parts {
                self.server.say(&part);
                // The gateway reads this part before the next one is there.
                for _ in 0..2 {
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Waits for the gateway's end of the session, which has to come.
    ///
    /// # Panics
    /// It does not come.
    pub async fn part(&mut self, session: JoinHandle<()>) {
        for turn in 0..20_000 {
            if session.is_finished() {
                self.client.listen();
                self.server.listen();
                return;
            }
            self.client.listen();
            self.server.listen();
            if turn < 100 {
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(std::time::Duration::from_micros(200)).await;
            }
        }
        panic!("the session does not end");
    }
}
