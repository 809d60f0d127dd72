//! `agent.toml`: what an administrator may choose. Everything has a default; the file may be absent.

use std::path::Path;

use serde::Deserialize;

use crate::schedule::{INTERVAL_MINUTES_MAX, INTERVAL_MINUTES_MIN};
use crate::spool::Limits;

/// Smallest spool, in MiB.
const SPOOL_MIB_MIN: u64 = 1;
/// Largest spool, in MiB: envelopes that wait are held in memory too.
const SPOOL_MIB_MAX: u64 = 64;

/// Why the configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file named on the command line cannot be read.
    #[error("{path}: cannot read the configuration")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not TOML, an unknown key or a value of another type. The parser names line and key.
    #[error("{path}: {problem}")]
    Syntax {
        /// The file.
        path: String,
        /// What is wrong and where.
        problem: String,
    },
    /// A value out of its range.
    #[error("{path}: {key} = {found}: must be {expected}")]
    Range {
        /// The file.
        path: String,
        /// The key.
        key: &'static str,
        /// The value.
        found: u64,
        /// The range in words.
        expected: String,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    interval_minutes: Option<u64>,
    spool_mib: Option<u64>,
}

/// The configuration in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Minutes between two scheduled attestations.
    pub interval_minutes: u64,
    /// Bounds of the spool.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self { interval_minutes: 6 * 60, limits: Limits::default() }
    }
}

impl Config {
    /// Reads `path`. An absent file is all defaults unless `required`.
    pub fn read(path: &Path, required: bool) -> Result<Self, ConfigError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => {
                return Ok(Self::default());
            }
            Err(source) => return Err(ConfigError::Read { path: path.display().to_string(), source }),
        };
        Self::parse(&text, &path.display().to_string())
    }

    /// Reads the text of the file called `path`.
    pub fn parse(text: &str, path: &str) -> Result<Self, ConfigError> {
        let raw: RawConfig = toml::from_str(text).map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            problem: error.to_string().trim_end().to_owned(),
        })?;
        let in_range = |key, value: Option<u64>, default: u64, least: u64, most: u64| {
            let value = value.unwrap_or(default);
            if (least..=most).contains(&value) {
                Ok(value)
            } else {
                let expected = format!("{least} to {most}");
                Err(ConfigError::Range { path: path.to_owned(), key, found: value, expected })
            }
        };
        let interval_minutes = in_range(
            "interval_minutes",
            raw.interval_minutes,
            6 * 60,
            INTERVAL_MINUTES_MIN,
            INTERVAL_MINUTES_MAX,
        )?;
        let spool_mib = in_range("spool_mib", raw.spool_mib, 16, SPOOL_MIB_MIN, SPOOL_MIB_MAX)?;
        let limits = Limits { bytes_max: spool_mib.saturating_mul(1024 * 1024), ..Limits::default() };
        Ok(Self { interval_minutes, limits })
    }
}

#[cfg(test)]
mod tests {
    use super::Config;

    #[test]
    fn everything_has_a_default() {
        let config = Config::parse("", "agent.toml").unwrap();
        assert_eq!(config, Config::default());
        let config = Config::parse("interval_minutes = 60\nspool_mib = 4\n", "agent.toml").unwrap();
        assert_eq!((config.interval_minutes, config.limits.bytes_max), (60, 4 * 1024 * 1024));
    }

    #[test]
    fn mistakes_name_file_and_key() {
        for (text, named) in [
            ("intervall = 3", "intervall"),
            ("interval_minutes = \"6h\"", "interval_minutes"),
            ("interval_minutes = 1441", "interval_minutes = 1441: must be 5 to 1440"),
            ("spool_mib = 0", "spool_mib = 0: must be 1 to 64"),
            ("spool_mib =", "line 1"),
        ] {
            let error = Config::parse(text, "/etc/agent.toml").unwrap_err().to_string();
            assert!(error.starts_with("/etc/agent.toml: "), "{error}");
            assert!(error.contains(named), "{error}");
        }
    }
}
