//! The log's key over time: the files it lies in, who signs which checkpoint, and changing it. docs/OPERATING.md, "The log's key".
//!
//! A change is three things in this order: the next key's file, the entry that both keys sign, the files' new names. Killed
//! before the entry nothing happened; killed after it the next start or `rotate-key` goes on.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use evidence::acts::{Act, Body, KeyChange, KeyOf, KeyStep, NewKey, log_key_text};
use evidence::json::{self, Members, Value};
use evidence::keys::SecretKey;
use evidence::leaf::Kind;
use evidence::note::{Checkpoint, Note, NoteError, VerifierKey};
use evidence::time::{DAY_MS, Timestamp};
use zeroize::Zeroizing;

use crate::datadir::{DataDir, replace_file};
use crate::failpoints;
use crate::ledger::{Ledger, ReadError};
use crate::secrets::{self, SecretError};
use crate::state::{PutAct, State, StateError};

/// The key that signs.
pub const CURRENT: &str = "log.key";
/// The one that a change is about to bring.
const NEXT: &str = "log.next.key";
/// The one before, as long as both sign.
const PREVIOUS: &str = "log.previous.key";
/// Public: every key the log ever had, oldest first, a vkey a line. Commands beside the log read it, and a backup has it.
const KNOWN: &str = "log-keys";
/// Its path in a data directory and in a backup.
pub const KNOWN_PATH: &str = "certs/log-keys";
const NEXT_FORMAT: &str = "tallystick/next-log-key/v1";
const PREVIOUS_FORMAT: &str = "tallystick/previous-log-key/v1";
/// Days both keys sign if nothing else is said: witnesses, mirrors and agents of an older release have that long.
pub const OVERLAP_DAYS_DEFAULT: u64 = 30;
/// Days both keys sign at most: after a year nobody waits for the old one.
pub const OVERLAP_DAYS_MAX: u64 = 366;

/// Why the log's key could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum LogKeyError {
    /// A key file.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A file beside it.
    #[error("cannot write {path}: {source}")]
    Write {
        /// Which.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The log.
    #[error("cannot read what the log says of its keys: {0}")]
    Read(#[from] ReadError),
    /// The keys of the directory and of the log are two things.
    #[error("{path} is not the key that this log signs with now: bring back the newest copy of `keys/`")]
    Other {
        /// The file.
        path: PathBuf,
    },
    /// A file that is none of a key.
    #[error("{path}: {problem}")]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// A change of the log's key, as its entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Index of the entry.
    pub index: u64,
    /// The key from then on.
    pub key: VerifierKey,
    /// The signature of the key before.
    pub endorsement: Vec<u8>,
}

impl Changed {
    /// Its line in the public tree.
    pub fn line(&self) -> String {
        evidence::log_keys::line(self.index, &self.key, &self.endorsement)
    }
}

/// Every key that signs checkpoints beside the first one: from which tree on, until when.
pub struct Beside {
    key: SecretKey,
    /// Trees larger than this. A change sets it when it knows its place.
    above: Arc<AtomicU64>,
    until: Option<Timestamp>,
}

impl std::fmt::Debug for Beside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Beside").field("until", &self.until).finish_non_exhaustive()
    }
}

impl Beside {
    /// Adds this key's line where it is due.
    pub fn sign(&self, note: &mut Note, checkpoint: &Checkpoint, now: Timestamp) -> Result<(), NoteError> {
        let is_due = checkpoint.size > self.above.load(Ordering::SeqCst);
        if is_due && self.until.is_none_or(|until| now < until) {
            note.sign_also(&checkpoint.origin, &self.key)?;
        }
        Ok(())
    }
}

/// The key files of an open log, in the state that its roster says.
pub struct LogKey {
    /// Signs every checkpoint.
    pub key: SecretKey,
    /// Signs too.
    pub beside: Vec<Beside>,
    /// What was changed so far.
    pub changes: Vec<Changed>,
    /// A change that was begun.
    next: Option<(SecretKey, u64)>,
}

fn seed(members: &mut Members, path: &Path) -> Result<SecretKey, LogKeyError> {
    let form = |problem: String| LogKeyError::Form { path: path.to_owned(), problem };
    let seed = Zeroizing::new(members.base64("ed25519").map_err(|error| form(error.to_string()))?);
    let seed = <[u8; 32]>::try_from(seed.as_slice()).map_err(|_| form("the seed must be 32 bytes".into()))?;
    SecretKey::from_seed(&Zeroizing::new(seed)).map_err(|error| form(error.to_string()))
}

fn key_file(format: &str, key: &SecretKey, member: &'static str, value: Value) -> Zeroizing<Vec<u8>> {
    let seed = Zeroizing::new(key.seed().to_vec());
    let members = [("format", json::text(format)), ("ed25519", json::base64(&seed)), (member, value)];
    Zeroizing::new(json::object(members).to_bytes())
}

