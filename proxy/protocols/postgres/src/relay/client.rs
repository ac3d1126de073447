//! What the client sends.

use super::calls;
use super::clear::Intent;
use super::ending::Ending;
use super::expect::Expect;
use super::meaning::Source;
use super::names::{self, Portal, Statement};
use super::{HIGH_WATER, QUEUE_MAX, Relay};
use crate::analyze::Analysis;
use crate::frame;
use crate::frontend::refusal;
use crate::mask::Shape;
use crate::messages::{self, Body, Frontend};
use bytes::Bytes;
use postgres_protocol::message::frontend as send;
use proxy_core::refusal::{Refusal, RefusalKind};
use proxy_policy::Outputs;
use sha2::{Digest, Sha256};
use std::sync::Arc;

impl Relay {
    /// Takes whole messages of the client, until one has to wait.
    pub(super) async fn take_client(&mut self) -> Result<(), Ending> {
        while self.waiting.is_none()
            && self.upstream.output.len() < HIGH_WATER
            // Refusals are answered from here, without the server that would slow them down.
            && self.client.output.len() < HIGH_WATER
        {
            let Some(header) = frame::header(&self.client.input, self.options.limits.client_message_bytes)?
            else {
                break;
            };
            let Some(kind) = Frontend::of(header.tag) else {
                let message = format!("message {:#04x} is not spoken here", header.tag);
                return Err(refusal(RefusalKind::Protocol, message, "check the client").into());
            };
            if self.must_wait(kind) {
                break;
            }
            let Some(frame) = self.client.input.get(..header.length) else {
                // nothing keeps it waiting any more but the rest of itself
                self.flushed = false;
                break;
            };
            if !self.discarding && self.is_undecided(kind, frame)? {
                self.ask_to_flush();
                break;
            }
            self.flushed = false;
            let frame = self.client.input.split_to(header.length).freeze();
            self.message(kind, frame).await?;
        }
        Ok(())
    }

    /// Texts and names wait while something is on its way that changes what they mean, and everything while too many
    /// answers are owed.
    fn must_wait(&mut self, kind: Frontend) -> bool {
        let full = self.queue.len() >= QUEUE_MAX;
        if self.changing == 0 && !full {
            return false;
        }
        let waits = full || self.waits_for_changes(kind);
        if waits {
            self.ask_to_flush();
        }
        waits
    }

    /// What the client's next message waits for has to come although no `Sync` may have been sent.
    fn ask_to_flush(&mut self) {
        if !std::mem::replace(&mut self.flushed, true) {
            send::flush(&mut self.upstream.output);
        }
    }

    fn waits_for_changes(&self, kind: Frontend) -> bool {
        match kind {
            Frontend::Query
            | Frontend::Parse
            | Frontend::Bind
            | Frontend::Execute
            | Frontend::FunctionCall => !self.discarding,
            // Goodbye does not cut off what was asked for before.
            Frontend::Terminate => true,
            Frontend::Describe
            | Frontend::Close
            | Frontend::Sync
            | Frontend::Flush
            | Frontend::CopyData
            | Frontend::CopyDone
            | Frontend::CopyFail => false,
        }
    }

    /// A message names what was sent to be made and is not yet, and a `Sync` came after that: should it fail, the server
    /// goes on behind the `Sync`, where the name stands for whatever it stood for before. Behind no `Sync`, the server
    /// would skip the message too.
    ///
    /// A text that names statements or cursors waits for everything that makes or closes one: SQL knows those that the
    /// server has confirmed.
    fn is_undecided(&self, kind: Frontend, frame: &[u8]) -> Result<bool, Ending> {
        let body = frame::body(frame);
        let made = self.queue.iter().any(Expect::makes_a_name);
        if !made && !self.queue.iter().any(|expected| matches!(expected, Expect::Sync { .. })) {
            return Ok(false);
        }
        let (object, name) = match kind {
            Frontend::Query | Frontend::Parse => return Ok(made && names::says_a_name(body)),
            Frontend::Bind => (b'S', messages::bind(body)?.statement),
            Frontend::Describe => messages::portal_or_statement(body)?,
            Frontend::Execute => (b'P', messages::name(&mut Body::new(body))?),
            Frontend::Close
            | Frontend::Sync
            | Frontend::Flush
            | Frontend::CopyData
            | Frontend::CopyDone
            | Frontend::CopyFail
            | Frontend::FunctionCall
            | Frontend::Terminate => return Ok(false),
        };
        if made && kind != Frontend::Describe && self.says_a_name(object, name) {
            return Ok(true);
        }
        let makes = |expected: &Expect| match expected {
            Expect::Parse { name: parsed, .. } => object == b'S' && parsed == name,
            Expect::Bind { name: bound, .. } => object == b'P' && bound == name,
            Expect::Close { .. }
            | Expect::Describe { .. }
            | Expect::Execute(_)
            | Expect::Query(_)
            | Expect::Sync { .. }
            | Expect::Poison(_)
            | Expect::Answer { .. } => false,
        };
        let mut synced = false;
        for expected in self.queue.iter().rev() {
            if makes(expected) {
                return Ok(synced);
            }
            synced |= matches!(expected, Expect::Sync { .. });
        }
        Ok(false)
    }

