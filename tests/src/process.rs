//! Real programs: run to their end within a time, or kept running and killed when the test is over.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take before the test fails. Generous: a busy machine is no fault.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// Between two looks at a condition.
const GLANCE: Duration = Duration::from_millis(10);

/// The programs under test, as Cargo built them for this test.
#[derive(Debug, Clone, Copy)]
pub struct Programs {
    /// `tallystick-agent`.
    pub agent: &'static str,
    /// `tallystick-collector`, with crash points.
    pub collector: &'static str,
    /// `tallystick`.
    pub cli: &'static str,
    /// `tallystick-verify`.
    pub verify: &'static str,
}

/// The programs; only a test target knows where they are.
#[macro_export]
macro_rules! programs {
    () => {
        $crate::process::Programs {
            agent: env!("CARGO_BIN_EXE_agent"),
            collector: env!("CARGO_BIN_EXE_collector"),
            cli: env!("CARGO_BIN_EXE_cli"),
            verify: env!("CARGO_BIN_EXE_verify"),
        }
    };
}

/// What a program did.
#[derive(Debug)]
pub struct Ran {
    /// The command line, for messages.
    pub line: String,
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ran {
    /// Its standard output, if it ended with 0.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}\n{}\n{}", self.line, self.out, self.err);
        self.out
    }

    /// Its standard error, if it ended with `code`, which is not 0.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}\n{}\n{}", self.line, self.out, self.err);
        self.err
    }

    /// Its standard output, if it ended with `code`: an answer that is no.
    #[track_caller]
    pub fn fails_with(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}\n{}\n{}", self.line, self.out, self.err);
        self.out
    }

    /// Its standard output as JSON, if it ended with 0.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        let line = self.line.clone();
        let out = self.ok();
        serde_json::from_str(out.trim()).unwrap_or_else(|error| panic!("{line}: {error}:\n{out}"))
    }

    /// Its standard output as JSON, if it ended with `code`, which is not 0.
    #[track_caller]
    pub fn fails_json(self, code: i32) -> serde_json::Value {
        assert_eq!(self.code, Some(code), "{}\n{}\n{}", self.line, self.out, self.err);
        let (line, out) = (self.line, self.out);
        serde_json::from_str(out.trim()).unwrap_or_else(|error| panic!("{line}: {error}:\n{out}"))
    }
}

/// Runs a program to its end.
#[track_caller]
pub fn run<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Ran {
    let mut command = Command::new(program);
    command.args(arguments);
    run_command(command)
}

/// Runs a prepared command to its end.
#[track_caller]
pub fn run_command(mut command: Command) -> Ran {
    let line = format!("{command:?}");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = spawn(&mut command).unwrap_or_else(|error| panic!("{line}: {error}"));
    // Both pipes are read beside the wait, so that neither can fill up.
    let out = reader(child.stdout.take().expect("piped"));
    let err = reader(child.stderr.take().expect("piped"));
    let status = wait_child(&mut child, PATIENCE);
    if status.is_none() {
        child.kill().expect("the child can be killed");
        child.wait().expect("the child ends");
    }
    let (out, err) = (out.join().expect("read"), err.join().expect("read"));
    let status = status.unwrap_or_else(|| panic!("{line} did not end in {PATIENCE:?}:\n{out}\n{err}"));
    Ran { line, code: status.code(), out, err }
}

/// Starts a program. One that this process has just copied may be held open for writing by a child that another thread
/// started meanwhile, until that child runs its own program: then it is asked again.
fn spawn(command: &mut Command) -> std::io::Result<std::process::Child> {
    let until = Instant::now() + PATIENCE;
    loop {
        match command.spawn() {
            Err(error)
                if error.kind() == std::io::ErrorKind::ExecutableFileBusy && Instant::now() < until =>
            {
                std::thread::sleep(GLANCE);
            }
            done => return done,
        }
    }
}

fn reader(mut pipe: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("the pipe can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn wait_child(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let until = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait().expect("the child can be waited for") {
            return Some(status);
        }
        if Instant::now() >= until {
            return None;
        }
        std::thread::sleep(GLANCE);
    }
}

/// Waits until `condition` gives a value.
#[track_caller]
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < until, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(GLANCE);
    }
}

/// A program that runs until it is stopped, killed or dropped. Its output goes to a file.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts it, with both outputs appended to `log`.
    #[track_caller]
    pub fn start(mut command: Command, log: &Path) -> Self {
        let open = || File::options().create(true).append(true).open(log).expect("the log can be opened");
        let child = command
            .stdin(Stdio::null())
            .stdout(open())
            .stderr(open())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, log: log.to_owned() }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        let mut bytes = Vec::new();
        File::open(&self.log).and_then(|mut file| file.read_to_end(&mut bytes)).expect("the log can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the child can be waited for")
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(mut self) {
        self.child.kill().expect("the child can be killed");
        self.child.wait().expect("the child ends");
    }

    /// SIGTERM, and expects an orderly end.
    #[track_caller]
    pub fn stop(mut self) {
        let id = i32::try_from(self.child.id()).expect("a process id");
        kill_process(Pid::from_raw(id).expect("not 0"), Signal::TERM).expect("the child can be signalled");
        let status = wait_child(&mut self.child, PATIENCE);
        let status = status.unwrap_or_else(|| panic!("it did not stop:\n{}", self.said()));
        assert!(status.success(), "it stopped with {status}:\n{}", self.said());
    }

    /// Waits for its end by SIGKILL of its own.
    #[track_caller]
    pub fn wait_killed(mut self) {
        let status = wait_child(&mut self.child, PATIENCE);
        let status = status.unwrap_or_else(|| panic!("it was not killed:\n{}", self.said()));
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "it ended with {status}:\n{}", self.said());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already ended is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
