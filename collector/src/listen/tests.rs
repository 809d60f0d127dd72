use std::sync::Mutex;

use certs::test_pki::TestPki;
use certs::{Identity, Role, Serial, TrustedAuthority, enrolment_client, mutual_client, mutual_listener};
use evidence::ids::{DeviceId, PersonId};
use evidence::time::Timestamp;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_stream::StreamExt as _;

use super::*;

const NOW: Timestamp = Timestamp(1_800_000_000_000);
/// Long enough that a loaded machine does not reach it, short enough to wait for when something is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// A listener on loopback and everything around it.
struct World {
    pki: TestPki,
    address: SocketAddr,
    incoming: Incoming,
    config: watch::Sender<Arc<ServerConfig>>,
    counters: Arc<Counters>,
}

type Client = tokio_rustls::client::TlsStream<TcpStream>;

fn limits() -> Limits {
    Limits::for_open_files(1000)
}

fn listener_config(pki: &TestPki, population: Population, revoked: &[Serial]) -> Arc<ServerConfig> {
    let trusted: [TrustedAuthority; 1] = [pki.trusted(population, revoked)];
    mutual_listener(&pki.server("127.0.0.1"), &trusted, pki.clock()).expect("a listener")
}

async fn world(limits: Limits) -> World {
    let pki = TestPki::new("evidence.example.com", NOW);
    let audience =
        Audience::Holders { trust_domain: pki.trust_domain.clone(), population: Population::Agents };
    let config = listener_config(&pki, Population::Agents, &[]);
    world_of(pki, config, audience, limits).await
}

async fn world_of(pki: TestPki, config: Arc<ServerConfig>, audience: Audience, limits: Limits) -> World {
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = tcp.local_addr().expect("an address");
    let (config, receiver) = watch::channel(config);
    let counters = Arc::new(Counters::default());
    let incoming = listen(tcp, receiver, audience, limits, counters.clone());
    World { pki, address, incoming, config, counters }
}

impl World {
    fn agent(&self, number: u8) -> (Arc<ClientConfig>, Serial) {
        let (identity, serial) = self.pki.agent(DeviceId::from_bytes([number; 16]));
        (self.client(&identity), serial)
    }

    fn client(&self, identity: &Identity) -> Arc<ClientConfig> {
        mutual_client(identity, self.pki.root(), self.pki.clock()).expect("a client")
    }

    async fn dial(&self, config: &Arc<ClientConfig>) -> io::Result<Client> {
        let tcp = TcpStream::connect(self.address).await?;
        let name = ServerName::from(self.address.ip());
        timeout(PATIENCE, TlsConnector::from(config.clone()).connect(name, tcp)).await?
    }

    async fn next(&mut self) -> Connection {
        let next = timeout(PATIENCE, self.incoming.next()).await.expect("a connection in time");
        next.expect("the listener is open").expect("a connection")
    }

    /// Waits until `counter` has reached `least`.
    async fn wait_for(&self, counter: impl Fn(&Counters) -> &AtomicU64, least: u64) {
        let reached = timeout(PATIENCE, async {
            while counter(&self.counters).load(Ordering::Relaxed) < least {
                sleep(Duration::from_millis(5)).await;
            }
        });
        reached.await.unwrap_or_else(|_| panic!("not reached: {:?}", self.counters));
    }
}

/// What a refused client gets: an error or the end, but not one byte.
async fn gets_nothing(client: io::Result<Client>) {
    if let Ok(mut client) = client {
        let mut bytes = Vec::new();
        let read = timeout(PATIENCE, client.read_to_end(&mut bytes)).await.expect("an end in time");
        assert!(bytes.is_empty(), "{read:?} {bytes:?}");
    }
}

#[tokio::test]
async fn a_peer_is_known_and_both_ends_have_one_exporter() {
    let mut world = world(limits()).await;
    let (config, serial) = world.agent(1);
    let client = world.dial(&config).await.expect("connects");
    let mut connection = world.next().await;
    let info = connection.info().clone();
    assert_eq!(info.peer(), Some(Peer::Agent(DeviceId::from_bytes([1; 16]))));
    assert_eq!(info.certificate_serial(), Some(serial));
    assert_eq!(info.address, client.get_ref().0.local_addr().expect("an address"));
    let exporter = client.get_ref().1.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", None);
    assert_eq!(info.exporter, exporter.expect("an exporter"));
    assert_ne!(info.exporter, [0; 32]);

    let (mut read, mut write) = tokio::io::split(client);
    write.write_all(&[7; 100]).await.expect("writes");
    let mut bytes = [0; 100];
    connection.read_exact(&mut bytes).await.expect("reads");
    assert_eq!(bytes, [7; 100]);
    connection.write_all(b"answer").await.expect("writes");
    connection.flush().await.expect("flushes");
    let mut answer = [0; 6];
    read.read_exact(&mut answer).await.expect("reads");
    assert_eq!(&answer, b"answer");
}

