//! A drawn unit's folder: its statements, the proof of each, and its state judged from them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use evidence::authority::Authority;
use evidence::draw::Drawn;
use evidence::envelope::Envelope;
use evidence::ids::{DeviceId, InstanceId, UnitId};
use evidence::judge::{Day, Erased};
use evidence::note::{Note, TlogProof};
use evidence::set::{
    ErasedRef, Files, StatementRef, UnitRole, UnitView, erased_extra, leaf_extra, tombstone_extra,
    tombstone_path,
};
use evidence::time::Timestamp;

use super::files::view;
use super::refused;
use crate::evidence_index::{Seen, statements};
use crate::judging::{attestations, erased, state_of};
use crate::state::{State, StateError};

/// What every unit of one export shares.
pub(super) struct Export<'a> {
    pub(super) state: &'a State,
    /// Streams 1 to 3 below the freeze: the roster a day is judged by.
    pub(super) frozen: &'a Authority,
    /// Streams 1 to 3 as of the set: the policies.
    pub(super) now: &'a Authority,
    /// Statements of the device asked for last: units are asked for by device.
    pub(super) newest: RefCell<Option<(DeviceId, Rc<[Seen]>)>>,
    /// Size of the set's checkpoint.
    pub(super) size: u64,
    /// The set's checkpoint.
    pub(super) note: &'a Note,
}

impl Export<'_> {
    /// A device's statements below the set's checkpoint, ascending by index.
    pub(super) fn statements(&self, device: &DeviceId) -> Result<Rc<[Seen]>, StateError> {
        if let Some((_, seen)) = self.newest.borrow().as_ref().filter(|(known, _)| known == device) {
            return Ok(Rc::clone(seen));
        }
        let record = self.now.roster().device(device);
        let book = self.state.book().authority.erasures().clone();
        let read =
            record.map(|record| statements(&self.state.ledger, record, Timestamp(0), self.size, &book));
        let seen: Rc<[Seen]> = read.transpose()?.unwrap_or_default().into();
        self.newest.replace(Some((*device, Rc::clone(&seen))));
        Ok(seen)
    }

    /// Adds the folder of one unit and says what it was judged.
    pub(super) fn unit(
        &self,
        files: &mut Files,
        folder: &str,
        drawn: &Drawn,
        role: UnitRole,
        day: &Day,
    ) -> Result<evidence::judge::State, StateError> {
        let unit: UnitId =
            drawn.unit.parse().map_err(|_| refused(format!("{} is not a unit", drawn.unit)))?;
        let record = self.frozen.roster().device(&unit.device);
        let seen = &self.statements(&unit.device)?;
        let (read, gone) = (attestations(&self.state.ledger, seen, day)?, erased(seen));
        let judged = state_of(self.now, record, &read, &gone, day, &unit.control);
        let counted: BTreeSet<u64> = judged.counted.iter().copied().collect();
        let policy = day.policy(&self.now.policy_entries());
        let rule = policy.and_then(|entry| entry.policy.control(unit.control.as_str()));
        let shown = shown(seen, day, rule.map_or(0, |rule| rule.max_age_minutes));
        let (left, gone): (Vec<Seen>, Vec<Seen>) = shown.into_iter().partition(|seen| seen.erased.is_none());
        let view = UnitView {
            unit,
            ticket: drawn.ticket.clone(),
            role,
            state: judged.state.as_str().to_owned(),
            because: judged.because.to_owned(),
            decided_by: judged.decided_by,
            policy_index: judged.policy_index,
            statements: left
                .iter()
                .map(|seen| StatementRef {
                    index: seen.index,
                    sequence: seen.sequence,
                    instance: seen.instance,
                    counts: counted.contains(&seen.index),
                })
                .collect(),
            erased: gone
                .iter()
                .filter_map(|seen| {
                    Some(ErasedRef {
                        index: seen.index,
                        sequence: seen.sequence,
                        instance: seen.instance,
                        counts: counted.contains(&seen.index),
                        tombstone: seen.erased?,
                    })
                })
                .collect(),
        };
        files.insert(format!("{folder}/unit.json"), view.encode());
        for seen in left {
            self.statement(files, folder, seen.index)?;
        }
        for erased in &view.erased {
            self.erased(files, folder, erased)?;
        }
        Ok(judged.state)
    }

    /// The leaf of an erased statement, and its tombstone.
    fn erased(&self, files: &mut Files, folder: &str, erased: &ErasedRef) -> Result<(), StateError> {
        if erased.tombstone >= self.size {
            return Err(refused("statements are being erased: try again in a moment".to_owned()));
        }
        let proof = |index, extra| -> Result<Vec<u8>, StateError> {
            let hashes = self.state.ledger.inclusion(index, self.size)?;
            let proof = TlogProof { extra: Some(extra), index, hashes, note: self.note.clone() };
            Ok(proof.encode().into_bytes())
        };
        let leaf = self.state.ledger.leaf(erased.index)?;
        let path = format!("{folder}/{}.tlog-proof", erased.index);
        files.insert(path, proof(erased.index, erased_extra(&leaf))?);
        let entry = self.state.ledger.entry(erased.tombstone)?;
        let extra = tombstone_extra(&entry.leaf, &entry.salt, &entry.payload);
        files.insert(tombstone_path(erased.tombstone), proof(erased.tombstone, extra)?);
        Ok(())
    }

    fn statement(&self, files: &mut Files, folder: &str, index: u64) -> Result<(), StateError> {
        let entry = self.state.ledger.entry(index)?;
        let proof = TlogProof {
            extra: Some(leaf_extra(&entry.leaf, &entry.salt)),
            index,
            hashes: self.state.ledger.inclusion(index, self.size)?,
            note: self.note.clone(),
        };
        let envelope = Envelope::parse(&entry.payload)
            .map_err(|error| refused(format!("entry {index} is not an envelope: {error}")))?;
        files.insert(format!("{folder}/{index}.json"), view(&envelope, &entry.leaf).to_bytes());
        files.insert(format!("{folder}/{index}.tlog-proof"), proof.encode().into_bytes());
        files.insert(format!("{folder}/{index}.envelope"), entry.payload);
        Ok(())
    }
}

