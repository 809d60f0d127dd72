//! Which keys sign for a log, once its key was changed: those a reader pinned, and those that a chain of endorsements from
//! a pinned one leads to. docs/FORMAT.md section 6, "Following the log's key".

use crate::acts::{Act, Body, NewKey, log_key_text};
use crate::ids::Digest;
use crate::json::{decode_base64, decode_decimal, encode_base64};
use crate::leaf::Kind;
use crate::note::{Checkpoint, Note, NoteError, VerifierKey, WitnessKey};
use crate::set::StreamEntry;

/// Where a public tree has the changes of its log's key, beside the checkpoint.
pub const LOG_KEYS_PATH: &str = "log-keys";
/// Most bytes of that file that are read: a change takes about 250.
pub const LOG_KEYS_BYTES_MAX: usize = 65_536;

/// The line of one change in that file.
pub fn line(index: u64, key: &VerifierKey, endorsement: &[u8]) -> String {
    format!("{index} {} {}\n", key.vkey(), encode_base64(endorsement))
}

/// Keys of one log. Nothing else of the log needs to be believed to follow it: an endorsement is a signature by a key that is
/// believed already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogKeys {
    /// Pinned keys, then those learned, in their order.
    keys: Vec<VerifierKey>,
    pinned: usize,
    /// (key id, index of the entry after which it signs for the log no more).
    ended: Vec<(Digest, u64)>,
}

impl LogKeys {
    /// What a reader believes at first.
    pub fn pinned(keys: &[VerifierKey]) -> Self {
        Self { keys: keys.to_vec(), pinned: keys.len(), ended: Vec::new() }
    }

    /// Every key that is believed, the pinned ones first.
    pub fn all(&self) -> &[VerifierKey] {
        &self.keys
    }

    /// Believes a key if a pinned key, or the one learned last, endorsed it: whether it did. `index` is that of the entry
    /// which says so.
    pub fn follow(&mut self, index: u64, key: &VerifierKey, endorsement: &[u8]) -> bool {
        let text = log_key_text(key.name(), key);
        let may = self.keys.iter().enumerate();
        let last = self.keys.len().saturating_sub(1);
        let by = may
            .filter(|(place, by)| (*place < self.pinned || *place == last) && by.name() == key.name())
            .map(|(_, by)| by.key())
            .find(|by| by.verify(&text, endorsement).is_ok());
        let Some(by) = by.map(crate::keys::PublicKey::id) else { return false };
        self.ended.push((by, index));
        if !self.keys.contains(key) {
            self.keys.push(key.clone());
        }
        true
    }

    /// Follows the lines of a public tree's file. What cannot be read, or no believed key endorsed, leads nowhere.
    pub fn follow_lines(&mut self, text: &[u8]) {
        let text = text.get(..text.len().min(LOG_KEYS_BYTES_MAX)).unwrap_or_default();
        for line in String::from_utf8_lossy(text).lines() {
            if let [index, vkey, endorsement] = line.split(' ').collect::<Vec<_>>().as_slice()
                && let (Some(index), Ok(key)) = (decode_decimal(index), VerifierKey::parse(vkey))
                && let Some(endorsement) = decode_base64(endorsement)
            {
                self.follow(index, &key, &endorsement);
            }
        }
    }

    /// Follows what entries of a roster say, as far as they can be read. Nothing of them is checked but the endorsements.
    pub fn follow_roster<'a>(&mut self, entries: impl IntoIterator<Item = &'a StreamEntry>) {
        for entry in entries {
            let Ok((_, act)) = Act::open_as(&entry.payload, Kind::KEY_CHANGE) else { continue };
            if entry.leaf.kind == Kind::KEY_CHANGE
                && let Body::KeyChange(change) = &act.body
                && let NewKey::Log { key, endorsement, .. } = &change.key
            {
                self.follow(entry.index, key, endorsement);
            }
        }
    }

    /// The keys of which one must have signed a checkpoint of this size: a key that another took the place of signs for no
    /// tree that holds the entry which says so.
    fn due(&self, size: u64) -> Vec<VerifierKey> {
        let is_over = |key: &VerifierKey| {
            let id = key.key().id();
            self.ended.iter().any(|(ended, index)| *ended == id && *index < size)
        };
        self.keys.iter().filter(|key| !is_over(key)).cloned().collect()
    }

    /// The checkpoint of a note, every line of which is by a log key or a witness, and one by a log key that is due.
    pub fn open(&self, note: &Note, witnesses: &[WitnessKey], origin: &str) -> Result<Checkpoint, NoteError> {
        let checkpoint = Checkpoint::open_known(note, &self.keys, witnesses, origin)?;
        self.check_due(note, &checkpoint)?;
        Ok(checkpoint)
    }

    /// As [`LogKeys::open`]; lines of others are ignored.
    pub fn open_ignoring(&self, note: &Note, origin: &str) -> Result<Checkpoint, NoteError> {
        let checkpoint = Checkpoint::open_of(note, &self.keys, origin)?;
        self.check_due(note, &checkpoint)?;
        Ok(checkpoint)
    }

    fn check_due(&self, note: &Note, checkpoint: &Checkpoint) -> Result<(), NoteError> {
        if self.ended.is_empty() {
            return Ok(());
        }
        match note.verify(&self.due(checkpoint.size)) {
            Err(NoteError::Unsigned(_)) => Err(NoteError::Retired(checkpoint.size)),
            other => other.map(|_| ()),
        }
    }
}

#[cfg(test)]
mod tests;
