//! Full mutual-TLS handshakes per second of a collector, and what an idle connection takes of its memory, each held against
//! the bare figure of the same run. docs/BENCHMARKS.md says how to read them.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use bench::device::Device;
use bench::handshakes::{Pair, socket_kib};
use bench::installation::{Installation, program};
use bench::machine::{self, Machine};
use bench::numbers::{count, float, median, quantile, spread};
use bench::process::{Process, cpu_of};
use clap::Parser;
use proto::from_agent::Item as Out;
use proto::{FromAgent, Hello};
use rpc::v1::ingest_client::IngestClient;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_stream::wrappers::ReceiverStream;

/// Connections of one device: as many as the collector lets it have.
const OF_ONE: usize = 4;
/// Devices that shake hands at one time: enough that the collector never waits for the network.
const AT_ONCE: usize = 16;
/// Enrolments at one time, below what one address may have.
const ENROLLING: usize = 16;
/// Handshakes in memory, before and after those with the collector.
const BARE: usize = 1_000;
/// An HTTP/2 client's first words: preface and empty SETTINGS. The collector answers only whom it has let in.
const BEGINNING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Measures handshakes with a real collector and memory of idle connections, in rounds.
#[derive(Debug, Parser)]
struct Arguments {
    /// The collector's binary [default: tallystick-collector beside this program].
    #[arg(long, value_name = "FILE")]
    collector: Option<PathBuf>,
    /// Rounds of handshakes.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Handshakes of a round.
    #[arg(long, default_value_t = 4_000)]
    handshakes: usize,
    /// Idle connections; every four take a device of their own.
    #[arg(long, default_value_t = 2_000)]
    connections: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = tokio::runtime::Runtime::new()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(measure(&arguments)));
    match done.and_then(|table| Ok(writeln!(std::io::stdout(), "{table}")?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be closed; there is nobody left to tell.
            let _unheard = writeln!(std::io::stderr(), "connections: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// A connection that the collector has let in.
async fn let_in(address: SocketAddr, tls: Arc<ClientConfig>) -> anyhow::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let mut stream = TlsConnector::from(tls).connect(ServerName::from(address.ip()), tcp).await?;
    stream.write_all(BEGINNING).await?;
    stream.flush().await?;
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.context("the collector closed the connection")?;
    Ok(stream)
}

/// The figures of one round.
struct Round {
    /// Microseconds of a handshake in memory: the server's side, and the client's.
    bare: (f64, f64),
    /// Microseconds of the collector's processor time for one.
    collector_us: f64,
    /// Handshakes per second.
    rate: f64,
    /// Milliseconds of one: p50, p99.
    took: (f64, f64),
}

async fn round(
    arguments: &Arguments,
    pair: &Pair,
    server: &Process,
    address: SocketAddr,
    devices: &[Arc<Device>],
) -> anyhow::Result<Round> {
    let before = pair.bare(BARE)?;
    let cpu = server.cpu()?;
    let begun = Instant::now();
    let each = arguments.handshakes / AT_ONCE;
    let tasks: Vec<_> = devices
        .iter()
        .take(AT_ONCE)
        .cloned()
        .map(|device| {
            tokio::spawn(async move {
                let mut took = Vec::with_capacity(each);
                for _ in 0..each {
                    let begun = Instant::now();
                    let mut stream = let_in(address, Arc::clone(&device.tls)).await?;
                    took.push(begun.elapsed().as_secs_f64() * 1e3);
                    // Its place is given back once the collector has seen the end.
                    stream.shutdown().await?;
                    let mut rest = Vec::new();
                    drop(stream.read_to_end(&mut rest).await);
                }
                anyhow::Ok(took)
            })
        })
        .collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await??);
    }
    let lasted = begun.elapsed().as_secs_f64();
    let collector_us = (server.cpu()?.own - cpu.own) * 1e6 / count(took.len());
    let after = pair.bare(BARE)?;
    Ok(Round {
        bare: (
            f64::midpoint(before.server_us, after.server_us),
            f64::midpoint(before.client_us, after.client_us),
        ),
        collector_us,
        rate: count(took.len()) / lasted,
        took: (quantile(&took, 0.5), quantile(&took, 0.99)),
    })
}

