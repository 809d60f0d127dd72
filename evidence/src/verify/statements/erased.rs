//! Check 16 over what was erased: the leaf is in the log, and so is the tombstone that says why no more is shown.

use super::super::streams::proof_under;
use super::{ErasedLeaf, Statements};
use crate::acts::{Act, Body, Tombstone};
use crate::erasure::{Scope, check_tombstone};
use crate::leaf::{self, Kind};
use crate::merkle;
use crate::set::{
    CHECKPOINT, ErasedRef, Files, UnitView, parse_erased_extra, parse_tombstone_extra, tombstone_path,
};
use crate::verify::{Found, file};

/// The leaf of an erased statement, and whether it may be what unit.json says.
pub(super) fn leaf(
    found: &Found,
    files: &Files,
    place: &str,
    reference: &ErasedRef,
    unit: &UnitView,
) -> Result<ErasedLeaf, String> {
    let fail = |problem: &str| format!("{place}: {problem}");
    let head = found.head().ok_or("the manifest cannot be read")?;
    let roster = found.authority.as_ref().ok_or("the streams could not be folded")?.roster();
    let instance =
        roster.instance(&reference.instance).ok_or_else(|| fail("its instance was never enrolled"))?;
    if instance.device != unit.unit.device {
        return Err(fail("is of another device than the unit's"));
    }
    if instance.index >= reference.index {
        return Err(fail("was logged before its instance was enrolled"));
    }
    if instance.ended.is_some_and(|ended| ended < reference.index) {
        return Err(fail("was logged after its instance's key had ended"));
    }
    let proof = proof_under(files, &format!("{place}.tlog-proof"), file(files, CHECKPOINT)?)?;
    let leaf = proof.extra.as_deref().and_then(parse_erased_extra);
    let leaf = leaf.ok_or_else(|| fail("the proof's extra is not a leaf alone"))?;
    if proof.index != reference.index {
        return Err(fail("the proof is about another index"));
    }
    if leaf.kind != Kind::ATTESTATION && leaf.kind != Kind::GAP {
        return Err(fail("its leaf is not a statement's"));
    }
    merkle::verify_inclusion(reference.index, head.size, &leaf.hash(), &proof.hashes, &head.root)
        .map_err(|error| fail(&error.to_string()))?;
    Ok(ErasedLeaf {
        received: leaf.received,
        leaf: leaf.hash(),
        attests: leaf.kind == Kind::ATTESTATION,
        instance: reference.instance,
        sequence: reference.sequence,
        tombstone: reference.tombstone,
    })
}

/// Every tombstone of the folder, none that no unit names, and every erased statement in the scopes of its own.
pub(super) fn tombstones(found: &Found, files: &Files, all: &mut Statements) -> Result<(), String> {
    for (index, erased) in &all.erased {
        let path = tombstone_path(erased.tombstone);
        let tombstone = tombstone(found, files, &path, erased.tombstone)?;
        let scope = Scope::device(erased.instance, erased.received);
        if !tombstone.scopes.contains(&scope) || *index >= tombstone.up_to {
            return Err(format!("{path} does not erase entry {index}"));
        }
        let rule = tombstone.rule.to_string();
        all.tombstones.entry(erased.tombstone).or_insert((rule, 0)).1 += 1;
    }
    let named = |path: &str| all.tombstones.keys().any(|index| path == tombstone_path(*index));
    match files.keys().find(|path| path.starts_with("tombstones/") && !named(path)) {
        Some(extra) => Err(format!("{extra} is named by no unit")),
        None => Ok(()),
    }
}

fn tombstone(found: &Found, files: &Files, path: &str, index: u64) -> Result<Tombstone, String> {
    let fail = |problem: String| format!("{path}: {problem}");
    let head = found.head().ok_or("the manifest cannot be read")?;
    let authority = found.authority.as_ref().ok_or("the streams could not be folded")?;
    let proof = proof_under(files, path, file(files, CHECKPOINT)?)?;
    let extra = proof.extra.as_deref().and_then(parse_tombstone_extra);
    let (leaf, salt, payload) =
        extra.ok_or_else(|| fail("the proof's extra is not a leaf, its salt and its payload".into()))?;
    if proof.index != index || leaf.kind != Kind::TOMBSTONE {
        return Err(fail("the proof is about another entry".into()));
    }
    if leaf::commitment(&salt, payload) != leaf.commitment {
        return Err(fail("the leaf commits to other bytes".into()));
    }
    merkle::verify_inclusion(index, head.size, &leaf.hash(), &proof.hashes, &head.root)
        .map_err(|error| fail(error.to_string()))?;
    let (envelope, act) = Act::open_as(payload, Kind::TOMBSTONE).map_err(|error| fail(error.to_string()))?;
    let genesis = authority.roster().genesis().ok_or("no genesis")?;
    envelope.verify(&genesis.operations_key).map_err(|error| fail(error.to_string()))?;
    if act.common.origin != authority.origin() {
        return Err(fail("is of another log".into()));
    }
    let Body::Tombstone(tombstone) = act.body else { return Err(fail("is another act".into())) };
    check_tombstone(index, leaf.received, &tombstone, authority.roster())
        .map_err(|error| fail(error.to_string()))?;
    Ok(tombstone)
}
