//! The collector and its witnesses, as processes: cosigned sets, witnesses that lie, are gone or hold another log, an old
//! copy of the log, and the collector killed between the two records of a checkpoint.

#![expect(clippy::expect_used, clippy::panic, reason = "a test stops at what it cannot do")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use certs::pem;
use certs::test_pki::TestPki;
use evidence::note::Note;
use evidence::witness::AddCheckpoint;
use evidence::witness_policy::WitnessPolicy;
use tempfile::TempDir;
use tests::audit::{Audit, line_with};
use tests::device::Device;
use tests::process::{Running, run, wait_for};
use tests::programs;
use tests::witness::{Liar, Says, Witness, install, policy};
use tests::world::{Settings, World, now};

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn world() -> World {
    World::with(programs!(), &Settings::default())
}

/// Size and note of the newest published checkpoint; none while there is none.
async fn published(world: &World) -> (u64, Note) {
    let (checkpoint, reply) = world.admin.connect().await.checkpoint(0).await;
    (checkpoint.size, Note::parse(reply.note.as_bytes()).expect("a note"))
}

/// Stores a statement; gives its index.
async fn store(device: &mut Device) -> u64 {
    let (mut submit, _) = device.greet().await;
    submit.store(&device.sign_next()).await.index
}

/// Waits until an entry is under a published checkpoint.
async fn wait_published(world: &World, index: u64) -> Note {
    let mut caller = world.admin.connect().await;
    for _ in 0..900 {
        let (checkpoint, reply) = caller.checkpoint(0).await;
        if checkpoint.size > index {
            return Note::parse(reply.note.as_bytes()).expect("a note");
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("entry {index} was never published:\n{}", fs::read_to_string(world.log()).expect("the log"));
}

/// Starts the server with an empty log file, so that only this run is read.
fn serve_anew(world: &World) -> Running {
    fs::write(world.log(), "").expect("the log");
    world.serve()
}

fn wait_said(running: &Running, what: &str) {
    wait_for(what, || running.said().contains(what).then_some(()));
}

/// Both verifiers on a set. Gives what they say of a check, and the exit code.
fn verified(world: &World, set: &Path, trust: &Path, check: &str) -> (Option<i32>, [String; 2]) {
    let both = tests::audit::verified(world, set, trust);
    (both[0].code, both.map(|ran| line_with(&ran, check)))
}

/// From the policy to a set, with one device; the trust file asks for `policy`.
async fn exported(world: &World, policy: &Path, trust: &Path) -> PathBuf {
    let mut device = Device::enrol(world, &world.token()).await;
    store(&mut device).await;
    let audit = Audit::begin(world, policy, trust);
    audit.draw();
    audit.export("set")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_witnesses_cosign_a_set_and_both_verifiers_say_so() {
    let world = world();
    let (first, second) = (Witness::new(&world, "first"), Witness::with_tls(&world, "second"));
    let policy_file = install(&world, &policy(&world, &[first.line(), second.line()], "all"));
    world.admit_people();
    let running = world.serve();
    let trust = world.file("trust.json");
    let set = exported(&world, &policy_file, &trust).await;
    let (code, said) = verified(&world, &set, &trust, " witnesses");
    assert_eq!(code, Some(0), "{said:?}");
    for said in said {
        assert!(said.contains("quorum q: cosigned by first") && said.contains(", second"), "{said}");
    }
    let readme = fs::read_to_string(set.join("VERIFY.md")).expect("VERIFY.md");
    assert!(
        readme.contains("witnesses: 2 of 2 witnesses cosigned: first, second; missing: nobody"),
        "{readme}"
    );

    // A trust file that knows no witnesses knows two of the lines of the set's checkpoint not.
    let none = world.file("none.json");
    let text = fs::read_to_string(&trust).expect("the trust file");
    let (before, rest) = text.split_once("\"witness_policy\":\"").expect("a policy");
    let (_, after) = rest.split_once('"').expect("its end");
    let log = world.admin.profile().log_keys.first().expect("a key").vkey();
    let without = format!("{before}\"witness_policy\":\"log {log}\\nquorum none\\n\"{after}");
    fs::write(&none, without).expect("a trust file");
    let (code, said) = verified(&world, &set, &none, " checkpoint");
    assert_eq!(code, Some(1), "{said:?}");

    // The public tree shows what was published, and nothing else left.
    running.stop();
    let shown = fs::read(world.data.join("tree/checkpoint")).expect("a checkpoint");
    let shown = Note::parse(&shown).expect("a note");
    let rules = WitnessPolicy::parse(&fs::read(&policy_file).expect("the policy")).expect("a policy");
    assert_eq!(
        (rules.open(&shown).expect("cosigned").origin.as_str(), shown.signatures()),
        (tests::world::ORIGIN, 3)
    );
    assert_eq!(world.fsck()["sound"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_quorum_statements_are_stored_and_nothing_is_published() {
    let world = world();
    let (first, mut second) = (Witness::new(&world, "first"), Witness::new(&world, "second"));
    install(&world, &policy(&world, &[first.line(), second.line()], "all"));
    let running = world.serve();
    let mut device = Device::enrol(&world, &world.token()).await;
    let index = store(&mut device).await;
    wait_published(&world, index).await;
    second.kill();
    let index = store(&mut device).await;
    wait_said(&running, "The quorum of witnesses is missing: nothing new is published, intake goes on.");
    let later = store(&mut device).await;
    let (size, note) = published(&world).await;
    assert!(size <= index && note.signatures() == 3, "{size} {}", note.signatures());
    let said = running.said();
    assert!(said.contains("1 of 2 witnesses cosigned: first; missing: second"), "{said}");
    assert!(said.contains("unpublished_entries=1"), "{said}");
    second.start();
    assert_eq!(wait_published(&world, later).await.signatures(), 3);
    wait_said(&running, "The quorum of witnesses is there again.");
    assert_eq!(running.said().matches("The quorum of witnesses is missing").count(), 1);
    running.stop();
    assert_eq!(world.fsck()["sound"], true);
}

/// A world with a real witness and a liar that has been honest so far, any of whom is the quorum.
async fn with_a_liar() -> (World, Witness, Arc<Liar>, Running, Device) {
    let world = world();
    let (good, liar) = (Witness::new(&world, "good"), Liar::start());
    install(&world, &policy(&world, &[liar.line(), good.line()], "any"));
    let running = world.serve();
    let mut device = Device::enrol(&world, &world.token()).await;
    let index = store(&mut device).await;
    assert_eq!(wait_published(&world, index).await.signatures(), 3, "both cosign");
    (world, good, liar, running, device)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_witness_says_counts_only_if_it_holds() {
    let (world, _good, liar, running, mut device) = with_a_liar().await;
    let http = |status: u16, body: &str| {
        let body = body.as_bytes().to_vec();
        move |_: &Liar, _: &str, _: &[u8]| Says::Http(status, body.clone())
    };
    let cosigned = |liar: &Liar, body: &[u8]| match liar.cosigns("", body) {
        Says::Http(_, line) => line,
        other => panic!("{other:?}"),
    };
    let forged = |liar: &Liar, _: &str, body: &[u8]| {
        let request = AddCheckpoint::parse(body).expect("a request");
        let other = evidence::keys::SecretKey::from_seed(&[78; 32]).expect("a key");
        // Its name and key id, another key's signature.
        let good = String::from_utf8(match liar.cosigns("", body) {
            Says::Http(_, line) => line,
            _ => Vec::new(),
        });
        let (good, bad) =
            (good.expect("text"), request.note.cosignature(Liar::NAME, &other, 1).expect("a line"));
        let (head, _) = good.trim_end().rsplit_once(' ').expect("a line");
        let bytes = evidence::json::decode_base64(good.trim_end().rsplit_once(' ').expect("a line").1)
            .expect("base64");
        let other = evidence::json::decode_base64(bad.trim_end().rsplit_once(' ').expect("a line").1)
            .expect("base64");
        let mixed = evidence::json::encode_base64(
            &[bytes.get(..4), other.get(4..)].map(Option::unwrap_or_default).concat(),
        );
        Says::Http(200, format!("{head} {mixed}\n").into_bytes())
    };
    liar.says(forged);
    let said = "its answer is not a cosignature that holds: signature of liar.example.com/witness";
    only_the_good_one_counts(&world, &running, &mut device, said).await;
    liar.says(http(200, "hello"));
    only_the_good_one_counts(
        &world,
        &running,
        &mut device,
        "not a cosignature that holds: not a signed note",
    )
    .await;
    liar.says(move |liar, _, body| Says::Http(200, cosigned(liar, body).repeat(65)));
    only_the_good_one_counts(&world, &running, &mut device, "too many signature lines").await;
    liar.says(http(200, &"x".repeat(1 << 20)));
    only_the_good_one_counts(&world, &running, &mut device, "cannot be read").await;
    liar.says(http(409, "many\n"));
    only_the_good_one_counts(&world, &running, &mut device, "409 without the size it holds").await;
    liar.says(http(404, "who?\n"));
    only_the_good_one_counts(&world, &running, &mut device, "it does not know this log").await;
    liar.says(|_, _, _| Says::Raw(b"220 mail.example.com ESMTP\r\n".to_vec()));
    only_the_good_one_counts(&world, &running, &mut device, "not an answer in HTTP/1.1").await;
    liar.says(|_, _, _| Says::Nothing);
    only_the_good_one_counts(&world, &running, &mut device, "no answer within 10 seconds").await;
    // 16 lines of others beside its own are left where they are.
    liar.says(|liar, _, body| {
        let request = AddCheckpoint::parse(body).expect("a request");
        let mut lines = Vec::new();
        for seed in 0..16 {
            let key = evidence::keys::SecretKey::from_seed(&[seed; 32]).expect("a key");
            lines.extend(
                request.note.cosignature(&format!("nobody/{seed}"), &key, 1).expect("a line").into_bytes(),
            );
        }
        if let Says::Http(_, line) = liar.cosigns("", body) {
            lines.extend(line);
        }
        Says::Http(200, lines)
    });
    wait_for("the liar to be heard again", || {
        running.said().matches("A witness cosigns.").count().checked_sub(3)
    });
    let index = store(&mut device).await;
    assert_eq!(wait_published(&world, index).await.signatures(), 3);
    running.stop();
    assert_eq!(world.fsck()["sound"], true);
}

/// The next checkpoint is published with the good witness's line, and why the liar's is not there is said.
async fn only_the_good_one_counts(world: &World, running: &Running, device: &mut Device, why: &str) {
    let index = store(device).await;
    let note = wait_published(world, index).await;
    assert_eq!(note.signatures(), 2, "{why}");
    wait_said(running, why);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_that_holds_more_or_another_log_stops_signing_and_its_answer_is_kept() {
    for (status, body, why) in [
        (409, "1000000\n", "says that it holds a checkpoint of 1000000 entries"),
        (422, "inconsistent\n", "two logs have one origin"),
        // Always the very size that it is asked about: it has another root for it.
        (409, "", "two logs have one origin"),
    ] {
        let (world, good, liar, running, mut device) = with_a_liar().await;
        let before = published(&world).await.0;
        liar.says(move |_, line, asked| match line.starts_with("POST") {
            false => Says::Http(200, b"shown to anybody\n".to_vec()),
            // Only from a size above 0 can a proof be refused.
            true if asked.starts_with(b"old 0\n") && status == 422 => Says::Http(409, b"1\n".to_vec()),
            true if body.is_empty() => {
                let note = AddCheckpoint::parse(asked).expect("a request").note.encode();
                let size = note.lines().nth(1).expect("a size");
                Says::Http(status, format!("{size}\n").into_bytes())
            }
            true => Says::Http(status, body.as_bytes().to_vec()),
        });
        store(&mut device).await;
        wait_said(&running, "No checkpoints are signed in this run.");
        let index = store(&mut device).await;
        wait_said(&running, "The answer of the witness was kept.");
        let said = running.said();
        assert!(said.contains(why) && said.contains("the witness liar"), "{said}");
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        assert!(published(&world).await.0 <= index, "what is published stays, and grows no more");
        assert!(published(&world).await.0 >= before);
        running.stop();
        let kept: Vec<_> = fs::read_dir(world.data.join("witnesses")).expect("a folder").collect();
        let [kept] = kept.as_slice() else { panic!("{kept:?}") };
        let kept = fs::read_to_string(kept.as_ref().expect("a file").path()).expect("text");
        for part in [&format!("status {status}"), body, "shown to anybody", tests::world::ORIGIN, Liar::NAME]
        {
            assert!(kept.contains(part), "{part} is not in {kept}");
        }
        // It still says so at the next start: nothing is signed, statements are taken.
        let running = serve_anew(&world);
        wait_said(&running, "No checkpoints are signed in this run.");
        let index = store(&mut device).await;
        running.stop();
        // It was wrong, as its operator says: without it the log goes on.
        install(&world, &policy(&world, &[good.line()], "any"));
        let running = world.serve();
        wait_published(&world, index).await;
        running.stop();
        assert_eq!(world.fsck()["sound"], true);
    }
}

fn copy(from: &Path, to: &Path) {
    run("cp", ["-a", &text(from), &text(to)]).ok();
}

/// A world of which nothing but its one witness remembers anything.
fn remembered_by_a_witness() -> (World, Witness) {
    let settings =
        Settings { accept_rollback_blindness: false, witnesses_alone: true, ..Settings::default() };
    let world = World::with(programs!(), &settings);
    let witness = Witness::new(&world, "first");
    (world, witness)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_copy_that_only_a_witness_remembers_signs_nothing() {
    let (world, mut witness) = remembered_by_a_witness();
    let said = world.collector(&["serve"]).fails(2);
    assert!(said.contains("witness_policy"), "the policy is not there yet: {said}");
    install(&world, &policy(&world, &[witness.line()], "all"));
    let running = world.serve();
    let mut device = Device::enrol(&world, &world.token()).await;
    let mut other = Device::enrol(&world, &world.token()).await;
    let index = store(&mut device).await;
    wait_published(&world, index).await;
    running.stop();
    let (backup, newest) = (world.file("backup"), world.file("newest"));
    copy(&world.data, &backup);
    let running = world.serve();
    for _ in 0..2 {
        let index = store(&mut device).await;
        wait_published(&world, index).await;
    }
    running.stop();
    fs::rename(&world.data, &newest).expect("the newest is put aside");
    fs::rename(&backup, &world.data).expect("the copy is restored");

    // Nobody answers: nothing is signed either.
    witness.kill();
    let running = serve_anew(&world);
    wait_said(&running, "No witness could be compared with, and nothing else remembers this log");
    assert!(!running.said().contains("checkpoints are signed."), "{}", running.said());
    witness.start();
    wait_said(&running, "this is an old copy of the log, or the witness is wrong");
    wait_said(&running, "No checkpoints are signed in this run.");
    let taken = store(&mut other).await;
    running.stop();
    let kept = fs::read_dir(world.data.join("witnesses")).expect("a folder").count();
    assert_eq!((kept, world.fsck()["entries"].as_u64()), (1, Some(taken + 1)), "intake goes on");

    fs::remove_dir_all(&world.data).expect("the copy goes");
    fs::rename(&newest, &world.data).expect("the newest comes back");
    let running = serve_anew(&world);
    wait_said(&running, "checkpoints are signed.");
    wait_published(&world, index + 2).await;
    running.stop();
    assert_eq!(world.fsck()["sound"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_copy_is_refused_by_the_mark_when_no_witness_can_be_reached() {
    let elsewhere: TempDir = tests::elsewhere::folder();
    let settings = Settings {
        high_water: Some(elsewhere.path().join("mark")),
        accept_rollback_blindness: false,
        ..Settings::default()
    };
    let world = World::with(programs!(), &settings);
    let mut witness = Witness::new(&world, "first");
    install(&world, &policy(&world, &[witness.line()], "all"));
    let running = world.serve();
    let mut device = Device::enrol(&world, &world.token()).await;
    let index = store(&mut device).await;
    wait_published(&world, index).await;
    running.stop();
    let (backup, newest) = (world.file("backup"), world.file("newest"));
    copy(&world.data, &backup);
    let running = world.serve();
    let index = store(&mut device).await;
    wait_published(&world, index).await;
    running.stop();
    witness.kill();
    fs::rename(&world.data, &newest).expect("the newest is put aside");
    fs::rename(&backup, &world.data).expect("the copy is restored");
    let said = world.collector(&["serve"]).fails(2);
    assert!(said.contains("this is an old copy of the log"), "{said}");
    // The newest goes on by the mark alone: it shows what was published, and waits for the quorum with the rest.
    fs::remove_dir_all(&world.data).expect("the copy goes");
    fs::rename(&newest, &world.data).expect("the newest comes back");
    let running = world.serve();
    assert!(wait_published(&world, index).await.signatures() == 2);
    let index = store(&mut device).await;
    witness.start();
    wait_published(&world, index).await;
    running.stop();
    assert_eq!(world.fsck()["sound"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_killed_between_signing_and_publishing_goes_on() {
    let world = world();
    let witness = Witness::new(&world, "first");
    install(&world, &policy(&world, &[witness.line()], "all"));
    let running = world.serve();
    let mut device = Device::enrol(&world, &world.token()).await;
    let mut index = store(&mut device).await;
    wait_published(&world, index).await;
    running.stop();
    for point in ["checkpoint-signed", "checkpoint-synced", "high-water-renamed", "cosigned-synced"] {
        let mut running = world.spawn(&[("TALLYSTICK_FAILPOINT", &format!("{point}:2"))]);
        world.wait_ready(&mut running);
        // At the second checkpoint of this run, or its second cosignature: a statement for each.
        let mut last = None;
        for _ in 0..2 {
            if running.ended().is_some() {
                break;
            }
            let (mut submit, _) = device.greet().await;
            let envelope = last.insert(device.sign_next());
            submit.envelope(envelope.bytes()).await;
            // It may be killed before it has answered.
            drop(submit.answer().await);
            tokio::time::sleep(std::time::Duration::from_millis(700)).await;
        }
        running.wait_killed();
        let running = world.serve();
        let (mut submit, _) = device.greet().await;
        index = submit.store(&last.expect("a statement")).await.index;
        wait_published(&world, index).await;
        running.stop();
        assert_eq!(world.fsck()["sound"], true, "{point}");
    }
}

#[test]
fn a_server_of_another_authority_is_not_asked() {
    let world = world();
    let witness = Witness::with_tls(&world, "first");
    install(&world, &policy(&world, &[witness.line()], "all"));
    let other = TestPki::new("other.example.com", now());
    let roots = world.data.join("witness-roots.pem");
    let right = fs::read(&roots).expect("the root");
    fs::write(&roots, pem::encode(pem::CERTIFICATE, other.root())).expect("another root");
    let running = world.serve();
    wait_said(&running, "TLS: invalid peer certificate");
    wait_said(&running, "The quorum of witnesses is missing");
    running.stop();
    for (bad, why) in [(&b"hello\n"[..], "no certificate found"), (b"", "no certificate found")] {
        fs::write(&roots, bad).expect("no root");
        let said = world.collector(&["serve"]).fails(2);
        assert!(said.contains(why) && said.contains("witness-roots.pem"), "{said}");
    }
    fs::write(&roots, right).expect("the root");
    let running = serve_anew(&world);
    wait_said(&running, "A witness cosigns.");
    running.stop();
}

#[test]
fn settings_that_could_never_work_are_refused_at_start() {
    let world = world();
    let liar = Liar::start();
    let good = policy(&world, &[liar.line()], "all");
    let path = install(&world, &good);
    for (bad, why) in [
        ("hello\n".to_owned(), "line 1 of the witness policy"),
        (good.replacen("log ", "#log ", 1), "must have exactly one log line"),
        (good.replace("http://", "ftp://"), "is not a URL of the form"),
        (good.replace("127.0.0.1", "192.0.2.1"), "http:// is only for addresses of this machine"),
        (good.replace("http://", "https://"), "names no `witness_roots`"),
        (
            good.lines().map(|line| line.split(" http").next().unwrap_or(line).to_owned() + "\n").collect(),
            "cannot meet the quorum \"q\"",
        ),
    ] {
        fs::write(&path, &bad).expect("the policy");
        let said = world.collector(&["serve"]).fails(2);
        assert!(said.contains(why) && said.contains("witnesses.policy"), "{why} is not in: {said}");
    }
    fs::remove_file(&path).expect("the policy");
    let said = world.collector(&["serve"]).fails(2);
    assert!(said.contains("cannot read") && said.contains("witness_policy"), "{said}");
    fs::write(&path, good).expect("the policy");
    let running = world.serve();
    wait_said(&running, "A witness cosigns.");
    running.stop();
    assert!(liar.asked() > 0);
}
