//! `trust`: what an auditor believes before any set exists, and the checkpoints seen since.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use certs::{PERSON_KEY_BYTES_MAX, PersonPublicKey, Profile};
use clap::{Args, Subcommand, ValueEnum};
use evidence::ids::Digest;
use evidence::keys::PublicKey;
use evidence::log_keys::LogKeys;
use evidence::merkle;
use evidence::note::{Checkpoint, Note, VerifierKey};
use evidence::trust::{MadeBy, Trust};
use evidence::witness_policy::{POLICY_BYTES_MAX, WitnessPolicy};
use proto::{LatestCheckpointReply, LatestCheckpointRequest};
use serde_json::json;

use crate::client::{answer, follow};
use crate::command::Context;
use crate::files;
use crate::table::clean;

/// Largest trust file that is read, in bytes: some thousand checkpoints.
pub(crate) const TRUST_BYTES_MAX: usize = 1 << 20;

/// Trust files.
#[derive(Debug, Subcommand)]
pub(crate) enum TrustCommand {
    /// Pin the collector's newest checkpoint: make the trust file, or add to it once the log is shown to have only grown
    Pin(PinArgs),
    /// Print a trust file
    Show(ShowArgs),
}

/// Who makes a trust file.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Maker {
    /// The auditor, on a machine of their own
    Auditor,
    /// The hand that also runs the log: a demonstration
    SameHand,
}

/// What a verifier does with a simulated log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Simulated {
    /// Its sets fail
    Refuse,
    /// Its sets can pass: for trying things out
    Accept,
}

/// Arguments of `trust pin`.
#[derive(Debug, Args)]
pub(crate) struct PinArgs {
    /// Public key file of the auditor whose commitments and reveals count
    #[arg(long, value_name = "FILE.pub")]
    auditor_key: PathBuf,
    /// Who makes this trust file; verifiers print it
    #[arg(long, value_enum, value_name = "WHO")]
    made_by: Maker,
    /// Trust file to make or to add to
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Witness policy (C2SP tlog-policy): its logs are those of the profile. Without it no witness is asked for
    #[arg(long, value_name = "FILE")]
    witness_policy: Option<PathBuf>,
    /// Whether sets of a simulated log are accepted
    #[arg(long, value_enum, default_value = "refuse", value_name = "WHAT")]
    simulated: Simulated,
}

/// Arguments of `trust show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Trust file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl TrustCommand {
    /// Makes, extends or prints a trust file.
    pub(crate) async fn run(&self, context: &mut Context<'_>) -> anyhow::Result<()> {
        match self {
            Self::Pin(args) => args.run(context).await,
            Self::Show(args) => show(context, &read(&args.file)?),
        }
    }
}

/// The trust file at `path`.
pub(crate) fn read(path: &Path) -> anyhow::Result<Trust> {
    let bytes = files::read(path, "the trust file", TRUST_BYTES_MAX)?;
    Trust::parse(&bytes).with_context(|| format!("{} is not a trust file", path.display()))
}

/// The public key file at `path`.
pub(crate) fn read_public_key(path: &Path) -> anyhow::Result<PersonPublicKey> {
    let bytes = files::read(path, "the public key file", PERSON_KEY_BYTES_MAX)?;
    PersonPublicKey::parse(&bytes).with_context(|| path.display().to_string())
}

