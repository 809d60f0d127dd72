//! The key file of a person and its public half: what `tallystick key new` writes and `user create` reads.
//! docs/FORMAT.md section 14.
//!
//! One file holds both secrets of a person: the Ed25519 key that signs acts, and the P-256 key of the connection.
//! Whoever reads the file is that person, so writers protect it (0600, and a passphrase) and never overwrite one.

use std::fmt;

use evidence::enrolment::{TlsPublicKey, TranscriptError};
use evidence::json::{self, JsonError, Members, Value};
use evidence::keys::{KeyError, PublicKey, SecretKey};
use zeroize::Zeroizing;

use crate::passphrase::{LOG_N, NONCE_BYTES, Passphrase, PassphraseError, SALT_BYTES};
use crate::tls_key::{TlsKey, TlsKeyError};

/// Largest key file or public key file worth reading, in bytes: a real one has less than 600.
pub const PERSON_KEY_BYTES_MAX: usize = 8_192;

const SECRET_FORMAT: &str = "tallystick/key/v1";
const SEALED_FORMAT: &str = "tallystick/key/v2";
const PUBLIC_FORMAT: &str = "tallystick/public-key/v1";

/// Why a key file was refused. No variant repeats secret bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PersonKeyError {
    /// Not the one form of such a file.
    #[error("not a key file: {0}")]
    Json(#[from] JsonError),
    /// Larger than any key file.
    #[error("not a key file: it has {0} bytes, more than {PERSON_KEY_BYTES_MAX}")]
    TooLarge(usize),
    /// The file is of the other kind, or of another program.
    #[error("format is {found:?}, expected {expected:?}: {hint}")]
    Format {
        /// Format in the file.
        found: String,
        /// Format wanted.
        expected: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// It takes a passphrase.
    #[error(
        "the key file is protected by a passphrase: give --passphrase-file FILE, or - for standard input"
    )]
    Protected,
    /// The passphrase.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// Lengths of salt and nonce.
    #[error("not a key file: salt or nonce has the wrong length")]
    Lengths,
    /// The Ed25519 half.
    #[error("the signing key: {0}")]
    Signing(#[from] KeyError),
    /// The P-256 half.
    #[error("the TLS key: {0}")]
    Tls(#[from] TlsKeyError),
    /// The public P-256 half.
    #[error("the public TLS key: {0}")]
    TlsPublic(#[from] TranscriptError),
}

/// Both secret keys of a person. Prints neither.
pub struct PersonKey {
    /// Signs acts.
    pub signing: SecretKey,
    /// Proves who connects.
    pub tls: TlsKey,
}

impl fmt::Debug for PersonKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PersonKey({:?}, {:?})", self.signing, self.tls)
    }
}

impl PersonKey {
    /// A new person's keys: the signing key of 32 random bytes, and a new TLS key from the system's randomness.
    pub fn new(seed: &[u8; 32]) -> Result<Self, PersonKeyError> {
        Ok(Self { signing: SecretKey::from_seed(seed)?, tls: TlsKey::generate()? })
    }

    /// Whether a key file takes a passphrase. A file of any other kind does not.
    pub fn is_protected(bytes: &[u8]) -> bool {
        open(bytes, SEALED_FORMAT, "").is_ok()
    }

    /// Reads a key file that a passphrase protects.
    pub fn unlock(bytes: &[u8], passphrase: &Passphrase) -> Result<Self, PersonKeyError> {
        let mut members = open(bytes, SEALED_FORMAT, "it is not protected by a passphrase")?;
        let log_n = members.count("log_n")?;
        let (salt, nonce) = (members.base64("salt")?, members.base64("nonce")?);
        let sealed = members.base64("sealed")?;
        members.finish()?;
        let salt = salt.try_into().map_err(|_| PersonKeyError::Lengths)?;
        let nonce = nonce.try_into().map_err(|_| PersonKeyError::Lengths)?;
        let log_n = u8::try_from(log_n).unwrap_or(u8::MAX);
        Self::parse(&passphrase.open(SEALED_FORMAT, sealed, &salt, nonce, log_n)?)
    }

    /// The file's bytes under a passphrase. `random` is for this file alone.
    pub fn protect(&self, passphrase: &Passphrase, random: &[u8; 28]) -> Result<Vec<u8>, PersonKeyError> {
        self.protect_at(passphrase, random, LOG_N)
    }

