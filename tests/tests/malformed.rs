//! Malformed input by name, each with the exact answer it must get; and every parser of the fuzzer over all of it.
//!
//! The rows are those on which implementations of C2SP formats are known to differ. The parsers are the entry functions that
//! the fuzzer runs (`fuzz/src/lib.rs`): they panic where what was taken is not written back as it was.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test stops at what it cannot read"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use evidence::acts::TreeHead;
use evidence::ids::Digest;
use evidence::keys::{KeyError, SecretKey};
use evidence::merkle::empty_root;
use evidence::note::{Checkpoint, Note, NoteError, TlogProof, VerifierKey, WitnessKey};
use evidence::tiles::{Content, Tile, TileError, push_entry};
use evidence::witness::{AddCheckpoint, Refused, RequestError, consider};
use evidence::witness_policy::{PolicyError, WitnessPolicy};

#[expect(unreachable_pub, reason = "a library of its own, of which this is a second user")]
#[path = "../../fuzz/src/lib.rs"]
mod entries;

const ORIGIN: &str = "example.org/log/1";
/// Damaged copies of each seed.
const DAMAGED: usize = 24;
/// Seeds of a parser that are damaged: the shortest ones.
const DAMAGED_SEEDS: usize = 12;

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32]).expect("a key")
}

fn log_key() -> VerifierKey {
    VerifierKey::new(ORIGIN, *secret(1).public()).expect("a name")
}

fn witness_key() -> WitnessKey {
    WitnessKey::new("w.example", *secret(2).public()).expect("a name")
}

fn head(size: u64) -> Checkpoint {
    Checkpoint { origin: ORIGIN.into(), size, root: Digest::of(b"root") }
}

/// Text of a note and one line by the log's key over it.
fn signed(text: &str) -> String {
    Note::sign(text, ORIGIN, &secret(1)).expect("a note").encode()
}

/// A plain line of some key over another text.
fn line(seed: u8, name: &str, text: &str) -> String {
    let note = Note::sign(text, name, &secret(seed)).expect("a note").encode();
    let at = note.find('—').expect("a line");
    note[at..].to_owned()
}

fn cosignature(seconds: u64) -> String {
    let note = head(7).sign(&secret(1)).expect("a note");
    note.cosignature("w.example", &secret(2), seconds).expect("a cosignature")
}

/// What a log's reader says: the size of the tree.
fn opened(bytes: &[u8]) -> Result<u64, NoteError> {
    Checkpoint::open_of(&Note::parse(bytes)?, &[log_key()], ORIGIN).map(|head| head.size)
}

/// What a verifier of sets says: every line is known.
fn opened_in_a_set(bytes: &[u8]) -> Result<u64, NoteError> {
    let witnesses = [witness_key()];
    Checkpoint::open_known(&Note::parse(bytes)?, &[log_key()], &witnesses, ORIGIN).map(|head| head.size)
}

