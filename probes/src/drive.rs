//! Runs a probe against a host: asks what it asks for, until it is done.

use proto::{AssetClaim, Facts, NotApplicable, Observation, Reason, Unavailable};

use crate::{
    allowlist,
    answers::Answers,
    linux, macos,
    platform::Platform,
    question::{Answer, Question},
    windows,
};

/// Most rounds of questions; the deepest probe needs four.
pub const ROUNDS_MAX: usize = 6;
/// Most questions of one round; a large storage server has some 2,000.
pub const QUESTIONS_MAX: usize = 8192;
/// Longest text of a question that is put into an observation, in bytes (docs/FORMAT.md section 3).
const QUESTION_BYTES_MAX: usize = 256;

/// A question put to a machine about one control. Pure: the same answers always give the same step.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    /// Control id, as in policies.
    pub control: &'static str,
    /// Grows whenever the meaning of its facts changes.
    pub version: u32,
    /// What to do next, given all answers so far.
    pub step: fn(Platform, &Answers) -> Step,
}

/// What a probe does next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Asks these, all of which are new.
    Ask(Vec<Question>),
    /// Has concluded.
    Done(Outcome),
}

/// What a look at the machine itself does next.
#[derive(Debug)]
pub(crate) enum Look {
    /// Asks these.
    Ask(Vec<Question>),
    /// Has concluded; `None` where nothing is known.
    Done(Option<AssetClaim>),
}

/// What a probe concludes: never a verdict.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Facts that were seen.
    Observed(Box<proto::facts::Control>),
    /// The control cannot apply to this machine, and this proves it.
    NotApplicable(proto::not_applicable::Proof),
    /// Could not look, and at which question it failed.
    Unavailable(Reason, Option<Question>),
}

impl Outcome {
    /// Facts that were seen.
    pub fn observed(facts: proto::facts::Control) -> Self {
        Self::Observed(Box::new(facts))
    }

    /// "Could not look" for a reason that belongs to no single question.
    pub fn unavailable(reason: Reason) -> Self {
        Self::Unavailable(reason, None)
    }
}

/// The whole boundary to a machine.
pub trait Host {
    /// Answers one question. Every failure of the machine is an [`Answer`].
    ///
    /// # Errors
    /// Only when this host cannot know the answer at all, as a recording that lacks it.
    fn answer(&self, question: &Question) -> Result<Answer, NoAnswer>;

    /// Minute since 1970 in which the answer to a question was given, if it was kept from an earlier look; `None` when it
    /// was given just now.
    fn kept_since(&self, _question: &Question) -> Option<u64> {
        None
    }
}

/// A host that has no answer, not even a failure: a recording does not cover the question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the recording has no answer to `{question}`: record the machine again or add the answer")]
pub struct NoAnswer {
    /// The question as printed.
    pub question: String,
}

/// Runs one probe to its end and keeps every answer in `answers`.
///
/// # Errors
/// When the host has no answer; never for a failure of the machine, which is part of the outcome.
pub fn drive(
    probe: &Probe,
    platform: Platform,
    host: &dyn Host,
    answers: &mut Answers,
) -> Result<Outcome, NoAnswer> {
    for _ in 0..ROUNDS_MAX {
        match (probe.step)(platform, answers) {
            Step::Done(outcome) => return Ok(outcome),
            Step::Ask(questions) if questions.len() > QUESTIONS_MAX => {
                return Ok(Outcome::unavailable(Reason::TooLarge));
            }
            Step::Ask(questions) => ask(questions, host, answers)?,
        }
    }
    Ok(match (probe.step)(platform, answers) {
        Step::Done(outcome) => outcome,
        Step::Ask(_) => Outcome::unavailable(Reason::TooManyRounds),
    })
}

/// Runs every probe of [`crate::PROBES`], ascending by control; a question two probes ask is asked once.
///
/// # Errors
/// As [`drive`].
pub fn observe(platform: Platform, host: &dyn Host) -> Result<(Vec<Observation>, Answers), NoAnswer> {
    observe_but(platform, host, &|_| false)
}

/// As [`observe`], without the controls that are switched off: nothing is asked for them, and their observation says why.
///
/// # Errors
/// As [`drive`].
pub fn observe_but(
    platform: Platform,
    host: &dyn Host,
    is_off: &dyn Fn(&str) -> bool,
) -> Result<(Vec<Observation>, Answers), NoAnswer> {
    let mut answers = Answers::new();
    let mut observations = Vec::with_capacity(crate::PROBES.len());
    for probe in &crate::PROBES {
        if is_off(probe.control) {
            observations.push(observation(probe, Outcome::unavailable(Reason::DisabledByConfig)));
            continue;
        }
        let outcome = drive(probe, platform, host, &mut answers)?;
        let is_of = |question: &Question| allowlist::is_asked_for(platform, probe.control, question);
        observations
            .push(Observation { kept_minutes: answers.kept_since(is_of), ..observation(probe, outcome) });
    }
    Ok((observations, answers))
}

/// What the machine seems to be, with the evidence; `None` where that is not looked at or nothing could be seen.
///
/// # Errors
/// As [`drive`].
pub fn asset(
    platform: Platform,
    host: &dyn Host,
    answers: &mut Answers,
) -> Result<Option<AssetClaim>, NoAnswer> {
    let step = match platform {
        Platform::Linux => linux::asset::step,
        Platform::Macos => macos::asset::step,
        Platform::Windows => windows::asset::step,
        Platform::Other => return Ok(None),
    };
    for _ in 0..ROUNDS_MAX {
        match step(answers) {
            Look::Done(claim) => return Ok(claim),
            Look::Ask(questions) => ask(questions, host, answers)?,
        }
    }
    Ok(None)
}

/// Puts questions to a host; one that was answered before is not asked again.
fn ask(questions: Vec<Question>, host: &dyn Host, answers: &mut Answers) -> Result<(), NoAnswer> {
    for question in questions {
        if answers.of(&question).is_none() {
            let answer = host.answer(&question)?;
            match host.kept_since(&question) {
                Some(minute) => answers.insert_kept(question, answer, minute),
                None => answers.insert(question, answer),
            }
        }
    }
    Ok(())
}

/// The message that is signed.
pub fn observation(probe: &Probe, outcome: Outcome) -> Observation {
    use proto::observation::Outcome as Message;
    let outcome = match outcome {
        Outcome::Observed(control) => Message::Observed(Facts { control: Some(*control) }),
        Outcome::NotApplicable(proof) => Message::NotApplicable(NotApplicable { proof: Some(proof) }),
        Outcome::Unavailable(reason, question) => Message::Unavailable(Unavailable {
            reason: reason.into(),
            question: question
                .map(|q| q.to_string())
                .filter(|q| q.len() <= QUESTION_BYTES_MAX)
                .unwrap_or_default(),
        }),
    };
    Observation {
        control: probe.control.to_owned(),
        probe_version: probe.version,
        outcome: Some(outcome),
        kept_minutes: None,
    }
}
