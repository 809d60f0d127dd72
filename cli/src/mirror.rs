//! `log mirror`: a verified copy of a log's public tree, continued where it stopped.
//!
//! Nothing of the source is believed: the checkpoint must be signed by the log, extend the one the copy has, and agree
//! with every checkpoint that the trust file pins; every bundle must lie under it before it is written. All hash tiles
//! of the copy are computed here. Payloads, where they are wanted, are [`payloads`]'s.

use std::collections::VecDeque;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use evidence::ids::Digest;
use evidence::log_keys::{LOG_KEYS_BYTES_MAX, LOG_KEYS_PATH, LogKeys};
use evidence::merkle::leaf_hash;
use evidence::note::{Checkpoint, NOTE_BYTES_MAX, Note, VerifierKey};
use evidence::tiles::{self, CHECKPOINT_PATH, Content, Edge, TILE_WIDTH, Tile};
use evidence::trust::Trust;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::command::{Context, Outcome};
use crate::files;
use crate::table::clean;
use crate::trust::TRUST_BYTES_MAX;

mod copy;
mod payloads;
pub(crate) mod source;
#[cfg(test)]
mod tests;

use copy::Copy;
use payloads::{PayloadSource, PayloadsDone};
use source::{Proved, Source, read_if_there};

/// Largest file of a root certificate, bytes.
const CA_BYTES_MAX: usize = 64 << 10;
/// Bundles asked for ahead of the one that is checked: a far source answers in its own time.
const AHEAD_MAX: usize = 16;

/// Arguments of `log mirror`.
#[derive(Debug, Args)]
pub(crate) struct MirrorArgs {
    /// The log's public tree: https://host:port, or a folder that holds a copy
    #[arg(long, value_name = "URL|DIR")]
    from: String,
    /// Folder of the copy; it is made, or continued
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Certificate of the root authority of the source's server, PEM; without it, the profile's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Trust file: its log keys, origin and pinned checkpoints must all hold
    #[arg(long, value_name = "FILE", required_unless_present = "vkey", conflicts_with = "vkey")]
    trust: Option<PathBuf>,
    /// Verifier key of the log, instead of a trust file
    #[arg(long, value_name = "VKEY")]
    vkey: Option<String>,
    /// Keep the sealed payloads too, and erase in them what the log erased: of the collector of your profile, as an admin or
    /// auditor, or of the folder that --from names
    #[arg(long)]
    with_payloads: bool,
}

/// Whose checkpoints count, and which are known already.
#[derive(Clone)]
struct Believed {
    origin: String,
    log_keys: LogKeys,
    /// Size and root.
    pinned: Vec<(u64, Digest)>,
}

/// A checkpoint with the note that signs it.
struct Signed {
    checkpoint: Checkpoint,
    note: Vec<u8>,
}

/// What was done.
#[derive(Debug, Default)]
struct Done {
    bundles_fetched: u64,
    bundles_kept: u64,
    files_written: u64,
    payloads: Option<PayloadsDone>,
}

