//! `audit export`: receives a sampling set into a new folder.
//!
//! The collector is not trusted with this machine's files: every path must have a form of docs/FORMAT.md section 11.
//! The folder appears under its name only when the set is complete.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use evidence::ids::Digest;
use evidence::set::{self, Manifest};
use indicatif::{ProgressBar, ProgressStyle};
use proto::SetPart;
use serde_json::json;
use tokio::time::timeout;

use super::KnownPlan;
use crate::act::random;
use crate::client::{Refusal, answer};
use crate::command::Context;
use crate::files;
use crate::table::clean;

/// Longest silence of a collector in the middle of a set: it writes and hashes files meanwhile.
const PART_SECONDS_MAX: Duration = Duration::from_mins(10);
/// Most files of a set: the largest plan has 64 × 20,000 units with a few statements of three files each.
const SET_FILES_MAX: u64 = 20_000_000;
/// Most bytes of a set on disk: statements have at most 64 KiB, usually 1 KiB.
const SET_BYTES_MAX: u64 = 1 << 38;
/// Largest manifest that is read, in bytes: 200 for each of a million files.
const MANIFEST_BYTES_MAX: usize = 1 << 28;

/// Arguments of `audit export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The plan, as `audit plan` wrote it
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// New folder for the set
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl ExportArgs {
    pub(crate) async fn run(&self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let plan = KnownPlan::read(&self.plan)?;
        let mut folder = SetFolder::create(&self.out)?;
        let mut caller = context.options.connect(context.clock.clone()).await?;
        let mut parts = answer(caller.people.export(plan.reference())).await?;
        // Draws nothing when standard error is not a terminal.
        let bar = if context.options.json { ProgressBar::hidden() } else { ProgressBar::no_length() };
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} files")
            .context("the progress bar's template")?;
        bar.set_style(style);
        while let Some(part) = timeout(PART_SECONDS_MAX, parts.message())
            .await
            .context("the collector stopped in the middle of the set: try again")?
            .map_err(|status| Refusal::of(&status))?
        {
            folder.take(&part)?;
            bar.set_length(folder.announced);
            bar.set_position(folder.complete());
        }
        bar.finish_and_clear();
        let (files, bytes) = folder.finish(&plan.hash)?;
        if context.options.json {
            writeln!(context.out, "{}", json!({"folder": self.out, "files": files, "bytes": bytes}))?;
        } else {
            let folder = self.out.display();
            writeln!(
                context.out,
                "The set is in {folder}: {files} files, {bytes} bytes.\nCheck it with a verifier and a trust file got \
                 before it: tallystick-verify {folder} --trust FILE"
            )?;
        }
        Ok(())
    }
}

/// A set on its way in: beside its final place until it is complete, and gone if it never is.
#[derive(Debug)]
struct SetFolder {
    target: PathBuf,
    staging: PathBuf,
    open: Option<(String, BufWriter<File>)>,
    seen: BTreeSet<String>,
    announced: u64,
    bytes: u64,
    moved: bool,
}

impl SetFolder {
    fn create(target: &Path) -> anyhow::Result<Self> {
        if target.symlink_metadata().is_ok() {
            bail!("{} exists: a set is only ever written to a new folder", target.display());
        }
        let mut name = target.file_name().context("--out must name a folder")?.to_owned();
        name.push(format!(".{}.partial", data_encoding::HEXLOWER.encode(&random::<4>()?)));
        let staging = target.with_file_name(name);
        make_folder(&staging)?;
        Ok(Self {
            target: target.to_owned(),
            staging,
            open: None,
            seen: BTreeSet::new(),
            announced: 0,
            bytes: 0,
            moved: false,
        })
    }

    /// Files that are complete.
    fn complete(&self) -> u64 {
        (self.seen.len() as u64).saturating_sub(self.open.is_some().into())
    }

    fn take(&mut self, part: &SetPart) -> anyhow::Result<()> {
        if self.seen.is_empty() {
            if part.files == 0 || part.files > SET_FILES_MAX {
                bail!("the collector announced {} files: a set has 1 to {SET_FILES_MAX}", part.files);
            }
            self.announced = part.files;
        }
        self.bytes = self.bytes.saturating_add(part.data.len() as u64);
        if self.bytes > SET_BYTES_MAX {
            bail!("the set has more than {SET_BYTES_MAX} bytes");
        }
        let mut open = match self.open.take() {
            Some((path, file)) if path == part.path => (path, file),
            Some((path, _)) => bail!("the collector began {:?} before {path:?} was complete", part.path),
            None => (part.path.clone(), self.begin(&part.path)?),
        };
        open.1.write_all(&part.data).with_context(|| format!("cannot write {}", open.0))?;
        if part.end {
            open.1.flush().with_context(|| format!("cannot write {}", open.0))?;
        } else {
            self.open = Some(open);
        }
        Ok(())
    }

    fn begin(&mut self, path: &str) -> anyhow::Result<BufWriter<File>> {
        if !is_set_path(path) {
            bail!(
                "the collector sent a file called {:?}, which no set has: nothing was kept. Do not use this \
                 collector before whoever runs it has explained it",
                clean(path)
            );
        }
        if self.seen.len() as u64 >= self.announced {
            bail!("the collector sends more than the {} files it announced", self.announced);
        }
        if !self.seen.insert(path.to_owned()) {
            bail!("the collector sent {path:?} twice");
        }
        let place = self.staging.join(path);
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        }
        let file = File::create_new(&place).with_context(|| format!("cannot create {}", place.display()))?;
        Ok(BufWriter::new(file))
    }

    /// Moves the complete set of the plan `plan_hash` to its place; how many files and bytes it has.
    fn finish(mut self, plan_hash: &Digest) -> anyhow::Result<(u64, u64)> {
        if let Some((path, _)) = &self.open {
            bail!("the set broke off inside {path:?}: try again");
        }
        let files = self.seen.len() as u64;
        if files == 0 || files != self.announced {
            bail!("the set broke off after {files} of {} files: try again", self.announced);
        }
        let manifest = files::read(&self.staging.join(set::MANIFEST), "the manifest", MANIFEST_BYTES_MAX)?;
        let manifest = Manifest::parse(&manifest).context("the set's manifest")?;
        if manifest.plan_hash != *plan_hash {
            bail!("the collector sent the set of plan {}, asked for was {plan_hash}", manifest.plan_hash);
        }
        fs::rename(&self.staging, &self.target)
            .with_context(|| format!("cannot move the set to {}", self.target.display()))?;
        self.moved = true;
        Ok((files, self.bytes))
    }
}

impl Drop for SetFolder {
    fn drop(&mut self) {
        if !self.moved {
            // The error that ended the export is the one to report.
            drop(fs::remove_dir_all(&self.staging));
        }
    }
}

/// Makes a folder for its owner: statements tell about people's machines.
fn make_folder(path: &Path) -> anyhow::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).with_context(|| format!("cannot make the folder {}", path.display()))
}

/// Whether a set may hold a file of this path. Each form has plain names only, so no path leads out of the folder.
fn is_set_path(path: &str) -> bool {
    matches!(path, set::MANIFEST | set::MANIFEST_NOTE | set::MANIFEST_TSR | set::EXPORT_PROOF)
        || set::is_listed_path(path)
}

#[cfg(test)]
mod tests;
