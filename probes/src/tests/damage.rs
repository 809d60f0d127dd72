//! Whatever happens to an answer, a machine that did not pass does not pass.

use proptest::prelude::*;

use super::{
    fleet::{look, machines},
    verdict::{NotApplicable, Pass, Verdict, verdict},
};
use crate::{
    Answer, Answers, Host, NoAnswer, PROBES, Platform, Question, ROUNDS_MAX, Replay, Step, drive, observe,
};

/// Answers shorter than this are cut at every byte, longer ones at every line and at this many bytes.
const EVERY_BYTE_BELOW: usize = 160;

/// A shorter list, or one with a part missing.
fn shorter<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    let prefixes = (0..items.len()).map(|end| items[..end].to_vec());
    let without = (0..items.len()).map(|gone| {
        items.iter().enumerate().filter(|(index, _)| *index != gone).map(|(_, item)| item.clone()).collect()
    });
    prefixes.chain(without).collect()
}

fn cut_bytes(bytes: &[u8]) -> Vec<Vec<u8>> {
    let step = if bytes.len() <= EVERY_BYTE_BELOW { 1 } else { bytes.len().div_ceil(EVERY_BYTE_BELOW) };
    let ends_of_lines =
        bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(index, _)| index + 1);
    let mut ends: Vec<usize> = (0..bytes.len()).step_by(step).chain(ends_of_lines).collect();
    ends.retain(|end| *end < bytes.len());
    ends.sort_unstable();
    ends.dedup();
    let mut all: Vec<Vec<u8>> = ends.into_iter().map(|end| bytes[..end].to_vec()).collect();
    // A line lost from the middle.
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    for gone in 0..lines.len() {
        let kept: Vec<&[u8]> =
            lines.iter().enumerate().filter(|(i, _)| *i != gone).map(|(_, l)| *l).collect();
        all.push(kept.concat());
    }
    all
}

/// Everything one answer can turn into by loss.
pub(super) fn damaged(question: &Question, answer: &Answer) -> Vec<Answer> {
    let mut all = vec![Answer::Absent, Answer::Denied, Answer::TimedOut, Answer::TooLarge, Answer::Failed];
    match answer {
        Answer::Bytes(bytes) => all.extend(cut_bytes(bytes).into_iter().map(Answer::Bytes)),
        Answer::Output { status, stdout, stderr } => {
            let output = |status, stdout| Answer::Output { status, stdout, stderr: stderr.clone() };
            all.extend(cut_bytes(stdout).into_iter().map(|stdout| output(*status, stdout)));
            // A program that ends well and prints nothing else answers there.
            if *status == 0 && stdout.is_empty() {
                all.extend(cut_bytes(stderr).into_iter().map(|stderr| Answer::Output {
                    status: *status,
                    stdout: stdout.clone(),
                    stderr,
                }));
            }
            all.extend([0, 1, 256 + 9].map(|status| output(status, stdout.clone())));
        }
        Answer::Names(names) => all.extend(shorter(names).into_iter().map(Answer::Names)),
        Answer::Processes(processes) => all.extend(shorter(processes).into_iter().map(Answer::Processes)),
        // The path of a process's executable comes whole from one system call; nothing else would tell that its
        // mark of a replaced file was cut off.
        Answer::Link(_) if is_executable_of_a_process(question) => {}
        Answer::Link(target) => {
            all.extend(
                (0..target.len()).filter_map(|end| target.get(..end)).map(|t| Answer::Link(t.to_owned())),
            );
        }
        _ => {}
    }
    all
}

fn is_executable_of_a_process(question: &Question) -> bool {
    matches!(question, Question::Link(path) if path.starts_with("/proc/") && path.ends_with("/exe"))
}

/// Recordings of a machine that passes but for one damage: a second damage may well hide the first.
const DAMAGED_ALREADY: [&str; 1] = ["disk-list-cut"];

/// A machine with another answer to one question; questions it was never asked before are refused.
pub(super) struct Damaged<'a> {
    pub(super) machine: &'a Replay,
    pub(super) question: &'a Question,
    pub(super) answer: &'a Answer,
}

