//! Check 16: every device envelope in the set, its place in the log and in its device's chain.

use std::collections::{BTreeMap, BTreeSet};

use super::streams::proof_under;
use super::{Found, Verdict, file};
use crate::envelope::Envelope;
use crate::ids::{DeviceId, Digest, InstanceId};
use crate::judge::{Day, Erased};
use crate::leaf::{self, Stream};
use crate::merkle;
use crate::set::{CHECKPOINT, Files, UnitView, parse_leaf_extra};
use crate::statement::{Body, Gap, Statement};
use crate::time::Timestamp;

mod erased;

/// A verified statement.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Logged {
    pub(super) index: u64,
    pub(super) received: Timestamp,
    pub(super) leaf: Digest,
    pub(super) envelope: Digest,
    pub(super) statement: Statement,
}

/// Every unit.json by its folder, and every statement and erased one by leaf index.
#[derive(Default)]
pub(super) struct Statements {
    pub(super) units: BTreeMap<String, UnitView>,
    pub(super) logged: BTreeMap<u64, Logged>,
    pub(super) erased: BTreeMap<u64, ErasedLeaf>,
    /// By index: the rule, and how many statements the set shows as erased by it.
    pub(super) tombstones: BTreeMap<u64, (String, u64)>,
}

/// A statement of which the leaf alone is left, as logged and as the collector says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ErasedLeaf {
    pub(super) received: Timestamp,
    pub(super) leaf: Digest,
    pub(super) attests: bool,
    instance: InstanceId,
    sequence: u64,
    tombstone: u64,
}

/// A statement's place in the chain of its instance, erased or not.
#[derive(Clone, Copy)]
struct Place<'a> {
    index: u64,
    sequence: u64,
    /// The lowest sequence it speaks for.
    first: u64,
    leaf: Digest,
    when: When,
    statement: Option<&'a Logged>,
}

#[derive(Clone, Copy)]
enum When {
    /// A gap.
    Never,
    Observed(Timestamp),
    /// Between its receipt and the age that the policy allows.
    Erased(Erased),
}

impl Place<'_> {
    fn lies_in(&self, day: &Day, max_age_minutes: u64) -> bool {
        match self.when {
            When::Never => false,
            When::Observed(time) => day.contains(time),
            When::Erased(erased) => erased.may_lie_in(day, max_age_minutes),
        }
    }

    fn lies_before(&self, day: &Day) -> bool {
        match self.when {
            When::Never => false,
            When::Observed(time) | When::Erased(Erased { received: time, .. }) => time < day.start,
        }
    }
}

impl Logged {
    fn place(&self) -> Place<'_> {
        Place {
            index: self.index,
            sequence: self.statement.sequence,
            first: first_sequence(&self.statement),
            leaf: self.leaf,
            when: observed(self).map_or(When::Never, When::Observed),
            statement: Some(self),
        }
    }
}

impl ErasedLeaf {
    fn place(&self, index: u64) -> Place<'_> {
        let when =
            if self.attests { When::Erased(Erased { index, received: self.received }) } else { When::Never };
        let Self { sequence, leaf, .. } = *self;
        Place { index, sequence, first: sequence, leaf, when, statement: None }
    }
}

