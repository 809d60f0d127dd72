//! `payload.sums`: SHA-256 of each file of payloads as it was last checked or written, in the form `sha256sum --check`
//! reads. Sealed bytes cannot be compared with the log; that they changed on disk can be noticed.

use std::collections::BTreeMap;

use evidence::ids::Digest;

use super::super::copy::Copy;

/// Where they lie.
const PATH: &str = "payload.sums";
/// Largest file of sums, bytes: 90 for each bundle of a thousand million entries.
const SUMS_BYTES_MAX: usize = 400 << 20;

/// Sums by path in the folder.
#[derive(Debug, Default)]
pub(super) struct Sums {
    sums: BTreeMap<String, Digest>,
    changed: bool,
}

impl Sums {
    /// Those of the copy; a line without a form is none.
    pub(super) fn read(copy: &Copy) -> anyhow::Result<Self> {
        let bytes = copy.file(PATH, SUMS_BYTES_MAX)?.unwrap_or_default();
        let lines = String::from_utf8_lossy(&bytes);
        let sum = |line: &str| {
            let (hex, path) = line.split_once("  ")?;
            Some((path.to_owned(), Digest::from_hex(hex).ok()?))
        };
        Ok(Self { sums: lines.lines().filter_map(sum).collect(), changed: false })
    }

    /// Whether the file at `path` was written with other bytes. One without a sum was written whole by a run that was cut off
    /// before it wrote the sums.
    pub(super) fn contradict(&self, path: &str, bytes: &[u8]) -> bool {
        self.sums.get(path).is_some_and(|sum| *sum != Digest::of(bytes))
    }

    /// Takes what lies at `path` now.
    pub(super) fn put(&mut self, path: &str, bytes: &[u8]) {
        let sum = Digest::of(bytes);
        self.changed |= self.sums.insert(path.to_owned(), sum) != Some(sum);
    }

    /// Forgets the files of a folder, but for `keep`.
    pub(super) fn forget_all_but(&mut self, folder: &str, keep: &str) {
        let kept = format!("{folder}/{keep}");
        let below = |path: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        let found = self.sums.range(folder.to_owned()..).map(|(path, _)| path);
        let gone: Vec<String> = found
            .take_while(|path| path.starts_with(folder))
            .filter(|path| below(path) && **path != kept)
            .cloned()
            .collect();
        for path in gone {
            self.sums.remove(&path);
            self.changed = true;
        }
    }

    /// Writes them, if they changed.
    pub(super) fn write(&mut self, copy: &mut Copy) -> anyhow::Result<()> {
        if !std::mem::take(&mut self.changed) {
            return Ok(());
        }
        let mut text = String::new();
        for (path, sum) in &self.sums {
            text.extend([sum.hex().as_str(), "  ", path, "\n"]);
        }
        copy.put_private(PATH, text.as_bytes())
    }
}
