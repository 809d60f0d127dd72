//! Checks 4 to 9: the streams whole, every act in them, and who was allowed to make it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Found, Outcome, Verdict, file};
use crate::acts::{Act, Body};
use crate::authority::{Authority, AuthorityError};
use crate::ids::Digest;
use crate::keys::PublicKey;
use crate::leaf;
use crate::merkle;
use crate::note::TlogProof;
use crate::set::{CHECKPOINT, Files, SET_STREAMS, StreamEntry, stream_path, stream_proof_path};

pub(super) fn parse(found: &mut Found, files: &Files) -> Verdict {
    let head = found.head().ok_or("the manifest cannot be read")?;
    let mut total = 0;
    for stream in SET_STREAMS {
        let path = stream_path(stream);
        let bytes = file(files, &path)?;
        let mut entries: Vec<StreamEntry> = Vec::new();
        let mut previous = Digest::ZERO;
        let lines = match bytes.strip_suffix(b"\n") {
            Some(lines) => lines.split(|byte| *byte == b'\n').collect(),
            None if bytes.is_empty() => Vec::new(),
            None => return Err(format!("{path} does not end in a newline")),
        };
        for (number, line) in lines.into_iter().enumerate() {
            let place = format!("{path} line {}", number + 1);
            let entry = StreamEntry::parse(line).map_err(|error| format!("{place}: {error}"))?;
            check_entry(&entry, stream, number as u64, previous, head.size)
                .map_err(|problem| format!("{place}: {problem}"))?;
            if entries.last().is_some_and(|before| before.index >= entry.index) {
                return Err(format!("{place}: indexes do not ascend"));
            }
            previous = entry.leaf.hash();
            entries.push(entry);
        }
        total += entries.len();
        found.streams.insert(stream, entries);
    }
    let mut merged: Vec<&StreamEntry> = found.streams.values().flatten().collect();
    merged.sort_by_key(|entry| entry.index);
    for pair in merged.windows(2) {
        let [before, after] = pair else { continue };
        if before.index == after.index {
            return Err(format!("index {} stands in two streams", after.index));
        }
        if before.leaf.received > after.leaf.received {
            return Err(format!("received_ms decreases at index {}", after.index));
        }
    }
    Ok(format!("{total} entries, chained without gaps"))
}

fn check_entry(
    entry: &StreamEntry,
    stream: leaf::Stream,
    number: u64,
    previous: Digest,
    size: u64,
) -> Result<(), String> {
    if entry.leaf.kind.stream != stream {
        return Err("the leaf belongs to another stream".into());
    }
    if !is_released(entry.leaf.kind) {
        return Err(format!("kind {} is not part of this release", entry.leaf.kind));
    }
    if entry.index >= size {
        return Err(format!("index {} is not below the set's checkpoint {size}", entry.index));
    }
    let chain = entry.leaf.chain.ok_or("the leaf is not chained")?;
    if chain.sequence != number {
        return Err(format!("stream_sequence is {}, expected {number}", chain.sequence));
    }
    if chain.previous != previous {
        return Err("previous_leaf_hash is not the leaf before".into());
    }
    if leaf::commitment(&entry.salt, &entry.payload) != entry.leaf.commitment {
        return Err("the payload is not the one the leaf commits to".into());
    }
    Ok(())
}

/// Kinds of streams 1 to 3 that section 8 lists.
fn is_released(kind: leaf::Kind) -> bool {
    use leaf::Kind;
    [
        Kind::GENESIS,
        Kind::PERSON,
        Kind::TOKEN,
        Kind::ENROLMENT,
        Kind::RE_KEY,
        Kind::RETIRE,
        Kind::REVOKE,
        Kind::CLASS,
        Kind::GROUP,
        Kind::MERGE,
        Kind::SPLIT,
        Kind::KEY_CHANGE,
        Kind::APPROVAL,
        Kind::POLICY,
        Kind::PLAN,
        Kind::COMMITMENT,
        Kind::FREEZE,
        Kind::REVEAL,
        Kind::DRAW,
        Kind::EXPORT,
    ]
    .contains(&kind)
}

pub(super) fn proofs(found: &mut Found, files: &Files) -> Verdict {
    let head = found.head().ok_or("the manifest cannot be read")?;
    let checkpoint = file(files, CHECKPOINT)?;
    let mut proved = 0;
    for (stream, entries) in &found.streams {
        let path = stream_proof_path(*stream);
        let Some(newest) = entries.last() else {
            if files.contains_key(&path) {
                return Err(format!("{path} proves an entry of an empty stream"));
            }
            continue;
        };
        let proof = proof_under(files, &path, checkpoint)?;
        if proof.extra.is_some() || proof.index != newest.index {
            return Err(format!("{path} is not about index {}", newest.index));
        }
        merkle::verify_inclusion(proof.index, head.size, &newest.leaf.hash(), &proof.hashes, &head.root)
            .map_err(|error| format!("{path}: {error}"))?;
        proved += 1;
    }
    Ok(format!("the newest leaf of {proved} streams is in the tree"))
}

/// A proof file whose note is, byte for byte, the set's checkpoint.
pub(super) fn proof_under(files: &Files, path: &str, checkpoint: &[u8]) -> Result<TlogProof, String> {
    let bytes = file(files, path)?;
    let proof = TlogProof::parse(bytes).map_err(|error| format!("{path}: {error}"))?;
    if proof.encode().as_bytes() != bytes {
        return Err(format!("{path} is not in the one form of a proof"));
    }
    if proof.note.encode().as_bytes() != checkpoint {
        return Err(format!("{path} leads to another note than {CHECKPOINT}"));
    }
    Ok(proof)
}

