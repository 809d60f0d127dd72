//! Checks a data directory over all its copies: every record, leaf, commitment, chain, commit and checkpoint is
//! recomputed from the journal, or from the bundles where the journal does not reach back, and index, public tree and
//! payload bundles are compared with that, row by row and file by file. Kept notes are read. Nothing is repaired or changed.
//!
//! Works while no server runs: the caller holds the lock of the data directory.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use evidence::ids::{Digest, InstanceId};
use evidence::leaf::Kind;
use evidence::merkle::empty_root;
use evidence::note::{Checkpoint, Note};

use crate::data_keys::DataKeys;
use crate::datadir::DataDir;
use crate::index::{DeviceLink, EntryError};
use crate::journal::{
    EntryRecord, JournalError, Parsed, Position, Record, SEGMENT_HEADER_BYTES, SegmentBytes, Tail,
    judge_tail, parse_record,
};
use crate::payload_bundles::PayloadBundles;
use crate::row_maker::{MakeError, RowMaker};
use crate::sequencer::high_water;

mod bundles;
mod decode;
mod fault;
mod index_rows;
mod notes;
mod report;
#[cfg(test)]
mod tests;
mod tree;

use decode::{Decoded, decode_all};
pub use fault::{Fault, Part};
use index_rows::IndexWalk;
pub use report::{Options, Report};
use tree::TreeWalk;

/// Faults listed at most; a damaged disk can have one per record.
const FAULTS_MAX: usize = 1000;

/// Checks everything in a data directory. Fails only if the journal's folder cannot be read at all.
pub fn check(dir: &DataDir, options: &Options<'_>) -> Result<Report, JournalError> {
    let (numbers, missing) = match crate::journal::segment_numbers(&dir.journal()) {
        Ok(numbers) => (numbers, None),
        Err(JournalError::Corrupt { segment, offset, what }) => {
            ((0..segment).collect(), Some((segment, offset, what)))
        }
        Err(error) => return Err(error),
    };
    let mut walk = Walk::new(dir, options, numbers.first().copied().unwrap_or(0));
    if DataKeys::exist(&dir.data_keys()) {
        match DataKeys::inspect(&dir.keys(), &dir.data_keys()) {
            Ok(keys) => walk.keys = Some(Arc::new(keys)),
            Err(error) => walk.fault_of(Part::Keys, None, None, error.to_string()),
        }
    }
    if numbers.first().is_some_and(|first| *first > 0) {
        walk.bundles(dir, &numbers);
    }
    for number in &numbers {
        let path = crate::journal::segment_path(&dir.journal(), *number);
        match std::fs::read(&path) {
            Ok(bytes) => walk.segment(&SegmentBytes::new(*number, bytes), Some(number) == numbers.last()),
            Err(error) => {
                let what = format!("{} could not be read: {error}", path.display());
                walk.fault(Part::Journal, Some(Position { segment: *number, offset: 0 }), what);
            }
        }
    }
    if let Some((segment, offset, what)) = missing {
        walk.fault(Part::Journal, Some(Position { segment, offset }), what.to_owned());
    }
    walk.end();
    if let Some(path) = options.high_water {
        walk.high_water(path);
    }
    walk.end_index();
    walk.end_tree();
    walk.notes(dir);
    Ok(walk.report(numbers.len() as u64))
}

/// Records walked at once: enough for every processor, a few megabytes.
const QUEUE_RECORDS: usize = 8192;
/// Entries between two calls of the progress function.
const PROGRESS_ENTRIES: u64 = 4096;

struct Walk<'a> {
    options: &'a Options<'a>,
    maker: RowMaker,
    /// None: there are none, or they cannot be read, and then nothing sealed is opened.
    keys: Option<Arc<DataKeys>>,
    /// Records of the journal that count and were not walked yet.
    queue: Vec<(Position, Record)>,
    /// Instance to next sequence and hash of its newest statement.
    devices: HashMap<InstanceId, (u64, Digest)>,
    index: IndexWalk,
    tree: TreeWalk,
    payloads: PayloadBundles,
    /// Entries below this came from bundles and may be in the journal once more.
    bundled: u64,
    /// Sizes whose roots are wanted when they are passed: checkpoints of the journal may be older than its first entry.
    passing: BTreeSet<u64>,
    /// Those roots.
    passed: HashMap<u64, Digest>,
    /// False once an entry of the journal was met.
    before_journal: bool,
    sealed_size: u64,
    sealed_root: Digest,
    roots: HashMap<u64, Digest>,
    /// False once an entry is missing or out of place: sizes and roots after it say nothing new.
    whole: bool,
    /// End of the last seal.
    end: Position,
    continued_to: Option<u64>,
    report: Report,
}

