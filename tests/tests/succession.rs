//! A log that is beyond repair gets a successor: real collectors, agents and clients.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test stops at what it cannot do")]

use std::fs;
use std::path::{Path, PathBuf};

use certs::Token;
use evidence::keys::SecretKey;
use evidence::note::{Checkpoint, Note};
use serde_json::Value;
use tests::device::Device;
use tests::process::{Ran, Running, run, wait_for};
use tests::programs;
use tests::world::{ORIGIN, Settings, World};

/// Origin of the successor.
const SUCCESSOR: &str = "evidence.example.com/log/second";

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A log that ended, with a device that has seen less than all of it.
struct Ended {
    world: World,
    vkey: String,
    /// Its last checkpoint's note.
    last: PathBuf,
    /// A mirror of its public tree.
    mirror: PathBuf,
    /// An earlier checkpoint's note.
    earlier: PathBuf,
}

impl Ended {
    /// The agent in the state directory `agent` has said something that was never proved.
    async fn new() -> Self {
        let world = World::with(programs!(), &Settings::default());
        let running = world.serve();
        world.enrol_agent("agent", &world.token());
        world.agent("agent", &["once", "--until-proved"]).ok();
        let earlier = world.file("earlier");
        fs::write(&earlier, world.admin.connect().await.checkpoint(0).await.1.note).expect("a note");
        let mut other = Device::enrol(&world, &world.token()).await;
        let (mut submit, _) = other.greet().await;
        for _ in 0..20 {
            submit.store(&other.sign_next()).await;
        }
        let size = world.admin.connect().await.checkpoint(0).await.0.size;
        wait_for("the public tree", || {
            let note = fs::read_to_string(world.data.join("tree/checkpoint")).ok()?;
            (note.lines().nth(1)?.parse::<u64>().ok()? >= size).then_some(())
        });
        running.stop();
        // Nobody takes it: it waits in the spool.
        assert_ne!(world.agent("agent", &["once", "--timeout-seconds", "1"]).code, Some(0));
        let vkey = world.admin.profile().log_keys[0].vkey();
        let mirror = world.file("mirror");
        let (from, to) = (text(&world.data.join("tree")), text(&mirror));
        world.cli(&world.admin, &["log", "mirror", "--from", &from, "--dir", &to, "--vkey", &vkey]).ok();
        let last = mirror.join("checkpoint");
        Self { world, vkey, last, mirror, earlier }
    }

    fn checkpoint(&self, note: &Path) -> Checkpoint {
        let note = Note::parse(&fs::read(note).expect("a note")).expect("a note");
        Checkpoint::open_of(&note, &self.world.admin.profile().log_keys, ORIGIN).expect("a checkpoint")
    }

    fn init(&self, more: &[&str]) -> Ran {
        let file = |name: &str| text(&self.world.file(name));
        let (dir, admin, mark) = (file("second"), text(&self.world.admin.public), file("second-mark"));
        let (root, profile) = (file("second-root.key"), file("second.profile"));
        let port = tests::world::free_ports().to_string();
        let line = [
            ["--dir", &dir, "--admin", &admin, "--trust-domain", "evidence.example.com"],
            ["--server-name", "127.0.0.1", "--port", &port, "--high-water", &mark],
            ["--root-key-out", &root, "--profile-out", &profile, "--ballast-bytes", "4096"],
        ];
        let line: Vec<&str> =
            ["init", "--json", "--accept-rollback-blindness", "--free-bytes-min", "1048576"]
                .into_iter()
                .chain(line.iter().flatten().copied())
                .chain(more.iter().copied())
                .collect();
        run(self.world.programs().collector, line)
    }

    fn succeed(&self, note: &Path, tree: Option<&Path>) -> Second<'_> {
        let note = text(note);
        let mut line = vec!["--label", "second", "--predecessor", &note, "--predecessor-key", &self.vkey];
        let tree = tree.map(text);
        line.extend(tree.iter().flat_map(|tree| ["--predecessor-tree", tree]));
        let made = self.init(&line).json();
        Second { ended: self, made }
    }
}

/// The successor.
struct Second<'a> {
    ended: &'a Ended,
    made: Value,
}

