//! C2SP signed notes, checkpoints and proofs. docs/FORMAT.md section 6.
//!
//! Strict beyond the specification where a set needs it: [`Note::verify_all`] refuses lines of unknown keys.

use crate::ids::Digest;
use crate::json::{decode_base64, decode_decimal, encode_base64};
use crate::keys::{KeyError, PublicKey, SIGNATURE_BYTES, SecretKey};
use crate::merkle::PROOF_HASHES_MAX;

mod cosignature;
mod proof;

pub use cosignature::{COSIGNATURE_SECONDS_MAX, WitnessKey};
pub use proof::{TlogProof, TlogProofError};

/// Largest note accepted, in bytes: a checkpoint with 16 cosignatures has about 3 KiB.
pub const NOTE_BYTES_MAX: usize = 65_536;
/// Most signature lines read: signed-note demands at least 16.
pub const SIGNATURE_LINES_MAX: usize = 64;
/// Signature type of plain Ed25519 in C2SP signed-note.
const TYPE_ED25519: u8 = 0x01;

/// Why a note, key or checkpoint was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not the form of a note.
    #[error("not a signed note: {0}")]
    Form(&'static str),
    /// Not a verifier key.
    #[error("not a verifier key: {0}")]
    Vkey(&'static str),
    /// No line by the key that must sign.
    #[error("not signed by {0}")]
    Unsigned(String),
    /// Signed, and by none of the keys that sign for this tree.
    #[error("only a log key that another took the place of signed this checkpoint of {0} entries")]
    Retired(u64),
    /// A line of a key nobody vouches for.
    #[error("signed by {0}, which is not a key of the trust file or the set")]
    UnknownSigner(String),
    /// Two lines of one key: which of them was copied along would be anybody's choice.
    #[error("signed twice by {0}")]
    Twice(String),
    /// A signature that does not hold.
    #[error("signature of {name}: {error}")]
    Signature {
        /// Key name.
        name: String,
        /// What is wrong.
        error: KeyError,
    },
    /// Not a checkpoint.
    #[error("not a checkpoint: {0}")]
    Checkpoint(&'static str),
    /// A checkpoint of another log.
    #[error("origin is {found:?}, expected {expected:?}")]
    Origin {
        /// Origin in the note.
        found: String,
        /// Origin wanted.
        expected: String,
    },
    /// Not a proof file.
    #[error("not a tlog-proof: {0}")]
    Proof(&'static str),
    /// Too few witnesses.
    #[error("the quorum {quorum:?} of the witness policy is not met: {standing}")]
    Quorum {
        /// What the quorum line names.
        quorum: String,
        /// Who cosigned and who did not.
        standing: String,
    },
    /// Not a cosignature.
    #[error("not a cosignature: {0}")]
    Cosignature(&'static str),
}

fn name_is_valid(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c == '+' || c < ' ' || c.is_whitespace())
}

/// C2SP signed-note forbids the ASCII control characters below U+0020, LF apart.
fn holds_controls(text: &str) -> bool {
    text.chars().any(|c| c < ' ' && c != '\n')
}

/// The first four bytes of SHA-256(name ‖ LF ‖ type ‖ key): one key has another id for each signature type.
fn key_hash(name: &str, kind: u8, public: &PublicKey) -> [u8; 4] {
    let digest = Digest::of_parts(&[name.as_bytes(), b"\n", &[kind], public.as_bytes()]);
    let [a, b, c, d, ..] = digest.0;
    [a, b, c, d]
}

/// Name and key of a vkey whose signature type must be `kind`; `other_kind` is the complaint about another.
fn parse_vkey(text: &str, kind: u8, other_kind: &'static str) -> Result<(String, PublicKey), NoteError> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(hash), Some(data)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(NoteError::Vkey("expected <name>+<8 hex>+<base64>"));
    };
    let bytes = decode_base64(data).ok_or(NoteError::Vkey("the key is not base64"))?;
    let key = match bytes.split_first() {
        Some((found, key)) if *found == kind => key,
        _ => return Err(NoteError::Vkey(other_kind)),
    };
    let key = PublicKey::from_slice(key).map_err(|_| NoteError::Vkey("not a sound Ed25519 key"))?;
    check_name(name)?;
    if data_encoding::HEXLOWER.encode(&key_hash(name, kind, &key)) != hash {
        return Err(NoteError::Vkey("the key id does not belong to name and key"));
    }
    Ok((name.to_owned(), key))
}

fn write_vkey(name: &str, kind: u8, key: &PublicKey) -> String {
    let hash = data_encoding::HEXLOWER.encode(&key_hash(name, kind, key));
    let mut data = vec![kind];
    data.extend_from_slice(key.as_bytes());
    format!("{name}+{hash}+{}", encode_base64(&data))
}

fn check_name(name: &str) -> Result<(), NoteError> {
    if name_is_valid(name) {
        Ok(())
    } else {
        Err(NoteError::Vkey("the name is empty or holds spaces, controls or +"))
    }
}

/// A key that can check notes, with the name it signs under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key: PublicKey,
}

impl VerifierKey {
    /// A key under a name.
    pub fn new(name: &str, key: PublicKey) -> Result<Self, NoteError> {
        check_name(name)?;
        Ok(Self { name: name.to_owned(), key })
    }

    /// Reads `<name>+<8 hex>+<base64>`.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let (name, key) = parse_vkey(text, TYPE_ED25519, "only Ed25519 keys (type 1) are known")?;
        Ok(Self { name, key })
    }

    /// The key's text form.
    pub fn vkey(&self) -> String {
        write_vkey(&self.name, TYPE_ED25519, &self.key)
    }

    /// The name it signs under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    name: String,
    hash: [u8; 4],
    signature: Vec<u8>,
}