impl<'a> Walk<'a> {
    fn new(dir: &DataDir, options: &'a Options<'a>, first_segment: u64) -> Self {
        let maker = RowMaker::remembering();
        let root = maker.index().root();
        let report = Report {
            sound: false,
            size: 0,
            root: String::new(),
            segments: 0,
            entries: 0,
            erased: 0,
            commits: 0,
            checkpoints: 0,
            signatures_checked: !options.log_keys.is_empty(),
            torn_bytes: 0,
            journal_from: 0,
            index_rows: 0,
            index_size: 0,
            payload_bundles: 0,
            notes: 0,
            tree_size: 0,
            tree_files: 0,
            faults: Vec::new(),
            faults_not_listed: 0,
        };
        Self {
            options,
            maker,
            keys: None,
            queue: Vec::new(),
            devices: HashMap::new(),
            index: IndexWalk::new(dir, options.epoch_leaves),
            tree: TreeWalk::new(dir, |note| read_checkpoint(options, note)),
            payloads: PayloadBundles::new(&dir.payloads()),
            bundled: 0,
            passing: BTreeSet::new(),
            passed: HashMap::new(),
            before_journal: true,
            sealed_size: 0,
            sealed_root: root,
            roots: HashMap::new(),
            whole: true,
            end: Position { segment: 0, offset: SEGMENT_HEADER_BYTES },
            continued_to: Some(first_segment),
            report,
        }
    }

    fn fault(&mut self, part: Part, at: Option<Position>, what: String) {
        let next = self.maker.index().size();
        self.fault_of(part, at, Some(next), what);
    }

    fn fault_of(&mut self, part: Part, at: Option<Position>, index: Option<u64>, what: String) {
        if self.report.faults.len() >= FAULTS_MAX {
            self.report.faults_not_listed += 1;
            return;
        }
        let (segment, offset) = (at.map(|at| at.segment), at.map(|at| at.offset));
        self.report.faults.push(Fault { part, segment, offset, index, what });
    }

    fn segment(&mut self, segment: &SegmentBytes, is_last: bool) {
        let number = segment.number();
        let position = |offset: usize| Position { segment: number, offset: offset as u64 };
        if let Err(error) = crate::journal::check_segment_header(segment) {
            self.fault(Part::Journal, Some(position(0)), error.to_string());
        }
        if self.continued_to.take() != Some(number) {
            let what = "the segment before this one does not end by naming it".to_owned();
            // An empty segment is what an interrupted roll-over leaves.
            if segment.from(HEADER).iter().any(|byte| *byte != 0) {
                self.fault(Part::Journal, Some(position(0)), what);
            }
        }
        let (mut at, mut sealed_end) = (HEADER, HEADER);
        // Records count once their group is sealed.
        let mut group = Vec::new();
        loop {
            match parse_record(segment.from(at)) {
                Parsed::Record(record, length) => {
                    let is_seal = record.is_seal();
                    group.push((position(at), record));
                    at += length;
                    if is_seal {
                        sealed_end = at;
                        self.end = position(at);
                        self.records(&mut group);
                    }
                }
                Parsed::End | Parsed::Bad(_) => match judge_tail(segment.from(0), sealed_end) {
                    Ok(Tail::Clean) => break,
                    Ok(Tail::Torn { from, to }) if is_last => {
                        self.report.torn_bytes = to.saturating_sub(from);
                        break;
                    }
                    Ok(Tail::Torn { from, .. }) => {
                        self.walk_queue();
                        let offset = usize::try_from(from).unwrap_or(at);
                        self.fault(
                            Part::Journal,
                            Some(position(offset)),
                            "the segment ends too early".to_owned(),
                        );
                        break;
                    }
                    Err((offset, what)) => {
                        self.records(&mut group);
                        self.walk_queue();
                        self.whole = false;
                        let offset = usize::try_from(offset).unwrap_or(at);
                        self.fault(Part::Journal, Some(position(offset)), what.to_owned());
                        let Some(next) = next_record(segment, offset.max(at) + 1) else { break };
                        (at, sealed_end) = (next, next);
                    }
                },
            }
        }
        self.walk_queue();
    }

    fn records(&mut self, group: &mut Vec<(Position, Record)>) {
        self.queue.append(group);
        if self.queue.len() >= QUEUE_RECORDS {
            self.walk_queue();
        }
    }

