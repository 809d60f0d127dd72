//! The witness on HTTP/1.1, with or without TLS: `POST /add-checkpoint` and `GET /<hex SHA-256 of origin>/checkpoint`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use evidence::ids::Digest;
use evidence::time::Clock;
use evidence::witness::{REQUEST_BYTES_MAX, Refused, SIZE_CONTENT_TYPE, size_body};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::store::{AddError, Store};
use crate::command::Context;
use crate::table::clean;

/// Connections served at one time; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
/// How long a TLS handshake may take.
const HANDSHAKE_SECONDS_MAX: Duration = Duration::from_secs(10);
/// How long the head of a request may take to come, also the next one of a connection.
const HEAD_SECONDS_MAX: Duration = Duration::from_secs(10);
/// How long the body of a request may take to come.
const BODY_SECONDS_MAX: Duration = Duration::from_secs(10);
/// How long one connection may be kept.
const CONNECTION_SECONDS_MAX: Duration = Duration::from_mins(10);
/// How long nothing is accepted after it failed, for instance for want of open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// What every connection shares.
#[derive(Clone)]
pub(super) struct Witness {
    store: Arc<Mutex<Store>>,
    clock: Arc<dyn Clock>,
}

/// Serves until SIGTERM or SIGINT.
pub(super) async fn serve(
    store: Store,
    listen: SocketAddr,
    tls: Option<TlsAcceptor>,
    context: &mut Context<'_>,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let address = listener.local_addr().context("no address")?;
    let vkey = store.witness_key()?.vkey();
    if context.options.json {
        writeln!(context.out, "{}", json!({"listening": address.to_string(), "vkey": vkey}))?;
    } else {
        let scheme = if tls.is_some() { "https" } else { "http" };
        writeln!(context.out, "Witness {} answers on {scheme}://{address}", clean(&vkey))?;
    }
    context.out.flush().context("cannot write the answer")?;
    let witness = Witness::new(store, context.clock.clone());
    let stop = stopped()?;
    tokio::select! {
        () = accept(&listener, tls.as_ref(), &witness) => {}
        () = stop => {}
    }
    // A request in the middle of its write holds the lock: it ends before this program does.
    drop(witness.store.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(())
}

/// Ends at the first signal to stop.
fn stopped() -> anyhow::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
        Ok(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    {
        Ok(async { drop(tokio::signal::ctrl_c().await) })
    }
}

pub(super) async fn accept(listener: &TcpListener, tls: Option<&TlsAcceptor>, witness: &Witness) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (witness, tls) = (witness.clone(), tls.cloned());
                tokio::spawn(async move {
                    // A connection that was cut or kept too long is the client's to repeat.
                    let served = async {
                        match tls {
                            None => connection(stream, witness).await,
                            Some(tls) => {
                                let shaken = tokio::time::timeout(HANDSHAKE_SECONDS_MAX, tls.accept(stream));
                                if let Ok(Ok(stream)) = shaken.await {
                                    connection(stream, witness).await;
                                }
                            }
                        }
                    };
                    drop(tokio::time::timeout(CONNECTION_SECONDS_MAX, served).await);
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin, witness: Witness) {
    let service = service_fn(move |request| {
        let witness = witness.clone();
        async move { Ok::<_, Infallible>(witness.answer(request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_SECONDS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    drop(served.await);
}

impl Witness {
    /// A witness that answers by the clock.
    pub(super) fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { store: Arc::new(Mutex::new(store)), clock }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        match (request.method(), path.as_str()) {
            (&Method::POST, "/add-checkpoint") => self.add_checkpoint(request).await,
            (_, "/add-checkpoint") => text(StatusCode::METHOD_NOT_ALLOWED, "this is a POST\n"),
            (&Method::GET, path) => self.checkpoint(path),
            _ => text(StatusCode::NOT_FOUND, "nothing is here\n"),
        }
    }

    fn checkpoint(&self, path: &str) -> Response<Full<Bytes>> {
        let hex = path.strip_prefix('/').and_then(|rest| rest.strip_suffix("/checkpoint"));
        let origin = hex.and_then(|hex| Digest::from_hex(hex).ok());
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        match origin.and_then(|origin| store.note(&origin)) {
            Some(note) => text(StatusCode::OK, &note),
            None => text(StatusCode::NOT_FOUND, "no checkpoint of such a log\n"),
        }
    }

    async fn add_checkpoint(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let body = Limited::new(request.into_body(), REQUEST_BYTES_MAX).collect();
        let body = match tokio::time::timeout(BODY_SECONDS_MAX, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) => return text(StatusCode::BAD_REQUEST, "the body is too large or was cut\n"),
            Err(_) => return text(StatusCode::REQUEST_TIMEOUT, "the body did not come\n"),
        };
        let (store, seconds) = (Arc::clone(&self.store), self.clock.now().ms() / 1000);
        // The write is synced: not on the thread that serves everybody.
        let added = tokio::task::spawn_blocking(move || {
            store.lock().unwrap_or_else(PoisonError::into_inner).add_checkpoint(&body, seconds)
        });
        match added.await {
            Ok(Ok(line)) => text(StatusCode::OK, &line),
            Ok(Err(AddError::Refused(Refused::OldSize { size }))) => {
                let mut response = text(StatusCode::CONFLICT, &size_body(size));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(SIZE_CONTENT_TYPE));
                response
            }
            Ok(Err(AddError::Refused(refused))) => {
                let status = StatusCode::from_u16(refused.status());
                text(status.unwrap_or(StatusCode::BAD_REQUEST), &format!("{refused}\n"))
            }
            Ok(Err(AddError::Broken(why))) => {
                // What it says names files of this machine: for its operator, not for callers.
                drop(std::io::Write::write_all(&mut std::io::stderr(), format!("error: {why}\n").as_bytes()));
                text(StatusCode::INTERNAL_SERVER_ERROR, "this witness cannot write and signs nothing\n")
            }
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "interrupted\n"),
        }
    }
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, TEXT);
    response
}