impl MirrorArgs {
    /// Copies, checks, prints.
    pub(crate) async fn run(&self, context: &mut Context<'_>) -> anyhow::Result<Outcome> {
        let mut believed = self.believed()?;
        let tls = match &self.ca {
            Some(path) => {
                let text = String::from_utf8(files::read(path, "the root certificate", CA_BYTES_MAX)?)
                    .ok()
                    .with_context(|| format!("{} is not PEM", path.display()))?;
                Some(certs::pem::certificate(&text).with_context(|| path.display().to_string())?)
            }
            None if context.options.profile.is_some() => Some(context.options.read_profile()?.root),
            None => None,
        };
        let clock = context.clock.clone();
        let tls = tls.map(|root| certs::public_client(&root, std::sync::Arc::new(certs::SystemClock(clock))));
        let source = Source::open(&self.from, tls.transpose()?).await?;
        let mut copy = Copy::open(&self.dir)?;
        let payloads = match &source {
            _ if !self.with_payloads => {
                if copy.has(payloads::FOLDER) {
                    bail!(
                        "{} holds payloads: give --with-payloads, so that what the log erased is erased in them too, or \
                         remove its folder {}",
                        self.dir.display(),
                        payloads::FOLDER
                    );
                }
                None
            }
            Source::Folder(root) => Some(PayloadSource::Folder(root.clone())),
            Source::Web { .. } => {
                Some(PayloadSource::Collector { options: context.options, clock: context.clock.clone() })
            }
        };
        let bar = if context.options.json {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden())
        } else {
            ProgressBar::new(0)
        };
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} entries  {per_sec}  {eta} left")
        {
            bar.set_style(style);
        }
        let (ours, result) = mirror(&source, &mut copy, &mut believed, payloads.as_ref(), &bar).await?;
        bar.finish_and_clear();
        report(context, &self.dir, ours, result)
    }

    fn believed(&self) -> anyhow::Result<Believed> {
        if let Some(vkey) = &self.vkey {
            let key = VerifierKey::parse(vkey).context("--vkey")?;
            return Ok(Believed {
                origin: key.name().to_owned(),
                log_keys: LogKeys::pinned(&[key]),
                pinned: Vec::new(),
            });
        }
        let path = self.trust.as_deref().context("give --trust FILE or --vkey VKEY")?;
        let bytes = files::read(path, "the trust file", TRUST_BYTES_MAX)?;
        let trust =
            Trust::parse(&bytes).with_context(|| format!("{} is not a trust file", path.display()))?;
        let of_log = trust.checkpoints.iter().filter(|pinned| pinned.origin == trust.origin);
        let pinned = of_log.map(|pinned| (pinned.size, pinned.root)).collect();
        Ok(Believed { origin: trust.origin.clone(), log_keys: LogKeys::pinned(&trust.log_keys), pinned })
    }
}

/// How it ended.
enum Ended {
    /// The copy is level with this checkpoint.
    Level(Signed, Done),
    /// The source has an older state of the log than the copy.
    Behind(Signed),
    /// Two histories: why, and the folder with both checkpoints.
    Fork(Signed, String, PathBuf),
}

/// Brings the copy level with the source; gives the size it had before.
async fn mirror(
    source: &Source,
    copy: &mut Copy,
    believed: &mut Believed,
    payloads: Option<&PayloadSource<'_>>,
    bar: &ProgressBar,
) -> anyhow::Result<(u64, Ended)> {
    // What the copy kept of the log's key, then what the source shows; neither is believed without an endorsement.
    for lines in [copy.file(LOG_KEYS_PATH, LOG_KEYS_BYTES_MAX)?, source.log_keys().await?] {
        believed.log_keys.follow_lines(&lines.unwrap_or_default());
    }
    let note = read_if_there(&copy.root().join(CHECKPOINT_PATH), NOTE_BYTES_MAX)?;
    let ours = match note {
        Some(note) => Some(believed.open(note).with_context(|| {
            let root = copy.root().display();
            format!(
                "{root} does not hold a copy of this log; give another --dir, or move its checkpoint away"
            )
        })?),
        None => None,
    };
    let size = ours.as_ref().map_or(0, |ours| ours.checkpoint.size);
    let note = source.checkpoint().await?.context("the source has no checkpoint yet")?;
    let theirs = believed.open(note).context("the source's checkpoint")?;
    if let Some(ours) = &ours {
        if theirs.checkpoint.size < ours.checkpoint.size {
            let mut own = Proved::open(Source::Folder(copy.root().to_owned()), &ours.checkpoint).await?;
            let older = theirs.checkpoint.size;
            return if own.root_at(older).await? == theirs.checkpoint.root {
                Ok((size, Ended::Behind(theirs)))
            } else {
                let why =
                    format!("the copy's tree of {size} entries does not begin with the source's of {older}");
                Ok((size, fork(copy, &ours.note, theirs, why)?))
            };
        }
        if theirs.checkpoint.size == size && theirs.checkpoint.root != ours.checkpoint.root {
            let why = format!("two roots are signed for {size} entries");
            return Ok((size, fork(copy, &ours.note, theirs, why)?));
        }
    }
    let mut proved = Proved::open(source.clone(), &theirs.checkpoint).await?;
    if let Some(ours) = &ours
        && proved.root_at(size).await? != ours.checkpoint.root
    {
        let why = format!(
            "the source's tree of {} entries does not begin with the copy's of {size}",
            theirs.checkpoint.size
        );
        return Ok((size, fork(copy, &ours.note, theirs, why)?));
    }
    for (pinned, root) in &believed.pinned {
        if *pinned <= theirs.checkpoint.size && proved.root_at(*pinned).await? != *root {
            let why =
                format!("the trust file pins another root for {pinned} entries than the source's tree has");
            let pin = format!("{}\n{pinned}\n{}\n", believed.origin, root.hex());
            return Ok((size, fork(copy, pin.as_bytes(), theirs, why)?));
        }
    }
    if let Some(lines) = source.log_keys().await? {
        copy.put_log_keys(&lines)?;
    }
    let done = fill(source, copy, &mut proved, &theirs, payloads, bar).await?;
    Ok((size, Ended::Level(theirs, done)))
}

