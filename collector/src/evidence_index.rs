//! Which statements a device has made, read from the ledger's runs; their bytes are read one by one where they are needed.

use evidence::erasure::{Erasures, Scope};
use evidence::ids::InstanceId;
use evidence::roster::Device;
use evidence::time::{MINUTE_MS, Timestamp};

use crate::ledger::{Ledger, PAGE_ROWS_MAX, ReadError};
use crate::store::runs::RunStatement;

/// A logged statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Index of its leaf.
    pub index: u64,
    /// Its receipt.
    pub received: Timestamp,
    /// When it was observed: by the device's clock, never after the receipt. None for a gap, and for an erased one.
    pub observed: Option<Timestamp>,
    /// Index of the tombstone, if its payload is erased or about to be.
    pub erased: Option<u64>,
    /// Whether it is an attestation; else it is a gap.
    pub attests: bool,
    /// Who spoke.
    pub instance: InstanceId,
    /// Its number within the instance.
    pub sequence: u64,
}

impl Seen {
    pub(crate) fn of(instance: InstanceId, statement: &RunStatement, erasures: &Erasures) -> Self {
        let RunStatement { sequence, index, received, observed_minute } = *statement;
        // What a tombstone names is not read any more, whenever its keys go.
        let erased = erasures.of(&Scope::device(instance, received)).filter(|tombstone| index < *tombstone);
        let attests = observed_minute.is_some();
        let observed_minute = observed_minute.filter(|_| erased.is_none());
        let observed =
            observed_minute.map(|minute| Timestamp(minute.saturating_mul(MINUTE_MS)).min(received));
        Self { index, received, observed, erased, attests, instance, sequence }
    }
}

/// A device's statements with an index below `size` that were received at or after `since`, and maybe some before it,
/// ascending by index.
pub fn statements(
    ledger: &Ledger,
    device: &Device,
    since: Timestamp,
    size: u64,
    erasures: &Erasures,
) -> Result<Vec<Seen>, ReadError> {
    let mut seen = Vec::new();
    for instance in &device.instances {
        let mut from = ledger.sequence_received_at(instance, since)?;
        loop {
            let page = ledger.statements(instance, from)?;
            seen.extend(page.iter().map(|statement| Seen::of(*instance, statement, erasures)));
            match page.last() {
                Some(last) if page.len() >= PAGE_ROWS_MAX => from = last.sequence.saturating_add(1),
                _ => break,
            }
        }
    }
    seen.retain(|seen| seen.index < size);
    seen.sort_unstable_by_key(|seen| seen.index);
    Ok(seen)
}
