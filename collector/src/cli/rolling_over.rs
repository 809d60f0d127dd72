//! `ca rollover`: another issuing authority, in one command that goes on wherever it was interrupted. What was done is in the
//! log; this process keeps nothing.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use certs::{Issuer as _, IssuingAuthority, Serial, TlsKey};
use clap::{Args, Subcommand};
use evidence::acts::{KeyOf, KeyStep};
use evidence::ids::Digest;
use evidence::json::{self, Value, object};
use evidence::time::{Clock as _, DAY_MS, Timestamp};
use proto::{AuthorityStanding, ChangeAuthorityRequest};

use super::{Directory, answer};
use crate::admin_client::Admin;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::failpoints;
use crate::identity::{Identities, population};
use crate::secrets;
use crate::state::random;

/// Between two looks at who still holds a certificate of the old authority.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Longest wait by default, hours: a working day; whoever is away then comes later, and the command is run again.
const WAIT_HOURS_DEFAULT: u64 = 8;
/// An authority younger than this is not replaced without --again: a run that was killed at its very end is not a wish
/// for another rollover.
const YOUNG_MS: u64 = DAY_MS;
/// Characters of a certificate's digest that are shown to people.
const SHOWN_CHARACTERS: usize = 12;

#[derive(Debug, Subcommand)]
pub(super) enum CaCommand {
    /// Replace an issuing authority: make a new one under the root, let it issue, ask the holders of the old one to renew, and
    /// trust the old one no more once nobody needs it. Run again after any interruption: it goes on where the log says it was.
    /// Works beside a running server, whose connections go on, and with the server down.
    ///
    /// Exit codes: 0 done; 1 not finished: somebody still holds a certificate of the old one; 2 it could not be done.
    Rollover(RolloverArguments),
}

#[derive(Debug, Args)]
pub(super) struct RolloverArguments {
    #[command(flatten)]
    directory: Directory,
    /// Which authority: agents, people or servers.
    #[arg(long, value_name = "POPULATION", value_parser = authority)]
    of: KeyOf,
    /// The root's key, as `init` wrote it; needed to make the new authority, and for nothing afterwards.
    #[arg(long, value_name = "FILE")]
    root_key: Option<PathBuf>,
    /// Say how it stands, and change nothing.
    #[arg(long, conflicts_with_all = ["rollback", "retire_anyway", "again"])]
    status: bool,
    /// Go back: a new authority that is prepared is dropped, one that issues hands back to the old one. Possible until the old
    /// one is retired. Run without --rollback afterwards, it finishes what is left.
    #[arg(long, conflicts_with_all = ["retire_anyway", "again"])]
    rollback: bool,
    /// Retire the old authority although certificates of it are still held: their devices come back by their attestation key.
    #[arg(long)]
    retire_anyway: bool,
    /// Begin another rollover although the authority that issues is younger than a day.
    #[arg(long)]
    again: bool,
    /// Longest wait for holders of the old one, hours. 0 waits for nobody.
    #[arg(long, default_value_t = WAIT_HOURS_DEFAULT, value_name = "HOURS")]
    wait_hours: u64,
}

fn authority(text: &str) -> Result<KeyOf, String> {
    match text.parse() {
        Ok(KeyOf::Log) | Err(_) => Err("must be agents, people or servers".to_owned()),
        Ok(of) => Ok(of),
    }
}

/// What the log says, with digests.
struct Standing {
    issuing: Digest,
    prepared: Option<Digest>,
    retiring: Option<Digest>,
    said: AuthorityStanding,
}

impl Standing {
    fn of(said: AuthorityStanding) -> anyhow::Result<Self> {
        let optional = |bytes: &[u8]| match bytes {
            [] => Ok(None),
            bytes => Digest::from_slice(bytes).map(Some),
        };
        Ok(Self {
            issuing: Digest::from_slice(&said.issuing).context("the server named no authority")?,
            prepared: optional(&said.prepared).context("prepared")?,
            retiring: optional(&said.retiring).context("retiring")?,
            said,
        })
    }

    fn nobody_holds(&self, now: Timestamp) -> bool {
        self.said.held_until_ms <= now.ms()
    }

