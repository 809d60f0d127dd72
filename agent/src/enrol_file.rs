//! `enrol.toml`: where to enrol, and the file with the token, for a machine that is installed with nobody at its keyboard.
//!
//! The package's service enrols by it at its first start. What installs the package lays both files down before or after; the
//! token is removed as soon as it was used, since one token may be for many machines.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rpc::connect::Address;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::disk;
use crate::state::{StateDirectory, StateError, check_secret_file};

/// The token's file, beside `enrol.toml`, unless it names another.
const TOKEN_FILE: &str = "token";

/// Why a device cannot be enrolled by the file.
#[derive(Debug, thiserror::Error)]
pub enum EnrolFileError {
    /// It cannot be read.
    #[error("{path}: cannot read where to enrol")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// Not TOML, an unknown key, or no address.
    #[error("{path}: {problem}")]
    Syntax {
        /// The file.
        path: String,
        /// What is wrong and where.
        problem: String,
    },
    /// Others could have read the token, or it is no file.
    #[error(transparent)]
    Token(#[from] StateError),
    /// The token was used and is still there.
    #[error("this device is enrolled, but the token in {path} could not be removed: remove it by hand")]
    Left {
        /// The token's file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    server: String,
    agents: Option<String>,
    token_file: Option<PathBuf>,
}

/// Where to enrol, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolFile {
    /// The collector's enrolment listener.
    pub server: Address,
    /// Its listener for agents, if it is another than the port after.
    pub agents: Option<Address>,
    /// The file with the token.
    pub token_file: PathBuf,
}

impl EnrolFile {
    /// Reads the file at `path`; `None` when this device is enrolled and neither the file nor a token waits, so that every
    /// start of a service may ask.
    pub fn waiting(path: &Path, state: &StateDirectory) -> Result<Option<Self>, EnrolFileError> {
        let is_enrolled = state.file(crate::identity::IDENTITY_FILE).exists();
        let file = match disk::read_bounded(path) {
            Err(error) if is_enrolled && error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(EnrolFileError::Read { path: path.display().to_string(), source }),
            Ok(bytes) => Self::parse(&bytes, path)?,
        };
        Ok((!is_enrolled || file.token_file.exists()).then_some(file))
    }

    /// Reads the bytes of the file called `path`.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self, EnrolFileError> {
        let syntax = |problem: String| EnrolFileError::Syntax { path: path.display().to_string(), problem };
        let text = std::str::from_utf8(bytes).map_err(|_| syntax("is not UTF-8".into()))?;
        let raw: Raw =
            toml::from_str(text).map_err(|error| syntax(error.to_string().trim_end().to_owned()))?;
        let address = |key: &str, text: String| {
            text.parse::<Address>().map_err(|error| syntax(format!("{key} = \"{text}\": {error}")))
        };
        let beside = path.parent().unwrap_or(Path::new(""));
        Ok(Self {
            server: address("server", raw.server)?,
            agents: raw.agents.map(|text| address("agents", text)).transpose()?,
            token_file: beside.join(raw.token_file.unwrap_or_else(|| TOKEN_FILE.into())),
        })
    }

    /// The token's text, from a file that nobody else can have read.
    pub fn token(&self) -> Result<Zeroizing<String>, EnrolFileError> {
        check_secret_file(&self.token_file)?;
        let path = || self.token_file.display().to_string();
        let bytes = disk::read_bounded(&self.token_file).map(Zeroizing::new);
        let bytes = bytes.map_err(|source| EnrolFileError::Read { path: path(), source })?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| EnrolFileError::Syntax { path: path(), problem: "is not text".into() })?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    /// Removes the token, which was used.
    pub fn remove_token(&self) -> Result<(), EnrolFileError> {
        let removed = match std::fs::remove_file(&self.token_file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => self.token_file.parent().map_or(Ok(()), disk::sync_folder),
        };
        let left = |source| EnrolFileError::Left { path: self.token_file.display().to_string(), source };
        removed.map_err(left)
    }
}

/// Where agents connect unless told otherwise: the port after the one they enrol at.
pub(crate) fn next_port(server: &Address) -> anyhow::Result<Address> {
    let text = server.to_string();
    let (host, port) = text.rsplit_once(':').context("the address has no port")?;
    let Some(port) = port.parse::<u16>().ok().and_then(|port| port.checked_add(1)) else {
        bail!("there is no port after {port}: give --agents HOST:PORT");
    };
    Ok(format!("{host}:{port}").parse()?)
}

#[cfg(test)]
mod tests;