    /// Walks the records that wait: what is asked of each by itself on all processors, the rest in order.
    fn walk_queue(&mut self) {
        let queue = std::mem::take(&mut self.queue);
        let entries = queue.iter().map(|(_, record)| match record {
            Record::Entry(entry) if entry.index >= self.bundled => Some(entry),
            _ => None,
        });
        let decoded = decode_all(self.keys.as_deref(), &entries.collect::<Vec<_>>());
        for ((at, record), decoded) in queue.into_iter().zip(decoded) {
            self.record(at, record, decoded);
        }
    }

    fn record(&mut self, at: Position, record: Record, decoded: Option<Decoded>) {
        match record {
            Record::Entry(entry) => {
                if std::mem::take(&mut self.before_journal) {
                    self.report.journal_from = entry.index;
                }
                if let Some(decoded) = decoded {
                    self.report.entries += 1;
                    self.index.position(entry.index, at);
                    self.entry(Some(at), entry, decoded);
                }
            }
            Record::Commit { size, root } => {
                self.report.commits += 1;
                self.commit(at, size, Digest(root));
            }
            Record::Checkpoint { note } => {
                self.report.checkpoints += 1;
                self.checkpoint(at, &note);
            }
            Record::Continued { next } => self.continued_to = Some(next),
        }
    }

    fn entry(&mut self, at: Option<Position>, entry: EntryRecord, decoded: Decoded) {
        let EntryRecord { index, leaf: bytes, codec, stored } = entry;
        if index != self.maker.index().size() {
            self.whole = false;
            let what = format!("entry {index} lies where {} belongs", self.maker.index().size());
            self.fault(Part::Entry, at, what);
        }
        let (leaf, link, erased, unread) = match decoded {
            Decoded::Entry { leaf, link, erased, unread } => (leaf, link, erased, unread),
            Decoded::Form(what) => {
                self.whole = false;
                return self.fault_of(Part::Entry, at, Some(index), what);
            }
        };
        self.report.erased += u64::from(erased);
        if let Some(what) = &unread {
            self.fault_of(Part::Entry, at, Some(index), what.clone());
        }
        if index == 0 && leaf.kind != Kind::GENESIS {
            self.fault_of(Part::Entry, at, Some(0), "the first entry is not the genesis".to_owned());
        }
        let link = match link {
            Ok(link) => link,
            Err(EntryError(what)) => {
                self.fault_of(Part::Entry, at, Some(index), what.to_owned());
                None
            }
        };
        if let Some(link) = link {
            self.device(at, index, &link, erased || unread.is_some());
        }
        if self.whole {
            self.tree.leaf(&bytes);
        }
        let nothing = |_: &InstanceId| Ok(None);
        if let Err(error) = self.maker.add(&leaf, bytes, (codec, &stored), link, &nothing) {
            self.whole = false;
            let MakeError::Entry(EntryError(what)) = error else { return };
            return self.fault_of(Part::Entry, at, Some(index), what.to_owned());
        }
        let size = self.maker.index().size();
        if self.passing.remove(&size) {
            self.passed.insert(size, self.maker.index().root());
        }
        if let Some(progress) = self.options.progress.filter(|_| size.is_multiple_of(PROGRESS_ENTRIES)) {
            progress(size);
        }
        if self.whole && self.index.is_boundary(size) {
            self.step();
        }
    }

    /// `unread`: its payload is gone, and with it what it said about the statement before it.
    fn device(&mut self, at: Option<Position>, index: u64, link: &DeviceLink, unread: bool) {
        let known = self.devices.get(&link.instance).copied();
        let (next, last) = known.unwrap_or((0, Digest::ZERO));
        if unread {
            if link.sequence < next {
                let what = format!("statement {} of {} comes again", link.sequence, link.instance);
                self.fault_of(Part::Chain, at, Some(index), what);
            }
        } else if link.first != next {
            let what = format!("statement {} of {} follows sequence {next}", link.first, link.instance);
            self.fault_of(Part::Chain, at, Some(index), what);
        } else if link.previous != last {
            let what =
                format!("statement {} of {} names another statement before it", link.sequence, link.instance);
            self.fault_of(Part::Chain, at, Some(index), what);
        }
        self.devices.insert(link.instance, (link.sequence.saturating_add(1), link.hash));
    }

    fn commit(&mut self, at: Position, size: u64, root: Digest) {
        if size < self.bundled {
            return;
        }
        if size != self.maker.index().size() || root != self.maker.index().root() {
            // After a missing entry every commit differs; the first fault has said so.
            if self.whole {
                let what = format!("the commit of {size} entries states another root than they have");
                self.fault_of(Part::Entry, Some(at), None, what);
            }
            self.whole = false;
        }
        (self.sealed_size, self.sealed_root) = (self.maker.index().size(), self.maker.index().root());
    }