    /// Whether a statement or portal has a text that may name a statement or a cursor.
    fn says_a_name(&self, object: u8, name: &str) -> bool {
        let text = if object == b'S' {
            self.statement(name).map(|statement| statement.text)
        } else {
            match self.portal(name).map(|portal| portal.source) {
                Some(Source::Made { text, .. }) => Some(text),
                Some(Source::Text(_) | Source::Planned(_) | Source::Prepared(_) | Source::Cursor(_))
                | None => None,
            }
        };
        text.is_some_and(|text| names::says_a_name(text.as_bytes()))
    }

    async fn message(&mut self, kind: Frontend, frame: Bytes) -> Result<(), Ending> {
        if self.discarding && !matches!(kind, Frontend::Sync | Frontend::Terminate) {
            return Ok(());
        }
        let body = frame::body(&frame);
        match kind {
            Frontend::Query => self.query(&frame).await,
            Frontend::Parse => self.parse(&frame).await,
            Frontend::Bind => self.bind(&frame).await,
            Frontend::Describe => self.describe(&frame).await,
            Frontend::Execute => self.execute(&frame).await,
            Frontend::Close => {
                let (kind, name) = messages::portal_or_statement(body)?;
                self.send(Expect::Close { kind, name: name.to_owned() }, &frame);
                Ok(())
            }
            Frontend::Sync => {
                Body::new(body).end()?;
                self.sync();
                Ok(())
            }
            Frontend::Flush => {
                Body::new(body).end()?;
                self.upstream.output.extend_from_slice(&frame);
                Ok(())
            }
            Frontend::CopyData | Frontend::CopyDone | Frontend::CopyFail => {
                self.copy(kind, &frame);
                Ok(())
            }
            Frontend::Terminate => Err(Ending::Terminate),
            Frontend::FunctionCall => self.call(&frame).await,
        }
    }

    async fn call(&mut self, frame: &Bytes) -> Result<(), Ending> {
        let Some(text) = calls::statement(frame::body(frame))? else {
            self.refuse_call();
            return Ok(());
        };
        self.query_text(text.into(), frame).await
    }

    async fn query(&mut self, frame: &Bytes) -> Result<(), Ending> {
        let text = messages::text(frame::body(frame))?.into();
        self.query_text(text, frame).await
    }

    /// What `frame` asks for, and is answered like a query.
    async fn query_text(&mut self, text: Arc<str>, frame: &Bytes) -> Result<(), Ending> {
        let intent = Intent::Query { frame: frame.clone() };
        if let Some(refusal) = self.too_long(&text) {
            self.refuse(&intent, &refusal);
            return Ok(());
        }
        self.clear(&Source::Text(text), intent).await
    }

    async fn parse(&mut self, frame: &Bytes) -> Result<(), Ending> {
        let parse = messages::parse(frame::body(frame))?;
        let (name, text): (String, Arc<str>) = (parse.name.to_owned(), parse.text.into());
        let types: Arc<[u8]> = parse.types.into();
        if let Some(refusal) = self.too_long(&text).or_else(|| self.too_many(self.names.statements.len())) {
            self.refuse(&Intent::Prepare, &refusal);
            return Ok(());
        }
        self.tell(&text);
        let made = match self.meaning.make(&text, None).await {
            Ok(made) => made,
            Err(refusal) => {
                self.refuse(&Intent::Prepare, &refusal);
                return Ok(());
            }
        };
        if self.gate.would_deny(&self.meaning.command(&made.analysis)) {
            // It goes through the gate all the same, which records the refusal.
            return self.clear(&Source::Text(text), Intent::Prepare).await;
        }
        self.send(Expect::Parse { name, text, types, made }, frame);
        Ok(())
    }

