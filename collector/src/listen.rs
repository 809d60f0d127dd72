//! The accept loop of every TLS listener: from a TCP connection to a stream whose peer is known.
//!
//! tonic's own loop cannot swap certificates and revocation lists, has no time limit for a handshake, and spins when
//! the process runs out of file descriptors. This one takes the newest configuration for every connection, gives
//! a handshake five seconds, drops the oldest of too many handshakes (a flood of silent clients cannot keep a good
//! one out), and waits where it cannot accept.

mod connection;
mod frames;
mod places;

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use certs::{Peer, PeerCertificate, PeerError, Population};
use evidence::enrolment::{EXPORTER_BYTES, EXPORTER_LABEL};
use evidence::trust_domain::TrustDomain;
use rustls::{ServerConfig, ServerConnection};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;
use tracing::{debug, warn};

use connection::Slots;
pub use connection::{Connection, PeerInfo};
use places::{Places, network};

/// Longest handshake, from accept to the client's last message: a good one takes a few round trips.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// Longest wait for the first HTTP/2 frame after the handshake.
const PREFACE_MAX: Duration = Duration::from_secs(5);
/// Handshakes at once. Each holds up to 64 KiB of a peer's messages: 32 MiB in all.
const HANDSHAKES_MAX: usize = 512;
/// Handshakes at once from one address: an office behind one address wakes up at nine.
const HANDSHAKES_PER_ADDRESS_MAX: usize = 64;
/// Connections of one device or person: one in use, one being replaced, and as many again for a person's tools.
const CONNECTIONS_PER_PEER_MAX: usize = 4;
/// Connections at once from one address where nobody is known: an office behind one address that enrols together, each
/// device for a second or two.
const CONNECTIONS_PER_ADDRESS_MAX: usize = 64;
/// Longest life of a connection. It is asked to end before (GOAWAY, see `http2.rs`); five minutes later it is cut, whatever
/// still runs on it: a call that never ends must not keep its place for ever.
const LIFE_MAX: Duration = Duration::from_mins(35);
/// The same where anybody may connect: a minute for an enrolment, and as much again for a slow link and a retry.
const STRANGER_LIFE_MAX: Duration = Duration::from_mins(3);
/// How long a peer may take nothing of what is written to it: a link that works takes something within seconds.
const STALL_MAX: Duration = Duration::from_secs(30);
/// Connections at once on one listener, when the file limit allows.
const CONNECTIONS_MAX: usize = 20_000;
/// Of the file limit, tenths that one listener may use; the rest is for the store and the other listeners.
const FILE_LIMIT_TENTHS: u64 = 6;
/// Pause when the system cannot accept (no descriptors, no memory): it will not pass at once, and asking spins.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// One log line in this time about a failing accept.
const ACCEPT_LOG_INTERVAL: Duration = Duration::from_secs(5);
/// Finished handshakes that wait for tonic to take them.
const QUEUE: usize = 64;

/// What one listener may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once, handshakes included. A slot is taken before a connection is accepted.
    pub connections: usize,
    /// Handshakes at once; beyond, the oldest is dropped.
    pub handshakes: usize,
    /// Handshakes at once from one address; beyond, the oldest of that address is dropped.
    pub handshakes_per_address: usize,
    /// Connections at once of one device or person; beyond, the new one is dropped.
    pub connections_per_peer: usize,
    /// Connections at once from one address (IPv6: one /64); beyond, the new one is dropped.
    pub connections_per_address: usize,
    /// Longest handshake.
    pub handshake: Duration,
    /// Longest wait for the first HTTP/2 frame.
    pub preface: Duration,
    /// Longest life of a connection.
    pub life: Duration,
    /// Longest time in which a peer takes nothing of what is written to it.
    pub stall: Duration,
}

impl Limits {
    /// The limits for a process that may open `open_files_max` files.
    pub fn for_open_files(open_files_max: u64) -> Self {
        let share = usize::try_from(open_files_max / 10 * FILE_LIMIT_TENTHS).unwrap_or(usize::MAX);
        Self {
            connections: share.clamp(1, CONNECTIONS_MAX),
            handshakes: HANDSHAKES_MAX,
            handshakes_per_address: HANDSHAKES_PER_ADDRESS_MAX,
            connections_per_peer: CONNECTIONS_PER_PEER_MAX,
            // Devices and people have limits of their own, and many of them one address.
            connections_per_address: usize::MAX,
            handshake: HANDSHAKE_MAX,
            preface: PREFACE_MAX,
            life: LIFE_MAX,
            stall: STALL_MAX,
        }
    }

