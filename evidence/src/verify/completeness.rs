//! Check 21: every leaf of the log, read from a copy of its public tree, so that nothing of a stream can be left out.

use std::collections::BTreeMap;

use super::{Found, Verdict};
use crate::acts::{Act, Body, Head, Heads};
use crate::ids::Digest;
use crate::leaf::{Leaf, Stream};
use crate::merkle::leaf_hash;
use crate::note::{Note, TlogProof};
use crate::set::{EXPORT_PROOF, Files, SET_STREAMS, parse_export_extra};
use crate::tiles::{self, CHECKPOINT_PATH, Content, Edge, TILE_WIDTH, Tile};
use crate::time::Timestamp;

/// Gives a file of the copy by its path in it, or why not. Only paths of tiles and of the checkpoint are asked for.
pub type ReadTree<'a> = &'a dyn Fn(&str) -> Result<Vec<u8>, String>;

/// What all leaves below one index must amount to.
struct Claim {
    below: u64,
    who: &'static str,
    heads: Heads,
}

pub(super) fn check(found: &Found, files: &Files, read: ReadTree<'_>) -> Verdict {
    let trust = found.trust.as_ref().ok_or("the trust file cannot be read")?;
    let set = found.head().ok_or("the manifest cannot be read")?;
    let note = Note::parse(&read(CHECKPOINT_PATH)?).map_err(|error| format!("{CHECKPOINT_PATH}: {error}"))?;
    let keys = found.log_keys.as_ref().ok_or("the trust file cannot be read")?;
    let tree = keys
        .open_ignoring(&note, &trust.origin)
        .map_err(|error| format!("{CHECKPOINT_PATH} of the tree: {error}"))?;
    if tree.size < set.size {
        let (has, needs) = (tree.size, set.size);
        return Err(format!("the tree ends at {has} entries and the set at {needs}: copy it anew"));
    }
    let mut roots: BTreeMap<u64, Digest> = BTreeMap::from([(set.size, set.root)]);
    let of_log = trust.checkpoints.iter().filter(|pinned| pinned.origin == trust.origin);
    // A pin beyond the tree is compared by check 15 or by a later copy.
    for pinned in of_log.filter(|pinned| pinned.size <= tree.size) {
        if *roots.entry(pinned.size).or_insert(pinned.root) != pinned.root {
            return Err(format!("set and trust file have two roots for {} entries", pinned.size));
        }
    }
    let mut all = Leaves { claims: claims(found, files, set.size)?, roots, ..Leaves::default() };
    // In the order of the log: the claims at an index are compared before the leaf there.
    all.claims.sort_by_key(|claim| claim.below);
    for number in 0..=tiles::row(tree.size, 0).0 {
        let (full, width) = tiles::row(tree.size, 0);
        let width = if number < full { TILE_WIDTH } else { width };
        let Some(tile) = Tile::new(Content::Entries, number, width) else { continue };
        let bytes = read(&tile.path())?;
        for leaf in tile.parse_entries(&bytes).map_err(|error| format!("{tile}: {error}"))? {
            all.compare()?;
            let index = all.edge.size();
            all.take(leaf).map_err(|problem| format!("entry {index}: {problem}"))?;
        }
    }
    all.compare()?;
    if all.edge.root() != tree.root {
        return Err(format!("the {} leaves do not lead to the tree's signed root", tree.size));
    }
    if !all.claims.is_empty() || !all.roots.is_empty() {
        return Err("the tree ends before what is to be compared".into());
    }
    shown(found, &all, set.size)?;
    Ok(format!(
        "all {} leaves read: streams 1 to 4 have no gap and no fork, heads hold at {}",
        tree.size, set.size
    ))
}

/// The heads that the freeze and the export sign for.
fn claims(found: &Found, files: &Files, size: u64) -> Result<Vec<Claim>, String> {
    let freeze = found.ceremony.as_ref().and_then(|ceremony| ceremony.freeze.as_ref());
    let freeze = freeze.ok_or("there is no freeze")?;
    let proof = TlogProof::parse(super::file(files, EXPORT_PROOF)?).map_err(|error| error.to_string())?;
    let extra = proof.extra.as_deref().and_then(parse_export_extra).ok_or("the export cannot be read")?;
    let (_, act) = Act::open(&extra.payload).map_err(|error| error.to_string())?;
    let Body::Export(export) = act.body else { return Err("the export cannot be read".into()) };
    Ok(vec![
        Claim { below: freeze.index, who: "freeze", heads: freeze.act.heads },
        Claim { below: size, who: "export", heads: export.heads },
    ])
}

/// The leaves so far.
#[derive(Default)]
struct Leaves {
    edge: Edge,
    heads: Heads,
    received: Timestamp,
    /// Index and leaf hash of every entry of streams 1 to 3.
    entries: BTreeMap<Stream, Vec<(u64, Digest)>>,
    /// Still to be compared, ascending.
    claims: Vec<Claim>,
    /// Still to be compared, by size.
    roots: BTreeMap<u64, Digest>,
}

impl Leaves {
    /// Compares what is claimed of the leaves so far.
    fn compare(&mut self) -> Result<(), String> {
        let size = self.edge.size();
        if let Some(root) = self.roots.remove(&size)
            && self.edge.root() != root
        {
            return Err(format!(
                "the first {size} leaves do not lead to the root that set or trust file has for them"
            ));
        }
        while self.claims.first().is_some_and(|claim| claim.below == size) {
            let claim = self.claims.remove(0);
            for stream in Stream::CHAINED {
                if claim.heads.of(stream) != self.heads.of(stream) {
                    let (who, name) = (claim.who, stream.name());
                    return Err(format!(
                        "the {who} signed another head of stream {name} than the leaves lead to"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Adds the next leaf.
    fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        let (leaf, hash) = (Leaf::parse(bytes).map_err(|error| error.to_string())?, leaf_hash(bytes));
        if leaf.received < self.received {
            return Err("received_ms decreases".into());
        }
        self.received = leaf.received;
        let stream = leaf.kind.stream;
        if let Some(chain) = leaf.chain {
            let head = self.heads.of(stream);
            if chain.sequence != head.entries {
                let name = stream.name();
                return Err(format!("stream {name} goes from {} to {}", head.entries, chain.sequence));
            }
            if chain.previous != head.last_leaf_hash {
                return Err(format!(
                    "stream {} forks: previous_leaf_hash is not the leaf before",
                    stream.name()
                ));
            }
            let entries = head.entries.saturating_add(1);
            self.heads.set(stream, Head { entries, last_leaf_hash: hash });
            if SET_STREAMS.contains(&stream) {
                self.entries.entry(stream).or_default().push((self.edge.size(), hash));
            }
        }
        let Ok(()) = self.edge.push(hash, |_, _| Ok::<_, std::convert::Infallible>(()));
        Ok(())
    }
}

/// Whether the set shows every entry of streams 1 to 3 below its checkpoint, at its index.
fn shown(found: &Found, all: &Leaves, size: u64) -> Result<(), String> {
    for stream in SET_STREAMS {
        let set = found.streams.get(&stream).map(Vec::as_slice).unwrap_or_default();
        let logged = all.entries.get(&stream).map(Vec::as_slice).unwrap_or_default();
        let logged = logged.iter().filter(|(index, _)| *index < size);
        if !logged.copied().eq(set.iter().map(|entry| (entry.index, entry.leaf.hash()))) {
            return Err(format!(
                "the set shows other entries of stream {} than the log holds",
                stream.name()
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
