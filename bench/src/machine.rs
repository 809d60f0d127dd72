//! What the figures were measured on.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

/// The machine, as far as a reader needs it to judge the figures.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Threads that run at once.
    pub cores: usize,
    /// Model name of the CPU.
    pub cpu: String,
    /// Release of the kernel.
    pub kernel: String,
    /// Type of the file system the collector writes to.
    pub filesystem: String,
    /// Memory, MiB.
    pub memory_mib: u64,
}

impl Machine {
    /// This machine; `directory` is where the collector writes.
    pub fn here(directory: &Path) -> Self {
        let cpu = line_value("/proc/cpuinfo", "model name");
        let memory = line_value("/proc/meminfo", "MemTotal");
        let memory = memory.split(' ').next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default();
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            filesystem: filesystem(directory).unwrap_or_else(|| "unknown".to_owned()),
            memory_mib: memory / 1024,
        }
    }

    /// For the JSON report.
    pub fn json(&self) -> Value {
        json!({ "cores": self.cores, "cpu": self.cpu, "kernel": self.kernel, "filesystem": self.filesystem,
                "memory_mib": self.memory_mib })
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cores, cpu, kernel, filesystem, memory_mib } = self;
        write!(f, "{cores} cores of {cpu}, {memory_mib} MiB, Linux {kernel}, {filesystem}")
    }
}

/// The three load averages: whether somebody else was using the machine.
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn line_value(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
    line.unwrap_or("unknown").trim().to_owned()
}

/// Type of the mount that holds `directory`: the longest mount point that it lies below.
fn filesystem(directory: &Path) -> Option<String> {
    let directory = fs::canonicalize(directory).ok()?;
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let fields = mounts.lines().map(|line| {
        let mut fields = line.split(' ').skip(1);
        (fields.next().unwrap_or_default(), fields.next().unwrap_or_default())
    });
    let holding = fields.filter(|(mount, _)| directory.starts_with(mount));
    holding.max_by_key(|(mount, _)| mount.len()).map(|(_, kind)| kind.to_owned())
}
