//! Acts of the audit stream, but for the plan.

use super::roster::{checkpoint_of, checkpoint_value, optional};
use crate::ids::{Digest, Name};
use crate::json::{self, JsonError, Members, Value, object};
use crate::leaf::Stream;
use crate::note::Checkpoint;

/// Where a stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// How many entries it has.
    pub entries: u64,
    /// Leaf hash of the newest; zeros when empty.
    pub last_leaf_hash: Digest,
}

impl Default for Head {
    fn default() -> Self {
        Self { entries: 0, last_leaf_hash: Digest::ZERO }
    }
}

/// The heads of streams 1 to 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heads {
    heads: [Head; 4],
}

impl Heads {
    /// The head of a chained stream; that of stream 0 is always empty.
    pub fn of(&self, stream: Stream) -> Head {
        Stream::CHAINED
            .iter()
            .position(|s| *s == stream)
            .and_then(|position| self.heads.get(position))
            .copied()
            .unwrap_or_default()
    }

    /// Replaces the head of a chained stream.
    pub fn set(&mut self, stream: Stream, head: Head) {
        if let Some(slot) = Stream::CHAINED
            .iter()
            .position(|s| *s == stream)
            .and_then(|position| self.heads.get_mut(position))
        {
            *slot = head;
        }
    }

    fn value(&self) -> Value {
        Value::Array(
            Stream::CHAINED
                .iter()
                .zip(&self.heads)
                .map(|(stream, head)| {
                    object([
                        ("stream", json::count(stream.number().into())),
                        ("entries", json::count(head.entries)),
                        ("last_leaf_hash", json::hex(&head.last_leaf_hash)),
                    ])
                })
                .collect(),
        )
    }

    fn take(members: &mut Members) -> Result<Self, JsonError> {
        let items = members.objects("heads")?;
        if items.len() != Stream::CHAINED.len() {
            return Err(members.problem("heads", "must name streams 1 to 4"));
        }
        let mut heads = Self::default();
        for (mut item, stream) in items.into_iter().zip(Stream::CHAINED) {
            if item.count("stream")? != u64::from(stream.number()) {
                return Err(item.problem("stream", "must ascend from 1 to 4"));
            }
            let head =
                Head { entries: item.count("entries")?, last_leaf_hash: item.digest("last_leaf_hash")? };
            if (head.entries == 0) != (head.last_leaf_hash == Digest::ZERO) {
                return Err(
                    item.problem("last_leaf_hash", "must be zeros for an empty stream and only there")
                );
            }
            item.finish()?;
            heads.set(stream, head);
        }
        Ok(heads)
    }
}

/// The auditor commits to a nonce and pins a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commitment {
    /// The plan.
    pub plan_hash: Digest,
    /// SHA-256 of label and nonce.
    pub commitment: Digest,
    /// The checkpoint the auditor pinned then. There is no `predecessor`: succession is a later release.
    pub checkpoint: Checkpoint,
}

impl Commitment {
    pub(super) fn take(members: &mut Members) -> Result<Self, JsonError> {
        if !members.array("predecessor")?.is_empty() {
            return Err(members.problem("predecessor", "must be empty in this release"));
        }
        Ok(Self {
            plan_hash: members.digest("plan_hash")?,
            commitment: members.digest("commitment")?,
            checkpoint: checkpoint_of(members.object("checkpoint")?)?,
        })
    }

    pub(super) fn members(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("plan_hash", json::hex(&self.plan_hash)),
            ("commitment", json::hex(&self.commitment)),
            ("checkpoint", checkpoint_value(&self.checkpoint)),
            ("predecessor", optional(None)),
        ]
    }
}

/// One control's frozen population.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrozenPopulation {
    /// The control.
    pub control: Name,
    /// Units.
    pub count: u64,
    /// SHA-256 of the population file.
    pub sha256: Digest,
}

/// The frame is frozen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freeze {
    /// The plan.
    pub plan_hash: Digest,
    /// Entries of the roster the frame was computed from.
    pub roster_entries: u64,
    /// Leaf hash of the last of them.
    pub roster_head: Digest,
    /// By control, ascending.
    pub populations: Vec<FrozenPopulation>,
    /// The streams just before this entry.
    pub heads: Heads,
}

impl Freeze {
    pub(super) fn take(members: &mut Members) -> Result<Self, JsonError> {
        let populations = members
            .objects("populations")?
            .into_iter()
            .map(|mut item| {
                let population = FrozenPopulation {
                    control: item.parsed("control")?,
                    count: item.count("count")?,
                    sha256: item.digest("sha256")?,
                };
                item.finish()?;
                Ok(population)
            })
            .collect::<Result<Vec<_>, JsonError>>()?;
        Ok(Self {
            plan_hash: members.digest("plan_hash")?,
            roster_entries: members.count("roster_entries")?,
            roster_head: members.digest("roster_head")?,
            populations,
            heads: Heads::take(members)?,
        })
    }

