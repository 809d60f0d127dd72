//! Attacks on the listeners of a running collector: connections that say nothing, little or too much. While each lasts, a
//! good device must get in, the collector must not grow, and what attacks must be cut where a limit says so.

#![expect(clippy::expect_used, clippy::panic, reason = "a test stops at what it cannot do")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use proto::to_agent::Item as In;
use tests::device::Device;
use tests::figures::{long, report};
use tests::kept::statements;
use tests::process::{PATIENCE, Running};
use tests::programs;
use tests::raw_h2::{Flooded, Raw, call, flag, frame, header_block, kind, stream_id, tcp_from};
use tests::watched::{processor_seconds, quantile, resident_kib};
use tests::world::{Settings, World};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::Code;

/// The call whose stream devices submit on.
const SUBMIT: &str = "/tallystick.v1.Ingest/Submit";
/// Path of a call that anybody may make.
const HEALTH: &str = "/grpc.health.v1.Health/Check";
/// ENHANCE_YOUR_CALM (RFC 9113, 7).
const CALM: u32 = 11;
/// How much a collector may grow under one attack, KiB: 64 MiB, far more than seen and far less than what is thrown at it.
const GROWTH_KIB_MAX: u64 = 64 << 10;
/// How long the limits of a listener take to cut a slow client, with a busy machine's delay.
const CUT_MAX: Duration = Duration::from_secs(40);

/// How many in the daily form, and how many in the long one.
fn number(daily: u64, in_long: u64) -> u64 {
    if long() { in_long } else { daily }
}

/// A running collector with one device.
struct Target {
    world: World,
    running: Running,
    device: Device,
}

impl Target {
    async fn new() -> Self {
        let world = World::with(programs!(), &Settings { quotas: true, ..Settings::default() });
        let running = world.serve();
        let device = Device::enrol(&world, &world.token()).await;
        Self { world, running, device }
    }

    fn resident_kib(&self) -> u64 {
        resident_kib(self.running.id())
    }

    /// How long a good device takes from nothing to its greeting's answer.
    async fn greeting(&self) -> Duration {
        let begun = Instant::now();
        let (_submit, _welcome) = self.device.greet().await;
        begun.elapsed()
    }

    /// A connection of the device, its preface sent.
    async fn raw(&self) -> Raw {
        self.raw_with(&[]).await
    }

    async fn raw_with(&self, settings: &[(u16, u32)]) -> Raw {
        let mut raw = Raw::connect(self.world.agents, self.device.tls()).await.expect("a connection");
        raw.begin(settings).await.expect("the preface");
        raw
    }

    /// After an attack: the device stores a statement, the server ends in order, and the log is sound and complete.
    async fn is_well(mut self) {
        let (mut submit, welcome) = self.device.greet().await;
        assert_eq!(welcome.next_sequence, 0);
        submit.store(&self.device.sign_next()).await;
        drop(submit);
        self.running.stop();
        assert_eq!(self.world.fsck()["sound"], true);
        assert_eq!(statements(&self.world), vec![(self.device.instance, 0)]);
    }
}

