//! Who holds this device's two secret keys: files of its own, or a TPM 2.0. docs/KEYS.md.
//!
//! | | attestation key (Ed25519) | TLS key (P-256) |
//! |---|---|---|
//! | files | `attestation.key`, the seed | `tls.key`, PEM |
//! | a TPM | `attestation.tpm`, the seed sealed to it: no TPM signs Ed25519 | `tls.tpm`, made in it and never outside |
//!
//! What lies in the folder of keys says who holds them; `tpm` of agent.toml says who makes new ones, and where the TPM is. A
//! key that cannot be used is an error that names the next step, never a reason to make another one.

mod address;
#[cfg(all(feature = "tpm", target_os = "linux"))]
mod tpm;
/// In a build without TPM: every call says so.
#[cfg(not(all(feature = "tpm", target_os = "linux")))]
#[path = "custody/no_tpm.rs"]
mod tpm;

use std::path::Path;
use std::sync::Arc;

use certs::{HeldKey, TlsKey};
use evidence::ids::Digest;
use evidence::keys::SecretKey;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::binding;
use crate::state::{StateDirectory, StateError};

pub use address::{TpmAddress, TpmAddressError};

/// The file of the attestation key: 32 bytes, the seed.
pub const ATTESTATION_KEY_FILE: &str = "attestation.key";
/// The file of the TLS key: PEM.
pub const TLS_KEY_FILE: &str = "tls.key";
/// The file of an attestation key whose seed is sealed to a TPM.
pub const SEALED_ATTESTATION_KEY_FILE: &str = "attestation.tpm";
/// The file of a TLS key that only a TPM can use.
pub const TPM_TLS_KEY_FILE: &str = "tls.tpm";

/// First member of a file of a TPM's key.
const FORMAT: &str = "tallystick/tpm-key/v1";

/// Why a TPM did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TpmError {
    /// A build without the feature.
    #[error(
        "this program was built without support for a TPM: install the build with it (docs/KEYS.md). Nothing was changed"
    )]
    NotBuilt,
    /// The keys are a TPM's, and the configuration names none.
    #[error(
        "{path} is held by a TPM, but agent.toml names none: put `tpm = \"device:/dev/tpmrm0\"` back into it"
    )]
    NotNamed {
        /// The key's file.
        path: String,
    },
    /// Nobody answers there.
    #[error(
        "the TPM at {address} does not answer ({problem}): look whether it is switched on in the firmware's settings and whether \
         /dev/tpmrm0 is there. The keys are not lost, and nothing was changed"
    )]
    Gone {
        /// Where it was tried.
        address: TpmAddress,
        /// What the library said.
        problem: String,
    },
    /// The same chip, with another owner's seed.
    #[error(
        "the TPM was cleared after {path} was made, so that this key is lost for good: run `tallystick-agent enroll --anew` with \
         a new token"
    )]
    Cleared {
        /// The key's file.
        path: String,
    },
    /// Another chip.
    #[error(
        "{path} belongs to another TPM than the one here: this is a copy of another machine's disk, or the board was exchanged. \
         Run `tallystick-agent enroll --anew` with a new token; the keys stay where they are until then"
    )]
    Another {
        /// The key's file.
        path: String,
    },
    /// It refused a command.
    #[error("the TPM at {address} refused to {what}: {problem}")]
    Refused {
        /// Which.
        address: TpmAddress,
        /// What was asked.
        what: &'static str,
        /// Its answer.
        problem: String,
    },
    /// Its answer makes no sense.
    #[error("the TPM's answer cannot be right: {0}")]
    Answer(String),
}

/// Who holds the keys of this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// Files that root can copy.
    Files,
    /// A TPM: the TLS key never leaves it, the attestation key's seed does while the agent runs.
    Tpm,
}

impl Holder {
    /// The key level this device would claim. A claim only: what a collector has not checked counts as `k0`.
    pub fn claimed_level(self) -> &'static str {
        match self {
            Self::Files => "k0",
            Self::Tpm => "k2",
        }
    }

    /// Who holds the keys that are there, in words, and what is said of a TPM after enrolling.
    pub fn told(state: &StateDirectory) -> (&'static str, &'static str) {
        let holder = holder(state).unwrap_or(Self::Files);
        (holder.words(), if holder == Self::Tpm { "; a TPM holds its keys" } else { "" })
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Tpm => "a TPM",
        }
    }
}

