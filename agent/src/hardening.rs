//! What this process does with itself before it reads a key: its memory goes into no file and to no other program of its user.

/// Forbids core dumps of this process and of the programs it starts, and looks into its memory by others than root.
///
/// Memory may still be written to swap, which only the system's administrator can encrypt or switch off: locking it takes
/// calls that are not safe.
pub fn harden() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
        let nothing = Rlimit { current: Some(0), maximum: Some(0) };
        if let Err(error) = setrlimit(Resource::Core, nothing) {
            tracing::warn!(%error, "Core dumps were not forbidden.");
        }
        if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
            tracing::warn!(%error, "This process's memory was not closed to others.");
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};

    #[test]
    fn nothing_of_this_process_is_written_out_or_looked_at() {
        super::harden();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        let limit = getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
        // What the probes need of this process is still there.
        std::env::current_exe().unwrap();
        std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    }
}
