//! Devices that submit without rest, come back whenever the collector does, and remember every answer they
//! got.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use certs::TlsKey;
use evidence::envelope::Envelope;
use evidence::ids::{Digest, InstanceId};
use evidence::leaf::{Kind, Leaf, commitment};
use evidence::merkle;
use evidence::note::{Checkpoint, Note, TlogProof};
use evidence::time::Timestamp;
use proto::to_agent::Item as In;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::Status;

use crate::device::Device;
use crate::process::PATIENCE;
use crate::renewal::{By, Lies};
use crate::world::ORIGIN;

/// Envelopes of one device that may wait for their answer.
const WINDOW: usize = 16;
/// Between two tries to connect.
const RETRY: Duration = Duration::from_millis(20);

/// A statement the collector said it stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// The instance.
    pub instance: InstanceId,
    /// Its sequence.
    pub sequence: u64,
    /// Index in the log, as answered.
    pub index: u64,
    /// Hash of the envelope.
    pub envelope: Digest,
    /// The leaf, computed from envelope and answer.
    pub leaf: Leaf,
}

/// What the devices were told, all of it.
#[derive(Debug, Default)]
pub struct Record {
    /// Every statement that was answered with Stored, once.
    pub acknowledged: Vec<Acknowledged>,
    /// Every checkpoint that was received, by size.
    pub checkpoints: BTreeMap<u64, Checkpoint>,
    /// Statements that were sent again and answered as before.
    pub repeated: u64,
    /// Proofs that verified.
    pub proved: u64,
    /// Streams that were opened.
    pub streams: u64,
    /// Certificates that were renewed because the collector asked.
    pub renewed: u64,
    /// Calls that failed because one side did not trust the other's certificate.
    pub distrusted: Vec<String>,
    /// What was not as promised.
    pub wrong: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Down,
    Up,
    Ending,
}

/// The running load.
pub struct Load {
    phase: watch::Sender<Phase>,
    record: Arc<Mutex<Record>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts the devices. They do nothing until [`Load::up`].
    pub fn start(devices: Vec<Device>) -> Self {
        Self::start_with(devices, WINDOW, Duration::ZERO)
    }

    /// The same with devices that rest after each statement: many of them on a small machine.
    pub fn start_resting(devices: Vec<Device>, rest: Duration) -> Self {
        Self::start_with(devices, 1, rest)
    }

    fn start_with(devices: Vec<Device>, window: usize, rest: Duration) -> Self {
        let (phase, watched) = watch::channel(Phase::Down);
        let record = Arc::new(Mutex::new(Record::default()));
        let tasks = devices.into_iter().map(|device| {
            let driver = Driver {
                device,
                window,
                rest,
                next_key: None,
                record: Arc::clone(&record),
                waiting: VecDeque::new(),
                last: None,
                unproved: BTreeMap::new(),
                anchor: None,
            };
            tokio::spawn(driver.run(watched.clone()))
        });
        Self { phase, tasks: tasks.collect(), record }
    }

    /// The collector is up: connect.
    pub fn up(&self) {
        self.phase.send_replace(Phase::Up);
    }

    /// The collector is down: do not try to connect, so that nobody takes its ports.
    pub fn down(&self) {
        self.phase.send_replace(Phase::Down);
    }

    /// Statements acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        lock(&self.record).acknowledged.len()
    }

    /// Waits until so many are acknowledged.
    pub async fn reaches(&self, acknowledged: usize) {
        let reached = async {
            while self.acknowledged() < acknowledged {
                tokio::time::sleep(RETRY).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, reached).await;
        assert!(in_time.is_ok(), "{} acknowledged, waited for {acknowledged}", self.acknowledged());
    }

    /// Lets what is on its way be answered, ends every stream, and gives what was recorded. The collector
    /// must be up.
    pub async fn end(self) -> Record {
        self.phase.send_replace(Phase::Ending);
        for task in self.tasks {
            tokio::time::timeout(PATIENCE, task)
                .await
                .expect("the load ends")
                .expect("a device does not panic");
        }
        std::mem::take(&mut lock(&self.record))
    }
}