type Row = (&'static str, String, Result<u64, NoteError>, Result<u64, NoteError>);

/// Name, note, what a reader of the log answers, what a verifier of sets answers.
fn notes() -> Vec<Row> {
    let text = head(7).text();
    let good = signed(&text);
    let many = |count: u8| {
        (0..count).map(|n| line(n + 10, &format!("other-{n}.example"), &text)).collect::<String>()
    };
    let unknown = |n: u8| Err(NoteError::UnknownSigner(format!("other-{n}.example")));
    let form = |what| Err(NoteError::Form(what));
    let both = |name, note: String, answer: Result<u64, NoteError>| (name, note, answer.clone(), answer);
    let false_line = Err(NoteError::Signature { name: ORIGIN.into(), error: KeyError::Mismatch });
    let unsigned = || Err(NoteError::Unsigned(ORIGIN.into()));
    let checkpoint = |what| Err(NoteError::Checkpoint(what));
    let no_decimal = || checkpoint("the size is not a plain decimal");
    let sized = |size: &str| signed(&text.replace("\n7\n", &format!("\n{size}\n")));
    vec![
        both("good", good.clone(), Ok(7)),
        ("an unknown line", good.clone() + &many(1), Ok(7), unknown(0)),
        ("an unknown line first", good.replacen("— ", &format!("{}— ", many(1)), 1), Ok(7), unknown(0)),
        // The specification: at least 16 lines must be read.
        ("17 lines", good.clone() + &many(16), Ok(7), unknown(0)),
        ("64 lines", good.clone() + &many(63), Ok(7), unknown(0)),
        both("65 lines", good.clone() + &many(64), form("too many signature lines")),
        both(
            "a forged line of a known key",
            format!("{text}\n{}", line(1, ORIGIN, "another text\n")),
            false_line.clone(),
        ),
        (
            "a good line and a forged one of the key",
            good.clone() + &line(1, ORIGIN, "another text\n"),
            false_line.clone(),
            Err(NoteError::Twice(ORIGIN.into())),
        ),
        (
            "only unknown lines",
            format!("{text}\n{}", line(9, "other.example", &text)),
            unsigned(),
            Err(NoteError::UnknownSigner("other.example".into())),
        ),
        (
            "the log's name, another key",
            format!("{text}\n{}", line(9, ORIGIN, &text)),
            unsigned(),
            Err(NoteError::UnknownSigner(ORIGIN.into())),
        ),
        ("a cosignature", good.clone() + &cosignature(5), Ok(7), Ok(7)),
        both("no line", format!("{text}\n"), form("does not end in a newline")),
        both("no last line end", good[..good.len() - 1].to_owned(), form("does not end in a newline")),
        both("a hyphen for the dash", good.replace('—', "-"), form("a signature line is — <name> <base64>")),
        both("carriage returns", good.replace('\n', "\r\n"), form("holds control characters")),
        both("a nul", good.replace("\n7\n", "\n7\0\n"), form("holds control characters")),
        both(
            "an extension line",
            signed(&format!("{text}extension\n")),
            checkpoint("expected exactly origin, size and root"),
        ),
        both(
            "no root",
            signed(&format!("{ORIGIN}\n7\n")),
            checkpoint("expected exactly origin, size and root"),
        ),
        both("a leading zero", sized("07"), no_decimal()),
        both("two zeros", sized("00"), no_decimal()),
        both("a plus", sized("+7"), no_decimal()),
        both("a minus", sized("-7"), no_decimal()),
        both("a space", sized("7 "), no_decimal()),
        both("a size of 2^64", sized("18446744073709551616"), no_decimal()),
        both("the largest size", sized("18446744073709551615"), Ok(u64::MAX)),
        both("an empty tree", sized("0"), Ok(0)),
        both("hexadecimal", sized("0x7"), no_decimal()),
        both(
            "another origin",
            signed(&text.replace("log/1", "log/2")),
            Err(NoteError::Origin { found: "example.org/log/2".into(), expected: ORIGIN.into() }),
        ),
    ]
}

#[test]
fn notes_get_their_answer() {
    for (name, note, reader, verifier) in notes() {
        assert_eq!(opened(note.as_bytes()), reader, "{name}: a reader of the log");
        assert_eq!(opened_in_a_set(note.as_bytes()), verifier, "{name}: a verifier");
    }
}

/// A body of add-checkpoint with so many proof lines.
fn request(old: &str, lines: usize, size: u64) -> String {
    let hashes = format!("{}\n", evidence::json::encode_base64(&[7; 32])).repeat(lines);
    format!("old {old}\n{hashes}\n{}", signed(&head(size).text()))
}

#[test]
fn requests_get_their_answer() {
    let form = |what| Err(RequestError::Form(what));
    let first = "the first line is not `old <decimal>`";
    for (name, body, answer) in [
        ("good", request("3", 2, 7), Ok(3)),
        ("63 proof lines", request("3", 63, 7), Ok(3)),
        ("64 proof lines", request("3", 64, 7), form("more than 63 proof lines")),
        ("a leading zero", request("03", 2, 7), form(first)),
        ("no old size", request("", 2, 7), form(first)),
        ("a size of 2^64", request("18446744073709551616", 2, 7), form(first)),
        ("capital", request("3", 2, 7).replacen("old", "Old", 1), form(first)),
        ("no checkpoint", "old 3\n".into(), form("no empty line before the checkpoint")),
        (
            "a short hash",
            request("3", 0, 7).replacen('\n', "\nAAAA\n", 1),
            form("a proof line is not base64 of 32 bytes"),
        ),
        (
            "not a note",
            "old 0\n\nhello".into(),
            Err(RequestError::Note(NoteError::Form("no empty line before the signatures"))),
        ),
    ] {
        assert_eq!(AddCheckpoint::parse(body.as_bytes()).map(|request| request.old_size), answer, "{name}");
    }
    let decided = |body: String, latest: TreeHead| {
        consider(&AddCheckpoint::parse(body.as_bytes()).expect("a request"), &[log_key()], latest)
    };
    let empty = TreeHead { size: 0, root: empty_root() };
    let above = Refused::BadRequest("old size 8 is above the checkpoint's 7".into());
    assert_eq!(
        (above.status(), decided(request("8", 0, 7), empty)),
        (400, Err(above.clone())),
        "old above the size"
    );
    assert_eq!(decided(request("3", 0, 7), empty), Err(Refused::OldSize { size: 0 }));
    assert!(decided(request("0", 0, 7), empty).is_ok(), "the first checkpoint");
    assert!(
        matches!(decided(request("0", 1, 7), empty), Err(Refused::Inconsistent { .. })),
        "a proof from nothing"
    );
}

#[test]
fn cosignatures_proofs_bundles_and_policies_get_their_answer() {
    let cosigned = |line: &str| {
        let note = format!("{}{line}", signed(&head(7).text()));
        Note::parse(note.as_bytes()).and_then(|note| note.cosigned(&witness_key()))
    };
    assert_eq!(cosigned(&cosignature(5)), Ok(Some(5)));
    assert_eq!(cosigned(""), Ok(None));
    assert_eq!(cosigned(&(cosignature(5) + &cosignature(6))), Err(NoteError::Twice("w.example".into())));
    let raw = evidence::json::decode_base64(cosignature(5).trim_end().rsplit(' ').next().expect("base64"));
    let raw = raw.expect("base64");
    let bent = |bytes: &[u8]| cosigned(&format!("— w.example {}\n", evidence::json::encode_base64(bytes)));
    let length = NoteError::Cosignature("it must be 8 bytes of time and 64 of signature");
    for cut in [raw.len() - 1, 12, 11, 5] {
        assert_eq!(bent(&raw[..cut]), Err(length.clone()), "{cut} bytes");
    }
    assert_eq!(bent(&[&raw[..], b"x"].concat()), Err(length));
    let late = [&raw[..4], &(1_u64 << 63).to_be_bytes(), &raw[12..]].concat();
    assert_eq!(bent(&late), Err(NoteError::Cosignature("its time is above 2^63 - 1")));
    let other = [&raw[..4], &6_u64.to_be_bytes(), &raw[12..]].concat();
    let false_line = NoteError::Signature { name: "w.example".into(), error: KeyError::Mismatch };
    assert_eq!(bent(&other), Err(false_line));

    let proof = |index: &str, lines: usize| {
        let hashes = format!("{}\n", evidence::json::encode_base64(&[7; 32])).repeat(lines);
        let text = format!("c2sp.org/tlog-proof@v1\nindex {index}\n{hashes}\n{}", signed(&head(7).text()));
        TlogProof::parse(text.as_bytes()).map(|proof| proof.index)
    };
    assert_eq!(proof("0", 64), Ok(0));
    assert_eq!(proof("0", 65), Err(NoteError::Proof("more than 64 hashes")));
    assert_eq!(proof("00", 0), Err(NoteError::Proof("the index line is not `index <decimal>`")));
    assert_eq!(proof("-1", 0), Err(NoteError::Proof("the index line is not `index <decimal>`")));

    // An entry's length has 16 bits.
    let bundle = |length: usize| {
        let mut bytes = Vec::new();
        push_entry(&mut bytes, &vec![7; length]).map(|()| bytes)
    };
    let one = Tile::new(Content::Entries, 0, 1).expect("a tile");
    let longest = bundle(65_535).expect("fits");
    assert_eq!(longest[..2], [0xff, 0xff]);
    assert_eq!(one.parse_entries(&longest).expect("a bundle")[0].len(), 65_535);
    assert_eq!(bundle(65_536), Err(TileError::Entry(65_536)));
    assert_eq!(
        one.parse_entries(&[longest, vec![7]].concat()),
        Err(TileError::Bundle { met: 1, rest: 1, width: 1 })
    );
    assert_eq!(one.parse_entries(&[0xff, 0xff, 7]), Err(TileError::Bundle { met: 0, rest: 3, width: 1 }));

    let witness = format!("witness w {}\n", witness_key().vkey());
    let policy = |rest: &str| WitnessPolicy::parse(format!("{witness}{rest}").as_bytes()).map(drop);
    assert_eq!(policy("quorum w\n"), Ok(()));
    assert_eq!(policy(""), Err(PolicyError::Form("has no quorum line")));
    assert_eq!(policy("quorum w"), Err(PolicyError::Form("does not end in a newline")));
    let of_line = |problem: &str| Err(PolicyError::Line { line: 2, problem: problem.into() });
    let threshold = "a group needs all, any, or a number from 1 to its 1 members";
    for number in ["0", "2", "01", "+1", "1.0", "All"] {
        assert_eq!(policy(&format!("group g {number} w\nquorum g\n")), of_line(threshold), "{number}");
    }
    assert_eq!(
        policy(&witness.replace("witness w", "witness v")),
        of_line("this key stands on another line already")
    );
}

/// All bytes of the rows above that some parser might take.
fn rows() -> Vec<Vec<u8>> {
    let mut rows: Vec<Vec<u8>> = notes().into_iter().map(|(_, note, ..)| note.into_bytes()).collect();
    for (old, lines) in [("3", 2), ("3", 64), ("03", 2), ("8", 0)] {
        rows.push(request(old, lines, 7).into_bytes());
    }
    rows.push(cosignature(5).into_bytes());
    for length in [0_usize, 1, 65_535] {
        let mut bundle = Vec::new();
        push_entry(&mut bundle, &vec![0; length]).expect("fits");
        bundle.truncate(bundle.len().saturating_sub(length % 2));
        rows.push(bundle);
    }
    rows.extend([Vec::new(), vec![0; 512], vec![0xff; 512], b"{}".to_vec(), b"[".repeat(70)]);
    rows
}

/// xorshift64, seeded: the same damage in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound.max(1) as u64).expect("below a usize")
    }

    fn damaged(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = bytes.to_vec();
        let at = self.below(bytes.len());
        match self.below(4) {
            0 if !bytes.is_empty() => out[at] ^= 1 << self.below(8),
            1 => out.truncate(at),
            2 => drop(out.splice(at..at, bytes[at..].to_vec())),
            _ => out.insert(at, b"0\"\n\0\xff"[self.below(5)]),
        }
        out
    }
}

