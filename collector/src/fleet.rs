//! The fleet as people ask about it: devices, newcomers that wait, conflicts, and configurations.

use std::collections::BTreeMap;

use evidence::authority::LoggedConfiguration;
use evidence::envelope::Envelope;
use evidence::ids::{DeviceId, InstanceId};
use evidence::note::{Note, TlogProof};
use evidence::roster;
use evidence::time::{MINUTE_MS, Timestamp};
use proto::{Config, ConfigurationRow, ConflictRow, DeviceRow, PendingRow};

use crate::enrolling::Enrolling;
use crate::ledger::{Found, ReadError};
use crate::state::State;

/// Intervals without a statement after which a device is silent: a weekend of a laptop that looks every six hours is ten,
/// and one missed evening is no news.
pub const SILENT_INTERVALS: u64 = 12;
/// Minutes between looks of an agent that no fleet configuration reached.
pub const INTERVAL_MINUTES_DEFAULT: u64 = 6 * 60;
/// Statements looked at from the newest back until one is an attestation: gaps come one at a time.
const LOOKED_BACK_MAX: u64 = 8;

/// Every device ever enrolled; with `versions` also what its newest attestation says of agent and configuration.
pub fn devices(state: &State, versions: bool) -> Result<Vec<DeviceRow>, ReadError> {
    let now = state.clock.now();
    let authority = state.book().authority.clone();
    let numbers: BTreeMap<&[u8], u64> = authority
        .configurations()
        .iter()
        .map(|logged| (logged.digest.as_bytes().as_slice(), logged.configuration.number))
        .collect();
    let mut rows = Vec::new();
    for (id, record) in authority.roster().devices() {
        let current = record.at(now);
        let in_service = current.is_some();
        let (class, group) = current.or_else(|| record.last_known()).map_or_else(
            || (String::new(), String::new()),
            |(class, group)| (class.to_string(), group.to_string()),
        );
        let (mut last_ms, mut statements, mut newest) = (0, 0_u64, None);
        for instance in &record.instances {
            if let Some(known) = state.ledger.instance(instance)? {
                if known.last_received.0 >= last_ms {
                    newest = Some((*instance, known.next_sequence));
                }
                last_ms = last_ms.max(known.last_received.0);
                statements = statements.saturating_add(known.next_sequence);
            }
        }
        let level = record.instances.last().and_then(|instance| authority.roster().instance(instance));
        let mut row = DeviceRow {
            device: id.to_string(),
            class,
            group,
            state: if in_service { "in-service" } else { "retired" }.to_owned(),
            enrolled_ms: record.enrolled.0,
            last_ms,
            statements,
            key_level: level.map_or("k0", |instance| instance.key_level.as_str()).to_owned(),
            silent_ms: if in_service {
                silent_ms(authority.configurations(), id, record, last_ms, now)
            } else {
                0
            },
            ..DeviceRow::default()
        };
        if let (true, Some((instance, next))) = (versions, newest)
            && let Some(attestation) = newest_attestation(state, &instance, next)?
        {
            row.configuration =
                numbers.get(attestation.configuration_digest.as_slice()).copied().unwrap_or(0);
            row.agent_version = attestation.agent_version;
            row.agent_digest = attestation.agent_digest;
        }
        rows.push(row);
    }
    Ok(rows)
}

/// For how long a device has been silent: 0 until nothing came for [`SILENT_INTERVALS`] of its intervals.
fn silent_ms(
    configurations: &[LoggedConfiguration],
    device: &DeviceId,
    record: &roster::Device,
    last_ms: u64,
    now: Timestamp,
) -> u64 {
    let told = configurations.iter().rev().find(|logged| logged.configuration.is_for(device));
    let minutes = told.map_or(INTERVAL_MINUTES_DEFAULT, |logged| logged.configuration.interval_minutes);
    overdue_ms(now.0.saturating_sub(last_ms.max(record.enrolled.0)), minutes)
}

/// A silence of `since_ms`, if it is longer than a device that looks every so many minutes may be silent; else 0.
fn overdue_ms(since_ms: u64, interval_minutes: u64) -> u64 {
    let allowed = interval_minutes.saturating_mul(MINUTE_MS).saturating_mul(SILENT_INTERVALS);
    if since_ms > allowed { since_ms } else { 0 }
}

/// The newest attestation of an instance that is not erased and not far behind its newest statement.
fn newest_attestation(
    state: &State,
    instance: &InstanceId,
    next: u64,
) -> Result<Option<proto::Attestation>, ReadError> {
    for sequence in (next.saturating_sub(LOOKED_BACK_MAX)..next).rev() {
        let Some(index) = state.ledger.statement(instance, sequence)? else { continue };
        let Found::Entry(entry) = state.ledger.find(index)? else { continue };
        let statement = Envelope::parse(&entry.payload).ok().and_then(|envelope| envelope.claimed().ok());
        if let Some(attestation) = statement.as_ref().and_then(|statement| statement.attestation()) {
            return Ok(Some(attestation.fields.clone()));
        }
    }
    Ok(None)
}

