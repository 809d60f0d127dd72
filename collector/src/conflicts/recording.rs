//! Conflict records: asked for and logged.

use evidence::conflict::Conflict;
use evidence::ids::{DeviceId, Digest, InstanceId};
use evidence::leaf::Kind;

use crate::ledger::Found;
use crate::sequencer::{Context, NewEntry};
use crate::state::{State, StateError};

impl State {
    /// Whether two statements of this instance's key contradict each other and nobody has decided since. Until then it is
    /// not known which machine speaks.
    pub fn is_forked(&self, device: &DeviceId, instance: &InstanceId) -> bool {
        let Some(newest) = self.conflicts.newest(instance) else { return false };
        self.book().decided(device).is_none_or(|decided| decided < newest)
    }

    /// Logs that a second statement contradicts the one at `first_index`: once, and only so often for one instance. The
    /// index of the record, if there is a new one.
    pub async fn record_conflict(
        &self,
        instance: InstanceId,
        sequence: u64,
        first_index: u64,
        envelope: Vec<u8>,
    ) -> Result<Option<u64>, StateError> {
        let first = match self.ledger.find(first_index)? {
            Found::Entry(entry) => Digest::of(&entry.payload),
            Found::Erased(_) => Digest::ZERO,
        };
        let conflict = Conflict::new(instance, sequence, first_index, first, envelope);
        if !self.conflicts.reserve(&conflict) {
            return Ok(None);
        }
        let payload = conflict.encode();
        let entry = NewEntry { instance: Some(instance), ..NewEntry::new(Kind::CONFLICT, payload) };
        let logged = match self.sequencer.act(Box::new(move |_: &Context| Ok(vec![entry]))) {
            Ok(answer) => self.stored(answer, Digest::ZERO).await,
            Err(error) => Err(error.into()),
        };
        match logged {
            Ok(stored) => {
                self.conflicts.logged(&conflict, stored.index);
                Ok(Some(stored.index))
            }
            Err(error) => {
                self.conflicts.not_logged(&conflict);
                Err(error)
            }
        }
    }
}
