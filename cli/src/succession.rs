//! `log succession`: whom the log follows, by its proved first entry, and whether that goes on from what is known.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use evidence::note::{Checkpoint, NOTE_BYTES_MAX, Note, VerifierKey};
use evidence::succession::{Shown, SuccessionError, extends, predecessor};
use proto::GenesisRequest;
use serde_json::json;

use crate::client::answer;
use crate::command::{Context, Outcome};
use crate::files;
use crate::mirror::source::{Proved, Source};

/// Arguments of `log succession`.
#[derive(Debug, Args)]
pub(crate) struct SuccessionArgs {
    /// A checkpoint of the log before, as somebody kept it: what the first entry names must be it, or extend it
    #[arg(long = "old-checkpoint", value_name = "FILE", requires = "vkey")]
    checkpoint: Option<PathBuf>,
    /// Verifier key of the log before
    #[arg(long = "old-key", value_name = "VKEY")]
    vkey: Option<String>,
    /// Folder with a public tree of the log before, needed where the two checkpoints are not the same
    #[arg(long = "old-tree", value_name = "DIR", requires = "vkey")]
    tree: Option<PathBuf>,
}

/// What was compared, and what came of it.
#[derive(Default)]
struct Compared {
    /// The checkpoint somebody kept.
    known: Option<Checkpoint>,
    /// The checkpoint of the public tree.
    tree: Option<Checkpoint>,
    /// Why it does not hold.
    refused: Option<String>,
}

impl SuccessionArgs {
    /// Asks, checks, prints.
    pub(crate) async fn run(&self, context: &mut Context<'_>) -> anyhow::Result<Outcome> {
        let mut caller = context.options.connect(context.clock.clone()).await?;
        // The log's key may have changed since the profile was written.
        caller.checkpoint(0).await?;
        let first = answer(caller.people.genesis(GenesisRequest {})).await?;
        let origin = &caller.profile.origin;
        let salt = first.salt.as_slice().try_into().ok().context("the collector's salt is not 32 bytes")?;
        let shown = Shown { leaf: &first.leaf, salt, payload: &first.payload, tlog_proof: &first.tlog_proof };
        let (genesis, current) =
            shown.open(&caller.profile.log_keys, origin).context("the collector's answer")?;
        let named = genesis.predecessor.as_ref();
        let compared = match predecessor(&genesis, origin) {
            Ok(named) => self.compare(named).await?,
            Err(error) if self.vkey.is_some() => {
                Compared { refused: Some(error.to_string()), ..Compared::default() }
            }
            Err(_) => Compared::default(),
        };
        report(context, &current, named, &compared)?;
        Ok(if compared.refused.is_some() { Outcome::No } else { Outcome::Done })
    }

    async fn compare(&self, named: &Checkpoint) -> anyhow::Result<Compared> {
        let mut compared = Compared::default();
        let Some(key) = &self.vkey else { return Ok(compared) };
        let key = VerifierKey::parse(key).context("--old-key")?;
        let open = |bytes: &[u8]| -> anyhow::Result<Checkpoint> {
            Ok(Checkpoint::open_of(&Note::parse(bytes)?, std::slice::from_ref(&key), key.name())?)
        };
        let refuse = |compared: Compared, error: &SuccessionError| {
            Ok(Compared { refused: Some(error.to_string()), ..compared })
        };
        if key.name() != named.origin {
            let (found, expected) = (named.origin.clone(), key.name().to_owned());
            return refuse(compared, &SuccessionError::OtherLog { found, expected });
        }
        if let Some(path) = &self.checkpoint {
            let bytes = files::read(path, "the old checkpoint", NOTE_BYTES_MAX)?;
            match open(&bytes) {
                Ok(known) => compared.known = Some(known),
                Err(error) => {
                    compared.refused =
                        Some(format!("{} is not a checkpoint of that log: {error}", path.display()));
                    return Ok(compared);
                }
            }
        }
        let mut tree = match &self.tree {
            Some(dir) => {
                let source = Source::Folder(dir.clone());
                let note = source
                    .checkpoint()
                    .await?
                    .with_context(|| format!("{} holds no checkpoint", dir.display()))?;
                let checkpoint =
                    open(&note).with_context(|| format!("the checkpoint in {}", dir.display()))?;
                if checkpoint.size < named.size {
                    bail!(
                        "{} holds {} entries, fewer than the {} that are named: take a newer copy",
                        dir.display(),
                        checkpoint.size,
                        named.size
                    );
                }
                let proved = Proved::open(source, &checkpoint).await?;
                compared.tree = Some(checkpoint);
                Some(proved)
            }
            None => None,
        };
        if let Some(proved) = &mut tree
            && proved.root_at(named.size).await? != named.root
        {
            compared.refused = Some(format!(
                "the {} entries that the first entry names are not those of the old tree",
                named.size
            ));
            return Ok(compared);
        }
        let Some(known) = compared.known.clone() else { return Ok(compared) };
        if known.size >= named.size {
            return match extends(&known, named, &[]) {
                Ok(()) => Ok(compared),
                Err(error) => refuse(compared, &error),
            };
        }
        let Some(proved) = &mut tree else {
            bail!(
                "the first entry names {} entries and the old checkpoint has {}: give --old-tree DIR, a mirror of the old log, \
                 to tell whether the one extends the other",
                named.size,
                known.size
            );
        };
        if proved.root_at(known.size).await? != known.root {
            compared.refused = Some(format!(
                "the {} entries of the old checkpoint are not the beginning of what is named",
                known.size
            ));
        }
        Ok(compared)
    }
}

fn report(
    context: &mut Context<'_>,
    current: &Checkpoint,
    named: Option<&Checkpoint>,
    compared: &Compared,
) -> anyhow::Result<()> {
    let value = |checkpoint: &Checkpoint| json!({ "origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex() });
    if context.options.json {
        let answer = json!({
            "current": value(current),
            "predecessor": named.map(value),
            "old_checkpoint": compared.known.as_ref().map(value),
            "old_tree": compared.tree.as_ref().map(value),
            "holds": compared.refused.is_none(),
            "why": compared.refused,
        });
        writeln!(context.out, "{answer}")?;
        return Ok(());
    }
    let line = |checkpoint: &Checkpoint| {
        format!("{}, {} entries, root {}", checkpoint.origin, checkpoint.size, checkpoint.root.hex())
    };
    writeln!(context.out, "now      {}", line(current))?;
    match named {
        Some(named) => writeln!(context.out, "follows  {}", line(named))?,
        None => writeln!(context.out, "follows  no other log")?,
    }
    if let Some(known) = &compared.known {
        writeln!(context.out, "kept     {}", line(known))?;
    }
    match &compared.refused {
        Some(why) => writeln!(context.out, "It does NOT hold: {why}.")?,
        None if compared.known.is_some() => {
            writeln!(context.out, "What is named is what was kept, or extends it.")?;
        }
        None if compared.tree.is_some() => writeln!(context.out, "What is named lies in the old tree.")?,
        None => writeln!(context.out, "Its first entry is proved. Nothing of the log before was compared.")?,
    }
    Ok(())
}
