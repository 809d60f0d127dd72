//! The sampling set's files: their names and the JSON of each. docs/FORMAT.md section 11.
//!
//! Nothing here reads a folder: a set is a map from path to bytes, which the caller filled.

use std::collections::BTreeMap;

use crate::acts::TreeHead;
use crate::ids::{Digest, Name};
use crate::json::{self, JsonError, Members, Value, object};
use crate::leaf::{Leaf, SALT_BYTES, Stream};

mod results;
mod unit;

pub use results::{Counts, DeviceCounts, Results, UnitRow, counts_value};
pub use unit::{ErasedRef, StatementRef, UnitRole, UnitView};

/// Path of the manifest.
pub const MANIFEST: &str = "MANIFEST.json";
/// Path of the note over manifest and export proof.
pub const MANIFEST_NOTE: &str = "MANIFEST.note";
/// Path of the optional RFC 3161 stamp.
pub const MANIFEST_TSR: &str = "MANIFEST.tsr";
/// Path of the export entry's proof.
pub const EXPORT_PROOF: &str = "export.tlog-proof";
/// Path of the plan.
pub const PLAN: &str = "plan.json";
/// Path of the set's checkpoint.
pub const CHECKPOINT: &str = "log/checkpoint";
/// Folder of the cosigned checkpoints that anchors name by the hash of their note.
pub const ANCHORS: &str = "log/anchors/";
/// Path of the page for people.
pub const VERIFY_MD: &str = "VERIFY.md";

const FORMAT: &str = "tallystick/set/v1";
/// First line of MANIFEST.note.
const NOTE_TITLE: &str = "tallystick-set/v1";

/// A set: path within the folder → bytes.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The streams a set carries whole.
pub const SET_STREAMS: [Stream; 3] = [Stream::Roster, Stream::Rules, Stream::Audit];

/// Path of a stream's entries.
pub fn stream_path(stream: Stream) -> String {
    format!("streams/{}.jsonl", stream.name())
}

/// Path of the inclusion proof of a stream's newest leaf.
pub fn stream_proof_path(stream: Stream) -> String {
    format!("streams/{}.tlog-proof", stream.name())
}

/// Path of a control's population.
pub fn population_path(control: &Name) -> String {
    format!("population/{control}.txt")
}

/// Path of a control's draw.
pub fn draw_path(control: &Name) -> String {
    format!("draw/{control}.json")
}

/// Path of a control's results.
pub fn results_path(control: &Name) -> String {
    format!("results/{control}.json")
}

/// Path of a control's evaluation.
pub fn evaluation_path(control: &Name) -> String {
    format!("evaluation/{control}.json")
}

/// Folder of the `number`th unit of a control, counted from 1.
pub fn unit_folder(control: &Name, number: usize) -> String {
    format!("units/{control}/{number:04}")
}

/// Path of the proof of a tombstone.
pub fn tombstone_path(index: u64) -> String {
    format!("tombstones/{index}.tlog-proof")
}

/// Path of the consistency proof from a size.
pub fn consistency_path(size: u64) -> String {
    format!("log/consistency/{size}")
}

/// Path of a cosigned checkpoint that an anchor names by the hash of its note.
pub fn anchor_path(note: &Digest) -> String {
    format!("{ANCHORS}{note}")
}

/// The four lines MANIFEST.note signs.
pub fn note_text(origin: &str, manifest: &[u8], export_proof: &[u8]) -> String {
    format!("{NOTE_TITLE}\n{origin}\n{}\n{}\n", Digest::of(manifest), Digest::of(export_proof))
}

/// The name the operations key signs MANIFEST.note under.
pub fn note_name(origin: &str) -> String {
    format!("{origin}/operations")
}

