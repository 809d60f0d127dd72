//! `log rotate-key`: while the server is down, in this process, through the same writer.

use std::io::Write;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use evidence::json::{self, object};

use super::{Directory, answer};
use crate::datadir::DataDirError;
use crate::log_key::{OVERLAP_DAYS_DEFAULT, OVERLAP_DAYS_MAX};
use crate::node::{Node, NodeError};

#[derive(Debug, Subcommand)]
pub(super) enum LogCommand {
    /// Give the log a new key, which the old one endorses. The server must be down. Interrupted, it is run again.
    RotateKey(RotateArguments),
}

#[derive(Debug, Args)]
pub(super) struct RotateArguments {
    #[command(flatten)]
    directory: Directory,
    /// Days both keys sign, for witnesses and readers who do not follow by themselves; 0: the old key is destroyed at once.
    #[arg(long, value_name = "DAYS", default_value_t = OVERLAP_DAYS_DEFAULT,
          value_parser = clap::value_parser!(u64).range(0..=OVERLAP_DAYS_MAX))]
    overlap_days: u64,
}

pub(super) async fn run(command: LogCommand, out: &mut impl Write) -> anyhow::Result<()> {
    let LogCommand::RotateKey(RotateArguments { directory, overlap_days }) = command;
    let path = directory.dir.clone();
    let opened = tokio::task::spawn_blocking(move || Node::open_to_rotate(&path, overlap_days, |_| {}));
    let node = match opened.await.context("interrupted")? {
        Err(NodeError::DataDir(DataDirError::Locked { .. })) => {
            bail!("the server is running: stop it first; devices keep what they have to say until it is back")
        }
        other => other?,
    };
    let rotation = node.rotation.clone().context("no change of the key was begun")?;
    let is_witnessed = node.witnesses.is_some();
    let logged = async {
        let put = rotation.log(&node.state).await?;
        // Witnesses are asked by the server: there the next start signs what covers the entry, with both keys too.
        if !is_witnessed {
            node.state.wait_for_checkpoint(put.index.saturating_add(1)).await?;
        }
        Ok::<_, crate::state::StateError>(put)
    };
    let logged = logged.await;
    close(node).await?;
    let index = logged?.index;
    // Opening puts the files in their places, as the next start would.
    let path = directory.dir.clone();
    let again = tokio::task::spawn_blocking(move || Node::open(&path, |_| {}));
    let node = again.await.context("interrupted")??;
    let vkey = node.state.log_keys().last().map(evidence::note::VerifierKey::vkey).unwrap_or_default();
    close(node).await?;
    let days = rotation.overlap_days;
    let value = object([
        ("index", json::count(index)),
        ("log_vkey", json::text(&vkey)),
        ("overlap_days", json::count(days)),
    ]);
    let old = if days == 0 {
        "The old key is destroyed.".to_owned()
    } else {
        format!(
            "The old key signs beside it for {days} days: have every witness take the new one until then."
        )
    };
    let text = format!(
        "The log's key changed (entry {index}). It is now\n{vkey}\n{old}\nTrust files and agents follow by themselves."
    );
    answer(out, directory.json, &value, &text)
}

async fn close(node: Node) -> anyhow::Result<()> {
    tokio::task::spawn_blocking(move || node.close()).await.context("the writer did not stop")
}
