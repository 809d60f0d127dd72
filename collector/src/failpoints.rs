//! Named crash points in the order of commitments, for tests of what a crash leaves.
//!
//! With the feature `failpoints`, `TALLYSTICK_FAILPOINT=<name>` or `<name>:<nth>` makes the process kill itself
//! (SIGKILL: no destructor, no flush) the first or nth time it reaches that point. Without the feature every function
//! here is empty.
//!
//! | point | a crash here leaves |
//! |---|---|
//! | `group-formed` | nothing of the group |
//! | `data-keys-written` | new data keys that nothing was sealed under: kept if whole, else dropped |
//! | `data-keys-synced` | the same, durable |
//! | `journal-half-written` | half a group without its seal: cut at open |
//! | `journal-written` | all or part of a group that nobody was told of: kept if whole, else cut |
//! | `journal-synced` | the group in the journal; the index is behind and catches up at open |
//! | `group-answered` | acknowledged entries, in the journal; the index may be behind |
//! | `bundles-synced` | payload bundles that no index row knows of: written again |
//! | `index-applied` | index rows that may not be durable: written again from the journal |
//! | `index-synced` | an index that the journal continues |
//! | `epoch-begun` | an epoch of the index with nothing of its own |
//! | `segment-dropped` | a journal whose first segments are gone; what they held is in index, tree and bundles |
//! | `segment-created` | an empty next segment: removed at open |
//! | `segment-continued` | a full segment and an empty one after it |
//! | `checkpoint-signed` | nothing: the note was in memory only |
//! | `checkpoint-synced` | a signed checkpoint nobody has seen, a prefix of the log: published at start, or shown to witnesses |
//! | `high-water-renamed` | the same, and the high-water mark level with it |
//! | `cosigned-synced` | a checkpoint the quorum has cosigned, not published: at the next start it is |
//! | `tree-tiles-put` | tiles that no checkpoint of the public tree covers yet: written again |
//! | `tree-tiles-synced` | the same, durable |
//! | `tree-checkpoint-synced` | a public tree level with its checkpoint, and partial tiles that are not needed: removed at start |
//! | `tombstone-covered` | a tombstone under a checkpoint, and every key it names: erased at the next start |
//! | `data-keys-rewritten` | a tombstone, and a file without the keys beside the one with them: erased at the next start |
//! | `data-keys-renamed` | the same, or the file without the keys |
//! | `log-key-made` | a log key that nothing names: the next `rotate-key` takes it |
//! | `log-key-logged` | the entry that changes the log's key, and the files of before: the next start puts them in their places |
//! | `log-key-kept` | the same, and the old key's file for the time both sign |
//! | `log-key-renamed` | the new key in its place, and its first file beside it: removed at the next start |
//! | `recover-begun` | a data directory that says which checkpoint a recovery must reach, and nothing of it |
//! | `recover-group-synced` | a beginning of what is recovered, which no checkpoint covers: continued by the next `recover` |
//! | `recover-checkpoint-synced` | everything, and the note of what had to be reached: the next start or `recover` removes it |
//! | `rollover-key-written` | a new authority's key and no certificate: of no use to anybody |
//! | `rollover-files-written` | a new authority that the log does not know, and nobody trusts |
//! | `rollover-stored` | a step in the log that the listeners have not taken: they do at the next start |
//! | `rollover-prepared`, `rollover-activated` | a rollover that the next run of the command goes on with |
//! | `rollover-retired` | a rollover that is done |
//! | `renewal-kept` | an issued certificate that no entry names |
//! | `renewal-stored` | a renewal whose device was not answered: it asks again and gets the same certificate |
//! | `enrol-waiting-kept` | a newcomer on the list of those who wait; it was not told and asks again |
//! | `enrol-issued` | a certificate that no entry names and nobody has: the token is unused, the device asks again |
//! | `enrol-logged` | an enrolment the device was not told of: it asks again and gets the same certificate |

/// Every point of the log, in the order of commitments.
pub const POINTS: [&str; 13] = [
    "group-formed",
    "journal-half-written",
    "journal-written",
    "journal-synced",
    "group-answered",
    "bundles-synced",
    "index-applied",
    "index-synced",
    "segment-created",
    "segment-continued",
    "checkpoint-signed",
    "checkpoint-synced",
    "high-water-renamed",
];

/// The point of a log with witnesses.
pub const WITNESS_POINTS: [&str; 1] = ["cosigned-synced"];

