//! The time sandwich with real processes: an agent names cosigned checkpoints, the collector keeps their notes, and both
//! verifiers tell by whose clocks the agent signed no earlier and no later.

#![expect(clippy::expect_used, reason = "a test stops at what it cannot do")]

use std::fs;
use std::path::Path;

use evidence::envelope::Envelope;
use evidence::ids::Digest;
use evidence::note::{Checkpoint, Note};
use evidence::set::{ANCHORS, Files};
use evidence::statement::Anchor;
use evidence::witness_policy::WitnessPolicy;
use proto::RefusedReason;
use tests::audit::{Audit, line_with, verified};
use tests::device::Device;
use tests::programs;
use tests::witness::{Witness, install, policy};
use tests::world::{Settings, World};

const BY_BOTH: &str = "(2 witnesses: first, second)";

fn files(set: &Path) -> Files {
    verifier::read_set(set).expect("a set").0
}

/// The cosigned notes of a set, by the hash of their names.
fn notes(files: &Files) -> Vec<(Digest, Vec<u8>)> {
    let notes = files.iter().filter_map(|(path, bytes)| {
        Some((Digest::from_hex(path.strip_prefix(ANCHORS)?).expect("a hash"), bytes.clone()))
    });
    notes.collect()
}

/// The anchors of a set's statements, in order of their leaves.
fn anchors(files: &Files) -> Vec<Anchor> {
    let of = |(path, bytes): (&String, &Vec<u8>)| {
        let index: u64 = path.strip_suffix(".envelope")?.rsplit('/').next()?.parse().ok()?;
        let statement = Envelope::parse(bytes).expect("an envelope").claimed().expect("a statement");
        Some((index, statement.anchor.expect("every statement has an anchor")))
    };
    let mut anchors: Vec<(u64, Anchor)> = files.iter().filter_map(of).collect();
    anchors.sort_by_key(|(index, _)| *index);
    anchors.dedup_by_key(|(index, _)| *index);
    anchors.into_iter().map(|(_, anchor)| anchor).collect()
}

/// Size, root and note of the newest published checkpoint.
async fn published(world: &World) -> (Checkpoint, Digest) {
    let (checkpoint, reply) = world.admin.connect().await.checkpoint(0).await;
    (checkpoint, Digest::of(reply.note.as_bytes()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_verifiers_tell_by_which_witnesses_a_statement_is_no_older_and_no_younger() {
    let world = World::with(programs!(), &Settings::default());
    let witnesses = [Witness::new(&world, "first"), Witness::new(&world, "second")];
    let policy_file = install(&world, &policy(&world, &[witnesses[0].line(), witnesses[1].line()], "all"));
    world.admit_people();
    let running = world.serve();
    world.enrol_agent("agent", &world.token());
    let once = || {
        let said = world.agent("agent", &["once", "--until-proved", "--json"]).json();
        assert_eq!(said["result"], "proved", "{said}");
    };
    once();
    once();
    let trust = world.file("trust.json");
    let audit = Audit::begin(&world, &policy_file, &trust);
    once();
    audit.draw();
    let set = audit.export("set");

    // Every anchor has its note, which is what its name and the anchor say, and both witnesses signed it.
    let whole = files(&set);
    let (notes_shown, named) = (notes(&whole), anchors(&whole));
    let rules = WitnessPolicy::parse(&fs::read(&policy_file).expect("the policy")).expect("a policy");
    assert!(named.len() >= 3, "{named:?}");
    for anchor in &named {
        let hash = anchor.note.expect("the agent names a cosigned note");
        let (_, bytes) = notes_shown.iter().find(|(shown, _)| *shown == hash).expect("its note is there");
        assert_eq!(Digest::of(bytes), hash);
        let note = Note::parse(bytes).expect("a note");
        assert_eq!(rules.open(&note).expect("cosigned"), anchor.checkpoint());
    }
    let sizes: Vec<u64> = named.iter().map(|anchor| anchor.size).collect();
    assert!(sizes.is_sorted() && sizes[0] < sizes[2], "anchors grow with what is proved: {sizes:?}");

    let both = verified(&world, &set, &trust);
    for ran in &both {
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let line = line_with(ran, "between ");
        assert_eq!(line.matches(BY_BOTH).count(), 2, "{ran:?}");
        assert!(line_with(ran, " times").contains("0 name a note that is not in the set"), "{ran:?}");
    }
    let [first, second] = both.map(|ran| line_with(&ran, "between "));
    let told = |line: &str| line.split_once("between ").expect("an interval").1.to_owned();
    assert_eq!(told(&first), told(&second));

    // A note that is not the one it was is refused by both.
    let (hash, bytes) = &notes_shown[0];
    let path = set.join(format!("{ANCHORS}{hash}"));
    for bad in [bytes[..bytes.len() - 1].to_vec(), b"hello\n".to_vec()] {
        fs::write(&path, bad).expect("the note");
        assert_eq!(verified(&world, &set, &trust).map(|ran| ran.code), [Some(1); 2]);
    }
    fs::write(&path, bytes).expect("the note");
    assert_eq!(verified(&world, &set, &trust).map(|ran| ran.code), [Some(0); 2]);

    // Without its index the collector still has the notes, and the set has them again.
    running.stop();
    fs::remove_dir_all(world.data.join("sled")).expect("the index");
    fs::create_dir(world.data.join("sled")).expect("its folder");
    let running = world.serve();
    let again = files(&audit.export("again"));
    assert_eq!((notes(&again), anchors(&again)), (notes_shown, named));
    running.stop();
    assert_eq!(world.fsck()["sound"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_names_the_note_of_another_checkpoint_or_an_older_one_is_refused() {
    let world = World::with(programs!(), &Settings::default());
    let witness = Witness::new(&world, "first");
    install(&world, &policy(&world, &[witness.line()], "all"));
    let running = world.serve();
    let mut device = Device::enrol(&world, &world.token()).await;
    let (older, older_note) = published(&world).await;
    let (mut submit, _) = device.greet().await;
    let naming = |checkpoint: &Checkpoint, note: Option<Digest>, device: &Device| {
        let mut anchor = Anchor::from(checkpoint.clone());
        anchor.note = note;
        let mut statement = device.next();
        statement.anchor = Some(anchor);
        Envelope::sign(&statement, &device.key)
    };
    let first = naming(&older, Some(older_note), &device);
    let index = submit.store(&first).await.index;
    (device.next_sequence, device.previous) = (1, first.hash());
    let newer = loop {
        let newest = published(&world).await;
        if newest.0.size > index {
            break newest;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    for (checkpoint, note) in [(&older, newer.1), (&newer.0, older_note)] {
        let envelope = naming(checkpoint, Some(note), &device);
        let (reason, detail) = submit.refused(envelope.bytes()).await;
        assert_eq!(reason, RefusedReason::Anchor);
        assert!(detail.contains("the note of another checkpoint"), "{detail}");
    }
    // A note that the collector does not know says nothing to it.
    let second = naming(&newer.0, Some(Digest::of(b"unknown")), &device);
    submit.store(&second).await;
    (device.next_sequence, device.previous) = (2, second.hash());
    let third = naming(&older, Some(older_note), &device);
    let (reason, detail) = submit.refused(third.bytes()).await;
    assert_eq!(reason, RefusedReason::Anchor);
    assert!(detail.contains("this one an older one or none"), "{detail}");
    running.stop();
    assert_eq!(world.fsck()["sound"], true);
}
