//! The data keys: one for each scope that is erased as a whole, in one small file that is not part of the log.
//!
//! `data-keys/keys` holds them wrapped under `keys/wrap.key`. It is a header and records of 128 bytes, so that none lies
//! across a 512-byte sector; the record of an erased scope names its tombstone and holds no key. Erasing writes the file
//! anew without the key, and overwrites the old one. docs/FORMAT.md section 13 has the bytes.
//!
//! A batch of records is synced before the first of its keys is used, so a batch that a power cut took a part of was
//! never used and is dropped whole; anything else that is not intact is an error, because it may be the only key there is.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evidence::erasure::Scope;
use evidence::json::{self, Members, Value};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::failpoints;
use crate::journal::{Io, SystemIo};
use crate::payload_codec::{DATA_KEY_BYTES, DataKey};
use crate::secrets::{self, SecretError};
use crate::sequencer::Random;

mod record;
#[cfg(test)]
mod tests;

use record::{Content, Found, RECORD_BYTES, Record, WRAPPED_BYTES, Wrapped};

/// Scopes at most: 128 MiB of file. A fleet of 50,000 devices makes 200,000 a year.
pub const SCOPES_MAX: usize = 1_048_576;
/// Mode of the folder.
const FOLDER_MODE: u32 = 0o700;
/// Mode of the file.
const FILE_MODE: u32 = 0o600;
const WRAP_FORMAT: &str = "tallystick/wrap-key/v1";

/// Why data keys could not be made, read, added or erased.
#[derive(Debug, thiserror::Error)]
pub enum DataKeyError {
    /// The wrapping key.
    #[error(transparent)]
    Wrap(#[from] SecretError),
    /// The system refused.
    #[error("could not {what} {path}: {source}")]
    Io {
        /// What was tried, as a verb phrase.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The file is not what was written.
    #[error("{path}, record {record}: {what}. Restore the file from its newest copy; nothing was changed")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Record, from 0: the header.
        record: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// One of the two files is gone.
    #[error(
        "{path} is missing, and payloads of this log are sealed: restore it from its newest copy; nothing was changed"
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Sealing failed, or no randomness.
    #[error("no data key could be made: {0}")]
    Make(String),
    /// More scopes than a file may hold.
    #[error("there are {SCOPES_MAX} data keys already")]
    Full,
    /// A key that is needed is not there.
    #[error(
        "there is no data key for {0}: `data-keys/keys` is not this log's newest; restore its newest copy"
    )]
    Unknown(Scope),
    /// An erased scope gets no second key.
    #[error("{scope} was erased by entry {tombstone}")]
    Erased {
        /// The scope.
        scope: Scope,
        /// Index of the tombstone.
        tombstone: u64,
    },
    /// A write failed before.
    #[error(
        "writing the data keys failed before, so what the file holds is not known: restart the collector"
    )]
    Unsure,
    /// A stream's own.
    #[error("{0} is never erased")]
    NotErasable(Scope),
}

/// What is known of a scope's key.
#[derive(Clone)]
pub enum Standing {
    /// It is there.
    Kept(DataKey),
    /// It was erased.
    Erased {
        /// Index of the tombstone.
        tombstone: u64,
    },
    /// There was never one.
    Absent,
}

/// The data keys of one data directory. Any thread reads; the sequencer adds; `erase` erases.
pub struct DataKeys {
    folder: PathBuf,
    wrap: LessSafeKey,
    io: Arc<dyn Io>,
    inner: Mutex<Inner>,
}

struct Inner {
    file: File,
    /// Records durable in the file, the header among them.
    records: u32,
    scopes: BTreeMap<Scope, Content>,
    /// Made, and not in the file yet: nothing may be written under them.
    pending: Vec<Scope>,
    /// A write has begun and did not come back well: what is on the disk is not known any more.
    unsure: bool,
}

