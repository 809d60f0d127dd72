//! The one place every call of every listener passes: revoked callers and calls outside the role table end here, before
//! any service sees them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use tonic::Status;
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::codegen::http::{Request, Response};
use tonic::metadata::MetadataValue;
use tower::{Layer, Service};

use crate::denylist::{Denied, Denylist};
use crate::listen::PeerInfo;
use crate::roles::{self, Caller, Listener};

/// Header of an answer that says why a caller is refused for good, for programs.
pub const REASON: &str = "tallystick-reason";
/// Its value when the caller's keys are revoked.
pub const REVOKED: &str = "revoked";

/// Asks denylist and role table about each call of one listener.
#[derive(Debug, Clone)]
pub struct Gate {
    listener: Listener,
    denylist: Arc<Denylist>,
}

impl Gate {
    /// The gate of a listener.
    pub fn new(listener: Listener, denylist: Arc<Denylist>) -> Self {
        Self { listener, denylist }
    }

    fn ask(&self, peer: Option<&PeerInfo>, path: &str) -> Result<(), Status> {
        let peer = peer.and_then(PeerInfo::peer);
        if let Some(denied) = peer.and_then(|peer| self.denylist.denied(peer)) {
            self.denylist.calls_refused.fetch_add(1, Ordering::Relaxed);
            return Err(revoked(denied));
        }
        let caller = if self.listener == Listener::Socket { Caller::Owner } else { Caller::from(peer) };
        let Some(row) = roles::find(self.listener, path) else {
            return Err(Status::unimplemented("there is no such call on this listener"));
        };
        if row.allows(caller) {
            return Ok(());
        }
        let role = caller.as_str();
        Err(Status::permission_denied(format!("the role {role} may not do this; an {} may", row.who())))
    }
}

/// What a caller hears whose keys are revoked.
pub fn revoked(denied: Denied) -> Status {
    let Denied { index, since } = denied;
    let mut status = Status::permission_denied(format!(
        "these keys are revoked since {} (entry {index} of the log): ask an admin",
        since.rfc3339()
    ));
    status.metadata_mut().insert(REASON, MetadataValue::from_static(REVOKED));
    status
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { gate: self.clone(), inner }
    }
}

/// A service behind a [`Gate`].
#[derive(Debug, Clone)]
pub struct Gated<S> {
    gate: Gate,
    inner: S,
}

impl<S> Service<Request<Body>> for Gated<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<Response<Body>, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.gate.ask(request.extensions().get::<PeerInfo>(), request.uri().path()) {
            Ok(()) => Box::pin(self.inner.call(request)),
            Err(status) => Box::pin(async move { Ok(status.into_http()) }),
        }
    }
}

#[cfg(test)]
mod tests;
