//! One device's working parts together: identity, signer, spool and anchor, under the directory's lock.

use evidence::ids::Digest;
use evidence::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::anchor::{Anchor, AnchorFile};
use crate::attest::{Attester, Moment, Observed, file_digest};
use crate::disk::Folder;
use crate::fleet::{Fleet, ReplaceError};
use crate::identity::{ANCHOR_FILE, IDENTITY_FILE, Identity};
use crate::renewal::{self, Schedule};
use crate::schedule::RESERVE_MINUTES;
use crate::spool::{Limits, Place, Room, Spool, SpoolError};
use crate::state::{Lock, OPEN_MODE, StateDirectory, StateError};

/// The file of what the last look saw.
pub(crate) const LOOKED_FILE: &str = "looked.json";

/// Why the device cannot work.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The spool.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The anchor could not be kept, so no statement may name it.
    #[error("cannot keep the newest checkpoint")]
    Anchor(#[source] std::io::Error),
    /// The running binary cannot be read.
    #[error("cannot read this program's own binary")]
    Binary(#[source] std::io::Error),
}

impl DeviceError {
    /// Whether it was the disk that refused, so that trying again is of use once it takes something.
    pub fn is_of_the_disk(&self) -> bool {
        matches!(
            self,
            Self::Spool(SpoolError::Disk { .. }) | Self::Anchor(_) | Self::State(StateError::Io { .. })
        )
    }

    /// The reason a gap gives for what this error prevented.
    pub fn gap_reason(&self) -> proto::GapReason {
        match self {
            Self::Spool(error) => error.gap_reason(),
            Self::Anchor(error) | Self::Binary(error) => crate::spool::gap_reason_of(error),
            Self::State(StateError::Io { source, .. }) => crate::spool::gap_reason_of(source),
            Self::State(_) => proto::GapReason::DiskDamage,
        }
    }
}

/// What the last statement said, as far as the next look must know it. Digests and minutes, no facts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Looked {
    attested_ms: u64,
    facts: FactsDigest,
}

/// A digest that serde writes as hex.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct FactsDigest(Digest);

impl From<FactsDigest> for String {
    fn from(digest: FactsDigest) -> Self {
        digest.0.hex()
    }
}

impl TryFrom<String> for FactsDigest {
    type Error = evidence::ids::IdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Digest::from_hex(&text).map(Self)
    }
}

/// What became of an attestation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attested {
    /// It is durable under this sequence.
    Spooled(u64),
    /// There was no room: it was counted and will be named in a gap.
    NotMade,
}

/// The parts. One per process and directory.
pub struct Device {
    /// Who this is.
    pub identity: Identity,
    /// Its statements.
    pub spool: Spool<Folder>,
    /// The newest verified checkpoint.
    pub anchor: Anchor,
    /// When its certificate is renewed.
    pub renewal: Schedule,
    state: StateDirectory,
    attester: Attester,
    anchor_file: AnchorFile,
    fleet: Option<Fleet>,
    looked: Option<Looked>,
    /// When a statement was last made or counted as not made, by this device's clock.
    tried: Option<Timestamp>,
    _lock: Lock,
}

impl Device {
    /// Opens everything, which only one process can at a time.
    pub fn open(state: &StateDirectory, limits: Limits) -> Result<Self, DeviceError> {
        let _enrolled_before_the_lock = Identity::read(state)?;
        let lock = state.lock()?;
        // Read again: another agent may have renewed the certificate until it gave the lock back.
        let identity = Identity::read(state)?;
        let key = identity.attestation_key(state)?;
        // Keys of before this was noted are taken to be this machine's.
        crate::binding::bind(state)?;
        renewal::finish(state, &identity)?;
        let spool = Spool::open(Folder::new(state.spool(), OPEN_MODE), identity.owner, limits)?;
        let mut anchor_file = AnchorFile::new(state.file(ANCHOR_FILE));
        let anchor =
            identity.anchor(&mut anchor_file, spool.newest_anchor(), || spool.newest_proved_anchor())?;
        let binary = std::env::current_exe().map_err(DeviceError::Binary)?;
        let digest = file_digest(&binary).map_err(DeviceError::Binary)?;
        let attester = Attester::new(identity.device, identity.owner.instance, key, digest);
        let looked = state.read_json(LOOKED_FILE).unwrap_or_else(|error| {
            // It only says when to speak next; without it the device speaks at once.
            tracing::warn!(error = %crate::Causes(&error), "What the last look saw is unknown.");
            None
        });
        let fleet = Fleet::read(state, &identity.stored.origin).unwrap_or_else(|error| {
            // The collector sends it again; until then the defaults hold.
            tracing::warn!(error = %crate::Causes(&error), "The fleet configuration kept here cannot be read.");
            None
        });
        let state = state.clone();
        let renewal = Schedule::default();
        let tried = None;
        Ok(Self {
            identity,
            spool,
            anchor,
            renewal,
            state,
            attester,
            anchor_file,
            fleet,
            looked,
            tried,
            _lock: lock,
        })
    }

