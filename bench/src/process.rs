//! A program under measurement: started, watched through /proc, stopped.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

/// Ticks of a second in /proc/PID/stat: USER_HZ is 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;
/// How long a program may take to stop.
const STOP_MAX: Duration = Duration::from_secs(30);

/// A running program. It is killed when dropped.
pub struct Process {
    child: Child,
}

/// Memory of a process, KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Resident, shared pages counted whole.
    pub rss_kib: u64,
    /// Resident, shared pages divided by their sharers.
    pub pss_kib: u64,
    /// Pages nobody shares that it wrote to.
    pub private_dirty_kib: u64,
    /// Most that was ever resident.
    pub peak_rss_kib: u64,
}

/// CPU time of a process since its start, seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cpu {
    /// Its own, user and system.
    pub own: f64,
    /// Of its children that ended and were waited for.
    pub children: f64,
}

impl Process {
    /// Starts a program with its standard error in `log`.
    pub fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let log = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let child = child.with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { child })
    }

    /// False once it has ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// CPU time so far.
    pub fn cpu(&self) -> anyhow::Result<Cpu> {
        cpu_of(&self.child.id().to_string())
    }

    /// Memory now.
    pub fn memory(&self) -> anyhow::Result<Memory> {
        memory_of(&self.child.id().to_string())
    }

    /// Asks it to stop and waits.
    pub fn stop(mut self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a process id")?;
        kill_process(pid, Signal::TERM).context("cannot stop the program")?;
        let begun = Instant::now();
        while begun.elapsed() < STOP_MAX {
            if let Some(status) = self.child.try_wait()? {
                anyhow::ensure!(status.success(), "the program ended with {status}");
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the program did not stop within {} s", STOP_MAX.as_secs())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has usually ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Memory of a process (`self` or a number).
pub fn memory_of(process: &str) -> anyhow::Result<Memory> {
    let field = |file: &str, name: &str| {
        let path = format!("/proc/{process}/{file}");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        kib.with_context(|| format!("{path} has no {name}"))
    };
    Ok(Memory {
        rss_kib: field("smaps_rollup", "Rss:")?,
        pss_kib: field("smaps_rollup", "Pss:")?,
        private_dirty_kib: field("smaps_rollup", "Private_Dirty:")?,
        peak_rss_kib: field("status", "VmHWM:")?,
    })
}

/// CPU time of a process (`self` or a number) and of its children that ended.
pub fn cpu_of(process: &str) -> anyhow::Result<Cpu> {
    let path = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The name stands in parentheses and may hold anything; the fields after it are 3 onwards (proc(5)).
    let after = text.rsplit_once(") ").context("a line of /proc/PID/stat")?.1;
    let ticks: Vec<f64> = after.split(' ').skip(11).take(4).filter_map(|field| field.parse().ok()).collect();
    let [user, system, children_user, children_system] = ticks[..] else { bail!("{path} is too short") };
    let own = (user + system) / TICKS_PER_SECOND;
    Ok(Cpu { own, children: (children_user + children_system) / TICKS_PER_SECOND })
}

/// Runs a program to its end and gives its standard output; anything but exit code 0 is an error with what it said.
pub fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    anyhow::ensure!(output.status.success(), "{command:?} ended with {}: {said}", output.status);
    String::from_utf8(output.stdout).context("a program did not write text")
}
