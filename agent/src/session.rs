//! One Submit stream without its socket: messages in, messages out, and the rules about what may be believed.
//!
//! The rules: statements go out in the order of their sequences; an answer counts only for a statement that was
//! sent on this stream and not answered yet; a statement is given back only when a proof verified against the
//! pinned log keys shows the leaf this device computed itself; a checkpoint counts only when it continues the one
//! verified before. Whatever else a collector says costs it the stream and nothing else.

use std::collections::{BTreeMap, VecDeque};

use evidence::leaf::{Leaf, SALT_BYTES, commitment};
use evidence::note::TlogProof;
use evidence::statement::SCHEMA_MAX;
use evidence::time::Timestamp;
use proto::from_agent::Item as Out;
use proto::to_agent::Item as In;

use crate::anchor::{Anchor, AnchorError};
use crate::disk::Disk;
use crate::fleet::Fleet;
use crate::spool::{Kept, Receipt, Spool, SpoolError};

/// Most envelopes sent and not answered yet.
pub const WINDOW_STATEMENTS_MAX: usize = 32;
/// Most bytes sent and not answered yet: a quarter of the collector's stream window for 16 devices on one host.
pub const WINDOW_BYTES_MAX: usize = 256 * 1024;
/// Most sequences a Hello names as stored and not proved; the rest is asked for on a later stream.
pub const HELLO_UNPROVED_MAX: usize = 4096;
/// Most times in a row, with nothing stored between, a collector may ask to begin again on one stream.
pub const REWINDS_MAX: u32 = 16;
/// Longest pause a collector can ask for, in milliseconds: 15 minutes.
pub const PAUSE_MS_MAX: u32 = 15 * 60 * 1000;

/// Why a stream was given up.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The collector broke the order of messages.
    #[error("the collector broke the protocol: {0}")]
    Protocol(&'static str),
    /// The collector only knows older statements.
    #[error("the collector admits statements up to schema {found}, this agent writes schema {SCHEMA_MAX}")]
    Schema {
        /// Newest schema of the collector.
        found: u32,
    },
    /// The collector knows statements of this instance that this device does not.
    #[error(
        "the collector expects statement {collector}, but this device has made only {device}: its disk was \
         restored from a copy, or another machine uses its identity. Enrol again with a new token"
    )]
    Behind {
        /// What the collector expects.
        collector: u64,
        /// Next sequence of this device.
        device: u64,
    },
    /// The collector forgot statements it had proved.
    #[error(
        "the collector expects statement {collector}, but proved all below {device}: its log was rolled back"
    )]
    RolledBack {
        /// What the collector expects.
        collector: u64,
        /// Lowest sequence not proved.
        device: u64,
    },
    /// A checkpoint that does not hold.
    #[error("a checkpoint does not hold")]
    Checkpoint(#[from] AnchorError),
    /// The log shows different trees.
    #[error("the log signed two different trees of size {size}: it is forked")]
    Forked {
        /// The size.
        size: u64,
    },
    /// The spool.
    #[error("the spool failed")]
    Spool(#[from] SpoolError),
}

/// What the driver must know or do after a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Sequence is in the collector's log at this index, not proved yet.
    Stored(u64, Receipt),
    /// Sequence was verified to be in the log, and was given back.
    Proved(u64),
    /// A proof did not hold: the statement stays and its answer is asked for again.
    ProofRefused(u64, String),
    /// The anchor grew to this size.
    Anchored(u64),
    /// A statement is not admitted. Nothing more is sent on this stream.
    Refused {
        /// Its sequence.
        sequence: u64,
        /// Why.
        reason: proto::RefusedReason,
        /// In words.
        detail: String,
    },
    /// Send nothing for so many milliseconds.
    Pause(u32),
    /// A fleet configuration that is in the log.
    Configuration(Box<Fleet>),
    /// A fleet configuration that is not shown to be in the log. It is not obeyed.
    ConfigurationRefused(String),
    /// The collector's judgement, for the person at the machine.
    Posture(proto::Posture),
    /// A new certificate is wanted within so many seconds.
    Renew(u32),
}