/// A key as a TPM gives it out: of use to that TPM alone.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wrapped {
    format: String,
    /// Name of a key that only this chip makes, hex: tells another chip from a cleared one.
    chip: String,
    /// Name of the storage key above it, hex.
    parent: String,
    /// TPM2B_PUBLIC without its length, hex.
    public: String,
    /// TPM2B_PRIVATE without its length, hex: encrypted by the TPM.
    private: String,
}

impl std::fmt::Debug for Wrapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Wrapped(under {})", self.parent)
    }
}

impl Wrapped {
    fn read(state: &StateDirectory, name: &str) -> Result<Option<Self>, StateError> {
        let path = state.keys().join(name);
        let Some(bytes) = state.read_secret(name)? else { return Ok(None) };
        let wrapped: Self =
            serde_json::from_slice(&bytes).map_err(|error| damaged(&path, error.to_string()))?;
        if wrapped.format == FORMAT {
            Ok(Some(wrapped))
        } else {
            Err(damaged(&path, format!("its format is {:?}, not {FORMAT:?}", wrapped.format)))
        }
    }

    fn write(&self, state: &StateDirectory, name: &str) -> Result<(), StateError> {
        let bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| damaged(&state.keys().join(name), error.to_string()))?;
        state.write_new_secret(name, &bytes)
    }
}

/// Who holds the keys that are there; `None` when there are none.
pub fn holder(state: &StateDirectory) -> Option<Holder> {
    let has = |name: &str| std::fs::symlink_metadata(state.keys().join(name)).is_ok();
    if has(TPM_TLS_KEY_FILE) || has(SEALED_ATTESTATION_KEY_FILE) {
        Some(Holder::Tpm)
    } else if has(TLS_KEY_FILE) || has(ATTESTATION_KEY_FILE) {
        Some(Holder::Files)
    } else {
        None
    }
}

/// Reads the attestation key; `None` when there is none. Refused on another machine than the one it was made on.
pub fn attestation_key(state: &StateDirectory) -> Result<Option<SecretKey>, StateError> {
    binding::check(state)?;
    let sealed_path = state.keys().join(SEALED_ATTESTATION_KEY_FILE);
    let path = state.keys().join(ATTESTATION_KEY_FILE);
    let seed = match (
        Wrapped::read(state, SEALED_ATTESTATION_KEY_FILE)?,
        state.read_secret(ATTESTATION_KEY_FILE)?,
    ) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => return Err(two_keys(&sealed_path, ATTESTATION_KEY_FILE)),
        (Some(sealed), None) => tpm::unseal(address_of(state, &sealed_path)?, &sealed, &sealed_path)?,
        (None, Some(bytes)) => <[u8; 32]>::try_from(bytes.as_slice())
            .map(Zeroizing::new)
            .map_err(|_| damaged(&path, "it is not 32 bytes"))?,
    };
    SecretKey::from_seed(&seed).map(Some).map_err(|error| damaged(&path, error.to_string()))
}

/// Reads the TLS key; `None` when there is none. A TPM is asked only when it must sign.
pub fn tls_key(state: &StateDirectory) -> Result<Option<Arc<dyn HeldKey>>, StateError> {
    binding::check(state)?;
    let held_path = state.keys().join(TPM_TLS_KEY_FILE);
    let path = state.keys().join(TLS_KEY_FILE);
    match (Wrapped::read(state, TPM_TLS_KEY_FILE)?, state.read_secret(TLS_KEY_FILE)?) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(two_keys(&held_path, TLS_KEY_FILE)),
        (Some(wrapped), None) => {
            Ok(Some(Arc::new(tpm::Key::of(address_of(state, &held_path)?, wrapped, &held_path)?)))
        }
        (None, Some(bytes)) => {
            let text = std::str::from_utf8(&bytes).map_err(|_| damaged(&path, "it is not PEM"))?;
            let key = TlsKey::from_pem(text).map_err(|error| damaged(&path, error.to_string()))?;
            Ok(Some(Arc::new(key)))
        }
    }
}