/// Reads a key file with one more member; none if there is no file.
fn read_key<T>(
    path: &Path,
    format: &str,
    take: impl FnOnce(&mut Members) -> Result<T, json::JsonError>,
) -> Result<Option<(SecretKey, T)>, LogKeyError> {
    let bytes = match secrets::read(path) {
        Err(SecretError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    let form = |problem: String| LogKeyError::Form { path: path.to_owned(), problem };
    let value = Value::parse(&bytes).map_err(|error| form(error.to_string()))?;
    let mut members = Members::of(value, "").map_err(|error| form(error.to_string()))?;
    if members.text("format").map_err(|error| form(error.to_string()))? != format {
        return Err(form(format!("its format must be {format:?}")));
    }
    let key = seed(&mut members, path)?;
    let more = take(&mut members).map_err(|error| form(error.to_string()))?;
    members.finish().map_err(|error| form(error.to_string()))?;
    Ok(Some((key, more)))
}

/// Writes a secret file in one step, over an older one.
fn put_secret(path: &Path, bytes: &[u8]) -> Result<(), LogKeyError> {
    replace_file(path, bytes).map_err(|source| LogKeyError::Write { path: path.to_owned(), source })
}

fn remove(path: &Path) -> Result<(), LogKeyError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(LogKeyError::Write { path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

/// What the roster says of the log's keys: the changes after the genesis, in their order.
pub fn changes(ledger: &Ledger, log_keys: &[(u64, VerifierKey)]) -> Result<Vec<Changed>, LogKeyError> {
    let mut found = Vec::new();
    for (index, key) in log_keys.iter().skip(1) {
        let entry = ledger.entry(*index)?;
        let act = Act::open_as(&entry.payload, Kind::KEY_CHANGE).ok().map(|(_, act)| act.body);
        if let Some(Body::KeyChange(change)) = act
            && let NewKey::Log { endorsement, .. } = change.key
        {
            found.push(Changed { index: *index, key: key.clone(), endorsement });
        }
    }
    Ok(found)
}

impl LogKey {
    /// Reads the files, and ends a change whose entry is in the log. `log_keys` are the roster's.
    pub fn open(
        dir: &DataDir,
        ledger: &Ledger,
        log_keys: &[(u64, VerifierKey)],
        now: Timestamp,
    ) -> Result<Self, LogKeyError> {
        let (current, next_path) = (dir.keys().join(CURRENT), dir.keys().join(NEXT));
        let changes = changes(ledger, log_keys)?;
        let mut key = secrets::signing_key(&current)?;
        let next = read_key(&next_path, NEXT_FORMAT, |members| members.count("overlap_days"))?;
        let newest = log_keys.last().map(|(index, key)| (*index, *key.key()));
        let other = || LogKeyError::Other { path: current.clone() };
        let (index, newest) = newest.ok_or_else(other)?;
        let mut begun = None;
        match next {
            Some((next, overlap_days)) if *next.public() == newest => {
                if *key.public() != newest {
                    finish(dir, &key, &next, until(ledger, index, overlap_days)?)?;
                    key = next;
                }
                remove(&next_path)?;
            }
            Some(next) => begun = Some(next),
            None => {}
        }
        if *key.public() != newest {
            return Err(other());
        }
        if !changes.is_empty() {
            write_known(dir, log_keys)?;
        }
        let beside = previous(dir, index, now)?;
        Ok(Self { key, beside: beside.into_iter().collect(), changes, next: begun })
    }

    /// Begins a change, or goes on with one that was begun, of which the number of days stands; the key that comes signs
    /// beside the one that goes from the entry on.
    pub fn prepare(&mut self, dir: &DataDir, overlap_days: u64) -> Result<Arc<Rotation>, LogKeyError> {
        let path = dir.keys().join(NEXT);
        let failed = |problem: String| LogKeyError::Form { path: path.clone(), problem };
        let copy =
            |key: &SecretKey| SecretKey::from_seed(&key.seed()).map_err(|error| failed(error.to_string()));
        let (key, overlap_days) = match self.next.take() {
            Some(begun) => begun,
            None => {
                let mut fresh = Zeroizing::new([0; 32]);
                getrandom::fill(fresh.as_mut()).map_err(|error| failed(error.to_string()))?;
                let key = SecretKey::from_seed(&fresh).map_err(|error| failed(error.to_string()))?;
                put_secret(&path, &key_file(NEXT_FORMAT, &key, "overlap_days", json::count(overlap_days)))?;
                (key, overlap_days)
            }
        };
        failpoints::reach("log-key-made");
        let above = Arc::new(AtomicU64::new(u64::MAX));
        self.beside.push(Beside { key: copy(&key)?, above: Arc::clone(&above), until: None });
        Ok(Arc::new(Rotation { old: copy(&self.key)?, new: key, overlap_days, above }))
    }
}

/// A change under way.
pub struct Rotation {
    old: SecretKey,
    new: SecretKey,
    /// Days both will sign.
    pub overlap_days: u64,
    above: Arc<AtomicU64>,
}

impl Rotation {
    /// The key to come.
    pub fn key(&self, origin: &str) -> Result<VerifierKey, NoteError> {
        VerifierKey::new(origin, *self.new.public())
    }

    /// Logs the change, and waits for a checkpoint by both keys that covers it.
    pub async fn log(self: &Arc<Self>, state: &State) -> Result<PutAct, StateError> {
        let invalid = |error: NoteError| StateError::Invalid(error.to_string());
        let key = self.key(state.origin()).map_err(invalid)?;
        let text = log_key_text(state.origin(), &key);
        let (endorsement, possession) = (self.old.sign(&text).to_vec(), self.new.sign(&text).to_vec());
        let above = Arc::clone(&self.above);
        let put = state
            .operate(move |moment| {
                above.store(moment.next_index, Ordering::SeqCst);
                let key = NewKey::Log { key, endorsement, possession };
                Ok(Body::KeyChange(Box::new(KeyChange { of: KeyOf::Log, step: KeyStep::Rotate, key })))
            })
            .await?;
        failpoints::reach("log-key-logged");
        Ok(put)
    }
}

/// Until when both keys sign: none if the new one signs alone at once.
fn until(ledger: &Ledger, index: u64, overlap_days: u64) -> Result<Option<Timestamp>, LogKeyError> {
    let received = ledger.leaf(index)?.received;
    let until = received.0.saturating_add(overlap_days.saturating_mul(DAY_MS));
    Ok((overlap_days > 0).then_some(Timestamp(until)))
}

/// Puts the new key in the place of the old one, which goes on beside it until then.
fn finish(
    dir: &DataDir,
    old: &SecretKey,
    new: &SecretKey,
    until: Option<Timestamp>,
) -> Result<(), LogKeyError> {
    let previous = dir.keys().join(PREVIOUS);
    match until {
        Some(until) => put_secret(&previous, &key_file(PREVIOUS_FORMAT, old, "until", json::time(until)))?,
        None => remove(&previous)?,
    }
    failpoints::reach("log-key-kept");
    put_secret(&dir.keys().join(CURRENT), &secrets::encode(new))?;
    failpoints::reach("log-key-renamed");
    Ok(())
}

/// The key before, while it signs too; its file goes when its time is over.
fn previous(dir: &DataDir, index: u64, now: Timestamp) -> Result<Option<Beside>, LogKeyError> {
    let path = dir.keys().join(PREVIOUS);
    let found = read_key(&path, PREVIOUS_FORMAT, |members| members.time("until"))?;
    match found {
        Some((key, until)) if now < until => {
            let above = Arc::new(AtomicU64::new(index));
            Ok(Some(Beside { key, above, until: Some(until) }))
        }
        Some(_) => remove(&path).map(|()| None),
        None => Ok(None),
    }
}

fn write_known(dir: &DataDir, log_keys: &[(u64, VerifierKey)]) -> Result<(), LogKeyError> {
    let path = dir.certs().join(KNOWN);
    let text: String = log_keys.iter().map(|(_, key)| key.vkey() + "\n").collect();
    if fs::read(&path).is_ok_and(|found| found == text.as_bytes()) {
        return Ok(());
    }
    replace_file(&path, text.as_bytes()).map_err(|source| LogKeyError::Write { path, source })
}

/// Every key that may have signed what lies in a data directory, the one of today last: for commands beside the log.
pub fn known(path: &Path, origin: &str) -> Result<Vec<VerifierKey>, LogKeyError> {
    let current = path.join("keys").join(CURRENT);
    let key = secrets::signing_key(&current)?;
    let form = |problem: String| LogKeyError::Form { path: current.clone(), problem };
    let key = VerifierKey::new(origin, *key.public()).map_err(|error| form(error.to_string()))?;
    known_with(&path.join("certs").join(KNOWN), key)
}

/// The keys that a file of known ones names, with this one last.
pub fn known_with(path: &Path, current: VerifierKey) -> Result<Vec<VerifierKey>, LogKeyError> {
    let form = |problem: String| LogKeyError::Form { path: path.to_owned(), problem };
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(form(error.to_string())),
        Ok(text) => text,
    };
    let mut keys = Vec::new();
    for line in text.lines() {
        let key = VerifierKey::parse(line).map_err(|error| form(error.to_string()))?;
        if key.name() == current.name() && key != current {
            keys.push(key);
        }
    }
    keys.push(current);
    Ok(keys)
}
