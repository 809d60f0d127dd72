//! The ceremony's steps that the operations key signs: freeze, draw, export. docs/FORMAT.md section 10.

use std::collections::BTreeMap;
use std::sync::Arc;

use evidence::acts::{Body, DrawAct, DrawnControl, Freeze, FrozenPopulation};
use evidence::authority::{Authority, Ceremony};
use evidence::draw::{DrawRecord, Population};
use evidence::frame::Frame;
use evidence::ids::{Digest, Name};
use evidence::leaf::Stream;

use crate::ledger::Ledger;
use crate::state::{Moment, PutAct, State, StateError};

mod anchors;
mod export;
mod files;
mod unit;

pub use export::export;

/// Entries read from a stream at once.
const PAGE: usize = 1_000;

fn refused(text: impl Into<String>) -> StateError {
    StateError::Refused(text.into())
}

/// Freezes the frame of a committed plan: computed inside the writer from the roster as it is then.
pub async fn freeze(state: &State, plan_hash: Digest) -> Result<PutAct, StateError> {
    state
        .operate(move |moment: &Moment<'_>| {
            let authority = &moment.book.authority;
            let ceremony = authority.ceremony(&plan_hash).ok_or_else(|| {
                format!("no plan {plan_hash} in this log: put it with `tallystick audit plan`")
            })?;
            let plan = &ceremony.plan;
            if ceremony.commitment.is_none() {
                return Err(
                    "the auditor has not committed a nonce: `tallystick audit commit` comes first".into()
                );
            }
            if !plan.partial_day && moment.received < plan.end {
                return Err(format!(
                    "the plan's last day ends at {}: a frame is frozen when its last day is over",
                    plan.end.rfc3339()
                ));
            }
            let populations = plan
                .controls
                .iter()
                .map(|control| {
                    let frame = Frame::of(plan, control, authority.roster(), moment.received);
                    FrozenPopulation {
                        control: control.clone(),
                        count: frame.units.len() as u64,
                        sha256: frame.digest(),
                    }
                })
                .collect();
            let roster = moment.heads.of(Stream::Roster);
            Ok(Body::Freeze(Freeze {
                plan_hash,
                roster_entries: roster.entries,
                roster_head: roster.last_leaf_hash,
                populations,
                heads: moment.heads,
            }))
        })
        .await
}

/// A ceremony that has been revealed, with what its frame was computed from.
pub(crate) struct Revealed {
    pub(crate) plan_hash: Digest,
    pub(crate) ceremony: Ceremony,
    /// Streams 1 to 3 below the freeze.
    pub(crate) frozen: Authority,
}

impl Revealed {
    /// The ceremony of a plan, once its nonce is revealed.
    pub(crate) fn of(state: &State, plan_hash: Digest) -> Result<Self, StateError> {
        let ceremony = {
            let book = state.book();
            book.authority.ceremony(&plan_hash).cloned()
        };
        let ceremony = ceremony.ok_or_else(|| refused(format!("no plan {plan_hash} in this log")))?;
        if ceremony.reveal.is_none() {
            return Err(refused(
                "the auditor has not revealed the nonce: `tallystick audit reveal` comes first",
            ));
        }
        let freeze = ceremony.freeze.as_ref().ok_or_else(|| refused("the frame is not frozen"))?;
        let frozen = authority_below(&state.ledger, state.origin(), freeze.index)?;
        Ok(Self { plan_hash, ceremony, frozen })
    }

    /// The population and the draw of each control.
    pub(crate) fn draws(&self) -> Result<BTreeMap<Name, (Population, DrawRecord)>, StateError> {
        let plan = &self.ceremony.plan;
        let (Some(freeze), Some(reveal)) = (&self.ceremony.freeze, &self.ceremony.reveal) else {
            return Err(refused("the ceremony is not complete"));
        };
        plan.controls
            .iter()
            .map(|control| {
                let frame = Frame::of(plan, control, self.frozen.roster(), freeze.received);
                let population = Population::parse(&frame.population())
                    .map_err(|error| refused(format!("population of {control}: {error}")))?;
                let record = plan.draw(&self.plan_hash, control, &population, &reveal.act.nonce);
                Ok((control.clone(), (population, record)))
            })
            .collect()
    }
}

/// Streams 1 to 3 folded from the entries below an index.
fn authority_below(ledger: &Ledger, origin: &str, below: u64) -> Result<Authority, StateError> {
    let mut indexes = Vec::new();
    for stream in evidence::set::SET_STREAMS {
        indexes.extend(stream_indexes(ledger, stream, below)?);
    }
    indexes.sort_unstable();
    let mut authority = Authority::new(origin);
    for index in indexes {
        let entry = ledger.entry(index)?;
        authority
            .admit(index, entry.leaf.received, entry.leaf.kind, &entry.payload)
            .map_err(|error| refused(format!("entry {index} does not fit the log before it: {error}")))?;
    }
    Ok(authority)
}

/// Leaf indexes of a stream's entries below `below`, ascending.
pub(crate) fn stream_indexes(ledger: &Ledger, stream: Stream, below: u64) -> Result<Vec<u64>, StateError> {
    let mut indexes = Vec::new();
    let mut from = 0;
    loop {
        let page = ledger.stream(stream, from)?;
        let Some((last, _)) = page.last() else { return Ok(indexes) };
        from = last.saturating_add(1);
        let full = page.len() >= PAGE;
        for (_, index) in page {
            if index >= below {
                return Ok(indexes);
            }
            indexes.push(index);
        }
        if !full {
            return Ok(indexes);
        }
    }
}

/// Draws a revealed plan. The reply carries what was drawn, beside the entry.
pub async fn draw(
    state: &Arc<State>,
    plan_hash: Digest,
) -> Result<(PutAct, BTreeMap<Name, DrawRecord>), StateError> {
    let revealed = Revealed::of(state, plan_hash)?;
    let draws: BTreeMap<Name, DrawRecord> =
        revealed.draws()?.into_iter().map(|(control, (_, record))| (control, record)).collect();
    let act = DrawAct {
        plan_hash,
        draws: draws
            .iter()
            .map(|(control, record)| DrawnControl {
                control: control.clone(),
                seed: record.seed.digest(),
                draw_sha256: record.sha256(),
            })
            .collect(),
    };
    let stored = state.operate(move |_| Ok(Body::Draw(act))).await?;
    Ok((stored, draws))
}