    pub(super) fn members(&self) -> Vec<(&'static str, Value)> {
        let populations = self
            .populations
            .iter()
            .map(|population| {
                object([
                    ("control", json::text(population.control.as_str())),
                    ("count", json::count(population.count)),
                    ("sha256", json::hex(&population.sha256)),
                ])
            })
            .collect();
        vec![
            ("plan_hash", json::hex(&self.plan_hash)),
            ("roster_entries", json::count(self.roster_entries)),
            ("roster_head", json::hex(&self.roster_head)),
            ("populations", Value::Array(populations)),
            ("heads", self.heads.value()),
        ]
    }
}

/// The auditor's nonce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reveal {
    /// The plan.
    pub plan_hash: Digest,
    /// 32 bytes.
    pub nonce: Digest,
}

impl Reveal {
    pub(super) fn take(members: &mut Members) -> Result<Self, JsonError> {
        Ok(Self { plan_hash: members.digest("plan_hash")?, nonce: members.digest("nonce")? })
    }

    pub(super) fn members(&self) -> Vec<(&'static str, Value)> {
        vec![("plan_hash", json::hex(&self.plan_hash)), ("nonce", json::hex(&self.nonce))]
    }
}

/// One control's draw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrawnControl {
    /// The control.
    pub control: Name,
    /// The seed.
    pub seed: Digest,
    /// SHA-256 of `draw/<control>.json`.
    pub draw_sha256: Digest,
}

/// The draw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrawAct {
    /// The plan.
    pub plan_hash: Digest,
    /// By control, ascending.
    pub draws: Vec<DrawnControl>,
}

impl DrawAct {
    pub(super) fn take(members: &mut Members) -> Result<Self, JsonError> {
        let draws = members
            .objects("draws")?
            .into_iter()
            .map(|mut item| {
                let draw = DrawnControl {
                    control: item.parsed("control")?,
                    seed: item.digest("seed")?,
                    draw_sha256: item.digest("draw_sha256")?,
                };
                item.finish()?;
                Ok(draw)
            })
            .collect::<Result<Vec<_>, JsonError>>()?;
        Ok(Self { plan_hash: members.digest("plan_hash")?, draws })
    }

    pub(super) fn members(&self) -> Vec<(&'static str, Value)> {
        let draws = self
            .draws
            .iter()
            .map(|draw| {
                object([
                    ("control", json::text(draw.control.as_str())),
                    ("seed", json::hex(&draw.seed)),
                    ("draw_sha256", json::hex(&draw.draw_sha256)),
                ])
            })
            .collect();
        vec![("plan_hash", json::hex(&self.plan_hash)), ("draws", Value::Array(draws))]
    }
}

/// Size and root of this log's tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeHead {
    /// Leaves.
    pub size: u64,
    /// RFC 6962 root.
    pub root: Digest,
}

impl TreeHead {
    /// {root, size}
    pub fn value(&self) -> Value {
        object([("size", json::count(self.size)), ("root", json::hex(&self.root))])
    }

    /// Reads {root, size}.
    pub fn of(mut members: Members) -> Result<Self, JsonError> {
        let head = Self { size: members.count("size")?, root: members.digest("root")? };
        members.finish()?;
        Ok(head)
    }
}

/// A set was exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// The plan.
    pub plan_hash: Digest,
    /// SHA-256 of MANIFEST.json.
    pub manifest_sha256: Digest,
    /// SHA-256 of MANIFEST.tsr; zeros without a stamp.
    pub tsr_sha256: Digest,
    /// The set's checkpoint.
    pub checkpoint: TreeHead,
    /// The streams at that checkpoint.
    pub heads: Heads,
}

impl Export {
    pub(super) fn take(members: &mut Members) -> Result<Self, JsonError> {
        Ok(Self {
            plan_hash: members.digest("plan_hash")?,
            manifest_sha256: members.digest("manifest_sha256")?,
            tsr_sha256: members.digest("tsr_sha256")?,
            checkpoint: TreeHead::of(members.object("checkpoint")?)?,
            heads: Heads::take(members)?,
        })
    }

    pub(super) fn members(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("plan_hash", json::hex(&self.plan_hash)),
            ("manifest_sha256", json::hex(&self.manifest_sha256)),
            ("tsr_sha256", json::hex(&self.tsr_sha256)),
            ("checkpoint", self.checkpoint.value()),
            ("heads", self.heads.value()),
        ]
    }
}
