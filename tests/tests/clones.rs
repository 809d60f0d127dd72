//! One key on two machines: both branches are kept, somebody is told once, and a person decides.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test stops at what it cannot do, and prints what it counted"
)]

use std::fs;
use std::path::Path;

use evidence::conflict::Conflict;
use evidence::envelope::Envelope;
use evidence::ids::Digest;
use evidence::leaf::Kind;
use proto::RefusedReason;
use tests::device::{Device, Keys};
use tests::kept::{entries_of, statements};
use tests::programs;
use tests::world::World;

/// Statements of a clone that are tried after the first.
const MORE: u64 = 20;

fn conflicts(world: &World, code: i32) -> Vec<serde_json::Value> {
    let ran = world.cli(&world.admin, &["devices", "conflicts", "--json"]);
    let value = if code == 0 { ran.json() } else { ran.fails_json(code) };
    value["conflicts"].as_array().expect("conflicts").clone()
}

fn alerts(world: &World, words: &str) -> usize {
    let log = fs::read_to_string(world.log()).expect("the collector's log");
    log.lines().filter(|line| line.contains("ALERT") && line.contains(words)).count()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a copy");
        }
    }
    fs::set_permissions(to, fs::metadata(from).expect("a folder").permissions()).expect("the same mode");
}

/// The conflict records of a stopped collector, with the payload of the entry each contradicts.
fn records(world: &World) -> Vec<(u64, Conflict, Vec<u8>)> {
    let node = collector::node::Node::open(&world.data, |_| {}).expect("a stopped collector");
    let ledger = &node.state.ledger;
    let of_kind =
        (0..ledger.size()).filter(|index| ledger.leaf(*index).expect("a leaf").kind == Kind::CONFLICT);
    let records = of_kind
        .map(|index| {
            let payload = ledger.entry(index).expect("an entry").payload;
            let conflict = Conflict::parse(&payload).expect("a conflict record");
            let first = ledger.entry(conflict.first_index).expect("the first").payload;
            (index, conflict, first)
        })
        .collect();
    node.close();
    records
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_branches_are_kept_and_nothing_more_is_admitted_until_a_person_decides() {
    let world = World::new(programs!());
    let running = world.serve();
    let mut device = Device::enrol(&world, &world.token()).await;
    let (mut submit, _) = device.greet().await;
    for _ in 0..3 {
        submit.store(&device.sign_next()).await;
    }
    // The clone goes on from the same place and says something else.
    let branch = (device.next_sequence, device.previous);
    let first = device.sign_next();
    submit.store(&first).await;
    let mut clone = device.statement(branch.0, branch.1);
    let evidence::statement::Body::Attestation(attestation) = &mut clone.body else {
        panic!("no attestation")
    };
    attestation.fields.wall_minutes += 1;
    let second = Envelope::sign(&clone, &device.key);
    let (mut other, _) = device.greet().await;
    let (reason, said) = other.refused(second.bytes()).await;
    assert_eq!(reason, RefusedReason::Forked, "{said}");
    assert!(said.contains("cloned or restored"), "{said}");
    // The same again, and more of the branch: nothing more is logged, nobody is told again.
    for _ in 0..MORE {
        let (mut again, _) = device.greet().await;
        assert_eq!(again.refused(second.bytes()).await.0, RefusedReason::Forked);
    }
    // The incumbent has to wait too: nobody knows which of the two it is.
    let (mut submit, _) = device.greet().await;
    let next = device.sign_next();
    assert_eq!(submit.refused(next.bytes()).await.0, RefusedReason::Forked);
    let found = conflicts(&world, 1);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((&found[0]["kind"], &found[0]["sequence"]), (&"fork".into(), &3.into()));
    assert_eq!(alerts(&world, "two statements"), 1);
    // It outlives a restart, and a list that was lost.
    running.kill();
    let kept = statements(&world).len();
    assert_eq!(kept, 4, "the first branch's statements are all there");
    for lost in [false, true] {
        if lost {
            fs::remove_file(world.data.join("conflicts.json")).expect("the list is removed");
        }
        let running = world.serve();
        let (mut submit, _) = device.greet().await;
        assert_eq!(submit.refused(next.bytes()).await.0, RefusedReason::Forked, "lost {lost}");
        let (mut again, _) = device.greet().await;
        assert_eq!(again.refused(second.bytes()).await.0, RefusedReason::Forked);
        running.stop();
    }
    let records = records(&world);
    assert_eq!(records.len(), 1, "once");
    let (index, conflict, stored) = &records[0];
    assert_eq!(found[0]["entries"][0], *index);
    assert_eq!((&conflict.envelope[..], &stored[..]), (second.bytes(), first.bytes()), "both forks");
    conflict.check(stored, device.key.public()).expect("anybody can check it");
    world.fsck();
    // The clone is enrolled anew as a device of its own, and a person says that they are two: the first goes on.
    let running = world.serve();
    let mut anew = Device::enrol(&world, &world.token()).await;
    let line = ["devices", "split", &device.id.to_string(), &anew.id.to_string(), "--reason", "an image"];
    world.cli(&world.admin, &line).ok();
    let (mut submit, _) = device.greet().await;
    submit.store(&next).await;
    let (mut other, _) = anew.greet().await;
    other.store(&anew.sign_next()).await;
    assert!(conflicts(&world, 0).iter().all(|row| row["open"] == false));
    // Should the clone speak again after that, it is a new conflict.
    let clone = device.statement(device.next_sequence - 1, Digest::of(b"elsewhere"));
    let (mut other, _) = device.greet().await;
    assert_eq!(other.refused(Envelope::sign(&clone, &device.key).bytes()).await.0, RefusedReason::Forked);
    assert_eq!(submit.refused(device.sign_next().bytes()).await.0, RefusedReason::Forked);
    running.stop();
    assert_eq!(entries_of(&world, Kind::CONFLICT), 2);
    world.fsck();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clone_that_talks_for_ever_fills_no_log() {
    let world = World::new(programs!());
    let running = world.serve();
    let mut device = Device::try_enrol(&world, &world.token(), Keys::new()).await.expect("enrolled");
    let other = Device::enrol(&world, &world.token()).await;
    let (mut submit, _) = device.greet().await;
    let first = device.sign_next();
    submit.store(&first).await;
    // Between decisions the clone is heard once; after eight records of one key there are no more.
    for round in 0..12_u64 {
        let mut clone = device.statement(0, Digest::ZERO);
        let evidence::statement::Body::Attestation(attestation) = &mut clone.body else {
            panic!("no attestation")
        };
        attestation.fields.wall_minutes += round + 1;
        let (mut submit, _) = device.greet().await;
        assert_eq!(
            submit.refused(Envelope::sign(&clone, &device.key).bytes()).await.0,
            RefusedReason::Forked
        );
        world.cli(&world.admin, &["devices", "split", &device.id.to_string(), &other.id.to_string()]).ok();
    }
    running.stop();
    assert_eq!(entries_of(&world, Kind::CONFLICT), collector::conflicts::RECORDS_MAX);
    world.fsck();
}

#[test]
fn a_copied_state_directory_is_found_within_two_statements() {
    let world = World::new(programs!());
    let running = world.serve();
    world.enrol_agent("agent", &world.token());
    world.agent("agent", &["once"]).ok();
    copy(&world.file("agent"), &world.file("copy"));
    world.agent("agent", &["once"]).ok();
    // The copy's first statement has the place of one that is there already.
    let said = world.agent("copy", &["once", "--json"]).fails_json(1);
    assert_eq!(said["result"], "refused", "{said}");
    let found = conflicts(&world, 1);
    assert_eq!((found.len(), &found[0]["sequence"]), (1, &1.into()), "{found:?}");
    assert_eq!(alerts(&world, "two statements"), 1);
    // What the incumbent says from now on is kept by it, and lost by nobody.
    let said = world.agent("agent", &["once", "--json"]).fails_json(1);
    assert_eq!(said["result"], "refused", "{said}");
    running.stop();
    assert_eq!(statements(&world).len(), 2);
    assert_eq!(records(&world).len(), 1);
    world.fsck();
}
