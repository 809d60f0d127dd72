//! Check 25: the anchors of statements, and when each statement was signed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::{Found, Verdict, file, note};
use crate::acts::Act;
use crate::ids::{Digest, UnitId};
use crate::interval::{Interval, Marks, Witnessed, cosigned_by, cosigned_since};
use crate::leaf::{Kind, Stream};
use crate::merkle;
use crate::note::{Checkpoint, parse_hash_lines};
use crate::set::{ANCHORS, Files, UnitView, anchor_path, consistency_path};
use crate::statement::Anchor;
use crate::time::Timestamp;
use crate::witness_policy::Standing;

/// When the statement that decided a unit was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitTime {
    /// Folder of the unit in the set.
    pub folder: String,
    /// The unit.
    pub unit: UnitId,
    /// Leaf index of the statement.
    pub index: u64,
    /// When.
    pub interval: Interval,
}

/// A cosigned checkpoint of the folder of anchors.
struct Cosigned {
    checkpoint: Checkpoint,
    standing: Standing,
}

pub(super) fn check(found: &mut Found, files: &Files) -> Verdict {
    let anchors: Vec<&Anchor> = anchors(found);
    let notes = cosigned(found, files, &anchors)?;
    let proved = proved(found, files, &anchors)?;
    let policy = found.witnesses.as_ref().ok_or("the trust file cannot be read")?;
    let simulated = found
        .authority
        .as_ref()
        .and_then(|authority| authority.roster().genesis())
        .is_some_and(|genesis| genesis.simulated);

    // Trees of which a quorum says that they existed, and by when: (size, time).
    let whole = [&found.standing, &found.standing_later].into_iter().flatten();
    let mut trees: Vec<(u64, Witnessed)> =
        whole.filter_map(|standing| Some((u64::MAX, cosigned_by(policy, &standing.cosigned)?))).collect();
    for Cosigned { checkpoint, standing } in notes.values() {
        if proved.contains(&(checkpoint.size, checkpoint.root))
            && let Some(by) = cosigned_by(policy, &standing.cosigned)
        {
            trees.push((checkpoint.size, by));
        }
    }

    let committed = commitment(found)?;
    let received = received(found);
    let mut intervals: BTreeMap<u64, Interval> = BTreeMap::new();
    let (mut witnessed, mut bounded, mut missing) = (0_u64, 0_u64, 0_u64);
    for logged in found.statements.logged.values() {
        let anchor = logged.statement.anchor.as_ref();
        let anchored = anchor.and_then(|anchor| notes.get(&anchor.note?));
        let anchored = anchored.and_then(|note| cosigned_since(policy, &note.standing.cosigned));
        let tree = anchor.filter(|anchor| proved.contains(&(anchor.size, anchor.root)));
        let covering = trees.iter().filter(|(size, _)| *size > logged.index).map(|(_, by)| by);
        let marks = Marks {
            received: logged.received,
            simulated,
            anchored,
            covered: covering
                .min_by_key(|by| (by.seconds, Reverse(by.witnesses.len()), &by.witnesses))
                .cloned(),
            committed: committed
                .filter(|(index, _)| tree.is_some_and(|tree| *index < tree.size))
                .map(|c| c.1),
            earlier: tree.and_then(|tree| received.range(..tree.size).next_back()).map(|(_, at)| *at),
        };
        let interval = marks.interval().map_err(|error| format!("statement {}: {error}", logged.index))?;
        witnessed += u64::from(marks.anchored.is_some() && marks.covered.is_some() && !simulated);
        bounded += u64::from(interval.not_before.is_some());
        let named = anchor.and_then(|anchor| anchor.note);
        missing += u64::from(named.is_some_and(|note| !notes.contains_key(&note)));
        intervals.insert(logged.index, interval);
    }
    let detail = format!(
        "{} statements: {bounded} have a lower bound, {witnessed} both bounds by witnesses; {missing} name a note that is \
         not in the set",
        intervals.len()
    );
    let of_unit = |(folder, view): (&String, &UnitView)| {
        let index = view.decided_by?;
        let interval = intervals.get(&index)?.clone();
        Some(UnitTime { folder: folder.clone(), unit: view.unit.clone(), index, interval })
    };
    found.times = found.statements.units.iter().filter_map(of_unit).collect();
    Ok(detail)
}

