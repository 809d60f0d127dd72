//! The sampling set: every file of docs/FORMAT.md section 11, and the entry that says it was exported.

use std::collections::BTreeMap;
use std::sync::Arc;

use evidence::acts::{Body, Export as ExportAct, TreeHead};
use evidence::draw::{DrawRecord, Population};
use evidence::evaluation::{Evaluation, evaluated};
use evidence::ids::{DeviceId, Digest, Name, UnitId};
use evidence::judge::{Day, State as UnitStateName};
use evidence::note::{Note, TlogProof};
use evidence::set::{
    CHECKPOINT, EXPORT_PROOF, Files, MANIFEST, MANIFEST_NOTE, Manifest, PLAN, Results, SET_STREAMS,
    StreamEntry, UnitRole, VERIFY_MD, consistency_path, draw_path, evaluation_path, export_extra, note_name,
    note_text, population_path, results_path, stream_path, stream_proof_path, unit_folder,
};
use evidence::time::DayLabel;
use evidence::trust::{MadeBy, Trust};
use evidence::witness_policy::WitnessPolicy;

use super::anchors;
use super::files::verify_md;
use super::unit::Export;
use super::{Revealed, refused, stream_indexes};
use crate::judging::{attestations, erased, state_of};
use crate::ledger::Published;
use crate::state::{State, StateError};

/// Builds the set of a drawn plan, logs the export, and checks the set with the verifiers' own code before giving it out.
pub async fn export(state: &Arc<State>, plan_hash: Digest) -> Result<Files, StateError> {
    let revealed = Revealed::of(state, plan_hash)?;
    let draw = revealed
        .ceremony
        .draw
        .as_ref()
        .ok_or_else(|| refused("nothing is drawn: `tallystick audit draw` comes first"))?;
    // A set shows every change of the log's key that its export's checkpoint may be signed after.
    let changed = state.log_key_changes().last().map_or(0, |change| change.index);
    let published = state.wait_for_checkpoint(draw.index.max(changed) + 1).await?;
    let building = Arc::clone(state);
    let (mut files, head) = tokio::task::spawn_blocking(move || build(&building, &revealed, &published))
        .await
        .map_err(|_| refused("building the set was interrupted; try again"))??;
    let manifest = Manifest::over(state.origin(), head, plan_hash, &files).encode();
    let manifest_sha256 = Digest::of(&manifest);
    let at_set = heads_at(state, head.size)?;
    let entry = state
        .operate(move |_| {
            Ok(Body::Export(ExportAct {
                plan_hash,
                manifest_sha256,
                tsr_sha256: Digest::ZERO,
                checkpoint: head,
                heads: at_set,
            }))
        })
        .await?;
    files.insert(MANIFEST.to_owned(), manifest);
    let later = state.wait_for_checkpoint(entry.index + 1).await?;
    seal(state, &mut files, head, entry.index, &later)?;
    tokio::task::block_in_place(|| self_check(state, &files, plan_hash))?;
    Ok(files)
}

fn heads_at(state: &State, size: u64) -> Result<evidence::acts::Heads, StateError> {
    let mut heads = evidence::acts::Heads::default();
    for (stream, head) in evidence::leaf::Stream::CHAINED.into_iter().zip(state.ledger.heads(size)?) {
        heads
            .set(stream, evidence::acts::Head { entries: head.entries, last_leaf_hash: head.last_leaf_hash });
    }
    Ok(heads)
}

fn note_of(published: &Published) -> Result<Note, StateError> {
    Note::parse(published.note.as_bytes()).map_err(|error| refused(format!("the newest checkpoint: {error}")))
}

/// Who cosigned the checkpoint, for people. Verifiers ask the trust file's policy.
fn cosigned_by(state: &State, note: &Note) -> Result<String, StateError> {
    let policy = WitnessPolicy::parse(state.witness_policy().as_bytes())
        .map_err(|error| refused(format!("the witness policy: {error}")))?;
    if policy.witnesses().is_empty() {
        return Ok("none".to_owned());
    }
    let standing = policy.standing(note).map_err(|error| refused(format!("the checkpoint: {error}")))?;
    Ok(standing.sentence())
}

