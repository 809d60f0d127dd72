//! The conflict record (leaf 0.3): two different statements of one key for one place in its chain. docs/FORMAT.md section 5.
//!
//! The first is in the log as a statement; the second, which was not admitted, lies in the record, so that a third person
//! can check that one key signed both.

use crate::envelope::Envelope;
use crate::ids::{Digest, InstanceId};
use crate::keys::PublicKey;
use crate::leaf::PAYLOAD_BYTES_MAX;

/// First bytes of every conflict record.
const HEADER: &[u8] = b"tallystick/conflict/v1\0";
/// Bytes of a record without the second envelope.
const FIXED_BYTES: usize = HEADER.len() + 16 + 8 + 8 + 32 + 32;
/// Longest second envelope that is kept whole, in bytes. Of a longer one the record has the hash alone.
pub const SECOND_BYTES_MAX: usize = PAYLOAD_BYTES_MAX - FIXED_BYTES;

/// Why bytes are no conflict, or show none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConflictError(pub &'static str);

/// Two statements that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Whose key signed both.
    pub instance: InstanceId,
    /// Sequence of the second.
    pub sequence: u64,
    /// Index of the statement it contradicts: the one of the same sequence, or the one before it.
    pub first_index: u64,
    /// SHA-256 of that statement's envelope; zeros if it was erased before.
    pub first: Digest,
    /// SHA-256 of the second envelope.
    pub second: Digest,
    /// The second envelope; empty if it is longer than [`SECOND_BYTES_MAX`].
    pub envelope: Vec<u8>,
}

impl Conflict {
    /// The record of a second envelope that was met.
    pub fn new(
        instance: InstanceId,
        sequence: u64,
        first_index: u64,
        first: Digest,
        envelope: Vec<u8>,
    ) -> Self {
        let second = Digest::of(&envelope);
        let envelope = if envelope.len() > SECOND_BYTES_MAX { Vec::new() } else { envelope };
        Self { instance, sequence, first_index, first, second, envelope }
    }

