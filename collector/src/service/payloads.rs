//! Copies of payload bundles for a mirror: sealed as they are stored, each record compared with its leaf before it is sent,
//! and what was erased sent as erased. A copy restores the log; without the data keys it opens nothing.

use std::path::Path;
use std::sync::Arc;

use evidence::erasure::Scope;
use evidence::leaf::{Kind, Leaf};
use proto::{OpenedTombstone, PayloadData, PayloadsPart, PayloadsRequest, payloads_part::Part};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use super::people::{PART_BYTES, PARTS_WAITING_MAX, SLOW_READER_MAX};
use super::status;
use crate::ledger::{Ledger, ReadError};
use crate::log::BUNDLE_LEAVES;
use crate::payload_bundles::{self, PayloadBundles};
use crate::payload_codec::{self, CODEC_ERASED, Stored, erased_record};
use crate::state::State;
use crate::store::rows;

#[cfg(test)]
mod tests;

/// Bundles of one call: 65,536 entries, about 80 MB, so that a call ends long before its connection must.
pub const BUNDLES_MAX: u32 = 256;
/// Tombstones of one call: each is an entry of up to 64 KiB.
pub const TOMBSTONES_MAX: usize = 256;
/// Calls at once: each decrypts whole bundles to check them, on a thread of its own.
const CALLS_MAX: usize = 2;

/// Reads bundles for whoever may copy them.
pub struct PayloadCopies {
    bundles: PayloadBundles,
    calls: Arc<Semaphore>,
}

/// Why nothing more is sent.
enum Ended {
    /// The caller is gone.
    Gone,
    /// The log could not be read.
    Read(ReadError),
    /// The caller asked for something else than there is.
    Asked(Status),
}

impl From<ReadError> for Ended {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

/// A call in progress.
struct Call {
    copies: Arc<PayloadCopies>,
    state: Arc<State>,
    request: PayloadsRequest,
    parts: Sender<Result<PayloadsPart, Status>>,
    runtime: Handle,
    _permit: OwnedSemaphorePermit,
}

impl PayloadCopies {
    /// Copies from the bundles in `folder`, and from the log where it has none.
    pub fn new(folder: &Path) -> Self {
        Self { bundles: PayloadBundles::new(folder), calls: Arc::new(Semaphore::new(CALLS_MAX)) }
    }

    /// Begins to send what was asked for. `person` is told in the log.
    pub fn send(
        self: Arc<Self>,
        state: &Arc<State>,
        request: PayloadsRequest,
        person: String,
    ) -> Result<Receiver<Result<PayloadsPart, Status>>, Status> {
        if request.bundles > BUNDLES_MAX || request.tombstones.len() > TOMBSTONES_MAX {
            return Err(Status::invalid_argument(format!(
                "one call takes at most {BUNDLES_MAX} bundles and {TOMBSTONES_MAX} tombstones: ask for fewer"
            )));
        }
        let published = state.ledger.checkpoint().map_or(0, |published| published.checkpoint.size);
        if request.size > published {
            return Err(Status::failed_precondition(format!(
                "this log's newest checkpoint has {published} entries, fewer than the {} you know: keep your \
                 checkpoint, it shows that the log went back",
                request.size
            )));
        }
        let permit = Arc::clone(&self.calls).try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!(
                "{CALLS_MAX} calls copy payloads now, which is all that may at once"
            ))
        })?;
        tracing::info!(
            %person, first = request.first_bundle, bundles = request.bundles, tombstones = request.tombstones.len(),
            "Payload bundles are copied."
        );
        let (parts, outgoing) = channel(PARTS_WAITING_MAX);
        let (state, runtime) = (Arc::clone(state), Handle::current());
        let call = Call { copies: self, state, request, parts, runtime, _permit: permit };
        tokio::task::spawn_blocking(move || {
            let refused = match call.run() {
                Ok(()) | Err(Ended::Gone) => return,
                Err(Ended::Read(error)) => status(&error.into()),
                Err(Ended::Asked(status)) => status,
            };
            // A caller that is gone, or does not read, does not wait for the answer.
            drop(call.parts.try_send(Err(refused)));
        });
        Ok(outgoing)
    }
}