/// Whether a path has one of the forms of section 11 that the manifest may list.
pub fn is_listed_path(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let name = |text: &str| text.parse::<Name>().is_ok();
    let decimal = |text: &str| json::decode_decimal(text).is_some();
    let stem = |text: &str, ending: &str| text.strip_suffix(ending).map(str::to_owned);
    match parts.as_slice() {
        [PLAN | VERIFY_MD] | ["log", "checkpoint"] => true,
        ["log", "consistency", size] => decimal(size),
        ["log", "anchors", hash] => Digest::from_hex(hash).is_ok(),
        ["streams", file] => SET_STREAMS
            .iter()
            .any(|s| *file == format!("{}.jsonl", s.name()) || *file == format!("{}.tlog-proof", s.name())),
        ["tombstones", file] => stem(file, ".tlog-proof").is_some_and(|index| decimal(&index)),
        ["population", file] => stem(file, ".txt").is_some_and(|control| name(&control)),
        ["draw" | "results" | "evaluation", file] => {
            stem(file, ".json").is_some_and(|control| name(&control))
        }
        ["units", control, number, file] => {
            let number_ok = number.len() >= 4
                && number.bytes().all(|b| b.is_ascii_digit())
                && (number.len() == 4 || !number.starts_with('0'));
            let file_ok = *file == "unit.json"
                || [".envelope", ".tlog-proof", ".json"]
                    .iter()
                    .any(|ending| stem(file, ending).is_some_and(|index| decimal(&index)));
            name(control) && number_ok && file_ok
        }
        _ => false,
    }
}

/// One file of the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// Path within the set.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256.
    pub sha256: Digest,
}

/// MANIFEST.json.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The log.
    pub origin: String,
    /// The set's checkpoint.
    pub checkpoint: TreeHead,
    /// The plan.
    pub plan_hash: Digest,
    /// Every file but the manifest, the export proof, the note and the stamp; by path.
    pub files: Vec<FileEntry>,
}

impl Manifest {
    /// The manifest over `files`, which must not yet hold the four files it does not list.
    pub fn over(origin: &str, checkpoint: TreeHead, plan_hash: Digest, files: &Files) -> Self {
        let files = files
            .iter()
            .map(|(path, bytes)| FileEntry {
                path: path.clone(),
                bytes: bytes.len() as u64,
                sha256: Digest::of(bytes),
            })
            .collect();
        Self { origin: origin.to_owned(), checkpoint, plan_hash, files }
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let files = self
            .files
            .iter()
            .map(|file| {
                object([
                    ("path", json::text(&file.path)),
                    ("bytes", json::count(file.bytes)),
                    ("sha256", json::hex(&file.sha256)),
                ])
            })
            .collect();
        object([
            ("format", json::text(FORMAT)),
            ("origin", json::text(&self.origin)),
            ("checkpoint", self.checkpoint.value()),
            ("plan_hash", json::hex(&self.plan_hash)),
            ("files", Value::Array(files)),
        ])
        .to_bytes()
    }

    /// Reads a manifest; paths must ascend and have a known form.
    pub fn parse(bytes: &[u8]) -> Result<Self, JsonError> {
        let mut members = Members::of(Value::parse(bytes)?, "")?;
        if members.text("format")? != FORMAT {
            return Err(members.problem("format", format!("must be {FORMAT:?}")));
        }
        let files = members
            .objects("files")?
            .into_iter()
            .map(|mut file| {
                let entry = FileEntry {
                    path: file.text("path")?,
                    bytes: file.count("bytes")?,
                    sha256: file.digest("sha256")?,
                };
                if !is_listed_path(&entry.path) {
                    return Err(file.problem("path", format!("{:?} is not a path of a set", entry.path)));
                }
                file.finish()?;
                Ok(entry)
            })
            .collect::<Result<Vec<_>, JsonError>>()?;
        if !files.is_sorted_by(|a, b| a.path < b.path) {
            return Err(members.problem("files", "must ascend by path, each once"));
        }
        let manifest = Self {
            origin: members.text("origin")?,
            checkpoint: TreeHead::of(members.object("checkpoint")?)?,
            plan_hash: members.digest("plan_hash")?,
            files,
        };
        members.finish()?;
        Ok(manifest)
    }
}

/// An entry of a stream as a set carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEntry {
    /// Leaf index.
    pub index: u64,
    /// The leaf.
    pub leaf: Leaf,
    /// Salt of its commitment.
    pub salt: [u8; SALT_BYTES],
    /// The act's envelope.
    pub payload: Vec<u8>,
}

impl StreamEntry {
    /// One line, with its newline.
    pub fn line(&self) -> String {
        let mut line = object([
            ("index", json::count(self.index)),
            ("leaf", json::base64(&self.leaf.encode())),
            ("payload", json::base64(&self.payload)),
            ("salt", json::base64(&self.salt)),
        ])
        .encode();
        line.push('\n');
        line
    }