impl Host for Damaged<'_> {
    fn answer(&self, question: &Question) -> Result<Answer, NoAnswer> {
        if question == self.question {
            return Ok(self.answer.clone());
        }
        Ok(self.machine.answer(question).unwrap_or(Answer::Denied))
    }
}

/// Runs `change` on every answer of every machine that does not pass, and reports what improved.
fn improvements(change: impl Fn(&Question, &Answer, &Answers) -> Vec<Answer>) -> (usize, Vec<String>) {
    let mut tried = 0;
    let mut improved = Vec::new();
    for (name, machine) in machines() {
        if DAMAGED_ALREADY.contains(&name.as_str()) {
            continue;
        }
        for probe in &PROBES {
            let (outcome, answers) = look(name, probe.control, machine);
            let before = verdict(machine.platform(), &outcome);
            if matches!(before, Pass | NotApplicable) {
                continue;
            }
            for (question, answer) in answers.iter() {
                for other in change(question, answer, &answers) {
                    tried += 1;
                    let host = Damaged { machine, question, answer: &other };
                    let mut fresh = Answers::new();
                    let after = drive(probe, machine.platform(), &host, &mut fresh).unwrap();
                    if better(before, verdict(machine.platform(), &after)) {
                        improved.push(format!("{name} {}: {question} -> {other:?}", probe.control));
                    }
                }
            }
        }
    }
    (tried, improved)
}

/// Passing is better than not passing, and so is "does not apply".
fn better(before: Verdict, after: Verdict) -> bool {
    !matches!(before, Pass | NotApplicable) && matches!(after, Pass | NotApplicable)
}

#[test]
fn a_lost_or_shortened_answer_never_improves_a_verdict() {
    let (tried, improved) = improvements(|question, answer, _| damaged(question, answer));
    assert!(tried > 30_000, "only {tried} damages tried");
    assert!(improved.is_empty(), "{} of {tried}:\n{}", improved.len(), improved.join("\n"));
}

#[test]
fn the_answer_to_another_question_never_improves_a_verdict() {
    let (tried, improved) = improvements(|question, _, answers| {
        let others = answers.iter().filter(|(other, _)| {
            *other != question
                && !is_same_of_another_user(question, other)
                && !is_same_of_another_process(question, other)
        });
        others.map(|(_, answer)| answer.clone()).collect()
    });
    assert!(tried > 20_000, "only {tried} swaps tried");
    assert!(improved.is_empty(), "{} of {tried}:\n{}", improved.len(), improved.join("\n"));
}

/// One file's content about two processes cannot be told apart by anything in it.
fn is_same_of_another_process(one: &Question, other: &Question) -> bool {
    let of_process = |question: &Question| match question {
        Question::Read(path) => {
            let (process, file) = path.strip_prefix("/proc/")?.split_once('/')?;
            matches!(process, "self" | "1").then(|| file.to_owned())
        }
        _ => None,
    };
    of_process(one).is_some_and(|file| of_process(other) == Some(file))
}

/// One program's answer about two users cannot be told apart by anything in it.
fn is_same_of_another_user(one: &Question, other: &Question) -> bool {
    match (one, other) {
        (Question::RunAs { program: a, args: b, .. }, Question::RunAs { program: c, args: d, .. }) => {
            (a, b) == (c, d)
        }
        _ => false,
    }
}

/// Words that appear in answers, to get past the first check of every parser.
const WORDS: [&str; 32] = [
    "/",
    " ",
    "\n",
    " - ",
    "8:0",
    "259:1",
    "ext4",
    "btrfs",
    "overlay",
    "rw",
    "sda",
    "dm-0",
    "CRYPT-LUKS2-",
    "LVM-",
    "MAJOR=8",
    "DEVTYPE=disk",
    "Inst ",
    "(",
    ")",
    "[",
    "]",
    " upgraded, ",
    "uint32 ",
    "true",
    "=",
    "4294967296",
    "pid:[4026531836]",
    "row\n",
    "absent\n",
    "=number 1\n",
    "end 2\n",
    "\u{e9}",
];

