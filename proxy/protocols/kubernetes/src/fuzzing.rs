//! What the fuzz targets in `fuzz/` call: the code that streams run, on the target's own bytes.
//! Built with `--cfg fuzzing` only, so it is no part of the library.

use crate::options::Options;
use crate::session::{Peer, Session};
use crate::streams::{self, Wire};
use http::HeaderMap;
use proxy_core::authn::Verified;
use proxy_core::gate::{Decision, Standing};
use proxy_core::session::ResourceContext;
use proxy_policy::Command;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

pub use crate::streams::Wire as Transport;

/// Relays a program's stream between a client and a server to its end, as one command of one session. `None`: that was
/// refused; otherwise whether it came to its own end.
pub async fn relay<C, S>(
    (client, server): (C, S),
    wire: Wire,
    (resource, options): (Arc<ResourceContext>, &Options),
    verified: Verified,
    command: Arc<Command>,
) -> Option<bool>
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let peer = Peer { address: SocketAddr::from(([127, 0, 0, 1], 1)), transport: String::new() };
    let session = Session::open(verified, resource, options, &peer, &HeaderMap::new()).await.ok()?;
    let session = Arc::new(session);
    let decision = session.gate().lock().await.decide(command, Standing::Alone).await;
    let Decision::Permit(permit) = decision else { return None };
    Some(streams::relay_for_fuzzing((client, server), wire, session, permit).await)
}