impl Line {
    /// The line with its newline.
    fn encode(&self) -> String {
        let mut data = self.hash.to_vec();
        data.extend_from_slice(&self.signature);
        format!("— {} {}\n", self.name, encode_base64(&data))
    }
}

/// A signed note: its text is a claim until verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    lines: Vec<Line>,
}

impl Note {
    /// Signs `text`, which must end in a newline, under `name`.
    pub fn sign(text: &str, name: &str, key: &SecretKey) -> Result<Self, NoteError> {
        if !text.ends_with('\n') || text.contains("\n\n") || text.starts_with('\n') {
            return Err(NoteError::Form("the text must end in one newline and hold no empty line"));
        }
        if holds_controls(text) {
            return Err(NoteError::Form("holds control characters"));
        }
        let verifier = VerifierKey::new(name, *key.public())?;
        let line = Line {
            name: name.to_owned(),
            hash: key_hash(name, TYPE_ED25519, &verifier.key),
            signature: key.sign(text.as_bytes()).to_vec(),
        };
        Ok(Self { text: text.to_owned(), lines: vec![line] })
    }

    /// Reads a note.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(NoteError::Form("larger than 64 KiB"));
        }
        let whole = std::str::from_utf8(bytes).map_err(|_| NoteError::Form("not UTF-8"))?;
        if holds_controls(whole) {
            return Err(NoteError::Form("holds control characters"));
        }
        let (head, tail) =
            whole.rsplit_once("\n\n").ok_or(NoteError::Form("no empty line before the signatures"))?;
        let mut text = head.to_owned();
        text.push('\n');
        let body = tail.strip_suffix('\n').ok_or(NoteError::Form("does not end in a newline"))?;
        let lines = body.split('\n').map(Self::parse_line).collect::<Result<Vec<_>, _>>()?;
        if lines.len() > SIGNATURE_LINES_MAX {
            return Err(NoteError::Form("too many signature lines"));
        }
        Ok(Self { text, lines })
    }

    fn parse_line(line: &str) -> Result<Line, NoteError> {
        let form = NoteError::Form("a signature line is — <name> <base64>");
        let rest = line.strip_prefix("— ").ok_or_else(|| form.clone())?;
        let (name, data) = rest.split_once(' ').ok_or_else(|| form.clone())?;
        let bytes = decode_base64(data).ok_or_else(|| form.clone())?;
        let (hash, signature) = bytes.split_first_chunk::<4>().ok_or_else(|| form.clone())?;
        if !name_is_valid(name) || signature.is_empty() {
            return Err(form);
        }
        Ok(Line { name: name.to_owned(), hash: *hash, signature: signature.to_vec() })
    }

    /// The note as text, signatures and all.
    pub fn encode(&self) -> String {
        let mut out = format!("{}\n", self.text);
        for line in &self.lines {
            out.push_str(&line.encode());
        }
        out
    }

    /// Signs the same text with a further key.
    pub fn sign_also(&mut self, name: &str, key: &SecretKey) -> Result<(), NoteError> {
        let more = Self::sign(&self.text, name, key)?;
        if self.lines.len().saturating_add(more.lines.len()) > SIGNATURE_LINES_MAX {
            return Err(NoteError::Form("too many signature lines"));
        }
        self.lines.extend(more.lines);
        Ok(())
    }

    /// The text, nothing of it checked.
    pub(crate) fn claimed_text(&self) -> &str {
        &self.text
    }

    /// Whether others than the log signed this checkpoint: a log's lines bear the name in its first line, and while its key
    /// changes there are two of them. Nothing is verified.
    pub fn is_cosigned(&self) -> bool {
        let origin = self.text.split('\n').next().unwrap_or_default();
        self.lines.iter().any(|line| line.name != origin || line.signature.len() != SIGNATURE_BYTES)
    }

    /// How many signature lines there are.
    pub fn signatures(&self) -> usize {
        self.lines.len()
    }

    /// The text, once at least one line by `keys` holds and none of theirs is false. Unknown lines are ignored.
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<&str, NoteError> {
        let mut good = false;
        for line in &self.lines {
            if let Some(key) = Self::key_of(line, keys) {
                self.check(line, key)?;
                good = true;
            }
        }
        let wanted = || keys.first().map_or_else(|| "any key".to_owned(), |key| key.name.clone());
        if good { Ok(&self.text) } else { Err(NoteError::Unsigned(wanted())) }
    }

    /// The text, once every line is by one of `keys` and holds, and no key signed twice.
    pub fn verify_all(&self, keys: &[VerifierKey]) -> Result<&str, NoteError> {
        self.verify_known(keys, &[])
    }

    /// As [`Note::verify_all`], with cosignatures of `witnesses` beside at least one line by `keys`.
    pub fn verify_known(&self, keys: &[VerifierKey], witnesses: &[WitnessKey]) -> Result<&str, NoteError> {
        let mut seen: Vec<(&str, [u8; 4])> = Vec::with_capacity(self.lines.len());
        let mut good = false;
        for line in &self.lines {
            let key = Self::key_of(line, keys);
            let witness = witnesses.iter().find(|witness| witness.signed(line));
            let signer = (line.name.as_str(), line.hash);
            if key.is_none() && witness.is_none() {
                return Err(NoteError::UnknownSigner(line.name.clone()));
            }
            if seen.contains(&signer) {
                return Err(NoteError::Twice(line.name.clone()));
            }
            seen.push(signer);
            if let Some(key) = key {
                self.check(line, key)?;
                good = true;
            } else if let Some(witness) = witness {
                witness.check(&self.text, line)?;
            }
        }
        let wanted = || keys.first().map_or_else(|| "any key".to_owned(), |key| key.name.clone());
        if good { Ok(&self.text) } else { Err(NoteError::Unsigned(wanted())) }
    }

    fn key_of<'a>(line: &Line, keys: &'a [VerifierKey]) -> Option<&'a VerifierKey> {
        keys.iter()
            .find(|key| key.name == line.name && key_hash(&key.name, TYPE_ED25519, &key.key) == line.hash)
    }

    fn check(&self, line: &Line, key: &VerifierKey) -> Result<(), NoteError> {
        key.key
            .verify(self.text.as_bytes(), &line.signature)
            .map_err(|error| NoteError::Signature { name: line.name.clone(), error })
    }
}