/// Every file the manifest lists.
fn build(state: &State, revealed: &Revealed, published: &Published) -> Result<(Files, TreeHead), StateError> {
    let head = TreeHead { size: published.checkpoint.size, root: published.checkpoint.root };
    let note = note_of(published)?;
    let mut files = Files::new();
    files.insert(CHECKPOINT.to_owned(), published.note.clone().into_bytes());
    files.insert(PLAN.to_owned(), revealed.ceremony.plan_payload.clone());
    let now = streams(state, &mut files, head.size, &note)?;
    let blind = now.roster().genesis().is_some_and(|genesis| genesis.accept_rollback_blindness);
    let witnesses = cosigned_by(state, &note)?;
    let readme = verify_md(state.origin(), &revealed.plan_hash, head.size, &witnesses, blind);
    files.insert(VERIFY_MD.to_owned(), readme.into_bytes());
    if let Some(commitment) = &revealed.ceremony.commitment {
        let from = commitment.act.checkpoint.size;
        let proof = state.ledger.consistency(from, head.size)?;
        files.insert(consistency_path(from), evidence::note::hash_lines(&proof).into_bytes());
    }
    let freeze = revealed.ceremony.freeze.as_ref().ok_or_else(|| refused("the frame is not frozen"))?;
    let days = Day::of_plan(&revealed.ceremony.plan, freeze.received, freeze.index);
    // Statements above the checkpoint are not part of this set, whatever the book holds by now.
    let shared = Export {
        state,
        frozen: &revealed.frozen,
        now: &now,
        newest: std::cell::RefCell::default(),
        size: head.size,
        note: &note,
    };
    for (control, (population, record)) in revealed.draws()? {
        control_files(&shared, &mut files, revealed, &control, &population, &record, &days)?;
    }
    anchors::add(state, &mut files, head.size)?;
    Ok((files, head))
}

/// Streams 1 to 3 whole, each with the proof of its newest leaf; and the state they fold to.
fn streams(
    state: &State,
    files: &mut Files,
    size: u64,
    note: &Note,
) -> Result<evidence::authority::Authority, StateError> {
    let mut entries = BTreeMap::new();
    for stream in SET_STREAMS {
        let mut lines = String::new();
        let mut newest = None;
        for index in stream_indexes(&state.ledger, stream, size)? {
            let entry = state.ledger.entry(index)?;
            let entry = StreamEntry { index, leaf: entry.leaf, salt: entry.salt, payload: entry.payload };
            lines.push_str(&entry.line());
            newest = Some(index);
            entries.insert(index, entry);
        }
        files.insert(stream_path(stream), lines.into_bytes());
        if let Some(index) = newest {
            let hashes = state.ledger.inclusion(index, size)?;
            let proof = TlogProof { extra: None, index, hashes, note: note.clone() };
            files.insert(stream_proof_path(stream), proof.encode().into_bytes());
        }
    }
    let mut authority = evidence::authority::Authority::new(state.origin());
    for (index, entry) in entries {
        authority
            .admit(index, entry.leaf.received, entry.leaf.kind, &entry.payload)
            .map_err(|error| refused(format!("entry {index} does not fit the log before it: {error}")))?;
    }
    Ok(authority)
}

fn control_files(
    shared: &Export<'_>,
    files: &mut Files,
    revealed: &Revealed,
    control: &Name,
    population: &Population,
    record: &DrawRecord,
    days: &BTreeMap<DayLabel, Day>,
) -> Result<(), StateError> {
    files.insert(population_path(control), population.bytes().to_vec());
    files.insert(draw_path(control), record.bytes());
    let day_of = |unit: &str| -> Result<Day, StateError> {
        let id: UnitId = unit.parse().map_err(|_| refused(format!("{unit} is not a unit")))?;
        days.get(&id.day).copied().ok_or_else(|| refused(format!("{} is not a day of the plan", id.day)))
    };
    let mut states =
        BTreeMap::from([(UnitRole::Selected.as_str(), Vec::new()), (UnitRole::Reserve.as_str(), Vec::new())]);
    let drawn = record.draw.selected.iter().map(|unit| (unit, UnitRole::Selected));
    let drawn = drawn.chain(record.draw.reserves.iter().map(|unit| (unit, UnitRole::Reserve)));
    for (number, (unit, role)) in drawn.enumerate() {
        let folder = unit_folder(control, number + 1);
        let state = shared.unit(files, &folder, unit, role, &day_of(&unit.unit)?)?;
        states.entry(role.as_str()).or_default().push(state);
    }
    let all = whole_population(shared, control, population, days)?;
    files.insert(results_path(control), Results::tally(control, &all).encode());
    let of = |role: UnitRole| states.get(role.as_str()).map(Vec::as_slice).unwrap_or_default();
    let plan = &revealed.ceremony.plan;
    let sample = evaluated(of(UnitRole::Selected), of(UnitRole::Reserve), plan.replace_not_applicable);
    let evaluation =
        Evaluation::of(control, &sample, plan).map_err(|error| refused(format!("evaluation: {error}")))?;
    files.insert(evaluation_path(control), evaluation.to_json().to_bytes());
    Ok(())
}

