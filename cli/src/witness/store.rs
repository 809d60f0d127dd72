//! What a witness remembers. Checking and storing are one step, and an answer follows the sync.
//!
//! A witness that forgot would vouch for a fork, so a file that cannot be read stops it, and after a failed write it
//! signs nothing until it was started again and has read what is on the disk.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use evidence::acts::TreeHead;
use evidence::ids::Digest;
use evidence::json::{self, Members, Value, object};
use evidence::keys::SecretKey;
use evidence::merkle::empty_root;
use evidence::note::{Checkpoint, NOTE_BYTES_MAX, Note, VerifierKey, WitnessKey};
use evidence::witness::{AddCheckpoint, Refused, consider};
use zeroize::Zeroizing;

use crate::files;

/// Logs a witness knows at most.
pub(super) const LOGS_MAX: usize = 1024;
/// Keys of one log at most: it changes them rarely.
const LOG_KEYS_MAX: usize = 8;
/// Largest file of the folder, bytes: a note, escaped, and keys.
const FILE_BYTES_MAX: usize = 4 * NOTE_BYTES_MAX;
const KEY_FILE: &str = "witness.json";
const LOGS: &str = "logs";
const KEY_FORMAT: &str = "tallystick/witness/v1";
const LOG_FORMAT: &str = "tallystick/witness-log/v1";

/// Why a request is answered without a cosignature.
#[derive(Debug, thiserror::Error)]
pub(super) enum AddError {
    /// The protocol says so.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// This witness cannot: the answer is 500.
    #[error("{0}")]
    Broken(String),
}

/// One log.
struct Log {
    keys: Vec<VerifierKey>,
    latest: TreeHead,
    /// The checkpoint with the log's own lines and this witness's; none before the first.
    note: Option<Note>,
    /// Time of the newest cosignature, Unix seconds.
    seconds: u64,
}

/// A witness's folder, locked for this process as long as the value lives.
pub(super) struct Store {
    dir: PathBuf,
    name: String,
    key: SecretKey,
    logs: BTreeMap<String, Log>,
    /// Why nothing is signed until the next start.
    broken: Option<String>,
    _lock: File,
}

