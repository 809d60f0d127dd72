//! What has been asked and answered so far, in the order asked.

use std::collections::BTreeMap;

use proto::Reason;
use sha2::{Digest as _, Sha256};

use crate::{
    drive::{Outcome, Step},
    question::{Answer, Question, push_lp},
};

/// Questions and their answers; a question is asked once and keeps its first answer.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    order: Vec<Question>,
    by_question: BTreeMap<Question, Answer>,
    /// Minutes since 1970 of answers that were kept from an earlier look.
    kept: BTreeMap<Question, u64>,
}

impl Answers {
    /// Nothing asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The answer to a question that has been asked.
    pub fn of(&self, question: &Question) -> Option<&Answer> {
        self.by_question.get(question)
    }

    /// Keeps an answer; a second answer to the same question is ignored.
    pub fn insert(&mut self, question: Question, answer: Answer) {
        if !self.by_question.contains_key(&question) {
            self.order.push(question.clone());
            self.by_question.insert(question, answer);
        }
    }

    /// Keeps an answer that was given in an earlier look, with its minute since 1970.
    pub fn insert_kept(&mut self, question: Question, answer: Answer, minute: u64) {
        if !self.by_question.contains_key(&question) {
            self.kept.insert(question.clone(), minute);
            self.insert(question, answer);
        }
    }

    /// Minute since 1970 of the oldest kept answer to such questions; `None` when all of them are new.
    pub fn kept_since(&self, is_of: impl Fn(&Question) -> bool) -> Option<u64> {
        self.kept.iter().filter(|(question, _)| is_of(question)).map(|(_, minute)| *minute).min()
    }

    /// All pairs in the order asked.
    pub fn iter(&self) -> impl Iterator<Item = (&Question, &Answer)> {
        self.order.iter().filter_map(|q| self.by_question.get(q).map(|a| (q, a)))
    }

    /// `answers_digest` of an attestation: SHA-256 over LP(question) ‖ LP(raw answer), in the order asked.
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut buffer = Vec::new();
        for (question, answer) in self.iter() {
            buffer.clear();
            push_lp(&mut buffer, question.to_string().as_bytes());
            push_lp(&mut buffer, &answer.raw());
            hash.update(&buffer);
        }
        hash.finalize().into()
    }
}

/// One round of a probe: collects what it still has to ask.
#[derive(Debug)]
pub(crate) struct Round<'a> {
    answers: &'a Answers,
    missing: Vec<Question>,
}

/// Stands in for an answer that has not come yet; the round ends before anything is concluded from it.
const NOT_YET: &Answer = &Answer::Failed;

impl<'a> Round<'a> {
    /// Begins a round over the answers so far.
    pub(crate) fn new(answers: &'a Answers) -> Self {
        Self { answers, missing: Vec::new() }
    }

    /// The answer to `question`, or a placeholder while it is being asked; see [`Round::pending`].
    pub(crate) fn ask(&mut self, question: &Question) -> &'a Answer {
        match self.answers.of(question) {
            Some(answer) => answer,
            None => {
                if !self.missing.contains(question) {
                    self.missing.push(question.clone());
                }
                NOT_YET
            }
        }
    }

    /// Content of a file.
    pub(crate) fn read(&mut self, path: impl Into<String>) -> &'a Answer {
        self.ask(&Question::Read(path.into()))
    }

    /// Names in a folder.
    pub(crate) fn list(&mut self, path: impl Into<String>) -> &'a Answer {
        self.ask(&Question::List(path.into()))
    }

    /// Target of a link.
    pub(crate) fn link(&mut self, path: impl Into<String>) -> &'a Answer {
        self.ask(&Question::Link(path.into()))
    }

    /// What lies at a path.
    pub(crate) fn metadata(&mut self, path: impl Into<String>) -> &'a Answer {
        self.ask(&Question::Metadata(path.into()))
    }

    /// The questions still open: the step must return them before it concludes anything.
    pub(crate) fn pending(&mut self) -> Option<Step> {
        (!self.missing.is_empty()).then(|| Step::Ask(std::mem::take(&mut self.missing)))
    }
}

/// The conclusion that a question could not be answered in a way that can be used.
pub(crate) fn unanswered(question: Question, answer: &Answer) -> Step {
    let reason = question.reason(answer);
    Step::Done(Outcome::Unavailable(reason, Some(question)))
}

/// The conclusion that an answer contradicts itself, another answer, or what its kind can say.
pub(crate) fn unparsed(question: Question) -> Step {
    Step::Done(Outcome::Unavailable(Reason::UnparsedOutput, Some(question)))
}
