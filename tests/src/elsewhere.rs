//! A folder on another file system than the temporary folders of the tests, for a high-water mark that a
//! restored copy of the data directory does not bring back.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use tempfile::TempDir;

/// Places that are often file systems of their own and that anybody may write to.
const PLACES: [&str; 5] = ["/dev/shm", "/var/tmp", "/tmp", "/run/lock", env!("CARGO_MANIFEST_DIR")];

/// A new folder on another file system than the one temporary folders lie on.
///
/// # Panics
///
/// If there is none: on Linux /dev/shm is one, unless TMPDIR points there too.
#[track_caller]
pub fn folder() -> TempDir {
    let device = |path: &str| fs::metadata(path).ok().map(|found| found.dev());
    let here = std::env::temp_dir().display().to_string();
    let home = device(&here).expect("the folder of temporary files");
    PLACES
        .iter()
        .filter(|place| device(place).is_some_and(|other| other != home))
        .find_map(|place| tempfile::Builder::new().prefix("tallystick-").tempdir_in(place).ok())
        .unwrap_or_else(|| {
            panic!("no file system but that of {here} can be written to: mount a tmpfs on /dev/shm")
        })
}
