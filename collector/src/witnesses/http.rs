//! One HTTP/1.1 request to a witness, on a connection of its own, with a limit on time and size.

use std::sync::Arc;
use std::time::Duration;

use evidence::note::NOTE_BYTES_MAX;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST};
use hyper::rt::{Read, Write};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::endpoint::Endpoint;

/// How long a request may take, from the name's look-up to the last byte of the answer.
pub const REQUEST_SECONDS_MAX: Duration = Duration::from_secs(10);
/// Largest answer that is read, bytes: a note. Signature lines are less.
const ANSWER_BYTES_MAX: usize = NOTE_BYTES_MAX;

/// What a witness answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    /// HTTP status.
    pub(super) status: u16,
    /// Its body.
    pub(super) body: Vec<u8>,
}

/// Asks. The error is a sentence for people.
pub(super) async fn request(
    endpoint: &Endpoint,
    tls: Option<&Arc<ClientConfig>>,
    method: Method,
    below: &str,
    body: String,
) -> Result<Reply, String> {
    let asked = tokio::time::timeout(REQUEST_SECONDS_MAX, exchange(endpoint, tls, method, below, body));
    match asked.await {
        Ok(reply) => reply,
        Err(_) => Err(format!("no answer within {} seconds", REQUEST_SECONDS_MAX.as_secs())),
    }
}

async fn exchange(
    endpoint: &Endpoint,
    tls: Option<&Arc<ClientConfig>>,
    method: Method,
    below: &str,
    body: String,
) -> Result<Reply, String> {
    let stream = TcpStream::connect((endpoint.host(), endpoint.port()))
        .await
        .map_err(|error| format!("cannot connect: {error}"))?;
    // Small messages that must not wait for each other.
    stream.set_nodelay(true).map_err(|error| format!("cannot connect: {error}"))?;
    let request = Request::builder()
        .method(method)
        .uri(endpoint.path(below))
        .header(HOST, endpoint.authority())
        .header(CONNECTION, "close")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| format!("not a request: {error}"))?;
    if !endpoint.has_tls() {
        return send(TokioIo::new(stream), request).await;
    }
    let config = tls.ok_or("there are no certificates to check it with")?;
    let name = ServerName::try_from(endpoint.host().to_owned())
        .map_err(|_| format!("{:?} is no name of a server", endpoint.host()))?;
    let stream = TlsConnector::from(Arc::clone(config))
        .connect(name, stream)
        .await
        .map_err(|error| format!("TLS: {error}"))?;
    send(TokioIo::new(stream), request).await
}

async fn send<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Reply, String>
where
    S: Read + Write + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| format!("not an answer in HTTP/1.1: {error}");
    let (mut sender, connection) = http1::handshake(stream).await.map_err(broken)?;
    // The connection moves the bytes; it ends with the answer, or when this is dropped by the time limit.
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| format!("its answer of status {status} cannot be read: {error}"))?;
        Ok(Reply { status, body: body.to_bytes().to_vec() })
    };
    tokio::pin!(exchange);
    tokio::select! {
        reply = &mut exchange => reply,
        // It may end before the answer's last bytes were taken: they are there all the same.
        _ended = connection => exchange.await,
    }
}