fn fork(copy: &mut Copy, ours: &[u8], theirs: Signed, why: String) -> anyhow::Result<Ended> {
    let root: String = theirs.checkpoint.root.hex().chars().take(16).collect();
    let folder = copy.keep_fork(ours, &theirs.note, &format!("{}-{root}", theirs.checkpoint.size))?;
    Ok(Ended::Fork(theirs, why, folder))
}

impl Believed {
    fn open(&self, note: Vec<u8>) -> anyhow::Result<Signed> {
        let parsed = Note::parse(&note)?;
        let checkpoint = self.log_keys.open_ignoring(&parsed, &self.origin)?;
        Ok(Signed { checkpoint, note })
    }
}

/// Fetches and checks what the copy lacks, computes its tiles, and shows the checkpoint last.
async fn fill(
    source: &Source,
    copy: &mut Copy,
    proved: &mut Proved,
    theirs: &Signed,
    payloads: Option<&PayloadSource<'_>>,
    bar: &ProgressBar,
) -> anyhow::Result<Done> {
    let (size, root) = (theirs.checkpoint.size, theirs.checkpoint.root);
    let (full, width) = tiles::row(size, 0);
    bar.set_length(size);
    let mut done = Done::default();
    let mut edge = Edge::new();
    let mut ahead = Ahead { source, next: 0, end: full, running: VecDeque::new() };
    for number in 0..full {
        let tile = Tile::new(Content::Entries, number, TILE_WIDTH).context("the log is too large")?;
        let expected = proved.bundle_root(number).await?;
        let right = |bytes: &[u8]| -> Option<Vec<Digest>> {
            let hashes: Vec<Digest> = tile.parse_entries(bytes).ok()?.into_iter().map(leaf_hash).collect();
            (tiles::fold(&hashes) == expected).then_some(hashes)
        };
        let own = copy.tile(&tile).ok().flatten();
        let hashes = match own.as_deref().and_then(right) {
            Some(hashes) => {
                done.bundles_kept += 1;
                hashes
            }
            None => {
                let bytes = ahead.bundle(copy, number).await?;
                let hashes = right(&bytes).with_context(|| {
                    format!("{tile} does not lie under the signed root: the source is damaged")
                })?;
                done.bundles_fetched += 1;
                done.files_written += u64::from(copy.put(&tile, &bytes)?);
                hashes
            }
        };
        copy.remove_partials(&tile);
        grow(copy, &mut edge, &hashes, &mut done)?;
        bar.set_position(edge.size());
    }
    if let Some(tile) = Tile::new(Content::Entries, full, width) {
        let bytes = source.tile(&tile).await?.with_context(|| format!("the source has no {tile}"))?;
        let entries = tile.parse_entries(&bytes).with_context(|| format!("{tile} of the source"))?;
        let hashes: Vec<Digest> = entries.into_iter().map(leaf_hash).collect();
        if hashes != proved.hashes(0, full).await? {
            bail!("{tile} does not lie under the signed root: the source is damaged");
        }
        done.bundles_fetched += 1;
        done.files_written += u64::from(copy.put(&tile, &bytes)?);
        grow(copy, &mut edge, &hashes, &mut done)?;
    }
    if edge.root() != root {
        bail!("the entries do not lead to the signed root of {size} entries: the source is damaged");
    }
    for (tile, hashes) in edge.partial() {
        done.files_written += u64::from(copy.put(&tile, &tiles::encode_hashes(hashes))?);
    }
    if let Some(payloads) = payloads {
        done.payloads = Some(payloads::level(copy, payloads, &theirs.checkpoint, bar).await?);
    }
    copy.put_checkpoint(&theirs.note)?;
    Ok(done)
}

