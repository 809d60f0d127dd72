//! Checks 17 and 18: every drawn unit judged again, and results and evaluation laid beside it.

use std::collections::{BTreeMap, BTreeSet};

use super::statements::day_of;
use super::{Found, Verdict, file};
use crate::draw::{Draw, Drawn, Population};
use crate::evaluation::{Evaluation, evaluated};
use crate::ids::{Name, UnitId};
use crate::judge::{Erased, Sighting, State, judge_with_erased};
use crate::set::{
    Counts, Files, Results, UnitRole, UnitView, evaluation_path, population_path, results_path, unit_folder,
};

/// The units of one control in draw order: selected, then reserves.
fn drawn(found: &Found, files: &Files, control: &Name) -> Result<Draw, String> {
    let ceremony = found.ceremony.as_ref().ok_or("the ceremony is not complete")?;
    let reveal = ceremony.reveal.as_ref().ok_or("no reveal")?;
    let plan_hash = found.manifest.as_ref().map(|manifest| manifest.plan_hash).unwrap_or_default();
    let path = population_path(control);
    let population = Population::parse(file(files, &path)?).map_err(|error| format!("{path}: {error}"))?;
    Ok(ceremony.plan.draw(&plan_hash, control, &population, &reveal.act.nonce).draw)
}

pub(super) fn check(found: &mut Found, files: &Files) -> Verdict {
    let controls = found.ceremony.as_ref().ok_or("the ceremony is not complete")?.plan.controls.clone();
    let mut expected = BTreeSet::new();
    let mut tally: BTreeMap<&'static str, u64> = BTreeMap::new();
    for control in &controls {
        let draw = drawn(found, files, control)?;
        let roles = draw
            .selected
            .iter()
            .map(|unit| (unit, UnitRole::Selected))
            .chain(draw.reserves.iter().map(|unit| (unit, UnitRole::Reserve)));
        for (number, (unit, role)) in roles.enumerate() {
            let folder = unit_folder(control, number + 1);
            let state = unit_again(found, &folder, unit, role)?;
            *tally.entry(state).or_default() += 1;
            expected.insert(folder);
        }
    }
    if let Some(extra) = found.statements.units.keys().find(|folder| !expected.contains(*folder)) {
        return Err(format!("{extra} is not a drawn unit"));
    }
    let states: Vec<String> = tally.iter().map(|(state, n)| format!("{n} {state}")).collect();
    Ok(format!("judged again: {}", states.join(", ")))
}

fn unit_again(found: &Found, folder: &str, drawn: &Drawn, role: UnitRole) -> Result<&'static str, String> {
    let fail = |problem: &str| format!("{folder}/unit.json: {problem}");
    let view = found.statements.units.get(folder).ok_or_else(|| format!("{folder} is missing"))?;
    if view.unit.to_string() != drawn.unit || view.ticket != drawn.ticket || view.role != role {
        return Err(fail("unit, ticket or role are not the draw's"));
    }
    let ceremony = found.ceremony.as_ref().ok_or("the ceremony is not complete")?;
    let plan_control = folder.split('/').nth(1).unwrap_or_default();
    if view.unit.control.as_str() != plan_control || !ceremony.plan.controls.contains(&view.unit.control) {
        return Err(fail("is of another control"));
    }
    let day = day_of(found, view)?;
    let frozen = found.frozen.as_ref().ok_or("no frozen roster")?;
    let all = found.authority.as_ref().ok_or("the streams could not be folded")?;
    let service =
        frozen.roster().device(&view.unit.device).map(crate::roster::Device::spans).unwrap_or_default();
    let sightings: Vec<Sighting<'_>> = view
        .statements
        .iter()
        .filter_map(|reference| found.statements.logged.get(&reference.index))
        .filter_map(|logged| {
            logged.statement.attestation().map(|attestation| Sighting {
                index: logged.index,
                received: logged.received,
                attestation,
            })
        })
        .collect();
    let erased: Vec<Erased> = view
        .erased
        .iter()
        .filter_map(|reference| Some((reference.index, found.statements.erased.get(&reference.index)?)))
        .filter(|(_, erased)| erased.attests)
        .map(|(index, erased)| Erased { index, received: erased.received })
        .collect();
    let policies = all.policy_entries();
    let state = judge_with_erased(&day, view.unit.control.as_str(), &policies, &service, &sightings, &erased);
    let statements = view.statements.iter().map(|reference| (reference.index, reference.counts));
    let gone = view.erased.iter().map(|reference| (reference.index, reference.counts));
    let mut counted: Vec<u64> =
        statements.chain(gone).filter(|(_, counts)| *counts).map(|(index, _)| index).collect();
    counted.sort_unstable();
    if counted != state.counted {
        return Err(fail("other statements count than section 9 says"));
    }
    let same = view.state == state.state.as_str()
        && view.because == state.because
        && view.decided_by == state.decided_by
        && view.policy_index == state.policy_index;
    if same {
        Ok(state.state.as_str())
    } else {
        Err(fail(&format!("says {} ({}), judged again it is {state}", view.state, view.because)))
    }
}

