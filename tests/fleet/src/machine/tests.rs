use super::*;

#[test]
fn the_shares_are_of_a_hundred_and_every_recording_is_used() {
    assert_eq!(KINDS.iter().map(|kind| kind.share).sum::<u64>(), 100);
    let machines = Machines::look().unwrap();
    let used = |name: &str| {
        let kind =
            |kind: &Kind| kind.recording == name || kind.drifts.iter().any(|drift| drift.recording == name);
        KINDS.iter().any(kind)
    };
    for (name, _) in RECORDINGS {
        assert!(
            used(name) && machines.named(name).unwrap().observations.len() == probes::PROBES.len(),
            "{name}"
        );
    }
    for kind in &KINDS {
        assert!(machines.named(kind.recording).is_some(), "{}", kind.recording);
    }
}

#[test]
fn every_drift_changes_its_control_and_no_other() {
    let machines = Machines::look().unwrap();
    for kind in &KINDS {
        let before = machines.observations(kind, None);
        for (choice, drift) in (0..).zip(kind.drifts) {
            let drifted = machines.drift(kind, choice).unwrap();
            let after = machines.observations(kind, Some(drifted));
            for (old, new) in before.iter().zip(&after) {
                let changed = old != new;
                let may_stay = kind.recording == "lock-budgie" || kind.recording == drift.recording;
                let expected = old.control == drift.control;
                assert!(changed == expected || may_stay, "{} {}", kind.recording, drift.recording);
            }
        }
    }
    let still = KINDS.iter().find(|kind| kind.drifts.is_empty()).unwrap();
    assert!(machines.drift(still, 7).is_none());
}
