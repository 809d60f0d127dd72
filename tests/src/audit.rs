//! One small audit of the control `edr` today, by real programs: from the policy to a set, and both verifiers over it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Ran, run, run_command};
use crate::world::{World, now};

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// An audit whose plan is committed and whose trust file is pinned.
pub struct Audit<'a> {
    world: &'a World,
    plan: String,
    nonce: String,
}

impl<'a> Audit<'a> {
    /// From the policy to the auditor's commitment. The trust file asks for the witnesses of `policy`.
    #[track_caller]
    pub fn begin(world: &'a World, policy: &Path, trust: &Path) -> Self {
        let baseline = format!("{}/../docs/policies/baseline.toml", env!("CARGO_MANIFEST_DIR"));
        world.cli(&world.analyst, &["policy", "put", &baseline]).ok();
        let [plan, nonce] = ["plan.json", "auditor.nonce"].map(|name| text(&world.file(name)));
        let day = now().day().to_string();
        let (auditor, trust, policy) = (text(&world.auditor.public), text(trust), text(policy));
        let line = ["audit", "plan", "--engagement", "new", "--auditor-key", &auditor, "--out", &plan];
        let units =
            ["--control", "edr", "--day", &day, "--partial-day", "--sample-size", "1", "--reserves", "0"];
        let risk = ["--risk", "5%", "--tolerable", "5%"];
        world.cli(&world.analyst, &[&line[..], &units, &risk].concat()).ok();
        let pin = ["trust", "pin", "--auditor-key", &auditor, "--made-by", "auditor", "--out", &trust];
        world.cli(&world.auditor, &[&pin[..], &["--witness-policy", &policy]].concat()).ok();
        world.cli(&world.auditor, &["audit", "nonce", "--out", &nonce]).ok();
        let commit = ["audit", "commit", "--plan", &plan, "--nonce", &nonce, "--trust", &trust, "--carry"];
        world.cli(&world.auditor, &commit).ok();
        Self { world, plan, nonce }
    }

    /// From the freeze to the draw.
    #[track_caller]
    pub fn draw(&self) {
        let Self { world, plan, nonce } = self;
        world.cli(&world.analyst, &["audit", "freeze", "--plan", plan]).ok();
        world.cli(&world.auditor, &["audit", "reveal", "--plan", plan, "--nonce", nonce, "--carry"]).ok();
        world.cli(&world.analyst, &["audit", "draw", "--plan", plan]).ok();
    }

    /// Exports a set into a folder of this name; gives its path.
    #[track_caller]
    pub fn export(&self, name: &str) -> PathBuf {
        let set = self.world.file(name);
        let line = ["audit", "export", "--plan", &self.plan, "--out", &text(&set)];
        self.world.cli(&self.world.auditor, &line).ok();
        set
    }
}

/// Both verifiers over a set; their exit codes must agree.
#[track_caller]
pub fn verified(world: &World, set: &Path, trust: &Path) -> [Ran; 2] {
    let line = [text(set), "--trust".to_owned(), text(trust)];
    let first = run(world.programs().verify, &line);
    // `./check` makes this environment beside what it builds; without it the system's Python must do.
    let target =
        Path::new(world.programs().verify).parent().and_then(Path::parent).expect("a build directory");
    let made = target.join("tools/venv/bin/python");
    let mut second = Command::new(if made.exists() { made } else { PathBuf::from("python3") });
    second.arg(format!("{}/oracle/verify.py", env!("CARGO_MANIFEST_DIR"))).args(&line);
    let second = run_command(second);
    assert_eq!(first.code, second.code, "{first:?}\n{second:?}");
    [first, second]
}

/// The first line of a verifier's answer with these words in it; empty if there is none.
pub fn line_with(ran: &Ran, words: &str) -> String {
    ran.out.lines().find(|line| line.contains(words)).unwrap_or_default().to_owned()
}
