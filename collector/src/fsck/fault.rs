//! What `fsck` finds wrong: the part, the place and the sentence.

use serde::Serialize;

/// The part a fault lies in, and so what helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The bytes of the journal: restore the segment from a copy.
    Journal,
    /// An entry's leaf, payload or place: restore the segment from a copy.
    Entry,
    /// The data keys: restore their newest copy.
    Keys,
    /// A device's chain: the collector admitted what it must not have.
    Chain,
    /// A checkpoint that is not of this log.
    Checkpoint,
    /// The index: it is rebuilt when it is moved away.
    Index,
    /// The public tree: the next start makes it again from the log.
    Tree,
    /// The payload bundles: restore them from a copy, or from the index by `rebuild`.
    Payloads,
    /// The cosigned notes: restore `notes` from a copy; without them sets have fewer lower bounds by witnesses.
    Notes,
    /// The high-water mark outside the log.
    HighWater,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where it belongs.
    pub part: Part,
    /// Journal segment, if it lies in the journal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segment: Option<u64>,
    /// Byte offset in the segment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Index of the entry it concerns, or that would come next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// What is wrong.
    pub what: String,
}

impl Part {
    /// Its name, as docs/OPERATING.md has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::Entry => "entry",
            Self::Keys => "keys",
            Self::Chain => "chain",
            Self::Checkpoint => "checkpoint",
            Self::Index => "index",
            Self::HighWater => "high-water",
            Self::Tree => "tree",
            Self::Payloads => "payloads",
            Self::Notes => "notes",
        }
    }
}

/// One line for people: the part, where, and what is wrong.
impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.part.as_str())?;
        for (name, number) in [("segment", self.segment), ("byte", self.offset), ("entry", self.index)] {
            if let Some(number) = number {
                write!(f, ", {name} {number}")?;
            }
        }
        write!(f, ": {}", self.what)
    }
}