#[tokio::test]
async fn nobody_without_a_certificate_gets_a_byte() {
    let mut world = world(limits()).await;
    let stranger = enrolment_client(world.pki.pin(), world.pki.clock()).expect("a client");
    gets_nothing(world.dial(&stranger).await).await;
    let (person, _) = world.pki.person(Role::Admin, PersonId::from_bytes([1; 16]));
    gets_nothing(world.dial(&world.client(&person)).await).await;
    world.wait_for(|c| &c.failed, 2).await;
    assert!(timeout(Duration::from_millis(50), world.incoming.next()).await.is_err());
}

#[tokio::test]
async fn a_name_of_another_population_is_refused_although_the_configuration_let_it_in() {
    let pki = TestPki::new("evidence.example.com", NOW);
    let config = listener_config(&pki, Population::People, &[]);
    let audience =
        Audience::Holders { trust_domain: pki.trust_domain.clone(), population: Population::Agents };
    let world = world_of(pki, config, audience, limits()).await;
    let (person, _) = world.pki.person(Role::Admin, PersonId::from_bytes([1; 16]));
    gets_nothing(world.dial(&world.client(&person)).await).await;
    world.wait_for(|c| &c.refused, 1).await;
}

#[tokio::test]
async fn a_new_configuration_holds_from_the_next_connection_on() {
    let mut world = world(limits()).await;
    let (config, serial) = world.agent(1);
    let (other, _) = world.agent(2);
    let mut before = world.dial(&config).await.expect("connects");
    let mut open = world.next().await;

    world.config.send(listener_config(&world.pki, Population::Agents, &[serial])).expect("is listened to");
    gets_nothing(world.dial(&config).await).await;
    world.wait_for(|c| &c.failed, 1).await;
    let _other = world.dial(&other).await.expect("connects");
    assert_eq!(world.next().await.info().peer(), Some(Peer::Agent(DeviceId::from_bytes([2; 16]))));

    before.write_all(b"still here").await.expect("writes");
    let mut bytes = [0; 10];
    open.read_exact(&mut bytes).await.expect("an open connection keeps its configuration");
}

#[tokio::test]
async fn a_silent_client_is_dropped_and_keeps_nobody_out() {
    let handshake = Duration::from_millis(300);
    let mut world = world(Limits { handshake, ..limits() }).await;
    let mut silent = TcpStream::connect(world.address).await.expect("connects");
    let (config, _) = world.agent(1);
    let began = Instant::now();
    let _client = world.dial(&config).await.expect("connects");
    world.next().await;
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE, silent.read_to_end(&mut bytes)).await.expect("dropped in time");
    assert!(bytes.is_empty() && read.is_ok_and(|n| n == 0));
    assert!(began.elapsed() >= handshake);
    world.wait_for(|c| &c.failed, 1).await;
}

#[tokio::test]
async fn of_too_many_handshakes_the_oldest_go() {
    for limits in [Limits { handshakes: 4, ..limits() }, Limits { handshakes_per_address: 4, ..limits() }] {
        let mut world = world(limits).await;
        let mut silent = Vec::new();
        for _ in 0..40 {
            silent.push(TcpStream::connect(world.address).await.expect("connects"));
        }
        let (config, _) = world.agent(1);
        let _client = world.dial(&config).await.expect("a good client gets in");
        world.next().await;
        // 40 silent ones and a good one, of which four may be under way: 37 had to go.
        world.wait_for(|c| &c.dropped, 37).await;
        assert_eq!(world.counters.dropped.load(Ordering::Relaxed), 37);
        let mut bytes = Vec::new();
        let oldest = timeout(PATIENCE, silent[0].read_to_end(&mut bytes)).await;
        assert!(oldest.is_ok(), "the oldest is closed long before its deadline");
    }
}