/// The statements a unit shows, per instance: those of the day and one on either side, so that nothing can be left out
/// unseen; without any in the day, the last before it and the first after. docs/FORMAT.md section 11.
fn shown(seen: &[Seen], day: &Day, max_age_minutes: u64) -> Vec<Seen> {
    let gone = |seen: &Seen| (seen.attests && seen.erased.is_some()).then_some(seen.received);
    let mut instances: BTreeMap<InstanceId, BTreeMap<u64, Seen>> = BTreeMap::new();
    for seen in seen {
        instances.entry(seen.instance).or_default().insert(seen.sequence, *seen);
    }
    let mut shown: Vec<Seen> = Vec::new();
    for chain in instances.values() {
        let in_day: Vec<u64> = chain
            .values()
            .filter(|seen| match gone(seen) {
                Some(received) => Erased { index: seen.index, received }.may_lie_in(day, max_age_minutes),
                None => seen.observed.is_some_and(|observed| day.contains(observed)),
            })
            .map(|seen| seen.sequence)
            .collect();
        let (low, high) = match (in_day.iter().min(), in_day.iter().max()) {
            (Some(first), Some(last)) => (first.saturating_sub(1), last.saturating_add(1)),
            _ => {
                let before = chain
                    .values()
                    .filter(|seen| seen.observed.or(gone(seen)).is_some_and(|time| time < day.start))
                    .map(|seen| seen.sequence)
                    .max();
                before.map_or((0, 0), |before| (before, before.saturating_add(1)))
            }
        };
        shown.extend(chain.range(low..=high).map(|(_, seen)| *seen));
    }
    shown.sort_by_key(|seen| seen.index);
    shown
}