fn arbitrary_text() -> impl Strategy<Value = String> {
    let word = prop_oneof![4 => prop::sample::select(&WORDS[..]).prop_map(str::to_owned), 1 => ".{0,6}"];
    prop::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

pub(super) fn arbitrary_answer() -> impl Strategy<Value = Answer> {
    let number = prop_oneof![Just(0u32), Just(1), Just(u32::MAX), any::<u32>()];
    let process = (number.clone(), number.clone(), ".{0,16}", prop::option::of(arbitrary_text()))
        .prop_map(|(pid, parent, name, exe)| crate::Process { pid, parent, name, exe });
    let metadata = (arbitrary_text(), number.clone(), number.clone(), any::<i64>()).prop_map(
        |(path, uid, mode, modified_seconds)| {
            let kind = crate::FileKind::File;
            Answer::Metadata(crate::Metadata {
                path,
                kind,
                uid,
                gid: uid,
                mode,
                size_bytes: 0,
                modified_seconds,
            })
        },
    );
    prop_oneof![
        4 => arbitrary_text().prop_map(|text| Answer::Bytes(text.into_bytes())),
        1 => prop::collection::vec(any::<u8>(), 0..64).prop_map(Answer::Bytes),
        2 => (number, arbitrary_text())
            .prop_map(|(status, text)| Answer::Output { status, stdout: text.into_bytes(), stderr: vec![] }),
        2 => prop::collection::vec(arbitrary_text(), 0..6).prop_map(Answer::Names),
        1 => prop::sample::select(vec![Answer::Absent, Answer::Denied, Answer::TimedOut, Answer::TooLarge, Answer::Failed]),
        1 => arbitrary_text().prop_map(Answer::Link),
        1 => prop::collection::vec(process, 0..4).prop_map(Answer::Processes),
        1 => metadata,
    ]
}

/// Answers with the recorded machine, except every `n`th question, which gets one of the made-up answers.
pub(super) struct Wild {
    pub(super) machine: Replay,
    pub(super) made_up: Vec<Answer>,
    pub(super) every: usize,
    pub(super) asked: std::cell::Cell<usize>,
}

impl Host for Wild {
    fn answer(&self, question: &Question) -> Result<Answer, NoAnswer> {
        let asked = self.asked.get();
        self.asked.set(asked + 1);
        if asked.is_multiple_of(self.every) {
            return Ok(self.made_up[asked % self.made_up.len()].clone());
        }
        Ok(self.machine.answer(question).unwrap_or(Answer::Absent))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_answers_end_in_an_outcome(
        made_up in prop::collection::vec(arbitrary_answer(), 1..24),
        every in 1usize..20,
        which in 0usize..200,
    ) {
        let machines = machines();
        let machine = machines.values().nth(which % machines.len()).unwrap().clone();
        let platform = machine.platform();
        let host = Wild { machine, made_up, every, asked: std::cell::Cell::new(0) };
        let (observations, _) = observe(platform, &host).unwrap();
        prop_assert_eq!(observations.len(), PROBES.len());
        for observation in &observations {
            prop_assert!(observation.outcome.is_some());
        }
    }
}

#[test]
fn a_probe_that_never_stops_asking_is_stopped() {
    fn endless(_: Platform, answers: &Answers) -> Step {
        Step::Ask(vec![Question::Read(format!("/{}", answers.iter().count()))])
    }
    struct Yes;
    impl Host for Yes {
        fn answer(&self, _: &Question) -> Result<Answer, NoAnswer> {
            Ok(Answer::Absent)
        }
    }
    let probe = crate::Probe { control: "x", version: 1, step: endless };
    let mut answers = Answers::new();
    let outcome = drive(&probe, Platform::Linux, &Yes, &mut answers).unwrap();
    assert_eq!(outcome, crate::Outcome::Unavailable(proto::Reason::TooManyRounds, None));
    assert_eq!(answers.iter().count(), ROUNDS_MAX);
}
