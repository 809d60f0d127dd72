//! `key`: the two keys of a person, made on that person's machine.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use certs::PersonKey;
use clap::{Args, Subcommand};
use serde_json::json;
use zeroize::Zeroizing;

use crate::act::random;
use crate::command::Context;
use crate::files;

/// Keys of a person.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key file, and beside it FILE.pub for an admin to admit
    New(NewArgs),
}

/// Arguments of `key new`.
#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// New file for the secret keys, readable by its owner only
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl KeyCommand {
    /// Makes the keys.
    pub(crate) fn run(&self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let Self::New(args) = self;
        let key = PersonKey::new(&Zeroizing::new(random()?))?;
        let public_file = write_pair(&args.out, &key)?;
        let public = key.public();
        if context.options.json {
            let answer = json!({
                "file": args.out,
                "public_file": public_file,
                "key": public.signing.hex(),
                "key_id": public.signing.id().hex(),
                "tls_key": public.tls.id().hex(),
            });
            writeln!(context.out, "{answer}")?;
            return Ok(());
        }
        writeln!(
            context.out,
            "Keys written to {} (secret: whoever has it signs as you) and {} (give it to an admin, or to whoever \
             makes the plan you audit).",
            args.out.display(),
            public_file.display()
        )?;
        writeln!(context.out, "Key {}, key id {}.", public.signing.hex(), public.signing.id())?;
        Ok(())
    }
}

/// Writes the key file and its public half beside it: both, or neither.
fn write_pair(path: &Path, key: &PersonKey) -> anyhow::Result<PathBuf> {
    let mut name = path.file_name().context("--out must name a file")?.to_owned();
    name.push(".pub");
    let public_file = path.with_file_name(name);
    if public_file.symlink_metadata().is_ok() {
        bail!("{} exists: choose another name, or move it away", public_file.display());
    }
    files::create_secret(path, "the key file", &key.encode())?;
    if let Err(error) = files::create(&public_file, "the public key file", &key.public().encode()) {
        // Nothing was signed with it yet, so a key without its public half is of no use.
        std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
        return Err(error);
    }
    Ok(public_file)
}

#[cfg(test)]
mod tests;