    /// Reads a line without its newline.
    pub fn parse(line: &[u8]) -> Result<Self, JsonError> {
        let mut members = Members::of(Value::parse(line)?, "")?;
        let leaf = members.base64("leaf")?;
        let leaf = Leaf::parse(&leaf).map_err(|error| members.problem("leaf", error.to_string()))?;
        let salt = <[u8; SALT_BYTES]>::try_from(members.base64("salt")?)
            .map_err(|_| members.problem("salt", "must be 32 bytes"))?;
        let entry = Self { index: members.count("index")?, leaf, salt, payload: members.base64("payload")? };
        members.finish()?;
        Ok(entry)
    }
}

/// The `extra` of a statement's proof: u8(leaf length) ‖ leaf ‖ salt.
pub fn leaf_extra(leaf: &Leaf, salt: &[u8; SALT_BYTES]) -> Vec<u8> {
    let leaf = leaf.encode();
    // A leaf is 43 or 83 bytes.
    let mut out = vec![u8::try_from(leaf.len()).unwrap_or(u8::MAX)];
    out.extend_from_slice(&leaf);
    out.extend_from_slice(salt);
    out
}

/// Reads leaf and salt off the front of an `extra`; what follows is returned.
pub fn parse_leaf_extra(extra: &[u8]) -> Option<(Leaf, [u8; SALT_BYTES], &[u8])> {
    let (length, rest) = extra.split_first()?;
    let (leaf, rest) = rest.split_at_checked(usize::from(*length))?;
    let (salt, rest) = rest.split_first_chunk::<SALT_BYTES>()?;
    Some((Leaf::parse(leaf).ok()?, *salt, rest))
}

/// The `extra` of an erased statement's proof: u8(leaf length) ‖ leaf. Its salt is gone.
pub fn erased_extra(leaf: &Leaf) -> Vec<u8> {
    let leaf = leaf.encode();
    let mut out = vec![u8::try_from(leaf.len()).unwrap_or(u8::MAX)];
    out.extend_from_slice(&leaf);
    out
}

/// Reads the `extra` of an erased statement's proof, to its last byte.
pub fn parse_erased_extra(extra: &[u8]) -> Option<Leaf> {
    let (length, leaf) = extra.split_first()?;
    (usize::from(*length) == leaf.len()).then(|| Leaf::parse(leaf).ok()).flatten()
}

/// The `extra` of a tombstone's proof: a leaf's, then LP(payload).
pub fn tombstone_extra(leaf: &Leaf, salt: &[u8; SALT_BYTES], payload: &[u8]) -> Vec<u8> {
    let mut out = leaf_extra(leaf, salt);
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// Reads the `extra` of a tombstone's proof, to its last byte: leaf, salt, payload.
pub fn parse_tombstone_extra(extra: &[u8]) -> Option<(Leaf, [u8; SALT_BYTES], &[u8])> {
    let (leaf, salt, rest) = parse_leaf_extra(extra)?;
    let (payload, rest) = take_lp(rest)?;
    rest.is_empty().then_some((leaf, salt, payload))
}

/// The `extra` of the export's proof: a leaf's, then LP(payload) and LP(consistency hashes).
pub fn export_extra(leaf: &Leaf, salt: &[u8; SALT_BYTES], payload: &[u8], consistency: &[Digest]) -> Vec<u8> {
    let mut out = leaf_extra(leaf, salt);
    let hashes: Vec<u8> = consistency.iter().flat_map(|hash| hash.0).collect();
    for part in [payload, hashes.as_slice()] {
        // Both are far below 4 GiB: a payload is at most 64 KiB and a proof 64 hashes.
        out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// What the export's proof carries beside itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportExtra {
    /// The export entry's leaf.
    pub leaf: Leaf,
    /// Its salt.
    pub salt: [u8; SALT_BYTES],
    /// Its payload.
    pub payload: Vec<u8>,
    /// From the set's checkpoint to the proof's.
    pub consistency: Vec<Digest>,
}

/// Reads the `extra` of the export's proof, to its last byte.
pub fn parse_export_extra(extra: &[u8]) -> Option<ExportExtra> {
    let (leaf, salt, rest) = parse_leaf_extra(extra)?;
    let (payload, rest) = take_lp(rest)?;
    let (hashes, rest) = take_lp(rest)?;
    let (chunks, []) = hashes.as_chunks::<32>() else { return None };
    rest.is_empty().then(|| ExportExtra {
        leaf,
        salt,
        payload: payload.to_vec(),
        consistency: chunks.iter().map(|chunk| Digest(*chunk)).collect(),
    })
}

fn take_lp(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests;
