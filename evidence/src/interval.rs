//! When a statement was signed, as far as others than its signer vouch for it. docs/FORMAT.md section 15.
//!
//! A statement is younger than what it names and nobody could have known before, and older than the first tree that
//! holds it. Whose clock says so is part of every bound. Nothing here tells when a fact was true: only when it was signed.

use std::fmt;

use crate::time::{DAY_MS, Timestamp};
use crate::witness_policy::WitnessPolicy;

#[cfg(test)]
mod tests;

/// How far clocks may contradict each other before one of them is wrong, ms: a collector stops signing at a fifth of it.
pub const SKEW_MAX_MS: u64 = 300_000;
/// Last second of the year 9999. A cosignature of a later one tells no time.
const SECONDS_MAX: u64 = 253_402_300_799;

/// Whose clocks a bound rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clocks {
    /// Of these witnesses, a quorum of the trust file's policy, by its names and in its order.
    Witnesses(Vec<String>),
    /// Of the auditor, who committed to a nonce before.
    Auditor,
    /// Of the collector, who may write what it likes.
    Log,
}

impl fmt::Display for Clocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Witnesses(names) => {
                let (count, word) = (names.len(), if names.len() == 1 { "witness" } else { "witnesses" });
                write!(f, "{count} {word}: {}", names.join(", "))
            }
            Self::Auditor => f.write_str("auditor's clock"),
            Self::Log => f.write_str("log's clock"),
        }
    }
}

/// One end of an interval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The time.
    pub at: Timestamp,
    /// Whose it is.
    pub clocks: Clocks,
}

/// When a statement was signed. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interval {
    /// Not before; none if nothing is known.
    pub not_before: Option<Bound>,
    /// Not after.
    pub not_after: Bound,
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Printed seconds never make an interval narrower.
        let after = Timestamp(self.not_after.at.ms().saturating_add(999));
        match &self.not_before {
            Some(before) => write!(f, "between {} ({}) and ", seconds(before.at), before.clocks)?,
            None => f.write_str("not before: unknown, not after ")?,
        }
        write!(f, "{} ({})", seconds(after), self.not_after.clocks)
    }
}

/// `YYYY-MM-DD hh:mm:ss`, rounded down.
fn seconds(at: Timestamp) -> String {
    if at.ms() / 1000 > SECONDS_MAX {
        return "the end of 9999".into();
    }
    let rest = at.ms() % DAY_MS / 1000;
    format!("{} {:02}:{:02}:{:02}", at.day(), rest / 3600, rest / 60 % 60, rest % 60)
}

/// A time that a quorum of witnesses stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witnessed {
    /// Unix seconds.
    pub seconds: u64,
    /// Which witnesses say so: names of the policy, in its order.
    pub witnesses: Vec<String>,
}

/// The first second by which a whole quorum had cosigned; none if it never did. If one witness of any quorum is honest,
/// what was cosigned existed by then. More cosignatures make it earlier, never later.
pub fn cosigned_by(policy: &WitnessPolicy, cosigned: &[(String, u64)]) -> Option<Witnessed> {
    at_quorum(policy, cosigned, |seconds, bound| seconds <= bound, |times| times.sort_unstable())
}

/// The last second since which a whole quorum cosigned; none if it never did. If one witness of any quorum is honest, the
/// cosignatures were not all there before. More cosignatures make it later, never earlier.
pub fn cosigned_since(policy: &WitnessPolicy, cosigned: &[(String, u64)]) -> Option<Witnessed> {
    at_quorum(
        policy,
        cosigned,
        |seconds, bound| seconds >= bound,
        |times| times.sort_unstable_by(|a, b| b.cmp(a)),
    )
}

