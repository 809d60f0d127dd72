//! What a stream waits for: the writer's answers in the order of the envelopes, and the end of a hold.

use std::collections::VecDeque;
use std::time::Instant;

use proto::to_agent::Item as Outgoing;
use tokio::sync::oneshot;

use crate::quota::Place;
use crate::sequencer::{DeviceAnswer, SubmitError};

pub(super) enum Waiting {
    Answer { sequence: u64, answer: oneshot::Receiver<DeviceAnswer>, _place: Place },
    Now(Vec<Outgoing>),
}

pub(super) enum Settled {
    Answer(u64, DeviceAnswer),
    Now(Vec<Outgoing>),
}

/// Waits for the oldest answer; taking it off the queue only once it is there keeps the wait cancel-safe.
pub(super) async fn next_answer(pending: &mut VecDeque<Waiting>) -> Settled {
    let settled = match pending.front_mut() {
        Some(Waiting::Answer { sequence, answer, .. }) => {
            let sequence = *sequence;
            Settled::Answer(sequence, answer.await.unwrap_or(Err(SubmitError::Stopped)))
        }
        Some(Waiting::Now(items)) => Settled::Now(std::mem::take(items)),
        None => return std::future::pending().await,
    };
    pending.pop_front();
    settled
}

/// Waits until `moment`.
pub(super) async fn hold(moment: Option<Instant>) {
    if let Some(moment) = moment {
        tokio::time::sleep_until(moment.into()).await;
    }
}
