//! `log`: checkpoints and proofs, checked before they are printed.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use evidence::ids::Digest;
use evidence::json::encode_base64;
use evidence::leaf::Leaf;
use evidence::merkle;
use evidence::note::{TlogProof, VerifierKey, hash_lines};
use proto::{ProofReply, ProofRequest};
use serde_json::json;

use crate::client::answer;
use crate::command::{Context, Outcome};
use crate::files;
use crate::mirror::MirrorArgs;
use crate::succession::SuccessionArgs;

/// The log.
#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Print the newest checkpoint, once its signature is checked
    Checkpoint(CheckpointArgs),
    /// Print the inclusion proof of one entry, once it is checked
    Proof(ProofArgs),
    /// Copy the log's public tree, checking every byte, and continue an older copy
    Mirror(MirrorArgs),
    /// Show which log this one follows, once its first entry is checked, and compare with what is known of that; exit 1 if it
    /// does not hold
    Succession(SuccessionArgs),
}

/// Arguments of `log checkpoint`.
#[derive(Debug, Args)]
pub(crate) struct CheckpointArgs {
    /// Also print the consistency proof from this size, in entries
    #[arg(long, value_name = "ENTRIES", requires = "root")]
    from_size: Option<u64>,
    /// Root of the tree of that size, in hex: the proof is checked against it
    #[arg(long, value_name = "HEX", value_parser = Digest::from_hex, requires = "from_size")]
    root: Option<Digest>,
}

/// Arguments of `log proof`.
#[derive(Debug, Args)]
pub(crate) struct ProofArgs {
    /// Index of the entry, from 0
    #[arg(value_name = "INDEX")]
    index: u64,
    /// Also write the proof to a new file (C2SP tlog-proof)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl LogCommand {
    /// Asks, checks, prints.
    pub(crate) async fn run(&self, context: &mut Context<'_>) -> anyhow::Result<Outcome> {
        match self {
            Self::Checkpoint(args) => args.run(context).await?,
            Self::Proof(args) => args.run(context).await?,
            Self::Mirror(args) => return args.run(context).await,
            Self::Succession(args) => return args.run(context).await,
        }
        Ok(Outcome::Done)
    }
}

impl CheckpointArgs {
    async fn run(&self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let mut caller = context.options.connect(context.clock.clone()).await?;
        let (checkpoint, reply) = caller.checkpoint(self.from_size.unwrap_or_default()).await?;
        let proof = reply
            .consistency
            .iter()
            .map(|hash| Digest::from_slice(hash))
            .collect::<Result<Vec<_>, _>>()
            .context("the collector's consistency proof")?;
        if let (Some(size), Some(root)) = (self.from_size, self.root) {
            merkle::verify_consistency(size, &root, checkpoint.size, &checkpoint.root, &proof).with_context(
                || format!("the log of {} entries is not a later state of that one", checkpoint.size),
            )?;
        }
        if context.options.json {
            let answer = json!({
                "origin": checkpoint.origin,
                "size": checkpoint.size,
                "root": checkpoint.root.hex(),
                "note": reply.note,
                "consistency": proof.iter().map(|hash| encode_base64(hash.as_bytes())).collect::<Vec<_>>(),
            });
            writeln!(context.out, "{answer}")?;
            return Ok(());
        }
        // A note holds no control characters but line ends: it was parsed.
        write!(context.out, "{}", reply.note)?;
        if self.from_size.is_some() {
            write!(context.out, "\n{}", hash_lines(&proof))?;
        }
        Ok(())
    }
}

impl ProofArgs {
    async fn run(&self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let mut caller = context.options.connect(context.clock.clone()).await?;
        // The log's key may have changed since the profile was written.
        caller.checkpoint(0).await?;
        let reply = answer(caller.people.proof(ProofRequest { index: self.index })).await?;
        let (leaf, size) = check(&reply, self.index, &caller.profile.log_keys, &caller.profile.origin)?;
        if let Some(path) = &self.out {
            files::create(path, "the proof", reply.tlog_proof.as_bytes())?;
        }
        if context.options.json {
            let answer = json!({
                "index": self.index,
                "kind": leaf.kind.to_string(),
                "received_ms": leaf.received.ms(),
                "leaf": encode_base64(&reply.leaf),
                "size": size,
                "tlog_proof": reply.tlog_proof,
            });
            writeln!(context.out, "{answer}")?;
            return Ok(());
        }
        writeln!(
            context.out,
            "Entry {} ({}), received {}, is in the log of {size} entries.",
            self.index,
            leaf.kind,
            leaf.received.rfc3339()
        )?;
        if self.out.is_none() {
            write!(context.out, "\n{}", reply.tlog_proof)?;
        }
        Ok(())
    }
}

/// The leaf and the tree's size, once the proof leads from the one to the other.
fn check(
    reply: &ProofReply,
    index: u64,
    log_keys: &[VerifierKey],
    origin: &str,
) -> anyhow::Result<(Leaf, u64)> {
    let proof = TlogProof::parse(reply.tlog_proof.as_bytes()).context("the collector's proof")?;
    if proof.index != index {
        bail!("asked for entry {index}, the collector proves entry {}", proof.index);
    }
    let leaf = Leaf::parse(&reply.leaf).context("the collector's leaf")?;
    let checkpoint = proof.verify(&leaf.hash(), log_keys).context("the collector's proof does not hold")?;
    if checkpoint.origin != origin {
        bail!("the proof is of the log {:?}, the profile of {origin:?}", checkpoint.origin);
    }
    Ok((leaf, checkpoint.size))
}

#[cfg(test)]
mod tests;