impl PinArgs {
    async fn run(&self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let auditor = read_public_key(&self.auditor_key)?.signing;
        let mut caller = context.options.connect(context.clock.clone()).await?;
        let is_new = self.out.symlink_metadata().is_err();
        let policy = self.read_policy()?;
        let mut trust = if is_new {
            self.new_trust(&caller.profile, auditor, policy)
        } else {
            let trust = read(&self.out)?;
            self.agrees(&trust, &caller.profile, &auditor, policy.as_deref())?;
            trust
        };
        trust.policy().context("the witness policy")?;
        // One question for each pinned checkpoint; the last is the newest, and its answer is what gets pinned.
        let mut known: Vec<Checkpoint> =
            trust.checkpoints.iter().filter(|pinned| pinned.origin == trust.origin).cloned().collect();
        known.sort_by_key(|pinned| pinned.size);
        if known.is_empty() {
            known.push(Checkpoint { origin: trust.origin.clone(), size: 0, root: merkle::empty_root() });
        }
        let mut newest = None;
        for pinned in &known {
            let request = LatestCheckpointRequest { from_size: pinned.size };
            let reply = answer(caller.people.latest_checkpoint(request)).await?;
            newest = Some(grown(&trust, pinned, &reply)?);
        }
        let newest = newest.context("no checkpoint was asked for")?;
        let added = !trust.checkpoints.contains(&newest);
        if added {
            trust.checkpoints.push(newest);
        }
        Trust::parse(&trust.encode()).context("this trust file would be refused by verifiers")?;
        if is_new {
            files::create(&self.out, "the trust file", &trust.encode())?;
        } else if added {
            files::replace(&self.out, "the trust file", &trust.encode())?;
        }
        if !context.options.json {
            let what = if added { "Pinned" } else { "Already pinned" };
            writeln!(
                context.out,
                "{what} in {}. Keep it where whoever runs the log cannot write.",
                self.out.display()
            )?;
            if trust.origin.ends_with("/simulated") && !trust.accept_simulated {
                writeln!(context.out, "This log is simulated and the file refuses it: its sets will fail.")?;
            }
        }
        show(context, &trust)
    }

    fn read_policy(&self) -> anyhow::Result<Option<String>> {
        let Some(path) = &self.witness_policy else { return Ok(None) };
        let bytes = files::read(path, "the witness policy", POLICY_BYTES_MAX)?;
        WitnessPolicy::parse(&bytes).with_context(|| path.display().to_string())?;
        Ok(Some(String::from_utf8(bytes).context("the witness policy")?))
    }

    fn new_trust(&self, profile: &Profile, auditor_key: PublicKey, policy: Option<String>) -> Trust {
        // A policy that was written before the log's key changed names the key of then: from it the others follow.
        let named = policy.as_ref().and_then(|text| WitnessPolicy::parse(text.as_bytes()).ok());
        let named = named.map(|policy| policy.log_keys());
        let all_known = |keys: &Vec<VerifierKey>| keys.iter().all(|key| profile.log_keys.contains(key));
        let log_keys = named.filter(all_known).unwrap_or_else(|| profile.log_keys.clone());
        let witness_policy = policy.unwrap_or_else(|| {
            let mut none = String::new();
            for key in &log_keys {
                none += &["log ", &key.vkey(), "\n"].concat();
            }
            none + "quorum none\n"
        });
        Trust {
            trust_domain: profile.trust_domain.to_string(),
            origin: profile.origin.clone(),
            log_keys,
            witness_policy,
            checkpoints: Vec::new(),
            auditor_key,
            made_by: self.made_by(),
            accept_simulated: self.simulated == Simulated::Accept,
        }
    }

    const fn made_by(&self) -> MadeBy {
        match self.made_by {
            Maker::Auditor => MadeBy::Auditor,
            Maker::SameHand => MadeBy::SameHand,
        }
    }

    /// Only checkpoints are ever added to a trust file: everything else must be what it says already.
    fn agrees(
        &self,
        trust: &Trust,
        profile: &Profile,
        auditor_key: &PublicKey,
        policy: Option<&str>,
    ) -> anyhow::Result<()> {
        let differs = if trust.origin != profile.origin || trust.trust_domain != profile.trust_domain.as_str()
        {
            "is for another log than the profile"
        } else if trust.auditor_key != *auditor_key {
            "names another auditor key than --auditor-key"
        } else if trust.made_by != self.made_by() {
            "says otherwise who made it than --made-by"
        } else if trust.accept_simulated != (self.simulated == Simulated::Accept) {
            "says otherwise than --simulated"
        } else if policy.is_some_and(|policy| policy != trust.witness_policy) {
            "has another policy than --witness-policy"
        } else {
            return Ok(());
        };
        bail!("{} {differs}: give what it was made with, or make a new file", self.out.display())
    }
}