/// The anchors of this log that the set's statements name.
fn anchors(found: &Found) -> Vec<&Anchor> {
    let origin = found.manifest.as_ref().map(|manifest| manifest.origin.as_str());
    let statements = found.statements.logged.values();
    statements
        .filter_map(|logged| logged.statement.anchor.as_ref())
        .filter(|anchor| Some(anchor.origin.as_str()) == origin)
        .collect()
}

/// Every note of the folder, by its hash: each is named by an anchor, whose checkpoint it is, and every line of it holds.
fn cosigned(found: &Found, files: &Files, anchors: &[&Anchor]) -> Result<BTreeMap<Digest, Cosigned>, String> {
    let trust = found.trust.as_ref().ok_or("the trust file cannot be read")?;
    let policy = found.witnesses.as_ref().ok_or("the trust file cannot be read")?;
    let log_keys = found.log_keys.as_ref().ok_or("the trust file cannot be read")?;
    let named: BTreeSet<Digest> = anchors.iter().filter_map(|anchor| anchor.note).collect();
    if let Some(path) = files.keys().find(|path| {
        path.strip_prefix(ANCHORS)
            .is_some_and(|hash| !Digest::from_hex(hash).is_ok_and(|hash| named.contains(&hash)))
    }) {
        return Err(format!("{path} is named by no statement's anchor"));
    }
    let mut notes = BTreeMap::new();
    for hash in named {
        let path = anchor_path(&hash);
        if !files.contains_key(&path) {
            continue;
        }
        if Digest::of(file(files, &path)?) != hash {
            return Err(format!("{path} has another SHA-256 than its name"));
        }
        let note = note(files, &path)?;
        let fail = |error: crate::note::NoteError| format!("{path}: {error}");
        let keys = policy.witness_keys();
        let checkpoint = log_keys.open(&note, &keys, &trust.origin).map_err(fail)?;
        let standing = policy.standing(&note).map_err(fail)?;
        if anchors.iter().any(|anchor| anchor.note == Some(hash) && anchor.checkpoint() != checkpoint) {
            return Err(format!("{path} is another checkpoint than the anchor that names it"));
        }
        notes.insert(hash, Cosigned { checkpoint, standing });
    }
    Ok(notes)
}

/// The anchors that a proof of the set leads to the set's checkpoint. A proof that leads elsewhere is an error: the device
/// was shown another tree.
fn proved(found: &Found, files: &Files, anchors: &[&Anchor]) -> Result<BTreeSet<(u64, Digest)>, String> {
    let head = found.head().ok_or("the manifest cannot be read")?;
    let distinct: BTreeSet<(u64, Digest)> = anchors.iter().map(|anchor| (anchor.size, anchor.root)).collect();
    let mut proved = BTreeSet::new();
    for (size, root) in distinct {
        let path = consistency_path(size);
        let Some(bytes) = files.get(&path) else { continue };
        let text = std::str::from_utf8(bytes).map_err(|_| format!("{path} is not UTF-8"))?;
        let proof = parse_hash_lines(text).map_err(|error| format!("{path}: {error}"))?;
        merkle::verify_consistency(size, &root, head.size, &head.root, &proof)
            .map_err(|error| format!("{path} does not lead from a statement's anchor: {error}"))?;
        proved.insert((size, root));
    }
    Ok(proved)
}

/// Index of the plan's commitment, and when the auditor says to have made it.
fn commitment(found: &Found) -> Result<Option<(u64, Timestamp)>, String> {
    let ceremony = found.ceremony.as_ref().ok_or("the ceremony is not complete")?;
    let Some(step) = &ceremony.commitment else { return Ok(None) };
    let audit = found.streams.get(&Stream::Audit).map(Vec::as_slice).unwrap_or_default();
    let entry = audit.iter().find(|entry| entry.index == step.index);
    let entry = entry.ok_or("the commitment is not in the audit stream")?;
    let (_, act) = Act::open_as(&entry.payload, Kind::COMMITMENT).map_err(|error| error.to_string())?;
    Ok(Some((step.index, act.common.made_at)))
}

/// The receipt of every leaf that the set shows, by index.
fn received(found: &Found) -> BTreeMap<u64, Timestamp> {
    let entries = found.streams.values().flatten().map(|entry| (entry.index, entry.leaf.received));
    let statements = found.statements.logged.values().map(|logged| (logged.index, logged.received));
    entries.chain(statements).collect()
}
