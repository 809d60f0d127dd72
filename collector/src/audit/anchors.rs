//! What a set holds of its statements' anchors: proofs from their checkpoints, and the cosigned notes they name.

use std::collections::{BTreeMap, BTreeSet};

use evidence::envelope::Envelope;
use evidence::ids::Digest;
use evidence::note::{Checkpoint, Note, hash_lines};
use evidence::set::{Files, anchor_path, consistency_path};
use evidence::statement::Anchor;
use evidence::witness_policy::WitnessPolicy;

use super::refused;
use crate::state::{State, StateError};

/// From the checkpoint of every statement's anchor a proof to the set's of `size`: what the device had seen is in this tree.
/// And the note it names, where it was kept: when the device signed, witnesses had cosigned that.
pub(super) fn add(state: &State, files: &mut Files, size: u64) -> Result<(), StateError> {
    let anchors = anchors(files, state.origin(), size);
    let sizes: BTreeSet<u64> = anchors.values().map(|anchor| anchor.size).collect();
    for from in sizes {
        let proof = state.ledger.consistency(from, size)?;
        files.insert(consistency_path(from), hash_lines(&proof).into_bytes());
    }
    let policy = WitnessPolicy::parse(state.witness_policy().as_bytes())
        .map_err(|error| refused(format!("the witness policy: {error}")))?;
    let mut named: BTreeMap<Digest, Vec<(u64, Checkpoint)>> = BTreeMap::new();
    for (index, anchor) in anchors {
        if let Some(note) = anchor.note {
            named.entry(note).or_default().push((index, anchor.checkpoint()));
        }
    }
    for (hash, by) in named {
        if let Some(note) = note_of(state, &policy, &hash, &by)? {
            files.insert(anchor_path(&hash), note.into_bytes());
        }
    }
    Ok(())
}

/// The anchors of the statements in a set, by the index of their leaf.
fn anchors(files: &Files, origin: &str, size: u64) -> BTreeMap<u64, Anchor> {
    let envelopes = files.iter().filter_map(|(path, bytes)| {
        let (_, name) = path.strip_suffix(".envelope")?.rsplit_once('/')?;
        Some((name.parse().ok()?, Envelope::parse(bytes).ok()?.claimed().ok()?.anchor?))
    });
    envelopes.filter(|(_, anchor)| anchor.origin == origin && anchor.size < size).collect()
}

/// The note that the statements `by` name, if it was kept, its lines are those of today's policy, and it is the checkpoint
/// that every one of them names: a verifier refuses any other.
fn note_of(
    state: &State,
    policy: &WitnessPolicy,
    hash: &Digest,
    by: &[(u64, Checkpoint)],
) -> Result<Option<String>, StateError> {
    for (index, _) in by {
        let found = state.ledger.cosigned_note(*index, hash);
        let found =
            found.map_err(|error| refused(format!("the cosigned notes could not be read: {error}")))?;
        let Some(text) = found else { continue };
        let opened = Note::parse(text.as_bytes()).and_then(|note| {
            Checkpoint::open_known(&note, state.log_keys(), &policy.witness_keys(), state.origin())
        });
        return Ok(match opened {
            Ok(checkpoint) if by.iter().all(|(_, named)| *named == checkpoint) => Some(text),
            Ok(checkpoint) => {
                let size = checkpoint.size;
                tracing::warn!(%hash, size, "A statement names this note for another checkpoint; the set goes without it.");
                None
            }
            Err(error) => {
                tracing::warn!(%hash, %error, "A cosigned note does not fit the witness policy; the set goes without it.");
                None
            }
        });
    }
    Ok(None)
}
