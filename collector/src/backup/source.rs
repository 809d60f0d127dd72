//! What is shipped, read from a data directory: where the log ends, and its bundles from files or journal.
//!
//! With the lock, the log ends at its last commit, made durable as a start does. Beside a running server it ends at the
//! newest signed checkpoint in the journal: what that covers was synced before it was signed, and what follows it may
//! not be. The public tree's own checkpoint is older than that, so a journal that ends before it is damaged.

use std::path::PathBuf;
use std::sync::Arc;

use evidence::ids::Digest;
use evidence::merkle::empty_root;
use evidence::note::{Checkpoint, Note, VerifierKey};
use evidence::tiles::{Content, TILE_WIDTH, Tile, push_entry};

use super::BackupError;
use crate::datadir::DataDir;
use crate::journal::{
    EntryRecord, Journal, JournalError, JournalReader, Parsed, Position, Record, SEGMENT_HEADER_BYTES,
    SystemIo, parse_record,
};
use crate::log::BUNDLE_LEAVES;
use crate::payload_bundles::PayloadBundles;
use crate::store::rows;
use crate::tree::Folder;

/// Times a journal is read anew whose first segments go while it is read.
const TRIES: u32 = 5;

/// A checkpoint's note, and what it states.
#[derive(Debug, Clone)]
pub(super) struct Signed {
    pub(super) checkpoint: Checkpoint,
    pub(super) note: Vec<u8>,
}

/// A bundle, whole or the last one.
pub(super) struct Bundle {
    /// As in the public tree.
    pub(super) leaves: Vec<u8>,
    /// As in `payload/`.
    pub(super) payloads: Vec<u8>,
}

/// What the journal says.
struct Walked {
    /// Index of the first entry in it.
    first: Option<u64>,
    /// Where each entry lies, from `first` on.
    positions: Vec<Position>,
    commit: (u64, Digest),
    signed: Option<Vec<u8>>,
    cosigned: Option<Vec<u8>>,
}

/// The log of a data directory.
pub(super) struct Source {
    tree: Folder,
    payloads: PayloadBundles,
    payloads_root: PathBuf,
    reader: JournalReader,
    first: u64,
    positions: Vec<Position>,
    /// Entries to ship.
    pub(super) size: u64,
    /// Root over them, as commit or checkpoint states it.
    pub(super) root: Digest,
    /// The newest checkpoint the log signed.
    pub(super) signed: Signed,
    /// The newest with lines of witnesses.
    pub(super) cosigned: Option<Signed>,
    /// What the public tree shows.
    pub(super) published: Option<Signed>,
}

impl Source {
    /// Finds where the log ends. `segment_bytes` is the length of its journal's segments.
    pub(super) fn open(
        dir: &DataDir,
        segment_bytes: u64,
        log_keys: &[VerifierKey],
    ) -> Result<Self, BackupError> {
        let tree = Folder::new(&dir.tree());
        // Before the journal: it holds at least as much.
        let published = tree.checkpoint().map_err(|source| BackupError::read(&dir.tree(), source))?;
        let published = published.map(|note| open_note(note, log_keys, "the public tree")).transpose()?;
        let (reader, walked) = if dir.is_locked() {
            let (journal, _) = Journal::open(&dir.journal(), segment_bytes, Arc::new(SystemIo))?;
            let reader = journal.reader();
            let mut walked = Walked::new();
            reader.replay(reader.first()?, journal.end(), |at, record| walked.take(at, record))?;
            (reader, walked)
        } else {
            let reader = JournalReader::new(&dir.journal());
            let walked = walk_beside(&reader)?;
            (reader, walked)
        };
        let Walked { first, positions, commit, signed, cosigned } = walked;
        let signed = signed.ok_or(BackupError::Unsigned)?;
        let signed = open_note(signed, log_keys, "the journal")?;
        let cosigned = cosigned.map(|note| open_note(note, log_keys, "the journal")).transpose()?;
        // The journal may have let go of it.
        let shown = published.clone().filter(|shown| is_cosigned(&shown.note));
        let cosigned =
            [cosigned, shown].into_iter().flatten().max_by_key(|cosigned| cosigned.checkpoint.size);
        // A journal without an entry has let go of all of them, and then a checkpoint covers them.
        let (size, root) = if dir.is_locked() && !positions.is_empty() {
            commit
        } else {
            (signed.checkpoint.size, signed.checkpoint.root)
        };
        if published.as_ref().is_some_and(|shown| shown.checkpoint.size > signed.checkpoint.size)
            || signed.checkpoint.size > size
        {
            return Err(BackupError::JournalBehind { size: signed.checkpoint.size.min(size) });
        }
        let payloads_root = dir.payloads();
        let (payloads, first) = (PayloadBundles::new(&payloads_root), first.unwrap_or(size));
        Ok(Self {
            tree,
            payloads,
            payloads_root,
            reader,
            first,
            positions,
            size,
            root,
            signed,
            cosigned,
            published,
        })
    }