/// Newcomers that wait.
pub fn pending(enrolling: &Enrolling, now: Timestamp) -> Vec<PendingRow> {
    let rows = enrolling.pending.rows(now).into_iter().map(|(request, waiting)| PendingRow {
        request: request.as_bytes().to_vec(),
        why: waiting.why.as_str().to_owned(),
        class: waiting.class,
        group: waiting.group,
        address: waiting.address,
        host_name: waiting.host_name,
        serial: waiting.serial,
        first_ms: waiting.first_ms,
        last_ms: waiting.last_ms,
        like: waiting.like,
    });
    rows.collect()
}

/// What contradicts: forked keys, certificates in use twice, and hardware under two keys.
pub fn conflicts(state: &State, enrolling: &Enrolling) -> Result<Vec<ConflictRow>, ReadError> {
    let device_of = |instance: &InstanceId| {
        state.book().authority.roster().instance(instance).map(|known| (known.device, known.ended))
    };
    let mut rows = Vec::new();
    for (instance, records) in state.conflicts.all() {
        let Some((device, ended)) = device_of(&instance) else { continue };
        let sequence = records.first().map_or(0, |record| record.sequence);
        rows.push(ConflictRow {
            kind: "fork".to_owned(),
            device: device.to_string(),
            instance: instance.as_bytes().to_vec(),
            sequence,
            entries: records.iter().filter_map(|record| record.index).collect(),
            what: format!("its key signed two statements for place {sequence} of its chain"),
            open: ended.is_none() && state.is_forked(&device, &instance),
            ..ConflictRow::default()
        });
    }
    for (instance, twice) in state.conflicts.live().twice() {
        let Some((device, ended)) = device_of(&instance) else { continue };
        rows.push(ConflictRow {
            kind: "twice".to_owned(),
            device: device.to_string(),
            instance: instance.as_bytes().to_vec(),
            what: twice.as_str().to_owned(),
            open: ended.is_none() && state.book().decided(&device).is_none(),
            ..ConflictRow::default()
        });
    }
    for (device, other) in enrolling.hardware.pairs(state)? {
        let decided = state.book().authority.roster().pair(&device, &other);
        rows.push(ConflictRow {
            kind: "hardware".to_owned(),
            device: device.to_string(),
            other: other.to_string(),
            what: "both told the same hardware when they enrolled".to_owned(),
            open: decided.is_none(),
            ..ConflictRow::default()
        });
    }
    Ok(rows)
}

/// Every configuration, with how many devices in service are told it now.
pub fn configurations(state: &State) -> Result<Vec<ConfigurationRow>, ReadError> {
    let now = state.clock.now();
    let authority = state.book().authority.clone();
    let mut told: BTreeMap<u64, u64> = BTreeMap::new();
    for (device, _) in authority.roster().devices().filter(|(_, record)| record.at(now).is_some()) {
        let newest =
            authority.configurations().iter().rev().find(|logged| logged.configuration.is_for(device));
        if let Some(logged) = newest {
            *told.entry(logged.index).or_default() += 1;
        }
    }
    authority
        .configurations()
        .iter()
        .map(|logged| {
            let entry = state.ledger.entry(logged.index)?;
            Ok(ConfigurationRow {
                index: logged.index,
                received_ms: entry.leaf.received.0,
                envelope: entry.payload,
                devices: told.get(&logged.index).copied().unwrap_or(0),
            })
        })
        .collect()
}

/// A configuration's place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its number.
    pub number: u64,
    /// Index of its entry.
    pub index: u64,
}

/// Number of the newest configuration among the log's first `size` entries; 0: there is none.
pub fn newest_configuration(state: &State, size: u64) -> u64 {
    let book = state.book();
    let newest = book.authority.configurations().iter().rev().find(|logged| logged.index < size);
    newest.map_or(0, |logged| logged.configuration.number)
}

/// The newest configuration that is for a device, among the log's first `size` entries.
pub fn configuration_for(state: &State, device: &DeviceId, size: u64) -> Option<Place> {
    let book = state.book();
    let logged = book.authority.configurations().iter().rev();
    let mut covered = logged.filter(|logged| logged.index < size);
    let newest = covered.find(|logged| logged.configuration.is_for(device))?;
    Some(Place { number: newest.configuration.number, index: newest.index })
}

/// A configuration with what shows that it is in the log, under the checkpoint `note` of `size` entries.
pub fn config(state: &State, place: &Place, note: &Note, size: u64) -> Result<Config, ReadError> {
    let entry = state.ledger.entry(place.index)?;
    let hashes = state.ledger.inclusion(place.index, size)?;
    let proof = TlogProof { extra: None, index: place.index, hashes, note: note.clone() };
    Ok(Config {
        signed: entry.payload,
        leaf: entry.leaf.encode(),
        salt: entry.salt.to_vec(),
        tlog_proof: proof.encode(),
    })
}

#[cfg(test)]
mod tests {
    use evidence::time::DAY_MS;

    use super::{INTERVAL_MINUTES_DEFAULT, overdue_ms};

    #[test]
    fn a_device_is_silent_after_twelve_of_its_intervals() {
        assert_eq!(overdue_ms(3 * DAY_MS, INTERVAL_MINUTES_DEFAULT), 0);
        assert_eq!(overdue_ms(3 * DAY_MS + 1, INTERVAL_MINUTES_DEFAULT), 3 * DAY_MS + 1);
        assert_eq!(overdue_ms(3_600_001, 5), 3_600_001, "one hour for one that looks every five minutes");
        assert_eq!(overdue_ms(u64::MAX, u64::MAX), 0);
    }
}
