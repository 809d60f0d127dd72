//! What collector.toml says about witnesses, read and checked at start: a policy that can never be met would stop
//! publishing for good.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use certs::TlsError;
use certs::pem::PemError;
use evidence::note::VerifierKey;
use evidence::witness_policy::{POLICY_BYTES_MAX, PolicyError, WitnessPolicy};
use rustls::ClientConfig;

use super::endpoint::{Endpoint, EndpointError};
use crate::config::Config;

/// Largest file of certificates that is read, bytes.
const ROOTS_BYTES_MAX: u64 = 1 << 20;

/// Why the settings about witnesses were refused.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file could not be read.
    #[error("cannot read {path}, which collector.toml names as {key}: {source}")]
    Read {
        /// The setting.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The policy is none.
    #[error("{path}: {source}")]
    Policy {
        /// The file.
        path: PathBuf,
        /// What and where.
        source: PolicyError,
    },
    /// The policy is of another log.
    #[error("{path} must have exactly one log line, and it must be `log {vkey}`")]
    Log {
        /// The file.
        path: PathBuf,
        /// Key of this log.
        vkey: String,
    },
    /// A URL.
    #[error("{path}: witness {witness}: {source}")]
    Url {
        /// The file.
        path: PathBuf,
        /// Name of the witness in the policy.
        witness: String,
        /// What is wrong.
        source: EndpointError,
    },
    /// Nobody who can be asked would be enough.
    #[error("{path}: the witnesses with a URL cannot meet the quorum {quorum:?}: give the others theirs")]
    Quorum {
        /// The file.
        path: PathBuf,
        /// What the quorum line names.
        quorum: String,
    },
    /// https without certificates.
    #[error(
        "{path}: witness {witness} is asked over https, and collector.toml names no `witness_roots`: a PEM file with the \
         certificates of the authorities that issued the witnesses' certificates"
    )]
    NoRoots {
        /// The file.
        path: PathBuf,
        /// Name of the witness in the policy.
        witness: String,
    },
    /// The certificates.
    #[error("{path}: {source}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: PemError,
    },
    /// The certificates cannot be trusted.
    #[error("{path}: {source}")]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: TlsError,
    },
    /// A setting that means nothing without another, or has no sense.
    #[error("collector.toml: {0}")]
    Setting(&'static str),
}

/// Witnesses, and how they are asked.
#[derive(Debug)]
pub struct Settings {
    /// The policy.
    pub policy: WitnessPolicy,
    /// Its text.
    pub text: String,
    /// Where each witness of the policy is asked, in its order; none for one without a URL.
    pub endpoints: Vec<Option<Endpoint>>,
    /// For those with TLS.
    pub tls: Option<Arc<ClientConfig>>,
    /// Time between two cosignatures of a quiet log.
    pub recosign_interval: Duration,
}

impl Settings {
    /// Reads what `config` names; relative paths are relative to `dir`. None without a policy.
    pub fn read(
        dir: &Path,
        config: &Config,
        log_keys: &[VerifierKey],
        clock: certs::Clock,
    ) -> Result<Option<Self>, SettingsError> {
        if config.witness_recosign_seconds == 0 {
            return Err(SettingsError::Setting("witness_recosign_seconds must be at least 1"));
        }
        let Some(path) = &config.witness_policy else {
            return match &config.witness_roots {
                None => Ok(None),
                Some(_) => Err(SettingsError::Setting("witness_roots is set without a witness_policy")),
            };
        };
        let path = dir.join(path);
        let bytes = read(&path, "witness_policy", POLICY_BYTES_MAX as u64 + 1)?;
        let refused = |source| SettingsError::Policy { path: path.clone(), source };
        let mut policy = WitnessPolicy::parse(&bytes).map_err(refused)?;
        let text = String::from_utf8(bytes).map_err(|_| refused(PolicyError::Form("not UTF-8")))?;
        let named = policy.log_keys();
        if named.is_empty() || named.iter().any(|key| !log_keys.contains(key)) {
            let vkey = log_keys.last().map(VerifierKey::vkey).unwrap_or_default();
            return Err(SettingsError::Log { path, vkey });
        }
        // One key of the log vouches for the others: nobody has to write the file anew when it changes.
        for key in log_keys {
            policy.add_log(key);
        }
        let mut endpoints = Vec::new();
        for witness in policy.witnesses() {
            let endpoint = witness.url.as_deref().map(Endpoint::parse).transpose();
            endpoints.push(endpoint.map_err(|source| {
                let (path, witness) = (path.clone(), witness.name.clone());
                SettingsError::Url { path, witness, source }
            })?);
        }
        if !policy.is_met_by(|place| endpoints.get(place).is_some_and(Option::is_some)) {
            return Err(SettingsError::Quorum { path, quorum: policy.quorum_name().to_owned() });
        }
        let tls = match &config.witness_roots {
            Some(roots) => Some(client(&dir.join(roots), clock)?),
            None => None,
        };
        let secure = endpoints.iter().position(|found| found.as_ref().is_some_and(Endpoint::has_tls));
        if let Some(witness) =
            secure.filter(|_| tls.is_none()).and_then(|place| policy.witnesses().get(place))
        {
            return Err(SettingsError::NoRoots { path, witness: witness.name.clone() });
        }
        let recosign_interval = Duration::from_secs(config.witness_recosign_seconds);
        Ok(Some(Self { policy, text, endpoints, tls, recosign_interval }))
    }
}

fn client(path: &Path, clock: certs::Clock) -> Result<Arc<ClientConfig>, SettingsError> {
    let bytes = read(path, "witness_roots", ROOTS_BYTES_MAX)?;
    let text = String::from_utf8_lossy(&bytes);
    let pem = |source| SettingsError::Pem { path: path.to_owned(), source };
    let roots = certs::pem::certificates(&text).map_err(pem)?;
    certs::http1_client(&roots, clock).map_err(|source| SettingsError::Tls { path: path.to_owned(), source })
}

fn read(path: &Path, key: &'static str, bytes_max: u64) -> Result<Vec<u8>, SettingsError> {
    use std::io::Read as _;
    let failed = |source| SettingsError::Read { key, path: path.to_owned(), source };
    let mut bytes = Vec::new();
    fs::File::open(path).and_then(|file| file.take(bytes_max).read_to_end(&mut bytes)).map_err(failed)?;
    Ok(bytes)
}