impl Statements {
    /// Everything shown, by instance, in order of the index.
    fn places(&self) -> BTreeMap<InstanceId, Vec<Place<'_>>> {
        let mut places: BTreeMap<InstanceId, Vec<Place<'_>>> = BTreeMap::new();
        for logged in self.logged.values() {
            places.entry(logged.statement.instance).or_default().push(logged.place());
        }
        for (index, erased) in &self.erased {
            places.entry(erased.instance).or_default().push(erased.place(*index));
        }
        for chain in places.values_mut() {
            chain.sort_by_key(|place| (place.sequence, place.index));
        }
        places
    }
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
            .chain(unit.erased.iter().map(|erased| format!("{folder}/{}.tlog-proof", erased.index)))
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
        for reference in &unit.erased {
            let place = format!("{folder}/{}", reference.index);
            let erased = erased::leaf(found, files, &place, reference, &unit)?;
            if all.erased.get(&reference.index).is_some_and(|other| *other != erased) {
                return Err(format!("{place}: another unit says otherwise of this index"));
            }
            all.erased.insert(reference.index, erased);
        }
        unit_chains(found, &unit, &all).map_err(|problem| format!("{folder}: {problem}"))?;
        all.units.insert(folder.to_owned(), unit);
    }
    erased::tombstones(found, files, &mut all)?;
    across(found, &all)?;
    nothing_held_back(found, &all)?;
    let mut detail =
        format!("{} statements of {} units, signed, logged and chained", all.logged.len(), all.units.len());
    for (index, (rule, count)) in &all.tombstones {
        detail = format!("{detail}; {count} erased under rule {rule}, entry {index}");
    }
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
    if let Some(ended) = instance.ended.filter(|ended| *ended < index) {
        return Err(fail(format!("was logged after entry {ended}, which ended its instance's key")));
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
fn unit_chains(found: &Found, unit: &UnitView, all: &Statements) -> Result<(), String> {
    let mut chains: BTreeMap<InstanceId, BTreeMap<u64, Place<'_>>> = BTreeMap::new();
    let statements = unit
        .statements
        .iter()
        .filter_map(|reference| Some((reference.instance, all.logged.get(&reference.index)?.place())));
    let erased = unit.erased.iter().filter_map(|reference| {
        Some((reference.instance, all.erased.get(&reference.index)?.place(reference.index)))
    });
    for (instance, place) in statements.chain(erased) {
        if chains.entry(instance).or_default().insert(place.sequence, place).is_some() {
            return Err(format!("sequence {} stands twice", place.sequence));
        }
    }
    for chain in chains.values() {
        let mut before: Option<&Place<'_>> = None;
        for (sequence, place) in chain {
            match before {
                Some(before) => {
                    if place.first != before.sequence.saturating_add(1) {
                        return Err(format!("a statement before sequence {sequence} is missing"));
                    }
                    // What an erased one was, and what it said of the one before it, is gone.
                    if let (Some(statement), Some(before)) = (place.statement, before.statement)
                        && statement.statement.previous != before.envelope
                    {
                        return Err(format!("sequence {sequence} does not follow the one before it"));
                    }
                }
                None => {
                    let begins = *sequence == 0 || place.first == 0;
                    if !begins && place.lies_in(&day_of(found, unit)?, max_age_minutes(found, unit)?) {
                        return Err(format!(
                            "sequence {sequence} lies in the day, and the one before it is not shown"
                        ));
                    }
                }
            }
            before = Some(place);
        }
    }
    Ok(())
}

/// The age the policy in force allows for the unit's control; 0 without one.
pub(super) fn max_age_minutes(found: &Found, unit: &UnitView) -> Result<u64, String> {
    let all = found.authority.as_ref().ok_or("the streams could not be folded")?;
    let policy = day_of(found, unit)?.policy(&all.policy_entries());
    let control = policy.and_then(|entry| entry.policy.control(unit.unit.control.as_str()));
    Ok(control.map_or(0, |control| control.max_age_minutes))
}

/// A unit lists every statement of section 11 that the set shows anywhere: what one unit shows, another of the same
/// device cannot leave out.
fn nothing_held_back(found: &Found, all: &Statements) -> Result<(), String> {
    let mut by_device: BTreeMap<DeviceId, Vec<Vec<Place<'_>>>> = BTreeMap::new();
    let roster = found.authority.as_ref().ok_or("the streams could not be folded")?.roster();
    for (instance, chain) in all.places() {
        let device = roster.instance(&instance).ok_or("a statement's instance was never enrolled")?.device;
        by_device.entry(device).or_default().push(chain);
    }
    for (folder, unit) in &all.units {
        let (day, max_age) = (day_of(found, unit)?, max_age_minutes(found, unit)?);
        let statements = unit.statements.iter().map(|reference| reference.index);
        let listed: BTreeSet<u64> =
            statements.chain(unit.erased.iter().map(|reference| reference.index)).collect();
        for chain in by_device.get(&unit.unit.device).into_iter().flatten() {
            let (low, high) = sequences_of(&day, max_age, chain);
            let due = chain.iter().filter(|place| (low..=high).contains(&place.sequence));
            if let Some(missing) = due.into_iter().find(|place| !listed.contains(&place.index)) {
                return Err(format!("{folder}: leaves out {}, which another unit shows", missing.index));
            }
        }
    }
    Ok(())
}

/// Which sequences of an instance a unit of this day shows: docs/FORMAT.md section 11.
fn sequences_of(day: &Day, max_age_minutes: u64, chain: &[Place<'_>]) -> (u64, u64) {
    let in_day =
        || chain.iter().filter(|place| place.lies_in(day, max_age_minutes)).map(|place| place.sequence);
    match (in_day().min(), in_day().max()) {
        (Some(first), Some(last)) => (first.saturating_sub(1), last.saturating_add(1)),
        _ => {
            let before =
                chain.iter().filter(|place| place.lies_before(day)).map(|place| place.sequence).max();
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
fn across(found: &Found, all: &Statements) -> Result<(), String> {
    for (instance, chain) in &all.places() {
        let mut before: Option<&Place<'_>> = None;
        let mut said: Option<&Logged> = None;
        // Largest anchor so far, by origin.
        let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
        for place in chain {
            if let Some(before) = before {
                if before.sequence == place.sequence && before.leaf != place.leaf {
                    return Err(format!("sequence {} of {instance} stands at two indexes", place.sequence));
                }
                if before.index >= place.index || place.first <= before.sequence {
                    return Err(format!("{instance}: index and sequence do not ascend together"));
                }
            }
            before = Some(place);
            let Some(statement) = place.statement else { continue };
            if let Some(said) = said {
                let adjoins = place.first == said.statement.sequence.saturating_add(1);
                if adjoins && statement.statement.previous != said.envelope {
                    return Err(format!("{instance}: sequence {} breaks the chain", place.sequence));
                }
            }
            match &statement.statement.anchor {
                // What was said of another log in between does not matter.
                Some(anchor) => {
                    let largest = sizes.entry(&anchor.origin).or_default();
                    if anchor.size < *largest {
                        return Err(format!("{instance}: an anchor shrinks"));
                    }
                    *largest = anchor.size;
                }
                None if sizes.is_empty() => {}
                None => return Err(format!("{instance}: an anchor is followed by none")),
            }
            said = Some(statement);
        }
    }
    let mut times: BTreeMap<u64, Timestamp> = BTreeMap::new();
    for entry in Stream::CHAINED.iter().filter_map(|stream| found.streams.get(stream)).flatten() {
        times.insert(entry.index, entry.leaf.received);
    }
    let statements = all.logged.values().map(|logged| (logged.index, logged.received));
    let erased = all.erased.iter().map(|(index, erased)| (*index, erased.received));
    for (index, received) in statements.chain(erased) {
        if times.insert(index, received).is_some() {
            return Err(format!("index {index} is shown as two things"));
        }
    }
    let ordered: Vec<&Timestamp> = times.values().collect();
    if ordered.is_sorted() { Ok(()) } else { Err("received_ms decreases with the index".into()) }
}