/// What there is to send.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// This message.
    Send(Out),
    /// First a `destroyed` gap beginning at this sequence must be signed and spooled.
    Gap(u64),
    /// Nothing now.
    Idle,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Silent,
    Greeted,
    Open {
        cursor: u64,
        expected: u64,
    },
    /// A statement was refused, or nothing may be sent any more.
    Stopped,
}

/// The state of one stream.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    /// Sent and not answered, in order, with their length in bytes.
    in_flight: VecDeque<(u64, usize)>,
    rewinds: u32,
    /// Where the collector wants to begin again, once everything in flight is answered.
    rewind_to: Option<u64>,
    /// Sequences whose proof did not hold once on this stream.
    doubted: BTreeMap<u64, u32>,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            phase: Phase::Silent,
            in_flight: VecDeque::new(),
            rewinds: 0,
            rewind_to: None,
            doubted: BTreeMap::new(),
        }
    }
}

impl Session {
    /// The next thing to send. Call until [`Next::Idle`], after every message and whenever the spool grew.
    pub fn next<D: Disk>(&mut self, spool: &Spool<D>, instance: &[u8; 16], anchor: &Anchor) -> Next {
        match self.phase {
            Phase::Silent => {
                self.phase = Phase::Greeted;
                let stored = spool.kept().iter().filter(|(_, kept)| kept.receipt.is_some());
                Next::Send(Out::Hello(proto::Hello {
                    instance: instance.to_vec(),
                    anchor_size: anchor.size(),
                    unproved: stored.map(|(sequence, _)| *sequence).take(HELLO_UNPROVED_MAX).collect(),
                }))
            }
            Phase::Greeted | Phase::Stopped => Next::Idle,
            Phase::Open { cursor, expected } => self.next_envelope(spool, cursor, expected),
        }
    }

    fn next_envelope<D: Disk>(&mut self, spool: &Spool<D>, mut cursor: u64, expected: u64) -> Next {
        // Whatever is in flight is answered first: only then is it clear from where to begin again.
        if self.rewind_to.is_some() {
            return Next::Idle;
        }
        let in_flight: usize = self.in_flight.iter().map(|(_, bytes)| *bytes).sum();
        if self.in_flight.len() >= WINDOW_STATEMENTS_MAX || in_flight >= WINDOW_BYTES_MAX {
            return Next::Idle;
        }
        loop {
            if let Some(kept) = spool.kept().get(&cursor) {
                // What is answered and still expected by nobody needs no second sending.
                if kept.receipt.is_some() && cursor < expected && !self.doubted.contains_key(&cursor) {
                    cursor = cursor.saturating_add(1);
                    continue;
                }
                self.in_flight.push_back((cursor, kept.envelope.len()));
                self.phase = Phase::Open { cursor: cursor.saturating_add(1), expected };
                return Next::Send(Out::Envelope(kept.envelope.clone()));
            }
            if spool.lost().contains(&cursor) && cursor >= expected {
                // Everything before must be answered: only then is this what the collector expects.
                return if self.in_flight.is_empty() { Next::Gap(cursor) } else { Next::Idle };
            }
            if cursor >= spool.next_sequence() {
                self.phase = Phase::Open { cursor, expected };
                return Next::Idle;
            }
            cursor = cursor.saturating_add(1);
        }
    }

    /// After a gap statement was spooled: what it named is not sent any more.
    pub fn resume_from(&mut self, sequence: u64) {
        if let Phase::Open { expected, .. } = self.phase {
            self.phase = Phase::Open { cursor: sequence, expected };
        }
    }

    /// Whether something was sent that is not answered yet.
    pub fn awaits_answer(&self) -> bool {
        matches!(self.phase, Phase::Silent | Phase::Greeted) || !self.in_flight.is_empty()
    }