    /// The payload of the leaf.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = HEADER.to_vec();
        bytes.extend_from_slice(self.instance.as_bytes());
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(&self.first_index.to_be_bytes());
        bytes.extend_from_slice(self.first.as_bytes());
        bytes.extend_from_slice(self.second.as_bytes());
        bytes.extend_from_slice(&self.envelope);
        bytes
    }

    /// Reads a payload.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConflictError> {
        let short = ConflictError("the record is cut short");
        let rest = bytes.strip_prefix(HEADER).ok_or(ConflictError("no conflict record of version 1"))?;
        let (instance, rest) = rest.split_first_chunk::<16>().ok_or_else(|| short.clone())?;
        let (sequence, rest) = rest.split_first_chunk::<8>().ok_or_else(|| short.clone())?;
        let (first_index, rest) = rest.split_first_chunk::<8>().ok_or_else(|| short.clone())?;
        let (first, rest) = rest.split_first_chunk::<32>().ok_or_else(|| short.clone())?;
        let (second, envelope) = rest.split_first_chunk::<32>().ok_or(short)?;
        if !envelope.is_empty() && Digest::of(envelope) != Digest(*second) {
            return Err(ConflictError("the second envelope is not the one the record names"));
        }
        Ok(Self {
            instance: InstanceId::from_bytes(*instance),
            sequence: u64::from_be_bytes(*sequence),
            first_index: u64::from_be_bytes(*first_index),
            first: Digest(*first),
            second: Digest(*second),
            envelope: envelope.to_vec(),
        })
    }

    /// Shows that `key` signed both: `first` is the payload of the entry at `first_index`.
    pub fn check(&self, first: &[u8], key: &PublicKey) -> Result<(), ConflictError> {
        let open = |bytes: &[u8]| {
            let envelope = Envelope::parse(bytes).map_err(|_| ConflictError("it holds no envelope"))?;
            let statement = envelope
                .open(key)
                .map_err(|_| ConflictError("one of the two is not signed by the instance's key"))?;
            Ok((envelope, statement))
        };
        if self.first != Digest::of(first) {
            return Err(ConflictError("the first envelope is not the one the record names"));
        }
        let ((one, before), (two, after)) = (open(first)?, open(&self.envelope)?);
        if before.instance != self.instance || after.instance != self.instance {
            return Err(ConflictError("one of the two is of another instance"));
        }
        let same_place = before.sequence == after.sequence && one.bytes() != two.bytes();
        let other_past =
            before.sequence.checked_add(1) == Some(after.sequence) && after.previous != one.hash();
        let fits = after.sequence == self.sequence && (same_place || other_past);
        if fits { Ok(()) } else { Err(ConflictError("the two do not contradict each other")) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Conflict, SECOND_BYTES_MAX};
    use crate::envelope::Envelope;
    use crate::ids::{Digest, InstanceId};
    use crate::keys::SecretKey;
    use crate::leaf::PAYLOAD_BYTES_MAX;
    use crate::statement::{Body, Gap, Statement};

    fn envelope(key: &SecretKey, sequence: u64, previous: Digest, count: u64) -> Envelope {
        let body = Body::Gap(Gap::NotMade {
            first_minute: 1,
            last_minute: 2,
            count,
            reason: proto::GapReason::SpoolFull,
        });
        let instance = InstanceId::from_bytes([7; 16]);
        Envelope::sign(&Statement { instance, sequence, previous, anchor: None, body }, key)
    }

    fn record(first: &Envelope, second: &Envelope, sequence: u64) -> Conflict {
        let instance = InstanceId::from_bytes([7; 16]);
        Conflict::new(instance, sequence, 3, Digest::of(first.bytes()), second.bytes().to_vec())
    }

    #[test]
    fn a_third_person_sees_that_one_key_signed_both() {
        let key = SecretKey::from_seed(&[5; 32]).unwrap();
        let (one, two) = (envelope(&key, 0, Digest::ZERO, 1), envelope(&key, 0, Digest::ZERO, 2));
        let conflict = Conflict::parse(&record(&one, &two, 0).encode()).unwrap();
        assert_eq!(conflict, record(&one, &two, 0));
        conflict.check(one.bytes(), key.public()).unwrap();
        let other_past = envelope(&key, 1, Digest::of(b"elsewhere"), 1);
        record(&one, &other_past, 1).check(one.bytes(), key.public()).unwrap();
        // What fits is no conflict, nor is the same thing twice, nor what another key signed.
        let next = envelope(&key, 1, one.hash(), 1);
        record(&one, &next, 1).check(one.bytes(), key.public()).unwrap_err();
        record(&one, &one, 0).check(one.bytes(), key.public()).unwrap_err();
        let stranger = SecretKey::from_seed(&[6; 32]).unwrap();
        let foreign = envelope(&stranger, 0, Digest::ZERO, 2);
        record(&one, &foreign, 0).check(one.bytes(), key.public()).unwrap_err();
        record(&one, &two, 0).check(two.bytes(), key.public()).unwrap_err();
    }

    #[test]
    fn damage_is_refused_and_the_longest_fits() {
        let key = SecretKey::from_seed(&[5; 32]).unwrap();
        let (one, two) = (envelope(&key, 0, Digest::ZERO, 1), envelope(&key, 0, Digest::ZERO, 2));
        let bytes = record(&one, &two, 0).encode();
        for length in 0..119 {
            assert!(Conflict::parse(&bytes[..length]).is_err(), "{length}");
        }
        let mut flipped = bytes.clone();
        *flipped.last_mut().unwrap() ^= 1;
        assert!(Conflict::parse(&flipped).is_err());
        let instance = InstanceId::from_bytes([7; 16]);
        let of = |length: usize| Conflict::new(instance, 0, 0, Digest::ZERO, vec![1; length]).encode();
        assert_eq!(of(SECOND_BYTES_MAX).len(), PAYLOAD_BYTES_MAX);
        assert_eq!(of(SECOND_BYTES_MAX + 1).len(), PAYLOAD_BYTES_MAX - SECOND_BYTES_MAX);
    }
}
