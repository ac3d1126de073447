//! What the fuzz targets in `fuzz/` call: the code that connections run, on the target's own sockets and bytes.
//! Built with `--cfg fuzzing` only, so it is no part of the library.

use crate::cancel::UpstreamKey;
use crate::catalogue::Catalogue;
use crate::mask::{self, ColumnMask, CopyFormat, RowMasker, RowPlan, Shape, Texts, Withhold};
use crate::messages::{self, Malformed};
use crate::options::{Credentials, Options};
use crate::session::Postgres;
use crate::startup::{self, Arrival, Authenticate, Opening, Parameters};
use crate::upstream::{self, Login, Upstream};
use crate::wire::{Transport, Wire};
use crate::{frame, relay};
use arc_swap::ArcSwap;
use bytes::BytesMut;
use proxy_core::authn::Verified;
use proxy_core::mask::{MaskCounts, Masker};
use proxy_core::session::ResourceContext;
use proxy_policy::OutputMask;
use std::sync::Arc;
use tokio::net::TcpStream;

/// Serves a connection as far as its TLS handshake; whether it became anything.
pub async fn open(socket: TcpStream, tls: Arc<rustls::ServerConfig>) -> bool {
    matches!(startup::open(socket, tls).await, Ok(Opening::Session(_) | Opening::Cancel { .. }))
}

/// Serves a connection from where its TLS handshake is done until the client has proved who it is; whether it has.
pub async fn arrive(socket: TcpStream, authenticator: &dyn Authenticate) -> bool {
    match startup::arrive(Transport::Plain(socket), String::new()).await {
        Ok(Opening::Session(mut arrival)) => {
            matches!(startup::authenticate(&mut arrival, authenticator).await, Ok(Some(_)))
        }
        Ok(Opening::Cancel { .. } | Opening::Nothing) | Err(_) => false,
    }
}

/// Logs in at a server, and gives back the parameters that a client would be told. `None`: it failed.
pub async fn log_in(socket: TcpStream, credentials: &Credentials) -> Option<Vec<u8>> {
    let login = Login { credentials, database: "app", settings: &[] };
    let upstream = upstream::log_in(Transport::Plain(socket), None, login).await.ok()?;
    Some(upstream.parameters.to_vec())
}

/// Cuts bytes into frames and reads every body in every way there is.
pub fn decode(mut bytes: &[u8]) {
    while let Ok(Some(header)) = frame::header(bytes, bytes.len())
        && let Some((frame, rest)) = bytes.split_at_checked(header.length)
    {
        let body = frame::body(frame);
        drop((messages::text(body), messages::parse(body), messages::bind(body)));
        drop((messages::portal_or_statement(body), messages::columns(body), upstream::sqlstate(body)));
        bytes = rest;
    }
}

/// One resource, whose sessions get both their connections from the target.
#[derive(Debug)]
pub struct Gateway(Postgres);

impl Gateway {
    /// As [`Postgres::new`].
    pub fn new(
        options: Options,
        resource: Arc<ResourceContext>,
        authenticator: Arc<dyn Authenticate>,
        tls: Arc<ArcSwap<rustls::ServerConfig>>,
    ) -> Self {
        Self(Postgres::new(options, resource, authenticator, tls))
    }

    /// Serves one session as `role`, from its greeting to its end. `None`: it was refused.
    pub async fn serve(
        &self,
        (client, server): (TcpStream, TcpStream),
        role: &str,
        verified: Verified,
        catalogue: Arc<Catalogue>,
    ) -> Option<impl Future<Output = ()> + Send + 'static> {
        let parameters =
            Parameters { user: role.to_owned(), database: "app".to_owned(), ..Parameters::default() };
        let arrival = Arrival {
            wire: Wire::new(Transport::Plain(client)),
            parameters,
            long_keys: true,
            transport: String::new(),
        };
        let upstream = Upstream {
            wire: Wire::new(Transport::Plain(server)),
            parameters: BytesMut::new(),
            key: UpstreamKey { process: 1, secret: 2 },
        };
        self.0.begin_at(arrival, verified, (upstream, catalogue)).await.map(relay::Relay::run)
    }
}

/// The rows of one result, and how they are masked.
#[derive(Debug)]
pub struct Rows {
    plan: RowPlan,
    shapes: Vec<Shape>,
    masker: Masker,
    counts: MaskCounts,
    format: Option<CopyFormat>,
}

impl Rows {
    /// Rows of columns with these types and formats (0 is text, 1 is binary).
    pub fn new(output: &OutputMask, shapes: &[(u32, i16)], masker: Masker) -> Self {
        let named = |mask: &proxy_policy::Mask| ColumnMask {
            mask: mask.clone(),
            name: "column".to_owned(),
            hides_null: false,
        };
        let plan = match output {
            OutputMask::Clear if masker.has_detectors() => RowPlan::Detect,
            OutputMask::Clear => RowPlan::Clear,
            OutputMask::Columns(masks) => {
                RowPlan::Columns(masks.iter().map(|mask| mask.as_ref().map(named)).collect())
            }
            OutputMask::Whole(mask) => RowPlan::Whole(named(mask)),
        };
        let shape =
            |(type_oid, format): &(u32, i16)| Shape { type_oid: *type_oid, format: *format, origin: (0, 0) };
        let shapes = shapes.iter().map(shape);
        Self { plan, shapes: shapes.collect(), masker, counts: MaskCounts::default(), format: None }
    }

    /// Rows that this statement copies out. `None`: its format cannot be masked.
    #[must_use]
    pub fn copied_by(self, sql: &str) -> Option<Self> {
        Some(Self { format: Some(CopyFormat::of(sql, 0)?), ..self })
    }

    /// The masked frame for one `DataRow` or `CopyData`. `None`: the session would end.
    pub fn rewrite(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let mut out = BytesMut::new();
        let Self { plan, shapes, masker, counts, format } = self;
        let mut rows = RowMasker { plan, shapes, masker, counts };
        let done = match format {
            Some(format) => rows.copied(frame, format, &mut out),
            None => rows.row(frame, &mut out),
        };
        done.ok().map(|()| out.to_vec())
    }
}

/// What rebuilds a message of text.
type Rebuild = fn(&[u8], Texts<'_>, &mut BytesMut) -> Result<(), Malformed>;

/// The frame rebuilt as an error or notice, as a notification, as a parameter: those that it can be read as.
pub fn texts(frame: &[u8], masker: &Masker, withhold: bool) -> [Option<Vec<u8>>; 3] {
    let ways: [Rebuild; 3] = [mask::report, mask::notification, mask::parameter_status];
    ways.map(|rebuild| {
        let (mut counts, mut out) = (MaskCounts::default(), BytesMut::new());
        let withhold = Withhold::values(withhold);
        let texts = Texts { masker, counts: &mut counts, withhold };
        rebuild(frame, texts, &mut out).ok().map(|()| out.to_vec())
    })
}
