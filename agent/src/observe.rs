//! One look at the machine: every probe once, what it seems to be, and the digest of every answer.

use probes::{Answers, Host, NoAnswer, Platform};
use proto::{AssetClaim, Observation};

/// What one look gave.
#[derive(Debug, Clone)]
pub struct Look {
    /// One observation per control, ascending by control.
    pub observations: Vec<Observation>,
    /// What the machine seems to be, with the evidence; `None` where nothing could be seen.
    pub asset: Option<AssetClaim>,
    /// SHA-256 over all raw answers in the order asked: `answers_digest` of an attestation.
    pub answers_digest: [u8; 32],
    /// The answers themselves; they stay on the device.
    pub answers: Answers,
}

/// Runs every probe. Takes seconds, because package managers do: never call it on a thread that must answer.
///
/// # Errors
/// Only when the host is a recording that lacks an answer; a machine that fails to answer gives observations.
pub fn observe(platform: Platform, host: &dyn Host) -> Result<Look, NoAnswer> {
    observe_but(platform, host, &|_| false)
}

/// As [`observe`], without the probes of the controls that are switched off: they ask nothing, and their observation says why.
///
/// # Errors
/// As [`observe`].
pub fn observe_but(
    platform: Platform,
    host: &dyn Host,
    is_off: &dyn Fn(&str) -> bool,
) -> Result<Look, NoAnswer> {
    let (observations, mut answers) = probes::observe_but(platform, host, is_off)?;
    let asset = probes::asset(platform, host, &mut answers)?;
    Ok(Look { observations, asset, answers_digest: answers.digest(), answers })
}