fn lock(record: &Mutex<Record>) -> std::sync::MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Driver {
    device: Device,
    window: usize,
    rest: Duration,
    /// A TLS key whose certificate was asked for and has not come.
    next_key: Option<TlsKey>,
    record: Arc<Mutex<Record>>,
    /// Made and not acknowledged, in order.
    waiting: VecDeque<Envelope>,
    /// The last one acknowledged, to be sent once more.
    last: Option<(Envelope, Acknowledged)>,
    /// Sequence → index and leaf hash.
    unproved: BTreeMap<u64, (u64, Digest)>,
    anchor: Option<Checkpoint>,
}

/// A stream is over: the connection was lost, or the load ends.
struct Over;

impl From<Status> for Over {
    fn from(_: Status) -> Self {
        Self
    }
}

impl Driver {
    async fn run(mut self, mut phase: watch::Receiver<Phase>) {
        loop {
            let now =
                *phase.wait_for(|phase| *phase != Phase::Down).await.expect("the load outlives its devices");
            if now == Phase::Ending && self.waiting.is_empty() && self.unproved.is_empty() {
                return;
            }
            // Whatever ended it, the next stream goes on where this one was.
            let _over = self.stream(&phase).await;
            tokio::time::sleep(RETRY).await;
        }
    }

    fn wrong(&self, what: String) {
        lock(&self.record).wrong.push(format!("{}: {what}", self.device.id));
    }

    async fn stream(&mut self, phase: &watch::Receiver<Phase>) -> Result<(), Over> {
        let mut submit = self.device.open().await.map_err(|status| self.over(&status))?;
        let anchor_size = self.anchor.as_ref().map_or(0, |anchor| anchor.size);
        let unproved: Vec<u64> = self.unproved.keys().copied().take(4_096).collect();
        submit.hello(&self.device.instance, anchor_size, unproved).await;
        let In::Welcome(welcome) = submit.next().await.map_err(|status| self.over(&status))? else {
            self.wrong("the first answer is no welcome".to_owned());
            return Err(Over);
        };
        lock(&self.record).streams += 1;
        let acknowledged = self.device.next_sequence - self.waiting.len() as u64;
        if welcome.next_sequence < acknowledged || welcome.next_sequence > self.device.next_sequence {
            let expects = welcome.next_sequence;
            self.wrong(format!("{acknowledged} acknowledged, {expects} expected by the collector"));
        }
        let mut repeating = match &self.last {
            Some((envelope, _)) => {
                submit.envelope(envelope.bytes()).await;
                true
            }
            None => false,
        };
        for envelope in &self.waiting {
            submit.envelope(envelope.bytes()).await;
        }
        loop {
            let ending = *phase.borrow() == Phase::Ending;
            if ending && self.waiting.is_empty() && self.unproved.is_empty() && !repeating {
                return Ok(());
            }
            while !ending && self.waiting.len() < self.window {
                let envelope = self.device.sign_next();
                submit.envelope(envelope.bytes()).await;
                self.waiting.push_back(envelope);
            }
            match submit.next().await.map_err(|status| self.over(&status))? {
                In::Stored(stored) if repeating => {
                    repeating = false;
                    self.repeated(&stored);
                }
                In::Stored(stored) => {
                    self.stored(&stored)?;
                    tokio::time::sleep(self.rest).await;
                }
                In::Renew(_) => {
                    self.renew().await?;
                    // The next stream shows the new certificate.
                    return Err(Over);
                }
                In::Checkpoint(checkpoint) => self.checkpoint(&checkpoint),
                In::Proved(proved) => self.proved(&proved),
                In::Posture(_) => {}
                // The collector is busy: a new stream begins at the oldest statement without an answer.
                In::SlowDown(_) | In::Expect(_) => return Err(Over),
                other => {
                    self.wrong(format!("{other:?}"));
                    return Err(Over);
                }
            }
        }
    }

    /// A lost connection is nobody's fault here; a certificate that is not taken is.
    fn over(&self, status: &Status) -> Over {
        let whole = format!("{status:?}");
        // h2 keeps the words of what happened below it and nothing else.
        let signs = ["AlertReceived", "fatal alert", "InvalidCertificate", "invalid peer certificate"];
        if signs.iter().any(|sign| whole.contains(sign)) {
            lock(&self.record).distrusted.push(format!("{}: {whole}", self.device.id));
        }
        Over
    }