impl Store {
    /// Makes a witness in a folder that does not exist or is empty.
    pub(super) fn create(dir: &Path, name: &str, key: SecretKey) -> anyhow::Result<Self> {
        WitnessKey::new(name, *key.public()).context("the witness's name")?;
        make_folder(dir)?;
        let lock = lock(dir)?;
        if fs::read_dir(dir).with_context(|| at("read", dir))?.next().is_some() {
            bail!("{} is not empty: a witness is made in a folder of its own", dir.display());
        }
        make_folder(&dir.join(LOGS))?;
        let seed = key.seed();
        let value = object([
            ("format", json::text(KEY_FORMAT)),
            ("name", json::text(name)),
            ("ed25519", json::base64(seed.as_slice())),
        ]);
        files::create_secret(&dir.join(KEY_FILE), "the witness's key", &Zeroizing::new(value.to_bytes()))?;
        sync_folder(dir)?;
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_folder(parent)?;
        }
        let (dir, name) = (dir.to_owned(), name.to_owned());
        Ok(Self { dir, name, key, logs: BTreeMap::new(), broken: None, _lock: lock })
    }

    /// Opens a witness and checks everything it remembers.
    pub(super) fn open(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(KEY_FILE);
        if !path.is_file() {
            bail!("{} is no witness: make one with `tallystick witness init`", dir.display());
        }
        let lock = lock(dir)?;
        let bytes = files::read_secret(&path, "the witness's key", FILE_BYTES_MAX)?;
        let (name, key) = parse_key(&bytes).with_context(|| path.display().to_string())?;
        let (dir, logs) = (dir.to_owned(), BTreeMap::new());
        let mut store = Self { dir, name, key, logs, broken: None, _lock: lock };
        let folder = store.dir.join(LOGS);
        for found in fs::read_dir(&folder).with_context(|| at("read", &folder))? {
            let path = found.with_context(|| at("read", &folder))?.path();
            // What a crash left of a file that was never put in place.
            if path.extension().is_some_and(|ending| ending == "new") {
                continue;
            }
            let bytes = files::read(&path, "the memory of a log", FILE_BYTES_MAX)?;
            let (origin, log) = parse_log(&bytes, store.witness_key()?).with_context(|| {
                format!("{} is damaged: bring it back; without it a fork could be cosigned", path.display())
            })?;
            if path != store.path_of(&origin) {
                bail!("{} is of the log {origin:?}: this is not its name", path.display());
            }
            store.logs.insert(origin, log);
        }
        Ok(store)
    }

    /// The name it signs under.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its key for policies.
    pub(super) fn witness_key(&self) -> anyhow::Result<WitnessKey> {
        Ok(WitnessKey::new(&self.name, *self.key.public())?)
    }

    /// Origin and newest head of each log; size 0 before the first checkpoint.
    pub(super) fn logs(&self) -> impl Iterator<Item = (&str, TreeHead)> {
        self.logs.iter().map(|(origin, log)| (origin.as_str(), log.latest))
    }

    /// The newest cosigned checkpoint of the log whose origin has this SHA-256.
    pub(super) fn note(&self, origin_sha256: &Digest) -> Option<String> {
        let log = self.logs.iter().find(|(origin, _)| Digest::of(origin.as_bytes()) == *origin_sha256);
        log.and_then(|(_, log)| log.note.as_ref()).map(Note::encode)
    }

    /// Makes a log known, or another key of it.
    pub(super) fn add_log(&mut self, key: VerifierKey) -> anyhow::Result<()> {
        let origin = key.name().to_owned();
        let (keys, latest, note) = match self.logs.get(&origin) {
            Some(log) if log.keys.contains(&key) => bail!("the log {origin:?} is known with this key"),
            Some(log) => ([log.keys.as_slice(), &[key]].concat(), log.latest, log.note.clone()),
            None => (vec![key], TreeHead { size: 0, root: empty_root() }, None),
        };
        if keys.len() > LOG_KEYS_MAX || self.logs.len() >= LOGS_MAX {
            bail!("no more than {LOGS_MAX} logs with {LOG_KEYS_MAX} keys each");
        }
        if *self.key.public() == *keys.last().context("a key")?.key() {
            bail!("this is the witness's own key: a log needs another");
        }
        let seconds = self.logs.get(&origin).map_or(0, |log| log.seconds);
        let log = Log { keys, latest, note, seconds };
        write(&self.path_of(&origin), &encode_log(&origin, &log))?;
        self.logs.insert(origin, log);
        Ok(())
    }

    /// Decides about a request, stores, and gives the cosignature line, in this order. `now` in Unix seconds.
    pub(super) fn add_checkpoint(&mut self, body: &[u8], now: u64) -> Result<String, AddError> {
        if let Some(why) = &self.broken {
            return Err(AddError::Broken(why.clone()));
        }
        let request = AddCheckpoint::parse(body).map_err(Refused::from)?;
        let origin = request.claimed_origin().map_err(Refused::from)?;
        let log = self.logs.get(&origin).ok_or_else(|| Refused::UnknownLog(origin.clone()))?;
        let checkpoint = consider(&request, &log.keys, log.latest)?;
        // A clock that was set back must not make this witness contradict itself.
        let seconds = now.max(log.seconds);
        let broken = |error: &dyn std::fmt::Display| AddError::Broken(error.to_string());
        // Only lines that were checked are kept: a forged one would come back as if this witness had seen to it.
        let mut note = request.note.with_lines_of(&log.keys, &[]);
        let line = note.cosignature(&self.name, &self.key, seconds).map_err(|error| broken(&error))?;
        let own = WitnessKey::new(&self.name, *self.key.public()).map_err(|error| broken(&error))?;
        note.adopt(&own, line.as_bytes()).map_err(|error| broken(&error))?;
        let latest = TreeHead { size: checkpoint.size, root: checkpoint.root };
        let log = Log { keys: log.keys.clone(), latest, note: Some(note), seconds };
        if let Err(error) = write(&self.path_of(&origin), &encode_log(&origin, &log)) {
            let why = format!("what this witness remembers could not be written: {error:#}");
            self.broken = Some(why.clone());
            return Err(AddError::Broken(why));
        }
        self.logs.insert(origin, log);
        Ok(line)
    }

    fn path_of(&self, origin: &str) -> PathBuf {
        self.dir.join(LOGS).join(format!("{}.json", Digest::of(origin.as_bytes())))
    }
}

