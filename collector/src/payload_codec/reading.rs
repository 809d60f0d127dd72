//! Reading a payload record with the data keys, and checking that it is what its leaf commits to.

use evidence::leaf::{Leaf, SALT_BYTES, commitment};

use super::{PayloadError, Sealed, Stored, Subject, open, statement_subject};
use crate::data_keys::{DataKeyError, DataKeys, Standing};
use crate::index::DeviceLink;

/// What a payload record holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// The payload, and it is what the leaf commits to.
    Payload {
        /// Salt of the commitment.
        salt: [u8; SALT_BYTES],
        /// The payload.
        payload: Vec<u8>,
    },
    /// Erased: nobody has it any more.
    Erased {
        /// Index of the tombstone.
        tombstone: u64,
        /// Whose entry it was.
        subject: Subject,
    },
}

/// Why a payload record could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadPayloadError {
    /// The record, or what it holds.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// Its data key.
    #[error(transparent)]
    Key(#[from] DataKeyError),
}

/// Reads the payload record of the entry at `index`. `leaf_bytes` is the leaf as stored. Without `keys` nothing sealed
/// is opened, which is an error.
pub fn read(
    keys: Option<&DataKeys>,
    index: u64,
    leaf: &Leaf,
    leaf_bytes: &[u8],
    codec: u8,
    stored: &[u8],
) -> Result<Opened, ReadPayloadError> {
    let opened = read_written(keys, index, leaf, leaf_bytes, codec, stored)?;
    if let Opened::Payload { payload, .. } = &opened {
        let link = DeviceLink::of_payload(leaf.kind, payload).ok().flatten();
        let parsed = Stored::parse(leaf.kind, codec, stored).map_err(PayloadError::from)?;
        check_subject(&parsed, link.as_ref())?;
    }
    Ok(opened)
}

/// That what a sealed record says in plain of a statement is what its payload says, whose link this is.
pub(crate) fn check_subject(stored: &Stored<'_>, link: Option<&DeviceLink>) -> Result<(), PayloadError> {
    match stored {
        Stored::Sealed(Sealed { subject: subject @ Subject::Statement { .. }, .. })
            if link.map(statement_subject) != Some(*subject) =>
        {
            Err(PayloadError::Form("what a payload record says in plain is not what its payload says"))
        }
        _ => Ok(()),
    }
}

/// As [`read`], without [`check_subject`], which costs as much as all the rest: for bytes this process has written itself
/// a moment ago, and for callers that parse the payload themselves.
pub(crate) fn read_written(
    keys: Option<&DataKeys>,
    index: u64,
    leaf: &Leaf,
    leaf_bytes: &[u8],
    codec: u8,
    stored: &[u8],
) -> Result<Opened, ReadPayloadError> {
    let (salt, payload) = match Stored::parse(leaf.kind, codec, stored).map_err(PayloadError::from)? {
        Stored::Plain { salt, payload } => (salt, payload.to_vec()),
        Stored::Erased { tombstone, subject } => return Ok(Opened::Erased { tombstone, subject }),
        Stored::Sealed(sealed) => {
            let subject = sealed.subject;
            let unknown = PayloadError::Form("a payload record has the subject of another stream");
            let scope = subject.scope(leaf.kind.stream, leaf.received).ok_or(unknown)?;
            let standing = keys.map_or(Ok(Standing::Absent), |keys| keys.standing(&scope))?;
            let key = match standing {
                Standing::Kept(key) => key,
                Standing::Erased { tombstone } => return Ok(Opened::Erased { tombstone, subject }),
                Standing::Absent => return Err(DataKeyError::Unknown(scope).into()),
            };
            let payload = open(&sealed, &key, index, leaf_bytes)?;
            (key.salt(index), payload)
        }
    };
    if commitment(&salt, &payload) != leaf.commitment {
        return Err(PayloadError::Form("the payload is not what its leaf commits to").into());
    }
    Ok(Opened::Payload { salt, payload })
}

/// Whether the payload record of the entry at `index` is what its leaf commits to, as far as that can be known without a
/// key that is gone.
pub fn fits(keys: Option<&DataKeys>, index: u64, leaf: &[u8], codec: u8, stored: &[u8]) -> bool {
    let Ok(parsed) = Leaf::parse(leaf) else { return false };
    match read(keys, index, &parsed, leaf, codec, stored) {
        Ok(_) | Err(ReadPayloadError::Key(_)) => true,
        Err(ReadPayloadError::Payload(_)) => false,
    }
}
