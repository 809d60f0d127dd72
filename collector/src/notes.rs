//! Cosigned notes that statements name: what gives a set its lower bound in time by witnesses.
//!
//! A device names the checkpoint it verified by the hash of its note, and only the note itself says when witnesses cosigned
//! it. Two copies are kept, beside sled and not in it, so that losing sled loses none:
//!
//! - [`Recent`]: the newest published notes, whether or not anybody names them, in two files of bounded length;
//! - [`Keeper`]: for each bundle of 256 entries the notes that its statements name, for good.
//!
//! A note is in the journal first. The index never gets ahead of what is durable here, so a journal segment only goes when
//! its notes are in the first copy. A note that is lost makes an interval wider and nothing false.

use std::io;
use std::path::Path;
use std::sync::{MutexGuard, PoisonError};

use evidence::envelope::Envelope;
use evidence::ids::Digest;
use evidence::leaf::Kind;
use evidence::note::NOTE_BYTES_MAX;

use crate::ledger::{Found, Ledger, ReadError};
use crate::log::BUNDLE_LEAVES;
use crate::payload_bundles::path;
use crate::tree::Folder;

mod recent;
#[cfg(test)]
mod tests;

pub(crate) use recent::Recent;

/// Adds a note to a file of them.
fn push(out: &mut Vec<u8>, note: &str) {
    out.extend_from_slice(&u32::try_from(note.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(note.as_bytes());
}

/// The notes of a bundle; none if it has another form.
pub(crate) fn parse(bytes: &[u8]) -> Option<Vec<&str>> {
    let (mut notes, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (note, after) = after.split_at_checked(length).filter(|_| length <= NOTE_BYTES_MAX)?;
        notes.push(std::str::from_utf8(note).ok()?);
        rest = after;
    }
    Some(notes)
}

impl Ledger {
    pub(crate) fn recent_notes(&self) -> MutexGuard<'_, Recent> {
        self.shared.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Size of the checkpoint with this note, if the note is among the newest that were published.
    pub fn cosigned_size(&self, note: &Digest) -> Option<u64> {
        self.recent_notes().size(note)
    }

    /// The cosigned note with this hash, which the statement at `index` names; none if it was not kept. That its lines
    /// hold is the caller's to check.
    pub fn cosigned_note(&self, index: u64, hash: &Digest) -> io::Result<Option<String>> {
        let kept = self.shared.kept_notes.path_bytes(&path(index / BUNDLE_LEAVES))?;
        let kept = kept.as_deref().and_then(parse).unwrap_or_default();
        match kept.into_iter().find(|note| Digest::of(note.as_bytes()) == *hash) {
            Some(note) => Ok(Some(note.to_owned())),
            None => self.recent_notes().note(hash),
        }
    }

    /// The note that the statement at `index` names, as (hash, size of its anchor); none if it is none, or erased.
    fn named_note(&self, index: u64) -> Result<Option<(Digest, u64)>, ReadError> {
        if !matches!(self.leaf(index)?.kind, Kind::ATTESTATION | Kind::GAP) {
            return Ok(None);
        }
        let Found::Entry(entry) = self.find(index)? else { return Ok(None) };
        let statement = Envelope::parse(&entry.payload).ok().and_then(|envelope| envelope.claimed().ok());
        let anchor = statement.and_then(|statement| statement.anchor);
        Ok(anchor.and_then(|anchor| Some((anchor.note?, anchor.size))))
    }
}

/// Writes the notes of each bundle once it is indexed, from entries and [`Recent`]. A bundle whose statements name none is
/// an empty file, so that it is not looked at again.
pub(crate) struct Keeper {
    ledger: Ledger,
    folder: Folder,
    is_prepared: bool,
    /// Number of the bundle to look at next.
    next: u64,
}

impl Keeper {
    /// Goes on at the first bundle that may be missing: what the journal still reaches, and a note here can be named by.
    pub(crate) fn new(ledger: Ledger, root: &Path) -> io::Result<Self> {
        let journal = &ledger.shared.journal;
        let first = journal.first().and_then(|first| journal.first_index(first)).map_err(io::Error::other)?;
        let named = ledger.recent_notes().smallest_size();
        let from = first.unwrap_or(0).max(named.unwrap_or(u64::MAX)).min(indexed(&ledger));
        let next = from / BUNDLE_LEAVES;
        Ok(Self { ledger, folder: Folder::private(root), is_prepared: false, next })
    }

    /// Writes what is due, and syncs it.
    pub(crate) fn step(&mut self) -> io::Result<()> {
        let whole = indexed(&self.ledger) / BUNDLE_LEAVES;
        if self.ledger.recent_notes().is_empty() {
            // Nobody can name what was never published: a log without witnesses has no folder at all.
            self.next = whole;
        }
        while self.next < whole {
            if self.folder.path_bytes(&path(self.next))?.is_none() {
                self.keep(self.next)?;
            }
            self.next += 1;
        }
        self.folder.sync()
    }

    fn keep(&mut self, number: u64) -> io::Result<()> {
        let first = number.saturating_mul(BUNDLE_LEAVES);
        let (mut bytes, mut taken) = (Vec::new(), Vec::new());
        for index in first..first.saturating_add(BUNDLE_LEAVES) {
            let (hash, size) = match self.ledger.named_note(index) {
                Ok(Some(named)) if !taken.contains(&named.0) => named,
                Ok(_) => continue,
                Err(error) => {
                    // `fsck` says what is damaged; the other statements have their notes all the same.
                    tracing::error!(index, %error, "No cosigned note is kept for an entry that cannot be read.");
                    continue;
                }
            };
            let recent = self.ledger.recent_notes();
            if recent.size(&hash) == Some(size)
                && let Some(note) = recent.note(&hash)?
            {
                push(&mut bytes, &note);
                taken.push(hash);
            }
        }
        if !std::mem::replace(&mut self.is_prepared, true) {
            self.folder.prepare()?;
        }
        self.folder.put_path(&path(number), &bytes)
    }
}

/// Entries that the index holds durably.
fn indexed(ledger: &Ledger) -> u64 {
    ledger.shared.tail.read().unwrap_or_else(PoisonError::into_inner).first()
}
