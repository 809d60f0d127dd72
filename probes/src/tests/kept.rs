//! Answers that a host kept from an earlier look: their age is told with the controls that rest on them.

use super::fleet::machines;
use crate::{Answer, Host, NoAnswer, Program, Question, Replay, observe};

/// A machine of which some answers are older.
struct Aged<'a>(&'a Replay);

impl Host for Aged<'_> {
    fn answer(&self, question: &Question) -> Result<Answer, NoAnswer> {
        self.0.answer(question)
    }

    fn kept_since(&self, question: &Question) -> Option<u64> {
        match question {
            Question::Run { program: Program::AptGet, .. } => Some(500),
            Question::Run { program: Program::Apt, .. } => Some(400),
            Question::Run { program: Program::AptConfig, .. } => Some(700),
            _ => None,
        }
    }
}

#[test]
fn the_oldest_answer_tells_its_minute_and_changes_nothing_else() {
    let machine = &machines()["laptop"];
    let (fresh, answers) = observe(machine.platform(), machine).unwrap();
    let (aged, same_answers) = observe(machine.platform(), &Aged(machine)).unwrap();
    assert_eq!(answers.digest(), same_answers.digest());
    for (fresh, aged) in fresh.into_iter().zip(aged) {
        assert_eq!(fresh.kept_minutes, None);
        let expected = match aged.control.as_str() {
            "os-patch" => Some(400),
            "automatic-updates" => Some(700),
            _ => None,
        };
        assert_eq!(aged.kept_minutes, expected, "{}", aged.control);
        assert_eq!(fresh, proto::Observation { kept_minutes: None, ..aged });
    }
}
