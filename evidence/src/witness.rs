//! C2SP tlog-witness: the request by which a log asks for a cosignature, and the decision about it.
//!
//! Only bytes and rules. Whoever serves a witness holds the newest head of each log, decides and stores under one lock,
//! and answers after the new head is durable.

use crate::acts::TreeHead;
use crate::ids::Digest;
use crate::json::{decode_base64, decode_decimal};
use crate::merkle::{ProofError, empty_root, verify_consistency};
use crate::note::{Checkpoint, NOTE_BYTES_MAX, Note, NoteError, VerifierKey, hash_lines};

#[cfg(test)]
mod tests;

/// Most hashes of a consistency proof in a request.
pub const REQUEST_HASHES_MAX: usize = 63;
/// Largest request, bytes: an old size, 63 hash lines of 45 bytes, an empty line and a note.
pub const REQUEST_BYTES_MAX: usize = 64 + REQUEST_HASHES_MAX * 45 + NOTE_BYTES_MAX;
/// Content type of the size in an answer 409.
pub const SIZE_CONTENT_TYPE: &str = "text/x.tlog.size";

/// Why a request is not one. The answer is 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Its form.
    #[error("not an add-checkpoint request: {0}")]
    Form(&'static str),
    /// The checkpoint's form.
    #[error("the checkpoint: {0}")]
    Note(#[from] NoteError),
}

/// A request: a checkpoint, and the proof from the one the witness is thought to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// Size of the checkpoint the proof begins at.
    pub old_size: u64,
    /// Consistency proof from there.
    pub proof: Vec<Digest>,
    /// The checkpoint, as signed.
    pub note: Note,
}

impl AddCheckpoint {
    /// The body of the request.
    pub fn encode(&self) -> String {
        format!("old {}\n{}\n{}", self.old_size, hash_lines(&self.proof), self.note.encode())
    }

    /// Reads a body.
    pub fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        let form = RequestError::Form;
        if bytes.len() > REQUEST_BYTES_MAX {
            return Err(form("too large"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| form("not UTF-8"))?;
        let (head, note) = text.split_once("\n\n").ok_or(form("no empty line before the checkpoint"))?;
        let mut lines = head.split('\n');
        let old_size = lines
            .next()
            .and_then(|line| line.strip_prefix("old "))
            .and_then(decode_decimal)
            .ok_or(form("the first line is not `old <decimal>`"))?;
        let mut proof = Vec::new();
        for line in lines {
            let hash = decode_base64(line).and_then(|bytes| Digest::from_slice(&bytes).ok());
            proof.push(hash.ok_or(form("a proof line is not base64 of 32 bytes"))?);
            if proof.len() > REQUEST_HASHES_MAX {
                return Err(form("more than 63 proof lines"));
            }
        }
        Ok(Self { old_size, proof, note: Note::parse(note.as_bytes())? })
    }

    /// The origin the checkpoint claims, its signature not checked: it only says whose keys are to be looked up.
    pub fn claimed_origin(&self) -> Result<String, RequestError> {
        Ok(self.claimed()?.origin)
    }

    fn claimed(&self) -> Result<Checkpoint, NoteError> {
        Checkpoint::parse_text(self.note.claimed_text())
    }
}

/// Why a checkpoint is not cosigned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The request is none, or its sizes are not in order.
    #[error("{0}")]
    BadRequest(String),
    /// Nobody told this witness about the log.
    #[error("this witness does not know the log {0:?}")]
    UnknownLog(String),
    /// No signature by a key of the log, or a false one.
    #[error("the checkpoint: {0}")]
    Untrusted(NoteError),
    /// The proof begins somewhere else than where this witness is.
    #[error("this witness holds the checkpoint of size {size}")]
    OldSize {
        /// The size it holds.
        size: u64,
    },
    /// The trees do not fit: not the log this witness knows.
    #[error("not a later state of the checkpoint of size {size} this witness holds: {error}")]
    Inconsistent {
        /// The size it holds.
        size: u64,
        /// What does not fit.
        error: ProofError,
    },
}

impl Refused {
    /// The HTTP status of the answer.
    pub const fn status(&self) -> u16 {
        match self {
            Self::BadRequest(_) => 400,
            Self::UnknownLog(_) => 404,
            Self::Untrusted(_) => 403,
            Self::OldSize { .. } => 409,
            Self::Inconsistent { .. } => 422,
        }
    }
}

impl From<RequestError> for Refused {
    fn from(error: RequestError) -> Self {
        Self::BadRequest(error.to_string())
    }
}

/// Decides about a request for the log of `log_keys`, of which the witness holds `latest`: size 0 if nothing yet. What it
/// gives may be stored, and cosigned once it is durable.
pub fn consider(
    request: &AddCheckpoint,
    log_keys: &[VerifierKey],
    latest: TreeHead,
) -> Result<Checkpoint, Refused> {
    let claimed = request.claimed().map_err(|error| Refused::BadRequest(error.to_string()))?;
    let keys: Vec<VerifierKey> =
        log_keys.iter().filter(|key| key.name() == claimed.origin).cloned().collect();
    if keys.is_empty() {
        return Err(Refused::UnknownLog(claimed.origin));
    }
    let checkpoint = Checkpoint::open(&request.note, &keys).map_err(Refused::Untrusted)?;
    if request.old_size > checkpoint.size {
        let problem = format!("old size {} is above the checkpoint's {}", request.old_size, checkpoint.size);
        return Err(Refused::BadRequest(problem));
    }
    if request.old_size != latest.size {
        return Err(Refused::OldSize { size: latest.size });
    }
    let inconsistent = |error| Refused::Inconsistent { size: latest.size, error };
    if checkpoint.size == 0 && checkpoint.root != empty_root() {
        return Err(inconsistent(ProofError::Root));
    }
    // An empty tree has one root, whatever the state says.
    let root = if latest.size == 0 { empty_root() } else { latest.root };
    verify_consistency(latest.size, &root, checkpoint.size, &checkpoint.root, &request.proof)
        .map_err(inconsistent)?;
    Ok(checkpoint)
}

/// The body of an answer 409.
pub fn size_body(size: u64) -> String {
    format!("{size}\n")
}

/// Reads the body of an answer 409.
pub fn parse_size_body(body: &[u8]) -> Option<u64> {
    decode_decimal(std::str::from_utf8(body).ok()?.strip_suffix('\n')?)
}

/// Where a witness shows its newest checkpoint of a log, below its monitoring prefix.
pub fn monitoring_path(origin: &str) -> String {
    format!("/{}/checkpoint", Digest::of(origin.as_bytes()))
}
