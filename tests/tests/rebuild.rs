//! `rebuild` with the real program: a lost payload bundle and a new index, exit codes, and the same answers afterwards.

use std::fs;

use tests::device::Device;
use tests::programs;
use tests::world::{Settings, World};

/// Statements: more than a bundle.
const COUNT: usize = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_disk_lost_is_made_again_and_answers_stay_the_same() {
    let world = World::with(programs!(), &Settings::default());
    let running = world.serve();
    let mut device = Device::enrol(&world, &world.token()).await;
    let (mut submit, _) = device.greet().await;
    let (mut newest, mut answer) = (None, None);
    for _ in 0..COUNT {
        let envelope = device.sign_next();
        answer = Some(submit.store(&envelope).await);
        newest = Some(envelope);
    }
    let refused = world.collector(&["rebuild"]).fails(2);
    assert!(refused.contains("in use by another process"), "{refused}");
    running.stop();

    let bundle = world.data.join("payload/000");
    let good = fs::read(&bundle).expect("the first bundle");
    fs::remove_file(&bundle).expect("the bundle goes");
    assert_eq!(world.collector(&["fsck"]).code, Some(1));
    let report = world.collector(&["rebuild", "--json"]).json();
    assert_eq!(report["check"]["sound"], true, "{report}");
    assert_eq!(report["written"], serde_json::json!([0]), "{report}");
    assert_eq!(fs::read(&bundle).expect("the bundle is back"), good);

    let said = world.collector(&["rebuild", "--index"]).ok();
    assert!(said.contains("sled.aside-0") && said.contains(": sound"), "{said}");
    assert!(world.data.join("sled.aside-0/epoch-00000000").is_dir());
    assert_eq!(world.fsck()["sound"], true);

    // A journal that is damaged at its beginning: nothing is made from it, and the index stays.
    let segment = world.data.join("journal/00000000.seg");
    let whole = fs::read(&segment).expect("the first segment");
    let mut damaged = whole.clone();
    *damaged.get_mut(40).expect("a record") ^= 1;
    fs::write(&segment, damaged).expect("damage");
    world.collector(&["rebuild", "--index"]).fails(2);
    assert!(!world.data.join("sled.aside-1").exists());
    fs::write(&segment, whole).expect("the segment is restored");

    let running = world.serve();
    let (mut submit, _) = device.greet().await;
    let again = submit.store(&newest.expect("a statement")).await;
    assert_eq!(Some(again), answer, "a retry gets the same answer");
    submit.store(&device.sign_next()).await;
    running.stop();
    assert_eq!(world.fsck()["sound"], true);
}
