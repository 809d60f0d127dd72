//! One simulated device: what it says next, and when that is received.

use std::collections::VecDeque;
use std::sync::Arc;

use evidence::envelope::Envelope;
use evidence::ids::{DeviceId, Digest, InstanceId};
use evidence::keys::SecretKey;
use evidence::note::Checkpoint;
use evidence::statement::{Attestation, Body, Gap, Statement};
use evidence::time::{MINUTE_MS, Timestamp};

use crate::hours::{Calendar, Spells};
use crate::machine::{Drifted, Kind, Machine, Machines};
use crate::seeded::{Seeded, bytes, fixed};
use crate::updates::{DAY, Updates};

/// Minutes between two drifts of a device on average, and the longest drift.
const DRIFT_EVERY: u64 = 40 * DAY;
const DRIFT_MOST: u64 = 9 * DAY;
/// Without a network: what is made is sent afterwards.
const OFFLINE_EVERY: u64 = 45 * DAY;
const OFFLINE_MOST: u64 = 3 * DAY;
/// Without room on the disk: nothing is made, and a gap says so afterwards.
const FULL_EVERY: u64 = 400 * DAY;
const FULL_MOST: u64 = 2 * DAY;
/// Minutes between damages of a disk on average, and the most statements one destroys.
const DAMAGE_EVERY: u64 = 1_200 * DAY;
const DESTROYED_MOST: u64 = 4;
/// Days between reboots, least and most.
const REBOOT_DAYS: (u64, u64) = (4, 34);

/// What a device says next.
#[derive(Debug, Clone, Copy)]
enum Said {
    Attestation { trigger: proto::Trigger, drifted: Option<Drifted> },
    NotMade { first: u64, last: u64, count: u64, reason: proto::GapReason },
    Destroyed { count: u64 },
}

/// Something said, and the minute in which.
#[derive(Debug, Clone, Copy)]
struct Step {
    minute: u64,
    said: Said,
}

/// A device of a fleet.
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// Its instance.
    pub instance: InstanceId,
    /// Signs its statements.
    pub key: SecretKey,
    /// What kind of machine it is.
    pub kind: &'static Kind,
    sequence: u64,
    previous: Digest,
    anchor: Option<Arc<Checkpoint>>,
    seeded: Seeded,
    interval: u64,
    /// Minute of the next scheduled statement.
    due: u64,
    calendar: Calendar,
    updates: Updates,
    drifts: Spells,
    drifted: Option<Drifted>,
    offline: Spells,
    full: Spells,
    damage_at: u64,
    boot: Digest,
    booted_at: u64,
    reboot_at: u64,
    steps: VecDeque<Step>,
    /// When what it said last was received.
    received: Timestamp,
}

/// A statement that a device made, in the order of receipt.
#[derive(Debug, Clone)]
pub struct Made {
    /// Which device, as a place in [`crate::Fleet::devices`].
    pub device: usize,
    /// When it is received: later than its own time after a spell without a network.
    pub received: Timestamp,
    /// What it says.
    pub statement: Statement,
    /// The same, signed.
    pub envelope: Envelope,
}

/// What all devices of a fleet have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Common {
    pub(crate) seed: u64,
    pub(crate) begin: u64,
    pub(crate) interval: u64,
}

