//! Checks 10 to 15: the plan, the ceremony's order, the frame, the draw, and consistency with what was pinned.

use super::{Found, Verdict, file, short};
use crate::acts::Head;
use crate::authority::{Authority, Ceremony};
use crate::draw::Population;
use crate::frame::Frame;
use crate::ids::{Digest, Name};
use crate::leaf::{Kind, Stream};
use crate::merkle;
use crate::note::{Checkpoint, parse_hash_lines};
use crate::plan::Plan;
use crate::set::{Files, PLAN, SET_STREAMS, StreamEntry, consistency_path, draw_path, population_path};

pub(super) fn plan(found: &mut Found, files: &Files) -> Verdict {
    let manifest = found.manifest.as_ref().ok_or("the manifest cannot be read")?;
    let trust = found.trust.as_ref().ok_or("the trust file cannot be read")?;
    let bytes = file(files, PLAN)?;
    let (plan, hash) = Plan::open(bytes).map_err(|error| format!("{PLAN}: {error}"))?;
    if hash != manifest.plan_hash {
        return Err(format!("{PLAN} has another hash than the manifest's plan_hash"));
    }
    let entries = found.streams.get(&Stream::Audit).map(Vec::as_slice).unwrap_or_default();
    let logged = entries
        .iter()
        .filter(|entry| entry.leaf.kind == Kind::PLAN)
        .filter(|entry| {
            crate::dsse::ActEnvelope::parse(&entry.payload).is_ok_and(|envelope| envelope.payload == bytes)
        })
        .count();
    if logged != 1 {
        return Err(format!("{PLAN} is the payload of {logged} plan entries, expected exactly one"));
    }
    if plan.auditor_key != trust.auditor_key {
        return Err("the plan names another auditor key than the trust file".into());
    }
    Ok(format!("plan {}…, {} controls, {} days", short(&hash), plan.controls.len(), plan.days.len()))
}

pub(super) fn steps(found: &mut Found) -> Verdict {
    let authority = found.authority.as_ref().ok_or("the streams could not be folded")?;
    let hash = found.manifest.as_ref().map(|manifest| manifest.plan_hash).unwrap_or_default();
    let ceremony = authority.ceremony(&hash).ok_or("the plan is not in the audit stream")?;
    let (Some(commitment), Some(freeze), Some(reveal), Some(draw)) =
        (&ceremony.commitment, &ceremony.freeze, &ceremony.reveal, &ceremony.draw)
    else {
        return Err("the ceremony is not complete: it takes commitment, freeze, reveal and draw".into());
    };
    let order = [ceremony.plan_index, commitment.index, freeze.index, reveal.index, draw.index];
    if !order.is_sorted_by(|a, b| a < b) {
        return Err("plan, commitment, freeze, reveal and draw are not in this order".into());
    }
    let detail = format!(
        "nonce committed at {}, frozen at {}, drawn at {}",
        commitment.index, freeze.index, draw.index
    );
    found.ceremony = Some(ceremony.clone());
    Ok(detail)
}

fn ceremony(found: &Found) -> Result<&Ceremony, String> {
    found.ceremony.as_ref().ok_or_else(|| "the ceremony is not complete".into())
}

/// Head of a stream's entries with an index below `below`.
fn head_below(entries: &[StreamEntry], below: u64) -> Head {
    let taken: Vec<&StreamEntry> = entries.iter().filter(|entry| entry.index < below).collect();
    taken.last().map_or_else(Head::default, |newest| Head {
        entries: taken.len() as u64,
        last_leaf_hash: newest.leaf.hash(),
    })
}

/// Whether heads of streams 1 to 3 are what the set's streams show below an index.
pub(super) fn check_heads(found: &Found, heads: &crate::acts::Heads, below: u64) -> Result<(), String> {
    for stream in SET_STREAMS {
        let entries = found.streams.get(&stream).map(Vec::as_slice).unwrap_or_default();
        if heads.of(stream) != head_below(entries, below) {
            return Err(format!("heads claim another {} stream than the set shows", stream.name()));
        }
    }
    Ok(())
}

pub(super) fn freeze(found: &mut Found) -> Verdict {
    let ceremony = ceremony(found)?.clone();
    let freeze = ceremony.freeze.as_ref().ok_or("no freeze")?;
    let roster = found.streams.get(&Stream::Roster).map(Vec::as_slice).unwrap_or_default();
    let at_freeze = head_below(roster, freeze.index);
    if freeze.act.roster_entries != at_freeze.entries || freeze.act.roster_head != at_freeze.last_leaf_hash {
        return Err("the freeze names another roster than the one at its index".into());
    }
    check_heads(found, &freeze.act.heads, freeze.index)?;
    if !ceremony.plan.partial_day && freeze.received < ceremony.plan.end {
        return Err("the frame was frozen before its last day was over".into());
    }
    // The roster as of the freeze, folded anew: later entries must not reach the frame.
    let mut frozen = Authority::new(&found.manifest.as_ref().map(|m| m.origin.clone()).unwrap_or_default());
    let mut merged: Vec<&StreamEntry> =
        found.streams.values().flatten().filter(|entry| entry.index < freeze.index).collect();
    merged.sort_by_key(|entry| entry.index);
    for entry in merged {
        // All were admitted when everything was folded; only another plan's ceremony may be refused again.
        let _refused = frozen.admit(entry.index, entry.leaf.received, entry.leaf.kind, &entry.payload);
    }
    let detail = format!("roster of {} entries at index {}", at_freeze.entries, freeze.index);
    found.frozen = Some(frozen);
    Ok(detail)
}