fn at_quorum(
    policy: &WitnessPolicy,
    cosigned: &[(String, u64)],
    within: impl Fn(u64, u64) -> bool,
    order: impl Fn(&mut Vec<u64>),
) -> Option<Witnessed> {
    let told: Vec<&(String, u64)> = cosigned.iter().filter(|(_, seconds)| *seconds <= SECONDS_MAX).collect();
    let mut times: Vec<u64> = told.iter().map(|(_, seconds)| *seconds).collect();
    order(&mut times);
    times.into_iter().find_map(|bound| {
        let names: Vec<&str> =
            told.iter().filter(|(_, s)| within(*s, bound)).map(|(name, _)| name.as_str()).collect();
        let witnesses = || names.iter().map(|name| (*name).to_owned()).collect();
        policy.is_quorum(&names).then(|| Witnessed { seconds: bound, witnesses: witnesses() })
    })
}

/// What a set shows about the time of one statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks {
    /// Its leaf's.
    pub received: Timestamp,
    /// Time in this log is made up: witnesses live in another.
    pub simulated: bool,
    /// Since when the note that it names by its hash was cosigned.
    pub anchored: Option<Witnessed>,
    /// By when a tree that holds it was cosigned.
    pub covered: Option<Witnessed>,
    /// When the auditor says to have made the commitment that the anchor's tree holds.
    pub committed: Option<Timestamp>,
    /// The leaf's receipt of the newest entry shown that the anchor's tree holds.
    pub earlier: Option<Timestamp>,
}

/// Clocks that cannot all be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// Cosigned in a tree before what it names was cosigned.
    #[error("witnesses cosigned its anchor more than 300 s after they cosigned a tree that holds it")]
    Witnesses,
    /// The log says it came before what it names was cosigned.
    #[error("the log says to have received it more than 300 s before witnesses cosigned its anchor")]
    ReceivedEarly,
    /// The log says it came after a tree with it was cosigned.
    #[error("the log says to have received it more than 300 s after witnesses cosigned a tree that holds it")]
    ReceivedLate,
}

impl Marks {
    /// The interval, by the best clocks there are: witnesses' before the auditor's before the log's. Where two of them
    /// cross by no more than [`SKEW_MAX_MS`], it spans both.
    pub fn interval(&self) -> Result<Interval, Contradiction> {
        let witnessed = |mark: &Option<Witnessed>, more: u64| {
            let known = |mark: &&Witnessed| !self.simulated && mark.seconds <= SECONDS_MAX;
            let mark = mark.as_ref().filter(known)?;
            let at = Timestamp(mark.seconds.saturating_add(more).saturating_mul(1000));
            Some(Bound { at, clocks: Clocks::Witnesses(mark.witnesses.clone()) })
        };
        // A signed second may have been signed at its very end.
        let (since, by) = (witnessed(&self.anchored, 0), witnessed(&self.covered, 1));
        let beyond = |late: Timestamp, early: Timestamp| late.ms() > early.ms().saturating_add(SKEW_MAX_MS);
        if let (Some(since), Some(by)) = (&since, &by)
            && beyond(since.at, by.at)
        {
            return Err(Contradiction::Witnesses);
        }
        if since.as_ref().is_some_and(|since| beyond(since.at, self.received)) {
            return Err(Contradiction::ReceivedEarly);
        }
        if by.as_ref().is_some_and(|by| beyond(self.received, by.at)) {
            return Err(Contradiction::ReceivedLate);
        }
        let mut not_after = by.unwrap_or(Bound { at: self.received, clocks: Clocks::Log });
        let claimed = |at: Option<Timestamp>, clocks| {
            at.filter(|at| *at <= not_after.at).map(|at| Bound { at, clocks })
        };
        let mut not_before = since
            .or_else(|| claimed(self.committed, Clocks::Auditor))
            .or_else(|| claimed(self.earlier, Clocks::Log));
        if let Some(before) = &mut not_before
            && before.at > not_after.at
        {
            std::mem::swap(before, &mut not_after);
        }
        Ok(Interval { not_before, not_after })
    }
}
