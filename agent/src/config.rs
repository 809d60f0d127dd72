//! `agent.toml`: what an administrator may choose. Everything has a default; the file may be absent.

use std::path::{Path, PathBuf};

use rpc::proxy::{Proxies, ProxyError};
use serde::Deserialize;

use crate::schedule::{INTERVAL_MINUTES_MAX, INTERVAL_MINUTES_MIN};
use crate::spool::Limits;
use crate::state::{StateDirectory, default_directory};

/// Smallest spool, in MiB.
const SPOOL_MIB_MIN: u64 = 1;
/// Largest spool, in MiB: envelopes that wait are held in memory too.
const SPOOL_MIB_MAX: u64 = 64;

/// As `proxy`: no proxy, whatever the environment says.
const DIRECT: &str = "none";

/// Where packages keep it, since what a person may change lies below /etc.
const PACKAGED: &str = "/etc/tallystick/agent.toml";

/// The configuration of a state directory: the file in it, else that of the package, which belongs to the default one alone.
pub fn default_path(state: &StateDirectory) -> PathBuf {
    let own = state.file("agent.toml");
    let is_packaged = cfg!(unix) && state.path() == default_directory() && !own.exists();
    if is_packaged { PACKAGED.into() } else { own }
}

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
    /// A proxy that is none. The value may hold a password and is not repeated.
    #[error("{place}: {source}")]
    Proxy {
        /// The file and key, or the environment.
        place: String,
        /// What is wrong.
        source: ProxyError,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    interval_minutes: Option<u64>,
    spool_mib: Option<u64>,
    proxy: Option<String>,
    no_proxy: Option<String>,
}

/// The configuration in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Minutes between two scheduled attestations.
    pub interval_minutes: u64,
    /// Bounds of the spool.
    pub limits: Limits,
    /// The way to the collector; `None` leaves it to the environment.
    pub proxies: Option<Proxies>,
}

impl Default for Config {
    fn default() -> Self {
        Self { interval_minutes: 6 * 60, limits: Limits::default(), proxies: None }
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
        let no_proxy = raw.no_proxy.unwrap_or_default();
        let proxies = match raw.proxy.as_deref().map(str::trim) {
            None => None,
            Some(DIRECT) => Some(Proxies::none()),
            Some(url) => Some(
                Proxies::new(url, &no_proxy)
                    .map_err(|source| ConfigError::Proxy { place: format!("{path}: proxy"), source })?,
            ),
        };
        Ok(Self { interval_minutes, limits, proxies })
    }

    /// The way to the collector: what the file says, else the environment of this process, which `read` reads.
    pub fn way(&self, read: impl Fn(&str) -> Option<String>) -> Result<Proxies, ConfigError> {
        match &self.proxies {
            Some(proxies) => Ok(proxies.clone()),
            None => Proxies::from_environment(read).map_err(|source| ConfigError::Proxy {
                place: "https_proxy in the environment".into(),
                source,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, default_path};
    use crate::state::{StateDirectory, default_directory};

    #[test]
    fn everything_has_a_default() {
        let config = Config::parse("", "agent.toml").unwrap();
        assert_eq!(config, Config::default());
        let config = Config::parse("interval_minutes = 60\nspool_mib = 4\n", "agent.toml").unwrap();
        assert_eq!((config.interval_minutes, config.limits.bytes_max), (60, 4 * 1024 * 1024));
    }

    #[test]
    fn a_packages_file_is_that_of_the_default_state_directory_alone() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDirectory::new(folder.path());
        assert_eq!(default_path(&state), folder.path().join("agent.toml"));
        let default = StateDirectory::new(default_directory());
        if cfg!(unix) && !default.file("agent.toml").exists() {
            assert_eq!(default_path(&default).to_str(), Some("/etc/tallystick/agent.toml"));
        }
    }

    #[test]
    fn the_file_comes_before_the_environment() {
        let environment = |name: &str| (name == "HTTPS_PROXY").then(|| "http://outer:1".to_owned());
        let way = |text: &str| Config::parse(text, "agent.toml").unwrap().way(environment).unwrap();
        let shown = |text: &str| way(text).proxy().map(ToString::to_string);
        assert_eq!(shown("").as_deref(), Some("outer:1"));
        assert_eq!(shown("proxy = \"http://inner:2\"").as_deref(), Some("inner:2"));
        assert_eq!(shown("proxy = \"none\""), None);
        let except = way("proxy = \"http://inner:2\"\nno_proxy = \"example.com\"");
        assert_eq!(except.for_server(&"collector.example.com:1".parse().unwrap()), None);
        let broken = Config::default().way(|_| Some("https://a:secret@b".into())).unwrap_err().to_string();
        assert!(broken.contains("https_proxy in the environment") && !broken.contains("secret"), "{broken}");
        let broken = Config::parse("proxy = \"ftp://a:secret@b\"", "agent.toml").unwrap_err().to_string();
        assert!(broken.starts_with("agent.toml: proxy: ") && !broken.contains("secret"), "{broken}");
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
