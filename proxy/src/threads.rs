//! The threads that sessions run on.
//!
//! Each has an event loop of its own, and a session stays on one for its life. A runtime that lets idle threads take
//! work from busy ones wakes a second thread whenever two messages arrive together, and puts it to sleep again: that was
//! three system calls a statement, more than the statement's own reads and writes. The price: a session that needs a
//! whole core (a copy of millions of rows with detectors) slows the others on its thread, though another may be idle.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Threads for sessions. Cheap to clone; they end, and what runs on them is dropped, when the last clone is.
#[derive(Clone, Debug)]
pub struct Threads(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    loops: Vec<Loop>,
    _stop: DropGuard,
}

/// One of the threads.
#[derive(Clone, Debug)]
struct Loop {
    handle: Handle,
    sessions: Arc<AtomicUsize>,
}

/// A place on the thread with the fewest sessions. Dropped when its session is over.
#[derive(Debug)]
pub struct Seat(Loop);

impl Threads {
    /// Starts so many threads; by default one for each core that the process may use.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(count: Option<NonZeroUsize>) -> io::Result<Self> {
        let count = match count {
            Some(count) => count,
            None => std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        };
        let stop = CancellationToken::new();
        let loops = (0..count.get()).map(|number| start(number, stop.clone()));
        Ok(Self(Arc::new(Inner { loops: loops.collect::<io::Result<_>>()?, _stop: stop.drop_guard() })))
    }

    /// A place for one more session.
    pub fn seat(&self) -> Option<Seat> {
        let emptiest = self.0.loops.iter().min_by_key(|one| one.sessions.load(Ordering::Relaxed))?;
        emptiest.sessions.fetch_add(1, Ordering::Relaxed);
        Some(Seat(emptiest.clone()))
    }
}

impl Seat {
    /// The thread.
    pub const fn handle(&self) -> &Handle {
        &self.0.handle
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The same connection, looked after by the thread at hand instead of the one that accepted it.
///
/// # Errors
/// The system does not watch it there.
pub fn moved(stream: TcpStream, seat: &Seat) -> io::Result<TcpStream> {
    let stream = stream.into_std()?;
    let _here = seat.handle().enter();
    TcpStream::from_std(stream)
}

fn start(number: usize, stop: CancellationToken) -> io::Result<Loop> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let thread = std::thread::Builder::new().name(format!("sessions-{number}")).stack_size(STACK_BYTES);
    thread.spawn(move || runtime.block_on(stop.cancelled()))?;
    Ok(Loop { handle, sessions: Arc::default() })
}

/// As the other threads have: what recurses as deep as a statement does is on a thread of its own.
const STACK_BYTES: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use super::{Threads, moved};
    use std::num::NonZeroUsize;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    #[test]
    fn the_emptiest_thread_is_taken() {
        let threads = Threads::start(NonZeroUsize::new(2)).unwrap();
        let first = threads.seat().unwrap();
        let second = threads.seat().unwrap();
        assert!(!Arc::ptr_eq(&first.0.sessions, &second.0.sessions));
        let freed = Arc::clone(&first.0.sessions);
        drop(first);
        assert!(Arc::ptr_eq(&threads.seat().unwrap().0.sessions, &freed));
    }

    #[tokio::test]
    async fn a_connection_goes_on_where_it_was_moved_to() {
        let threads = Threads::start(NonZeroUsize::new(1)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let seat = threads.seat().unwrap();
        let mut accepted = moved(accepted, &seat).unwrap();
        let session = seat.handle().spawn(async move {
            let byte = accepted.read_u8().await.unwrap();
            accepted.write_u8(byte + 1).await.unwrap();
            std::thread::current().name().map(str::to_owned)
        });
        client.write_u8(6).await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), 7);
        assert_eq!(session.await.unwrap().as_deref(), Some("sessions-0"));
    }
}
