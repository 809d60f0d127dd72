//! Secret keys in files: made once, readable by their owner alone.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use evidence::json::{self, Members, Value};
use evidence::keys::SecretKey;
use zeroize::Zeroizing;

/// Owner reads and writes, nobody else.
const FILE_MODE: u32 = 0o600;
/// Bits of group and others.
const OTHERS: u32 = 0o077;
/// Largest key file, bytes: a PEM key has 300.
const FILE_BYTES_MAX: u64 = 65_536;
const FORMAT: &str = "tallystick/secret/v1";

/// Why a secret could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The operating system.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// Others may read it.
    #[error("{path} may be read by others: run chmod 600 on it, and replace the key if others had access")]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// Not a key file.
    #[error("{path} is not a key file: {problem}")]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// Writes a new secret file; refuses to replace one.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), SecretError> {
    let io = |what, source| SecretError::Io { what, path: path.to_owned(), source };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)
        .map_err(|source| io("make", source))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|source| io("write", source))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|source| io("sync the folder of", source))
}

/// Reads a secret file nobody else may read.
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let io = |what, source| SecretError::Io { what, path: path.to_owned(), source };
    let file = File::open(path).map_err(|source| io("open", source))?;
    let metadata = file.metadata().map_err(|source| io("read", source))?;
    if metadata.mode() & OTHERS != 0 {
        return Err(SecretError::Exposed { path: path.to_owned() });
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(|source| io("read", source))?;
    Ok(bytes)
}

/// The file form of an Ed25519 key.
pub fn encode(key: &SecretKey) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(
        json::object([("format", json::text(FORMAT)), ("ed25519", json::base64(key.seed().as_slice()))])
            .to_bytes(),
    )
}

/// An Ed25519 key from its file.
pub fn signing_key(path: &Path) -> Result<SecretKey, SecretError> {
    let form = |problem: String| SecretError::Form { path: path.to_owned(), problem };
    let bytes = read(path)?;
    let value = Value::parse(&bytes).map_err(|error| form(error.to_string()))?;
    let mut members = Members::of(value, "").map_err(|error| form(error.to_string()))?;
    let format = members.text("format").map_err(|error| form(error.to_string()))?;
    if format != FORMAT {
        return Err(form(format!("its format is {format:?}")));
    }
    let seed = Zeroizing::new(members.base64("ed25519").map_err(|error| form(error.to_string()))?);
    let seed = <[u8; 32]>::try_from(seed.as_slice()).map_err(|_| form("the seed must be 32 bytes".into()))?;
    SecretKey::from_seed(&Zeroizing::new(seed)).map_err(|error| form(error.to_string()))
}
