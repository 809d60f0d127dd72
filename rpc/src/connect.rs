//! One client connection: TCP, TLS, HTTP/2, with the TLS exporter that binds an enrolment to it.
//!
//! A [`Channel`] of tonic connects again by itself when its connection is lost. Here it does not: another connection has
//! another exporter, and whether and when to try again is the program's decision (back-off, newer certificates).

mod noting;

use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use evidence::enrolment::{EXPORTER_BYTES, EXPORTER_LABEL};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use self::noting::Noting;
use crate::proxy::{Proxy, TunnelError};

/// Longest wait for name resolution and TCP together.
const TCP_SECONDS_MAX: Duration = Duration::from_secs(10);
/// Longest wait for the TLS handshake after that.
const HANDSHAKE_SECONDS_MAX: Duration = Duration::from_secs(10);
/// How often a quiet connection is probed, so that a laptop notices that its network is gone.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// How long a probe may stay unanswered before the connection counts as lost.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes of one stream that may wait unread in memory.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// Bytes of all streams that may wait unread in memory.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// Largest header block accepted from a server, in bytes.
const HEADER_BYTES_MAX: u32 = 16 << 10;

/// Where a server listens: `collector.example.com:7443`, `192.0.2.1:7443` or `[2001:db8::1]:7443`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
    name: ServerName<'static>,
}

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No port.
    #[error("the address {0:?} needs a port, as in collector.example.com:7443 or [2001:db8::1]:7443")]
    Port(String),
    /// The host is neither a DNS name nor an address.
    #[error("{0:?} is neither a DNS name nor an IP address (an IPv6 address stands in brackets)")]
    Host(String),
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = text.rsplit_once(':').ok_or_else(|| AddressError::Port(text.to_owned()))?;
        if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(AddressError::Port(text.to_owned()));
        }
        let port = port.parse().map_err(|_| AddressError::Port(text.to_owned()))?;
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host = bracketed.unwrap_or(host).to_owned();
        let name = ServerName::try_from(host.clone())
            .map_err(|_: InvalidDnsNameError| AddressError::Host(host.clone()))?;
        // Without brackets, "2001:db8::1:7443" would be an address that ends in 7443.
        if host.contains(':') != bracketed.is_some() {
            return Err(AddressError::Host(host));
        }
        Ok(Self { host, port, name })
    }
}

impl Address {
    /// The DNS name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A TCP connection to the first of its addresses that answers.
    pub(crate) async fn dial(&self) -> io::Result<TcpStream> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
        tcp.set_nodelay(true).map(|()| tcp)
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No TCP connection.
    #[error("no connection to {address}")]
    Tcp {
        /// Where to.
        address: Address,
        /// What the system said.
        source: io::Error,
    },
    /// The proxy on the way opens no tunnel.
    #[error("no way to {address} through the proxy {proxy}")]
    Proxy {
        /// Where to.
        address: Address,
        /// The proxy's own address.
        proxy: String,
        /// What it said. Boxed: errors are moved through many hands.
        source: Box<TunnelError>,
    },
    /// The other side does not answer.
    #[error("{address} did not answer within {} seconds while {step}", TCP_SECONDS_MAX.as_secs())]
    Silent {
        /// Where to.
        address: Address,
        /// `connecting` or `agreeing on TLS`.
        step: &'static str,
    },
    /// The server was not accepted, or is no TLS 1.3 server.
    #[error("TLS with {address} failed")]
    Tls {
        /// Where to.
        address: Address,
        /// Usually a `rustls::Error` inside.
        source: io::Error,
    },
    /// The exporter is not available.
    #[error("the TLS connection gives no exporter")]
    Exporter(#[source] rustls::Error),
    /// HTTP/2 did not start.
    #[error("{address} does not speak HTTP/2")]
    Http2 {
        /// Where to.
        address: Address,
        /// What tonic said.
        source: tonic::transport::Error,
    },
}

/// An open connection.
#[derive(Debug, Clone)]
pub struct Connection {
    /// For tonic's clients. When the connection is lost every call fails; it never connects again.
    pub channel: Channel,
    /// The TLS exporter of this connection (RFC 9266).
    pub exporter: [u8; EXPORTER_BYTES],
    /// The chain the server presented and the configuration accepted, leaf first.
    pub server_chain: Vec<CertificateDer<'static>>,
}

/// Opens one connection to `address` with `tls`. A server that refuses the client's certificate says so only after
/// this succeeded, at the first call: so TLS 1.3 works.
pub async fn connect(address: &Address, tls: Arc<ClientConfig>) -> Result<Connection, ConnectError> {
    connect_through(None, address, tls).await
}

/// The same through a proxy, if there is one. TLS is with `address` in any case.
pub async fn connect_through(
    proxy: Option<&Proxy>,
    address: &Address,
    tls: Arc<ClientConfig>,
) -> Result<Connection, ConnectError> {
    connect_probing(proxy, address, tls, KEEPALIVE_INTERVAL).await
}

/// The same, with another time between two probes of a quiet connection: each wakes this machine twice.
pub async fn connect_probing(
    proxy: Option<&Proxy>,
    address: &Address,
    tls: Arc<ClientConfig>,
    probes: Duration,
) -> Result<Connection, ConnectError> {
    let silent = |step| ConnectError::Silent { address: address.clone(), step };
    let tcp = match proxy {
        None => timeout(TCP_SECONDS_MAX, address.dial())
            .await
            .map_err(|_| silent("connecting"))?
            .map_err(|source| ConnectError::Tcp { address: address.clone(), source })?,
        Some(proxy) => proxy.tunnel(address, TCP_SECONDS_MAX).await.map_err(|source| {
            let source = Box::new(source);
            ConnectError::Proxy { address: address.clone(), proxy: proxy.to_string(), source }
        })?,
    };
    let handshake = TlsConnector::from(tls).connect(address.name.clone(), tcp);
    let stream = timeout(HANDSHAKE_SECONDS_MAX, handshake)
        .await
        .map_err(|_| silent("agreeing on TLS"))?
        .map_err(|source| ConnectError::Tls { address: address.clone(), source })?;
    let (_, session) = stream.get_ref();
    let exporter = session
        .export_keying_material([0; EXPORTER_BYTES], EXPORTER_LABEL, Some(b""))
        .map_err(ConnectError::Exporter)?;
    let server_chain = session.peer_certificates().unwrap_or_default().to_vec();
    let channel = start_http2(address, stream, probes)
        .await
        .map_err(|source| ConnectError::Http2 { address: address.clone(), source })?;
    Ok(Connection { channel, exporter, server_chain })
}

async fn start_http2(
    address: &Address,
    stream: TlsStream<TcpStream>,
    probes: Duration,
) -> Result<Channel, tonic::transport::Error> {
    // The scheme is what :scheme says to the server; tonic itself adds no TLS to a connector's stream.
    let endpoint = Endpoint::from_shared(format!("https://{address}"))?
        .http2_keep_alive_interval(probes)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_max_header_list_size(HEADER_BYTES_MAX);
    let (stream, why) = Noting::new(stream);
    let mut stream = Some(stream);
    let connector = service_fn(move |_: Uri| {
        let (stream, why) = (stream.take(), Arc::clone(&why));
        async move {
            stream.map(TokioIo::new).ok_or_else(|| {
                let why = why.get().map(|why| format!(" ({why})")).unwrap_or_default();
                let text = format!("the connection is lost{why}; a new one must be opened");
                io::Error::new(io::ErrorKind::NotConnected, text)
            })
        }
    });
    endpoint.connect_with_connector(connector).await
}

#[cfg(test)]
mod tests;