/// The seeds of every parser, from a hand-made set.
fn seeds() -> BTreeMap<&'static str, Vec<Vec<u8>>> {
    let out = tempfile::tempdir().expect("a folder");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = "import sys\nfrom make_set import write_set\nfrom set_maker import scenes\nfiles, trust = scenes.small()\n\
                  write_set(sys.argv[1], {**files, 'trust.json': scenes.trust_bytes(trust)})\n";
    let mut command = Command::new("python3");
    let command = command.args(["-B", "-c", script]).arg(out.path()).current_dir(root.join("oracle"));
    let made = command.output().expect("python3 must run: install Python 3.11 or newer");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let trust = fs::read(out.path().join("trust.json")).expect("a trust file");
    let (mut files, _) = verifier::read_set(out.path()).expect("a set");
    files.remove("trust.json");
    entries::seeds(&files, &trust)
}

#[test]
fn every_parser_takes_its_seeds_and_nothing_makes_one_panic() {
    let mut seeds = seeds();
    let rows = rows();
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    for (name, parse) in entries::entries() {
        for row in &rows {
            parse(row);
        }
        let mut mine = seeds.remove(name).unwrap_or_default();
        let taken = mine.iter().filter(|seed| parse(seed)).count();
        assert!(taken > 0, "{name} takes none of its {} seeds", mine.len());
        mine.sort_by_key(Vec::len);
        for seed in mine.iter().take(DAMAGED_SEEDS) {
            for _ in 0..DAMAGED {
                parse(&chance.damaged(seed));
            }
            for (_, other) in entries::entries() {
                other(seed);
            }
        }
    }
    assert!(seeds.is_empty(), "seeds of no parser: {:?}", seeds.keys());
}