    /// The fleet configuration in force.
    pub fn fleet(&self) -> Option<&Fleet> {
        self.fleet.as_ref()
    }

    /// Obeys a configuration that is in the log from now on. Whether it is another one than before.
    pub fn obey(&mut self, fleet: Fleet) -> Result<bool, ReplaceError> {
        fleet.replace(&mut self.fleet, &self.state)
    }

    /// When the last attestation was made, by this device's clock.
    pub fn last_attested(&self) -> Option<Timestamp> {
        self.looked.map(|looked| Timestamp(looked.attested_ms))
    }

    /// When an attestation was last made, or counted as not made: what was counted once is due again an interval later, not
    /// at every turn.
    pub fn last_tried(&self) -> Option<Timestamp> {
        self.tried.or_else(|| self.last_attested())
    }

    /// Counts an attestation that was due now and is not made, because the disk takes nothing.
    pub fn miss(&mut self, now: Timestamp, reason: proto::GapReason) {
        self.tried = Some(now);
        self.spool.note_not_made(now.minutes(), reason);
    }

    /// Whether a look saw other facts than the last attestation said.
    pub fn differs(&self, observed: &Observed) -> bool {
        self.looked.is_none_or(|looked| looked.facts.0 != observed.facts_digest())
    }

    /// Signs and spools what was seen. First, when there is room again, the gap that names what was not made.
    pub fn attest(&mut self, moment: &Moment, observed: Observed) -> Result<Attested, DeviceError> {
        let minute = moment.now.minutes();
        self.tried = Some(moment.now);
        let rested = self
            .last_attested()
            .is_none_or(|last| minute.saturating_sub(last.minutes()) >= RESERVE_MINUTES || last > moment.now);
        match self.spool.room() {
            Room::Free => {}
            Room::Reserve if rested => {}
            Room::Reserve | Room::Full => {
                self.spool.note_not_made(minute, proto::GapReason::SpoolFull);
                return Ok(Attested::NotMade);
            }
        }
        let done = self.spool_statements(moment, observed);
        if let Err(error) = &done {
            self.spool.note_not_made(minute, error.gap_reason());
        }
        done.map(Attested::Spooled)
    }

    fn spool_statements(&mut self, moment: &Moment, observed: Observed) -> Result<u64, DeviceError> {
        // Durable before any statement names it, so that no later statement can name an older one.
        self.keep_anchor()?;
        if self.spool.room() == Room::Free
            && let Some(not_made) = self.spool.not_made()
        {
            let place = self.spool.place()?;
            let gap = self.attester.not_made(place, self.anchor.for_statement(), &not_made);
            self.spool.put(&gap)?;
        }
        let facts = FactsDigest(observed.facts_digest());
        let place = self.spool.place()?;
        let anchor = self.anchor.for_statement();
        let configuration = self.fleet.as_ref().map_or(Digest::ZERO, |fleet| fleet.digest);
        let attestation = self.attester.attestation(place, anchor, moment, observed, &configuration);
        let sequence = self.spool.put(&attestation)?;
        let looked = Looked { attested_ms: moment.now.ms(), facts };
        self.looked = Some(looked);
        if let Err(error) = self.state.write_json(LOOKED_FILE, &looked) {
            // The statement is safe; after a restart the device may speak once too often.
            tracing::warn!(error = %crate::Causes(&error), "What this look saw was not noted.");
        }
        Ok(sequence)
    }

    /// Signs and spools the gap that names everything from `first` on as destroyed. Returns its sequence.
    pub fn state_destroyed(&mut self, first: u64) -> Result<u64, DeviceError> {
        self.keep_anchor()?;
        let sequence = self.spool.place()?.sequence;
        let (gap, previous) = self.spool.destroyed_from(first)?;
        let place = Place { sequence, previous };
        let envelope = self.attester.destroyed(place, self.anchor.for_statement(), gap);
        tracing::error!(
            first,
            last = sequence.saturating_sub(1),
            "Statements were destroyed; a gap names them."
        );
        Ok(self.spool.put_destroyed(&envelope)?)
    }

    /// Keeps the newest checkpoint on disk.
    pub fn keep_anchor(&mut self) -> Result<(), DeviceError> {
        // The keys first: without them the note is not believed after a restart.
        let keys = &self.anchor.log().keys;
        if *keys != self.identity.log.keys {
            self.identity.stored.log_vkeys = keys.iter().map(evidence::note::VerifierKey::vkey).collect();
            self.identity.log.keys.clone_from(keys);
            self.state.write_json(IDENTITY_FILE, &self.identity.stored)?;
            tracing::info!(
                keys = self.identity.log.keys.len(),
                "The log has another key, which the one before endorsed."
            );
        }
        self.anchor_file.keep(&self.anchor).map_err(DeviceError::Anchor)
    }

    /// The directory.
    pub fn state(&self) -> &StateDirectory {
        &self.state
    }
}