/// Every unit of the population judged, so that the sample can be laid beside the whole.
fn whole_population(
    shared: &Export<'_>,
    control: &Name,
    population: &Population,
    days: &BTreeMap<DayLabel, Day>,
) -> Result<Vec<(UnitId, &'static str, &'static str)>, StateError> {
    let mut judged = Vec::new();
    for unit in population.units() {
        let unit: UnitId = unit.parse().map_err(|_| refused(format!("{unit} is not a unit")))?;
        let device: DeviceId = unit.device;
        let day = days.get(&unit.day).ok_or_else(|| refused(format!("{} is not a day", unit.day)))?;
        let seen = &shared.statements(&device)?;
        let (read, gone) = (attestations(&shared.state.ledger, seen, day)?, erased(seen));
        let state = state_of(shared.now, shared.frozen.roster().device(&device), &read, &gone, day, control);
        let name: UnitStateName = state.state;
        judged.push((unit, name.as_str(), state.because));
    }
    Ok(judged)
}

/// export.tlog-proof and MANIFEST.note.
fn seal(
    state: &State,
    files: &mut Files,
    head: TreeHead,
    index: u64,
    later: &Published,
) -> Result<(), StateError> {
    let entry = state.ledger.entry(index)?;
    let size = later.checkpoint.size;
    let consistency = state.ledger.consistency(head.size, size)?;
    let proof = TlogProof {
        extra: Some(export_extra(&entry.leaf, &entry.salt, &entry.payload, &consistency)),
        index,
        hashes: state.ledger.inclusion(index, size)?,
        note: note_of(later)?,
    };
    let proof = proof.encode().into_bytes();
    let manifest = files.get(MANIFEST).ok_or_else(|| refused("the manifest is missing"))?;
    let text = note_text(state.origin(), manifest, &proof);
    let note = Note::sign(&text, &note_name(state.origin()), state.operations())
        .map_err(|error| refused(format!("MANIFEST.note: {error}")))?;
    files.insert(EXPORT_PROOF.to_owned(), proof);
    files.insert(MANIFEST_NOTE.to_owned(), note.encode().into_bytes());
    Ok(())
}

/// No set leaves that the verifiers' own code does not find sound.
fn self_check(state: &State, files: &Files, plan_hash: Digest) -> Result<(), StateError> {
    let auditor_key = state.book().authority.ceremony(&plan_hash).map(|ceremony| ceremony.plan.auditor_key);
    let policy = WitnessPolicy::parse(state.witness_policy().as_bytes())
        .map_err(|error| refused(format!("the witness policy: {error}")))?;
    let trust = Trust {
        trust_domain: state.trust_domain().to_owned(),
        origin: state.origin().to_owned(),
        // What somebody pinned on the first day: the set must show the way from there.
        log_keys: policy.log_keys(),
        witness_policy: state.witness_policy().to_owned(),
        checkpoints: Vec::new(),
        auditor_key: auditor_key.ok_or_else(|| refused("the plan is not in the log"))?,
        made_by: MadeBy::SameHand,
        accept_simulated: true,
    };
    let report = evidence::verify::verify(files, &Vec::new(), &trust.encode());
    if report.is_sound() {
        return Ok(());
    }
    for check in &report.checks {
        tracing::error!(number = check.number, name = check.name, outcome = ?check.outcome, "Check of an own set.");
    }
    Err(refused(
        "the set failed its own verification and was not handed out: see the collector's log and run fsck",
    ))
}
