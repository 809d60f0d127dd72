//! A log that follows another: its first entry names the last checkpoint of the one before. docs/FORMAT.md section 8.

use crate::acts::{Act, Body, Genesis};
use crate::authority::{Authority, AuthorityError};
use crate::ids::Digest;
use crate::leaf::{Kind, Leaf, LeafError, SALT_BYTES, commitment};
use crate::merkle::{self, ProofError};
use crate::note::{Checkpoint, NoteError, TlogProof, TlogProofError, VerifierKey};

#[cfg(test)]
mod tests;

/// Why a first entry, or what it says of the log before, is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SuccessionError {
    /// The leaf.
    #[error("the first entry's leaf: {0}")]
    Leaf(#[from] LeafError),
    /// The proof's form.
    #[error("the first entry's proof: {0}")]
    Proof(#[from] NoteError),
    /// The proof does not hold.
    #[error("the first entry's proof does not hold: {0}")]
    Unproved(#[from] TlogProofError),
    /// It proves something else.
    #[error("what was shown is not the first entry of {0}")]
    NotFirst(String),
    /// Another payload than the leaf commits to.
    #[error("the first entry's payload is not what its leaf commits to")]
    Commitment,
    /// The act.
    #[error("the first entry: {0}")]
    Act(#[from] AuthorityError),
    /// It names nobody.
    #[error("{0} follows no other log: its first entry names no predecessor")]
    NoPredecessor(String),
    /// It follows another log.
    #[error("the log follows {found}, not {expected}")]
    OtherLog {
        /// Origin that it names.
        found: String,
        /// Origin that was known.
        expected: String,
    },
    /// Less than was known.
    #[error(
        "the log names {named} entries of its predecessor, and a checkpoint of {known} was seen here: it forgets what \
         others hold"
    )]
    Forgets {
        /// Entries that it names.
        named: u64,
        /// Entries that were known.
        known: u64,
    },
    /// The one is no beginning of the other.
    #[error(
        "nothing shows that the {named} entries it names begin with the {known} that were seen here: {source}"
    )]
    NotExtended {
        /// Entries that it names.
        named: u64,
        /// Entries that were known.
        known: u64,
        /// What is wrong with the proof.
        source: ProofError,
    },
}

/// A first entry as somebody shows it, nothing of it checked.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// Bytes of its leaf.
    pub leaf: &'a [u8],
    /// Salt of its commitment.
    pub salt: &'a [u8; SALT_BYTES],
    /// The genesis act's envelope.
    pub payload: &'a [u8],
    /// That it is entry 0 (C2SP tlog-proof).
    pub tlog_proof: &'a str,
}

impl Shown<'_> {
    /// The genesis of the log `origin`, once it is proved to lie under a checkpoint that one of `log_keys` signed. Gives that
    /// checkpoint too. Lines of witnesses are not looked at.
    pub fn open(
        &self,
        log_keys: &[VerifierKey],
        origin: &str,
    ) -> Result<(Genesis, Checkpoint), SuccessionError> {
        let leaf = Leaf::parse(self.leaf)?;
        let proof = TlogProof::parse(self.tlog_proof.as_bytes())?;
        let checkpoint = proof.verify(&leaf.hash(), log_keys)?;
        if proof.index != 0 || leaf.kind != Kind::GENESIS || checkpoint.origin != origin {
            return Err(SuccessionError::NotFirst(origin.to_owned()));
        }
        if commitment(self.salt, self.payload) != leaf.commitment {
            return Err(SuccessionError::Commitment);
        }
        Authority::new(origin).admit(0, leaf.received, Kind::GENESIS, self.payload)?;
        let (_, act) = Act::open(self.payload).map_err(AuthorityError::from)?;
        match act.body {
            Body::Genesis(genesis) if log_keys.contains(&genesis.log_key) => Ok((genesis, checkpoint)),
            _ => Err(SuccessionError::NotFirst(origin.to_owned())),
        }
    }
}

/// The checkpoint that the genesis of `origin` names.
pub fn predecessor<'a>(genesis: &'a Genesis, origin: &str) -> Result<&'a Checkpoint, SuccessionError> {
    genesis.predecessor.as_ref().ok_or_else(|| SuccessionError::NoPredecessor(origin.to_owned()))
}

/// Whether `named`, which a genesis names, is `known` or extends it by `consistency`. An equal one needs no proof.
pub fn extends(
    known: &Checkpoint,
    named: &Checkpoint,
    consistency: &[Digest],
) -> Result<(), SuccessionError> {
    if named.origin != known.origin {
        let (found, expected) = (named.origin.clone(), known.origin.clone());
        return Err(SuccessionError::OtherLog { found, expected });
    }
    if named.size < known.size {
        return Err(SuccessionError::Forgets { named: named.size, known: known.size });
    }
    merkle::verify_consistency(known.size, &known.root, named.size, &named.root, consistency)
        .map_err(|source| SuccessionError::NotExtended { named: named.size, known: known.size, source })
}
