//! The C2SP tlog-proof file: an inclusion proof with its checkpoint, checkable offline.

use std::fmt::Write as _;

use super::{Checkpoint, NOTE_BYTES_MAX, Note, NoteError, VerifierKey, hash_lines, parse_hash_lines};
use crate::ids::Digest;
use crate::json::{decode_base64, decode_decimal, encode_base64};
use crate::merkle::{self, ProofError};
use crate::witness_policy::WitnessPolicy;

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1\n";
/// Largest proof file: a note, 64 hash lines, and an `extra` of one entry in base64.
const PROOF_BYTES_MAX: usize = NOTE_BYTES_MAX + 131_072;

/// An inclusion proof with the checkpoint it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// Unauthenticated bytes for the application: section 11 says what sets put here.
    pub extra: Option<Vec<u8>>,
    /// Leaf index.
    pub index: u64,
    /// Hashes from leaf to root.
    pub hashes: Vec<Digest>,
    /// The checkpoint, as signed.
    pub note: Note,
}

impl TlogProof {
    /// The file's text.
    pub fn encode(&self) -> String {
        let mut out = FIRST_LINE.to_owned();
        if let Some(extra) = &self.extra {
            out.push_str("extra ");
            out.push_str(&encode_base64(extra));
            out.push('\n');
        }
        let _infallible = writeln!(out, "index {}", self.index);
        out.push_str(&hash_lines(&self.hashes));
        out.push('\n');
        out.push_str(&self.note.encode());
        out
    }

    /// Reads a file.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > PROOF_BYTES_MAX {
            return Err(NoteError::Proof("too large"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| NoteError::Proof("not UTF-8"))?;
        let rest = text.strip_prefix(FIRST_LINE).ok_or(NoteError::Proof("unknown first line"))?;
        let (head, note) =
            rest.split_once("\n\n").ok_or(NoteError::Proof("no empty line before the checkpoint"))?;
        let (extra, head) = match head.strip_prefix("extra ") {
            Some(rest) => {
                let (data, rest) = rest.split_once('\n').ok_or(NoteError::Proof("no index line"))?;
                (Some(decode_base64(data).ok_or(NoteError::Proof("extra is not base64"))?), rest)
            }
            None => (None, head),
        };
        let (index_line, hashes) = head.split_once('\n').map_or((head, String::new()), |(first, rest)| {
            let mut lines = rest.to_owned();
            lines.push('\n');
            (first, lines)
        });
        let index = index_line
            .strip_prefix("index ")
            .and_then(decode_decimal)
            .ok_or(NoteError::Proof("the index line is not `index <decimal>`"))?;
        Ok(Self { extra, index, hashes: parse_hash_lines(&hashes)?, note: Note::parse(note.as_bytes())? })
    }

    /// The checkpoint, once it is signed by a log key and the leaf is in its tree.
    pub fn verify(&self, leaf: &Digest, log_keys: &[VerifierKey]) -> Result<Checkpoint, TlogProofError> {
        let checkpoint = Checkpoint::open(&self.note, log_keys)?;
        merkle::verify_inclusion(self.index, checkpoint.size, leaf, &self.hashes, &checkpoint.root)?;
        Ok(checkpoint)
    }

    /// The same under a policy: one of its logs signed, and its quorum cosigned.
    pub fn verify_under(&self, leaf: &Digest, policy: &WitnessPolicy) -> Result<Checkpoint, TlogProofError> {
        let checkpoint = policy.open(&self.note)?;
        merkle::verify_inclusion(self.index, checkpoint.size, leaf, &self.hashes, &checkpoint.root)?;
        Ok(checkpoint)
    }
}

/// Why a proof does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlogProofError {
    /// The checkpoint.
    #[error("the checkpoint: {0}")]
    Note(#[from] NoteError),
    /// The path.
    #[error("the inclusion proof: {0}")]
    Inclusion(#[from] ProofError),
}
