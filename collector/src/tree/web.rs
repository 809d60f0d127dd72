//! The tiles listener: the public tree over HTTPS, to anybody, read only.
//!
//! A path is the checkpoint's or that of a [`Tile`] in its one form, else there is nothing: no text of a client is ever
//! joined to a folder. The tree holds no personal data, so nobody is asked who he is.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use evidence::log_keys::LOG_KEYS_PATH;
use evidence::tiles::{CHECKPOINT_PATH, Tile};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::sync::Semaphore;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Folder;
use crate::http2::CONNECTION_AGE_MAX;
use crate::listen::{Connection, Incoming};

/// Longest wait for the head of a request on HTTP/1.1, from the one before it.
const HEAD_MAX: Duration = Duration::from_secs(15);
/// Longest head of a request, bytes.
const HEAD_BYTES_MAX: u16 = 8 << 10;
/// Requests at once on one HTTP/2 connection: a reader takes tiles side by side.
const STREAMS_MAX: u32 = 32;
/// Files read at once over all connections; more wait. One is at most 22 KiB of leaves.
const READS_MAX: usize = 64;
/// How often a quiet HTTP/2 connection is probed.
const KEEPALIVE_INTERVAL: Duration = Duration::from_mins(1);
/// How long a connection may take to end after its age or at a stop.
const END_MAX: Duration = Duration::from_secs(5);

/// A checkpoint changes every second.
const CHECKPOINT_CACHING: &str = "public, max-age=2";
/// A tile never changes, a partial one neither.
const TILE_CACHING: &str = "public, max-age=31536000, immutable";
/// What is not there now may be there a second later.
const NO_CACHING: &str = "no-store";

/// Serves the tree at `root` until `stop`.
pub async fn serve(root: &Path, mut incoming: Incoming, stop: CancellationToken) {
    let tree = Arc::new(Tree { folder: Folder::new(root), reads: Semaphore::new(READS_MAX) });
    let connections = TaskTracker::new();
    loop {
        let next = tokio::select! {
            next = incoming.next() => next,
            () = stop.cancelled() => None,
        };
        // The listener gives connections only, never an error.
        let Some(Ok(connection)) = next else { break };
        connections.spawn(follow(connection, Arc::clone(&tree), stop.clone()));
    }
    connections.close();
    connections.wait().await;
}

struct Tree {
    folder: Folder,
    reads: Semaphore,
}

async fn follow(connection: Connection, tree: Arc<Tree>, stop: CancellationToken) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_buf_size(HEAD_BYTES_MAX.into())
        .half_close(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX.into())
        .keep_alive_interval(KEEPALIVE_INTERVAL);
    let service = service_fn(move |request| {
        let tree = Arc::clone(&tree);
        async move { Ok::<_, Infallible>(tree.answer(&request).await) }
    });
    let served = builder.serve_connection(TokioIo::new(connection), service);
    tokio::pin!(served);
    let ended = tokio::select! {
        result = served.as_mut() => Some(result),
        () = stop.cancelled() => None,
        () = tokio::time::sleep(CONNECTION_AGE_MAX) => None,
    };
    let ended = match ended {
        Some(result) => Some(result),
        None => {
            served.as_mut().graceful_shutdown();
            tokio::time::timeout(END_MAX, served).await.ok()
        }
    };
    if let Some(Err(error)) = ended {
        tracing::debug!(%error, "A connection to the tiles listener failed.");
    }
}

impl Tree {
    async fn answer<B>(self: &Arc<Self>, request: &hyper::Request<B>) -> Response<Full<Bytes>> {
        let is_head = request.method() == Method::HEAD;
        if request.method() != Method::GET && !is_head {
            let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        let Some(wanted) = Wanted::of(request.uri().path()) else {
            return plain(StatusCode::NOT_FOUND, "there is nothing here\n");
        };
        let found = match self.reads.acquire().await {
            Ok(_permit) => {
                let tree = Arc::clone(self);
                tokio::task::spawn_blocking(move || wanted.read(&tree.folder)).await
            }
            Err(_) => Ok(Ok(None)),
        };
        match found {
            Ok(Ok(Some(bytes))) => wanted.response(bytes, is_head),
            Ok(Ok(None)) => plain(StatusCode::NOT_FOUND, "there is nothing here\n"),
            Ok(Err(error)) => {
                tracing::error!(path = wanted.path(), %error, "A file of the public tree could not be read.");
                plain(StatusCode::INTERNAL_SERVER_ERROR, "the file could not be read\n")
            }
            Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the file could not be read\n"),
        }
    }
}

/// What a path can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Checkpoint,
    LogKeys,
    Tile(Tile),
}

impl Wanted {
    fn of(path: &str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        if path == CHECKPOINT_PATH {
            return Some(Self::Checkpoint);
        }
        if path == LOG_KEYS_PATH {
            return Some(Self::LogKeys);
        }
        Tile::parse(path).ok().map(Self::Tile)
    }

    fn path(self) -> String {
        match self {
            Self::Checkpoint => CHECKPOINT_PATH.to_owned(),
            Self::LogKeys => LOG_KEYS_PATH.to_owned(),
            Self::Tile(tile) => tile.path(),
        }
    }

    fn read(self, folder: &Folder) -> std::io::Result<Option<Vec<u8>>> {
        match self {
            Self::Checkpoint => folder.checkpoint(),
            Self::LogKeys => folder.log_keys(),
            Self::Tile(tile) => folder.tile_or_part_of_full(&tile),
        }
    }

    fn response(self, bytes: Vec<u8>, is_head: bool) -> Response<Full<Bytes>> {
        let (kind, caching) = match self {
            Self::Checkpoint | Self::LogKeys => ("text/plain; charset=utf-8", CHECKPOINT_CACHING),
            Self::Tile(_) => ("application/octet-stream", TILE_CACHING),
        };
        let length = bytes.len();
        let body = if is_head { Full::default() } else { Full::from(bytes) };
        let mut response = with_headers(body, kind, caching);
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        response
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = with_headers(Full::from(text), "text/plain; charset=utf-8", NO_CACHING);
    *response.status_mut() = status;
    response
}

fn with_headers(body: Full<Bytes>, kind: &'static str, caching: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests;
