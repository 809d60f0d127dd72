//! The command line of `doctor`.

use std::io::{Read as _, Write};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use evidence::json::{self, Value};
use rpc::connect::Address;

use crate::cli::{DONE, NO, TOKEN_BYTES_MAX, runtime, variable};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::doctor::{Doctor, Outcome};
use crate::state::StateDirectory;

/// Try each thing that must work between this machine and its collector, and say what to do about what does not.
///
/// Checks the state directory, the disk, identity and certificate, the clock, the spool, and then the way: proxy, name, TCP,
/// TLS (with the issuer seen, where somebody is in between) and the collector's greeting. Run it as the agent's user, root.
/// As another user it leaves out what only that one may try. Nothing is sent but a greeting.
/// Exit codes: 0 all is well; 1 something failed; 2 it could not be tried at all.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Of a device that is not enrolled: the collector's enrolment listener to try.
    #[arg(long, value_name = "HOST:PORT")]
    server: Option<Address>,
    /// With --server: a file that holds the token. It is read and not used up.
    #[arg(long, value_name = "FILE", requires = "server")]
    token_file: Option<PathBuf>,
    /// Print JSON for machines.
    #[arg(long)]
    json: bool,
}

/// Where a device would enrol.
#[derive(Debug, Clone)]
pub struct Enrolment {
    /// The enrolment listener.
    pub server: Address,
    /// The token, or why its file holds none.
    pub token: Result<certs::Token, String>,
}

impl DoctorArgs {
    /// Runs the command and gives its exit code.
    pub fn run(
        &self,
        state: &StateDirectory,
        config: Result<Config, crate::config::ConfigError>,
        config_path: PathBuf,
        out: &mut dyn Write,
    ) -> anyhow::Result<u8> {
        crate::hardening::harden();
        let tpm = config.as_ref().ok().and_then(|config| config.tpm.clone());
        let state = &state.clone().with_tpm(tpm);
        let enrolment = self.server.clone().map(|server| Enrolment { server, token: self.token() });
        let doctor = Doctor {
            state,
            config,
            config_path,
            clock: Arc::new(SystemClock),
            environment: &variable,
            enrolment,
        };
        let checks = runtime()?.block_on(doctor.examine());
        let failed = checks.iter().any(|check| check.outcome == Outcome::Failed);
        if self.json {
            let all = checks.iter().map(super::Check::json).collect();
            let result = json::text(if failed { "failed" } else { "ok" });
            writeln!(out, "{}", json::object([("result", result), ("checks", Value::Array(all))]).encode())?;
        } else {
            for check in &checks {
                write!(out, "{}", check.words())?;
            }
        }
        Ok(if failed { NO } else { DONE })
    }

    fn token(&self) -> Result<certs::Token, String> {
        let path = self.token_file.as_ref().ok_or("no --token-file is given")?;
        let read = || -> anyhow::Result<certs::Token> {
            let mut text = zeroize::Zeroizing::new(String::new());
            let file =
                std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
            file.take(TOKEN_BYTES_MAX).read_to_string(&mut text).context("it is not text")?;
            text.parse().context("it cannot be used")
        };
        read().map_err(|error| format!("{error:#}"))
    }
}