/// A tree head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// Leaves.
    pub size: u64,
    /// RFC 6962 root.
    pub root: Digest,
}

impl Checkpoint {
    /// The note text.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, encode_base64(self.root.as_bytes()))
    }

    /// Reads the note text; extension lines are refused.
    pub fn parse_text(text: &str) -> Result<Self, NoteError> {
        let mut lines = text.split('\n');
        let (Some(origin), Some(size), Some(root), Some(""), None) =
            (lines.next(), lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(NoteError::Checkpoint("expected exactly origin, size and root"));
        };
        if origin.is_empty() {
            return Err(NoteError::Checkpoint("the origin is empty"));
        }
        let size = decode_decimal(size).ok_or(NoteError::Checkpoint("the size is not a plain decimal"))?;
        let root = decode_base64(root)
            .and_then(|bytes| Digest::from_slice(&bytes).ok())
            .ok_or(NoteError::Checkpoint("the root is not base64 of 32 bytes"))?;
        Ok(Self { origin: origin.to_owned(), size, root })
    }

    /// Signs this head with the log key, under the origin as its name.
    pub fn sign(&self, key: &SecretKey) -> Result<Note, NoteError> {
        Note::sign(&self.text(), &self.origin, key)
    }

    /// The checkpoint of a note by one of `log_keys`; lines of others are ignored.
    pub fn open(note: &Note, log_keys: &[VerifierKey]) -> Result<Self, NoteError> {
        Self::parse_text(note.verify(log_keys)?)
    }

    /// As [`Checkpoint::open`], and the origin must be `origin`.
    pub fn open_of(note: &Note, log_keys: &[VerifierKey], origin: &str) -> Result<Self, NoteError> {
        Self::open(note, log_keys)?.of(origin)
    }

    /// As [`Checkpoint::open_of`], and every line must be by a log key.
    pub fn open_strict(note: &Note, log_keys: &[VerifierKey], origin: &str) -> Result<Self, NoteError> {
        Self::open_known(note, log_keys, &[], origin)
    }

    /// As [`Checkpoint::open_of`], and every line must be by a log key or a witness.
    pub fn open_known(
        note: &Note,
        log_keys: &[VerifierKey],
        witnesses: &[WitnessKey],
        origin: &str,
    ) -> Result<Self, NoteError> {
        Self::parse_text(note.verify_known(log_keys, witnesses)?)?.of(origin)
    }

    fn of(self, origin: &str) -> Result<Self, NoteError> {
        if self.origin == origin {
            Ok(self)
        } else {
            Err(NoteError::Origin { found: self.origin, expected: origin.to_owned() })
        }
    }
}

/// `proof` as base64 lines, one hash each: the form of consistency files.
pub fn hash_lines(proof: &[Digest]) -> String {
    proof.iter().fold(String::new(), |mut out, hash| {
        out.push_str(&encode_base64(hash.as_bytes()));
        out.push('\n');
        out
    })
}

/// Reads base64 hash lines.
pub fn parse_hash_lines(text: &str) -> Result<Vec<Digest>, NoteError> {
    let mut hashes = Vec::new();
    if text.is_empty() {
        return Ok(hashes);
    }
    let body = text.strip_suffix('\n').ok_or(NoteError::Proof("does not end in a newline"))?;
    for line in body.split('\n') {
        let hash = decode_base64(line).and_then(|bytes| Digest::from_slice(&bytes).ok());
        hashes.push(hash.ok_or(NoteError::Proof("a hash line is not base64 of 32 bytes"))?);
        if hashes.len() > PROOF_HASHES_MAX {
            return Err(NoteError::Proof("more than 64 hashes"));
        }
    }
    Ok(hashes)
}

#[cfg(test)]
mod tests;