/// Whether the files of one folder are exactly one for each control of the plan.
fn one_each(files: &Files, plan: &Plan, folder: &str, path: impl Fn(&Name) -> String) -> Result<(), String> {
    let expected: Vec<String> = plan.controls.iter().map(path).collect();
    match files.keys().find(|file| file.starts_with(folder) && !expected.contains(file)) {
        Some(extra) => Err(format!("{extra} belongs to no control of the plan")),
        None => Ok(()),
    }
}

pub(super) fn population(found: &mut Found, files: &Files) -> Verdict {
    let ceremony = ceremony(found)?;
    let (plan, freeze) = (&ceremony.plan, ceremony.freeze.as_ref().ok_or("no freeze")?);
    let frozen = found.frozen.as_ref().ok_or("no frozen roster")?;
    one_each(files, plan, "population/", population_path)?;
    let named: Vec<&Name> = freeze.act.populations.iter().map(|population| &population.control).collect();
    if named != plan.controls.iter().collect::<Vec<_>>() {
        return Err("the freeze's populations are not those of the plan's controls".into());
    }
    let mut counts = Vec::new();
    for population in &freeze.act.populations {
        let path = population_path(&population.control);
        let bytes = file(files, &path)?;
        let frame = Frame::of(plan, &population.control, frozen.roster(), freeze.received);
        if frame.population() != bytes {
            return Err(format!("{path} is not the frame that plan and roster give"));
        }
        if population.count != frame.units.len() as u64 || population.sha256 != Digest::of(bytes) {
            return Err(format!("{path}: the freeze names another count or hash"));
        }
        counts.push(population.count.to_string());
    }
    Ok(format!("recomputed from plan and roster: {} units", counts.join(" + ")))
}

pub(super) fn draw(found: &mut Found, files: &Files) -> Verdict {
    let ceremony = ceremony(found)?;
    let plan = &ceremony.plan;
    let (Some(reveal), Some(draw)) = (&ceremony.reveal, &ceremony.draw) else { return Err("no draw".into()) };
    let plan_hash = found.manifest.as_ref().map(|manifest| manifest.plan_hash).unwrap_or_default();
    one_each(files, plan, "draw/", draw_path)?;
    let named: Vec<&Name> = draw.act.draws.iter().map(|drawn| &drawn.control).collect();
    if named != plan.controls.iter().collect::<Vec<_>>() {
        return Err("the draws are not those of the plan's controls".into());
    }
    let mut selected = 0;
    for drawn in &draw.act.draws {
        let path = population_path(&drawn.control);
        let population =
            Population::parse(file(files, &path)?).map_err(|error| format!("{path}: {error}"))?;
        let record = plan.draw(&plan_hash, &drawn.control, &population, &reveal.act.nonce);
        let path = draw_path(&drawn.control);
        if record.bytes() != file(files, &path)? {
            return Err(format!("{path} is not the draw that seed and population give"));
        }
        if drawn.seed != record.seed.digest() || drawn.draw_sha256 != record.sha256() {
            return Err(format!("{path}: the draw entry names another seed or hash"));
        }
        selected += record.draw.selected.len();
    }
    Ok(format!("recomputed from the seed: {selected} units selected"))
}

pub(super) fn consistency(found: &mut Found, files: &Files) -> Verdict {
    let trust = found.trust.as_ref().ok_or("the trust file cannot be read")?;
    let head = found.head().ok_or("the manifest cannot be read")?;
    let authority = found.authority.as_ref().ok_or("the streams could not be folded")?;
    let hash = found.manifest.as_ref().map(|manifest| manifest.plan_hash).unwrap_or_default();
    let committed = authority
        .ceremony(&hash)
        .and_then(|ceremony| ceremony.commitment.as_ref())
        .map(|step| step.act.checkpoint.clone());
    let mut pinned: Vec<Checkpoint> = committed.into_iter().collect();
    pinned.extend(trust.checkpoints.iter().cloned());
    for checkpoint in &pinned {
        if checkpoint.origin != trust.origin {
            return Err(format!("a pinned checkpoint is of log {:?}", checkpoint.origin));
        }
        let path = consistency_path(checkpoint.size);
        let proof = match files.get(&path) {
            Some(bytes) => {
                let text = std::str::from_utf8(bytes).map_err(|_| format!("{path} is not UTF-8"))?;
                parse_hash_lines(text).map_err(|error| format!("{path}: {error}"))?
            }
            None if checkpoint.size == head.size || checkpoint.size == 0 => Vec::new(),
            None => return Err(format!("{path} is missing, though a checkpoint of that size was pinned")),
        };
        if checkpoint.size == 0 && proof.is_empty() {
            continue;
        }
        merkle::verify_consistency(checkpoint.size, &checkpoint.root, head.size, &head.root, &proof)
            .map_err(|error| format!("from size {}: {error}", checkpoint.size))?;
    }
    Ok(format!("the set's tree extends {} pinned checkpoints", pinned.len()))
}