/// Makes and keeps an attestation key where agent.toml says. There must be none.
pub fn make_attestation_key(state: &StateDirectory) -> Result<SecretKey, StateError> {
    binding::bind(state)?;
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice()).map_err(|error| no_random(state, error))?;
    let path = state.keys().join(ATTESTATION_KEY_FILE);
    let key = SecretKey::from_seed(&seed).map_err(|error| damaged(&path, error.to_string()))?;
    match state.tpm() {
        None => state.write_new_secret(ATTESTATION_KEY_FILE, seed.as_slice())?,
        Some(address) => tpm::seal(address, &seed)?.write(state, SEALED_ATTESTATION_KEY_FILE)?,
    }
    Ok(key)
}

/// Makes and keeps a TLS key where agent.toml says. There must be none.
pub fn make_tls_key(state: &StateDirectory) -> Result<Arc<dyn HeldKey>, StateError> {
    binding::bind(state)?;
    match state.tpm() {
        None => {
            let path = state.keys().join(TLS_KEY_FILE);
            let key = TlsKey::generate().map_err(|error| damaged(&path, error.to_string()))?;
            state.write_new_secret(TLS_KEY_FILE, key.to_pem().as_bytes())?;
            Ok(Arc::new(key))
        }
        Some(address) => {
            let path = state.keys().join(TPM_TLS_KEY_FILE);
            let wrapped = tpm::make_key(address)?;
            wrapped.write(state, TPM_TLS_KEY_FILE)?;
            Ok(Arc::new(tpm::Key::of(address, wrapped, &path)?))
        }
    }
}

/// The certificate of the TPM that holds the TLS key, by its maker; `None` where files hold it or the maker wrote none.
pub fn endorsement_certificate(state: &StateDirectory) -> Result<Option<Vec<u8>>, StateError> {
    let path = state.keys().join(TPM_TLS_KEY_FILE);
    match Wrapped::read(state, TPM_TLS_KEY_FILE)? {
        None => Ok(None),
        Some(_) => Ok(tpm::endorsement_certificate(address_of(state, &path)?)?),
    }
}

/// Opens a challenge that only the TPM with the TLS key can open.
pub fn answer_challenge(
    state: &StateDirectory,
    credential: &[u8],
    secret: &[u8],
) -> Result<Vec<u8>, StateError> {
    let path = state.keys().join(TPM_TLS_KEY_FILE);
    let wrapped = Wrapped::read(state, TPM_TLS_KEY_FILE)?
        .ok_or_else(|| damaged(&path, "a collector asks for a TPM's answer, and no TPM holds the TLS key"))?;
    Ok(tpm::answer_challenge(address_of(state, &path)?, &wrapped, &path, credential, secret)?)
}

fn address_of<'a>(state: &'a StateDirectory, path: &Path) -> Result<&'a TpmAddress, TpmError> {
    state.tpm().ok_or_else(|| TpmError::NotNamed { path: path.display().to_string() })
}

fn damaged(path: &Path, problem: impl Into<String>) -> StateError {
    StateError::Damaged { path: path.display().to_string(), problem: problem.into() }
}

fn two_keys(path: &Path, other: &str) -> StateError {
    damaged(
        path,
        format!(
            "{other} lies beside it, and a device has one such key: move the one it was not enrolled with away"
        ),
    )
}

fn no_random(state: &StateDirectory, error: getrandom::Error) -> StateError {
    StateError::Io {
        what: "get random bytes for a key in",
        path: state.keys().display().to_string(),
        source: error.into(),
    }
}

/// SHA-256 in hex, as the files of a TPM's keys name things.
#[cfg_attr(
    not(all(feature = "tpm", target_os = "linux")),
    expect(dead_code, reason = "only a TPM's keys have names")
)]
fn name_of(bytes: &[u8]) -> String {
    Digest::of(bytes).hex()
}

#[cfg(test)]
mod tests;
