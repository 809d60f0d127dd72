//! The file of kept answers. Nothing in it is evidence: whoever may write it may also change the program that is asked.
//!
//! ```text
//! "tallystick/answers/v1\n"
//! per answer: LP(question) LP(print, 32) u64be(minute) LP(boot id) u64be(minutes of the boot) u32be(status)
//!             LP(stdout) LP(stderr)
//! SHA-256 of everything before
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use evidence::ids::Digest;
use probes::Answer;

use crate::clock::Boot;
use crate::disk;
use crate::state::SECRET_MODE;

/// First bytes of the file.
const MAGIC: &[u8] = b"tallystick/answers/v1\n";
/// Most bytes of one answer that are kept: a hundred pending packages take some 20,000.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Most answers: no system has more than two questions to its package manager.
const ANSWERS_MAX: usize = 8;
/// Length of a digest, bytes.
const DIGEST_BYTES: usize = 32;

/// One kept answer: the output of a program that ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// How everything it was made of looked.
    pub(super) print: Digest,
    /// Minute since 1970 in which the program was asked.
    pub(super) minute: u64,
    /// The boot and its age when the program was asked.
    pub(super) boot: Boot,
    status: u32,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Entry {
    /// `None` for what is not kept: any other answer, and one that is too large.
    pub(super) fn of(answer: &Answer, print: Digest, minute: u64, boot: Boot) -> Option<Self> {
        let Answer::Output { status, stdout, stderr } = answer else { return None };
        let bytes = stdout.len().saturating_add(stderr.len());
        (bytes <= ANSWER_BYTES_MAX).then(|| Self {
            print,
            minute,
            boot,
            status: *status,
            stdout: stdout.clone(),
            stderr: stderr.clone(),
        })
    }

    /// The answer as the program gave it.
    pub(super) fn answer(&self) -> Answer {
        Answer::Output { status: self.status, stdout: self.stdout.clone(), stderr: self.stderr.clone() }
    }
}

/// All kept answers, by the text of the question.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Kept(BTreeMap<String, Entry>);

impl Kept {
    /// What the file holds; nothing when it is absent, damaged or not our own.
    pub(super) fn read(path: &Path) -> Self {
        let kept = is_own(path).and_then(|own| if own { disk::read_bounded(path) } else { Ok(Vec::new()) });
        let kept = kept.ok().and_then(|bytes| Self::decode(&bytes));
        kept.unwrap_or_default()
    }

    pub(super) fn of(&self, question: &str) -> Option<&Entry> {
        self.0.get(question)
    }

    pub(super) fn remove(&mut self, question: &str) {
        self.0.remove(question);
    }

    /// Keeps an answer. Where there are too many the oldest goes.
    pub(super) fn insert(&mut self, question: String, entry: Entry) {
        self.0.insert(question, entry);
        if self.0.len() > ANSWERS_MAX {
            let oldest =
                self.0.iter().min_by_key(|(_, entry)| entry.minute).map(|(question, _)| question.clone());
            oldest.map(|question| self.0.remove(&question));
        }
    }

    /// Replaces the file.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        disk::replace(path, &self.encode(), SECRET_MODE)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for (question, entry) in &self.0 {
            put(&mut out, question.as_bytes());
            put(&mut out, entry.print.as_bytes());
            out.extend_from_slice(&entry.minute.to_be_bytes());
            put(&mut out, entry.boot.id.as_bytes());
            out.extend_from_slice(&entry.boot.minutes.to_be_bytes());
            out.extend_from_slice(&entry.status.to_be_bytes());
            put(&mut out, &entry.stdout);
            put(&mut out, &entry.stderr);
        }
        let digest = Digest::of(&out);
        out.extend_from_slice(digest.as_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (content, digest) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST_BYTES)?)?;
        if Digest::of(content).as_bytes() != digest {
            return None;
        }
        let mut rest = content.strip_prefix(MAGIC)?;
        let mut kept = BTreeMap::new();
        while !rest.is_empty() {
            let question = text(&mut rest)?;
            let print = Digest(take(&mut rest)?.try_into().ok()?);
            let minute = u64::from_be_bytes(fixed(&mut rest)?);
            let boot = Boot { id: text(&mut rest)?, minutes: u64::from_be_bytes(fixed(&mut rest)?) };
            let status = u32::from_be_bytes(fixed(&mut rest)?);
            let (stdout, stderr) = (take(&mut rest)?.to_vec(), take(&mut rest)?.to_vec());
            kept.insert(question, Entry { print, minute, boot, status, stdout, stderr });
        }
        Some(Self(kept))
    }
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    // Everything put here is below ANSWER_BYTES_MAX or a short text.
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn fixed<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (part, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*part)
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(u32::from_be_bytes(fixed(rest)?)).ok()?;
    let (part, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(part)
}

fn text(rest: &mut &[u8]) -> Option<String> {
    String::from_utf8(take(rest)?.to_vec()).ok()
}

/// Whether the file is a regular one of the user who runs this, and nobody else may write it.
#[cfg(unix)]
fn is_own(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    let found = std::fs::symlink_metadata(path)?;
    let user = rustix::process::geteuid().as_raw();
    Ok(found.is_file() && found.uid() == user && found.mode() & WRITABLE_BY_OTHERS == 0)
}

#[cfg(not(unix))]
fn is_own(_path: &Path) -> io::Result<bool> {
    Ok(false)
}

#[cfg(test)]
mod tests;
