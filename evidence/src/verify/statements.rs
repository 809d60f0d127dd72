//! Check 16: every device envelope in the set, its place in the log and in its device's chain.

use std::collections::{BTreeMap, BTreeSet};

use super::streams::proof_under;
use super::{Found, Verdict, file};
use crate::envelope::Envelope;
use crate::ids::{DeviceId, Digest, InstanceId};
use crate::judge::Day;
use crate::leaf::{self, Stream};
use crate::merkle;
use crate::set::{CHECKPOINT, Files, UnitView, parse_leaf_extra};
use crate::statement::{Body, Gap, Statement};
use crate::time::Timestamp;

/// A verified statement.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Logged {
    pub(super) index: u64,
    pub(super) received: Timestamp,
    pub(super) leaf: Digest,
    pub(super) envelope: Digest,
    pub(super) statement: Statement,
}

/// Every unit.json by its folder, and every statement by leaf index.
#[derive(Default)]
pub(super) struct Statements {
    pub(super) units: BTreeMap<String, UnitView>,
    pub(super) logged: BTreeMap<u64, Logged>,
}

pub(super) fn check(found: &mut Found, files: &Files) -> Verdict {
    let mut all = Statements::default();
    let folders: BTreeSet<&str> = files
        .keys()
        .filter(|path| path.starts_with("units/"))
        .filter_map(|path| path.rsplit_once('/').map(|(folder, _)| folder))
        .collect();
    for folder in folders {
        let path = format!("{folder}/unit.json");
        let unit = UnitView::parse(file(files, &path)?).map_err(|error| format!("{path}: {error}"))?;
        let expected: BTreeSet<String> = unit
            .statements
            .iter()
            .flat_map(|s| {
                [".envelope", ".tlog-proof", ".json"].map(|ending| format!("{folder}/{}{ending}", s.index))
            })
            .chain([path.clone()])
            .collect();
        let present = files.keys().filter(|file| file.rsplit_once('/').is_some_and(|(f, _)| f == folder));
        if let Some(extra) = present.into_iter().find(|file| !expected.contains(*file)) {
            return Err(format!("{extra} is not named by {path}"));
        }
        for reference in &unit.statements {
            let place = format!("{folder}/{}", reference.index);
            file(files, &format!("{place}.json"))?;
            let logged = statement(found, files, &place, reference.index, &unit)?;
            if logged.statement.sequence != reference.sequence
                || logged.statement.instance != reference.instance
            {
                return Err(format!("{place}: unit.json names another sequence or instance"));
            }
            if all.logged.get(&reference.index).is_some_and(|other| *other != logged) {
                return Err(format!("{place}: another unit shows another statement at this index"));
            }
            all.logged.insert(reference.index, logged);
        }
        unit_chains(found, &unit, &all.logged).map_err(|problem| format!("{folder}: {problem}"))?;
        all.units.insert(folder.to_owned(), unit);
    }
    across(found, &all.logged)?;
    nothing_held_back(found, &all)?;
    let detail =
        format!("{} statements of {} units, signed, logged and chained", all.logged.len(), all.units.len());
    found.statements = all;
    Ok(detail)
}

