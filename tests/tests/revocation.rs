//! Revocation over real processes: what is open is cut, what is new is refused, and nothing of it waits for a restart.

#![expect(clippy::expect_used, reason = "a test stops at what it cannot do")]

use std::fs;
use std::time::{Duration, Instant};

use certs::{Population, Profile, RevocationOrder, TrustedAuthority, list_number};
use evidence::ids::DeviceId;
use evidence::leaf::Kind;
use evidence::time::Timestamp;
use proto::{DevicesRequest, PostureRequest, RenewSelfRequest, WhoAmIRequest};
use tests::device::Device;
use tests::figures;
use tests::kept::entries_of;
use tests::programs;
use tests::world::{Person, World, write_secret};
use tonic::Code;

/// The promise. The figures are reported; the machine is shared.
const EFFECT_MAX: Duration = Duration::from_secs(5);
/// Streams that are open when the revocation comes: every day, and in the long form.
const LIVE: usize = 20;
const LIVE_LONG: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_device_is_cut_off_at_once_and_what_it_signed_before_stays() {
    let world = World::new(programs!());
    let running = world.serve();
    let number = || list_number(&fs::read(world.data.join("certs/crl-agents.der")).expect("a list"));
    let before = number().expect("a number");
    let live = if figures::long() { LIVE_LONG } else { LIVE };
    let mut devices = Vec::new();
    for _ in 0..live {
        let mut device = Device::enrol(&world, &world.token()).await;
        let (mut stream, _) = device.greet().await;
        let statement = device.sign_next();
        stream.store(&statement).await;
        devices.push((device, stream));
    }
    let (mut took, mut told) = (Vec::new(), 0);
    let mut still = devices.split_off(live / 2);
    for (device, stream) in &mut devices {
        let begun = Instant::now();
        let id = device.id.to_string();
        let line = ["revoke", "--device", &id, "--reason", "stolen", "--detail", "left in a train", "--json"];
        world.cli(&world.admin, &line).json();
        // The open stream ends by itself: nothing is sent on it.
        let ended = loop {
            match stream.next().await {
                Ok(_) => {}
                Err(status) => break status,
            }
        };
        took.push(begun.elapsed());
        assert_ne!(ended.code(), Code::Ok);
        // A new handshake: in TLS 1.3 a client hears of it with its first call.
        let refused = match device.open().await {
            Err(status) => status,
            Ok(mut stream) => stream.next().await.expect_err("a revoked device was answered"),
        };
        // Nearly always it is told why; a reset that overtakes the alert on the way says nothing.
        told += usize::from(format!("{refused:?}").contains("evoked"));
    }
    // The others never noticed.
    for (device, stream) in &mut still {
        let statement = device.sign_next();
        stream.store(&statement).await;
    }
    assert!(told > 0);
    figures::report("revoked devices told why, of those that tried again", format!("{told} of {}", live / 2));
    took.sort();
    let rank = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)].as_millis();
    figures::report("revocation, command to cut stream, p50, ms", rank(50));
    figures::report("revocation, command to cut stream, p99, ms", rank(99));
    figures::report("revocation, live streams", live);
    assert!(took.iter().all(|took| *took < EFFECT_MAX), "{took:?}");
    assert!(number().expect("a number") > before, "the published list's number grows");
    // Twice is refused, and changes nothing.
    let id = devices[0].0.id.to_string();
    let again = world.cli(&world.admin, &["revoke", "--device", &id, "--reason", "lost"]);
    assert_eq!(again.code, Some(2));
    assert!(again.err.contains("revoked already"), "{}", again.err);
    drop((devices, still));
    running.stop();
    assert_eq!(entries_of(&world, Kind::REVOKE), live / 2);
    assert_eq!(entries_of(&world, Kind::ATTESTATION), live + live - live / 2);
    world.fsck();
    // Nothing is forgotten at a restart.
    let running = world.serve();
    let device: DeviceId = id.parse().expect("a device");
    let listed = world.cli(&world.admin, &["devices", "--json"]).json();
    let row = listed["devices"].as_array().expect("devices").iter().find(|row| row["device"] == id.as_str());
    assert_eq!(row.expect("the device")["state"], "revoked", "{device}");
    running.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_agent_keeps_its_spool_and_says_why() {
    let world = World::new(programs!());
    let running = world.serve();
    let enrolled = world.enrol_agent("laptop", &world.token());
    let id = enrolled["device"].as_str().expect("a device").to_owned();
    world.cli(&world.admin, &["revoke", "--device", &id, "--reason", "lost"]).ok();
    let attempt = world.agent("laptop", &["once"]);
    assert_ne!(attempt.code, Some(0), "{}", attempt.out);
    assert!(attempt.err.contains("revoked"), "{}", attempt.err);
    let status = world.agent("laptop", &["status", "--json"]);
    assert!(status.out.contains("keys are revoked"), "{}", status.out);
    let told: serde_json::Value = serde_json::from_str(&status.out).expect("JSON");
    assert!(told["waiting"].as_u64().expect("a number") >= 1, "the statement is kept: {}", status.out);
    let doctor = world.agent("laptop", &["doctor"]);
    assert!(doctor.out.contains("keys are revoked"), "{}", doctor.out);
    running.stop();
    assert_eq!(entries_of(&world, Kind::ATTESTATION), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_who_left_loses_every_call_at_once_and_can_sign_nothing() {
    let world = World::new(programs!());
    world.admit_people();
    let running = world.serve();
    let mut analyst = world.analyst.connect().await;
    analyst.people.who_am_i(WhoAmIRequest {}).await.expect("still there");
    let id = world.analyst.profile().person.to_string();
    // Not by an analyst, not by themselves, and never the last admin.
    for (who, person, words) in [
        (&world.analyst, &world.admin, "it takes an admin"),
        (&world.auditor, &world.analyst, "it takes an admin"),
        (&world.admin, &world.admin, "the only admin"),
    ] {
        let named = person.profile().person.to_string();
        let ran = world.cli(who, &["revoke", "--person", &named, "--reason", "other"]);
        assert_eq!(ran.code, Some(2));
        assert!(ran.err.contains(words), "{}", ran.err);
    }
    world.cli(&world.admin, &["revoke", "--person", &id, "--reason", "left"]).ok();
    // The open connection is cut; whatever is called on it fails, renewal included.
    analyst.people.devices(DevicesRequest::default()).await.expect_err("cut");
    analyst.people.renew(RenewSelfRequest {}).await.expect_err("cut");
    let ran = world.cli(&world.analyst, &["devices"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("keys are revoked"), "{}", ran.err);
    // An act they signed is refused whoever carries it.
    let mut admin = world.admin.connect().await;
    let device = Device::enrol(&world, &world.token()).await;
    let retire =
        evidence::acts::Retire { device: device.id, effective_at: tests::world::now(), detail: None };
    let act = evidence::acts::Act::sign(
        evidence::acts::Body::Retire(retire),
        tests::world::ORIGIN,
        evidence::acts::ActId::from_bytes(tests::world::random()),
        tests::world::now(),
        &world.analyst.keys().signing,
    );
    let refused = admin.put_as(Kind::RETIRE, act.encode()).await.expect_err("a revoked key signs nothing");
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    // Nor does the collector's own machine renew them.
    let public = world.analyst.public.display().to_string();
    let out = world.file("again.profile").display().to_string();
    let ran = world.collector(&["user", "renew", "--public-key", &public, "--profile-out", &out]);
    assert_eq!(ran.code, Some(2), "{}", ran.out);
    running.stop();
}

/// Two authorities of one listener, as during a rollover; the list of one is bad. Its holders stay out, the others come in.
/// A list, and how it must be refused.
type BadList<'a> = (&'a str, Option<Vec<u8>>, fn(&certs::ListError) -> bool);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_list_keeps_out_its_own_authoritys_holders_only() {
    use certs::test_pki::TestPki;
    use certs::{Candidate, Issuer as _, ListError, usable};
    const HOUR: u64 = 3_600_000;
    let now = Timestamp(1_800_000_000_000);
    let (good, bad) = (TestPki::new("evidence.example.com", now), TestPki::new("evidence.example.com", now));
    let list = |pki: &TestPki, number, at: Timestamp| {
        let order = RevocationOrder { number, now: at, revoked: &[] };
        pki.authorities.agents.revocation_list(&order).expect("a list").der.to_vec()
    };
    let certificate = |pki: &TestPki| pki.authority(Population::Agents).certificate().clone();
    let early = Timestamp(now.0 - 25 * HOUR);
    let cut = {
        let whole = list(&bad, 9, now);
        whole[..whole.len() - 1].to_vec()
    };
    let flipped = {
        let mut whole = list(&bad, 9, now);
        let last = whole.len() - 1;
        whole[last] ^= 1;
        whole
    };
    let cases: Vec<BadList> = vec![
        ("ended", Some(list(&bad, 9, early)), |error| matches!(error, ListError::Ended(_))),
        ("missing", None, |error| *error == ListError::Missing),
        ("rubbish", Some(b"rubbish".to_vec()), |error| *error == ListError::Unreadable),
        ("empty", Some(Vec::new()), |error| *error == ListError::Unreadable),
        ("cut", Some(cut), |error| *error == ListError::Unreadable),
        ("flipped", Some(flipped), |error| matches!(error, ListError::Foreign | ListError::Unreadable)),
        ("another's", Some(list(&good, 9, now)), |error| *error == ListError::Foreign),
        ("rolled back", Some(list(&bad, 4, now)), |error| {
            *error == ListError::RolledBack { found: 4, known: 5 }
        }),
    ];
    let count = cases.len();
    for (what, found, expected) in cases {
        let candidates = vec![
            Candidate { certificate: certificate(&good), list: Some(list(&good, 5, now)), number_min: 5 },
            Candidate { certificate: certificate(&bad), list: found, number_min: 5 },
        ];
        let (trusted, refused) = usable(candidates, now);
        assert_eq!((trusted.len(), refused.len()), (1, 1), "{what}");
        assert!(expected(&refused[0].1), "{what}: {:?}", refused[0].1);
        assert!(connects(&good, &trusted, &good).await, "{what}: the other authority's holders get in");
        assert!(!connects(&good, &trusted, &bad).await, "{what}: this one's do not");
    }
    // What rustls itself does with an ended list, should one get so far.
    let ended =
        TrustedAuthority { certificate: certificate(&bad), revocation_list: list(&bad, 9, early).into() };
    assert!(!connects(&good, &[ended], &bad).await);
    figures::report("bad revocation lists of one authority, other authority's holders let in", count);
}

/// Whether an agent of `holder` gets through the handshake of a listener that trusts `trusted`.
async fn connects(
    server: &certs::test_pki::TestPki,
    trusted: &[TrustedAuthority],
    holder: &certs::test_pki::TestPki,
) -> bool {
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let identity = server.server("127.0.0.1");
    let config = certs::mutual_listener(&identity, trusted, server.clock()).expect("a configuration");
    let client = holder.agent(DeviceId::from_bytes([3; 16])).0;
    let client = certs::mutual_client(&client, server.root(), server.clock()).expect("a client");
    let (near, far) = tokio::io::duplex(1 << 16);
    let accepted = tokio::spawn(async move {
        let mut stream = tokio_rustls::TlsAcceptor::from(config).accept(far).await?;
        stream.write_all(b"in").await?;
        stream.flush().await
    });
    let name = rustls::pki_types::ServerName::try_from("127.0.0.1").expect("a name");
    let mut read = [0; 2];
    let heard = match tokio_rustls::TlsConnector::from(Arc::clone(&client)).connect(name, near).await {
        Ok(mut stream) => stream.read_exact(&mut read).await.is_ok(),
        Err(_) => false,
    };
    accepted.await.expect("no panic").is_ok() && heard
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looks_at_a_device_are_entries_and_other_reads_one_summary_a_day() {
    let world = World::new(programs!());
    world.admit_people();
    let running = world.serve();
    let device = Device::enrol(&world, &world.token()).await;
    let other = Device::enrol(&world, &world.token()).await;
    let posture =
        |device: &Device| PostureRequest { device: device.id.to_string(), ..PostureRequest::default() };
    let size = async || world.admin.connect().await.checkpoint(0).await.0.size;
    let mut analyst = world.analyst.connect().await;
    let before = size().await;
    // The first look of a person at a device is an entry, before the answer; the second is not.
    for _ in 0..3 {
        analyst.people.posture(posture(&device)).await.expect("an answer");
    }
    analyst.people.posture(posture(&other)).await.expect("an answer");
    world.admin.connect().await.people.posture(posture(&device)).await.expect("an answer");
    analyst.people.posture(PostureRequest::default()).await.expect("everybody's, nobody by name");
    analyst.people.devices(DevicesRequest::default()).await.expect("an answer");
    // Who is not there cannot be looked at.
    let nobody =
        PostureRequest { device: DeviceId::from_bytes([9; 16]).to_string(), ..PostureRequest::default() };
    analyst.people.posture(nobody).await.expect("an answer of no rows");
    let said = world.cli(&world.admin, &["access", "--json"]).json();
    let rows = said["access"].as_array().expect("rows").clone();
    let looks: Vec<_> = rows.iter().filter(|row| row["device"].is_string()).collect();
    let by = |person: &Person| {
        let id = person.profile().person.to_string();
        looks.iter().filter(|row| row["person"] == id.as_str()).count()
    };
    assert_eq!((looks.len(), by(&world.analyst), by(&world.admin)), (3, 2, 1), "{said}");
    assert!(looks.iter().all(|row| row["index"].as_u64().is_some_and(|index| index >= before)), "{said}");
    // Nobody but an admin is told.
    for person in [&world.analyst, &world.auditor] {
        let ran = world.cli(person, &["access"]);
        assert!(ran.code == Some(2) && ran.err.contains("an admin may"), "{}", ran.err);
    }
    running.stop();
    // The day's counts became entries at the stop.
    assert_eq!(
        entries_of(&world, Kind::ACCESS_SUMMARY),
        3 + 2,
        "three looks; the days of the analyst and the admin"
    );
    let running = world.serve();
    let said = world.cli(&world.admin, &["access", "--json"]).json();
    let analyst = world.analyst.profile().person.to_string();
    let day =
        said["access"].as_array().expect("rows").iter().find(|row| {
            row["person"] == analyst.as_str() && row["device"].is_null() && row["index"].is_u64()
        });
    let calls = &day.expect("the analyst's day")["calls"];
    assert_eq!(*calls, serde_json::json!([{"call": "Devices", "count": 1}, {"call": "Posture", "count": 6}]));
    running.stop();
    world.fsck();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_renew_themselves_until_their_certificate_has_ended() {
    let world = World::new(programs!());
    let running = world.serve();
    // A certificate with less than a third of its life left, by the authority's own key, as the collector has it.
    let make = |from: u64, life: u64| reissue(&world, &world.admin, from, life);
    let ends = |profile: &certs::Profile| profile.holds().expect("a certificate").1;
    make(9, 11);
    let late = world.admin.profile();
    world.cli(&world.admin, &["devices"]).ok();
    let fresh = world.admin.profile();
    assert!(ends(&fresh).0 > ends(&late).0 + 8 * 3_600_000, "renewed by the way");
    assert_eq!(Profile { certificate: late.certificate.clone(), ..fresh.clone() }, late);
    // Enough left: left alone.
    world.cli(&world.admin, &["devices"]).ok();
    assert_eq!(world.admin.profile(), fresh);
    make(12, 11);
    let ran = world.cli(&world.admin, &["devices"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("user renew"), "{}", ran.err);
    running.stop();
}

/// Gives a person a certificate that was issued so many hours ago for a life of so many, by the authority's own key.
fn reissue(world: &World, person: &Person, hours_ago: u64, life: u64) {
    use certs::{IssuingAuthority, Order, Serial, Subject, TlsKey, pem};
    let read = |name: &str| fs::read_to_string(world.data.join(name)).expect("a file");
    let key = TlsKey::from_pem(&read("keys/ca-people.key")).expect("a key");
    let certificate = pem::certificate(&read("certs/people.pem")).expect("a certificate");
    let domain = tests::world::TRUST_DOMAIN.parse().expect("a domain");
    let authority =
        IssuingAuthority::open(Population::People, domain, certificate, key).expect("an authority");
    let profile = person.profile();
    let keys = person.keys();
    let order = Order {
        subject: &Subject::Person(certs::Role::Admin, profile.person),
        public_key: keys.tls.public(),
        serial: Serial::from_random(tests::world::random()),
        now: Timestamp(tests::world::now().0 - hours_ago * 3_600_000),
        lifetime: Duration::from_hours(life),
    };
    let certificate = certs::Issuer::issue(&authority, &order).expect("a certificate").certificate;
    fs::write(&person.profile, Profile { certificate, ..profile }.encode()).expect("a profile");
}

#[test]
fn a_key_under_a_passphrase_is_used_by_both_programs() {
    let world = World::new(programs!());
    let (right, wrong) = (world.file("right"), world.file("wrong"));
    write_secret(&right, b"correct horse battery\n");
    write_secret(&wrong, b"incorrect horse battery\n");
    let path = |name: &str| world.file(name).display().to_string();
    let (right, wrong) = (path("right"), path("wrong"));
    // A new passphrase for the first admin's old key, which had none and says so.
    let protect = ["key", "protect", "--out", &path("admin2.key"), "--new-passphrase-file", &right];
    let ran = world.cli(&world.admin, &protect);
    assert!(ran.code == Some(0) && ran.err.contains("has no passphrase"), "{}", ran.err);
    let admin = Person { key: world.file("admin2.key"), ..world.admin.clone() };
    let running = world.serve();
    let ran = world.cli(&admin, &["devices", "--passphrase-file", &right]);
    assert!(ran.code == Some(0) && ran.err.is_empty(), "{}", ran.err);
    let ran = world.cli(&admin, &["devices", "--passphrase-file", &wrong]);
    assert!(ran.code == Some(2) && ran.err.contains("the passphrase is wrong"), "{}", ran.err);
    let mut command = world.collector_command(&["token", "create", "--class", "laptop", "--group", "office"]);
    command.arg("--key").arg(&admin.key).env("TALLYSTICK_PASSPHRASE_FILE", &wrong);
    let ran = tests::process::run_command(command);
    assert!(ran.code == Some(2) && ran.err.contains("the passphrase is wrong"), "{}", ran.err);
    let mut command = world.collector_command(&["token", "create", "--class", "laptop", "--group", "office"]);
    command.arg("--key").arg(&admin.key).env("TALLYSTICK_PASSPHRASE_FILE", &right);
    assert_eq!(tests::process::run_command(command).code, Some(0));
    // A new key: too short a passphrase makes nothing.
    write_secret(&world.file("short"), b"horse\n");
    let new = |passphrase: &str, out: &str| {
        world.cli(&admin, &["key", "new", "--out", &path(out), "--passphrase-file", &path(passphrase)])
    };
    let ran = new("short", "new.key");
    assert!(ran.code == Some(2) && ran.err.contains("at least 12"), "{}", ran.err);
    assert!(!world.file("new.key").exists());
    new("right", "new.key").ok();
    let text = fs::read_to_string(world.file("new.key")).expect("a file");
    assert!(text.contains("tallystick/key/v2") && !text.contains("PRIVATE"), "{text}");
    running.stop();
}
