//! What a full mutual TLS 1.3 handshake costs without a network, and what a connection takes of memory without HTTP/2: the
//! bare figures that a collector's are held against.

use std::net::{TcpListener as StdListener, TcpStream as StdStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use certs::test_pki::TestPki;
use certs::{Population, mutual_client, mutual_listener};
use evidence::ids::DeviceId;
use evidence::time::{Clock as _, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

use crate::numbers::{count, float};
use crate::process::memory_of;

/// Both sides of a mutual handshake, as the agent and the collector are configured.
pub struct Pair {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

/// Processor time of this thread so far: another program that takes the processor away does not count.
fn on_processor() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
}

fn since(begun: Duration) -> Duration {
    on_processor().saturating_sub(begun)
}

/// What handshakes in memory cost.
#[derive(Debug, Clone, Copy)]
pub struct Bare {
    /// Microseconds of processor time of the server's side.
    pub server_us: f64,
    /// Of the client's side.
    pub client_us: f64,
}

impl Pair {
    /// Certificates made now.
    pub fn new() -> anyhow::Result<Self> {
        let now: Timestamp = collector::clock::SystemClock.now();
        let pki = TestPki::new("bench.test", now);
        let trusted = [pki.trusted(Population::Agents, &[])];
        let (agent, _) = pki.agent(DeviceId::from_bytes([1; 16]));
        Ok(Self {
            client: mutual_client(&agent, pki.root(), pki.clock())?,
            server: mutual_listener(&pki.server("127.0.0.1"), &trusted, pki.clock())?,
        })
    }

    /// One handshake in memory, until both sides are done; what each side took.
    fn handshake(&self) -> anyhow::Result<(ServerConnection, Duration, Duration)> {
        let name = ServerName::try_from("127.0.0.1")?;
        let mut begun = on_processor();
        let mut client = ClientConnection::new(Arc::clone(&self.client), name)?;
        let mut of_client = since(begun);
        begun = on_processor();
        let mut server = ServerConnection::new(Arc::clone(&self.server))?;
        let mut of_server = since(begun);
        let mut wire = Vec::new();
        while client.is_handshaking() || server.is_handshaking() {
            begun = on_processor();
            wire.clear();
            while client.wants_write() {
                client.write_tls(&mut wire)?;
            }
            of_client += since(begun);
            begun = on_processor();
            let mut read = &wire[..];
            while !read.is_empty() {
                server.read_tls(&mut read)?;
                server.process_new_packets()?;
            }
            let mut back = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut back)?;
            }
            of_server += since(begun);
            begun = on_processor();
            let mut read = &back[..];
            while !read.is_empty() {
                client.read_tls(&mut read)?;
                client.process_new_packets()?;
            }
            of_client += since(begun);
        }
        Ok((server, of_server, of_client))
    }

    /// The mean of so many handshakes, one after the other.
    pub fn bare(&self, times: usize) -> anyhow::Result<Bare> {
        let (mut of_server, mut of_client) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..times {
            let (_, server, client) = self.handshake()?;
            of_server += server;
            of_client += client;
        }
        let mean = |all: Duration| all.as_secs_f64() * 1e6 / count(times.max(1));
        Ok(Bare { server_us: mean(of_server), client_us: mean(of_client) })
    }

    /// KiB that each of so many sessions takes, the server's side alone, after its handshake. To be asked before much else
    /// was allocated and given back: what is used again does not show.
    pub fn session_kib(&self, times: usize) -> anyhow::Result<f64> {
        // What the first ones make for all of them is not theirs.
        self.bare(10)?;
        let before = memory_of("self")?.rss_kib;
        let mut held = Vec::with_capacity(times);
        for _ in 0..times {
            held.push(self.handshake()?.0);
        }
        let each = float(memory_of("self")?.rss_kib.saturating_sub(before)) / count(times.max(1));
        drop(held);
        Ok(each)
    }
}

/// KiB that each of so many accepted TCP connections takes, registered with the runtime and nothing else. Both ends are in
/// this process; the other end is a file descriptor alone. To be asked first, likewise.
pub async fn socket_kib(times: usize) -> anyhow::Result<f64> {
    let listener = StdListener::bind("127.0.0.1:0").context("no port")?;
    let address = listener.local_addr()?;
    let mut held = Vec::with_capacity(times);
    let before = memory_of("self")?.rss_kib;
    for _ in 0..times {
        let ours = StdStream::connect(address)?;
        let (theirs, _) = listener.accept()?;
        theirs.set_nonblocking(true)?;
        held.push((ours, tokio::net::TcpStream::from_std(theirs)?));
    }
    tokio::task::yield_now().await;
    let each = float(memory_of("self")?.rss_kib.saturating_sub(before)) / count(times.max(1));
    drop(held);
    Ok(each)
}
