//! The public tree of a running collector, read by programs that share nothing with it: a plain HTTP client and the reader
//! of tests/oracle, and copied by `tallystick log mirror`.

#![expect(clippy::expect_used, reason = "a test stops at what it cannot do")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tests::device::Device;
use tests::load::Load;
use tests::process::wait_for;
use tests::programs;
use tests::world::{ORIGIN, Settings, World};

/// Statements of the load: several bundles, and a partial one.
const STATEMENTS: usize = 700;
/// Devices that send them.
const DEVICES: usize = 4;
/// Gets the checkpoint and two tiles with Python's own HTTP/1.1 and TLS, and prints status, caching and length.
const PLAIN_CLIENT: &str = "
import ssl, sys, urllib.error, urllib.request
context = ssl.create_default_context(cafile=sys.argv[2])
for path in sys.argv[3:]:
    try:
        with urllib.request.urlopen(sys.argv[1] + path, context=context, timeout=20) as answer:
            print(answer.status, answer.headers['cache-control'], len(answer.read()))
    except urllib.error.HTTPError as error:
        print(error.code, error.headers['cache-control'], 0)
";

fn python(arguments: &[&str]) -> Output {
    Command::new("python3")
        .arg("-B")
        .args(arguments)
        .output()
        .expect("python3 must run: install Python 3.11 or newer")
}

/// The second reader over a folder: whether it holds, and what it says.
fn read_tree(dir: &Path, vkey: &str) -> (bool, String) {
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle/read_tree.py");
    let ran = python(&[&reader.display().to_string(), &dir.display().to_string(), "--vkey", vkey]);
    let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    (ran.status.success(), said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_read_it_and_a_mirror_follows_it() {
    let world = World::with(programs!(), &Settings { checkpoint_interval_ms: 100, ..Settings::default() });
    let running = world.serve();
    let mut devices = Vec::new();
    for _ in 0..DEVICES {
        devices.push(Device::enrol(&world, &world.token()).await);
    }
    let load = Load::start(devices);
    load.up();
    load.reaches(STATEMENTS / 2).await;
    let vkey = world.admin.profile().log_keys[0].vkey();
    let (url, ca) =
        (format!("https://{}", world.tiles), world.data.join("certs/root.pem").display().to_string());
    let copy = world.file("copy");
    let mirror = |extra: &[&str]| {
        let (vkey, dir) = (vkey.as_str(), copy.display().to_string());
        let line = ["log", "mirror", "--json", "--from", &url, "--dir", &dir, "--vkey", vkey, "--ca", &ca];
        world.cli(&world.admin, &[&line[..], extra].concat())
    };
    let tree_shows = |entries: usize| {
        wait_for("the public tree to show the load", || {
            let note = fs::read_to_string(world.data.join("tree/checkpoint")).ok()?;
            let size: usize = note.lines().nth(1)?.parse().ok()?;
            (size > entries).then_some(())
        });
    };
    // While it grows.
    tree_shows(STATEMENTS / 2);
    let first = mirror(&[]).json();
    assert_eq!((&first["state"], &first["origin"]), (&"level".into(), &ORIGIN.into()), "{first}");
    load.reaches(STATEMENTS).await;
    load.end().await;
    tree_shows(STATEMENTS);
    let second = mirror(&[]).json();
    assert_eq!(second["size_before"], first["size"]);
    assert!(second["size"].as_u64() >= Some(STATEMENTS as u64), "{second}");
    assert!(second["bundles_kept"].as_u64() >= Some(1), "{second}");

    let paths = ["/checkpoint", "/tile/0/000", "/tile/entries/001.p/3", "/tile/9/000", "/../collector.toml"];
    let client = python(&[&["-c", PLAIN_CLIENT, &url, &ca][..], &paths].concat());
    let said = String::from_utf8_lossy(&client.stdout).into_owned();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 5, "{said}{}", String::from_utf8_lossy(&client.stderr));
    assert!(lines[0].starts_with("200 public, max-age=2 "), "{said}");
    assert_eq!(lines[1], "200 public, max-age=31536000, immutable 8192");
    assert!(lines[2].starts_with("200 public, max-age=31536000, immutable "), "{said}");
    assert_eq!(lines[3..], ["404 no-store 0", "404 no-store 0"]);

    running.stop();
    let report = world.fsck();
    assert_eq!(report["tree_size"], report["entries"], "the tree shows the last checkpoint: {report}");
    for dir in [&world.data.join("tree"), &copy] {
        let (sound, said) = read_tree(dir, &vkey);
        assert!(sound && said.starts_with("sound: "), "{}: {said}", dir.display());
    }
    // Left behind for tests/interop, another log's reader, which `./check` builds apart; made by a mirror of the mirror.
    let left = Path::new(env!("CARGO_TARGET_TMPDIR")).join("public-tree");
    if left.exists() {
        fs::remove_dir_all(&left).expect("the tree of the last run");
    }
    let (from, to) = (copy.display().to_string(), left.display().to_string());
    let line = ["log", "mirror", "--json", "--from", &from, "--dir", &to, "--vkey", &vkey];
    let third = world.cli(&world.admin, &line).json();
    assert_eq!((&third["size"], &third["root"]), (&second["size"], &second["root"]));
    // A reader that takes everything would have passed too.
    let tile = copy.join("tile/0/001");
    let mut bytes = fs::read(&tile).expect("a tile");
    bytes[100] ^= 1;
    fs::write(&tile, bytes).expect("a tile can be written");
    let (sound, said) = read_tree(&copy, &vkey);
    assert!(!sound && said.contains("level 0"), "{said}");
}
