//! Listening: who may connect, and how many at once.

use crate::gateway::{Live, Shared};
use crate::protocols::Connection;
use crate::threads;
use prometheus_client::metrics::gauge::Gauge;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Counts connections without a session per client address, so that one host cannot take all places by connecting
/// and saying nothing. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Admission {
    most: usize,
    waiting: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Admission {
    /// At most so many per address.
    pub fn new(most: usize) -> Self {
        Self { most, waiting: Arc::default() }
    }

    /// A place for one more connection of this address; `None` when it has too many.
    pub fn admit(&self, address: IpAddr) -> Option<Unauthenticated> {
        // ::ffff:192.0.2.1 is the same host as 192.0.2.1
        let address = address.to_canonical();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.entry(address).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        drop(waiting);
        Some(Unauthenticated { address, waiting: Arc::clone(&self.waiting) })
    }
}

/// A connection that has no session yet. Dropped when it has one, or is over.
#[derive(Debug)]
pub struct Unauthenticated {
    address: IpAddr,
    waiting: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Drop for Unauthenticated {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = waiting.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                waiting.remove(&self.address);
            }
        }
    }
}

/// Accepts connections of one Resource until told to stop.
///
/// Cancel safe: sessions run in tasks of their own.
pub async fn accept(listener: TcpListener, live: Arc<Live>, shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => admit(stream, peer, &live, &shared),
            Err(error) => {
                tracing::warn!(resource = %live.key(), %error, "accept connection");
                // out of file descriptors, most likely: without a pause this loop would take a core
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn admit(stream: TcpStream, peer: SocketAddr, live: &Arc<Live>, shared: &Shared) {
    shared.process.connections.inc();
    let Some(current) = live.current() else {
        return;
    };
    let Some(unauthenticated) = shared.admission.admit(peer.ip()) else {
        refused(shared, current.service.name(), "unauthenticated-limit");
        return;
    };
    let Some(seat) = shared.threads.seat() else { return };
    let stream = match threads::moved(stream, &seat) {
        Ok(stream) => stream,
        Err(error) => return tracing::warn!(resource = %live.key(), %error, "hand over connection"),
    };
    let connection = Connection { stream, peer, unauthenticated };
    let active = Active::new(&shared.process.connections_active);
    let thread = seat.handle().clone();
    if let Some(place) = live.place() {
        live.spawn(&thread, async move {
            current.service.serve(connection).await;
            drop((active, place, seat));
        });
    } else {
        refused(shared, current.service.name(), "session-limit");
        live.spawn(&thread, async move {
            current.service.turn_away(connection).await;
            drop((active, seat));
        });
    }
}

/// Counts a connection while it is open, however its task ends.
struct Active(Gauge);

impl Active {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn refused(shared: &Shared, protocol: &'static str, reason: &'static str) {
    let labels = proxy_core::metrics::ReasonLabels { protocol, reason };
    shared.metrics.refused_connections.get_or_create(&labels).inc();
}

#[cfg(test)]
mod tests {
    use super::Admission;

    #[test]
    fn an_address_gets_its_places_back() {
        let admission = Admission::new(2);
        let address = "192.0.2.1".parse().unwrap();
        let first = admission.admit(address);
        let second = admission.admit("::ffff:192.0.2.1".parse().unwrap());
        assert!(first.is_some() && second.is_some());
        assert!(admission.admit(address).is_none(), "the third is one too many");
        assert!(admission.admit("192.0.2.2".parse().unwrap()).is_some(), "others are not concerned");
        drop(first);
        assert!(admission.admit(address).is_some());
    }

    #[test]
    fn addresses_without_connections_are_forgotten() {
        let admission = Admission::new(1);
        drop(admission.admit("192.0.2.1".parse().unwrap()));
        assert!(admission.waiting.lock().unwrap().is_empty());
    }
}
