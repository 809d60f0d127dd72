//! collector.toml: what people set. Reading it binds nothing and starts nothing.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::erase::{RETENTION_DAYS_DEFAULT, RETENTION_DAYS_MIN};
use crate::quota::Quota;

/// Why the configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A key or value is wrong; the parser names line, column and key.
    #[error("{path}: {message}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What and where.
        message: String,
    },
}

/// collector.toml.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Origin of the log, fixed at init.
    pub origin: String,
    /// DNS name of the installation, fixed at init.
    pub trust_domain: String,
    /// Names and addresses in the server's certificate: what devices and people dial.
    pub server_names: Vec<String>,
    /// Where each listener is bound.
    pub listen: Listen,
    /// File of the high-water mark, an absolute path on another file system: it notices a restored backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high_water: Option<PathBuf>,
    /// Folder of a mirror of this log, an absolute path on another file system, kept by `tallystick log mirror`: it notices a
    /// restored backup that is older than the mirror's newest checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<PathBuf>,
    /// Run although nothing outside this file system remembers the log: only if the genesis says so too, from which
    /// every set prints it.
    #[serde(default)]
    pub accept_rollback_blindness: bool,
    /// Let a newcomer in by its token although a device in service told the same hardware when it enrolled. Without it a
    /// person must approve it; with it `tallystick devices conflicts` only shows the two.
    #[serde(default)]
    pub admit_known_hardware: bool,
    /// File of the witness policy (C2SP tlog-policy): whom checkpoints are shown to before they are published. A relative
    /// path begins at the data directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness_policy: Option<PathBuf>,
    /// PEM file with the authorities of witnesses that are asked over https. A relative path likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness_roots: Option<PathBuf>,
    /// Time between two cosignatures of a quiet log, seconds.
    #[serde(default = "witness_recosign_seconds_default")]
    pub witness_recosign_seconds: u64,
    /// Folder with a public tree of the log that this one follows: what shows devices that it extends what they have seen.
    /// A relative path begins at the data directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predecessor_tree: Option<PathBuf>,
    /// Length of a journal segment, bytes.
    #[serde(default = "segment_bytes_default")]
    pub segment_bytes: u64,
    /// Full journal segments kept although index, public tree and payload bundles hold what is in them.
    #[serde(default = "journal_segments_kept_default")]
    pub journal_segments_kept: u64,
    /// Time between checkpoints, milliseconds.
    #[serde(default = "checkpoint_interval_ms_default")]
    pub checkpoint_interval_ms: u64,
    /// Free space below which nothing is taken in, bytes.
    #[serde(default = "free_bytes_min_default")]
    pub free_bytes_min: u64,
    /// Space kept to be given back on a full disk, bytes.
    #[serde(default = "ballast_bytes_default")]
    pub ballast_bytes: u64,
    /// How long what devices said is kept.
    #[serde(default)]
    pub retention: Retention,
    /// What one device may send.
    #[serde(default, skip_serializing_if = "Quota::is_default")]
    pub quota: Quota,
}

/// How long what devices said is kept: what `erase` goes by. Nothing is erased by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Days from the end of a quarter, at least [`RETENTION_DAYS_MIN`].
    pub device_statements_days: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { device_statements_days: RETENTION_DAYS_DEFAULT }
    }
}

/// Addresses of the listeners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Devices that enrol: server TLS.
    pub enrol: SocketAddr,
    /// Enrolled devices: mutual TLS.
    pub agents: SocketAddr,
    /// Admins, analysts, auditors: mutual TLS.
    pub people: SocketAddr,
    /// Anybody, for the public tree: server TLS. Without it the tree is written and not served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiles: Option<SocketAddr>,
}

/// As [`crate::sequencer::RECOSIGN_INTERVAL_DEFAULT`].
pub(crate) fn witness_recosign_seconds_default() -> u64 {
    crate::sequencer::RECOSIGN_INTERVAL_DEFAULT.as_secs()
}

fn segment_bytes_default() -> u64 {
    crate::journal::SEGMENT_BYTES_DEFAULT
}

pub(crate) fn journal_segments_kept_default() -> u64 {
    crate::ledger::JOURNAL_SEGMENTS_KEPT_DEFAULT
}

fn checkpoint_interval_ms_default() -> u64 {
    1_000
}

fn free_bytes_min_default() -> u64 {
    crate::sequencer::FREE_BYTES_MIN_DEFAULT
}

fn ballast_bytes_default() -> u64 {
    crate::datadir::BALLAST_BYTES_DEFAULT
}

impl Config {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let wrong = |message: String| ConfigError::Wrong { path: path.to_owned(), message };
        let config: Self = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let label =
            config.origin.strip_prefix(&config.trust_domain).and_then(|rest| rest.strip_prefix("/log/"));
        if label.is_none_or(str::is_empty) {
            return Err(wrong(format!("origin must be {}/log/<label>", config.trust_domain)));
        }
        if config.retention.device_statements_days < RETENTION_DAYS_MIN {
            return Err(wrong(format!(
                "retention.device_statements_days is at least {RETENTION_DAYS_MIN}; what must go earlier is erased by a \
                 rule of its own (`erase --rule`)"
            )));
        }
        if let Some(key) = config.quota.zero() {
            return Err(wrong(format!(
                "quota.{key} is at least 1: with 0 no device could ever send anything"
            )));
        }
        Ok(config)
    }

    /// The file's text.
    pub fn text(&self) -> Result<String, ConfigError> {
        toml::to_string(self).map_err(|error| ConfigError::Wrong {
            path: PathBuf::from("collector.toml"),
            message: error.to_string(),
        })
    }
}
