//! How far an enrolment came, and what the device is told of it.

use std::sync::Arc;

use evidence::acts::Enrolment;
use evidence::ids::{Class, Digest, Name};
use proto::Enrolled;
use tonic::Status;

use crate::enrolling::Enrolling;
use crate::enrolling::pending::Waiting;
use crate::failpoints;
use crate::identity::Identities;
use crate::service::renew::chain_of;
use crate::service::status;
use crate::state::State;

/// Puts a newcomer on the list of those who wait.
pub(super) fn wait(enrolling: &Enrolling, request: &Digest, waiting: Waiting) -> Result<Step, Refused> {
    let (why, host_name) = (waiting.why.as_str(), waiting.host_name.clone());
    let is_new = enrolling.pending.put(request, waiting).map_err(|error| {
        tracing::error!(%error, "The list of enrolments that wait could not be written.");
        Status::unavailable("the collector cannot note this request now; try again")
    })?;
    failpoints::reach("enrol-waiting-kept");
    if is_new {
        tracing::warn!(%request, why, host_name, "An enrolment waits for a person: `tallystick devices pending`.");
    }
    Ok(Step::Pending(*request))
}

/// Answers an enrolment that stands in the log, once a checkpoint covers it.
pub(super) async fn answer(
    state: &Arc<State>,
    identities: &Arc<Identities>,
    before: Before,
) -> Result<Enrolled, Status> {
    let certificate = identities.issued(&before.act.certificate).map_err(|error| {
        tracing::error!(error = %error, "An issued certificate is missing.");
        Status::internal("the certificate issued for this device is missing: ask for a new token")
    })?;
    let published = state.wait_for_checkpoint(before.index + 1).await.map_err(|error| status(&error))?;
    Ok(Enrolled {
        device: before.act.device.to_string(),
        instance: before.act.instance.as_bytes().to_vec(),
        certificate,
        chain: chain_of(identities, &before.act.certificate)?,
        origin: state.origin().to_owned(),
        log_vkeys: state.log_keys().iter().map(evidence::note::VerifierKey::vkey).collect(),
        witness_policy: state.witness_policy().to_owned(),
        checkpoint: published.note.clone(),
        enrolment_index: before.index,
        first_entry: None,
        predecessor_consistency: Vec::new(),
    })
}

/// What a token that holds says.
pub(super) struct GoodToken {
    pub(super) class: Class,
    pub(super) group: Name,
    pub(super) approve: bool,
    /// How many records of serial numbers it names.
    pub(super) serials: usize,
    /// Index of its entry.
    pub(super) index: u64,
    /// A person approved this very request.
    pub(super) approved: bool,
}

/// How far an enrolment came.
pub(super) enum Step {
    Enrolled(Box<Before>),
    Pending(Digest),
}

/// Why there was none.
pub(super) enum Refused {
    /// The token: the log tells why, the stranger only that.
    Token(String),
    /// Something that says nothing about tokens.
    Told(Box<Status>),
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self::Told(Box::new(status))
    }
}

/// An enrolment that stands in the log.
pub(super) struct Before {
    pub(super) act: Enrolment,
    pub(super) index: u64,
}
