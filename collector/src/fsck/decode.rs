//! What is asked of each entry by itself, whatever lies around it: on all processors.

use std::num::NonZeroUsize;
use std::thread;

use evidence::leaf::Leaf;

use crate::data_keys::DataKeys;
use crate::index::{DeviceLink, EntryError};
use crate::journal::EntryRecord;
use crate::payload_codec::{self, Opened, Stored};

/// Entries below which a second thread is not worth its start.
const ENTRIES_A_THREAD_MIN: usize = 64;

/// An entry as far as it can be judged alone.
#[expect(clippy::large_enum_variant, reason = "nearly all are the large one")]
pub(super) enum Decoded {
    /// Its leaf and payload record have a form.
    Entry {
        /// Its leaf.
        leaf: Leaf,
        /// Its place in the chain of its device.
        link: Result<Option<DeviceLink>, EntryError>,
        /// Its payload was erased.
        erased: bool,
        /// Why its payload is not what the leaf commits to, or cannot be opened.
        unread: Option<String>,
    },
    /// One of them has none.
    Form(String),
}

impl Decoded {
    fn of(keys: Option<&DataKeys>, entry: &EntryRecord) -> Self {
        let EntryRecord { index, leaf: bytes, codec, stored } = entry;
        let Ok(leaf) = Leaf::parse(bytes) else {
            return Self::Form("its leaf has an unknown form".to_owned());
        };
        let parsed = match Stored::parse(leaf.kind, *codec, stored) {
            Ok(parsed) => parsed,
            Err(error) => return Self::Form(error.to_string()),
        };
        let read = payload_codec::read_written(keys, *index, &leaf, bytes, *codec, stored);
        let (link, erased, unread) = match read {
            Ok(Opened::Payload { payload, .. }) => {
                let link = DeviceLink::of_payload(leaf.kind, &payload);
                // Parsed once for both.
                match payload_codec::check_subject(&parsed, link.as_ref().ok().and_then(Option::as_ref)) {
                    Ok(()) => (link, false, None),
                    Err(error) => {
                        (payload_codec::link_of(&parsed, leaf.kind), false, Some(error.to_string()))
                    }
                }
            }
            Ok(Opened::Erased { .. }) => (payload_codec::link_of(&parsed, leaf.kind), true, None),
            Err(error) => (payload_codec::link_of(&parsed, leaf.kind), false, Some(error.to_string())),
        };
        Self::Entry { leaf, link, erased, unread }
    }
}

/// All of them, in their order; nothing for nothing.
pub(super) fn decode_all(keys: Option<&DataKeys>, entries: &[Option<&EntryRecord>]) -> Vec<Option<Decoded>> {
    let all = |entries: &[Option<&EntryRecord>]| -> Vec<Option<Decoded>> {
        entries.iter().map(|entry| entry.map(|entry| Decoded::of(keys, entry))).collect()
    };
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let share = entries.len().div_ceil(threads).max(ENTRIES_A_THREAD_MIN);
    thread::scope(|scope| {
        let shares: Vec<_> =
            entries.chunks(share).map(|share| (share, scope.spawn(move || all(share)))).collect();
        // A thread that could not be joined has panicked: its share is decoded here, where the panic is seen.
        shares.into_iter().flat_map(|(share, thread)| thread.join().unwrap_or_else(|_| all(share))).collect()
    })
}