/// The checkpoint of `note`, once it is signed by the log and shown to be a later state of `pinned`.
fn grown(trust: &Trust, pinned: &Checkpoint, reply: &LatestCheckpointReply) -> anyhow::Result<Checkpoint> {
    let note = Note::parse(reply.note.as_bytes()).context("the collector's checkpoint")?;
    let mut keys = LogKeys::pinned(&trust.log_keys);
    follow(&mut keys, &reply.key_changes);
    let newest = keys
        .open_ignoring(&note, &trust.origin)
        .context("the collector's checkpoint does not verify with the keys of the trust file")?;
    let policy = trust.policy().context("the trust file's witness policy")?;
    let standing = policy.standing(&note).context("the collector's checkpoint")?;
    if !standing.satisfied {
        bail!(
            "the collector's newest checkpoint does not meet the quorum {:?} of the trust file: {}. Nothing was pinned",
            policy.quorum_name(),
            standing.sentence()
        );
    }
    let proof = reply
        .consistency
        .iter()
        .map(|hash| Digest::from_slice(hash))
        .collect::<Result<Vec<_>, _>>()
        .context("the collector's consistency proof")?;
    merkle::verify_consistency(pinned.size, &pinned.root, newest.size, &newest.root, &proof).with_context(|| {
        format!(
            "the collector's log of {} entries is not a later state of the one pinned at {} entries. It was rolled \
             back, forked, or the proof was damaged: keep both and ask whoever runs it. Nothing was pinned",
            newest.size, pinned.size
        )
    })?;
    if newest.size == 0 {
        bail!("the collector shows an empty log: there is nothing to pin");
    }
    Ok(newest)
}

fn show(context: &mut Context<'_>, trust: &Trust) -> anyhow::Result<()> {
    let made_by = match trust.made_by {
        MadeBy::Auditor => "auditor",
        MadeBy::SameHand => "same-hand",
    };
    let simulated = if trust.accept_simulated { "accept" } else { "refuse" };
    let keys: Vec<String> = trust.log_keys.iter().map(evidence::note::VerifierKey::vkey).collect();
    if context.options.json {
        let checkpoints: Vec<_> = trust
            .checkpoints
            .iter()
            .map(|pinned| json!({"origin": pinned.origin, "size": pinned.size, "root": pinned.root.hex()}))
            .collect();
        let answer = json!({
            "trust_domain": trust.trust_domain,
            "origin": trust.origin,
            "log_keys": keys,
            "witness_policy": trust.witness_policy,
            "checkpoints": checkpoints,
            "auditor_key": trust.auditor_key.hex(),
            "made_by": made_by,
            "simulated": simulated,
        });
        writeln!(context.out, "{answer}")?;
        return Ok(());
    }
    writeln!(context.out, "Log          {}", clean(&trust.origin))?;
    for key in &keys {
        writeln!(context.out, "Log key      {}", clean(key))?;
    }
    writeln!(context.out, "Auditor key  {}", trust.auditor_key.hex())?;
    writeln!(context.out, "Made by      {made_by}; simulated logs: {simulated}")?;
    let policy = trust.policy().context("the witness policy")?;
    for witness in policy.witnesses() {
        writeln!(context.out, "Witness      {}: {}", clean(&witness.name), clean(&witness.key.vkey()))?;
    }
    writeln!(context.out, "Witnesses    quorum {}", clean(policy.quorum_name()))?;
    for pinned in &trust.checkpoints {
        writeln!(context.out, "Pinned       {} entries, root {}", pinned.size, pinned.root)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
