//! `doctor`: each thing that must work between this machine and its collector, tried one by one, and what to do about the first
//! one that does not. Changes nothing but a file that it removes again, and may run beside the agent.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use evidence::json::{self, Value};
use evidence::time::Clock;
use rpc::proxy::{Proxies, Proxy};

use crate::config::{Config, ConfigError};
use crate::health::Health;
use crate::identity::Identity;
use crate::state::StateDirectory;

pub mod cli;
mod date;
mod local;
mod route;

#[cfg(test)]
mod tests;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is as it must be.
    Ok,
    /// It is not.
    Failed,
    /// Something before it failed, or this user may not try.
    NotTried,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::NotTried => "not tried",
        }
    }
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was tried: a stable word for machines.
    pub name: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// What was found.
    pub detail: String,
    /// What a person does next; empty where there is nothing to do.
    pub next: String,
}

impl Check {
    fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Ok, detail: detail.into(), next: String::new() }
    }

    fn failed(name: &'static str, detail: impl Into<String>, next: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Failed, detail: detail.into(), next: next.into() }
    }

    fn not_tried(name: &'static str, why: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::NotTried, detail: why.into(), next: String::new() }
    }

    /// For machines.
    pub fn json(&self) -> Value {
        json::object([
            ("name", json::text(self.name)),
            ("outcome", json::text(self.outcome.word())),
            ("detail", json::text(&self.detail)),
            ("next", json::text(&self.next)),
        ])
    }

    /// For people.
    pub fn words(&self) -> String {
        let mut out = String::new();
        let _infallible = writeln!(out, "{:<12} {:<9} {}", self.name, self.outcome.word(), self.detail);
        if !self.next.is_empty() {
            let _infallible = writeln!(out, "{:<12} {:<9} -> {}", "", "", self.next);
        }
        out
    }
}

/// What is examined.
pub struct Doctor<'a> {
    /// Where the agent's state lies.
    pub state: &'a StateDirectory,
    /// Its configuration, or why it cannot be used.
    pub config: Result<Config, ConfigError>,
    /// Where the configuration lies, if there is one.
    pub config_path: PathBuf,
    /// The program's clock.
    pub clock: Arc<dyn Clock>,
    /// A variable of the environment.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// Where a device that is not enrolled would enrol, and with which token.
    pub enrolment: Option<cli::Enrolment>,
}

impl Doctor<'_> {
    /// Every check, in the order in which a statement meets what is checked.
    pub async fn examine(&self) -> Vec<Check> {
        let mut checks = local::state_directory(self.state);
        let (identity, check) = local::identity(self.state);
        checks.push(check);
        let (proxies, check) = self.configuration();
        checks.push(check);
        checks.push(local::clock(self.state, identity.as_ref(), self.clock.now()));
        match &identity {
            Some(identity) => {
                let health = Health::read(self.state);
                let failed = health.renewal.as_deref().or(health.error.as_deref());
                checks.push(local::certificate(identity, failed, self.clock.now()));
                checks.extend(local::spool(self.state, identity));
            }
            None => checks.extend(
                ["certificate", "spool", "history"]
                    .map(|name| Check::not_tried(name, "there is no identity")),
            ),
        }
        checks.extend(self.route(identity.as_ref(), proxies).await);
        checks
    }

    fn configuration(&self) -> (Option<Proxies>, Check) {
        let way = match &self.config {
            Err(error) => Err(crate::Causes(error).to_string()),
            Ok(config) => config.way(self.environment).map_err(|error| crate::Causes(&error).to_string()),
        };
        match way {
            Ok(proxies)
                if proxies.proxy().is_some_and(Proxy::has_password)
                    && local::others_may_read(&self.config_path) =>
            {
                let path = self.config_path.display();
                let detail = format!("{path} may be read by others, and a password of a proxy is set");
                (Some(proxies), Check::failed("settings", detail, format!("chmod 0600 {path}")))
            }
            Ok(proxies) => {
                let interval = self.config.as_ref().map_or(0, |config| config.interval_minutes);
                (Some(proxies), Check::ok("settings", format!("a statement every {interval} minutes")))
            }
            Err(problem) => {
                (None, Check::failed("settings", problem, "correct agent.toml or the environment"))
            }
        }
    }

    async fn route(&self, identity: Option<&Identity>, proxies: Option<Proxies>) -> Vec<Check> {
        let none = |why: &str| route::NAMES.map(|name| Check::not_tried(name, why)).to_vec();
        let Some(proxies) = proxies else { return none("the settings cannot be used") };
        let clock = Arc::clone(&self.clock);
        let target = match (identity, &self.enrolment) {
            (Some(identity), _) => route::Target::of_device(self.state, identity, clock),
            (None, Some(enrolment)) => route::Target::of_enrolment(enrolment, clock),
            (None, None) => {
                return none("not enrolled: give --server, and --token-file, to try the way to a collector");
            }
        };
        match target {
            Ok(target) => target.examine(&proxies).await,
            Err(why) => none(&why),
        }
    }
}
