//! C2SP tlog-cosignature v1: what a witness says about a checkpoint, and when.
//!
//! A witness signs the time with the note's text: as of then, this was the largest consistent tree of the origin that
//! it had seen. The signed bytes do not hold its name, so one key is one witness.

use super::{Checkpoint, Line, NOTE_BYTES_MAX, Note, NoteError, SIGNATURE_LINES_MAX, check_name, key_hash};
use super::{parse_vkey, write_vkey};
use crate::keys::{PublicKey, SIGNATURE_BYTES, SecretKey};

/// Signature type of timestamped Ed25519 cosignatures in C2SP signed-note.
const TYPE_COSIGNATURE: u8 = 0x04;
/// Largest time of a cosignature, Unix seconds: 2^63 − 1.
pub const COSIGNATURE_SECONDS_MAX: u64 = (1 << 63) - 1;

/// A key that can check cosignatures, with the name it signs under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessKey {
    name: String,
    key: PublicKey,
}

impl WitnessKey {
    /// A witness's key under a name.
    pub fn new(name: &str, key: PublicKey) -> Result<Self, NoteError> {
        check_name(name)?;
        Ok(Self { name: name.to_owned(), key })
    }

    /// Reads `<name>+<8 hex>+<base64>` of signature type 4.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let other = "a witness signs with Ed25519 cosignatures (type 4); other types are not known";
        let (name, key) = parse_vkey(text, TYPE_COSIGNATURE, other)?;
        Ok(Self { name, key })
    }

    /// The key's text form.
    pub fn vkey(&self) -> String {
        write_vkey(&self.name, TYPE_COSIGNATURE, &self.key)
    }

    /// The name it signs under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Whether a line claims to be by this witness.
    pub(super) fn signed(&self, line: &Line) -> bool {
        line.name == self.name && line.hash == key_hash(&self.name, TYPE_COSIGNATURE, &self.key)
    }

    /// The time of a line by this witness, Unix seconds, once it holds for `text`.
    pub(super) fn check(&self, text: &str, line: &Line) -> Result<u64, NoteError> {
        let length = NoteError::Cosignature("it must be 8 bytes of time and 64 of signature");
        let (time, signature) = line.signature.split_first_chunk::<8>().ok_or_else(|| length.clone())?;
        if signature.len() != SIGNATURE_BYTES {
            return Err(length);
        }
        let seconds = u64::from_be_bytes(*time);
        if seconds > COSIGNATURE_SECONDS_MAX {
            return Err(NoteError::Cosignature("its time is above 2^63 - 1"));
        }
        self.key
            .verify(message(seconds, text).as_bytes(), signature)
            .map_err(|error| NoteError::Signature { name: self.name.clone(), error })?;
        Ok(seconds)
    }
}

/// What is signed.
fn message(seconds: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {seconds}\n{text}")
}

impl Note {
    /// The line, with its newline, by which a witness cosigns this note's text. Whoever calls has verified the note.
    pub fn cosignature(&self, name: &str, key: &SecretKey, seconds: u64) -> Result<String, NoteError> {
        if seconds > COSIGNATURE_SECONDS_MAX {
            return Err(NoteError::Cosignature("its time is above 2^63 - 1"));
        }
        // A cosignature says something about a tree; another text must not be taken for one.
        Checkpoint::parse_text(&self.text)?;
        check_name(name)?;
        let mut signature = seconds.to_be_bytes().to_vec();
        signature.extend_from_slice(&key.sign(message(seconds, &self.text).as_bytes()));
        let hash = key_hash(name, TYPE_COSIGNATURE, key.public());
        Ok(Line { name: name.to_owned(), hash, signature }.encode())
    }

    /// When `witness` cosigned this note, Unix seconds; none if it did not. A false line of it is an error, and so is a
    /// second one.
    pub fn cosigned(&self, witness: &WitnessKey) -> Result<Option<u64>, NoteError> {
        let mut lines = self.lines.iter().filter(|line| witness.signed(line));
        let Some(line) = lines.next() else { return Ok(None) };
        if lines.next().is_some() {
            return Err(NoteError::Twice(witness.name.clone()));
        }
        witness.check(&self.text, line).map(Some)
    }

    /// Takes the cosignature of `witness` over from the lines it answered with, and its time in Unix seconds. Lines of
    /// others are not taken; nothing is taken that does not hold. A line it had here before is replaced.
    pub fn adopt(&mut self, witness: &WitnessKey, answer: &[u8]) -> Result<u64, NoteError> {
        if answer.len() > NOTE_BYTES_MAX {
            return Err(NoteError::Form("larger than 64 KiB"));
        }
        let mut whole = format!("{}\n", self.text).into_bytes();
        whole.extend_from_slice(answer);
        let answered = Self::parse(&whole)?;
        if answered.text != self.text {
            // An answer with an empty line in it would be signatures over a longer text.
            return Err(NoteError::Form("the answer holds more than signature lines"));
        }
        let seconds = answered.cosigned(witness)?.ok_or_else(|| NoteError::Unsigned(witness.name.clone()))?;
        let line = answered.lines.into_iter().find(|line| witness.signed(line));
        self.lines.retain(|line| !witness.signed(line));
        if self.lines.len() >= SIGNATURE_LINES_MAX {
            return Err(NoteError::Form("too many signature lines"));
        }
        self.lines.extend(line);
        Ok(seconds)
    }

    /// The note with the lines of `keys` and `witnesses` alone, which are checked by the caller.
    #[must_use]
    pub fn with_lines_of(&self, keys: &[super::VerifierKey], witnesses: &[WitnessKey]) -> Self {
        let known = |line: &&Line| {
            Self::key_of(line, keys).is_some() || witnesses.iter().any(|witness| witness.signed(line))
        };
        Self { text: self.text.clone(), lines: self.lines.iter().filter(known).cloned().collect() }
    }
}

#[cfg(test)]
mod tests;