    /// Whether the collector has greeted.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
    }

    /// Takes one message.
    pub fn receive<D: Disk>(
        &mut self,
        message: proto::ToAgent,
        spool: &mut Spool<D>,
        anchor: &mut Anchor,
    ) -> Result<Option<Event>, SessionError> {
        let item = message.item.ok_or(SessionError::Protocol("an empty message"))?;
        if self.phase == Phase::Silent {
            return Err(SessionError::Protocol("it spoke before it was greeted"));
        }
        match item {
            In::Welcome(welcome) => self.welcome(&welcome, spool).map(|()| None),
            In::Stored(stored) => self.stored(stored, spool).map(Some),
            In::Proved(proved) => self.proved(&proved, spool, anchor),
            In::Checkpoint(checkpoint) => {
                anchor.follow(&checkpoint.key_changes);
                let grew = anchor.advance(&checkpoint.note, checkpoint.from_size, &checkpoint.consistency)?;
                Ok(grew.then(|| Event::Anchored(anchor.size())))
            }
            In::Expect(expect) => self.rewind(expect.sequence, spool).map(|()| None),
            In::Refused(refused) => {
                let reason = proto::RefusedReason::try_from(refused.reason)
                    .unwrap_or(proto::RefusedReason::Unspecified);
                self.phase = Phase::Stopped;
                self.in_flight.clear();
                Ok(Some(Event::Refused {
                    sequence: refused.sequence,
                    reason,
                    detail: printable(&refused.detail),
                }))
            }
            In::SlowDown(slow_down) => Ok(Some(Event::Pause(slow_down.ms.min(PAUSE_MS_MAX)))),
            In::Renew(renew) => Ok(Some(Event::Renew(renew.within_seconds))),
            In::Config(config) => Ok(Some(match Fleet::logged(config, anchor) {
                Ok(fleet) => Event::Configuration(Box::new(fleet)),
                Err(error) => Event::ConfigurationRefused(error.to_string()),
            })),
            In::Posture(posture) => Ok(Some(Event::Posture(posture))),
        }
    }

    fn welcome<D: Disk>(
        &mut self,
        welcome: &proto::Welcome,
        spool: &mut Spool<D>,
    ) -> Result<(), SessionError> {
        if self.phase != Phase::Greeted {
            return Err(SessionError::Protocol("a second welcome"));
        }
        if welcome.schema_max < SCHEMA_MAX {
            return Err(SessionError::Schema { found: welcome.schema_max });
        }
        self.open_at(welcome.next_sequence, spool)
    }

    /// `Expect` is the answer to one envelope: a skip, or a writer that could not take it. Those behind it are
    /// answered too, mostly likewise; the lowest sequence named is where to begin again.
    fn rewind<D: Disk>(&mut self, expected: u64, spool: &mut Spool<D>) -> Result<(), SessionError> {
        if !self.is_open() {
            return if self.phase == Phase::Stopped {
                Ok(())
            } else {
                Err(SessionError::Protocol("it answered before it greeted"))
            };
        }
        self.in_flight.pop_front();
        self.rewind_to = Some(self.rewind_to.map_or(expected, |before| before.min(expected)));
        self.begin_again(spool)
    }

    /// Begins again where the collector wants, when nothing is in flight any more.
    fn begin_again<D: Disk>(&mut self, spool: &mut Spool<D>) -> Result<(), SessionError> {
        if !self.in_flight.is_empty() {
            return Ok(());
        }
        let Some(expected) = self.rewind_to.take() else { return Ok(()) };
        self.rewinds = self.rewinds.saturating_add(1);
        if self.rewinds > REWINDS_MAX {
            return Err(SessionError::Protocol("it asked to begin again too often"));
        }
        self.open_at(expected, spool)
    }

    fn open_at<D: Disk>(&mut self, expected: u64, spool: &mut Spool<D>) -> Result<(), SessionError> {
        let device = spool.next_sequence();
        if expected > device {
            return Err(SessionError::Behind { collector: expected, device });
        }
        // Before anything is struck off: what is lost here was not proved, so it is no roll-back to expect it.
        if expected < spool.lowest() {
            return Err(SessionError::RolledBack { collector: expected, device: spool.lowest() });
        }
        spool.settle_lost_below(expected)?;
        let unanswered = spool.kept().iter().find(|(_, kept)| kept.receipt.is_none());
        let cursor = unanswered.map_or(expected, |(sequence, _)| expected.min(*sequence));
        self.phase = Phase::Open { cursor, expected };
        Ok(())
    }

    fn stored<D: Disk>(
        &mut self,
        stored: proto::Stored,
        spool: &mut Spool<D>,
    ) -> Result<Event, SessionError> {
        match self.in_flight.front() {
            Some((sequence, _)) if *sequence == stored.sequence => {}
            _ => return Err(SessionError::Protocol("it stored what was not sent, or out of order")),
        }
        let salt = <[u8; SALT_BYTES]>::try_from(stored.salt.as_slice())
            .map_err(|_| SessionError::Protocol("a salt is not 32 bytes"))?;
        self.in_flight.pop_front();
        let receipt = Receipt { index: stored.index, received: Timestamp(stored.received_ms), salt };
        if spool.kept().get(&stored.sequence).is_some_and(|kept| kept.receipt.is_none()) {
            self.rewinds = 0;
        }
        spool.mark_stored(stored.sequence, receipt);
        if let Phase::Open { cursor, expected } = self.phase {
            let expected = expected.max(stored.sequence.saturating_add(1));
            self.phase = Phase::Open { cursor, expected };
        }
        self.begin_again(spool)?;
        Ok(Event::Stored(stored.sequence, receipt))
    }

    fn proved<D: Disk>(
        &mut self,
        proved: &proto::Proved,
        spool: &mut Spool<D>,
        anchor: &Anchor,
    ) -> Result<Option<Event>, SessionError> {
        let sequence = proved.sequence;
        // Proved before, or of a statement nobody stored: nothing to do, and nothing to believe.
        let Some(kept) = spool.kept().get(&sequence) else { return Ok(None) };
        let Some(receipt) = kept.receipt else { return Ok(None) };
        match check_proof(kept, &receipt, &proved.tlog_proof, anchor)? {
            Ok(()) => {
                spool.mark_proved(sequence)?;
                self.doubted.remove(&sequence);
                Ok(Some(Event::Proved(sequence)))
            }
            Err(why) => {
                // The answer kept here may be an old one: the statement is sent once more and answered anew.
                let times = self.doubted.entry(sequence).or_insert(0);
                *times = times.saturating_add(1);
                if *times > 1 || self.doubted.len() > WINDOW_STATEMENTS_MAX {
                    return Err(SessionError::Protocol("its proofs do not hold"));
                }
                if let Phase::Open { cursor, expected } = self.phase
                    && self.in_flight.is_empty()
                {
                    self.phase = Phase::Open { cursor: cursor.min(sequence), expected };
                }
                Ok(Some(Event::ProofRefused(sequence, why)))
            }
        }
    }
}

