//! A witness's answer that contradicts this log, kept for whoever judges which of the two is right.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use evidence::ids::Digest;
use evidence::time::Timestamp;

use super::http::Reply;
use super::rounds::{Answer, Question};
use crate::datadir::replace_file;

/// Answers kept at most: a witness that always contradicts must not fill the disk.
const KEPT_MAX: usize = 100;

/// What was asked and what was said.
pub(super) struct Answered<'a> {
    pub(super) witness: &'a str,
    pub(super) vkey: &'a str,
    pub(super) url: String,
    pub(super) question: &'a Question,
    pub(super) answer: &'a Answer,
    /// What it shows under its monitoring path, or why that was not to be had.
    pub(super) shown: Result<Reply, String>,
}

/// Writes it into a file of `folder`, durably.
pub(super) fn write(folder: &Path, now: Timestamp, answered: &Answered<'_>) -> io::Result<PathBuf> {
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if fs::read_dir(folder)?.count() >= KEPT_MAX {
        return Err(io::Error::other(format!(
            "{} holds {KEPT_MAX} files already; take old ones away",
            folder.display()
        )));
    }
    let key = Digest::of(answered.vkey.as_bytes()).hex();
    let key: String = key.chars().take(8).collect();
    let path = folder.join(format!("{}-{key}.txt", now.ms()));
    replace_file(&path, &answered.bytes(now))?;
    Ok(path)
}

impl Answered<'_> {
    fn bytes(&self, now: Timestamp) -> Vec<u8> {
        let mut head = String::new();
        // Writing into a String cannot fail.
        let _always = write!(
            head,
            "witness {}\nkey {}\nurl {}\nanswered {}\n\nasked about:\n{}\n",
            self.witness,
            self.vkey,
            self.url,
            now.rfc3339(),
            self.question.note.encode()
        );
        let mut out = head.into_bytes();
        if let Answer::Contradicted(found) = self.answer {
            section(&mut out, "answer to add-checkpoint", found.status, &found.body);
        }
        match &self.shown {
            Ok(reply) => section(&mut out, "newest checkpoint it shows", reply.status, &reply.body),
            Err(why) => {
                out.extend_from_slice(format!("newest checkpoint it shows: none, {why}\n").as_bytes());
            }
        }
        out
    }
}

fn section(out: &mut Vec<u8>, what: &str, status: u16, body: &[u8]) {
    out.extend_from_slice(format!("{what}: status {status}, {} bytes:\n", body.len()).as_bytes());
    out.extend_from_slice(body);
    out.extend_from_slice(b"\n");
}
