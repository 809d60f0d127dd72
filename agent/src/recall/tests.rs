use std::cell::Cell;
use std::fs;

use evidence::ids::Digest;
use probes::{Platform, Program, Recording, Replay};

use super::*;
use crate::observe::observe;

const MINUTE_MS: u64 = 60_000;
/// A moment long after the prints below are settled.
const NOON_MS: u64 = 29_000_000 * MINUTE_MS;

/// A machine whose package manager counts how often it was run, and says a number.
#[derive(Default)]
struct Counting {
    runs: Cell<u32>,
    says: RefCell<Option<Answer>>,
}

impl Host for &Counting {
    fn answer(&self, _question: &Question) -> Result<Answer, NoAnswer> {
        self.runs.set(self.runs.get() + 1);
        let said = self.says.borrow().clone();
        Ok(said.unwrap_or_else(|| output(0, &format!("run {}\n", self.runs.get()))))
    }
}

fn output(status: u32, stdout: &str) -> Answer {
    Answer::Output { status, stdout: stdout.into(), stderr: Vec::new() }
}

/// Prints that tests change.
struct Made {
    states: RefCell<Vec<&'static [u8]>>,
    settled_ns: Cell<i128>,
    stays: Cell<bool>,
    visible: Cell<bool>,
}

impl Default for Made {
    fn default() -> Self {
        Self {
            states: RefCell::new(vec![b"as it was"]),
            settled_ns: Cell::new(0),
            stays: Cell::new(true),
            visible: Cell::new(true),
        }
    }
}

impl Prints for &Made {
    fn print(&self, _inputs: &Inputs) -> Option<Print> {
        let mut states = self.states.borrow_mut();
        // The last one stays.
        let state = if states.len() > 1 { states.remove(0) } else { states[0] };
        let print = Print { digest: Digest::of(state), settled_ns: self.settled_ns.get() };
        self.visible.get().then_some(print)
    }

    fn stays(&self, _inputs: &Inputs) -> bool {
        self.stays.get()
    }
}

/// A folder for the file, a machine, its prints, and a clock.
struct Bench {
    folder: tempfile::TempDir,
    machine: Counting,
    made: Made,
    now: RefCell<When>,
}

impl Bench {
    fn new() -> Self {
        let boot = Boot { id: "boot".to_owned(), minutes: 100 };
        Self {
            folder: tempfile::tempdir().unwrap(),
            machine: Counting::default(),
            made: Made::default(),
            now: RefCell::new(When { wall_ms: NOON_MS, boot }),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(ANSWERS_FILE)
    }

    /// One look that asks the package manager one thing: what it said, and since when.
    fn look(&self) -> (Answer, Option<u64>) {
        let recall =
            Recall::open(&self.machine, &self.made, &self.path(), || Some(self.now.borrow().clone()));
        let question = simulate();
        let answer = recall.answer(&question).unwrap();
        let since = recall.kept_since(&question);
        (answer, since)
    }

    fn pass(&self, minutes: u64) {
        let mut now = self.now.borrow_mut();
        now.wall_ms += minutes * MINUTE_MS;
        now.boot.minutes += minutes;
    }

    /// Runs of the package manager over one more look.
    fn runs_of_a_look(&self) -> u32 {
        let before = self.machine.runs.get();
        self.look();
        self.machine.runs.get() - before
    }
}

fn simulate() -> Question {
    Question::run(Program::AptGet, &["-s", "dist-upgrade"])
}

#[test]
fn while_nothing_changes_the_program_is_asked_once_and_its_minute_is_told() {
    let bench = Bench::new();
    assert_eq!(bench.look(), (output(0, "run 1\n"), None));
    for _ in 0..3 {
        bench.pass(360);
        assert_eq!(bench.look(), (output(0, "run 1\n"), Some(NOON_MS / MINUTE_MS)));
    }
    assert_eq!(bench.machine.runs.get(), 1);
}

#[test]
fn after_a_day_it_is_asked_again_whatever_the_clock_on_the_wall_says() {
    let bench = Bench::new();
    bench.look();
    bench.pass(AGE_MINUTES_MAX - 1);
    assert_eq!(bench.runs_of_a_look(), 0);
    bench.pass(1);
    assert_eq!(bench.runs_of_a_look(), 1);
    // Set back by a day in between: the boot's own clock tells.
    bench.pass(AGE_MINUTES_MAX);
    bench.now.borrow_mut().wall_ms -= AGE_MINUTES_MAX * MINUTE_MS;
    assert_eq!(bench.runs_of_a_look(), 1);
    // An answer of the future, and one of a boot that is younger than when it was given.
    bench.now.borrow_mut().wall_ms -= MINUTE_MS;
    assert_eq!(bench.runs_of_a_look(), 1);
    bench.now.borrow_mut().boot.minutes = 0;
    assert_eq!(bench.runs_of_a_look(), 1);
    // After a restart the wall alone counts.
    *bench.now.borrow_mut() = When { wall_ms: NOON_MS * 2, boot: Boot { id: "next".to_owned(), minutes: 1 } };
    assert_eq!(bench.runs_of_a_look(), 1);
    bench.now.borrow_mut().boot = Boot { id: "after".to_owned(), minutes: 2 };
    assert_eq!(bench.runs_of_a_look(), 0);
}

#[test]
fn a_change_makes_it_be_asked_and_so_does_what_cannot_be_seen() {
    let bench = Bench::new();
    bench.look();
    *bench.made.states.borrow_mut() = vec![b"otherwise"];
    assert_eq!(bench.look(), (output(0, "run 2\n"), None));
    assert_eq!(bench.runs_of_a_look(), 0);
    bench.made.visible.set(false);
    assert_eq!(bench.runs_of_a_look(), 1);
}

#[test]
fn what_may_have_changed_under_the_run_is_not_kept() {
    let bench = Bench::new();
    // Before the run, and after it.
    *bench.made.states.borrow_mut() = vec![b"before", b"after"];
    bench.look();
    assert_eq!(bench.runs_of_a_look(), 1);
    assert_eq!(bench.runs_of_a_look(), 0);
    // A file changed so short ago that it could change once more and look the same.
    *bench.made.states.borrow_mut() = vec![b"just now"];
    bench.made.settled_ns.set(i128::from(NOON_MS) * 1_000_000);
    assert_eq!([bench.runs_of_a_look(), bench.runs_of_a_look()], [1, 1]);
    bench.made.settled_ns.set(i128::from(NOON_MS) * 1_000_000 - 1);
    assert_eq!([bench.runs_of_a_look(), bench.runs_of_a_look()], [1, 0]);
}

#[test]
fn settings_that_lead_elsewhere_keep_nothing() {
    let bench = Bench::new();
    bench.made.stays.set(false);
    assert_eq!([bench.runs_of_a_look(), bench.runs_of_a_look()], [1, 1]);
}

#[test]
fn only_answers_of_a_program_that_did_its_work_are_kept() {
    let signal = 256 + 9;
    let others = [
        output(100, "E: Unable to lock\n"),
        output(signal, ""),
        Answer::TimedOut,
        Answer::TooLarge,
        Answer::Denied,
        Answer::Absent,
        Answer::Failed,
    ];
    for answer in others {
        let bench = Bench::new();
        // It also takes the place of a good answer that was kept.
        bench.look();
        *bench.made.states.borrow_mut() = vec![b"otherwise"];
        *bench.machine.says.borrow_mut() = Some(answer.clone());
        assert_eq!(bench.look(), (answer.clone(), None));
        *bench.made.states.borrow_mut() = vec![b"as it was"];
        assert_eq!(bench.look(), (answer, None));
    }
}

#[test]
fn a_damaged_file_is_as_good_as_none() {
    let bench = Bench::new();
    bench.look();
    let whole = fs::read(bench.path()).unwrap();
    for position in (0..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[position] ^= 1;
        fs::write(bench.path(), &damaged).unwrap();
        assert_eq!(bench.runs_of_a_look(), 1, "byte {position}");
        fs::write(bench.path(), &whole[..position]).unwrap();
        assert_eq!(bench.runs_of_a_look(), 1, "cut at {position}");
    }
    fs::write(bench.path(), &whole).unwrap();
    assert_eq!(bench.runs_of_a_look(), 0);
}

#[cfg(unix)]
#[test]
fn a_file_that_others_may_write_is_not_believed() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::new();
    bench.look();
    fs::set_permissions(bench.path(), fs::Permissions::from_mode(0o620)).unwrap();
    assert_eq!(bench.runs_of_a_look(), 1);
    // The new file is our own again. A link to it is not.
    assert_eq!(bench.runs_of_a_look(), 0);
    let elsewhere = bench.folder.path().join("elsewhere");
    fs::rename(bench.path(), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, bench.path()).unwrap();
    assert_eq!(bench.runs_of_a_look(), 1);
}