impl Device {
    pub(crate) fn new(
        common: &Common,
        number: u64,
        kind: &'static Kind,
    ) -> Result<Self, evidence::keys::KeyError> {
        let Common { seed, begin, interval } = *common;
        let sixteen = |purpose| {
            let bytes = bytes(purpose, seed, number);
            let mut half = [0; 16];
            half.copy_from_slice(bytes.split_at(16).0);
            half
        };
        let mut seeded = Seeded::new(fixed([seed, number, 1]));
        let mut device = Self {
            id: DeviceId::from_bytes(sixteen("device")),
            instance: InstanceId::from_bytes(sixteen("instance")),
            key: SecretKey::from_seed(&bytes("key", seed, number))?,
            kind,
            sequence: 0,
            previous: Digest::ZERO,
            anchor: None,
            interval,
            due: begin + seeded.between(0, interval - 1),
            calendar: Calendar::new(kind.hours, seed, number),
            updates: Updates::new(seed, number, begin),
            drifts: Spells::new(&mut seeded, begin, DRIFT_EVERY, DRIFT_MOST),
            drifted: None,
            offline: Spells::new(&mut seeded, begin, OFFLINE_EVERY, OFFLINE_MOST),
            full: Spells::new(&mut seeded, begin, FULL_EVERY, FULL_MOST),
            damage_at: begin + seeded.between(0, DAMAGE_EVERY * 2),
            boot: Digest::ZERO,
            booted_at: begin.saturating_sub(seeded.between(0, REBOOT_DAYS.0 * DAY)),
            reboot_at: 0,
            steps: VecDeque::new(),
            received: Timestamp(begin.saturating_mul(MINUTE_MS)),
            seeded,
        };
        device.boot_at(device.booted_at);
        Ok(device)
    }