#[tokio::test]
async fn after_the_handshake_a_client_must_begin_to_speak() {
    let preface = Duration::from_millis(300);
    let mut world = world(Limits { preface, ..limits() }).await;
    let (config, _) = world.agent(1);
    let mut client = world.dial(&config).await.expect("connects");
    let mut connection = world.next().await;
    let began = Instant::now();
    let drip = tokio::spawn(async move {
        // One byte now and then must not count as speaking.
        while client.write_all(b"P").await.is_ok() && client.flush().await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    });
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE, connection.read_to_end(&mut bytes)).await.expect("cut in time");
    assert_eq!(read.expect_err("cut").kind(), io::ErrorKind::TimedOut);
    assert!(began.elapsed() < preface * 10 && bytes.len() < PREFACE_BYTES_OF_TEST);
    drop(connection);
    drip.await.expect("ends");
}

/// HTTP/2's preface is 24 bytes, the head of a frame 9.
const PREFACE_BYTES_OF_TEST: usize = 33;

#[tokio::test]
async fn whoever_has_spoken_may_be_quiet() {
    let preface = Duration::from_millis(200);
    let mut world = world(Limits { preface, ..limits() }).await;
    let (config, _) = world.agent(1);
    let mut client = world.dial(&config).await.expect("connects");
    client.write_all(&[1; PREFACE_BYTES_OF_TEST]).await.expect("writes");
    let mut connection = world.next().await;
    let mut bytes = [0; PREFACE_BYTES_OF_TEST];
    connection.read_exact(&mut bytes).await.expect("reads");
    let mut more = [0; 1];
    assert!(timeout(preface * 3, connection.read(&mut more)).await.is_err(), "still waiting, not cut");
}

#[tokio::test]
async fn one_peer_has_so_many_connections_and_no_more() {
    let mut world = world(Limits { connections_per_peer: 2, ..limits() }).await;
    let (config, _) = world.agent(1);
    let (other, _) = world.agent(2);
    let mut clients = Vec::new();
    for _ in 0..2 {
        clients.push(world.dial(&config).await.expect("connects"));
    }
    let held = [world.next().await, world.next().await];
    gets_nothing(world.dial(&config).await).await;
    world.wait_for(|c| &c.refused, 1).await;
    clients.push(world.dial(&other).await.expect("connects"));
    world.next().await;
    drop(held);
    clients.push(world.dial(&config).await.expect("connects"));
    assert_eq!(world.next().await.info().peer(), Some(Peer::Agent(DeviceId::from_bytes([1; 16]))));
}

#[tokio::test]
async fn where_nobody_is_known_an_address_has_so_many_connections() {
    let pki = TestPki::new("evidence.example.com", NOW);
    let config = certs::open_listener(&pki.server("127.0.0.1"), pki.clock()).expect("a listener");
    let limits = Limits { connections_per_address: 2, ..limits() };
    let mut world = world_of(pki, config, Audience::Anybody, limits).await;
    let stranger = enrolment_client(world.pki.pin(), world.pki.clock()).expect("a client");
    let mut clients = Vec::new();
    for _ in 0..2 {
        clients.push(world.dial(&stranger).await.expect("connects"));
    }
    let held = [world.next().await, world.next().await];
    gets_nothing(world.dial(&stranger).await).await;
    world.wait_for(|c| &c.refused, 1).await;
    drop(held);
    clients.push(world.dial(&stranger).await.expect("connects"));
    world.next().await;
}

#[tokio::test]
async fn no_connection_lives_longer_than_it_may_whatever_it_says() {
    let life = Duration::from_millis(400);
    let mut world = world(Limits { life, ..limits() }).await;
    let (config, _) = world.agent(1);
    let mut client = world.dial(&config).await.expect("connects");
    let mut connection = world.next().await;
    let began = Instant::now();
    let talking = tokio::spawn(async move {
        while client.write_all(&[1; 100]).await.is_ok() && client.flush().await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    });
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE, connection.read_to_end(&mut bytes)).await.expect("cut in time");
    assert_eq!(read.expect_err("cut").kind(), io::ErrorKind::TimedOut);
    assert!(began.elapsed() >= life / 2 && bytes.len() > PREFACE_BYTES_OF_TEST, "{}", bytes.len());
    drop(connection);
    talking.await.expect("ends");
}

