//! Why an act was refused, and which numbered check that fails.

use crate::acts::{ActError, ActId, Role};
use crate::dsse::DsseError;
use crate::enrolment::TranscriptError;
use crate::erasure::ErasureError;
use crate::ids::Digest;
use crate::roster::RosterError;

/// Why an act was refused. [`AuthorityError::check`] names the numbered check it fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// Its form.
    #[error(transparent)]
    Act(#[from] ActError),
    /// Its signature.
    #[error(transparent)]
    Signature(#[from] DsseError),
    /// For another log.
    #[error("the act is for {found:?}, this log is {expected:?}")]
    Origin {
        /// Origin in the act.
        found: String,
        /// This log.
        expected: String,
    },
    /// An id met before.
    #[error("act id {} was used before: make the act anew", .0.as_str())]
    Repeated(ActId),
    /// The first roster entry is not a genesis, or one comes later.
    #[error("the first entry of a log is its genesis, and only it")]
    Genesis,
    /// The genesis does not fit itself.
    #[error("genesis: {0}")]
    GenesisMembers(&'static str),
    /// A key nobody admitted.
    #[error("key {0} is not admitted to this log: an admin adds persons with `user create`")]
    Stranger(Digest),
    /// An admitted person without the right.
    #[error("the role {role} may not sign {act}: it takes {needed}")]
    Role {
        /// The signer's role.
        role: Role,
        /// Name of the act.
        act: &'static str,
        /// Who may.
        needed: &'static str,
    },
    /// An entry of the operations key by another key.
    #[error("{0} is signed by the operations key only")]
    NotOperations(&'static str),
    /// An act of an auditor by another key.
    #[error("this plan's auditor key is {expected}, the act is signed by {found}")]
    NotAuditor {
        /// Key id of the plan's auditor.
        expected: Digest,
        /// Key id of the signer.
        found: Digest,
    },
    /// Roster rules, for persons and changes of devices.
    #[error(transparent)]
    Admission(RosterError),
    /// Roster rules, for tokens and enrolments.
    #[error(transparent)]
    Roster(RosterError),
    /// The enrolment's transcript.
    #[error(transparent)]
    Transcript(#[from] TranscriptError),
    /// The transcript and the entry differ.
    #[error("the enrolment's {0} is not the transcript's")]
    TranscriptMember(&'static str),
    /// Rules of erasing and holding.
    #[error(transparent)]
    Erasure(ErasureError),
    /// Both log keys must sign when one follows the other.
    #[error("the signature of the {0} log key does not hold over the change")]
    LogKey(&'static str),
    /// An auditor's key that somebody who runs the log holds.
    #[error("the auditor's key of plan {0} may not be the key of an admin or analyst of this log")]
    NotIndependent(Digest),
    /// A configuration out of order.
    #[error("the next configuration has number {0}: look at the newest one first")]
    Configuration(u64),
    /// A plan nobody logged.
    #[error("no plan {0} in this log")]
    NoPlan(Digest),
    /// A ceremony step that is not due.
    #[error("{step} is not due: {because}")]
    Ceremony {
        /// The step.
        step: &'static str,
        /// Why not.
        because: &'static str,
    },
}

impl AuthorityError {
    /// The numbered check of docs/FORMAT.md section 12 that this fails.
    pub fn check(&self) -> u8 {
        match self {
            Self::Act(_) | Self::Signature(_) | Self::Origin { .. } | Self::Repeated(_) => 6,
            Self::Genesis | Self::GenesisMembers(_) => 7,
            Self::Stranger(_) | Self::Role { .. } | Self::NotOperations(_) | Self::NotAuditor { .. } => 8,
            Self::NoPlan(_) | Self::LogKey(_) | Self::NotIndependent(_) | Self::Configuration(_) => 8,
            Self::Admission(RosterError::SecondGenesis) => 7,
            Self::Admission(_) => 8,
            Self::Roster(_) | Self::Transcript(_) | Self::TranscriptMember(_) => 9,
            Self::Ceremony { .. } => 11,
            Self::Erasure(_) => 16,
        }
    }
}