/// Recomputes the leaf from what was sent and what the collector said about it, and checks the proof of exactly it.
fn check_proof(
    kept: &Kept,
    receipt: &Receipt,
    proof: &str,
    anchor: &Anchor,
) -> Result<Result<(), String>, SessionError> {
    let leaf = Leaf {
        kind: kept.kind,
        received: receipt.received,
        commitment: commitment(&receipt.salt, &kept.envelope),
        chain: None,
    };
    let proof = match TlogProof::parse(proof.as_bytes()) {
        Ok(proof) => proof,
        Err(error) => return Ok(Err(error.to_string())),
    };
    if proof.index != receipt.index {
        return Ok(Err(format!("it is for index {}, expected {}", proof.index, receipt.index)));
    }
    match proof.verify(&leaf.hash(), &anchor.log().keys) {
        Err(error) => Ok(Err(error.to_string())),
        Ok(checkpoint) if checkpoint.origin != anchor.log().origin => {
            Ok(Err(format!("it is for the log {}", printable(&checkpoint.origin))))
        }
        Ok(checkpoint) if anchor.contradicts(&checkpoint) => {
            Err(SessionError::Forked { size: checkpoint.size })
        }
        Ok(_) => Ok(Ok(())),
    }
}

/// A peer's text for a log or a terminal: no control characters, at most 256 of them.
pub fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(256).collect()
}

#[cfg(test)]
mod tests;
