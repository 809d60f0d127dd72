//! The gRPC services: wire in, wire out, and the one mapping from errors to status codes.

use tonic::Status;

use crate::log_key::Changed;
use crate::state::{State, StateError};

pub mod access;
pub mod admin;
pub mod enrol;
pub mod ingest;
pub mod payloads;
pub mod people;
pub mod renew;
pub mod residency;
mod telling;
pub mod turns;
pub mod unstored;

/// The changes of the log's key, as they go over the wire.
fn key_changes(state: &State) -> Vec<proto::LogKeyChange> {
    let change = |changed: &Changed| proto::LogKeyChange {
        index: changed.index,
        vkey: changed.key.vkey(),
        endorsement: changed.endorsement.clone(),
    };
    state.log_key_changes().iter().map(change).collect()
}

/// The status of an error: a sentence, no paths, no internals.
pub fn status(error: &StateError) -> Status {
    match error {
        StateError::Refused(_) => Status::failed_precondition(error.to_string()),
        StateError::Invalid(_) => Status::invalid_argument(error.to_string()),
        StateError::Submit(crate::sequencer::SubmitError::Full { .. }) => {
            Status::resource_exhausted(error.to_string())
        }
        StateError::Submit(_) | StateError::NoCheckpoint(..) => Status::unavailable(error.to_string()),
        StateError::Read(error) => {
            tracing::error!(error = %error, "The log could not be read; run fsck.");
            Status::internal(
                "the log could not be read; the operator finds the reason in the collector's log",
            )
        }
        StateError::Keys(error) => {
            tracing::error!(error = %error, "Data keys could not be erased.");
            Status::internal("the data keys could not be erased; the operator finds the reason in the log")
        }
        StateError::Random(error) => {
            tracing::error!(error, "No randomness from the operating system.");
            Status::internal("the collector lacks randomness; try again")
        }
    }
}