    /// Bundle `number` with its first `width` entries: the files where it is full, and the journal for what is not there.
    pub(super) fn bundle(&self, number: u64, width: u16) -> Result<Bundle, BackupError> {
        let [leaves, payloads] = self.files(number, width)?;
        if let (Some(leaves), Some(payloads)) = (&leaves, &payloads) {
            return Ok(Bundle { leaves: leaves.clone(), payloads: payloads.clone() });
        }
        match self.journal_bundle(number, width) {
            Ok(made) => Ok(Bundle {
                leaves: leaves.unwrap_or(made.leaves),
                payloads: payloads.unwrap_or(made.payloads),
            }),
            // Beside a running server a segment may have gone: then the files are there.
            Err(error) => match self.files(number, width)? {
                [Some(leaves), Some(payloads)] => Ok(Bundle { leaves, payloads }),
                _ => Err(error),
            },
        }
    }

    /// Leaves and payloads as files hold them: of full bundles only.
    fn files(&self, number: u64, width: u16) -> Result<[Option<Vec<u8>>; 2], BackupError> {
        let tile = Tile::new(Content::Entries, number, width);
        let Some(tile) = tile.filter(Tile::is_full) else { return Ok([None, None]) };
        let leaves = self.tree.tile(&tile).map_err(|source| BackupError::read(self.tree.root(), source))?;
        let payloads = self.payloads.bytes(number);
        let payloads = payloads.map_err(|source| BackupError::read(&self.payloads_root, source))?;
        Ok([leaves, payloads])
    }

    fn journal_bundle(&self, number: u64, width: u16) -> Result<Bundle, BackupError> {
        let from = number.saturating_mul(BUNDLE_LEAVES);
        let to = from.saturating_add(width.into());
        let nowhere = BackupError::Nowhere { from, to: to.saturating_sub(1) };
        let mut bundle = Bundle { leaves: Vec::new(), payloads: Vec::new() };
        for index in from..to {
            let place = index.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
            let Some(at) = place.and_then(|place| self.positions.get(place)) else { return Err(nowhere) };
            let Record::Entry(EntryRecord { index: found, leaf, codec, stored }) = self.reader.record(*at)?
            else {
                return Err(nowhere);
            };
            if found != index || push_entry(&mut bundle.leaves, &leaf).is_err() {
                return Err(nowhere);
            }
            rows::push_payload(&mut bundle.payloads, codec, &stored);
        }
        Ok(bundle)
    }

    /// Entries of bundle `number` that are shipped.
    pub(super) fn width(&self, number: u64) -> u16 {
        let left = self.size.saturating_sub(number.saturating_mul(BUNDLE_LEAVES));
        u16::try_from(left).unwrap_or(u16::MAX).min(TILE_WIDTH)
    }
}

impl Walked {
    fn new() -> Self {
        let (positions, commit) = (Vec::new(), (0, empty_root()));
        Self { first: None, positions, commit, signed: None, cosigned: None }
    }

    fn take(&mut self, at: Position, record: Record) -> Result<(), BackupError> {
        match record {
            Record::Entry(entry) => {
                let first = *self.first.get_or_insert(entry.index);
                if entry.index != first.saturating_add(self.positions.len() as u64) {
                    let what = "an entry has another index than the one that follows";
                    let (segment, offset) = (at.segment, at.offset);
                    return Err(JournalError::Corrupt { segment, offset, what }.into());
                }
                self.positions.push(at);
            }
            Record::Commit { size, root } => self.commit = (size, Digest(root)),
            Record::Checkpoint { note } if is_cosigned(&note) => self.cosigned = Some(note),
            Record::Checkpoint { note } => self.signed = Some(note),
            Record::Continued { .. } => {}
        }
        Ok(())
    }
}

/// Reads a journal that another process writes.
fn walk_beside(reader: &JournalReader) -> Result<Walked, BackupError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match try_walk_beside(reader) {
            Err(BackupError::Journal(JournalError::Io { source, .. }))
                if source.kind() == std::io::ErrorKind::NotFound && tries < TRIES => {}
            walked => return walked,
        }
    }
}

fn try_walk_beside(reader: &JournalReader) -> Result<Walked, BackupError> {
    let mut walked = Walked::new();
    let mut number = reader.first()?.segment;
    loop {
        let segment = reader.segment(number)?;
        crate::journal::check_segment_header(&segment)?;
        let mut at = usize::try_from(SEGMENT_HEADER_BYTES).unwrap_or(usize::MAX);
        let mut next = None;
        // Where the records end, or the newest one is just being written.
        while let Parsed::Record(record, length) = parse_record(segment.from(at)) {
            if let Record::Continued { next: named } = record {
                next = Some(named);
                break;
            }
            walked.take(Position { segment: number, offset: at as u64 }, record)?;
            at = at.saturating_add(length);
        }
        match next {
            Some(next) => number = next,
            None => return Ok(walked),
        }
    }
}

fn is_cosigned(note: &[u8]) -> bool {
    Note::parse(note).is_ok_and(|note| note.is_cosigned())
}

fn open_note(note: Vec<u8>, log_keys: &[VerifierKey], place: &'static str) -> Result<Signed, BackupError> {
    let refused = |source| BackupError::Checkpoint { place, source };
    let checkpoint = Note::parse(&note)
        .and_then(|parsed| {
            Checkpoint::open_of(&parsed, log_keys, log_keys.last().map(VerifierKey::name).unwrap_or_default())
        })
        .map_err(refused)?;
    Ok(Signed { checkpoint, note })
}