impl Second<'_> {
    fn serve(&self) -> Running {
        let data = self.ended.world.file("second");
        let mut command = std::process::Command::new(self.ended.world.programs().collector);
        command.args(["serve", "--dir"]).arg(&data);
        let running = Running::start(command, &self.ended.world.file("second.log"));
        wait_for("the successor", || std::os::unix::net::UnixStream::connect(data.join("admin.sock")).ok());
        running
    }

    fn token(&self) -> Token {
        let (dir, key) = (text(&self.ended.world.file("second")), text(&self.ended.world.admin.key));
        let line = ["token", "create", "--json", "--dir", &dir, "--key", &key, "--class", "laptop"];
        let made =
            run(self.ended.world.programs().collector, [&line[..], &["--group", "office"]].concat()).json();
        made["token"].as_str().and_then(|text| text.parse().ok()).expect("a token")
    }

    fn enrol(&self, token: &Token, more: &[&str]) -> Ran {
        let world = &self.ended.world;
        let file = world.file("second.token");
        tests::world::write_secret(&file, token.text().as_bytes());
        let address = |name: &str| self.made[name].as_str().expect("an address").to_owned();
        let (enrol, agents, file) = (address("enrol"), address("agents"), text(&file));
        let line = ["enroll", "--json", "--server", &enrol, "--agents", &agents, "--token-file", &file];
        world.agent("agent", &[&line[..], more].concat())
    }

    fn succession(&self, more: &[&str]) -> Ran {
        let world = &self.ended.world;
        let (key, profile) = (text(&world.admin.key), text(&world.file("second.profile")));
        let line = ["log", "succession", "--json", "--key", &key, "--profile", &profile];
        run(world.programs().cli, [&line[..], more].concat())
    }
}

fn value(answer: &Ran) -> Value {
    serde_json::from_str(&answer.out).unwrap_or_default()
}