/// A recorded machine that counts the programs that were run.
struct Machine {
    replay: Replay,
    runs: RefCell<Vec<String>>,
}

impl Host for &Machine {
    fn answer(&self, question: &Question) -> Result<Answer, NoAnswer> {
        if matches!(question, Question::Run { .. } | Question::RunAs { .. }) {
            self.runs.borrow_mut().push(question.to_string());
        }
        self.replay.answer(question)
    }
}

/// Programs of a look at an unchanged machine: a server, and a laptop at which somebody works with GNOME and an EDR.
const PROGRAMS: [(&str, usize); 2] = [("server", 7), ("laptop", 16)];

fn machine(name: &str) -> Machine {
    let read = |name: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../probes/recordings");
        Recording::parse(&fs::read_to_string(folder.join(format!("{name}.toml"))).unwrap()).unwrap()
    };
    let mut recording = read(name);
    while let Some(base) = recording.based_on.clone() {
        recording = recording.over(read(&base));
    }
    Machine { replay: recording.replay().unwrap(), runs: RefCell::default() }
}

#[test]
fn a_second_look_at_an_unchanged_machine_runs_no_package_manager_and_sees_the_same() {
    for (name, programs) in PROGRAMS {
        let machine = machine(name);
        let bench = Bench::new();
        let look = || {
            let now = || Some(bench.now.borrow().clone());
            let recall = Recall::open(&machine, &bench.made, &bench.path(), now);
            (observe(Platform::Linux, &recall).unwrap(), machine.runs.take())
        };
        let (first, first_runs) = look();
        bench.pass(360);
        let (second, second_runs) = look();
        let is_kept = |run: &&String| run.starts_with("run apt");
        let (kept, others): (Vec<&String>, Vec<&String>) = first_runs.iter().partition(is_kept);
        assert_eq!(kept.len(), 4, "{kept:?}");
        assert_eq!(second_runs.iter().collect::<Vec<_>>(), others);
        assert_eq!(second_runs.len(), programs, "{name}: {second_runs:?}");
        // The same bytes, and so the same facts but for their minute.
        assert_eq!(first.answers_digest, second.answers_digest);
        for (before, after) in first.observations.into_iter().zip(second.observations) {
            let rests_on_apt = ["automatic-updates", "os-patch"].contains(&after.control.as_str());
            assert_eq!(before.kept_minutes, None);
            assert_eq!(after.kept_minutes, rests_on_apt.then_some(NOON_MS / MINUTE_MS), "{}", after.control);
            assert_eq!(before, proto::Observation { kept_minutes: None, ..after });
        }
    }
}