#[tokio::test]
async fn who_takes_nothing_of_what_is_written_is_cut() {
    let stall = Duration::from_millis(300);
    let mut world = world(Limits { stall, ..limits() }).await;
    let (config, _) = world.agent(1);
    // It stays and never reads.
    let _client = world.dial(&config).await.expect("connects");
    let mut connection = world.next().await;
    let writing = async {
        loop {
            if let Err(error) = connection.write_all(&vec![7; 1 << 16]).await {
                return error.kind();
            }
        }
    };
    assert_eq!(timeout(PATIENCE, writing).await.expect("cut in time"), io::ErrorKind::TimedOut);
    assert_eq!(
        timeout(PATIENCE, connection.shutdown()).await.expect("cut").expect_err("cut").kind(),
        io::ErrorKind::TimedOut
    );
}

#[tokio::test]
async fn a_full_listener_accepts_again_when_a_connection_ends() {
    let mut world = world(Limits { connections: 1, ..limits() }).await;
    let (config, _) = world.agent(1);
    let _first = world.dial(&config).await.expect("connects");
    let held = world.next().await;
    let waiting = world.dial(&config);
    let freeing = async {
        sleep(Duration::from_millis(200)).await;
        assert_eq!(world.counters.connected.load(Ordering::Relaxed), 1);
        drop(held);
    };
    let (second, ()) = tokio::join!(waiting, freeing);
    second.expect("connects");
    world.next().await;
}

#[tokio::test]
async fn dropping_the_incoming_closes_the_listener() {
    let world = world(limits()).await;
    drop(world.incoming);
    let closed = timeout(PATIENCE, async {
        while TcpStream::connect(world.address).await.is_ok() {
            sleep(Duration::from_millis(5)).await;
        }
    });
    closed.await.expect("the port closes");
}

/// Fails with each error in turn, then accepts.
struct Failing {
    errors: Mutex<Vec<io::Error>>,
    tcp: TcpListener,
}

impl Accept for Failing {
    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let error = self.errors.lock().expect("not poisoned").pop();
        match error {
            Some(error) => Err(error),
            None => self.tcp.accept().await,
        }
    }
}

async fn accept_after(errors: Vec<io::Error>) -> (Duration, u64) {
    let pki = TestPki::new("evidence.example.com", NOW);
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = tcp.local_addr().expect("an address");
    let config = certs::open_listener(&pki.server("127.0.0.1"), pki.clock()).expect("a listener");
    let (_config, receiver) = watch::channel(config);
    let counters = Arc::new(Counters::default());
    let source = Failing { errors: Mutex::new(errors), tcp };
    let began = Instant::now();
    let mut incoming = listen(source, receiver, Audience::Anybody, limits(), counters.clone());
    let client = enrolment_client(pki.pin(), pki.clock()).expect("a client");
    let tcp = TcpStream::connect(address).await.expect("connects");
    let _client = TlsConnector::from(client).connect(address.ip().into(), tcp).await.expect("TLS");
    let connection = incoming.next().await.expect("open").expect("a connection");
    assert_eq!(connection.info().peer(), None);
    (began.elapsed(), counters.accept_errors.load(Ordering::Relaxed))
}

#[tokio::test]
async fn without_descriptors_the_loop_waits_and_goes_on() {
    // EMFILE and ENFILE have these numbers on Linux and macOS; ENOMEM too.
    let errors = [24, 23, 12].map(io::Error::from_raw_os_error);
    let (took, counted) = accept_after(errors.into()).await;
    assert!(took >= ACCEPT_PAUSE * 3, "{took:?}");
    assert_eq!(counted, 3);
}

#[tokio::test]
async fn a_connection_that_died_in_the_queue_costs_nothing() {
    let errors = (0..1000).map(|_| io::ErrorKind::ConnectionAborted.into()).collect();
    let (took, counted) = accept_after(errors).await;
    assert!(took < ACCEPT_PAUSE * 100, "{took:?}");
    assert_eq!(counted, 0);
}

#[test]
fn the_share_of_the_file_limit_is_bounded() {
    assert_eq!(Limits::for_open_files(1000).connections, 600);
    assert_eq!(Limits::for_open_files(0).connections, 1);
    assert_eq!(Limits::for_open_files(u64::MAX).connections, CONNECTIONS_MAX);
}