    /// A boot id like the system prints it, hashed as docs/FORMAT.md section 3 says.
    fn boot_at(&mut self, minute: u64) {
        let (high, low) = (self.seeded.next(), self.seeded.next());
        let hex = format!("{high:016x}{low:016x}");
        let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
        let id = format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32));
        self.boot = Digest::of_parts(&[b"tallystick/boot/v1\0", self.instance.as_bytes(), id.as_bytes()]);
        self.booted_at = minute;
        let (least, most) = REBOOT_DAYS;
        self.reboot_at = minute + self.seeded.between(least * DAY, most * DAY);
    }

    /// When the next statement is received. Nothing is signed yet.
    pub(crate) fn next_received(&mut self, machines: &Machines) -> Timestamp {
        if self.steps.is_empty() {
            self.plan(machines);
        }
        let minute = self.steps.front().map_or(0, |step| step.minute);
        let sent = if self.offline.holds(minute, &mut self.seeded) {
            self.calendar.on_from(self.offline.to)
        } else {
            minute
        };
        // Statements of one spell come at once, a few milliseconds apart.
        let within = if sent == minute { self.seeded.next() % MINUTE_MS } else { 0 };
        let at = Timestamp(sent.saturating_mul(MINUTE_MS).saturating_add(within));
        at.max(Timestamp(self.received.ms().saturating_add(3)))
    }

    /// Decides what is said next.
    fn plan(&mut self, machines: &Machines) {
        let mut missed: Option<(u64, u64, u64)> = None;
        loop {
            let (minute, said) = self.next_look(machines);
            if self.full.holds(minute, &mut self.seeded) {
                let (first, _, count) = missed.unwrap_or((minute, minute, 0));
                missed = Some((first, minute, count + 1));
                continue;
            }
            if let Some((first, last, count)) = missed {
                let reasons =
                    [proto::GapReason::DiskFull, proto::GapReason::SpoolFull, proto::GapReason::ReadOnly];
                let reason = reasons.get(self.seeded.below(reasons.len())).copied();
                let reason = reason.unwrap_or(proto::GapReason::DiskFull);
                self.steps.push_back(Step { minute, said: Said::NotMade { first, last, count, reason } });
            }
            if minute >= self.damage_at {
                let count = self.seeded.between(1, DESTROYED_MOST);
                self.steps.push_back(Step { minute, said: Said::Destroyed { count } });
                self.damage_at = minute + self.seeded.between(DAMAGE_EVERY / 4, DAMAGE_EVERY * 7 / 4);
            }
            self.steps.push_back(Step { minute, said });
            return;
        }
    }

    /// The next moment with something to say: a slot of the schedule, or a fact that changed.
    fn next_look(&mut self, machines: &Machines) -> (u64, Said) {
        let scheduled = self.calendar.on_from(self.due);
        let turn = if self.drifted.is_some() { self.drifts.to } else { self.drifts.from };
        let changed = self.calendar.on_from(turn);
        let can_drift = machines.drift(self.kind, 0).is_some();
        if can_drift && changed < scheduled {
            if self.drifted.take().is_none() {
                self.drifted = machines.drift(self.kind, self.seeded.next());
            } else {
                // The next one is drawn.
                self.drifts.holds(self.drifts.to, &mut self.seeded);
            }
            let drifted = self.drifted;
            return (changed, Said::Attestation { trigger: proto::Trigger::Drift, drifted });
        }
        // One statement for all slots that were slept through.
        let slots = (scheduled - self.due) / self.interval + 1;
        self.due += slots * self.interval;
        let is_manual = self.seeded.below(500) == 0;
        let trigger = if is_manual { proto::Trigger::Manual } else { proto::Trigger::Schedule };
        (scheduled, Said::Attestation { trigger, drifted: self.drifted })
    }

    /// Says what was planned. `newest` is the newest checkpoint there is at the time of receipt.
    pub(crate) fn say(
        &mut self,
        device: usize,
        received: Timestamp,
        newest: Option<&Arc<Checkpoint>>,
        machines: &Machines,
    ) -> Option<Made> {
        let step = self.steps.pop_front()?;
        // Without a network nothing new is learnt: the anchor stays the one of the last contact.
        if received.minutes() == step.minute
            && let Some(newest) = newest
            && self.anchor.as_ref().is_none_or(|anchor| anchor.size <= newest.size)
        {
            self.anchor = Some(Arc::clone(newest));
        }
        let body = match step.said {
            Said::Attestation { trigger, drifted } => {
                Body::Attestation(Box::new(self.attestation(step.minute, trigger, drifted, machines)))
            }
            Said::NotMade { first, last, count, reason } => {
                Body::Gap(Gap::NotMade { first_minute: first, last_minute: last, count, reason })
            }
            Said::Destroyed { count } => {
                let first = self.sequence;
                self.sequence += count;
                let reason = proto::GapReason::DiskDamage;
                Body::Gap(Gap::Destroyed { first, last: first + count - 1, reason })
            }
        };
        let statement = Statement {
            instance: self.instance,
            sequence: self.sequence,
            previous: self.previous,
            anchor: self.anchor.as_deref().cloned().map(Into::into),
            body,
        };
        let envelope = Envelope::sign(&statement, &self.key);
        self.previous = envelope.hash();
        self.sequence += 1;
        self.received = received;
        Some(Made { device, received, statement, envelope })
    }

    fn attestation(
        &mut self,
        minute: u64,
        trigger: proto::Trigger,
        drifted: Option<Drifted>,
        machines: &Machines,
    ) -> Attestation {
        if minute >= self.reboot_at {
            let up = self.seeded.between(0, 20).min(minute.saturating_sub(self.booted_at));
            self.boot_at(minute - up);
        }
        let mut observations = machines.observations(self.kind, drifted);
        let control = drifted.map(|drifted| drifted.control);
        self.updates.apply(&mut observations, minute, self.booted_at, self.kind.is_patched, control);
        let machine = machines.named(self.kind.recording);
        let (agent_version, agent_digest) = self.updates.agent(minute);
        // Raw answers change at every look: sizes, times, process numbers.
        let answers = machine.map_or(Digest::ZERO, |machine| machine.answers);
        let looked = [answers.as_bytes().as_slice(), self.instance.as_bytes(), &minute.to_be_bytes()];
        let fields = proto::Attestation {
            device: self.id.to_string(),
            boot: self.boot.as_bytes().to_vec(),
            boot_minutes: minute - self.booted_at,
            wall_minutes: minute,
            trigger: trigger.into(),
            agent_version,
            agent_digest: agent_digest.as_bytes().to_vec(),
            catalogue_digest: probes::catalogue_digest().to_vec(),
            configuration_digest: Digest::ZERO.as_bytes().to_vec(),
            asset: machine.and_then(|machine: &Machine| machine.asset.clone()),
            answers_digest: Digest::of_parts(&looked).as_bytes().to_vec(),
            observations,
        };
        Attestation { device: self.id, fields }
    }
}