    fn checkpoint(&mut self, at: Position, note: &[u8]) {
        let fault = |walk: &mut Self, what: String| walk.fault_of(Part::Checkpoint, Some(at), None, what);
        let checkpoint = match read_checkpoint(self.options, note) {
            Ok(checkpoint) => checkpoint,
            Err(what) => return fault(self, what),
        };
        self.index.checkpoint(&checkpoint, at, note);
        let Checkpoint { size, root, .. } = checkpoint;
        // The second record of a checkpoint, with cosignatures: entries may have come in while witnesses were asked.
        if self.roots.get(&size) == Some(&root) {
            return;
        }
        self.roots.insert(size, root);
        if size < self.bundled {
            if self.passed.get(&size).is_some_and(|passed| *passed != root) {
                fault(
                    self,
                    format!("the checkpoint of {size} entries is not of the first entries of this log"),
                );
            }
            return;
        }
        if size != self.sealed_size || root != self.sealed_root {
            fault(self, format!("the checkpoint of {size} entries is not of the entries before it"));
        }
    }

    /// What can only be said once everything was read.
    fn end(&mut self) {
        if let Some(segment) = self.continued_to.take().filter(|_| self.report.entries > 0) {
            let what = "the journal says that this segment follows, and it is missing".to_owned();
            self.fault(Part::Journal, Some(Position { segment, offset: 0 }), what);
        }
        if self.sealed_size == 0 {
            self.fault(Part::Entry, None, "there is no genesis entry: `init` did not finish".to_owned());
        }
    }

    fn high_water(&mut self, path: &std::path::Path) {
        let what = match high_water::read(path) {
            Ok(Some(mark)) if mark.size == 0 && mark.root == empty_root() => return,
            Ok(Some(mark)) if self.roots.get(&mark.size) == Some(&mark.root) => return,
            Ok(Some(mark)) => {
                format!("the published checkpoint of {} entries is not in the journal", mark.size)
            }
            Ok(None) => format!("{} is missing", path.display()),
            Err(error) => format!("{} could not be read: {error}", path.display()),
        };
        self.fault_of(Part::HighWater, None, None, what);
    }

    fn end_tree(&mut self) {
        // After damage of the journal nothing can be said of what was made from it.
        if self.whole {
            let (size, roots) = (self.sealed_size, &self.roots);
            self.tree.end(size, |of| roots.get(&of).copied());
            for what in std::mem::take(&mut self.tree.faults) {
                self.fault_of(Part::Tree, None, None, what);
            }
        }
        (self.report.tree_size, self.report.tree_files) = (self.tree.size(), self.tree.files);
    }

    fn end_index(&mut self) {
        self.report.index_size = self.index.size();
        if !self.whole {
            let what = "not compared, because the journal is damaged".to_owned();
            return self.fault_of(Part::Index, None, None, what);
        }
        self.step();
        let (size, end) = (self.sealed_size, self.end);
        self.index.end(size, end);
        self.report.index_rows = self.index.rows;
        for what in std::mem::take(&mut self.index.faults) {
            self.fault_of(Part::Index, None, None, what);
        }
    }

    fn report(self, segments: u64) -> Report {
        let mut report = self.report;
        report.sound = report.faults.is_empty();
        report.size = self.sealed_size;
        report.root = self.sealed_root.hex();
        report.segments = segments;
        report
    }
}

/// A checkpoint's note, signed by a log key if there is one, and of the origin if that is known.
pub(crate) fn read_checkpoint(options: &Options<'_>, note: &[u8]) -> Result<Checkpoint, String> {
    let checkpoint = if options.log_keys.is_empty() {
        crate::ledger::parse_note(note).map_err(|error| error.to_string())?
    } else {
        let note = Note::parse(note).map_err(|error| error.to_string())?;
        Checkpoint::open(&note, options.log_keys).map_err(|error| error.to_string())?
    };
    match options.origin {
        Some(origin) if origin != checkpoint.origin => {
            Err(format!("its origin is {:?}, expected {origin:?}", checkpoint.origin))
        }
        _ => Ok(checkpoint),
    }
}

/// Offset of the first record of a segment.
#[expect(clippy::cast_possible_truncation, reason = "it is 16")]
const HEADER: usize = SEGMENT_HEADER_BYTES as usize;

/// The next place from which an intact record can be read.
fn next_record(segment: &SegmentBytes, from: usize) -> Option<usize> {
    let length = segment.from(0).len();
    (from..length).find(|at| matches!(parse_record(segment.from(*at)), Parsed::Record(..)))
}
