//! What `fsck` is asked and what it answers.

use evidence::note::VerifierKey;
use serde::Serialize;

use super::Fault;

/// What was checked and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// True if nothing is wrong.
    pub sound: bool,
    /// Entries that are sealed.
    pub size: u64,
    /// Root over them, hex.
    pub root: String,
    /// Journal segments.
    pub segments: u64,
    /// Entry records that were intact.
    pub entries: u64,
    /// Entries whose payload was erased; no fault.
    pub erased: u64,
    /// Commit records.
    pub commits: u64,
    /// Signed checkpoints.
    pub checkpoints: u64,
    /// Whether the signatures of the checkpoints were checked: a key must be given for that.
    pub signatures_checked: bool,
    /// Bytes of an unacknowledged group at the end; no fault.
    pub torn_bytes: u64,
    /// First entry that the journal holds; the ones before it lie in index, tree and payload bundles.
    pub journal_from: u64,
    /// Index rows compared.
    pub index_rows: u64,
    /// Entries that the index holds. Behind the journal is no fault: it follows in whole bundles, and the next start
    /// brings it level.
    pub index_size: u64,
    /// Payload bundles compared.
    pub payload_bundles: u64,
    /// Cosigned notes that statements name, checked.
    pub notes: u64,
    /// Entries of the public tree's own checkpoint; 0 if there is none. Behind the journal is no fault.
    pub tree_size: u64,
    /// Files of the public tree compared.
    pub tree_files: u64,
    /// What is wrong, in the order of the journal.
    pub faults: Vec<Fault>,
    /// Faults that were not listed, because there were too many.
    pub faults_not_listed: u64,
}

/// What `check` compares with.
#[derive(Default)]
pub struct Options<'a> {
    /// Log keys; without any, signatures of checkpoints are not checked.
    pub log_keys: &'a [VerifierKey],
    /// Origin of the log, if it is known.
    pub origin: Option<&'a str>,
    /// File of the high-water mark, if it is to be compared.
    pub high_water: Option<&'a std::path::Path>,
    /// Leaves of an epoch of the index; 0: the default.
    pub epoch_leaves: u64,
    /// Told how many entries were checked, now and then.
    pub progress: Option<&'a dyn Fn(u64)>,
}
