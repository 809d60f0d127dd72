//! What every recorded machine claims to be, and that damage takes a claim away but never makes one.

use proptest::prelude::*;
use proto::AssetClass;

use super::{
    damage::{Damaged, Wild, arbitrary_answer, damaged},
    fleet::{claim, machines},
};
use crate::{Answer, Answers, Question, asset};

/// By hand, by what the machine is; `None` where nothing at all is claimed. Every other machine is a laptop.
const CLASSES: [(&str, Option<AssetClass>); 29] = [
    ("asset-arm", Some(AssetClass::Unspecified)),
    ("asset-chassis-denied", Some(AssetClass::Unspecified)),
    ("asset-desktop", Some(AssetClass::Desktop)),
    ("asset-vm-hides-itself", Some(AssetClass::Vm)),
    ("asset-vm-nameless", Some(AssetClass::Vm)),
    ("asset-xen-ruling-domain", Some(AssetClass::Unspecified)),
    ("container", Some(AssetClass::Container)),
    ("container-host-pid", Some(AssetClass::Container)),
    ("container-systemd", Some(AssetClass::Container)),
    ("debian-12-vm", Some(AssetClass::Vm)),
    ("laptop", Some(AssetClass::Laptop)),
    ("macos-desktop", Some(AssetClass::Desktop)),
    ("macos-intel", Some(AssetClass::Laptop)),
    ("macos-laptop", Some(AssetClass::Laptop)),
    ("macos-model-number-only", Some(AssetClass::Unspecified)),
    ("macos-silent", None),
    ("macos-vm", Some(AssetClass::Vm)),
    ("namespace-chroot", None),
    ("namespace-first-process-denied", None),
    ("namespace-first-process-hidden", None),
    ("namespace-hides-a-volume", None),
    ("server", Some(AssetClass::Server)),
    ("server-vm", Some(AssetClass::Vm)),
    ("vm-luks2-root", Some(AssetClass::Vm)),
    ("vm-raid1-one-plain-leg", Some(AssetClass::Vm)),
    ("vm-systemd", Some(AssetClass::Vm)),
    ("windows-french", Some(AssetClass::Desktop)),
    ("windows-german", Some(AssetClass::Unspecified)),
    ("windows-server", Some(AssetClass::Vm)),
];

#[test]
fn every_machine_claims_what_it_is() {
    let machines = machines();
    for (name, _) in CLASSES {
        assert!(machines.contains_key(name), "{name}");
    }
    for (name, machine) in machines {
        let expected =
            CLASSES.iter().find(|(of, _)| of == name).map_or(Some(AssetClass::Laptop), |(_, class)| *class);
        let (claim, _) = claim(name, machine);
        assert_eq!(claim.map(|claim| claim.class()), expected, "{name}");
    }
}

/// Tries other answers on every machine: no class may appear, and none may become another.
fn invented(change: impl Fn(&Question, &Answer, &Answers) -> Vec<Answer>) -> (usize, Vec<String>) {
    let mut tried = 0;
    let mut wrong = Vec::new();
    for (name, machine) in machines() {
        if !CLASSES.iter().any(|(of, _)| of == name) {
            continue;
        }
        let (before, answers) = claim(name, machine);
        let before = before.map(|claim| claim.class()).unwrap_or_default();
        for (question, answer) in answers.iter() {
            for other in change(question, answer, &answers) {
                tried += 1;
                let host = Damaged { machine, question, answer: &other };
                let after = asset(machine.platform(), &host, &mut Answers::new()).unwrap();
                let after = after.map(|claim| claim.class()).unwrap_or_default();
                if after != before && after != AssetClass::Unspecified {
                    wrong.push(format!("{name}: {before:?} became {after:?}: {question} -> {other:?}"));
                }
            }
        }
    }
    (tried, wrong)
}

#[test]
fn a_lost_or_shortened_answer_never_makes_a_claim() {
    let (tried, wrong) = invented(|question, answer, _| damaged(question, answer));
    assert!(tried > 10_000, "only {tried} damages tried");
    assert!(wrong.is_empty(), "{} of {tried}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_answer_to_another_question_never_makes_a_claim() {
    let of_mounts = |question: &Question| question.to_string().ends_with("/mountinfo");
    let (tried, wrong) = invented(|question, _, answers| {
        let others = answers
            .iter()
            .filter(|(other, _)| *other != question && !(of_mounts(other) && of_mounts(question)));
        others.map(|(_, answer)| answer.clone()).collect()
    });
    assert!(tried > 5_000, "only {tried} swaps tried");
    assert!(wrong.is_empty(), "{} of {tried}:\n{}", wrong.len(), wrong.join("\n"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_answers_end_in_a_claim_or_none(
        made_up in prop::collection::vec(arbitrary_answer(), 1..24),
        every in 1usize..20,
        which in 0usize..200,
    ) {
        let machines = machines();
        let machine = machines.values().nth(which % machines.len()).unwrap().clone();
        let platform = machine.platform();
        let host = Wild { machine, made_up, every, asked: std::cell::Cell::new(0) };
        let claim = asset(platform, &host, &mut Answers::new()).unwrap();
        // A claim of hardware has its whole evidence with it.
        if let Some(claim) = claim
            && matches!(claim.class(), AssetClass::Laptop | AssetClass::Desktop | AssetClass::Server)
        {
            prop_assert_eq!(claim.virtualisation.as_deref(), Some("none"));
            prop_assert!(claim.chassis_type.is_some());
        }
    }
}