    /// These limits where nobody is known: an address stands for a peer, and what is to be done is done soon.
    #[must_use]
    pub fn of_strangers(self) -> Self {
        let (connections_per_address, life) = (CONNECTIONS_PER_ADDRESS_MAX, STRANGER_LIFE_MAX);
        Self { connections_per_address, life, ..self }
    }

    /// These limits where nobody is known and files are read: an address stands for a peer.
    #[must_use]
    pub fn of_readers(self) -> Self {
        Self { connections_per_address: CONNECTIONS_PER_ADDRESS_MAX, ..self }
    }
}

/// Who may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// Anybody; nobody is known. For enrolment.
    Anybody,
    /// Holders of a certificate of one population of this installation. The TLS configuration checks the
    /// certificate, this the name in it.
    Holders {
        /// This installation.
        trust_domain: TrustDomain,
        /// Which population.
        population: Population,
    },
}

/// What happened on a listener since it began, for the metrics.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections handed to tonic.
    pub connected: AtomicU64,
    /// Handshakes that failed or took too long.
    pub failed: AtomicU64,
    /// Handshakes dropped because there were too many.
    pub dropped: AtomicU64,
    /// Peers with a good certificate that were refused: a wrong name, or too many connections.
    pub refused: AtomicU64,
    /// Connections cut because of frames that carry nothing.
    pub flooded: AtomicU64,
    /// Times the system could not accept.
    pub accept_errors: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Where connections come from: a bound listener.
pub trait Accept: Send + Sync + 'static {
    /// The next connection and its address.
    fn accept(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send;
}

impl Accept for TcpListener {
    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        Self::accept(self).await
    }
}

/// The connections of one listener, for tonic's `serve_with_incoming_shutdown`. Dropping it closes the listener.
#[derive(Debug)]
pub struct Incoming(mpsc::Receiver<Connection>);

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|connection| connection.map(Ok))
    }
}

/// Begins to accept on `source`. Every new connection uses the configuration `config` holds at that moment; those that
/// are open keep theirs. Must be called inside a tokio runtime.
pub fn listen<A: Accept>(
    source: A,
    config: watch::Receiver<Arc<ServerConfig>>,
    audience: Audience,
    limits: Limits,
    counters: Arc<Counters>,
) -> Incoming {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let (peers, addresses) = (Arc::default(), Arc::default());
    let shared = Arc::new(Shared { audience, limits, counters, peers, addresses, sender });
    tokio::spawn(accept_loop(source, config, shared));
    Incoming(receiver)
}

/// What the loop and its handshakes share.
struct Shared {
    audience: Audience,
    limits: Limits,
    counters: Arc<Counters>,
    peers: Arc<Places<Peer>>,
    addresses: Arc<Places<IpAddr>>,
    sender: mpsc::Sender<Connection>,
}

async fn accept_loop<A: Accept>(source: A, config: watch::Receiver<Arc<ServerConfig>>, shared: Arc<Shared>) {
    let slots = Arc::new(Semaphore::new(shared.limits.connections));
    let mut handshakes = Handshakes::default();
    let mut logged: Option<Instant> = None;
    loop {
        // The slot comes first: what cannot be served stays in the system's queue and costs nothing here.
        let slot = tokio::select! {
            slot = slots.clone().acquire_owned() => slot,
            () = shared.sender.closed() => return,
        };
        let Ok(slot) = slot else { return };
        let accepted = tokio::select! {
            accepted = source.accept() => accepted,
            () = shared.sender.closed() => return,
        };
        match accepted {
            Ok((tcp, address)) => {
                handshakes.make_room(network(address.ip()), &shared);
                let acceptor = TlsAcceptor::from(config.borrow().clone());
                handshakes
                    .start(network(address.ip()), handshake(tcp, address, acceptor, slot, shared.clone()));
            }
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                count(&shared.counters.accept_errors);
                if logged.is_none_or(|at| at.elapsed() >= ACCEPT_LOG_INTERVAL) {
                    logged = Some(Instant::now());
                    warn!(%error, "Cannot accept connections; raise the limit of open files if it says so.");
                }
                tokio::select! {
                    () = sleep(ACCEPT_PAUSE) => {}
                    () = shared.sender.closed() => return,
                }
            }
        }
    }
}