fn parse_log(bytes: &[u8], own: WitnessKey) -> anyhow::Result<(String, Log)> {
    let mut members = Members::of(Value::parse(bytes)?, "")?;
    if members.text("format")? != LOG_FORMAT {
        bail!("its format is not {LOG_FORMAT:?}");
    }
    let origin = members.text("origin")?;
    let vkeys = members.parsed_list::<String>("log_keys")?;
    let keys = vkeys.iter().map(|key| VerifierKey::parse(key)).collect::<Result<Vec<_>, _>>()?;
    let text = members.text("note")?;
    members.finish()?;
    if keys.is_empty() || keys.iter().any(|key| key.name() != origin) {
        bail!("its keys are not those of the log {origin:?}");
    }
    if text.is_empty() {
        let latest = TreeHead { size: 0, root: empty_root() };
        return Ok((origin, Log { keys, latest, note: None, seconds: 0 }));
    }
    let (note, own) = (Note::parse(text.as_bytes())?, [own]);
    let Checkpoint { size, root, .. } = Checkpoint::open_known(&note, &keys, &own, &origin)?;
    let [own] = own;
    let seconds = note.cosigned(&own)?.context("this witness did not cosign it")?;
    let latest = TreeHead { size, root };
    Ok((origin, Log { keys, latest, note: Some(note), seconds }))
}

/// The bytes of a memory of a log read and written again; none if they are none of `own`'s.
pub fn rewritten_log(bytes: &[u8], own: &WitnessKey) -> Option<Vec<u8>> {
    let (origin, log) = parse_log(bytes, own.clone()).ok()?;
    Some(encode_log(&origin, &log))
}

fn encode_log(origin: &str, log: &Log) -> Vec<u8> {
    object([
        ("format", json::text(LOG_FORMAT)),
        ("origin", json::text(origin)),
        ("log_keys", Value::Array(log.keys.iter().map(|key| json::text(key.vkey())).collect())),
        ("note", json::text(log.note.as_ref().map_or_else(String::new, Note::encode))),
    ])
    .to_bytes()
}

fn parse_key(bytes: &[u8]) -> anyhow::Result<(String, SecretKey)> {
    let mut members = Members::of(Value::parse(bytes)?, "")?;
    if members.text("format")? != KEY_FORMAT {
        bail!("its format is not {KEY_FORMAT:?}");
    }
    let name = members.text("name")?;
    let seed = Zeroizing::new(members.base64("ed25519")?);
    members.finish()?;
    let seed: &[u8; 32] = seed.as_slice().try_into().context("its seed must be 32 bytes")?;
    let key = SecretKey::from_seed(seed)?;
    WitnessKey::new(&name, *key.public())?;
    Ok((name, key))
}

/// Replaces a file whole, durably: after a crash it is the old one or the new one.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&fresh)
        .with_context(|| at("write", &fresh))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).with_context(|| at("write", &fresh))?;
    fs::rename(&fresh, path).with_context(|| at("replace", path))?;
    sync_folder(path.parent().context("a file lies in a folder")?)
}

fn sync_folder(path: &Path) -> anyhow::Result<()> {
    File::open(path).and_then(|folder| folder.sync_all()).with_context(|| at("sync", path))
}

fn make_folder(path: &Path) -> anyhow::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(error).with_context(|| at("make", path))
        }
        _ => Ok(()),
    }
}

/// Two processes would each vouch for a history of their own.
fn lock(dir: &Path) -> anyhow::Result<File> {
    let folder = File::open(dir).with_context(|| at("open", dir))?;
    match folder.try_lock() {
        Ok(()) => Ok(folder),
        Err(fs::TryLockError::WouldBlock) => {
            bail!("{} is in use by another process: stop that witness first", dir.display())
        }
        Err(fs::TryLockError::Error(error)) => Err(error).with_context(|| at("lock", dir)),
    }
}

fn at(what: &str, path: &Path) -> String {
    format!("cannot {what} {}", path.display())
}
