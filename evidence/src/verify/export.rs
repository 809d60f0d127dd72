//! Checks 19 and 20, and what a reader must see first.

use super::ceremony::check_heads;
use super::{Found, Verdict, file, note};
use crate::acts::{Act, Body};
use crate::ids::Digest;
use crate::leaf::{self, Kind};
use crate::merkle;
use crate::note::{TlogProof, VerifierKey};
use crate::set::{
    CHECKPOINT, EXPORT_PROOF, Files, MANIFEST, MANIFEST_NOTE, MANIFEST_TSR, note_name, note_text,
    parse_export_extra,
};
use crate::time::Timestamp;
use crate::trust::MadeBy;

pub(super) fn check(found: &mut Found, files: &Files) -> Verdict {
    let trust = found.trust.as_ref().ok_or("the trust file cannot be read")?;
    let manifest = found.manifest.as_ref().ok_or("the manifest cannot be read")?;
    let head = manifest.checkpoint;
    let operations = found
        .authority
        .as_ref()
        .and_then(|authority| authority.roster().genesis())
        .map(|genesis| genesis.operations_key)
        .ok_or("the streams could not be folded")?;

    let bytes = file(files, EXPORT_PROOF)?;
    let fail = |problem: String| format!("{EXPORT_PROOF}: {problem}");
    let proof = TlogProof::parse(bytes).map_err(|error| fail(error.to_string()))?;
    if proof.encode().as_bytes() != bytes {
        return Err(fail("is not in the one form of a proof".into()));
    }
    let extra = proof.extra.as_deref().and_then(parse_export_extra);
    let extra = extra.ok_or_else(|| fail("its extra is not leaf, salt, payload and consistency".into()))?;
    let policy = found.witnesses.as_ref().ok_or("the trust file cannot be read")?;
    let witnesses = policy.witness_keys();
    let keys = found.log_keys.as_ref().ok_or("the trust file cannot be read")?;
    let later = keys.open(&proof.note, &witnesses, &trust.origin).map_err(|error| fail(error.to_string()))?;
    let standing_later = policy.standing(&proof.note).map_err(|error| fail(error.to_string()))?;
    merkle::verify_inclusion(proof.index, later.size, &extra.leaf.hash(), &proof.hashes, &later.root)
        .map_err(|error| fail(error.to_string()))?;
    merkle::verify_consistency(head.size, &head.root, later.size, &later.root, &extra.consistency)
        .map_err(|error| fail(format!("from the set's checkpoint: {error}")))?;
    if proof.index < head.size {
        return Err(fail("the export entry lies below the set's checkpoint".into()));
    }
    if extra.leaf.kind != Kind::EXPORT
        || leaf::commitment(&extra.salt, &extra.payload) != extra.leaf.commitment
    {
        return Err(fail("the leaf is not the export's".into()));
    }
    let (envelope, act) =
        Act::open_as(&extra.payload, Kind::EXPORT).map_err(|error| fail(error.to_string()))?;
    envelope.verify(&operations).map_err(|error| fail(error.to_string()))?;
    let Body::Export(export) = &act.body else { return Err(fail("is not an export".into())) };
    let stamp = files.get(MANIFEST_TSR).map_or(Digest::ZERO, |bytes| Digest::of(bytes));
    let manifest_bytes = file(files, MANIFEST)?;
    let same = act.common.origin == manifest.origin
        && export.plan_hash == manifest.plan_hash
        && export.manifest_sha256 == Digest::of(manifest_bytes)
        && export.tsr_sha256 == stamp
        && export.checkpoint == head;
    if !same {
        return Err(fail("the export entry names another plan, manifest, stamp or checkpoint".into()));
    }
    check_heads(found, &export.heads, head.size).map_err(fail)?;

    let signed = note(files, MANIFEST_NOTE)?;
    let key =
        VerifierKey::new(&note_name(&manifest.origin), operations).map_err(|error| error.to_string())?;
    let fail = |problem: String| format!("{MANIFEST_NOTE}: {problem}");
    let text = signed.verify_all(&[key]).map_err(|error| fail(error.to_string()))?;
    if signed.signatures() != 1 {
        return Err(fail("must have exactly one signature".into()));
    }
    if text != note_text(&manifest.origin, manifest_bytes, bytes) {
        return Err(fail("is about other bytes".into()));
    }
    if signed.encode().as_bytes() != file(files, MANIFEST_NOTE)? {
        return Err(fail("is not in the one form of a note".into()));
    }
    found.standing_later = Some(standing_later);
    Ok(format!("logged at index {} as plan, manifest and checkpoint say", proof.index))
}

