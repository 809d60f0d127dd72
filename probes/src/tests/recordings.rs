//! What the probes make of every recorded machine.

use std::fmt::Write as _;

use proto::{facts::Control, not_applicable::Proof};

use super::{
    fleet::{claim, look, machines, recordings},
    verdict::{Fail, NotApplicable, Pass, Unknown, Verdict, verdict},
};
use crate::{
    Answer, Host, NoAnswer, Origin, Outcome, PROBES, Platform, Question, asset, is_permitted, observe,
};

/// One verdict per probe, ascending by control: written by hand, by what the machine is.
const EXPECTED: [(&str, [Verdict; 13]); 480] = include!("expected.in");

fn render(outcome: &Outcome) -> String {
    let mut out = String::new();
    match outcome {
        Outcome::Observed(control) => match &**control {
            Control::DiskEncryption(facts) => rows(&mut out, &facts.volumes),
            Control::Edr(facts) => rows(&mut out, &facts.products),
            Control::ScreenLock(facts) => rows(&mut out, &facts.users),
            Control::HostFirewall(facts) => rows(&mut out, &facts.filters),
            Control::OsPatch(facts) => rows(&mut out, std::slice::from_ref(facts)),
            Control::AutomaticUpdates(facts) => rows(&mut out, std::slice::from_ref(facts)),
            Control::TimeSync(facts) => rows(&mut out, std::slice::from_ref(facts)),
            Control::SecureBoot(facts) => rows(&mut out, std::slice::from_ref(facts)),
            Control::RemoteAccess(facts) => rows(&mut out, std::slice::from_ref(facts)),
            Control::LocalAdministrators(facts) => rows(&mut out, std::slice::from_ref(facts)),
            Control::MdmEnrolment(facts) => rows(&mut out, std::slice::from_ref(facts)),
            Control::PasswordManager(facts) => rows(&mut out, std::slice::from_ref(facts)),
            Control::DeviceIdentity(facts) => rows(&mut out, &facts.identifiers),
        },
        Outcome::NotApplicable(Proof::Headless(proof)) => rows(&mut out, std::slice::from_ref(proof)),
        Outcome::Unavailable(reason, question) => {
            let question = question.as_ref().map(ToString::to_string).unwrap_or_default();
            writeln!(out, "  unavailable {reason:?} {question}").unwrap();
        }
    }
    out
}

fn rows<T: std::fmt::Debug>(out: &mut String, rows: &[T]) {
    for row in rows {
        writeln!(out, "  {row:?}").unwrap();
    }
}