    fn protect_at(
        &self,
        passphrase: &Passphrase,
        random: &[u8; 28],
        log_n: u8,
    ) -> Result<Vec<u8>, PersonKeyError> {
        let (salt, nonce) = random.split_first_chunk::<SALT_BYTES>().ok_or(PersonKeyError::Lengths)?;
        let nonce = <[u8; NONCE_BYTES]>::try_from(nonce).map_err(|_| PersonKeyError::Lengths)?;
        let sealed = passphrase.seal(SEALED_FORMAT, &self.encode(), salt, nonce, log_n)?;
        let members = [
            ("format", json::text(SEALED_FORMAT)),
            ("log_n", json::count(log_n.into())),
            ("salt", json::base64(salt)),
            ("nonce", json::base64(&nonce)),
            ("sealed", json::base64(&sealed)),
        ];
        Ok(json::object(members).to_bytes())
    }

    /// Reads a key file without a passphrase, with or without one final newline.
    pub fn parse(bytes: &[u8]) -> Result<Self, PersonKeyError> {
        if Self::is_protected(bytes) {
            return Err(PersonKeyError::Protected);
        }
        let mut members =
            open(bytes, SECRET_FORMAT, "give the file of `tallystick key new`, not its .pub file")?;
        let seed = Zeroizing::new(members.base64("ed25519")?);
        let seed = <[u8; 32]>::try_from(seed.as_slice()).map(Zeroizing::new).map_err(|_| KeyError::Length)?;
        let pem = Zeroizing::new(members.text("tls_key")?);
        members.finish()?;
        Ok(Self { signing: SecretKey::from_seed(&seed)?, tls: TlsKey::from_pem(&pem)? })
    }

    /// The file's bytes, for a file that only its owner can read.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        // Written by hand: a `Value` would leave copies of the secrets in freed memory.
        let seed = Zeroizing::new(json::encode_base64(self.signing.seed().as_slice()));
        let pem = self.tls.to_pem();
        let mut out = Zeroizing::new(Vec::with_capacity(PERSON_KEY_BYTES_MAX));
        out.extend_from_slice(b"{\"ed25519\":\"");
        out.extend_from_slice(seed.as_bytes());
        out.extend_from_slice(b"\",\"format\":\"");
        out.extend_from_slice(SECRET_FORMAT.as_bytes());
        out.extend_from_slice(b"\",\"tls_key\":\"");
        for line in pem.lines() {
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\\n");
        }
        out.extend_from_slice(b"\"}");
        out
    }

    /// The public halves.
    pub fn public(&self) -> PersonPublicKey {
        PersonPublicKey { signing: *self.signing.public(), tls: self.tls.public().clone() }
    }
}

/// Both public keys of a person: what an admin admits to the roster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonPublicKey {
    /// Checks the person's acts.
    pub signing: PublicKey,
    /// Is in the person's certificate.
    pub tls: TlsPublicKey,
}

impl PersonPublicKey {
    /// Reads a public key file, with or without one final newline.
    pub fn parse(bytes: &[u8]) -> Result<Self, PersonKeyError> {
        let mut members = open(bytes, PUBLIC_FORMAT, "give the .pub file that `tallystick key new` wrote")?;
        let signing = PublicKey::from_slice(members.digest("key")?.as_bytes())?;
        let tls = TlsPublicKey::from_spki_der(&members.base64("tls_spki")?)?;
        members.finish()?;
        Ok(Self { signing, tls })
    }

    /// The file's canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        json::object([
            ("format", json::text(PUBLIC_FORMAT)),
            ("key", json::text(self.signing.hex())),
            ("tls_spki", json::base64(self.tls.spki_der())),
        ])
        .to_bytes()
    }
}

/// The members of a file of `format`.
fn open(bytes: &[u8], format: &'static str, hint: &'static str) -> Result<Members, PersonKeyError> {
    if bytes.len() > PERSON_KEY_BYTES_MAX {
        return Err(PersonKeyError::TooLarge(bytes.len()));
    }
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let mut members = Members::of(Value::parse(bytes)?, "")?;
    let found = members.text("format")?;
    if found == format { Ok(members) } else { Err(PersonKeyError::Format { found, expected: format, hint }) }
}

#[cfg(test)]
mod tests;
