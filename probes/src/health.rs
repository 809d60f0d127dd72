//! What the vendors' own programs say about the effect of their products, read strictly.
//!
//! A word that is not known is not an answer: it is neither healthy nor broken. A wrong "healthy" is the one mistake
//! this must not make, so every sign of health has to be there, by name, in an answer that came whole.

use proto::Impairment;
use serde::Deserialize;

use crate::{
    platform::Platform,
    programs::Program,
    question::{Answer, Question},
};

mod defender;
mod elastic;
mod falcon;
mod lines;
mod sentinel;

pub(crate) use defender::minutes_of_cim;

/// A vendor's program that tells about health, with its own parser. Named in the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum HealthCommand {
    /// Cisco Secure Endpoint.
    Ampcli,
    /// Bitdefender GravityZone.
    Bduitool,
    /// Palo Alto Cortex XDR.
    Cytool,
    /// Trend Micro Deep Security.
    DsaQuery,
    /// Elastic Defend, by the agent that looks after it.
    ElasticAgent,
    /// CrowdStrike Falcon.
    Falconctl,
    /// Microsoft Defender for Endpoint.
    Mdatp,
    /// Carbon Black Cloud.
    Repcli,
    /// SentinelOne.
    Sentinelctl,
}

/// What a health source said. Everything it did not say is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Health {
    /// It detects.
    pub(crate) effective: Option<bool>,
    /// The first thing that is wrong.
    pub(crate) impairment: Impairment,
    /// It only watches.
    pub(crate) passive: Option<bool>,
    /// It takes part in what the system does.
    pub(crate) attached: Option<bool>,
    /// Minute since 1970 of its newest definitions.
    pub(crate) definitions_minutes: Option<u64>,
}

/// One sign of health: there, missing, or not told.
type Sign = (Option<bool>, Impairment);

impl Health {
    /// Healthy when every sign is there, not healthy when one is missing, else unknown.
    pub(crate) fn of(signs: &[Sign]) -> Self {
        if let Some((_, impairment)) = signs.iter().find(|(sign, _)| *sign == Some(false)) {
            return Self { effective: Some(false), impairment: *impairment, ..Self::default() };
        }
        let all = !signs.is_empty() && signs.iter().all(|(sign, _)| *sign == Some(true));
        Self { effective: all.then_some(true), ..Self::default() }
    }
}

/// Whether a word is the good one, one of the bad ones, or not known.
fn word(found: Option<&str>, good: &[&str], bad: &[&str]) -> Option<bool> {
    let found = found?;
    if good.contains(&found) {
        Some(true)
    } else if bad.contains(&found) {
        Some(false)
    } else {
        None
    }
}

impl HealthCommand {
    /// The program, and its path on a platform; `None` where the product has no such program.
    pub(crate) fn program(self, platform: Platform) -> Option<(Program, &'static str)> {
        let program = match self {
            Self::Ampcli => Program::Ampcli,
            Self::Bduitool => Program::Bduitool,
            Self::Cytool => Program::Cytool,
            Self::DsaQuery => Program::DsaQuery,
            Self::ElasticAgent => Program::ElasticAgent,
            Self::Falconctl => Program::Falconctl,
            Self::Mdatp => Program::Mdatp,
            Self::Repcli => Program::Repcli,
            Self::Sentinelctl => Program::Sentinelctl,
        };
        let path = match platform {
            Platform::Linux => program.paths().first(),
            Platform::Macos => program.paths().get(1),
            Platform::Windows | Platform::Other => None,
        };
        path.map(|path| (program, *path))
    }

    /// The question to put; `None` where the product has no such program.
    pub(crate) fn question(self, platform: Platform) -> Option<Question> {
        let (program, _) = self.program(platform)?;
        let args: &[&str] = match self {
            Self::Ampcli | Self::Repcli => &["status"],
            Self::Bduitool => &["get", "ps"],
            Self::Cytool => &["runtime", "query"],
            Self::DsaQuery => &["-c", "GetAgentStatus"],
            Self::ElasticAgent => &["status", "--output", "json"],
            Self::Falconctl if platform == Platform::Macos => &["stats", "agent_info"],
            Self::Falconctl => &["-g", "--rfm-state", "--aid", "--cid", "--version"],
            Self::Mdatp => &["health", "--output", "json"],
            Self::Sentinelctl if platform == Platform::Macos => &["status"],
            Self::Sentinelctl => &["control", "status"],
        };
        Some(Question::run(program, args))
    }

    /// Reads its answer; nothing is known from one that did not come whole.
    pub(crate) fn read(self, platform: Platform, answer: &Answer) -> Health {
        let text = match (self, answer) {
            // JSON tells by itself whether it is whole, and one of these ends without a line end.
            (Self::Mdatp | Self::ElasticAgent, Answer::Output { status: 0, stdout, .. }) => {
                std::str::from_utf8(stdout).ok()
            }
            (Self::Mdatp | Self::ElasticAgent, _) => None,
            _ => answer.whole_text(),
        };
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Health::default() };
        let mac = platform == Platform::Macos;
        let health = match self {
            Self::Ampcli => lines::ampcli(text),
            Self::Bduitool => lines::bduitool(text),
            Self::Cytool => lines::cytool(text, mac),
            Self::DsaQuery => lines::dsa_query(text),
            Self::ElasticAgent => elastic::status(text),
            Self::Falconctl if mac => falcon::agent_info(text),
            Self::Falconctl => falcon::options(text),
            Self::Mdatp => defender::health(text, mac),
            Self::Repcli => lines::repcli(text, mac),
            Self::Sentinelctl if mac => sentinel::status(text),
            Self::Sentinelctl => sentinel::control_status(text),
        };
        health.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
