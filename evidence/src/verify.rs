//! Verifying a sampling set: the numbered checks of docs/FORMAT.md section 12, over bytes somebody else read.
//!
//! A check list, never a bare yes. What cannot be run says why.

use std::collections::BTreeMap;

use crate::acts::TreeHead;
use crate::authority::{Authority, Ceremony};
use crate::ids::Digest;
use crate::leaf::Stream;
use crate::log_keys::LogKeys;
use crate::note::{Checkpoint, Note};
use crate::set::{Files, Manifest, StreamEntry};
use crate::trust::Trust;
use crate::witness_policy::{Standing, WitnessPolicy};

mod ceremony;
mod completeness;
mod export;
mod files;
mod statements;
mod streams;
mod times;
mod units;

pub use completeness::ReadTree;
pub use times::UnitTime;

/// The checks by number, from 1.
pub const NAMES: [&str; 25] = [
    "files",
    "trust",
    "checkpoint",
    "streams",
    "stream proofs",
    "acts",
    "genesis",
    "authority",
    "enrolments",
    "plan",
    "ceremony",
    "freeze",
    "population",
    "draw",
    "consistency",
    "statements",
    "units",
    "results",
    "export",
    "simulated",
    "completeness",
    "witnesses",
    "stamp",
    "beacon",
    "times",
];
/// A set is sound only if every check up to this one ran.
const MUST_RUN: u8 = 19;

/// What became of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It holds; the value used, for people.
    Passed(String),
    /// It does not; where and why.
    Failed(String),
    /// It was not run; why.
    NotRun(String),
}

/// One numbered check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its number in section 12.
    pub number: u8,
    /// Its name there.
    pub name: &'static str,
    /// What became of it.
    pub outcome: Outcome,
}

/// The check list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Checks 1 to 25, in order.
    pub checks: Vec<Check>,
    /// Facts a reader must see first: who made the trust file, witnesses, simulated time.
    pub notices: Vec<String>,
    /// When the statements that decided units were signed, by folder; empty unless check 25 passed.
    pub times: Vec<UnitTime>,
}

impl Report {
    /// Whether the set may be relied on for what it shows.
    pub fn is_sound(&self) -> bool {
        self.checks.iter().all(|check| match check.outcome {
            Outcome::Passed(_) => true,
            Outcome::Failed(_) => false,
            Outcome::NotRun(_) => check.number > MUST_RUN,
        })
    }

    /// Numbers of the failed checks.
    pub fn failed(&self) -> Vec<u8> {
        self.checks
            .iter()
            .filter(|check| matches!(check.outcome, Outcome::Failed(_)))
            .map(|check| check.number)
            .collect()
    }
}

/// Anything in the set's folder that is not a regular file, named by the caller who read it.
pub type Irregular = Vec<String>;

/// What the checks find out and build on.
#[derive(Default)]
struct Found {
    outcomes: BTreeMap<u8, Outcome>,
    manifest: Option<Manifest>,
    trust: Option<Trust>,
    witnesses: Option<WitnessPolicy>,
    /// The trust file's log keys, and those that the roster leads to from them.
    log_keys: Option<LogKeys>,
    /// How the set's checkpoint and the export proof's stand under the policy.
    standing: Option<Standing>,
    standing_later: Option<Standing>,
    checkpoint: Option<Checkpoint>,
    streams: BTreeMap<Stream, Vec<StreamEntry>>,
    authority: Option<Authority>,
    /// Roster as the freeze names it.
    frozen: Option<Authority>,
    ceremony: Option<Ceremony>,
    statements: statements::Statements,
    times: Vec<UnitTime>,
    /// The check at which folding the streams stopped: what builds on the fold cannot be run.
    stopped: Option<u8>,
}

type Verdict = Result<String, String>;

impl Found {
    /// Runs a check if those it needs passed.
    fn run(&mut self, number: u8, needs: &[u8], check: impl FnOnce(&mut Self) -> Verdict) {
        let missing = needs.iter().find(|need| !matches!(self.outcomes.get(need), Some(Outcome::Passed(_))));
        let stopped = self.stopped.filter(|_| number > 7);
        let outcome = match missing.copied().or(stopped) {
            Some(need) => Outcome::NotRun(format!("needs check {need}")),
            None => match check(self) {
                Ok(detail) => Outcome::Passed(detail),
                Err(detail) => Outcome::Failed(detail),
            },
        };
        // A check that an earlier one already found failed stays failed.
        self.outcomes.entry(number).or_insert(outcome);
    }

