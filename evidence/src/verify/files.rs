//! Checks 1 to 3: the folder, the trust file, the set's checkpoint.

use std::collections::BTreeSet;

use super::{Found, Irregular, Verdict, file, note, short};
use crate::ids::Digest;
use crate::leaf::Stream;
use crate::log_keys::LogKeys;
use crate::note::NoteError;
use crate::set::{
    CHECKPOINT, EXPORT_PROOF, Files, MANIFEST, MANIFEST_NOTE, MANIFEST_TSR, Manifest, StreamEntry,
    stream_path,
};
use crate::trust::Trust;

/// Reads the manifest before any check, since most of them need it.
pub(super) fn manifest(found: &mut Found, files: &Files) {
    found.manifest = files.get(MANIFEST).and_then(|bytes| Manifest::parse(bytes).ok());
}

pub(super) fn complete(found: &mut Found, files: &Files, irregular: &Irregular) -> Verdict {
    if let Some(path) = irregular.first() {
        return Err(format!("{path} is not a regular file"));
    }
    let manifest = Manifest::parse(file(files, MANIFEST)?).map_err(|error| format!("{MANIFEST}: {error}"))?;
    let listed: BTreeSet<&str> = manifest.files.iter().map(|entry| entry.path.as_str()).collect();
    let beside = [MANIFEST, MANIFEST_NOTE, EXPORT_PROOF, MANIFEST_TSR];
    if let Some(path) =
        files.keys().find(|path| !listed.contains(path.as_str()) && !beside.contains(&path.as_str()))
    {
        return Err(format!("{path} is in the folder and not in the manifest"));
    }
    for path in [MANIFEST_NOTE, EXPORT_PROOF] {
        file(files, path)?;
    }
    for entry in &manifest.files {
        let bytes = file(files, &entry.path)?;
        if bytes.len() as u64 != entry.bytes {
            return Err(format!(
                "{} has {} bytes, the manifest says {}",
                entry.path,
                bytes.len(),
                entry.bytes
            ));
        }
        if Digest::of(bytes) != entry.sha256 {
            return Err(format!("{} has another SHA-256 than the manifest says", entry.path));
        }
    }
    let count = manifest.files.len();
    found.manifest = Some(manifest);
    Ok(format!("{count} files, each with the size and hash the manifest says"))
}

pub(super) fn trust(found: &mut Found, files: &Files, bytes: &[u8]) -> Verdict {
    let trust = Trust::parse(bytes).map_err(|error| format!("trust file: {error}"))?;
    let manifest = found.manifest.as_ref().ok_or("the manifest cannot be read")?;
    if manifest.origin != trust.origin {
        return Err(format!("the set is of log {:?}, the trust file of {:?}", manifest.origin, trust.origin));
    }
    let detail = format!("log {}", trust.origin);
    found.witnesses = Some(trust.policy().map_err(|error| format!("trust file: {error}"))?);
    found.log_keys = Some(log_keys(&trust, files));
    found.trust = Some(trust);
    Ok(detail)
}

/// The keys that may sign: read from the roster before it is verified, since an endorsement needs no other witness than a
/// pinned key. A line that cannot be read is check 4's to name.
fn log_keys(trust: &Trust, files: &Files) -> LogKeys {
    let mut keys = LogKeys::pinned(&trust.log_keys);
    let roster = files.get(&stream_path(Stream::Roster)).map(Vec::as_slice).unwrap_or_default();
    let entries: Vec<StreamEntry> =
        roster.split(|byte| *byte == b'\n').filter_map(|line| StreamEntry::parse(line).ok()).collect();
    keys.follow_roster(&entries);
    keys
}

pub(super) fn checkpoint(found: &mut Found, files: &Files) -> Verdict {
    let (Some(trust), Some(head)) = (&found.trust, found.head()) else {
        return Err("the trust file cannot be read".into());
    };
    let note = note(files, CHECKPOINT)?;
    let policy = found.witnesses.as_ref().ok_or("the trust file cannot be read")?;
    let fail = |error: NoteError| format!("{CHECKPOINT}: {error}");
    let keys = found.log_keys.as_ref().ok_or("the trust file cannot be read")?;
    let checkpoint = keys.open(&note, &policy.witness_keys(), &trust.origin).map_err(fail)?;
    found.standing = Some(policy.standing(&note).map_err(fail)?);
    if checkpoint.size != head.size || checkpoint.root != head.root {
        return Err(format!("{CHECKPOINT} is of size {}, the manifest says {}", checkpoint.size, head.size));
    }
    let mut detail = format!("size {}, root {}…", checkpoint.size, short(&checkpoint.root));
    let learned = keys.all().len().saturating_sub(trust.log_keys.len());
    if learned > 0 {
        detail =
            format!("{detail}, {learned} log keys that the trust file does not name follow from one it does");
    }
    found.checkpoint = Some(checkpoint);
    Ok(detail)
}
