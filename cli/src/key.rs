//! `key`: the two keys of a person, made on that person's machine.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use certs::{Passphrase, PersonKey};
use clap::{Args, Subcommand};
use serde_json::json;
use zeroize::Zeroizing;

use crate::act::random;
use crate::command::Context;
use crate::files;
use crate::passphrase::{new_passphrase, protect};

/// Keys of a person.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key file, and beside it FILE.pub for an admin to admit
    New(NewArgs),
    /// Write the key of --key to a new file under a new passphrase
    Protect(ProtectArgs),
}

/// Arguments of `key new`.
#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// New file for the secret keys, readable by its owner only
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Without a passphrase: whoever copies the file is you
    #[arg(long)]
    no_passphrase: bool,
}

/// Arguments of `key protect`.
#[derive(Debug, Args)]
pub(crate) struct ProtectArgs {
    /// New file for the secret keys, readable by its owner only
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// File with the new passphrase, one line, `-` for standard input; without it you are asked
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
}

impl KeyCommand {
    /// Makes the keys.
    pub(crate) fn run(&self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let args = match self {
            Self::New(args) => args,
            Self::Protect(args) => return args.run(context),
        };
        // Asked for before anything is made.
        let passphrase = if args.no_passphrase {
            None
        } else {
            let file = context.options.passphrase_file.as_deref();
            Some(new_passphrase(file, &args.out)?)
        };
        let key = PersonKey::new(&Zeroizing::new(random()?))?;
        let public_file = write_pair(&args.out, &key, passphrase.as_ref())?;
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

impl ProtectArgs {
    fn run(&self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let key = context.options.read_key()?;
        let file = self.new_passphrase_file.as_deref();
        let passphrase = new_passphrase(file, &self.out)?;
        files::create_secret(&self.out, "the key file", &protect(&key, &passphrase)?)?;
        if context.options.json {
            writeln!(context.out, "{}", json!({ "file": self.out }))?;
        } else {
            writeln!(
                context.out,
                "The key is in {} under its new passphrase. Remove the old file, and its copies.",
                self.out.display()
            )?;
        }
        Ok(())
    }
}

/// Writes the key file and its public half beside it: both, or neither.
fn write_pair(path: &Path, key: &PersonKey, passphrase: Option<&Passphrase>) -> anyhow::Result<PathBuf> {
    let mut name = path.file_name().context("--out must name a file")?.to_owned();
    name.push(".pub");
    let public_file = path.with_file_name(name);
    if public_file.symlink_metadata().is_ok() {
        bail!("{} exists: choose another name, or move it away", public_file.display());
    }
    let bytes = match passphrase {
        Some(passphrase) => Zeroizing::new(protect(key, passphrase)?),
        None => key.encode(),
    };
    files::create_secret(path, "the key file", &bytes)?;
    if let Err(error) = files::create(&public_file, "the public key file", &key.public().encode()) {
        // Nothing was signed with it yet, so a key without its public half is of no use.
        std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
        return Err(error);
    }
    Ok(public_file)
}

#[cfg(test)]
mod tests;