fn milliseconds(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

/// An address of this machine of an attacker's own.
fn attacker(number: u64) -> IpAddr {
    let [.., high, low] = number.to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(127, 1, high, low))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_that_are_never_finished_keep_nobody_out() {
    let target = Target::new().await;
    let before = (target.resident_kib(), target.greeting().await);
    let (all, mut silent, mut took) = (number(600, 10_000), Vec::new(), Vec::new());
    for count in 0..all {
        // Forty of one address: more than may be in a handshake at once, from more than one may have.
        silent.push(tcp_from(attacker(count / 40), target.world.agents).await.expect("a connection"));
        if count % (all / 20) == 0 {
            took.push(milliseconds(target.greeting().await));
        }
    }
    let grown = target.resident_kib().saturating_sub(before.0);
    report("silent connections opened at the agents' listener", all);
    report("a good device's greeting before them, ms", format_args!("{:.1}", milliseconds(before.1)));
    let (median, most) = (quantile(&took, 0.5), quantile(&took, 1.0));
    report(
        "a good device's greeting among them, median and most, ms",
        format_args!("{median:.1}, {most:.1}"),
    );
    report("memory grown by them, KiB", grown);
    // Each is closed within its five seconds, though it never says a word.
    let begun = Instant::now();
    for mut tcp in silent {
        let mut bytes = Vec::new();
        let read = timeout(CUT_MAX, tcp.read_to_end(&mut bytes)).await.expect("closed in time");
        assert!(bytes.is_empty(), "{read:?} {bytes:?}");
    }
    report("silent connections all closed after, s", format_args!("{:.1}", begun.elapsed().as_secs_f64()));
    assert!(grown < GROWTH_KIB_MAX, "{grown} KiB");
    target.is_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_cost_so_much_each() {
    let target = Target::new().await;
    // As many connections as one device may have, with one stream each.
    let devices = number(200, 2_000) / 4;
    let mut enrolled = Vec::new();
    for _ in 0..devices {
        enrolled.push(Device::enrol(&target.world, &target.world.token()).await);
    }
    // What is made once for all of them is not theirs.
    target.greeting().await;
    let before = target.resident_kib();
    let mut streams = Vec::new();
    for device in &enrolled {
        for _ in 0..4 {
            streams.push(device.greet().await.0);
        }
    }
    let count = streams.len() as u64;
    let each = (target.resident_kib().saturating_sub(before)) / count;
    report("idle mutual-TLS connections with an open stream", count);
    report("resident memory of each, KiB", each);
    assert!(each < 256, "{each} KiB a connection");
    // One device has no fifth.
    let refused = enrolled.first().expect("a device").open().await;
    assert!(refused.is_err(), "a fifth connection of one device");
    let greeting = target.greeting().await;
    report("a good device's greeting beside them, ms", format_args!("{:.1}", milliseconds(greeting)));
    drop(streams);
    target.is_well().await;
}

/// Floods a connection of the device, and looks at collector and device meanwhile.
async fn flooded(
    target: &Target,
    what: &str,
    count: u64,
    make: impl FnMut(u64) -> Vec<u8> + Send + 'static,
    mut raw: Raw,
    begin: Vec<u8>,
) -> Flooded {
    raw.send(&begin).await.expect("the beginning");
    let (before, cpu) = (target.resident_kib(), processor_seconds(target.running.id()));
    let begun = Instant::now();
    let flood = tokio::spawn(async move { raw.flood(count, Duration::from_secs(5), make).await });
    let mut took = Vec::new();
    let mut peak = before;
    while !flood.is_finished() || took.is_empty() {
        took.push(milliseconds(target.greeting().await));
        peak = peak.max(target.resident_kib());
    }
    let flooded = flood.await.expect("no panic");
    let lasted = begun.elapsed().as_secs_f64();
    let grown = peak.max(target.resident_kib()).saturating_sub(before);
    let cpu = processor_seconds(target.running.id()) - cpu;
    let ended = match &flooded.goaway {
        Some((last, code, text)) => format!("GOAWAY {code} {text:?} after stream {last}"),
        None if flooded.closed => "closed".to_owned(),
        None => "still open".to_owned(),
    };
    report(&format!("{what}: written of {count}"), flooded.written);
    report(&format!("{what}: how it ended"), ended);
    report(
        &format!("{what}: memory grown, KiB; processor, s, of a flood of s; others' greeting, most, ms"),
        format_args!("{grown}; {cpu:.2} of {lasted:.2}; {:.1}", quantile(&took, 1.0)),
    );
    assert!(grown < GROWTH_KIB_MAX, "{what}: {grown} KiB");
    flooded
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_reset_at_once_end_the_connection() {
    let target = Target::new().await;
    let count = number(20_000, 100_000);
    let rapid = |number: u64| {
        let stream = stream_id(number);
        let reset = frame(kind::RST_STREAM, 0, stream, &8_u32.to_be_bytes());
        [call(stream, HEALTH, &[]), reset].concat()
    };
    let raw = target.raw().await;
    let ended = flooded(&target, "rapid reset (HEADERS, RST_STREAM)", count, rapid, raw, Vec::new()).await;
    assert!(ended.closed, "{ended:?}");
    let (last, code, _) = ended.goaway.expect("GOAWAY");
    assert_eq!(code, CALM);
    assert!(u64::from(last) < 2 * 1_000, "looked at {last} streams");

    // The other side resets: each stream says that it is longer than it is (RUSTSEC-2024-0003).
    let wrong = |number: u64| {
        let stream = stream_id(number);
        let headers = call(stream, HEALTH, &[("content-length", "5")]);
        [headers, frame(kind::DATA, flag::END_STREAM, stream, &[0])].concat()
    };
    let raw = target.raw().await;
    let ended =
        flooded(&target, "forced resets (wrong content-length)", count / 5, wrong, raw, Vec::new()).await;
    assert!(ended.closed, "{ended:?}");
    assert_eq!(ended.goaway.map(|(_, code, _)| code), Some(CALM));
    let resets = ended.received.get(usize::from(kind::RST_STREAM)).copied().unwrap_or_default();
    assert!(resets <= 100, "{resets} streams were reset before");
    target.is_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_block_without_end_ends_the_connection() {
    let target = Target::new().await;
    let begin = frame(kind::HEADERS, 0, 1, &header_block(&[(":method", "POST"), (":path", HEALTH)]));
    // 16 KiB of header lines in each frame, and never the last one.
    let lines =
        [("x-filler", "0123456789012345678901234567890123456789012345678901234567890123456789")].repeat(200);
    let block = header_block(&lines);
    let count = number(4 << 10, 64 << 10);
    let more = move |_| frame(kind::CONTINUATION, 0, 1, &block);
    let raw = target.raw().await;
    let ended = flooded(&target, "CONTINUATION without end (16 KiB each)", count, more, raw, begin).await;
    assert!(ended.closed && ended.written < count, "{ended:?}");
    // Many small ones, which carry nothing at all.
    let begin = frame(kind::HEADERS, 0, 1, &header_block(&[(":method", "POST"), (":path", HEALTH)]));
    let count = number(100_000, 1_000_000);
    let raw = target.raw().await;
    let empty = |_| frame(kind::CONTINUATION, 0, 1, &[]);
    let ended = flooded(&target, "empty CONTINUATION without end", count, empty, raw, begin).await;
    assert!(ended.closed, "{ended:?}");
    target.is_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_carry_nothing_end_the_connection_or_cost_little() {
    let target = Target::new().await;
    let count = number(100_000, 1_000_000);
    let raw = target.raw().await;
    let empty = |_| frame(kind::DATA, 0, 1, &[]);
    let ended = flooded(&target, "empty DATA", count, empty, raw, call(1, SUBMIT, &[])).await;
    assert!(ended.closed, "{ended:?}");
    assert_eq!(ended.goaway.map(|(_, code, _)| code), Some(CALM));
    for (what, kind, payload) in [("PING", kind::PING, &[0; 8][..]), ("SETTINGS", kind::SETTINGS, &[][..])] {
        let raw = target.raw().await;
        let bytes = frame(kind, 0, 0, payload);
        let ended = flooded(&target, what, count, move |_| bytes.clone(), raw, Vec::new()).await;
        assert!(ended.closed, "{what}: {ended:?}");
    }
    // It needs no answer, and ends by itself when the window is as large as one can be.
    let raw = target.raw().await;
    let bytes = frame(kind::WINDOW_UPDATE, 0, 0, &(1_u32 << 16).to_be_bytes());
    let ended = flooded(&target, "WINDOW_UPDATE", count, move |_| bytes.clone(), raw, Vec::new()).await;
    assert!(ended.closed, "{ended:?}");
    target.is_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_said_to_be_huge_is_refused_before_it_is_sent() {
    let target = Target::new().await;
    let before = target.resident_kib();
    let mut raws = Vec::new();
    for length in [1_u32 << 30, u32::MAX] {
        let mut raw = target.raw().await;
        // Sixteen at once; of each the head and what the window lets through.
        for number in 0..16 {
            let stream = stream_id(number);
            let head = [&[0], &length.to_be_bytes()[..]].concat();
            raw.send(&[call(stream, SUBMIT, &[]), frame(kind::DATA, 0, stream, &head)].concat())
                .await
                .expect("sent");
        }
        raws.push(raw);
    }
    // Answered at once: the call fails without waiting for the rest.
    let mut refused = 0;
    for raw in &mut raws {
        let answers = async {
            let mut ended = 0;
            while ended < 8 {
                let Some((frame, flags, _, _)) = raw.next().await.expect("a frame") else { break };
                let over =
                    frame == kind::RST_STREAM || (frame == kind::HEADERS && flags & flag::END_STREAM != 0);
                ended += u64::from(over);
            }
            ended
        };
        refused += timeout(PATIENCE, answers).await.expect("answered in time");
    }
    let grown = target.resident_kib().saturating_sub(before);
    report(
        "messages of 1 and 4 GiB announced on 32 streams: refused; memory grown, KiB",
        format_args!("{refused}; {grown}"),
    );
    assert!(refused >= 8, "{refused}");
    assert!(grown < GROWTH_KIB_MAX, "{grown} KiB");
    drop(raws);
    target.is_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_grow_when_they_are_read_take_little() {
    let target = Target::new().await;
    let before = target.resident_kib();
    // Four connections of one device, one stream each: as many as it may have. Numbers of one byte, eight bytes each in
    // memory: as many as fit a message, and more; nothing else that repeats is known to a listener for devices.
    let mut answers = JoinSet::new();
    for numbers in [130_000, 130_000, 1_040_000, 4_000_000] {
        let submit = target.device.open().await.expect("a stream");
        let instance = target.device.instance;
        answers.spawn(async move {
            let mut submit = submit;
            submit.hello(&instance, 0, vec![1; numbers]).await;
            submit.next().await
        });
    }
    let mut refused = 0;
    while let Some(answer) = answers.join_next().await {
        let status = answer.expect("no panic").expect_err("too many");
        assert!(matches!(status.code(), Code::InvalidArgument | Code::OutOfRange), "{status}");
        refused += 1;
    }
    let grown = target.resident_kib().saturating_sub(before);
    report(
        "greetings of up to 4 MiB of numbers: refused; memory grown, KiB",
        format_args!("{refused}; {grown}"),
    );
    assert!(grown < GROWTH_KIB_MAX, "{grown} KiB");

    // Nested a thousand deep, and empty messages without number, where an envelope should be.
    let (mut submit, _) = target.device.greet().await;
    let mut deep = Vec::new();
    for _ in 0..1_000 {
        let length = deep.len();
        let head = if length < 128 {
            vec![0x0a, u8::try_from(length).expect("short")]
        } else {
            vec![
                0x0a,
                u8::try_from(length % 128 + 128).expect("a byte"),
                u8::try_from(length / 128).expect("short"),
            ]
        };
        deep = [head, deep].concat();
        if deep.len() > 16_000 {
            break;
        }
    }
    for bytes in [deep, [0x0a, 0x00].repeat(30_000), [0x0b].repeat(60_000)] {
        let (reason, _) = submit.refused(&bytes).await;
        assert_eq!(reason, proto::RefusedReason::Malformed);
    }
    drop(submit);
    target.is_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_file_descriptors_the_collector_waits_and_comes_back() {
    let world = World::new(programs!());
    let mut command = Command::new("prlimit");
    command.arg("--nofile=256:256").arg(world.programs().collector).args(["serve", "--dir"]).arg(&world.data);
    let mut running = Running::start(command, &world.log());
    world.wait_ready(&mut running);
    let device = Device::enrol(&world, &world.token()).await;
    let mut clients = Vec::new();
    for number in 0..1_000_u64 {
        let to = [world.agents, world.enrol, world.people, world.tiles]
            [usize::try_from(number % 4).expect("small")];
        // The system's queue is full as well after a while: those wait for nothing.
        if let Ok(Ok(tcp)) = timeout(Duration::from_millis(20), tcp_from(attacker(number / 8), to)).await {
            clients.push(tcp);
        }
    }
    let (begun, cpu) = (Instant::now(), processor_seconds(running.id()));
    sleep(Duration::from_secs(4)).await;
    let share = (processor_seconds(running.id()) - cpu) / begun.elapsed().as_secs_f64();
    report("256 file descriptors, connections held", clients.len());
    report("processor time of the collector meanwhile, of one core", format_args!("{:.1} %", share * 100.0));
    assert!(share < 0.5, "{share}");
    drop(clients);
    let begun = Instant::now();
    let (_submit, _) = loop {
        if let Ok(mut submit) = device.open().await {
            submit.hello(&device.instance, 0, Vec::new()).await;
            if let Ok(In::Welcome(welcome)) = submit.next().await {
                break (submit, welcome);
            }
        }
        assert!(begun.elapsed() < PATIENCE, "it does not come back");
    };
    report("a device is served again after, ms", format_args!("{:.0}", milliseconds(begun.elapsed())));
    assert!(running.ended().is_none());
    running.stop();
    assert_eq!(world.fsck()["sound"], true);
}

/// Sends `bytes` one by one, one a second, until the other side closes; how long that took.
async fn drip<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    bytes: Vec<u8>,
) -> Duration {
    let begun = Instant::now();
    let (mut read, mut write) = tokio::io::split(stream);
    let dripping = tokio::spawn(async move {
        for byte in bytes.into_iter().cycle() {
            if write.write_all(&[byte]).await.is_err() || write.flush().await.is_err() {
                return;
            }
            sleep(Duration::from_secs(1)).await;
        }
    });
    let mut heard = Vec::new();
    let read = timeout(CUT_MAX, read.read_to_end(&mut heard)).await;
    assert!(read.is_ok(), "not cut within {CUT_MAX:?}");
    dripping.abort();
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_one_byte_a_second_is_cut() {
    let target = Target::new().await;
    let to = target.world.agents;
    let connect = async |to: SocketAddr| TcpStream::connect(to).await.expect("a connection");
    // The beginning of a TLS record that announces a client's hello.
    let hello = [&[22, 3, 1, 2, 0, 1, 0, 1, 252][..], &[3; 600]].concat();
    let in_handshake = tokio::spawn(drip(connect(to).await, hello));
    let tls = Raw::over(connect(to).await, to, target.device.tls()).await.expect("TLS");
    let in_preface = tokio::spawn(drip(tls.into_stream(), tests::raw_h2::PREFACE.to_vec()));
    // A greeting that never ends, one byte a second: DATA frames of one byte on a stream that was opened well.
    let mut raw = target.raw().await;
    raw.send(&call(1, SUBMIT, &[])).await.expect("sent");
    let begun = Instant::now();
    let (mut read, mut write) = tokio::io::split(raw.into_stream());
    let dripping = tokio::spawn(async move {
        let head = [0_u8, 0, 0, 4, 0];
        for byte in head.into_iter().chain(std::iter::repeat(10)) {
            if write.write_all(&frame(kind::DATA, 0, 1, &[byte])).await.is_err()
                || write.flush().await.is_err()
            {
                return;
            }
            sleep(Duration::from_secs(1)).await;
        }
    });
    let ended = async {
        loop {
            let mut head = [0; 9];
            if read.read_exact(&mut head).await.is_err() {
                return;
            }
            let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
            if read.read_exact(&mut payload).await.is_err() {
                return;
            }
            let trailers = head[3] == kind::HEADERS && head[4] & flag::END_STREAM != 0;
            if trailers || head[3] == kind::RST_STREAM {
                return;
            }
        }
    };
    timeout(CUT_MAX + PATIENCE, ended).await.expect("a greeting of one byte a second is ended");
    let in_message = begun.elapsed();
    dripping.abort();
    let took = [in_handshake.await.expect("cut"), in_preface.await.expect("cut"), in_message];
    let seconds: Vec<String> = took.iter().map(|took| format!("{:.1}", took.as_secs_f64())).collect();
    report("one byte a second in handshake, preface, greeting: cut after, s", seconds.join(", "));
    target.is_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_nothing_keeps_nothing() {
    let mut target = Target::new().await;
    // SETTINGS_INITIAL_WINDOW_SIZE 0: nothing that is answered may be sent.
    let mut raw = target.raw_with(&[(4, 0)]).await;
    // The windows of the collector are as wide as it says once its SETTINGS are acknowledged and it has said so.
    while raw.next().await.expect("a frame").expect("open").0 != kind::SETTINGS {}
    raw.send(&frame(kind::SETTINGS, 1, 0, &[])).await.expect("sent");
    while raw.next().await.expect("a frame").expect("open").0 != kind::WINDOW_UPDATE {}
    let message = |item| {
        use prost::Message as _;
        let bytes = proto::FromAgent { item: Some(item) }.encode_to_vec();
        [&[0][..], &u32::try_from(bytes.len()).expect("short").to_be_bytes(), &bytes].concat()
    };
    let hello = message(proto::from_agent::Item::Hello(proto::Hello {
        instance: target.device.instance.as_bytes().to_vec(),
        anchor_size: 0,
        unproved: Vec::new(),
    }));
    let envelope = target.device.sign_next();
    let envelope = message(proto::from_agent::Item::Envelope(envelope.bytes().to_vec()));
    for number in 0..4 {
        let stream = stream_id(number);
        raw.send(&[call(stream, SUBMIT, &[]), frame(kind::DATA, 0, stream, &hello)].concat())
            .await
            .expect("sent");
        for _ in 0..120 {
            raw.send(&frame(kind::DATA, 0, stream, &envelope)).await.expect("sent");
        }
    }
    // Until the collector has begun to answer on all four.
    let mut begun = 0;
    while begun < 4 {
        let next = timeout(PATIENCE, raw.next()).await.expect("in time").expect("a frame");
        let (frame, _, _, payload) = next.expect("open");
        assert_ne!(frame, kind::GOAWAY, "{}", String::from_utf8_lossy(&payload));
        begun += u32::from(frame == kind::HEADERS);
    }
    // It has as many streams as it may, so that another one tells when they are given up.
    let begun = Instant::now();
    let mut refused = 0;
    loop {
        match target.device.open().await {
            Ok(_) => break,
            Err(status) => assert_eq!(status.code(), Code::ResourceExhausted, "{status}"),
        }
        refused += 1;
        assert!(begun.elapsed() < CUT_MAX + PATIENCE, "four streams that read nothing are kept");
        sleep(Duration::from_millis(500)).await;
    }
    assert!(refused > 0, "the four streams were not counted");
    report(
        "streams that read nothing: given up after, s",
        format_args!("{:.1}", begun.elapsed().as_secs_f64()),
    );
    drop(raw);
    target.running.stop();
    assert_eq!(target.world.fsck()["sound"], true);
    // What was sent again and again is in the log once.
    assert_eq!(statements(&target.world), vec![(target.device.instance, 0)]);
}