    async fn bind(&mut self, frame: &Bytes) -> Result<(), Ending> {
        let bind = messages::bind(frame::body(frame))?;
        if let Some(refusal) = self.too_many(self.names.portals.len()) {
            self.refuse(&Intent::Prepare, &refusal);
            return Ok(());
        }
        let types = self.statement(bind.statement).map(|statement| statement.types).unwrap_or_default();
        let (source, shapes) = match self.take_in(bind.statement).await {
            Ok(found) => found,
            Err(refusal) => {
                self.refuse(&Intent::Prepare, &refusal);
                return Ok(());
            }
        };
        let portal = Portal {
            source,
            statement: bind.statement.to_owned(),
            parameters: digest(&types, bind.parameters).into(),
            formats: bind.formats.clone().into(),
            shapes: None,
            description: None,
            run: false,
        };
        let portal = Portal { shapes: shapes.map(|shapes| portal.described(&shapes)), ..portal };
        self.send(Expect::Bind { name: bind.portal.to_owned(), portal }, frame);
        Ok(())
    }

    async fn describe(&mut self, frame: &Bytes) -> Result<(), Ending> {
        let (kind, name) = messages::portal_or_statement(frame::body(frame))?;
        let source = match kind {
            b'S' => self.take_in(name).await.map(|(source, _)| source),
            _ => {
                Ok(self.portal(name).map_or_else(|| Source::Cursor(name.to_owned()), |portal| portal.source))
            }
        };
        let source = match source {
            Ok(source) => source,
            Err(refusal) => {
                self.refuse(&Intent::Prepare, &refusal);
                return Ok(());
            }
        };
        let withhold = self.gate.masks_columns() && {
            let analysis = self.analyze(&source).await;
            !analysis.is_ok_and(|analysis| {
                !matches!(analysis.command.reading.outputs.last(), None | Some(Outputs::Unaligned(_)))
            })
        };
        let made = match source {
            Source::Made { made, .. } if kind == b'S' => Some(made),
            Source::Made { .. }
            | Source::Text(_)
            | Source::Planned(_)
            | Source::Prepared(_)
            | Source::Cursor(_) => None,
        };
        self.send(Expect::Describe { kind, name: name.to_owned(), withhold, made }, frame);
        Ok(())
    }

    /// What a portal's name will mean once all that was sent has been answered.
    pub(super) fn portal(&self, name: &str) -> Option<Portal> {
        let pending = self.queue.iter().rev().find_map(|expected| {
            let Expect::Bind { name: bound, portal } = expected else { return None };
            (bound == name).then(|| portal.clone())
        });
        pending.or_else(|| self.names.portals.get(name).cloned())
    }

    /// What a statement means to the server when it takes it in again, for a portal or to describe it.
    ///
    /// # Errors
    /// The catalogue cannot be loaded.
    async fn take_in(&mut self, name: &str) -> Result<(Source, Option<Arc<[Shape]>>), Refusal> {
        let Some(Statement { text, made: earlier, shapes, .. }) = self.statement(name) else {
            let analysis = self.meaning.analyze(&Source::Prepared(name.to_owned())).await?;
            self.meaning.replanned(&analysis);
            let planned = Analysis { state_changes: Vec::new(), ..Analysis::clone(&analysis) };
            return Ok((Source::Planned(Arc::new(planned)), None));
        };
        let made = self.meaning.make(&text, Some(&earlier)).await?;
        self.meaning.planned(name, &made);
        Ok((Source::Made { text, made }, shapes))
    }

    /// A statement of the protocol by its name, once all that was sent has been answered.
    fn statement(&self, name: &str) -> Option<Statement> {
        let pending = self.queue.iter().rev().find_map(|expected| {
            let Expect::Parse { name: parsed, text, types, made } = expected else { return None };
            (parsed == name).then(|| Statement::new(Arc::clone(text), Arc::clone(types), made.clone()))
        });
        pending.or_else(|| self.names.statements.get(name).cloned())
    }