    fn words(&self) -> String {
        let ends = Timestamp(self.said.issuing_ends_ms).rfc3339();
        let prepared = self.prepared.iter().map(|prepared| format!("{} is prepared", short(prepared)));
        let retiring =
            self.retiring.iter().map(|retiring| format!("{} retires, {}", short(retiring), self.holders()));
        let issues = format!("{} issues, until {ends}", short(&self.issuing));
        std::iter::once(issues).chain(prepared).chain(retiring).collect::<Vec<_>>().join("; ")
    }

    fn holders(&self) -> String {
        match (self.said.holders, self.said.held_until_ms) {
            (0, 0) => "nobody holds a certificate of it any more".to_owned(),
            (0, until) => format!("certificates of it end at {}", Timestamp(until).rfc3339()),
            (holders, until) => format!(
                "{holders} of {} devices still hold a certificate of it, the last until {}",
                self.said.devices,
                Timestamp(until).rfc3339()
            ),
        }
    }

    fn json(&self) -> Value {
        let digest = |digest: Option<&Digest>| Value::Array(digest.map(json::hex).into_iter().collect());
        object([
            ("issuing", json::hex(&self.issuing)),
            ("prepared", digest(self.prepared.as_ref())),
            ("retiring", digest(self.retiring.as_ref())),
            ("holders", json::count(self.said.holders)),
            ("devices", json::count(self.said.devices)),
            ("issuing_ends", json::time(Timestamp(self.said.issuing_ends_ms))),
        ])
    }
}

fn short(digest: &Digest) -> String {
    digest.to_string().chars().take(SHOWN_CHARACTERS).collect()
}

/// One run of the command.
struct Run<'a, W: Write> {
    arguments: &'a RolloverArguments,
    out: &'a mut W,
}

/// Runs a command; whether it is done.
pub(super) async fn run(command: CaCommand, out: &mut impl Write) -> anyhow::Result<bool> {
    let CaCommand::Rollover(arguments) = command;
    let mut run = Run { arguments: &arguments, out };
    let standing = run.standing().await?;
    if arguments.status {
        let text = format!("{}: {}", arguments.of, standing.words());
        answer(run.out, arguments.directory.json, &standing.json(), &text)?;
        return Ok(true);
    }
    let done = if arguments.rollback { run.back(standing).await? } else { run.forward(standing).await? };
    if arguments.directory.json {
        let standing = run.standing().await?;
        answer(run.out, true, &standing.json(), "")?;
    }
    Ok(done)
}

