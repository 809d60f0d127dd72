//! What a stream is told without asking: checkpoints, proofs, the fleet configuration.

use evidence::ids::Digest;
use evidence::note::{Note, TlogProof};
use proto::Proved;
use proto::to_agent::Item as Outgoing;
use tonic::Status;

use super::{End, PROOFS_AT_ONCE, Session};
use crate::fleet;
use crate::service::status;

impl Session {
    /// Sends the newest checkpoint and a proof for whatever it covers.
    pub(super) async fn prove(&mut self) -> Result<(), End> {
        let Some(published) = self.checkpoints.borrow_and_update().clone() else { return Ok(()) };
        let size = published.checkpoint.size;
        let covered: Vec<(u64, u64)> = self.unproved.range(..size).map(|(i, s)| (*i, *s)).collect();
        // Beside proofs, a checkpoint is worth sending when a stream begins: it is the next statement's anchor.
        // So is one that a fleet configuration is shown to be logged under.
        let configuration = self.due_configuration(size);
        if covered.is_empty() && self.greeted && configuration.is_none() {
            return Ok(());
        }
        self.greeted = true;
        if size > self.anchor_size {
            let from = self.anchor_size;
            let proof = match self.state.ledger.consistency(from, size) {
                Ok(proof) => proof,
                Err(error) => return Err(End::Told(status(&error.into()))),
            };
            self.anchor_size = size;
            let key_changes = std::mem::take(&mut self.key_changes);
            self.send(Outgoing::Checkpoint(proto::Checkpoint {
                note: published.note.clone(),
                consistency: proof.iter().map(|hash: &Digest| hash.0.to_vec()).collect(),
                from_size: from,
                key_changes,
            }))
            .await?;
        }
        let note = Note::parse(published.note.as_bytes())
            .map_err(|_| End::Told(Status::internal("the newest checkpoint cannot be read")))?;
        for some in covered.chunks(PROOFS_AT_ONCE) {
            let indexes: Vec<u64> = some.iter().map(|(index, _)| *index).collect();
            let proofs = match self.state.ledger.inclusions(&indexes, size) {
                Ok(proofs) => proofs,
                Err(error) => return Err(End::Told(status(&error.into()))),
            };
            for ((index, sequence), hashes) in some.iter().zip(proofs) {
                let proof = TlogProof { extra: None, index: *index, hashes, note: note.clone() };
                self.unproved.remove(index);
                self.send(Outgoing::Proved(Proved { sequence: *sequence, tlog_proof: proof.encode() }))
                    .await?;
            }
        }
        if let Some(configuration) = configuration {
            let config = fleet::config(&self.state, &configuration, &note, size);
            let config = config.map_err(|error| End::Told(status(&error.into())))?;
            self.configured = configuration.number;
            self.send(Outgoing::Config(config)).await?;
        }
        Ok(())
    }

    /// The configuration this device is to be told now, among the log's first `size` entries.
    fn due_configuration(&mut self, size: u64) -> Option<fleet::Place> {
        let newest = fleet::newest_configuration(&self.state, size);
        // Every stream asks at every checkpoint: what was looked at is not looked at again.
        if newest == self.looked_at {
            return None;
        }
        self.looked_at = newest;
        fleet::configuration_for(&self.state, &self.device, size)
            .filter(|configuration| configuration.number > self.configured)
    }
}