    fn head(&self) -> Option<TreeHead> {
        self.manifest.as_ref().map(|manifest| manifest.checkpoint)
    }
}

/// Verifies a set. `trust` holds the trust file's bytes; `irregular` names links and special files of the folder.
pub fn verify(files: &Files, irregular: &Irregular, trust: &[u8]) -> Report {
    verify_with_tree(files, irregular, trust, None)
}

/// The same with a copy of the log's public tree, which check 21 reads whole.
pub fn verify_with_tree(
    files: &Files,
    irregular: &Irregular,
    trust: &[u8],
    tree: Option<ReadTree<'_>>,
) -> Report {
    let mut found = Found::default();
    files::manifest(&mut found, files);
    found.run(1, &[], |found| files::complete(found, files, irregular));
    let parsed = found.manifest.is_some();
    if parsed {
        found.run(2, &[], |found| files::trust(found, files, trust));
        found.run(3, &[2], |found| files::checkpoint(found, files));
        found.run(4, &[], |found| streams::parse(found, files));
        found.run(5, &[3, 4], |found| streams::proofs(found, files));
        found.run(6, &[4], streams::acts);
        streams::fold(&mut found);
        found.run(7, &[2, 4, 6], streams::genesis);
        found.run(8, &[4, 6, 7], |_| Ok("every act is signed by whom it must be".into()));
        found.run(9, &[4, 6, 7, 8], streams::enrolments);
        found.run(10, &[2, 4, 6], |found| ceremony::plan(found, files));
        found.run(11, &[4, 6, 7, 8, 10], ceremony::steps);
        found.run(12, &[4, 6, 7, 10, 11], ceremony::freeze);
        found.run(13, &[4, 6, 7, 10, 11, 12], |found| ceremony::population(found, files));
        found.run(14, &[4, 6, 7, 10, 11, 12], |found| ceremony::draw(found, files));
        found.run(15, &[2, 3, 4, 6, 7, 10, 11, 12], |found| ceremony::consistency(found, files));
        found.run(16, &[3, 4, 6, 7, 9, 10, 11, 12], |found| statements::check(found, files));
        found.run(17, &[4, 6, 7, 10, 11, 12, 14, 16], |found| units::check(found, files));
        found.run(18, &[4, 6, 7, 10, 11, 12, 13, 17], |found| units::results(found, files));
        found.run(19, &[2, 3, 4, 6, 7], |found| export::check(found, files));
        found.run(20, &[2, 4, 6, 7], export::simulated);
        if let Some(read) = tree {
            found.run(21, &[2, 3, 4, 12, 19], |found| completeness::check(found, files, read));
        }
        if found.witnesses.as_ref().is_some_and(WitnessPolicy::has_quorum) {
            found.run(22, &[2, 3, 4, 6, 7, 19], export::witnesses);
        }
        found.run(25, &[15, 17, 19], |found| times::check(found, files));
    }
    for number in 2..=20 {
        found.outcomes.entry(number).or_insert_with(|| Outcome::NotRun("the manifest cannot be read".into()));
    }
    let stamped = files.contains_key(crate::set::MANIFEST_TSR);
    let not_run = [
        (21, "needs the public tree"),
        (23, if stamped { "this verifier does not read RFC 3161 stamps yet" } else { "no stamp" }),
        (24, "plan has no beacon"),
        (25, "the manifest cannot be read"),
    ];
    for (number, why) in not_run {
        found.outcomes.entry(number).or_insert_with(|| Outcome::NotRun(why.into()));
    }
    let unasked = export::no_quorum(&found);
    found.outcomes.entry(22).or_insert(Outcome::NotRun(unasked));
    let notices = export::notices(&found);
    let checks = NAMES
        .iter()
        .zip(1_u8..)
        .map(|(name, number)| Check {
            number,
            name,
            outcome: found.outcomes.remove(&number).unwrap_or_else(|| Outcome::NotRun("not reached".into())),
        })
        .collect();
    Report { checks, notices, times: found.times }
}

/// The bytes of a file, or a sentence that it is missing.
fn file<'a>(files: &'a Files, path: &str) -> Result<&'a [u8], String> {
    files.get(path).map(Vec::as_slice).ok_or_else(|| format!("{path} is missing"))
}

/// The note in a file.
fn note(files: &Files, path: &str) -> Result<Note, String> {
    Note::parse(file(files, path)?).map_err(|error| format!("{path}: {error}"))
}

/// First eight hex digits, for details.
fn short(digest: &Digest) -> String {
    digest.hex().chars().take(8).collect()
}

#[cfg(test)]
mod tests;
