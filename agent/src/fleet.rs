//! The fleet configuration: what an administrator chose for many devices at once.
//!
//! It is obeyed only as an entry of the log, under a checkpoint this device has verified: whoever answers for the collector
//! cannot slip one in that an auditor would not see. It chooses among what is built in. No member of it names a program, a
//! path or a host to look at, and what it switches off is said in every statement.

use std::sync::{Arc, PoisonError, RwLock};

use evidence::acts::{Act, Body, Configuration};
use evidence::ids::{Digest, Name};
use evidence::json;
use evidence::leaf::{Kind, Leaf, SALT_BYTES, commitment};
use evidence::note::TlogProof;
use rpc::proxy::Proxies;
use serde::{Deserialize, Serialize};

use crate::anchor::Anchor;
use crate::state::{StateDirectory, StateError};

/// The file.
pub(crate) const FLEET_FILE: &str = "fleet.json";

/// Why a configuration is not obeyed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FleetError {
    /// Nothing shows that it is in the log.
    #[error("it is not shown to be in the log: {0}")]
    NotLogged(String),
    /// It is no configuration of this log.
    #[error("it is no configuration of this log: {0}")]
    Act(String),
    /// An older one than the one kept.
    #[error("it has number {found}, this device has obeyed {kept} already: a log only grows")]
    Older {
        /// Its number.
        found: u64,
        /// The number kept.
        kept: u64,
    },
}

/// A configuration in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    /// SHA-256 of the act's payload: what statements name.
    pub digest: Digest,
    /// What it says.
    pub configuration: Configuration,
    /// The act's envelope.
    envelope: Vec<u8>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    envelope: String,
}

impl Fleet {
    fn open(envelope: Vec<u8>, origin: &str) -> Result<Self, FleetError> {
        let (opened, act) = Act::open_as(&envelope, Kind::CONFIGURATION)
            .map_err(|error| FleetError::Act(error.to_string()))?;
        if act.common.origin != origin {
            return Err(FleetError::Act("it is another log's".into()));
        }
        let Body::Configuration(configuration) = act.body else {
            return Err(FleetError::Act("it is another act".into()));
        };
        Ok(Self { digest: Digest::of(&opened.payload), configuration, envelope })
    }

    /// The configuration a collector sent, once it is shown to be in the log under the newest checkpoint verified here.
    /// Who signed it the log has asked: only an admin's is admitted.
    pub fn logged(sent: proto::Config, anchor: &Anchor) -> Result<Self, FleetError> {
        let not = |what: &str| FleetError::NotLogged(what.to_owned());
        let leaf = Leaf::parse(&sent.leaf).map_err(|error| FleetError::NotLogged(error.to_string()))?;
        let salt = <[u8; SALT_BYTES]>::try_from(sent.salt.as_slice())
            .map_err(|_| not("its salt is not 32 bytes"))?;
        if leaf.kind != Kind::CONFIGURATION || leaf.commitment != commitment(&salt, &sent.signed) {
            return Err(not("its leaf is another entry's"));
        }
        let proof = TlogProof::parse(sent.tlog_proof.as_bytes())
            .map_err(|error| FleetError::NotLogged(error.to_string()))?;
        let shown = proof
            .verify(&leaf.hash(), &anchor.log().keys)
            .map_err(|error| FleetError::NotLogged(error.to_string()))?;
        let verified = anchor.checkpoint().is_some_and(|mine| {
            mine.origin == shown.origin && mine.size == shown.size && mine.root == shown.root
        });
        if !verified {
            return Err(not("its checkpoint is not the newest one verified here"));
        }
        Self::open(sent.signed, &anchor.log().origin)
    }

    /// The one kept on disk, if it is of this log.
    pub fn read(state: &StateDirectory, origin: &str) -> Result<Option<Self>, StateError> {
        let damaged = |problem: String| StateError::Damaged {
            path: state.file(FLEET_FILE).display().to_string(),
            problem,
        };
        let Some(kept) = state.read_json::<Kept>(FLEET_FILE)? else { return Ok(None) };
        let envelope = json::decode_base64(&kept.envelope).ok_or_else(|| damaged("not base64".into()))?;
        match Self::open(envelope, origin) {
            Ok(fleet) => Ok(Some(fleet)),
            // A device that moved to another log begins without one.
            Err(FleetError::Act(problem)) if problem.contains("another log") => Ok(None),
            Err(error) => Err(damaged(error.to_string())),
        }
    }

    /// Keeps it, unless one with a higher number was obeyed. Whether it is another one than before.
    pub fn replace(self, before: &mut Option<Self>, state: &StateDirectory) -> Result<bool, ReplaceError> {
        if let Some(kept) = before {
            let (found, kept_number) = (self.configuration.number, kept.configuration.number);
            if found < kept_number {
                return Err(FleetError::Older { found, kept: kept_number }.into());
            }
            if self.digest == kept.digest {
                return Ok(false);
            }
        }
        // Durable before it is obeyed: after a restart no older one may take its place.
        state.write_json(FLEET_FILE, &Kept { envelope: json::encode_base64(&self.envelope) })?;
        *before = Some(self);
        Ok(true)
    }

    /// The proxy it names, as this agent goes through one.
    pub fn proxies(&self) -> Option<Proxies> {
        let proxy = self.configuration.proxy.as_deref()?;
        match Proxies::new(proxy, "") {
            Ok(proxies) => Some(proxies),
            Err(error) => {
                tracing::warn!(%error, "The fleet configuration's proxy cannot be used.");
                None
            }
        }
    }
}

/// Why a configuration did not take the place of the one before.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// It is not to be obeyed.
    #[error(transparent)]
    Refused(#[from] FleetError),
    /// It could not be kept.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Which controls are switched off: shared between the agent, which obeys, and the look, which skips.
#[derive(Debug, Clone, Default)]
pub struct Switches(Arc<RwLock<Vec<Name>>>);

impl Switches {
    /// Switches these off, and no others.
    pub fn set(&self, disabled: &[Name]) {
        let mut switched = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if switched.as_slice() != disabled {
            *switched = disabled.to_vec();
        }
    }

    /// Whether a control is switched off.
    pub fn is_off(&self, control: &str) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).iter().any(|name| name.as_str() == control)
    }
}

#[cfg(test)]
mod tests;