fn named(checkpoint: &Checkpoint) -> Value {
    serde_json::json!({
        "origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex(),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_is_made_shown_and_moved_to() {
    let ended = Ended::new().await;
    let second = ended.succeed(&ended.last, Some(&ended.mirror));
    let last = ended.checkpoint(&ended.last);
    assert_eq!(second.made["predecessor"], serde_json::json!([named(&last)]), "{}", second.made);
    let running = second.serve();

    let shown = second.succession(&[]).json();
    assert_eq!((&shown["predecessor"], &shown["holds"]), (&named(&last), &true.into()), "{shown}");
    assert_eq!(shown["current"]["origin"], SUCCESSOR);
    let (kept, earlier, tree) = (text(&ended.last), text(&ended.earlier), text(&ended.mirror));
    let of = |note: &'static str| ["--old-checkpoint", note];
    let (kept, earlier): (&'static str, &'static str) = (kept.leak(), earlier.leak());
    let key = ["--old-key", ended.vkey.as_str()];
    let with_tree = ["--old-tree", tree.as_str()];
    assert_eq!(second.succession(&[of(kept), key].concat()).json()["holds"], true);
    let extended = second.succession(&[of(earlier), key, with_tree].concat()).json();
    assert_eq!(extended["old_checkpoint"], named(&ended.checkpoint(&ended.earlier)), "{extended}");
    // Without the tree nothing shows that the one extends the other, which is no yes.
    let said = second.succession(&[of(earlier), key].concat()).fails(2);
    assert!(said.contains("give --old-tree DIR"), "{said}");
    // One that another key signed, and one of another history.
    let forged =
        Checkpoint { size: last.size, root: evidence::ids::Digest::of(b"x"), origin: ORIGIN.to_owned() };
    let stranger = SecretKey::from_seed(&[8; 32]).expect("a key");
    let note = ended.world.file("forged");
    fs::write(&note, forged.sign(&stranger).expect("a note").encode()).expect("a file");
    let note: &'static str = text(&note).leak();
    let answer = second.succession(&[of(note), key].concat());
    assert_eq!((answer.code, &value(&answer)["holds"]), (Some(1), &false.into()), "{answer:?}");

    // The agent moves: what it said and nobody proved lies where it is told.
    let refused = second.enrol(&second.token(), &[]).fails(2);
    assert!(refused.contains("already enrolled") && refused.contains("--successor"), "{refused}");
    let token = second.token();
    let moved = second.enrol(&token, &["--successor"]).json();
    assert_eq!((&moved["origin"], &moved["unproved"]), (&SUCCESSOR.into(), &1.into()), "{moved}");
    let before = moved["kept_in"][0].as_str().expect("a folder").to_owned();
    let sent = run(ended.world.programs().agent, ["--state", &before, "sent", "--json"]).ok();
    assert_eq!(sent.lines().count(), 2, "{sent}");
    let again = second.enrol(&token, &["--successor"]).json();
    assert_eq!((&again["device"], &again["kept_in"]), (&moved["device"], &serde_json::json!([])), "{again}");
    ended.world.agent("agent", &["once", "--until-proved"]).ok();
    running.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_does_not_move_to_what_it_cannot_check() {
    let ended = Ended::new().await;
    let second = ended.succeed(&ended.last, None);
    let running = second.serve();
    let token = second.token();
    let before = fs::read(ended.world.file("agent/identity.json")).expect("an identity");
    // It has seen less than the last checkpoint, and nothing shows that this extends it.
    let refused = second.enrol(&token, &["--successor"]).fails(2);
    assert!(refused.contains("predecessor_tree") && refused.contains("nothing shows"), "{refused}");
    assert_eq!(fs::read(ended.world.file("agent/identity.json")).expect("an identity"), before);
    running.stop();
    let path = ended.world.file("second/collector.toml");
    let settings = fs::read_to_string(&path).expect("the settings");
    let line = format!("predecessor_tree = {:?}\n", text(&ended.mirror));
    fs::write(&path, line + &settings).expect("the settings");
    let running = second.serve();
    // The same token, as the enrolment is the same.
    let moved = second.enrol(&token, &["--successor"]).json();
    assert_eq!(moved["unproved"], 1, "{moved}");
    running.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_that_forgets_is_refused_by_devices_and_by_whoever_kept_more() {
    let ended = Ended::new().await;
    // The agent verifies the last checkpoint before the log ends.
    let running = ended.world.serve();
    ended.world.agent("agent", &["once", "--until-proved"]).ok();
    running.stop();
    let second = ended.succeed(&ended.earlier, Some(&ended.mirror));
    let running = second.serve();
    let refused = second.enrol(&second.token(), &["--successor"]).fails(2);
    assert!(refused.contains("forgets what others hold"), "{refused}");
    let kept = text(&ended.last);
    let answer = second.succession(&["--old-checkpoint", &kept, "--old-key", &ended.vkey]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    let why = value(&answer)["why"].to_string();
    assert!(why.contains("forgets what others hold"), "{why}");
    running.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn init_follows_only_a_checkpoint_that_the_old_log_signed() {
    let ended = Ended::new().await;
    let stranger = SecretKey::from_seed(&[8; 32]).expect("a key");
    let last = ended.checkpoint(&ended.last);
    let put = |name: &str, note: Note| {
        let path = ended.world.file(name);
        fs::write(&path, note.encode()).expect("a file");
        text(&path)
    };
    let forged = put("forged", last.sign(&stranger).expect("a note"));
    let other_key = evidence::note::VerifierKey::new("evidence.example.org/log/main", *stranger.public());
    let other_key = other_key.expect("a key").vkey();
    let elsewhere = Checkpoint { origin: "evidence.example.org/log/main".to_owned(), ..last.clone() };
    let elsewhere = put("elsewhere", elsewhere.sign(&stranger).expect("a note"));
    let (good, tree) = (text(&ended.last), text(&ended.world.file("second-tree")));
    fs::create_dir(&tree).expect("a folder");
    fs::copy(&good, Path::new(&tree).join("checkpoint")).expect("a checkpoint without a tree");
    let label = ["--label", "second"];
    for (line, why) in [
        (
            &["--predecessor", &forged, "--predecessor-key", &ended.vkey, label[0], label[1]][..],
            "is not a checkpoint that",
        ),
        (
            &["--predecessor", &good, "--predecessor-key", &other_key, label[0], label[1]],
            "is not a checkpoint that",
        ),
        (
            &["--predecessor", &elsewhere, "--predecessor-key", &other_key, label[0], label[1]],
            "same trust domain",
        ),
        (&["--predecessor", &good, "--predecessor-key", &ended.vkey], "cannot follow itself"),
        (
            &[
                "--predecessor",
                &good,
                "--predecessor-key",
                &ended.vkey,
                "--predecessor-tree",
                &tree,
                label[0],
                label[1],
            ],
            "is not a public tree of",
        ),
        (&["--predecessor", &good, label[0], label[1]], "--predecessor-key"),
    ] {
        let said = ended.init(line).fails(2);
        assert!(said.contains(why), "{why} is not in: {said}");
        assert!(!ended.world.file("second").exists(), "{said}");
    }
    let second = ended.succeed(&ended.last, None);
    assert_eq!(second.made["predecessor"][0]["size"], last.size);
}