#[test]
fn every_machine_is_judged_as_expected() {
    let machines = machines();
    let expected: Vec<&str> = EXPECTED.iter().map(|(name, _)| *name).collect();
    let found: Vec<&str> = machines.keys().map(String::as_str).collect();
    assert_eq!(found, expected, "recordings and expectations differ");
    let mut wrong = Vec::new();
    for (name, verdicts) in EXPECTED {
        for (probe, expected) in PROBES.iter().zip(verdicts) {
            let (outcome, _) = look(name, probe.control, &machines[name]);
            let got = verdict(machines[name].platform(), &outcome);
            if got != expected {
                wrong.push(format!(
                    "{name} {}: {got:?}, expected {expected:?}\n{}",
                    probe.control,
                    render(&outcome)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn facts_of_every_machine() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../recordings/facts");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let machines = machines();
    for (name, machine) in machines {
        let mut text = String::new();
        for probe in &PROBES {
            let (outcome, _) = look(name, probe.control, machine);
            writeln!(text, "{}\n{}", probe.control, render(&outcome)).unwrap();
        }
        writeln!(text, "asset\n  {:?}", claim(name, machine).0).unwrap();
        settings.bind(|| insta::assert_snapshot!(name.as_str(), text));
    }
}

/// What a platform does not look at yet.
const NOT_LOOKED_AT: (Platform, &str) = (Platform::Linux, "mdm-enrolment");

#[test]
fn every_control_has_a_passing_failing_unavailable_and_damaged_machine_on_every_platform() {
    let machines = machines();
    let mut gaps = Vec::new();
    for platform in [Platform::Linux, Platform::Macos, Platform::Windows] {
        let mine = || EXPECTED.iter().filter(|(name, _)| machines[*name].platform() == platform);
        for (index, probe) in PROBES.iter().enumerate() {
            if (platform, probe.control) == NOT_LOOKED_AT {
                continue;
            }
            for wanted in [Pass, Fail, Unknown] {
                if !mine().any(|(_, verdicts)| verdicts[index] == wanted) {
                    gaps.push(format!("{} {} {wanted:?}", platform.name(), probe.control));
                }
            }
            let malformed = mine().any(|(name, _)| {
                let (outcome, _) = look(name, probe.control, &machines[*name]);
                matches!(outcome, Outcome::Unavailable(proto::Reason::UnparsedOutput, _))
                    || name.ends_with("-malformed") && verdict(platform, &outcome) == Unknown
            });
            if !malformed {
                gaps.push(format!("{} {} malformed", platform.name(), probe.control));
            }
        }
    }
    assert_eq!(gaps, Vec::<String>::new());
    assert!(EXPECTED.iter().any(|(_, verdicts)| verdicts.contains(&NotApplicable)));
}

#[test]
fn recordings_say_where_they_come_from() {
    let recordings = recordings();
    assert!(recordings.values().any(|r| r.origin == Origin::Recorded));
    for (name, recording) in recordings {
        assert!(!recording.source.is_empty() && !recording.release.is_empty(), "{name}");
    }
}

#[test]
fn nothing_is_asked_that_is_not_on_the_list() {
    for (name, machine) in machines() {
        let (_, mut answers) = observe(machine.platform(), machine).unwrap();
        asset(machine.platform(), machine, &mut answers).unwrap();
        for (question, _) in answers.iter() {
            assert!(is_permitted(machine.platform(), question), "{name}: {question}");
        }
    }
}

#[test]
fn every_pattern_of_the_list_is_used_by_some_machine() {
    let mut asked = std::collections::BTreeSet::new();
    for machine in machines().values() {
        let platform = machine.platform();
        let (_, mut answers) = observe(platform, machine).unwrap();
        asset(platform, machine, &mut answers).unwrap();
        asked.extend(answers.iter().map(|(question, _)| (platform.name(), question.clone())));
    }
    // Patterns of products and desktops exist once each; the classic session is the one no recording has.
    let unused: Vec<String> = [Platform::Linux, Platform::Macos, Platform::Windows]
        .into_iter()
        .flat_map(|platform| crate::questions(platform).into_iter().map(move |p| (platform.name(), p)))
        .filter(|(platform, permitted)| {
            !asked.iter().any(|(of, question)| of == platform && permitted.covers(question))
        })
        .map(|(_, permitted)| permitted.pattern)
        .filter(|pattern| !pattern.contains("GNOME-Classic"))
        .collect();
    assert_eq!(unused, Vec::<String>::new());
}

#[test]
fn other_platforms_say_that_they_are_not_looked_at() {
    struct Nobody;
    impl Host for Nobody {
        fn answer(&self, question: &Question) -> Result<Answer, NoAnswer> {
            panic!("asked {question}");
        }
    }
    for platform in [Platform::Other] {
        let (observations, mut answers) = observe(platform, &Nobody).unwrap();
        assert_eq!(asset(platform, &Nobody, &mut answers).unwrap(), None);
        assert_eq!(answers.iter().count(), 0);
        assert_eq!(observations.len(), PROBES.len());
        for observation in observations {
            let Some(proto::observation::Outcome::Unavailable(unavailable)) = observation.outcome else {
                panic!("{observation:?}");
            };
            assert_eq!(unavailable.reason(), proto::Reason::UnsupportedPlatform);
        }
    }
}

#[test]
fn an_answer_a_recording_does_not_have_is_an_error() {
    let machine = &machines()["laptop"];
    let missing = Question::Read("/nowhere".to_owned());
    let error = machine.answer(&missing).unwrap_err();
    assert!(error.to_string().contains("read /nowhere"), "{error}");
}