/// Check 22: the quorum cosigned the set's checkpoint, and the one its export is proved under.
pub(super) fn witnesses(found: &mut Found) -> Verdict {
    let policy = found.witnesses.as_ref().ok_or("the trust file cannot be read")?;
    let both = [(CHECKPOINT, &found.standing), (EXPORT_PROOF, &found.standing_later)];
    for (path, standing) in both {
        let standing = standing.as_ref().ok_or_else(|| format!("{path} was not read"))?;
        if !standing.satisfied {
            let quorum = policy.quorum_name();
            return Err(format!("{path}: quorum {quorum} is not met: {}", standing.sentence()));
        }
    }
    let at = |seconds: u64| Timestamp(seconds.saturating_mul(1000)).rfc3339();
    let cosigned = found.standing.iter().flat_map(|standing| &standing.cosigned);
    let by: Vec<String> = cosigned.map(|(name, seconds)| format!("{name} at {}", at(*seconds))).collect();
    Ok(format!("quorum {}: cosigned by {}", policy.quorum_name(), by.join(", ")))
}

/// Why check 22 is not run where no quorum is asked for.
pub(super) fn no_quorum(found: &Found) -> String {
    match (&found.witnesses, &found.standing) {
        (Some(policy), _) if policy.witnesses().is_empty() => "witnesses: none".into(),
        (Some(_), Some(standing)) => format!("quorum none; {}", standing.sentence()),
        (Some(_), None) => "needs check 3".into(),
        (None, _) => "needs check 2".into(),
    }
}

fn is_simulated(found: &Found) -> Option<bool> {
    found.authority.as_ref()?.roster().genesis().map(|genesis| genesis.simulated)
}

pub(super) fn simulated(found: &mut Found) -> Verdict {
    let trust = found.trust.as_ref().ok_or("the trust file cannot be read")?;
    match is_simulated(found) {
        Some(false) => Ok("time in this log is real".into()),
        Some(true) if trust.accept_simulated => Ok("simulated, and the trust file accepts that".into()),
        Some(true) => Err("time in this log is simulated, and the trust file refuses that".into()),
        None => Err("the genesis cannot be read".into()),
    }
}

pub(super) fn notices(found: &Found) -> Vec<String> {
    let mut notices = Vec::new();
    if found.trust.as_ref().is_some_and(|trust| trust.made_by == MadeBy::SameHand) {
        notices.push(
            "The trust file was made by the same hand that runs the log: a demonstration, not independence."
                .into(),
        );
    }
    if is_simulated(found) == Some(true) {
        notices.push("Time in this log is simulated.".into());
    }
    let witnesses = match (&found.witnesses, &found.standing) {
        (Some(policy), Some(standing)) if !policy.witnesses().is_empty() => standing.sentence(),
        (Some(policy), None) if !policy.witnesses().is_empty() => "not checked".into(),
        _ => "none".into(),
    };
    notices.push(format!("witnesses: {witnesses}"));
    for (index, (rule, count)) in &found.statements.tombstones {
        let what = if *count == 1 { "1 statement is" } else { &format!("{count} statements are") };
        notices.push(format!("{what} erased under rule {rule}, entry {index}"));
    }
    let blind = found
        .authority
        .as_ref()
        .and_then(|authority| authority.roster().genesis())
        .is_some_and(|genesis| genesis.accept_rollback_blindness);
    if blind {
        notices.push(
            "The operator accepts rollback blindness: nothing outside its machine remembers the log.".into(),
        );
    }
    notices
}