fn statement(
    found: &Found,
    files: &Files,
    place: &str,
    index: u64,
    unit: &UnitView,
) -> Result<Logged, String> {
    let fail = |problem: String| format!("{place}: {problem}");
    let head = found.head().ok_or("the manifest cannot be read")?;
    let roster = found.authority.as_ref().ok_or("the streams could not be folded")?.roster();
    let path = format!("{place}.envelope");
    let bytes = file(files, &path)?;
    let envelope = Envelope::parse(bytes).map_err(|error| fail(error.to_string()))?;
    let claimed = envelope.claimed().map_err(|error| fail(error.to_string()))?;
    let instance = roster
        .instance(&claimed.instance)
        .ok_or_else(|| fail(format!("instance {} was never enrolled", claimed.instance)))?;
    let statement = envelope.open(&instance.key).map_err(|error| fail(error.to_string()))?;
    if instance.device != unit.unit.device {
        return Err(fail(format!("is of device {}, not of the unit's", instance.device)));
    }
    if statement.attestation().is_some_and(|attestation| attestation.device != instance.device) {
        return Err(fail("names another device than its instance's".into()));
    }
    if instance.index >= index {
        return Err(fail("was logged before its instance was enrolled".into()));
    }
    let proof = proof_under(files, &format!("{place}.tlog-proof"), file(files, CHECKPOINT)?)?;
    let extra = proof.extra.as_deref().and_then(parse_leaf_extra);
    let Some((leaf, salt, [])) = extra else {
        return Err(fail("the proof's extra is not a leaf and its salt".into()));
    };
    if proof.index != index {
        return Err(fail(format!("the proof is about index {}", proof.index)));
    }
    let origin = found.manifest.as_ref().map(|manifest| manifest.origin.as_str());
    if let Some(anchor) = &statement.anchor
        && Some(anchor.origin.as_str()) == origin
        && anchor.size > index
    {
        return Err(fail(format!("its anchor of size {} is younger than its own leaf", anchor.size)));
    }
    if leaf.kind != statement.kind() {
        return Err(fail(format!("was logged as kind {}", leaf.kind)));
    }
    if leaf::commitment(&salt, bytes) != leaf.commitment {
        return Err(fail("the leaf commits to other bytes".into()));
    }
    merkle::verify_inclusion(index, head.size, &leaf.hash(), &proof.hashes, &head.root)
        .map_err(|error| fail(error.to_string()))?;
    Ok(Logged { index, received: leaf.received, leaf: leaf.hash(), envelope: envelope.hash(), statement })
}

/// The lowest sequence a statement speaks for: a destroyed gap stands for the lost ones.
fn first_sequence(statement: &Statement) -> u64 {
    match statement.body {
        Body::Gap(Gap::Destroyed { first, .. }) => first,
        _ => statement.sequence,
    }
}

/// When an attestation was made, as judging takes it.
fn observed(logged: &Logged) -> Option<Timestamp> {
    logged.statement.attestation().map(|attestation| attestation.wall().min(logged.received))
}

/// Within a unit nothing is missing between an instance's statements, and they reach back before the day.
fn unit_chains(found: &Found, unit: &UnitView, logged: &BTreeMap<u64, Logged>) -> Result<(), String> {
    let mut chains: BTreeMap<InstanceId, BTreeMap<u64, &Logged>> = BTreeMap::new();
    for reference in &unit.statements {
        if let Some(statement) = logged.get(&reference.index) {
            let chain = chains.entry(reference.instance).or_default();
            if chain.insert(reference.sequence, statement).is_some() {
                return Err(format!("sequence {} stands twice", reference.sequence));
            }
        }
    }
    for chain in chains.values() {
        let mut before: Option<&Logged> = None;
        for (sequence, statement) in chain {
            let missing_from = first_sequence(&statement.statement);
            match before {
                Some(before) => {
                    if missing_from != before.statement.sequence.saturating_add(1) {
                        return Err(format!("a statement before sequence {sequence} is missing"));
                    }
                    if statement.statement.previous != before.envelope {
                        return Err(format!("sequence {sequence} does not follow the one before it"));
                    }
                }
                None if *sequence != 0 && missing_from != 0 => {
                    let day = day_of(found, unit)?;
                    if observed(statement).is_some_and(|time| day.contains(time)) {
                        return Err(format!(
                            "sequence {sequence} lies in the day, and the one before it is not shown"
                        ));
                    }
                }
                None => {}
            }
            before = Some(statement);
        }
    }
    Ok(())
}

/// A unit lists every statement of section 11 that the set shows anywhere: what one unit shows, another of the same
/// device cannot leave out.
fn nothing_held_back(found: &Found, all: &Statements) -> Result<(), String> {
    let mut by_device: BTreeMap<DeviceId, BTreeMap<InstanceId, Vec<&Logged>>> = BTreeMap::new();
    let roster = found.authority.as_ref().ok_or("the streams could not be folded")?.roster();
    for logged in all.logged.values() {
        let instance = logged.statement.instance;
        let device = roster.instance(&instance).ok_or("a statement's instance was never enrolled")?.device;
        by_device.entry(device).or_default().entry(instance).or_default().push(logged);
    }
    for (folder, unit) in &all.units {
        let day = day_of(found, unit)?;
        let listed: BTreeSet<u64> = unit.statements.iter().map(|reference| reference.index).collect();
        for chain in by_device.get(&unit.unit.device).into_iter().flat_map(BTreeMap::values) {
            let (low, high) = sequences_of(&day, chain);
            let due = chain.iter().filter(|logged| (low..=high).contains(&logged.statement.sequence));
            if let Some(missing) = due.into_iter().find(|logged| !listed.contains(&logged.index)) {
                return Err(format!("{folder}: leaves out {}, which another unit shows", missing.index));
            }
        }
    }
    Ok(())
}

