use super::*;
use crate::table::WIDTH_COLUMNS;

fn row(state: &str) -> PostureRow {
    PostureRow {
        device: DeviceId::from_bytes([7; 16]).to_string(),
        class: "container".to_owned(),
        group: "engineering".to_owned(),
        control: "disk-encryption".to_owned(),
        state: state.to_owned(),
        because: "volume /home: encryption is none, layers is none; volume /var: encryption is unknown; "
            .repeat(3),
        observed_minutes: 29_900_000,
        index: 12,
    }
}

fn posture(states: &[&str]) -> PostureReply {
    PostureReply {
        day: "2026-11-22".to_owned(),
        policy: "baseline".to_owned(),
        policy_index: 3,
        rows: states.iter().map(|state| row(state)).collect(),
    }
}

#[test]
fn every_state_of_the_format_fits_the_table() {
    let states: Vec<&str> = State::ALL.iter().map(|state| state.as_str()).collect();
    let mut out = Vec::new();
    write_posture(&mut out, &posture(&states)).unwrap();
    let text = String::from_utf8(out).unwrap();
    for line in text.lines() {
        assert!(line.chars().count() <= WIDTH_COLUMNS, "{line}");
    }
    for state in states {
        assert!(text.contains(state), "{state}");
    }
}

#[test]
fn a_short_posture_reads_as_lines_with_their_reason() {
    let mut posture = posture(&["DEVIATION"]);
    posture.rows[0].because = "volume /home is not encrypted".to_owned();
    let mut out = Vec::new();
    write_posture(&mut out, &posture).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "Day 2026-11-22 (UTC), policy baseline of entry 3.\n\
         DEVICE                        CONTROL          STATE      OBSERVED\n\
         d-a4dqobyha4dqobyha4dqobyha4  disk-encryption  DEVIATION  2026-11-06 21:20Z\n    \
         volume /home is not encrypted\n\
         Units: 1 DEVIATION.\n"
    );
}

#[test]
fn only_passed_and_not_concerned_units_are_a_yes() {
    assert_eq!(outcome(&posture(&["PASS", "NOT_APPLICABLE"]).rows), Outcome::Done);
    for state in State::ALL {
        let expected =
            if matches!(state, State::Pass | State::NotApplicable) { Outcome::Done } else { Outcome::No };
        assert_eq!(outcome(&posture(&["PASS", state.as_str()]).rows), expected, "{state}");
    }
    assert_eq!(outcome(&posture(&["PASS", "pass"]).rows), Outcome::No);
    assert_eq!(outcome(&[]), Outcome::No);
}

#[test]
fn a_state_is_found_by_its_name_and_narrows_what_is_printed() {
    assert_eq!(state("deviation"), Ok(State::Deviation));
    assert_eq!(state("not-applicable"), Ok(State::NotApplicable));
    assert!(state("fail").unwrap_err().contains("DEVIATION"));
    let args =
        PostureArgs { device: None, control: None, group: None, states: vec![State::Missing], day: None };
    let mut posture = posture(&["PASS", "MISSING", "a word of tomorrow"]);
    assert_eq!(args.narrow(&mut posture), 2);
    assert_eq!(posture.rows.len(), 1);
    assert_eq!(posture.rows[0].state, "MISSING");
}