/// Adds leaf hashes, and puts the tiles they fill.
fn grow(copy: &mut Copy, edge: &mut Edge, hashes: &[Digest], done: &mut Done) -> anyhow::Result<()> {
    for hash in hashes {
        edge.push(*hash, |tile, hashes| {
            done.files_written += u64::from(copy.put(&tile, &tiles::encode_hashes(hashes))?);
            copy.remove_partials(&tile);
            anyhow::Ok(())
        })?;
    }
    Ok(())
}

/// Full bundles on their way.
struct Ahead<'a> {
    source: &'a Source,
    /// The next to be asked for.
    next: u64,
    /// Full bundles there are.
    end: u64,
    running: VecDeque<(u64, Fetching)>,
}

/// A bundle on its way; none if the source has none.
type Fetching = JoinHandle<anyhow::Result<Option<Vec<u8>>>>;

impl Ahead<'_> {
    /// The bytes of bundle `number`; the following ones that the copy has not are asked for as well.
    async fn bundle(&mut self, copy: &Copy, number: u64) -> anyhow::Result<Vec<u8>> {
        while self.running.front().is_some_and(|(ahead, _)| *ahead < number) {
            self.running.pop_front();
        }
        if self.running.front().is_none_or(|(ahead, _)| *ahead != number) {
            self.running.clear();
            self.next = number;
        }
        while self.running.len() < AHEAD_MAX && self.next < self.end {
            let Some(tile) = Tile::new(Content::Entries, self.next, TILE_WIDTH) else { break };
            // One that is there, and turns out damaged, is asked for when its turn comes.
            if self.next != number && copy.tile(&tile).is_ok_and(|own| own.is_some()) {
                break;
            }
            let source = self.source.clone();
            self.running.push_back((self.next, tokio::spawn(async move { source.tile(&tile).await })));
            self.next += 1;
        }
        let (_, running) = self.running.pop_front().context("the log is too large")?;
        let fetched = running.await.context("reading was cut off")??;
        fetched.with_context(|| format!("the source has no bundle {number}"))
    }
}

fn report(
    context: &mut Context<'_>,
    dir: &std::path::Path,
    before: u64,
    ended: Ended,
) -> anyhow::Result<Outcome> {
    let dir = clean(&dir.display().to_string());
    let (theirs, state) = match &ended {
        Ended::Level(theirs, _) => (theirs, "level"),
        Ended::Behind(theirs) => (theirs, "source-behind"),
        Ended::Fork(theirs, ..) => (theirs, "fork"),
    };
    let Checkpoint { origin, size, root } = &theirs.checkpoint;
    if context.options.json {
        let more = match &ended {
            Ended::Level(_, done) => json!({
                "bundles_fetched": done.bundles_fetched,
                "bundles_kept": done.bundles_kept,
                "files_written": done.files_written,
                "payloads": done.payloads.map(PayloadsDone::json),
            }),
            Ended::Fork(_, why, folder) => json!({ "why": why, "evidence": folder.display().to_string() }),
            Ended::Behind(_) => json!({}),
        };
        let mut answer = json!({
            "state": state, "origin": origin, "size": size, "root": root.hex(), "size_before": before,
        });
        if let (Some(answer), serde_json::Value::Object(mut more)) = (answer.as_object_mut(), more) {
            answer.append(&mut more);
        }
        writeln!(context.out, "{answer}")?;
    } else {
        match &ended {
            Ended::Level(_, done) => {
                writeln!(
                    context.out,
                    "{dir} holds {origin} up to {size} entries, every one checked (before: {before}).\n\
                     {} bundles fetched, {} kept, {} files written. Root: {}",
                    done.bundles_fetched,
                    done.bundles_kept,
                    done.files_written,
                    root.hex()
                )?;
                if let Some(payloads) = &done.payloads {
                    writeln!(context.out, "{payloads}")?;
                }
            }
            Ended::Behind(_) => writeln!(
                context.out,
                "The source shows {size} entries of {origin}, an older state of what {dir} holds ({before} entries). \
                 Nothing was changed."
            )?,
            Ended::Fork(_, why, folder) => writeln!(
                context.out,
                "FORK: {why}. One key signed two histories of {origin}.\n\
                 Both checkpoints are kept in {}; {dir} is left as it was. Tell the auditor.",
                clean(&folder.display().to_string())
            )?,
        }
    }
    Ok(if matches!(ended, Ended::Fork(..)) { Outcome::No } else { Outcome::Done })
}