/// KiB of the collector for each idle connection, first without a call, then with an open stream.
async fn idle(server: &Process, address: SocketAddr, devices: &[Arc<Device>]) -> anyhow::Result<(f64, f64)> {
    let all = count(devices.len() * OF_ONE);
    let before = server.memory()?.rss_kib;
    let mut held = Vec::new();
    for device in devices {
        for _ in 0..OF_ONE {
            held.push(let_in(address, Arc::clone(&device.tls)).await?);
        }
    }
    let silent = float(server.memory()?.rss_kib.saturating_sub(before)) / all;
    drop(held);
    // Until all places are given back.
    while let_in(address, Arc::clone(&devices.last().context("a device")?.tls)).await.is_err() {}
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let text = address.to_string().parse()?;
    let mut held = Vec::new();
    for device in devices {
        for _ in 0..OF_ONE {
            let connection = rpc::connect::connect(&text, Arc::clone(&device.tls)).await?;
            let (sender, queue) = mpsc::channel(1);
            let instance = device.instance.as_bytes().to_vec();
            let hello = Out::Hello(Hello { instance, anchor_size: device.anchor.size, unproved: Vec::new() });
            sender.send(FromAgent { item: Some(hello) }).await?;
            let mut client = IngestClient::new(connection.channel);
            let mut answers = client.submit(ReceiverStream::new(queue)).await?.into_inner();
            answers.message().await?.context("no greeting")?;
            held.push((sender, answers));
        }
    }
    let open = float(server.memory()?.rss_kib.saturating_sub(before)) / all;
    Ok((silent, open))
}

async fn measure(arguments: &Arguments) -> anyhow::Result<String> {
    let folder = tempfile::tempdir().context("no temporary directory")?;
    let binary = program(arguments.collector.clone(), "tallystick-collector")?;
    let load = machine::load();
    let socket = socket_kib(arguments.connections).await?;
    let pair = Pair::new()?;
    let session = pair.session_kib(arguments.connections)?;
    let installation = Installation::create(&binary, folder.path())?;
    let server = installation.serve()?;
    let mut devices = Vec::new();
    while devices.len() < (arguments.connections / OF_ONE).max(AT_ONCE) {
        let mut enrolling = Vec::new();
        for _ in 0..ENROLLING {
            let (server, token) = (installation.enrol.clone(), installation.token()?);
            enrolling.push(tokio::spawn(async move { Device::enrol(&server, &token).await }));
        }
        for device in enrolling {
            devices.push(Arc::new(device.await??));
        }
    }
    let address: SocketAddr = installation.agents.to_string().parse()?;
    let generator = cpu_of("self")?.own;
    let mut rounds = Vec::new();
    for _ in 0..arguments.rounds {
        rounds.push(round(arguments, &pair, &server, address, &devices).await?);
    }
    let generator = cpu_of("self")?.own - generator;
    let idle_devices = devices.get(..arguments.connections / OF_ONE).unwrap_or(&devices);
    let (silent, open) = idle(&server, address, idle_devices).await?;
    let (session, socket) =
        (pair.session_kib(arguments.connections)?, socket_kib(arguments.connections).await?);
    server.stop()?;

    let of = |figure: fn(&Round) -> f64| {
        let (least, middle, most) = spread(&rounds.iter().map(figure).collect::<Vec<_>>());
        format!("{middle:.1} ({least:.1} to {most:.1})")
    };
    let ratio = median(&rounds.iter().map(|round| round.bare.0 / round.collector_us).collect::<Vec<_>>());
    let share = |round: &Round| round.rate * (round.bare.0 + round.bare.1) / 1e6;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let reached = median(&rounds.iter().map(share).collect::<Vec<_>>()) / count(cores);
    Ok(format!(
        "{}; load before {load}, after {}\n\
         {} rounds of {} handshakes, {AT_ONCE} devices at once; {} idle connections; load generator {generator:.1} s\n\n\
         | what | figure |\n|---|---|\n\
         | handshake in memory, processor time of the server's side, µs | {} |\n| the same, client's side, µs | {} |\n\
         | collector's processor time for a connection let in, µs | {} |\n| bare by collector's | {ratio:.2} |\n\
         | connections let in per second, both ends on {cores} cores | {} |\n\
         | of what both cores could do with bare handshakes | {reached:.2} |\n\
         | until the collector's first frame, p50, ms | {} |\n| p99, ms | {} |\n\
         | idle connection without a call, KiB | {silent:.1} |\n| with an open stream, KiB | {open:.1} |\n\
         | a TLS session alone, KiB | {session:.1} |\n| an accepted socket alone, KiB | {socket:.1} |\n\
         | idle with a stream by session and socket alone | {:.1} |",
        Machine::here(folder.path()),
        machine::load(),
        rounds.len(),
        arguments.handshakes,
        idle_devices.len() * OF_ONE,
        of(|round| round.bare.0),
        of(|round| round.bare.1),
        of(|round| round.collector_us),
        of(|round| round.rate),
        of(|round| round.took.0),
        of(|round| round.took.1),
        open / (session + socket),
    ))
}
