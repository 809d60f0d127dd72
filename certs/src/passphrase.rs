//! A passphrase, and what is sealed under it: scrypt makes a key of it, ChaCha20-Poly1305 seals. docs/FORMAT.md section 14.

use std::fmt;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

mod terminal;

/// Characters a new passphrase must have at least: four common words, or what a password manager makes.
pub const PASSPHRASE_CHARACTERS_MIN: usize = 12;
/// Longest passphrase, in bytes: a line, not a file that was named by mistake.
pub const PASSPHRASE_BYTES_MAX: usize = 1_024;
/// Cost of a new file, as a power of two: 128 MiB of memory and about half a second for each guess.
pub(crate) const LOG_N: u8 = 17;
/// Cheapest cost that is read.
pub(crate) const LOG_N_MIN: u8 = 14;
/// Dearest cost that is read: 1 GiB. More would let a file that was brought take all memory.
pub(crate) const LOG_N_MAX: u8 = 20;
/// Block size of scrypt, as RFC 7914 recommends.
const R: u32 = 8;
/// Lanes of scrypt, one after the other.
const P: u32 = 1;
/// Bytes of a salt.
pub(crate) const SALT_BYTES: usize = 16;
/// Bytes of a nonce.
pub(crate) const NONCE_BYTES: usize = 12;

/// Why there is no passphrase, or it opens nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PassphraseError {
    /// Wrong, or the file was changed: nobody can tell which.
    #[error("the passphrase is wrong, or the file was changed")]
    Wrong,
    /// Empty or too long.
    #[error("a passphrase has 1 to {PASSPHRASE_BYTES_MAX} bytes of text on one line")]
    Form,
    /// Too short for a new key.
    #[error("a new passphrase needs at least {PASSPHRASE_CHARACTERS_MIN} characters: four words will do")]
    Short,
    /// The two entries differ.
    #[error("the two passphrases differ: nothing was made")]
    Differ,
    /// Nobody can be asked.
    #[error(
        "nobody can be asked for the passphrase ({0}): give --passphrase-file FILE, or - for standard input"
    )]
    NoTerminal(String),
    /// Costs that this release does not read.
    #[error("the file asks for scrypt with 2^{0}; this release reads 2^{LOG_N_MIN} to 2^{LOG_N_MAX}")]
    Cost(u8),
}

/// A passphrase. Prints nothing, and is wiped from memory.
pub struct Passphrase(Zeroizing<String>);

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase")
    }
}

impl Passphrase {
    /// The passphrase in the bytes of a file or a pipe: one line, its end left out.
    pub fn of_line(bytes: &[u8]) -> Result<Self, PassphraseError> {
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let text = std::str::from_utf8(bytes).map_err(|_| PassphraseError::Form)?;
        let sound = !text.is_empty() && text.len() <= PASSPHRASE_BYTES_MAX && !text.contains(['\n', '\0']);
        if sound { Ok(Self(Zeroizing::new(text.to_owned()))) } else { Err(PassphraseError::Form) }
    }

    /// Asks the person at the terminal, without showing what they type.
    pub fn ask(prompt: &str) -> Result<Self, PassphraseError> {
        Self::of_line(terminal::ask(prompt)?.as_slice())
    }

    /// Asks twice for a new one.
    pub fn ask_new(prompt: &str) -> Result<Self, PassphraseError> {
        let first = Self::ask(prompt)?.checked()?;
        let second = Self::ask("The same once more: ")?;
        if *first.0 == *second.0 { Ok(first) } else { Err(PassphraseError::Differ) }
    }

    /// This one, if it is long enough for a new key.
    pub fn checked(self) -> Result<Self, PassphraseError> {
        if self.0.chars().count() >= PASSPHRASE_CHARACTERS_MIN {
            Ok(self)
        } else {
            Err(PassphraseError::Short)
        }
    }

    fn key(&self, salt: &[u8; SALT_BYTES], log_n: u8) -> Result<LessSafeKey, PassphraseError> {
        if !(LOG_N_MIN..=LOG_N_MAX).contains(&log_n) {
            return Err(PassphraseError::Cost(log_n));
        }
        let params = scrypt::Params::new(log_n, R, P).map_err(|_| PassphraseError::Cost(log_n))?;
        let mut key = Zeroizing::new([0_u8; 32]);
        scrypt::scrypt(self.0.as_bytes(), salt, &params, key.as_mut_slice())
            .map_err(|_| PassphraseError::Cost(log_n))?;
        let key = UnboundKey::new(&CHACHA20_POLY1305, key.as_slice()).map_err(|_| PassphraseError::Wrong)?;
        Ok(LessSafeKey::new(key))
    }

    /// Seals `plain`; `label` must be given again to open it.
    pub(crate) fn seal(
        &self,
        label: &str,
        plain: &[u8],
        salt: &[u8; SALT_BYTES],
        nonce: [u8; NONCE_BYTES],
        log_n: u8,
    ) -> Result<Vec<u8>, PassphraseError> {
        let mut bytes = plain.to_vec();
        let (nonce, label) = (Nonce::assume_unique_for_key(nonce), Aad::from(label.as_bytes()));
        let tag = self.key(salt, log_n)?.seal_in_place_separate_tag(nonce, label, &mut bytes);
        let tag = tag.map_err(|_| PassphraseError::Wrong)?;
        bytes.extend_from_slice(tag.as_ref());
        Ok(bytes)
    }

    /// Opens what [`Passphrase::seal`] gave.
    pub(crate) fn open(
        &self,
        label: &str,
        sealed: Vec<u8>,
        salt: &[u8; SALT_BYTES],
        nonce: [u8; NONCE_BYTES],
        log_n: u8,
    ) -> Result<Zeroizing<Vec<u8>>, PassphraseError> {
        let mut bytes = Zeroizing::new(sealed);
        let (nonce, label) = (Nonce::assume_unique_for_key(nonce), Aad::from(label.as_bytes()));
        let opened = self.key(salt, log_n)?.open_in_place(nonce, label, bytes.as_mut_slice());
        let length = opened.map_err(|_| PassphraseError::Wrong)?.len();
        bytes.truncate(length);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests;