impl<W: Write> Run<'_, W> {
    fn dir(&self) -> &Path {
        &self.arguments.directory.dir
    }

    /// A line for whoever watches; machines get one object at the end.
    fn say(&mut self, text: &str) -> anyhow::Result<()> {
        if self.arguments.directory.json {
            return Ok(());
        }
        writeln!(self.out, "{}: {text}", self.arguments.of).context("cannot write")?;
        self.out.flush().context("cannot write")
    }

    async fn standing(&self) -> anyhow::Result<Standing> {
        let admin = Admin::at(self.dir()).await?;
        Standing::of(admin.read_authority(self.arguments.of.to_string()).await?)
    }

    async fn step(&mut self, step: KeyStep, certificate: &Digest, anyway: bool) -> anyhow::Result<Standing> {
        let request = ChangeAuthorityRequest {
            of: self.arguments.of.to_string(),
            step: step.to_string(),
            certificate: certificate.as_bytes().to_vec(),
            anyway,
        };
        Standing::of(Admin::at(self.dir()).await?.change_authority(request).await?)
    }

    async fn forward(&mut self, mut standing: Standing) -> anyhow::Result<bool> {
        if standing.prepared.is_none() && standing.retiring.is_none() {
            let age = SystemClock.now().ms().saturating_sub(standing.said.issuing_begins_ms);
            if age < YOUNG_MS
                && standing.said.index == 0
                && self.was_rolled_over(&standing)?
                && !self.arguments.again
            {
                self.say(&format!(
                    "nothing to do: {} is {} minutes old; --again replaces it all the same",
                    short(&standing.issuing),
                    age / 60_000
                ))?;
                return Ok(true);
            }
            let new = self.make()?;
            self.say(&format!(
                "made {}, signed by the root; its files are in certs/ and keys/",
                short(&new)
            ))?;
            let old = short(&standing.issuing);
            standing = self.step(KeyStep::Prepare, &new, false).await?;
            let index = standing.said.index;
            self.say(&format!(
                "prepared (entry {index}): {} is trusted beside {old}, with a revocation list of its own",
                short(&new)
            ))?;
            failpoints::reach("rollover-prepared");
        }
        if let Some(prepared) = standing.prepared {
            standing = self.step(KeyStep::Activate, &prepared, false).await?;
            let index = standing.said.index;
            self.say(&format!("activated (entry {index}): new certificates come from {}", short(&prepared)))?;
            failpoints::reach("rollover-activated");
        }
        let Some(retiring) = standing.retiring else { return Ok(true) };
        if !self.wait(standing).await? {
            return Ok(false);
        }
        let standing = self.step(KeyStep::Retire, &retiring, self.arguments.retire_anyway).await?;
        failpoints::reach("rollover-retired");
        let index = standing.said.index;
        self.say(&format!("retired (entry {index}): {} is trusted no more", short(&retiring)))?;
        Ok(true)
    }

    /// Waits until nobody holds a certificate of the old one; whether it may be retired.
    async fn wait(&mut self, mut standing: Standing) -> anyhow::Result<bool> {
        let until = Instant::now() + Duration::from_secs(self.arguments.wait_hours.saturating_mul(3600));
        let mut said = String::new();
        loop {
            let nobody = standing.nobody_holds(SystemClock.now());
            let holders = standing.holders();
            if holders != said {
                self.say(&holders)?;
                said = holders;
            }
            if nobody || self.arguments.retire_anyway {
                return Ok(true);
            }
            let served = Admin::at(self.dir()).await?.look_for_server().await?;
            if !served || Instant::now() >= until {
                let next = if served { "" } else { "start the server, so that they can renew, and " };
                self.say(&format!("not finished: {next}run this again, or give --retire-anyway"))?;
                return Ok(false);
            }
            tokio::time::sleep(LOOK_EVERY).await;
            standing = self.standing().await?;
        }
    }

    async fn back(&mut self, standing: Standing) -> anyhow::Result<bool> {
        let named = match (standing.prepared, standing.retiring) {
            (Some(prepared), _) => prepared,
            (None, Some(_)) => standing.issuing,
            (None, None) => bail!("there is no change of the {} authority to roll back", self.arguments.of),
        };
        let standing = self.step(KeyStep::Rollback, &named, false).await?;
        let index = standing.said.index;
        self.say(&format!("rolled back (entry {index}): {}", standing.words()))?;
        Ok(true)
    }

    /// Whether the authority that issues followed another one.
    fn was_rolled_over(&self, standing: &Standing) -> anyhow::Result<bool> {
        let certs = self.dir().join("certs");
        certs.join(format!("ca-{}.pem", standing.issuing)).try_exists().context("cannot look at certs/")
    }

    /// Makes a new authority and keeps its files, Those of a run that was cut before `prepare` stay: nothing
    /// trusts them, and whoever removes them removes nothing that is needed.
    fn make(&self) -> anyhow::Result<Digest> {
        let Some(path) = &self.arguments.root_key else {
            bail!(
                "--root-key is needed to make the new authority: the file that `init` wrote to --root-key-out"
            )
        };
        let population = population(self.arguments.of).context("the log's own key is no authority")?;
        let text = secrets::read(path)?;
        let text =
            std::str::from_utf8(&text).with_context(|| format!("{} is no PEM file", path.display()))?;
        let root_key = TlsKey::from_pem(text).with_context(|| path.display().to_string())?;
        let config = Config::read(&self.dir().join("collector.toml"))?;
        let trust_domain = config.trust_domain.parse().context("trust_domain")?;
        let root = std::fs::read_to_string(self.dir().join("certs").join("root.pem"))
            .context("cannot read the root certificate")?;
        let root = certs::pem::certificate(&root).context("root.pem")?;
        let authority = IssuingAuthority::create(
            population,
            &trust_domain,
            (&root, &root_key),
            TlsKey::generate()?,
            Serial::from_random(random()?),
            SystemClock.now(),
        )?;
        Identities::keep_authority(self.dir(), &authority)?;
        Ok(Digest::of(authority.certificate()))
    }
}

#[cfg(test)]
mod tests {
    use certs::Population;

    use super::*;

    #[test]
    fn every_population_and_nothing_else_can_be_rolled_over() {
        for of in Population::ALL {
            assert_eq!(population(authority(of.as_str()).unwrap()), Some(of));
        }
        for other in ["log", "root", "", "Agents"] {
            assert!(authority(other).is_err(), "{other}");
        }
    }
}
