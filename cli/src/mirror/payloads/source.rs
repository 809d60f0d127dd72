//! Where payloads come from: a collector, over the people listener, or another copy's folder.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use evidence::note::Checkpoint;
use evidence::payload_record::{BUNDLE_BYTES_MAX, bundle_path};
use evidence::tiles::TILE_WIDTH;
use evidence::time::Clock;
use proto::{PayloadsPart, PayloadsRequest, payloads_part::Part};
use tokio::time::timeout;
use tonic::Streaming;

use super::super::source::read_if_there;
use super::{FOLDER, TOMBSTONE_BYTES_MAX, TOMBSTONES};
use crate::client::{Caller, Options, Refusal, answer};

/// Bundles of one call, as the collector allows.
pub(super) const BUNDLES_MAX: u32 = 256;
/// Tombstones of one call, as the collector allows.
pub(super) const TOMBSTONES_MAX: usize = 256;
/// Longest silence of a collector between two parts: it reads and checks a bundle meanwhile.
const PART_SECONDS_MAX: Duration = Duration::from_mins(2);

/// Where payloads come from.
pub(crate) enum PayloadSource<'a> {
    /// The collector of the profile.
    Collector {
        /// Whose profile and key.
        options: &'a Options,
        /// By which certificates are judged.
        clock: Arc<dyn Clock>,
    },
    /// A folder that holds a copy with payloads.
    Folder(PathBuf),
}

/// What comes, in the order it was asked for: tombstones, then bundles.
#[derive(Debug)]
pub(super) enum Fetched {
    /// Salt ‖ payload of a tombstone.
    Tombstone {
        /// Its index.
        index: u64,
        /// Salt ‖ payload.
        record: Vec<u8>,
    },
    /// The records of a bundle.
    Bundle {
        /// Its number.
        number: u64,
        /// Its records.
        bytes: Vec<u8>,
    },
}

/// A call in progress.
pub(super) enum Fetching {
    /// To a collector; the connection lives as long as its caller.
    Collector { parts: Box<Streaming<PayloadsPart>>, _caller: Box<Caller> },
    /// To a folder.
    Folder { root: PathBuf, size: u64, bundles: std::ops::Range<u64>, tombstones: VecDeque<u64> },
}

impl PayloadSource<'_> {
    /// Asks for tombstones and bundles below the checkpoint's size. Each call has a connection of its own: a collector ends
    /// every one after half an hour.
    pub(super) async fn open(
        &self,
        checkpoint: &Checkpoint,
        first: u64,
        count: u32,
        tombstones: &[u64],
    ) -> anyhow::Result<Fetching> {
        match self {
            Self::Collector { options, clock } => {
                let mut caller = options.connect(Arc::clone(clock)).await?;
                if caller.profile.origin != checkpoint.origin {
                    bail!(
                        "the profile is of the log {:?}, the tree of {:?}: payloads come from the collector of the profile",
                        caller.profile.origin,
                        checkpoint.origin
                    );
                }
                let request = PayloadsRequest {
                    size: checkpoint.size,
                    first_bundle: first,
                    bundles: count,
                    tombstones: tombstones.to_vec(),
                };
                let parts = answer(caller.people.payloads(request)).await?;
                Ok(Fetching::Collector { parts: Box::new(parts), _caller: Box::new(caller) })
            }
            Self::Folder(root) => Ok(Fetching::Folder {
                root: root.clone(),
                size: checkpoint.size,
                bundles: first..first.saturating_add(count.into()),
                tombstones: tombstones.iter().copied().collect(),
            }),
        }
    }
}

impl Fetching {
    /// What comes next; none at the end.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<Fetched>> {
        match self {
            Self::Collector { parts, .. } => next_of_collector(parts).await,
            Self::Folder { root, size, bundles, tombstones } => {
                if let Some(index) = tombstones.pop_front() {
                    let record =
                        read_if_there(&root.join(format!("{TOMBSTONES}/{index}")), TOMBSTONE_BYTES_MAX)?;
                    return Ok(record.map(|record| Fetched::Tombstone { index, record }));
                }
                let Some(number) = bundles.next() else { return Ok(None) };
                let left = size.saturating_sub(number.saturating_mul(TILE_WIDTH.into()));
                let width = u16::try_from(left.min(TILE_WIDTH.into())).unwrap_or(TILE_WIDTH);
                let path = root.join(FOLDER).join(bundle_path(number, width));
                let bytes = read_if_there(&path, BUNDLE_BYTES_MAX)?;
                let bytes = bytes.with_context(|| {
                    format!("{} is missing: the source is a copy without payloads, or older", path.display())
                })?;
                Ok(Some(Fetched::Bundle { number, bytes }))
            }
        }
    }
}

async fn next_of_collector(parts: &mut Streaming<PayloadsPart>) -> anyhow::Result<Option<Fetched>> {
    let mut bytes = Vec::new();
    let mut begun = None;
    loop {
        let part = timeout(PART_SECONDS_MAX, parts.message())
            .await
            .context("the collector stopped in the middle of the payloads: run it again")?
            .map_err(|status| Refusal::of(&status))?;
        match (part.map(|part| part.part), begun) {
            (None, None) => return Ok(None),
            (Some(Some(Part::Tombstone(tombstone))), None) => {
                let record = [tombstone.salt, tombstone.payload].concat();
                return Ok(Some(Fetched::Tombstone { index: tombstone.index, record }));
            }
            (Some(Some(Part::Data(data))), begun_at)
                if begun_at.is_none_or(|number| number == data.bundle)
                    && bytes.len() + data.data.len() <= BUNDLE_BYTES_MAX =>
            {
                begun = Some(data.bundle);
                bytes.extend_from_slice(&data.data);
                if data.end {
                    return Ok(Some(Fetched::Bundle { number: data.bundle, bytes }));
                }
            }
            _ => bail!("the collector's payloads are not in the order that was asked for"),
        }
    }
}
