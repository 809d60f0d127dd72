//! What a running process takes of the machine, as /proc says.

use std::fs;

/// Ticks of a second in /proc/PID/stat: USER_HZ is 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Resident memory of a process, KiB.
pub fn resident_kib(process: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    kib.expect("a line VmRSS")
}

/// Processor time of a process, user and system, seconds.
pub fn processor_seconds(process: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).expect("the process runs");
    // The name stands in parentheses and may hold anything; the fields after it are 3 onwards (proc(5)).
    let after = text.rsplit_once(") ").expect("a line of /proc/PID/stat").1;
    let ticks = after.split(' ').skip(11).take(2).map(|field| field.parse::<u32>().expect("a number"));
    ticks.map(f64::from).sum::<f64>() / TICKS_PER_SECOND
}

/// The value below which `quantile` (0 to 1) of a sample lies, by nearest rank.
pub fn quantile(sample: &[f64], quantile: f64) -> f64 {
    let mut sorted = sample.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank between 1 and the length of a sample"
    )]
    let rank = (quantile * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted[rank - 1]
}