impl DataKeys {
    /// Makes the wrapping key and an empty file. Only `init`, and the first opening of a log without data keys, do this.
    pub fn create(keys: &Path, folder: &Path, random: &mut Random) -> Result<(), DataKeyError> {
        let wrap = wrap_path(keys);
        if !wrap.exists() {
            let mut bytes = Zeroizing::new([0; DATA_KEY_BYTES]);
            random(&mut bytes).map_err(|error| DataKeyError::Make(error.to_string()))?;
            let text =
                json::object([("format", json::text(WRAP_FORMAT)), ("key", json::base64(bytes.as_slice()))]);
            secrets::write_new(&wrap, &Zeroizing::new(text.to_bytes()))?;
        }
        let failed = |source| DataKeyError::Io { what: "make", path: folder.to_owned(), source };
        match DirBuilder::new().mode(FOLDER_MODE).create(folder) {
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => return Err(failed(source)),
            _ => {}
        }
        let path = keys_path(folder);
        crate::datadir::replace_file(&path, &record::header()).map_err(failed)?;
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new("."))).and_then(|parent| parent.sync_all()).map_err(failed)
    }

    /// Whether there is a file of keys at all.
    pub fn exist(folder: &Path) -> bool {
        keys_path(folder).exists()
    }

    /// Reads the keys of a data directory, drops what a power cut left half, and makes durable what it keeps.
    pub fn open(keys: &Path, folder: &Path, io: Arc<dyn Io>) -> Result<Self, DataKeyError> {
        Self::read(keys, folder, io, true)
    }

    /// Reads the keys of a data directory and changes nothing; nothing can be added or erased.
    pub fn inspect(keys: &Path, folder: &Path) -> Result<Self, DataKeyError> {
        Self::read(keys, folder, Arc::new(SystemIo), false)
    }

    fn read(keys: &Path, folder: &Path, io: Arc<dyn Io>, repair: bool) -> Result<Self, DataKeyError> {
        let (wrap, path) = (wrap_path(keys), keys_path(folder));
        for needed in [&wrap, &path] {
            if !needed.exists() {
                return Err(DataKeyError::Missing { path: needed.clone() });
            }
        }
        let wrap = read_wrap(&wrap)?;
        let failed = |what, source| DataKeyError::Io { what, path: path.clone(), source };
        if repair {
            match fs::remove_file(next_path(folder)) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("tidy beside", source));
                }
                _ => {}
            }
        }
        let opened = OpenOptions::new().read(true).write(repair).open(&path);
        let mut file = opened.map_err(|source| failed("open", source))?;
        let mut bytes = Vec::new();
        let bytes_max = (SCOPES_MAX as u64 + 2).saturating_mul(RECORD_BYTES as u64);
        (&mut file).take(bytes_max).read_to_end(&mut bytes).map_err(|source| failed("read", source))?;
        let found = record::read(&bytes).map_err(|(record, what)| DataKeyError::Damaged {
            path: path.clone(),
            record,
            what,
        })?;
        if repair {
            let kept_bytes = u64::from(found.records).saturating_mul(RECORD_BYTES as u64);
            file.set_len(kept_bytes).map_err(|source| failed("shorten", source))?;
            // A killed process may have left the last batch in memory only: it is written again before it is used.
            let from = u64::from(found.last_batch).saturating_mul(RECORD_BYTES as u64);
            let tail = usize::try_from(from).ok().zip(usize::try_from(kept_bytes).ok());
            let tail = tail.and_then(|(from, to)| bytes.get(from..to)).unwrap_or_default();
            io.write_at(&file, tail, from).map_err(|source| failed("write", source))?;
            io.sync_data(&file).map_err(|source| failed("sync", source))?;
        }
        let Found { records, scopes, .. } = found;
        let inner = Inner { file, records, scopes, pending: Vec::new(), unsure: !repair };
        let keys = Self { folder: folder.to_owned(), wrap, io, inner: Mutex::new(inner) };
        keys.check_wrap()?;
        Ok(keys)
    }

    /// A wrapping key of another copy opens none of the keys: better known now than at the first payload.
    fn check_wrap(&self) -> Result<(), DataKeyError> {
        let first = self.lock().scopes.iter().find_map(|(scope, content)| match content {
            Content::Key(_) => Some(*scope),
            Content::Erased { .. } => None,
        });
        first.map_or(Ok(()), |scope| self.standing(&scope).map(drop))
    }

    /// What is known of a scope's key.
    pub fn standing(&self, scope: &Scope) -> Result<Standing, DataKeyError> {
        let content = self.lock().scopes.get(scope).cloned();
        match content {
            None => Ok(Standing::Absent),
            Some(Content::Erased { tombstone }) => Ok(Standing::Erased { tombstone }),
            Some(Content::Key(wrapped)) => self.unwrap(scope, &wrapped).map(Standing::Kept),
        }
    }

    /// The key of a scope, made now if there is none. Nothing may be written under it before [`DataKeys::store`].
    pub fn prepare(&self, scope: Scope, random: &mut Random) -> Result<DataKey, DataKeyError> {
        match self.standing(&scope)? {
            Standing::Kept(key) => return Ok(key),
            Standing::Erased { tombstone } => return Err(DataKeyError::Erased { scope, tombstone }),
            Standing::Absent => {}
        }
        let mut fresh = || -> Result<Zeroizing<[u8; 32]>, DataKeyError> {
            let mut bytes = Zeroizing::new([0; 32]);
            random(&mut bytes).map_err(|error| DataKeyError::Make(error.to_string()))?;
            Ok(bytes)
        };
        let (key, nonce) = (DataKey::new(fresh()?), fresh()?);
        let nonce: [u8; NONCE_LEN] =
            *nonce.first_chunk().ok_or_else(|| DataKeyError::Make("a nonce is 12 bytes".to_owned()))?;
        let wrapped = self.wrap(&scope, &key, nonce)?;
        let mut inner = self.lock();
        if inner.scopes.len() >= SCOPES_MAX {
            return Err(DataKeyError::Full);
        }
        if let Some(Content::Erased { tombstone }) = inner.scopes.get(&scope) {
            return Err(DataKeyError::Erased { scope, tombstone: *tombstone });
        }
        inner.scopes.insert(scope, Content::Key(wrapped));
        inner.pending.push(scope);
        Ok(key)
    }

    /// Makes every key prepared so far durable, with one sync. After an error the state of the disk is unknown.
    pub fn store(&self) -> Result<(), DataKeyError> {
        let mut guard = self.lock();
        let inner = &mut *guard;
        if inner.pending.is_empty() {
            return Ok(());
        }
        if std::mem::replace(&mut inner.unsure, true) {
            return Err(DataKeyError::Unsure);
        }
        let first = inner.records;
        let mut bytes = Vec::with_capacity(inner.pending.len().saturating_mul(RECORD_BYTES));
        for (number, scope) in (first..).zip(&inner.pending) {
            let Some(content) = inner.scopes.get(scope) else { continue };
            let content = content.clone();
            bytes.extend_from_slice(&Record { number, batch: first, scope: *scope, content }.encode());
        }
        let path = keys_path(&self.folder);
        let failed = |what, source| DataKeyError::Io { what, path: path.clone(), source };
        let at = u64::from(first).saturating_mul(RECORD_BYTES as u64);
        self.io.write_at(&inner.file, &bytes, at).map_err(|source| failed("write", source))?;
        failpoints::reach("data-keys-written");
        self.io.sync_data(&inner.file).map_err(|source| failed("sync", source))?;
        failpoints::reach("data-keys-synced");
        inner.records = first.saturating_add(u32::try_from(inner.pending.len()).unwrap_or(u32::MAX));
        inner.pending.clear();
        inner.unsure = false;
        Ok(())
    }

    /// Erases the keys of `scopes` for good: the file is written anew without them, and then the old one overwritten.
    /// `tombstone` must be under a checkpoint. Scopes erased before stay as they are. Durable once it returns; a crash
    /// leaves all of the keys or none of them.
    pub fn erase(&self, scopes: &[Scope], tombstone: u64) -> Result<(), DataKeyError> {
        if let Some(scope) = scopes.iter().find(|scope| !scope.is_erasable()) {
            return Err(DataKeyError::NotErasable(*scope));
        }
        let mut guard = self.lock();
        let inner = &mut *guard;
        if std::mem::replace(&mut inner.unsure, true) {
            return Err(DataKeyError::Unsure);
        }
        let mut kept = inner.scopes.clone();
        for scope in &inner.pending {
            kept.remove(scope);
        }
        for scope in scopes {
            let before = kept.get(scope);
            if !matches!(before, Some(Content::Erased { .. })) {
                kept.insert(*scope, Content::Erased { tombstone });
            }
        }
        let mut bytes = record::header().to_vec();
        for (number, (scope, content)) in (1_u32..).zip(&kept) {
            let content = content.clone();
            // Nothing of a file that came by a rename is a torn batch.
            bytes.extend_from_slice(&Record { number, batch: number, scope: *scope, content }.encode());
        }
        let (path, next) = (keys_path(&self.folder), next_path(&self.folder));
        let failed = |what, source| DataKeyError::Io { what, path: path.clone(), source };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(FILE_MODE)
            .open(&next)
            .map_err(|source| failed("make a new", source))?;
        self.io.write_at(&file, &bytes, 0).map_err(|source| failed("write anew", source))?;
        self.io.sync_data(&file).map_err(|source| failed("sync anew", source))?;
        failpoints::reach("data-keys-rewritten");
        fs::rename(&next, &path).map_err(|source| failed("replace", source))?;
        failpoints::reach("data-keys-renamed");
        self.io.sync_directory(&self.folder).map_err(|source| failed("sync the folder of", source))?;
        let old_bytes = usize::try_from(inner.records).unwrap_or(0).saturating_mul(RECORD_BYTES);
        let old = std::mem::replace(&mut inner.file, file);
        inner.records = u32::try_from(kept.len()).unwrap_or(u32::MAX).saturating_add(1);
        inner.pending.retain(|scope| !scopes.contains(scope));
        for scope in &inner.pending {
            if let Some(content) = inner.scopes.get(scope) {
                kept.insert(*scope, content.clone());
            }
        }
        inner.scopes = kept;
        // The old file has no name any more; what its blocks held must not be found in them.
        self.io
            .write_at(&old, &vec![0; old_bytes], 0)
            .and_then(|()| self.io.sync_data(&old))
            .map_err(|source| failed("overwrite the old", source))?;
        inner.unsure = false;
        Ok(())
    }

    /// Every scope that has or had a key, with the tombstone of those that were erased.
    pub fn scopes(&self) -> Vec<(Scope, Option<u64>)> {
        let tombstone = |content: &Content| match content {
            Content::Key(_) => None,
            Content::Erased { tombstone } => Some(*tombstone),
        };
        self.lock().scopes.iter().map(|(scope, content)| (*scope, tombstone(content))).collect()
    }

    fn wrap(&self, scope: &Scope, key: &DataKey, nonce: [u8; NONCE_LEN]) -> Result<Wrapped, DataKeyError> {
        let mut sealed = key.bytes().to_vec();
        self.wrap
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(scope.encode()),
                &mut sealed,
            )
            .map_err(|_| DataKeyError::Make("sealing failed".to_owned()))?;
        let sealed = <[u8; WRAPPED_BYTES]>::try_from(sealed)
            .map_err(|_| DataKeyError::Make("sealing gave another length".to_owned()))?;
        Ok(Wrapped { nonce, sealed })
    }

    fn unwrap(&self, scope: &Scope, wrapped: &Wrapped) -> Result<DataKey, DataKeyError> {
        let damaged = |what| DataKeyError::Damaged { path: keys_path(&self.folder), record: 0, what };
        let mut bytes = Zeroizing::new(wrapped.sealed);
        let nonce = Nonce::assume_unique_for_key(wrapped.nonce);
        let opened = self
            .wrap
            .open_in_place(nonce, Aad::from(scope.encode()), bytes.as_mut_slice())
            .map_err(|_| damaged("a key is not wrapped under this keys/wrap.key"))?;
        let key =
            <[u8; DATA_KEY_BYTES]>::try_from(&*opened).map_err(|_| damaged("a key has another length"))?;
        Ok(DataKey::new(Zeroizing::new(key)))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wrap_path(keys: &Path) -> PathBuf {
    keys.join("wrap.key")
}

fn keys_path(folder: &Path) -> PathBuf {
    folder.join("keys")
}

/// The file that takes the place of the other.
fn next_path(folder: &Path) -> PathBuf {
    folder.join("keys.next")
}

fn read_wrap(path: &Path) -> Result<LessSafeKey, DataKeyError> {
    let form = |problem: String| SecretError::Form { path: path.to_owned(), problem };
    let bytes = secrets::read(path)?;
    let value = Value::parse(&bytes).map_err(|error| form(error.to_string()))?;
    let mut members = Members::of(value, "").map_err(|error| form(error.to_string()))?;
    let format = members.text("format").map_err(|error| form(error.to_string()))?;
    if format != WRAP_FORMAT {
        return Err(form(format!("its format is {format:?}")).into());
    }
    let key = Zeroizing::new(members.base64("key").map_err(|error| form(error.to_string()))?);
    members.finish().map_err(|error| form(error.to_string()))?;
    let key = UnboundKey::new(&CHACHA20_POLY1305, &key);
    key.map(LessSafeKey::new).map_err(|_| form("the key must be 32 bytes".to_owned()).into())
}