    async fn execute(&mut self, frame: &Bytes) -> Result<(), Ending> {
        let mut body = Body::new(frame::body(frame));
        let name = messages::name(&mut body)?;
        body.i32()?;
        body.end()?;
        let portal = self.portal(name);
        let source = match &portal {
            Some(portal) => portal.source.clone(),
            None => Source::Cursor(name.to_owned()),
        };
        if portal.as_ref().is_some_and(Portal::sets_again) {
            // The server answers that there is nothing more, and sets nothing.
            let message = "a portal that sets the search path or the role is run a second time";
            let refusal = refusal(RefusalKind::Denied, message, "bind it again");
            self.refuse(&Intent::Prepare, &refusal);
            return Ok(());
        }
        self.runs(name);
        let intent = Intent::Execute {
            frame: frame.clone(),
            portal: name.to_owned(),
            parameters: portal.as_ref().map(|portal| Arc::clone(&portal.parameters)).unwrap_or_default(),
            shapes: portal.and_then(|portal| portal.shapes),
        };
        self.clear(&source, intent).await
    }

    /// A portal is run now.
    fn runs(&mut self, name: &str) {
        let pending = self.queue.iter_mut().rev().find_map(|expected| {
            let Expect::Bind { name: bound, portal } = expected else { return None };
            (bound == name).then_some(portal)
        });
        if let Some(portal) = pending.or_else(|| self.names.portals.get_mut(name)) {
            portal.run = true;
        }
    }

    fn sync(&mut self) {
        if self.is_copying_in() {
            // The server ignores it there and answers nothing.
            return;
        }
        self.discarding = false;
        self.batch = super::Batch::default();
        send::sync(&mut self.upstream.output);
        self.queue.push_back(Expect::Sync { copies: self.copies });
    }

    /// The server copies in, or will as soon as it reads what was sent, for a command that has its permit.
    fn copy(&mut self, kind: Frontend, frame: &Bytes) {
        let copying = self.queue.iter().any(|expected| match expected {
            Expect::Execute(running) | Expect::Query(running) => running.copying_in || running.may_copy_in(),
            Expect::Parse { .. }
            | Expect::Bind { .. }
            | Expect::Close { .. }
            | Expect::Describe { .. }
            | Expect::Sync { .. }
            | Expect::Poison(_)
            | Expect::Answer { .. } => false,
        });
        if !copying {
            // As the server does with what is left over of a copy that failed.
            return;
        }
        if kind != Frontend::CopyData {
            self.copies = self.copies.saturating_add(1);
            if let Some(Expect::Execute(running) | Expect::Query(running)) = self.queue.front_mut() {
                running.copying_in = false;
            }
        }
        self.upstream.output.extend_from_slice(frame);
    }

    fn is_copying_in(&self) -> bool {
        matches!(self.queue.front(), Some(Expect::Execute(running) | Expect::Query(running)) if running.copying_in)
    }

    /// Sends a message that needs no permit: it prepares, and runs nothing.
    fn send(&mut self, expected: Expect, frame: &[u8]) {
        self.batch.sent = true;
        self.queue.push_back(expected);
        self.upstream.output.extend_from_slice(frame);
    }

    fn too_long(&self, text: &str) -> Option<Refusal> {
        let limit = self.options.limits.statement_bytes;
        (text.len() > limit).then(|| {
            let message = format!("the statement has {} bytes, over the limit of {limit}", text.len());
            refusal(RefusalKind::TooLarge, message, "send the values as parameters or by COPY")
        })
    }

    fn too_many(&self, names: usize) -> Option<Refusal> {
        let limit = self.options.limits.names;
        (names >= limit).then(|| {
            let message =
                format!("the session has {limit} prepared statements or portals, which is the limit");
            refusal(RefusalKind::TooLarge, message, "close those that are no longer needed")
        })
    }
}

/// Digest of parameter types, formats and values; empty if there are none.
fn digest(types: &[u8], parameters: &[u8]) -> String {
    if parameters == [0; 4] {
        return String::new();
    }
    // how many types there are comes first, so that no two of both are the same bytes
    const_hex::encode(Sha256::new().chain_update(types).chain_update(parameters).finalize())
}