impl Call {
    fn run(&self) -> Result<(), Ended> {
        let size = self.request.size;
        for index in &self.request.tombstones {
            let tombstone = self.tombstone(*index)?;
            self.send(Part::Tombstone(tombstone))?;
        }
        // A later tombstone the copy does not know yet: it erases at its next run.
        let erasures = self.state.book().authority.erasures().clone();
        let erased = |scope: &Scope| erasures.of(scope).filter(|tombstone| *tombstone < size);
        let first = self.request.first_bundle;
        for bundle in first..first.saturating_add(self.request.bundles.into()) {
            if bundle >= size.div_ceil(BUNDLE_LEAVES) {
                break;
            }
            let bytes = bundle_bytes(&self.state.ledger, &self.copies.bundles, &erased, bundle, size)?;
            let mut chunks = bytes.chunks(PART_BYTES).peekable();
            while let Some(chunk) = chunks.next() {
                let end = chunks.peek().is_none();
                self.send(Part::Data(PayloadData { bundle, data: chunk.to_vec(), end }))?;
            }
        }
        Ok(())
    }

    fn tombstone(&self, index: u64) -> Result<OpenedTombstone, Ended> {
        let none =
            || Ended::Asked(Status::not_found(format!("entry {index} is no tombstone below your size")));
        if index >= self.request.size || self.state.ledger.leaf(index)?.kind != Kind::TOMBSTONE {
            return Err(none());
        }
        let entry = self.state.ledger.entry(index)?;
        Ok(OpenedTombstone { index, salt: entry.salt.to_vec(), payload: entry.payload })
    }

    fn send(&self, part: Part) -> Result<(), Ended> {
        let part = Ok(PayloadsPart { part: Some(part) });
        // A reader that does not read must not keep the place of others.
        self.runtime.block_on(self.parts.send_timeout(part, SLOW_READER_MAX)).map_err(|_| Ended::Gone)
    }
}

/// Index of the tombstone of a scope, where it counts.
type Erased<'a> = &'a dyn Fn(&Scope) -> Option<u64>;

/// The records of bundle `number` below `size`, of the file if it holds what the leaves commit to, else of the log.
fn bundle_bytes(
    ledger: &Ledger,
    bundles: &PayloadBundles,
    erased: Erased<'_>,
    number: u64,
    size: u64,
) -> Result<Vec<u8>, ReadError> {
    let low = number.saturating_mul(BUNDLE_LEAVES);
    let high = low.saturating_add(BUNDLE_LEAVES).min(size);
    let leaves = ledger.leaves(low, high)?;
    let sent = |(index, bytes): (u64, &Vec<u8>), codec: u8, stored: &[u8]| {
        record(ledger, erased, (index, bytes), codec, stored)
    };
    if high - low == BUNDLE_LEAVES {
        // A file that is missing or damaged is no reason to send less than there is.
        let file = bundles.bytes(number).ok().flatten();
        let records = file.as_deref().and_then(payload_bundles::records);
        let bytes = records.and_then(|records| {
            let mut out = Vec::new();
            for (leaf, (codec, stored)) in (low..).zip(&leaves).zip(records) {
                let (codec, stored) = sent(leaf, codec, stored).ok()?;
                rows::push_payload(&mut out, codec, &stored);
            }
            Some(out)
        });
        match bytes {
            Some(bytes) => return Ok(bytes),
            None => tracing::warn!(number, "A payload bundle is missing or damaged; run fsck and rebuild."),
        }
    }
    let mut out = Vec::new();
    for leaf in (low..).zip(&leaves) {
        let (codec, stored) = ledger.stored(leaf.0)?;
        let (codec, stored) = sent(leaf, codec, &stored)?;
        rows::push_payload(&mut out, codec, &stored);
    }
    Ok(out)
}

/// A record as it is sent: erased, if a tombstone says so; else as stored, once it is what its leaf commits to.
fn record(
    ledger: &Ledger,
    erased: Erased<'_>,
    (index, bytes): (u64, &[u8]),
    codec: u8,
    stored: &[u8],
) -> Result<(u8, Vec<u8>), ReadError> {
    let damaged = |what| ReadError::Damaged { index, what };
    let leaf = Leaf::parse(bytes).map_err(|_| damaged("its leaf has an unknown form"))?;
    let parsed = Stored::parse(leaf.kind, codec, stored).map_err(|error| damaged(error.0))?;
    if let Some(subject) = parsed.subject(leaf.kind)
        && let Some(scope) = subject.scope(leaf.kind.stream, leaf.received)
        && let Some(tombstone) = erased(&scope)
    {
        return Ok((CODEC_ERASED, erased_record(tombstone, &subject)));
    }
    payload_codec::read(Some(ledger.data_keys()), index, &leaf, bytes, codec, stored)
        .map_err(|_| damaged("its payload record does not open to what its leaf commits to"))?;
    Ok((codec, stored.to_vec()))
}
