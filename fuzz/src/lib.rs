//! Every parser of foreign bytes as a function that may be given any. Each tells whether it took them, and panics if what it
//! took is not written back byte for byte, or if something holds that cannot.
//!
//! A fuzzer runs them (`fuzz_targets/`), and so does `cargo test` over what is malformed (`tests/tests/malformed.rs`).

use std::collections::BTreeMap;

use collector::journal::{Group, Parsed, Tail, judge_tail, parse_record};
use evidence::acts::Act;
use evidence::dsse::ActEnvelope;
use evidence::envelope::Envelope;
use evidence::ids::Digest;
use evidence::json::Value;
use evidence::keys::SecretKey;
use evidence::leaf::Leaf;
use evidence::merkle::verify_inclusion;
use evidence::note::{Checkpoint, Note, TlogProof, VerifierKey, WitnessKey, hash_lines, parse_hash_lines};
use evidence::plan::Plan;
use evidence::set::{Files, Manifest, Results, StreamEntry, UnitView};
use evidence::statement::Statement;
use evidence::tiles::{Content, Tile, push_entry};
use evidence::trust::Trust;
use evidence::witness::AddCheckpoint;
use evidence::witness_policy::WitnessPolicy;

mod identity;

/// A parser under its name.
pub type Entry = (&'static str, fn(&[u8]) -> bool);

/// All of them.
pub fn entries() -> impl Iterator<Item = Entry> + Clone {
    ENTRIES.into_iter().chain(identity::ENTRIES)
}

/// Those of the log and of sets.
const ENTRIES: [Entry; 17] = [
    ("act", act),
    ("add_checkpoint", add_checkpoint),
    ("bundle", bundle),
    ("cosignature", cosignature),
    ("journal", journal),
    ("json", json),
    ("leaf", leaf),
    ("manifest", manifest),
    ("note", note),
    ("plan", plan),
    ("policy", policy),
    ("proof", proof),
    ("statement", statement),
    ("stream", stream),
    ("trust", trust),
    ("unit", unit),
    ("witness_log", witness_log),
];

/// The key of the witness that the seeds are cosigned by.
fn own_key() -> Option<(SecretKey, WitnessKey)> {
    let secret = SecretKey::from_seed(&[7; 32]).ok()?;
    let key = WitnessKey::new("fuzz.example/witness", *secret.public()).ok()?;
    Some((secret, key))
}

/// Canonical JSON: what parses is written as it was.
pub fn json(data: &[u8]) -> bool {
    let parsed = Value::parse(data);
    assert!(parsed.as_ref().map_or(true, |value| value.to_bytes() == data));
    if let Ok(value) = Value::parse_any(data) {
        assert_eq!(Value::parse(&value.to_bytes()), Ok(value));
    }
    parsed.is_ok()
}

/// Envelopes of acts, and the payloads in them: whole ones, and payloads alone.
pub fn act(data: &[u8]) -> bool {
    if let Ok(envelope) = ActEnvelope::parse(data) {
        assert_eq!(envelope.encode(), data);
    }
    if let Ok(act) = Act::parse(data) {
        assert_eq!(act.encode(), data);
    }
    Act::open(data).is_ok()
}

/// Device envelopes and the statements in them.
pub fn statement(data: &[u8]) -> bool {
    if let Ok(statement) = Statement::parse(data) {
        assert_eq!(statement.encode(), data);
    }
    let Ok(envelope) = Envelope::parse(data) else { return false };
    assert_eq!(envelope.bytes(), data);
    envelope.claimed().is_ok()
}

/// Leaves.
pub fn leaf(data: &[u8]) -> bool {
    let parsed = Leaf::parse(data);
    assert!(parsed.as_ref().map_or(true, |leaf| leaf.encode() == data));
    parsed.is_ok()
}

/// Notes, checkpoints, keys and hash lines.
pub fn note(data: &[u8]) -> bool {
    let parsed = Note::parse(data);
    assert!(parsed.as_ref().map_or(true, |note| note.encode().as_bytes() == data));
    if let Ok(text) = std::str::from_utf8(data) {
        assert!(Checkpoint::parse_text(text).map_or(true, |head| head.text() == text));
        assert!(parse_hash_lines(text).map_or(true, |hashes| hash_lines(&hashes) == text));
        assert!(VerifierKey::parse(text).map_or(true, |key| key.vkey() == text));
        assert!(WitnessKey::parse(text).map_or(true, |key| key.vkey() == text));
    }
    parsed.is_ok()
}

/// Cosignatures: under a checkpoint, and as the answer of a witness. True if one holds.
pub fn cosignature(data: &[u8]) -> bool {
    let Some((_, key)) = own_key() else { return false };
    let head = Checkpoint { origin: "fuzz.example/log/1".into(), size: 1, root: Digest::ZERO };
    if let Ok(mut signed) =
        SecretKey::from_seed(&[8; 32]).map_or(Err(()), |log| head.sign(&log).map_err(drop))
    {
        let before = signed.clone();
        if signed.adopt(&key, data).is_ok() {
            assert_eq!(signed.signatures(), 2);
        } else {
            assert_eq!(signed, before, "what does not hold is not taken");
        }
    }
    Note::parse(data).is_ok_and(|note| note.cosigned(&key).is_ok_and(|time| time.is_some()))
}

/// Proof files. No proof of noise holds.
pub fn proof(data: &[u8]) -> bool {
    let Ok(proof) = TlogProof::parse(data) else { return false };
    assert_eq!(proof.encode().as_bytes(), data);
    let zero = Digest::ZERO;
    assert!(verify_inclusion(proof.index, u64::MAX, &zero, &proof.hashes, &zero).is_err());
    true
}

/// Witness policies: nobody is no quorum, and all witnesses are one wherever one is asked for.
pub fn policy(data: &[u8]) -> bool {
    let Ok(policy) = WitnessPolicy::parse(data) else { return false };
    assert!(!policy.is_quorum(&[]));
    let all: Vec<&str> = policy.witnesses().iter().map(|witness| witness.name.as_str()).collect();
    assert_eq!(policy.is_quorum(&all), policy.has_quorum());
    true
}

/// Bodies of add-checkpoint.
pub fn add_checkpoint(data: &[u8]) -> bool {
    let Ok(request) = AddCheckpoint::parse(data) else { return false };
    assert_eq!(request.encode().as_bytes(), data);
    request.claimed_origin().is_ok()
}

/// Bundles of entries, of every width that may be, and tiles of hashes.
pub fn bundle(data: &[u8]) -> bool {
    let mut taken = 0;
    for width in 1..=256 {
        let Some(tile) = Tile::new(Content::Entries, 0, width) else { continue };
        let Ok(entries) = tile.parse_entries(data) else { continue };
        let mut again = Vec::new();
        for entry in &entries {
            assert!(push_entry(&mut again, entry).is_ok());
        }
        assert_eq!((entries.len(), again.as_slice()), (usize::from(width), data));
        taken += 1;
    }
    assert!(taken <= 1, "bytes are a bundle of one width only");
    taken == 1
}

/// Manifests of sets.
pub fn manifest(data: &[u8]) -> bool {
    let parsed = Manifest::parse(data);
    assert!(parsed.as_ref().map_or(true, |manifest| manifest.encode() == data));
    parsed.is_ok()
}

/// plan.json.
pub fn plan(data: &[u8]) -> bool {
    Plan::open(data).is_ok_and(|(_, hash)| hash == Digest::of(data))
}

/// Lines of a set's streams.
pub fn stream(data: &[u8]) -> bool {
    let parsed = StreamEntry::parse(data);
    assert!(
        parsed
            .as_ref()
            .map_or(true, |entry| entry.line().strip_suffix('\n').map(str::as_bytes) == Some(data))
    );
    parsed.is_ok()
}

/// unit.json and results.
pub fn unit(data: &[u8]) -> bool {
    if let Ok(results) = Results::parse(data) {
        assert_eq!(results.encode(), data);
    }
    let parsed = UnitView::parse(data);
    assert!(parsed.as_ref().map_or(true, |view| view.encode() == data));
    parsed.is_ok()
}

/// Trust files: what is read is written as it was, but for a last line end.
pub fn trust(data: &[u8]) -> bool {
    let Ok(trust) = Trust::parse(data) else { return false };
    assert_eq!(trust.encode(), data.strip_suffix(b"\n").unwrap_or(data));
    assert!(trust.policy().is_ok());
    true
}

/// What a witness remembers of a log.
pub fn witness_log(data: &[u8]) -> bool {
    let Some((_, key)) = own_key() else { return false };
    let written = cli::rewritten_witness_log(data, &key);
    assert!(written.as_ref().is_none_or(|written| written == data));
    written.is_some()
}

/// Records of a journal from the first byte on, and the judgement about what follows each seal. True if a seal came.
pub fn journal(data: &[u8]) -> bool {
    let (mut at, mut sealed_end) = (0, 0);
    while let Parsed::Record(record, length) = parse_record(data.get(at..).unwrap_or_default()) {
        assert!(length > 0 && at + length <= data.len());
        at += length;
        if record.is_seal() {
            sealed_end = at;
        }
    }
    for from in [0, sealed_end] {
        if let Ok(Tail::Torn { from: first, to }) = judge_tail(data, from) {
            assert!(first == from as u64 && to <= data.len() as u64);
        }
    }
    sealed_end > 0
}

/// What each parser takes, by its name, from a sampling set and its trust file.
pub fn seeds(set: &Files, trust: &[u8]) -> BTreeMap<&'static str, Vec<Vec<u8>>> {
    let mut found: BTreeMap<&'static str, Vec<Vec<u8>>> = BTreeMap::new();
    let mut put = |name, bytes: &[u8]| found.entry(name).or_default().push(bytes.to_vec());
    let mut entries = Vec::new();
    let mut group = Group::new();
    for (path, bytes) in set {
        match path.rsplit_once('.').map_or("", |(_, ending)| ending) {
            "envelope" => put("statement", bytes),
            "tlog-proof" => put("proof", bytes),
            "note" => put("note", bytes),
            "json" => put("json", bytes),
            "jsonl" => {
                for line in bytes.split(|byte| *byte == b'\n') {
                    let Ok(entry) = StreamEntry::parse(line) else { continue };
                    put("stream", line);
                    put("act", &entry.payload);
                    put("leaf", &entry.leaf.encode());
                    group.push_entry(entry.index, &entry.leaf.encode(), &entry.salt, &entry.payload);
                    entries.push(entry.leaf.encode());
                }
            }
            _ => {}
        }
        match path.as_str() {
            "plan.json" => put("plan", bytes),
            "MANIFEST.json" => put("manifest", bytes),
            path if path.ends_with("/unit.json") || path.starts_with("results/") => put("unit", bytes),
            _ => {}
        }
    }
    put("trust", trust);
    if let Ok(read) = Trust::parse(trust) {
        put("policy", read.witness_policy.as_bytes());
    }
    let mut bundle = Vec::new();
    for entry in &entries {
        if push_entry(&mut bundle, entry).is_err() {
            break;
        }
    }
    put("bundle", &bundle);
    let checkpoint = set.get(evidence::set::CHECKPOINT).map(Vec::as_slice).unwrap_or_default();
    put("note", checkpoint);
    if let (Ok(note), Some((secret, key)), Ok(read)) =
        (Note::parse(checkpoint), own_key(), Trust::parse(trust))
    {
        let request = AddCheckpoint { old_size: 3, proof: vec![Digest::ZERO; 2], note: note.clone() };
        put("add_checkpoint", request.encode().as_bytes());
        let mut cosigned = note.with_lines_of(&read.log_keys, &[]);
        if let Ok(line) = cosigned.cosignature(key.name(), &secret, 1_780_000_000)
            && cosigned.adopt(&key, line.as_bytes()).is_ok()
        {
            put("cosignature", cosigned.encode().as_bytes());
            let log = evidence::json::object([
                ("format", evidence::json::text("tallystick/witness-log/v1")),
                ("origin", evidence::json::text(&read.origin)),
                (
                    "log_keys",
                    Value::Array(read.log_keys.iter().map(|key| evidence::json::text(key.vkey())).collect()),
                ),
                ("note", evidence::json::text(cosigned.encode())),
            ]);
            put("witness_log", &log.to_bytes());
        }
    }
    group.push_commit(entries.len() as u64, &[7; 32]);
    put("journal", group.bytes());
    found.append(&mut identity::seeds());
    found
}
