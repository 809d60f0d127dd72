//! Records that a mirror shows as erased: believed when this log's own data keys say so, or the tombstone that the record
//! names, an entry under the checkpoint, covers it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use evidence::acts::{Act, Body};
use evidence::erasure::Scope;
use evidence::leaf::{CODEC_PLAIN, Kind, Leaf};

use super::mirror::{Mirror, MirrorError};
use crate::data_keys::{DataKeys, Standing};
use crate::log::BUNDLE_LEAVES;
use crate::payload_codec::{self, Opened, Subject};

/// The tombstones of a mirror that were asked for, with what each covers.
#[derive(Debug, Default)]
pub(super) struct Tombstones(BTreeMap<u64, Vec<Scope>>);

impl Tombstones {
    /// Whether the payload of an entry with this leaf and subject is erased, by entry `tombstone`.
    pub(super) fn cover(
        &mut self,
        mirror: &Mirror,
        keys: &DataKeys,
        tombstone: u64,
        leaf: &Leaf,
        subject: &Subject,
    ) -> Result<bool, MirrorError> {
        let Some(scope) = subject.scope(leaf.kind.stream, leaf.received) else { return Ok(false) };
        if keys.standing(&scope).is_ok_and(|standing| matches!(standing, Standing::Erased { .. })) {
            return Ok(true);
        }
        let scopes = match self.0.entry(tombstone) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(read(mirror, keys, tombstone)?.unwrap_or_default()),
        };
        Ok(scopes.contains(&scope))
    }
}

/// What a tombstone covers; none if there is none at this index, or nothing shows what it says.
fn read(mirror: &Mirror, keys: &DataKeys, index: u64) -> Result<Option<Vec<Scope>>, MirrorError> {
    if index >= mirror.checkpoint().size {
        return Ok(None);
    }
    let bundle = mirror.bundle(index / BUNDLE_LEAVES)?;
    let Some((leaf_bytes, record)) = bundle.entries_from(index).next() else { return Ok(None) };
    let Some(leaf) = Leaf::parse(leaf_bytes).ok().filter(|leaf| leaf.kind == Kind::TOMBSTONE) else {
        return Ok(None);
    };
    // Sealed under the key of its year, or in plain beside the bundles.
    let plain = mirror.tombstone(index)?.map(|stored| (CODEC_PLAIN, stored));
    let payload: Option<Vec<u8>> = record.into_iter().chain(&plain).find_map(|(codec, stored)| {
        match payload_codec::read(Some(keys), index, &leaf, leaf_bytes, *codec, stored) {
            Ok(Opened::Payload { payload, .. }) => Some(payload),
            Ok(Opened::Erased { .. }) | Err(_) => None,
        }
    });
    let act = payload.and_then(|payload| Some(Act::open(&payload).ok()?.1.body));
    Ok(match act {
        Some(Body::Tombstone(tombstone)) => Some(tombstone.scopes),
        _ => None,
    })
}
