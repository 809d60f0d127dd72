//! Folders of tests that ask nothing of a disk.

use std::path::Path;

/// Where a system keeps files in memory.
const MEMORY: &str = "/dev/shm";

/// A folder in memory where there is one, since thousands of syncs say nothing in a test that loses no power.
#[track_caller]
pub fn in_memory() -> tempfile::TempDir {
    let memory = Path::new(MEMORY);
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.expect("a folder")
}