pub(super) fn results(found: &mut Found, files: &Files) -> Verdict {
    let plan = &found.ceremony.as_ref().ok_or("the ceremony is not complete")?.plan;
    for (folder, path) in
        [("results/", results_path as fn(&Name) -> String), ("evaluation/", evaluation_path)]
    {
        let expected: Vec<String> = plan.controls.iter().map(path).collect();
        if let Some(extra) = files.keys().find(|file| file.starts_with(folder) && !expected.contains(file)) {
            return Err(format!("{extra} belongs to no control of the plan"));
        }
    }
    for control in &plan.controls {
        let path = results_path(control);
        let results = Results::parse(file(files, &path)?).map_err(|error| format!("{path}: {error}"))?;
        let units: Vec<&UnitView> =
            found.statements.units.values().filter(|view| view.unit.control == *control).collect();
        population_agrees(files, control, &results).map_err(|problem| format!("{path}: {problem}"))?;
        for view in units {
            let row = results.units.iter().find(|row| row.unit == view.unit);
            let same = match row {
                Some(row) => row.state == view.state && row.because == view.because,
                None => view.state == State::Pass.as_str(),
            };
            if !same {
                return Err(format!("{path}: {} is another state than in its folder", view.unit));
            }
        }
        let states = |role: UnitRole| -> Result<Vec<State>, String> {
            let mut list: Vec<(&String, &UnitView)> = found
                .statements
                .units
                .iter()
                .filter(|(_, view)| view.unit.control == *control && view.role == role)
                .collect();
            list.sort_by_key(|(folder, _)| (folder.len(), (*folder).clone()));
            list.into_iter()
                .map(|(_, view)| view.state.parse().map_err(|_| format!("unknown state {}", view.state)))
                .collect()
        };
        let sample =
            evaluated(&states(UnitRole::Selected)?, &states(UnitRole::Reserve)?, plan.replace_not_applicable);
        let evaluation =
            Evaluation::of(control, &sample, plan).map_err(|error| format!("{control}: {error}"))?;
        let path = evaluation_path(control);
        if evaluation.to_json().to_bytes() != file(files, &path)? {
            return Err(format!("{path} is not what the sample's states give"));
        }
    }
    Ok(format!("{} controls: results agree with population and sample", plan.controls.len()))
}

fn population_agrees(files: &Files, control: &Name, results: &Results) -> Result<(), String> {
    if results.control != *control {
        return Err("is of another control".into());
    }
    let path = population_path(control);
    let population = Population::parse(file(files, &path)?).map_err(|error| format!("{path}: {error}"))?;
    let units: BTreeSet<&str> = population.units().collect();
    let mut per_device: BTreeMap<String, u64> = BTreeMap::new();
    for unit in &units {
        let unit: UnitId = unit.parse().map_err(|_| format!("{unit} is not a unit id"))?;
        *per_device.entry(unit.device.to_string()).or_default() += 1;
    }
    let named: Vec<String> = results.devices.iter().map(|row| row.device.to_string()).collect();
    if named != per_device.keys().cloned().collect::<Vec<_>>() {
        return Err("its devices are not those of the population".into());
    }
    let known = |counts: &Counts| counts.keys().all(|state| state.parse::<State>().is_ok());
    let mut sum = Counts::new();
    for row in &results.devices {
        if !known(&row.counts) {
            return Err(format!("{}: unknown state", row.device));
        }
        let total: u64 = row.counts.values().sum();
        if per_device.get(&row.device.to_string()) != Some(&total) {
            return Err(format!("{}: counts do not add up to its units", row.device));
        }
        for (state, n) in &row.counts {
            *sum.entry(state.clone()).or_default() += n;
        }
    }
    if sum != results.counts {
        return Err("counts are not the sum of the devices'".into());
    }
    let mut listed: BTreeMap<(String, String), u64> = BTreeMap::new();
    for row in &results.units {
        if row.state == State::Pass.as_str() || row.state.parse::<State>().is_err() {
            return Err(format!("{}: lists a unit as {}", row.unit, row.state));
        }
        if !units.contains(row.unit.to_string().as_str()) {
            return Err(format!("{} is not in the population", row.unit));
        }
        *listed.entry((row.unit.device.to_string(), row.state.clone())).or_default() += 1;
    }
    for row in &results.devices {
        for (state, n) in row.counts.iter().filter(|(state, _)| state.as_str() != State::Pass.as_str()) {
            if listed.remove(&(row.device.to_string(), state.clone())) != Some(*n) {
                return Err(format!("{}: counts and listed units differ for {state}", row.device));
            }
        }
    }
    if listed.is_empty() { Ok(()) } else { Err("units are listed that the counts do not know".into()) }
}
