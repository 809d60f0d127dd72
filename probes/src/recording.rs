//! A recorded machine: a TOML file a person can read, review and correct.
//!
//! ```toml
//! platform = "linux"
//! release = "Debian 12"
//! origin = "documented"            # or "recorded": really asked of a machine
//! source = "where it comes from"
//! redactions = []
//! based_on = "laptop"              # optional: the file beside this one whose answers it replaces some of
//! incomplete = true                # optional: recorded when fewer controls were asked for
//!
//! [[answer]]
//! question = "read /proc/swaps"
//! text = "Filename\tType\tSize\tUsed\tPriority\n"
//! ```
//!
//! An answer has exactly one of: `text` or `hex` (content of a file), `output` (`status`, `stdout`, `stderr`),
//! `names`, `link`, `metadata`, `processes` (lines `PID PARENT NAME PATH`, `-` without a path), or `failure`
//! (`absent`, `denied`, `timed-out`, `too-large`, `failed`).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    answers::Answers,
    drive::{Host, NoAnswer},
    platform::Platform,
    question::{Answer, Metadata, Process, Question},
};

/// Where the answers of a recording come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Asked of a real machine.
    Recorded,
    /// Written from documentation and published samples; never passed off as a machine.
    Documented,
}

/// A recorded machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    /// `linux`, `macos` or `windows`.
    pub platform: String,
    /// The system as a person would name it.
    pub release: String,
    /// Where the answers come from.
    pub origin: Origin,
    /// The machine, or the documents.
    pub source: String,
    /// What was taken out.
    #[serde(default)]
    pub redactions: Vec<String>,
    /// Name, without `.toml`, of the recording whose answers this one replaces some of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub based_on: Option<String>,
    /// Recorded when fewer controls were asked for: a question without an answer was never asked, so it is answered
    /// with `failed`, and its control could not be looked at.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
    #[serde(default, rename = "answer")]
    answers: Vec<Entry>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    question: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Failure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    names: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    processes: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Output>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Output {
    status: u32,
    #[serde(default)]
    stdout: String,
    #[serde(default)]
    stderr: String,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Failure {
    Absent,
    Denied,
    TimedOut,
    TooLarge,
    Failed,
}

/// Why a text is not a recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// Not TOML of this shape.
    #[error("not a recording: {0}")]
    Toml(#[from] toml::de::Error),
    /// An unknown platform.
    #[error("unknown platform `{0}`: use linux, macos or windows")]
    Platform(String),
    /// An answer without content, with several, or that cannot be read.
    #[error("the answer to `{0}` must have exactly one readable content")]
    Answer(String),
    /// Asked to replay before [`Recording::over`] was called.
    #[error("based on `{0}`, which must be read first")]
    Base(String),
    /// Two answers to one question.
    #[error("`{0}` is answered twice: remove one")]
    Twice(String),
    /// Could not be written as TOML.
    #[error("cannot write the recording: {0}")]
    Write(#[from] toml::ser::Error),
}

impl Recording {
    /// A recording of everything that was asked and answered.
    pub fn of(
        answers: &Answers,
        platform: Platform,
        release: String,
        source: String,
        redactions: Vec<String>,
    ) -> Self {
        Self {
            platform: platform.name().to_owned(),
            release,
            origin: Origin::Recorded,
            source,
            redactions,
            based_on: None,
            incomplete: false,
            answers: answers.iter().map(|(question, answer)| Entry::of(question, answer)).collect(),
        }
    }

    /// Reads a recording.
    ///
    /// # Errors
    /// When the text is not TOML of the shape above.
    pub fn parse(text: &str) -> Result<Self, RecordingError> {
        Ok(toml::from_str(text)?)
    }

    /// This recording with the answers of the one it is based on, for every question it does not answer itself.
    #[must_use]
    pub fn over(mut self, base: Self) -> Self {
        let own: BTreeSet<String> = self.answers.iter().map(|entry| entry.question.clone()).collect();
        self.answers.extend(base.answers.into_iter().filter(|entry| !own.contains(&entry.question)));
        self.based_on = base.based_on;
        self.incomplete |= base.incomplete;
        self
    }

    /// Writes it as TOML.
    ///
    /// # Errors
    /// Only when TOML cannot express a value.
    pub fn to_text(&self) -> Result<String, RecordingError> {
        Ok(toml::to_string_pretty(self)?)
    }

    /// The machine as a host.
    ///
    /// # Errors
    /// When an answer cannot be read, a question is answered twice, or the recording it is based on is missing.
    pub fn replay(&self) -> Result<Replay, RecordingError> {
        if let Some(base) = &self.based_on {
            return Err(RecordingError::Base(base.clone()));
        }
        let platform = Platform::from_name(&self.platform)
            .ok_or_else(|| RecordingError::Platform(self.platform.clone()))?;
        let mut answers = BTreeMap::new();
        for entry in &self.answers {
            let answer = entry.answer().ok_or_else(|| RecordingError::Answer(entry.question.clone()))?;
            if answers.insert(entry.question.clone(), answer).is_some() {
                return Err(RecordingError::Twice(entry.question.clone()));
            }
        }
        Ok(Replay { platform, answers, incomplete: self.incomplete })
    }
}

impl Entry {
    fn of(question: &Question, answer: &Answer) -> Self {
        let mut entry = Self { question: question.to_string(), ..Self::default() };
        match answer {
            Answer::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => entry.text = Some(text.to_owned()),
                Err(_) => entry.hex = Some(hex(bytes)),
            },
            Answer::Output { status, stdout, stderr } => {
                entry.output = Some(Output {
                    status: *status,
                    stdout: String::from_utf8_lossy(stdout).into_owned(),
                    stderr: String::from_utf8_lossy(stderr).into_owned(),
                });
            }
            Answer::Names(names) => entry.names = Some(names.clone()),
            Answer::Absent => entry.failure = Some(Failure::Absent),
            Answer::Denied => entry.failure = Some(Failure::Denied),
            Answer::TimedOut => entry.failure = Some(Failure::TimedOut),
            Answer::TooLarge => entry.failure = Some(Failure::TooLarge),
            Answer::Failed => entry.failure = Some(Failure::Failed),
            Answer::Link(target) => entry.link = Some(target.clone()),
            Answer::Metadata(metadata) => entry.metadata = Some(metadata.to_string()),
            Answer::Processes(processes) => {
                entry.processes = Some(processes.iter().map(process_line).collect());
            }
        }
        entry
    }

    fn answer(&self) -> Option<Answer> {
        let failure = self.failure.map(|failure| match failure {
            Failure::Absent => Answer::Absent,
            Failure::Denied => Answer::Denied,
            Failure::TimedOut => Answer::TimedOut,
            Failure::TooLarge => Answer::TooLarge,
            Failure::Failed => Answer::Failed,
        });
        let output = self.output.as_ref().map(|output| Answer::Output {
            status: output.status,
            stdout: output.stdout.clone().into_bytes(),
            stderr: output.stderr.clone().into_bytes(),
        });
        let mut contents = vec![failure, output];
        contents.push(self.text.as_ref().map(|text| Answer::Bytes(text.clone().into_bytes())));
        contents.push(self.names.clone().map(Answer::Names));
        contents.push(self.link.clone().map(Answer::Link));
        if let Some(hex) = &self.hex {
            contents.push(Some(Answer::Bytes(unhex(hex)?)));
        }
        if let Some(line) = &self.metadata {
            contents.push(Some(Answer::Metadata(Metadata::parse(line)?)));
        }
        if let Some(lines) = &self.processes {
            contents.push(Some(Answer::Processes(
                lines.iter().map(|l| parse_process(l)).collect::<Option<_>>()?,
            )));
        }
        let mut contents = contents.into_iter().flatten();
        let answer = contents.next()?;
        contents.next().is_none().then_some(answer)
    }
}

/// `PID PARENT NAME PATH`; blanks of the name are written as `\x20`.
fn process_line(process: &Process) -> String {
    let name = process.name.replace('\\', "\\x5c").replace(' ', "\\x20");
    format!("{} {} {} {}", process.pid, process.parent, name, process.exe.as_deref().unwrap_or("-"))
}

fn parse_process(line: &str) -> Option<Process> {
    let mut parts = line.splitn(4, ' ');
    Some(Process {
        pid: parts.next()?.parse().ok()?,
        parent: parts.next()?.parse().ok()?,
        name: parts.next()?.replace("\\x20", " ").replace("\\x5c", "\\"),
        exe: Some(parts.next()?).filter(|exe| *exe != "-").map(str::to_owned),
    })
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|p| p.len() == 2)?, 16).ok())
        .collect()
}

/// A recorded machine as a host. An answer it does not have is an error, never a failure of the machine.
#[derive(Debug, Clone)]
pub struct Replay {
    platform: Platform,
    answers: BTreeMap<String, Answer>,
    incomplete: bool,
}

impl Replay {
    /// The recorded machine's platform.
    pub fn platform(&self) -> Platform {
        self.platform
    }

    /// Questions that have an answer, ascending.
    pub fn questions(&self) -> impl Iterator<Item = &str> {
        self.answers.keys().map(String::as_str)
    }

    /// The answer to a question as printed.
    pub fn recorded(&self, question: &str) -> Option<&Answer> {
        self.answers.get(question)
    }

    /// The same machine with another answer to one question.
    pub fn with(&self, question: &str, answer: Answer) -> Self {
        let mut other = self.clone();
        other.answers.insert(question.to_owned(), answer);
        other
    }
}

impl Host for Replay {
    fn answer(&self, question: &Question) -> Result<Answer, NoAnswer> {
        let question = question.to_string();
        match self.answers.get(&question) {
            Some(answer) => Ok(answer.clone()),
            None if self.incomplete => Ok(Answer::Failed),
            None => Err(NoAnswer { question }),
        }
    }
}

#[cfg(test)]
mod tests;
