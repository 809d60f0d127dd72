//! `policy`: puts a policy file into the log, and says which policy is in force.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use evidence::acts::Body;
use evidence::policy::Policy;
use proto::PostureRequest;
use serde_json::json;

use crate::act::{SignedAct, write_reply};
use crate::client::answer;
use crate::command::Context;
use crate::fleet::FileArgs;
use crate::table::{Column, Table, clean};
use crate::{files, policy_file};

/// Largest policy file that is read, in bytes: an act holds less than a fifth of it.
const POLICY_BYTES_MAX: usize = 1 << 18;

/// Policies.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Sign a policy file (TOML) and put it into the log: in force from its receipt
    Put(FileArgs),
    /// Print which policy is in force, or the controls of a policy file
    Show(ShowArgs),
}

/// Arguments of `policy show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Policy file (TOML) to check and print; no connection is needed
    #[arg(value_name = "FILE.toml")]
    file: Option<PathBuf>,
}

impl PolicyCommand {
    /// Puts or shows a policy.
    pub(crate) async fn run(&self, context: &mut Context<'_>) -> anyhow::Result<()> {
        match self {
            Self::Put(args) => {
                let policy = read(&args.file)?;
                let mut caller = context.options.connect(context.clock.clone()).await?;
                let signed = SignedAct::sign(
                    Body::Policy(policy),
                    &caller.profile.origin,
                    &caller.signing,
                    context.clock.as_ref(),
                )?;
                let reply = signed.carry(&mut caller, None).await?;
                write_reply(context.out, context.options.json, "The policy", &reply)
            }
            Self::Show(ShowArgs { file: Some(file) }) => show_file(context, &read(file)?),
            Self::Show(ShowArgs { file: None }) => show_in_force(context).await,
        }
    }
}

fn read(path: &Path) -> anyhow::Result<Policy> {
    let bytes = files::read(path, "the policy file", POLICY_BYTES_MAX)?;
    let text = String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8", path.display()))?;
    policy_file::parse(&text).with_context(|| path.display().to_string())
}

fn show_file(context: &mut Context<'_>, policy: &Policy) -> anyhow::Result<()> {
    if context.options.json {
        writeln!(context.out, "{}", policy.to_json().encode())?;
        return Ok(());
    }
    writeln!(context.out, "Policy {}: {}", policy.id, clean(&policy.title))?;
    let mut table =
        Table::new([Column::wrapping("CONTROL"), Column::firm("SEVERITY"), Column::firm("MAX AGE (MIN)")]);
    for control in &policy.controls {
        let cells = [
            control.id.to_string(),
            control.severity.as_str().to_owned(),
            control.max_age_minutes.to_string(),
        ];
        table.row_with_note(cells, &control.title);
    }
    Ok(table.write(context.out)?)
}

async fn show_in_force(context: &mut Context<'_>) -> anyhow::Result<()> {
    let mut caller = context.options.connect(context.clock.clone()).await?;
    let posture = answer(caller.people.posture(PostureRequest::default())).await?;
    if context.options.json {
        let answer = json!({
            "day": posture.day,
            "policy": posture.policy,
            "policy_index": (!posture.policy.is_empty()).then_some(posture.policy_index),
        });
        writeln!(context.out, "{answer}")?;
    } else if posture.policy.is_empty() {
        writeln!(context.out, "No policy is in force. `tallystick policy put FILE.toml` puts one.")?;
    } else {
        writeln!(
            context.out,
            "Policy {} is in force: entry {} of the log.",
            clean(&posture.policy),
            posture.policy_index
        )?;
    }
    Ok(())
}