/// Whether accept failed because of the connection it would have returned; the next one may be good.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// The handshakes under way, oldest first.
#[derive(Default)]
struct Handshakes {
    tasks: JoinSet<()>,
    running: Vec<(IpAddr, AbortHandle)>,
}

impl Handshakes {
    /// Drops the oldest handshakes that stand in the way of one more from `address`.
    fn make_room(&mut self, address: IpAddr, shared: &Shared) {
        while self.tasks.try_join_next().is_some() {}
        self.running.retain(|(_, task)| !task.is_finished());
        let of_address = self.running.iter().filter(|(other, _)| *other == address).count();
        let oldest = if of_address >= shared.limits.handshakes_per_address {
            self.running.iter().position(|(other, _)| *other == address)
        } else if self.running.len() >= shared.limits.handshakes {
            Some(0)
        } else {
            None
        };
        if let Some(index) = oldest {
            let (dropped, task) = self.running.remove(index);
            task.abort();
            count(&shared.counters.dropped);
            debug!(address = %dropped, "Dropped the oldest handshake, there were too many.");
        }
    }

    fn start(&mut self, address: IpAddr, handshake: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(handshake);
        self.running.push((address, task));
    }
}

async fn handshake(
    tcp: TcpStream,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    slot: OwnedSemaphorePermit,
    shared: Arc<Shared>,
) {
    let agreed = timeout(shared.limits.handshake, async {
        tcp.set_nodelay(true)?;
        acceptor.accept(tcp).await
    });
    let stream = match agreed.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            count(&shared.counters.failed);
            debug!(%address, %error, "TLS handshake failed.");
            return;
        }
        Err(_) => {
            count(&shared.counters.failed);
            debug!(%address, "TLS handshake took too long.");
            return;
        }
    };
    match admit(stream, address, slot, &shared) {
        Ok(connection) => {
            count(&shared.counters.connected);
            if shared.sender.send(connection).await.is_err() {
                debug!(%address, "Connection dropped, the listener stops.");
            }
        }
        Err(error) => {
            count(&shared.counters.refused);
            debug!(%address, %error, "Peer refused.");
        }
    }
}

/// Why a peer was refused after a good handshake.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("no certificate was presented to a listener that asks for one")]
    NoCertificate,
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error("{0} has too many connections")]
    TooMany(Peer),
    #[error("its address has too many connections")]
    TooManyOfAddress,
    #[error("the TLS connection gives no exporter: {0}")]
    Exporter(rustls::Error),
}

fn admit(
    stream: TlsStream<TcpStream>,
    address: SocketAddr,
    slot: OwnedSemaphorePermit,
    shared: &Shared,
) -> Result<Connection, Refusal> {
    let (_, session) = stream.get_ref();
    let exporter = session
        .export_keying_material([0; EXPORTER_BYTES], EXPORTER_LABEL, Some(b""))
        .map_err(Refusal::Exporter)?;
    let certificate = known_peer(session, &shared.audience)?;
    let peer_slot = match &certificate {
        Some(certificate) => {
            let slot = shared.peers.enter(certificate.peer, shared.limits.connections_per_peer);
            Some(slot.ok_or(Refusal::TooMany(certificate.peer))?)
        }
        None => None,
    };
    let address_slot = shared
        .addresses
        .enter(network(address.ip()), shared.limits.connections_per_address)
        .ok_or(Refusal::TooManyOfAddress)?;
    let info = PeerInfo { certificate, address, exporter };
    Ok(Connection::new(stream, info, shared, Slots { _all: slot, _peer: peer_slot, _address: address_slot }))
}

fn known_peer(session: &ServerConnection, audience: &Audience) -> Result<Option<PeerCertificate>, Refusal> {
    let Audience::Holders { trust_domain, population } = audience else {
        return Ok(None);
    };
    let certificate = session.peer_certificates().and_then(<[_]>::first).ok_or(Refusal::NoCertificate)?;
    Ok(Some(PeerCertificate::read(certificate, trust_domain, *population)?))
}

#[cfg(test)]
mod tests;