/// Which sequences of an instance a unit of this day shows: docs/FORMAT.md section 11.
fn sequences_of(day: &Day, chain: &[&Logged]) -> (u64, u64) {
    let seen = || chain.iter().filter_map(|logged| Some((observed(logged)?, logged.statement.sequence)));
    let in_day = || seen().filter(|(time, _)| day.contains(*time)).map(|(_, sequence)| sequence);
    match (in_day().min(), in_day().max()) {
        (Some(first), Some(last)) => (first.saturating_sub(1), last.saturating_add(1)),
        _ => {
            let before = seen().filter(|(time, _)| *time < day.start).map(|(_, sequence)| sequence).max();
            before.map_or((0, 0), |before| (before, before.saturating_add(1)))
        }
    }
}

/// The unit's day as of the freeze.
pub(super) fn day_of(found: &Found, unit: &UnitView) -> Result<Day, String> {
    let ceremony = found.ceremony.as_ref().ok_or("the ceremony is not complete")?;
    let freeze = ceremony.freeze.as_ref().ok_or("no freeze")?;
    Day::of_plan(&ceremony.plan, freeze.received, freeze.index)
        .remove(&unit.unit.day)
        .ok_or_else(|| format!("{} is not a day of the plan", unit.unit.day))
}

/// Over the whole set: one leaf per (instance, sequence), order, anchors, and received times with the streams'.
fn across(found: &Found, logged: &BTreeMap<u64, Logged>) -> Result<(), String> {
    let mut by_instance: BTreeMap<InstanceId, BTreeMap<u64, &Logged>> = BTreeMap::new();
    for statement in logged.values() {
        let chain = by_instance.entry(statement.statement.instance).or_default();
        if chain
            .insert(statement.statement.sequence, statement)
            .is_some_and(|other| other.leaf != statement.leaf)
        {
            return Err(format!(
                "sequence {} of {} stands at two indexes",
                statement.statement.sequence, statement.statement.instance
            ));
        }
    }
    for (instance, chain) in &by_instance {
        let mut before: Option<&Logged> = None;
        for statement in chain.values() {
            if let Some(before) = before {
                let from = first_sequence(&statement.statement);
                if before.index >= statement.index || from <= before.statement.sequence {
                    return Err(format!("{instance}: index and sequence do not ascend together"));
                }
                let (old, new) = (&before.statement.anchor, &statement.statement.anchor);
                match (old, new) {
                    (Some(_), None) => return Err(format!("{instance}: an anchor is followed by none")),
                    (Some(old), Some(new)) if old.origin == new.origin && new.size < old.size => {
                        return Err(format!("{instance}: an anchor shrinks"));
                    }
                    _ => {}
                }
                let adjoins = from == before.statement.sequence.saturating_add(1);
                if adjoins && statement.statement.previous != before.envelope {
                    return Err(format!(
                        "{instance}: sequence {} breaks the chain",
                        statement.statement.sequence
                    ));
                }
            }
            before = Some(statement);
        }
    }
    let mut times: BTreeMap<u64, Timestamp> = BTreeMap::new();
    for entry in Stream::CHAINED.iter().filter_map(|stream| found.streams.get(stream)).flatten() {
        times.insert(entry.index, entry.leaf.received);
    }
    for statement in logged.values() {
        if times.insert(statement.index, statement.received).is_some() {
            return Err(format!("index {} is also a stream's entry", statement.index));
        }
    }
    let ordered: Vec<&Timestamp> = times.values().collect();
    if ordered.is_sorted() { Ok(()) } else { Err("received_ms decreases with the index".into()) }
}