/// Form and signature of every act. Whether the key may sign it, and whether it was admitted by then, is check 8;
/// an act by a key that nothing names fails there too.
pub(super) fn acts(found: &mut Found) -> Verdict {
    let origin = found.manifest.as_ref().map(|manifest| manifest.origin.clone()).unwrap_or_default();
    let mut ids = BTreeSet::new();
    let mut keys: BTreeMap<Digest, PublicKey> = BTreeMap::new();
    let mut opened = Vec::new();
    let mut merged: Vec<&StreamEntry> = found.streams.values().flatten().collect();
    merged.sort_by_key(|entry| entry.index);
    for entry in &merged {
        let place = |problem: String| format!("index {}: {problem}", entry.index);
        let (envelope, act) =
            Act::open_as(&entry.payload, entry.leaf.kind).map_err(|error| place(error.to_string()))?;
        if act.common.origin != origin {
            return Err(place(format!("the act is for {:?}", act.common.origin)));
        }
        if !ids.insert(act.common.id.clone()) {
            return Err(place(format!("act id {} repeats", act.common.id.as_str())));
        }
        let named = match &act.body {
            Body::Genesis(genesis) => vec![genesis.operations_key, genesis.admin_key],
            Body::Person(person) => vec![person.key],
            Body::Plan(plan) => vec![plan.auditor_key],
            _ => Vec::new(),
        };
        keys.extend(named.into_iter().map(|key| (key.id(), key)));
        opened.push((entry.index, envelope));
    }
    for (index, envelope) in &opened {
        if let Some(key) = keys.get(&envelope.keyid) {
            envelope.verify(key).map_err(|error| format!("index {index}: {error}"))?;
        }
    }
    Ok(format!("{} acts, each in its one form, for this log, once", merged.len()))
}

/// Folds the streams in the order of the log. What is refused fails the check it belongs to.
pub(super) fn fold(found: &mut Found) {
    if !matches!(found.outcomes.get(&6), Some(Outcome::Passed(_))) {
        return;
    }
    let Some(manifest) = &found.manifest else { return };
    let mut authority = Authority::new(&manifest.origin);
    let mut merged: Vec<&StreamEntry> = found.streams.values().flatten().collect();
    merged.sort_by_key(|entry| entry.index);
    for entry in merged {
        let admitted = authority.admit(entry.index, entry.leaf.received, entry.leaf.kind, &entry.payload);
        if let Err(error) = admitted {
            let check = check_of(&error, &manifest.plan_hash, &entry.payload);
            let Some(check) = check else { continue };
            found.outcomes.insert(check, Outcome::Failed(format!("index {}: {error}", entry.index)));
            found.stopped = Some(check);
            return;
        }
    }
    found.authority = Some(authority);
}

/// The check an error fails. Ceremonies of other plans are their own business: only this plan's count.
fn check_of(error: &AuthorityError, plan_hash: &Digest, payload: &[u8]) -> Option<u8> {
    if !matches!(error, AuthorityError::Ceremony { .. }) {
        return Some(error.check());
    }
    let (_, act) = Act::open(payload).ok()?;
    let of = match &act.body {
        Body::Commitment(step) => step.plan_hash,
        Body::Freeze(step) => step.plan_hash,
        Body::Reveal(step) => step.plan_hash,
        Body::Draw(step) => step.plan_hash,
        Body::Export(step) => step.plan_hash,
        _ => return Some(error.check()),
    };
    (of == *plan_hash).then_some(error.check())
}

pub(super) fn genesis(found: &mut Found) -> Verdict {
    let trust = found.trust.as_ref().ok_or("the trust file cannot be read")?;
    let first = found.streams.get(&leaf::Stream::Roster).and_then(|entries| entries.first());
    let first = first.ok_or("the roster is empty: a log begins with its genesis")?;
    let (_, act) = Act::open(&first.payload).map_err(|error| error.to_string())?;
    let Body::Genesis(genesis) = act.body else {
        return Err("the roster does not begin with a genesis".into());
    };
    // The fold may have stopped before it met a second one.
    let roster = found.streams.get(&leaf::Stream::Roster).map(Vec::as_slice).unwrap_or_default();
    if roster.iter().filter(|entry| entry.leaf.kind == leaf::Kind::GENESIS).count() != 1 {
        return Err("there is a second genesis".into());
    }
    if first.index != 0 {
        return Err(format!("the genesis is at index {}, not 0", first.index));
    }
    if genesis.trust_domain != trust.trust_domain {
        return Err(format!("genesis of {:?}, trust file of {:?}", genesis.trust_domain, trust.trust_domain));
    }
    if !trust.log_keys.contains(&genesis.log_key) {
        return Err("the genesis names a log key that is not in the trust file".into());
    }
    Ok(format!("log of {} with the trusted log key", genesis.trust_domain))
}

pub(super) fn enrolments(found: &mut Found) -> Verdict {
    let authority = found.authority.as_ref().ok_or("the streams could not be folded")?;
    Ok(format!(
        "{} devices, each enrolled once with a token of an admin",
        authority.roster().devices().count()
    ))
}
