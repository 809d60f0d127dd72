//! One record of the file of data keys, and the file as a whole.

use std::collections::BTreeMap;

use evidence::erasure::{SCOPE_BYTES, Scope};
use ring::aead::NONCE_LEN;

/// Bytes of the header and of each record: a divisor of a sector, so that a record is written whole or not at all.
pub(super) const RECORD_BYTES: usize = 128;
/// Bytes of a wrapped key with its tag.
pub(super) const WRAPPED_BYTES: usize = 48;
/// Bytes before the checksum.
const SUMMED_BYTES: usize = RECORD_BYTES - 4;
const MAGIC: &[u8; 4] = b"TSK1";
const FILE_VERSION: u32 = 1;
const STATE_KEY: u8 = 1;
const STATE_ERASED: u8 = 2;

/// A wrapped key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wrapped {
    pub(super) nonce: [u8; NONCE_LEN],
    pub(super) sealed: [u8; WRAPPED_BYTES],
}

/// What a record holds of its scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Key(Wrapped),
    Erased { tombstone: u64 },
}

/// `number(4) ‖ batch(4) ‖ state(1) ‖ scope(20) ‖ nonce(12) ‖ wrapped key(48)`, or `… ‖ tombstone(8)`, zeros, CRC32C(4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Its place in the file; the header is 0.
    pub(super) number: u32,
    /// Number of the first record that was synced together with it.
    pub(super) batch: u32,
    pub(super) scope: Scope,
    pub(super) content: Content,
}

fn finish(mut bytes: Vec<u8>) -> [u8; RECORD_BYTES] {
    bytes.resize(SUMMED_BYTES, 0);
    let sum = crc32c::crc32c(&bytes).to_be_bytes();
    bytes.extend_from_slice(&sum);
    let mut out = [0; RECORD_BYTES];
    for (byte, value) in out.iter_mut().zip(bytes) {
        *byte = value;
    }
    out
}

fn is_intact(bytes: &[u8]) -> bool {
    let Some((body, sum)) = bytes.split_last_chunk::<4>() else { return false };
    crc32c::crc32c(body) == u32::from_be_bytes(*sum)
}

/// The header: `"TSK1" ‖ u32be(1)`, zeros, CRC32C(4).
pub(super) fn header() -> [u8; RECORD_BYTES] {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&FILE_VERSION.to_be_bytes());
    finish(bytes)
}

impl Record {
    pub(super) fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut bytes = self.number.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.batch.to_be_bytes());
        bytes.push(match self.content {
            Content::Key(_) => STATE_KEY,
            Content::Erased { .. } => STATE_ERASED,
        });
        bytes.extend_from_slice(&self.scope.encode());
        match &self.content {
            Content::Key(Wrapped { nonce, sealed }) => {
                bytes.extend_from_slice(nonce);
                bytes.extend_from_slice(sealed);
            }
            Content::Erased { tombstone } => bytes.extend_from_slice(&tombstone.to_be_bytes()),
        }
        finish(bytes)
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != RECORD_BYTES || !is_intact(bytes) {
            return None;
        }
        let (number, rest) = bytes.split_first_chunk::<4>()?;
        let (batch, rest) = rest.split_first_chunk::<4>()?;
        let (state, rest) = rest.split_first()?;
        let (scope, rest) = rest.split_first_chunk::<SCOPE_BYTES>()?;
        let content = match *state {
            STATE_KEY => {
                let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>()?;
                let (sealed, _) = rest.split_first_chunk::<WRAPPED_BYTES>()?;
                Content::Key(Wrapped { nonce: *nonce, sealed: *sealed })
            }
            STATE_ERASED => Content::Erased { tombstone: u64::from_be_bytes(*rest.first_chunk::<8>()?) },
            _ => return None,
        };
        let (number, batch) = (u32::from_be_bytes(*number), u32::from_be_bytes(*batch));
        let record = Self { number, batch, scope: Scope::parse(scope)?, content };
        (record.encode().as_slice() == bytes).then_some(record)
    }
}

/// What counts of a file.
#[derive(Debug)]
pub(super) struct Found {
    /// Records that count, the header among them.
    pub(super) records: u32,
    /// Where the last batch of them begins.
    pub(super) last_batch: u32,
    pub(super) scopes: BTreeMap<Scope, Content>,
}

/// Reads a whole file; an error names the record and what is wrong with it.
pub(super) fn read(bytes: &[u8]) -> Result<Found, (usize, &'static str)> {
    let mut places = bytes.chunks(RECORD_BYTES);
    if places.next() != Some(header().as_slice()) {
        return Err((0, "the header is not that of a file of data keys"));
    }
    let parsed: Vec<(bool, Option<Record>)> = places
        .map(|place| {
            // The checksum is what is written last.
            let unwritten = place.len() < RECORD_BYTES || place.ends_with(&[0; 4]);
            (unwritten, Record::parse(place))
        })
        .collect();
    let numbered = |place: usize| place + 1;
    let torn = parsed.iter().position(|(_, record)| record.is_none());
    let kept = match torn {
        None => parsed.len(),
        Some(torn) => {
            // Of one batch, sectors may be missing in any place; every intact record from there on must be of it.
            let cut = parsed.get(torn..).unwrap_or_default();
            let batch = cut.iter().find_map(|(_, record)| record.as_ref().map(|record| record.batch));
            for (place, (unwritten, record)) in (torn..).zip(cut) {
                match record {
                    Some(record) if Some(record.batch) != batch => {
                        return Err((numbered(torn), "a record is missing among others"));
                    }
                    None if !unwritten => return Err((numbered(place), "its checksum or form is wrong")),
                    _ => {}
                }
            }
            let first = batch.map_or(numbered(torn), |batch| usize::try_from(batch).unwrap_or(usize::MAX));
            if first > numbered(torn) {
                return Err((numbered(torn), "a record is missing among others"));
            }
            // Whole records before the missing one may be of the same batch: none of it was used.
            let before = parsed.get(..torn).unwrap_or_default();
            let same = before.iter().filter(|(_, record)| {
                record.as_ref().is_some_and(|record| usize::try_from(record.batch) == Ok(first))
            });
            if batch.is_some() { torn - same.count() } else { torn }
        }
    };
    let mut found = Found { records: 1, last_batch: 1, scopes: BTreeMap::new() };
    for (place, (_, record)) in parsed.into_iter().take(kept).enumerate() {
        let wrong = |what| (numbered(place), what);
        let record = record.ok_or(wrong("its checksum or form is wrong"))?;
        if record.number != found.records || record.batch > record.number {
            return Err(wrong("it stands in another place than it was written to"));
        }
        found.last_batch = record.batch;
        found.records = found.records.saturating_add(1);
        if found.scopes.insert(record.scope, record.content).is_some() {
            return Err(wrong("its scope has two records"));
        }
    }
    Ok(found)
}
