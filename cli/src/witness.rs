//! `witness`: a C2SP tlog-witness for an audit firm or anybody else who wants to vouch that a log only grew.
//!
//! Its folder holds its key and, for each log it knows, the newest checkpoint it cosigned. docs/FORMAT.md section 14.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use evidence::keys::SecretKey;
use evidence::note::VerifierKey;
use serde_json::json;
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use crate::act::random;
use crate::command::Context;
use crate::files;
use crate::table::clean;

mod server;
mod store;
#[cfg(test)]
mod tests;

use store::Store;
pub use store::rewritten_log;

/// Largest file of a certificate chain or its key, bytes.
const TLS_FILE_BYTES_MAX: usize = 1 << 16;

/// A witness of logs.
#[derive(Debug, Subcommand)]
pub(crate) enum WitnessCommand {
    /// Make a witness: its key, and no logs yet
    Init(InitArgs),
    /// Tell a stopped witness about a log
    AddLog(AddLogArgs),
    /// Print the witness's key, and how far it knows each log
    Show(DirArgs),
    /// Answer add-checkpoint requests (C2SP tlog-witness) until stopped
    Serve(ServeArgs),
}

/// The witness's folder.
#[derive(Debug, Args)]
pub(crate) struct DirArgs {
    /// Folder of the witness
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

/// Arguments of `witness init`.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    #[command(flatten)]
    dir: DirArgs,
    /// Name it signs under: an address without scheme, as in `witness.example.com/w1`
    #[arg(long, value_name = "NAME")]
    name: String,
}

/// Arguments of `witness add-log`.
#[derive(Debug, Args)]
pub(crate) struct AddLogArgs {
    #[command(flatten)]
    dir: DirArgs,
    /// The log's verifier key, from somebody trusted: its name is the log's origin
    #[arg(value_name = "VKEY")]
    vkey: String,
}

/// Arguments of `witness serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    dir: DirArgs,
    /// Address to answer on; without TLS one of this machine alone. Port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7380")]
    listen: SocketAddr,
    /// PEM file with the certificate of this server, and after it those that lead to an authority
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// PEM file with the certificate's key, readable by you alone
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
}

impl ServeArgs {
    /// TLS, if its files are given.
    fn tls(&self, clock: certs::Clock) -> anyhow::Result<Option<TlsAcceptor>> {
        let (Some(certificate), Some(key)) = (&self.tls_certificate, &self.tls_key) else { return Ok(None) };
        let text = files::read(certificate, "the TLS certificate", TLS_FILE_BYTES_MAX)?;
        let chain = certs::pem::certificates(&String::from_utf8_lossy(&text))
            .with_context(|| certificate.display().to_string())?;
        let text = files::read_secret(key, "the TLS key", TLS_FILE_BYTES_MAX)?;
        let text = std::str::from_utf8(&text).with_context(|| key.display().to_string())?;
        let secret = certs::pem::any_private_key(text).with_context(|| key.display().to_string())?;
        let config = certs::http1_listener(chain, secret, clock)
            .with_context(|| format!("{} and {}", certificate.display(), key.display()))?;
        Ok(Some(TlsAcceptor::from(config)))
    }
}

impl WitnessCommand {
    /// Runs the command.
    pub(crate) async fn run(&self, context: &mut Context<'_>) -> anyhow::Result<()> {
        match self {
            Self::Init(args) => {
                let key = SecretKey::from_seed(&Zeroizing::new(random()?)).context("the new key")?;
                show(context, &Store::create(&args.dir.dir, &args.name, key)?)
            }
            Self::AddLog(args) => {
                let key = VerifierKey::parse(args.vkey.trim()).context("the log's verifier key")?;
                let mut store = Store::open(&args.dir.dir)?;
                store.add_log(key)?;
                show(context, &store)
            }
            Self::Show(args) => show(context, &Store::open(&args.dir)?),
            Self::Serve(args) => {
                let tls = args.tls(Arc::new(certs::SystemClock(context.clock.clone())))?;
                // Requests are signed by logs, but the size in a refusal is not: on a network it needs TLS around it.
                if tls.is_none() && !args.listen.ip().is_loopback() {
                    bail!(
                        "--listen {} is open to the network: give --tls-certificate and --tls-key, or an address of this \
                         machine, as 127.0.0.1, with a proxy with TLS before it",
                        args.listen
                    );
                }
                server::serve(Store::open(&args.dir.dir)?, args.listen, tls, context).await
            }
        }
    }
}

fn show(context: &mut Context<'_>, store: &Store) -> anyhow::Result<()> {
    let vkey = store.witness_key()?.vkey();
    if context.options.json {
        let logs: Vec<_> = store
            .logs()
            .map(|(origin, head)| json!({"origin": origin, "size": head.size, "root": head.root.hex()}))
            .collect();
        writeln!(context.out, "{}", json!({"name": store.name(), "vkey": vkey, "logs": logs}))?;
        return Ok(());
    }
    writeln!(context.out, "Witness key  {}", clean(&vkey))?;
    for (origin, head) in store.logs() {
        writeln!(context.out, "Log          {}, {} entries, root {}", clean(origin), head.size, head.root)?;
    }
    Ok(())
}