    /// Asks for another certificate, with the same key until one has come.
    async fn renew(&mut self) -> Result<(), Over> {
        let connection = self.device.connect().await.map_err(|error| {
            let status = Status::unavailable(format!("{error:?}"));
            self.over(&status)
        })?;
        let key = self.next_key.take().unwrap_or_else(|| TlsKey::generate().expect("a key"));
        match self.device.ask(connection, By::Live, &key, Lies::default()).await {
            Ok(renewed) => {
                self.device.take(renewed, key);
                lock(&self.record).renewed += 1;
                Ok(())
            }
            Err(status) => {
                self.next_key = Some(key);
                if status.code() != tonic::Code::Unavailable && status.code() != tonic::Code::Unknown {
                    self.wrong(format!("not renewed: {status}"));
                }
                Err(self.over(&status))
            }
        }
    }

    fn answer(&self, envelope: &Envelope, stored: &proto::Stored) -> Acknowledged {
        let salt = stored.salt.as_slice().try_into().expect("a salt has 32 bytes");
        Acknowledged {
            instance: self.device.instance,
            sequence: stored.sequence,
            index: stored.index,
            envelope: envelope.hash(),
            leaf: Leaf {
                kind: Kind::ATTESTATION,
                received: Timestamp(stored.received_ms),
                commitment: commitment(&salt, envelope.bytes()),
                chain: None,
            },
        }
    }

    fn stored(&mut self, stored: &proto::Stored) -> Result<(), Over> {
        let oldest = self.device.next_sequence - self.waiting.len() as u64;
        let Some(envelope) = self.waiting.pop_front().filter(|_| stored.sequence == oldest) else {
            self.wrong(format!("stored {} while {oldest} was next", stored.sequence));
            return Err(Over);
        };
        let acknowledged = self.answer(&envelope, stored);
        self.unproved.insert(stored.sequence, (stored.index, acknowledged.leaf.hash()));
        lock(&self.record).acknowledged.push(acknowledged.clone());
        self.last = Some((envelope, acknowledged));
        Ok(())
    }

    fn repeated(&mut self, stored: &proto::Stored) {
        let Some((envelope, before)) = &self.last else { return };
        let again = self.answer(envelope, stored);
        if again == *before {
            lock(&self.record).repeated += 1;
        } else {
            self.wrong(format!("answered {before:?}, and the second time {again:?}"));
        }
    }

    fn checkpoint(&mut self, received: &proto::Checkpoint) {
        let note = match Note::parse(received.note.as_bytes()) {
            Ok(note) => note,
            Err(error) => return self.wrong(format!("a checkpoint: {error}")),
        };
        let checkpoint = match Checkpoint::open_strict(&note, &self.device.log_keys, ORIGIN) {
            Ok(checkpoint) => checkpoint,
            Err(error) => return self.wrong(format!("a checkpoint: {error}")),
        };
        let (from, root) = self.anchor.as_ref().map_or((0, merkle::empty_root()), |a| (a.size, a.root));
        let proof: Vec<Digest> =
            received.consistency.iter().map(|hash| Digest::from_slice(hash).expect("32 bytes")).collect();
        let holds = merkle::verify_consistency(from, &root, checkpoint.size, &checkpoint.root, &proof);
        if let Err(error) = holds {
            self.wrong(format!("from {from} to {}: {error}", checkpoint.size));
        }
        let before = lock(&self.record).checkpoints.insert(checkpoint.size, checkpoint.clone());
        if before.is_some_and(|before| before != checkpoint) {
            self.wrong(format!("two checkpoints of size {}", checkpoint.size));
        }
        self.anchor = Some(checkpoint);
    }

    fn proved(&mut self, proved: &proto::Proved) {
        // Proved on an earlier stream whose answer was on its way when this one was opened.
        let Some((index, leaf)) = self.unproved.remove(&proved.sequence) else { return };
        let verified = TlogProof::parse(proved.tlog_proof.as_bytes())
            .map_err(|error| error.to_string())
            .and_then(|proof| {
                if proof.index != index {
                    return Err(format!("index {} instead of {index}", proof.index));
                }
                proof.verify(&leaf, &self.device.log_keys).map_err(|error| error.to_string())
            });
        match verified {
            Ok(_) => lock(&self.record).proved += 1,
            Err(error) => self.wrong(format!("the proof of {}: {error}", proved.sequence)),
        }
    }
}