/// The points that only a long log, or one of small epochs and segments, reaches.
pub const LONG_POINTS: [&str; 2] = ["epoch-begun", "segment-dropped"];

/// The points of the public tree, which follows the log in a thread of its own while the server runs.
pub const TREE_POINTS: [&str; 3] = ["tree-tiles-put", "tree-tiles-synced", "tree-checkpoint-synced"];

/// The points of the data keys: two before the first group that needs a new key, three while keys are erased.
pub const KEY_POINTS: [&str; 5] = [
    "data-keys-written",
    "data-keys-synced",
    "tombstone-covered",
    "data-keys-rewritten",
    "data-keys-renamed",
];

/// The points of `recover`, beside those of the journal.
pub const RECOVER_POINTS: [&str; 3] = ["recover-begun", "recover-group-synced", "recover-checkpoint-synced"];

/// The points of a rollover, in their order; `rollover-stored` is reached once in each of its three steps.
pub const ROLLOVER_POINTS: [&str; 6] = [
    "rollover-key-written",
    "rollover-files-written",
    "rollover-stored",
    "rollover-prepared",
    "rollover-activated",
    "rollover-retired",
];

/// The points of a renewal of a device's certificate.
pub const RENEWAL_POINTS: [&str; 2] = ["renewal-kept", "renewal-stored"];

/// The points of a change of the log's key, beside those of the journal.
pub const LOG_KEY_POINTS: [&str; 4] = ["log-key-made", "log-key-logged", "log-key-kept", "log-key-renamed"];

/// The points of an enrolment, beside those of the journal.
pub const ENROL_POINTS: [&str; 3] = ["enrol-waiting-kept", "enrol-issued", "enrol-logged"];

/// Kills this process if `point` is the one asked for and this is the asked-for time it is reached.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn reach(_point: &'static str) {}

/// True if the process will stop at `point` sooner or later, for points that need a different write.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn armed(_point: &'static str) -> bool {
    false
}

#[cfg(feature = "failpoints")]
pub use armed::{armed, reach};

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::{
        ENROL_POINTS, KEY_POINTS, LOG_KEY_POINTS, LONG_POINTS, POINTS, RECOVER_POINTS, RENEWAL_POINTS,
        ROLLOVER_POINTS, TREE_POINTS, WITNESS_POINTS,
    };

    /// Variable that names the point, optionally with `:` and which time it is reached.
    const VARIABLE: &str = "TALLYSTICK_FAILPOINT";

    struct Armed {
        point: &'static str,
        left: AtomicU64,
    }

    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

    fn configured() -> Option<Armed> {
        let text = std::env::var(VARIABLE).ok()?;
        let (name, nth) = text.split_once(':').unwrap_or((&text, "1"));
        let of_log = POINTS.iter().chain(&LONG_POINTS).chain(&TREE_POINTS);
        let of_keys = KEY_POINTS.iter().chain(&ROLLOVER_POINTS).chain(&RENEWAL_POINTS).chain(&ENROL_POINTS);
        let of_keys = of_keys.chain(&LOG_KEY_POINTS);
        let mut all = of_log.chain(of_keys).chain(&WITNESS_POINTS).chain(&RECOVER_POINTS);
        let known = all.find(|point| **point == name);
        match (known, nth.parse::<u64>()) {
            (Some(point), Ok(nth)) if nth > 0 => Some(Armed { point, left: AtomicU64::new(nth) }),
            _ => {
                // A test that names no point would pass without testing anything.
                tracing::error!(failpoint = text, "Unknown failpoint; stopping.");
                std::process::abort()
            }
        }
    }

    /// Kills this process if `point` is the one asked for and this is the asked-for time it is reached.
    pub fn reach(point: &'static str) {
        let Some(armed) = ARMED.get_or_init(configured) else { return };
        if armed.point != point || armed.left.fetch_sub(1, Ordering::Relaxed) != 1 {
            return;
        }
        let own = rustix::process::getpid();
        let _sent = rustix::process::kill_process(own, rustix::process::Signal::KILL);
        // SIGKILL may take a moment to arrive; nothing may happen after this point.
        loop {
            std::thread::park();
        }
    }

    /// True if the process will stop at `point` sooner or later, for points that need a different write.
    pub fn armed(point: &'static str) -> bool {
        ARMED.get_or_init(configured).as_ref().is_some_and(|armed| armed.point == point)
    }
}
