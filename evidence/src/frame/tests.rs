//! The frame at its edges: one millisecond decides whether a device-day is in it.

use proptest::prelude::*;

use super::*;
use crate::ids::Class;
use crate::plan::Scope;
use crate::samples::acts::{START, class, device, enrolment, name, plan, retire, token};
use crate::time::DAY_MS;

/// Start of the second day of two.
const SECOND: u64 = START + DAY_MS;
const END: u64 = START + 2 * DAY_MS;

/// Two days for every device.
fn everything() -> Plan {
    Plan { scope: Scope::default(), partial_day: false, ..plan() }
}

fn enrol(roster: &mut Roster, number: u8, at: u64) {
    let token = crate::acts::Token { expires_at: Timestamp(u64::MAX), ..token(number) };
    roster.token_act(1, &token).unwrap();
    roster
        .enrolment_act(
            u64::from(number),
            Timestamp(at),
            &enrolment(number),
            Digest::of(&[number, number]),
            &Digest::ZERO,
        )
        .unwrap();
}

/// The days (1, 2) on which the first device is in the frame.
fn days(plan: &Plan, roster: &Roster, freeze: u64) -> Vec<u64> {
    Frame::of(plan, &name("edr"), roster, Timestamp(freeze))
        .units
        .iter()
        .map(|unit| {
            assert_eq!((unit.device, unit.control.as_str()), (device(1), "edr"));
            unit.day.days_since_1970() - START / DAY_MS + 1
        })
        .collect()
}

#[test]
fn a_device_is_in_the_frame_of_the_days_it_has_a_moment_of() {
    for (enrolled, expected) in [
        (START - 1, vec![1, 2]),
        (START, vec![1, 2]),
        (SECOND - 1, vec![1, 2]),
        (SECOND, vec![2]),
        (END - 1, vec![2]),
        (END, vec![]),
    ] {
        let mut roster = Roster::default();
        enrol(&mut roster, 1, enrolled);
        assert_eq!(days(&everything(), &roster, END), expected, "enrolled {enrolled}");
    }
    for (retired, expected) in [
        (START, vec![]),
        (START + 1, vec![1]),
        (SECOND, vec![1]),
        (SECOND + 1, vec![1, 2]),
        (END, vec![1, 2]),
    ] {
        let mut roster = Roster::default();
        enrol(&mut roster, 1, START - 9);
        roster.retire_act(9, Timestamp(START - 8), &retire(1, retired)).unwrap();
        assert_eq!(days(&everything(), &roster, END), expected, "retired {retired}");
    }
}

#[test]
fn a_partial_day_ends_at_the_freeze() {
    let partial = Plan { partial_day: true, ..everything() };
    for (enrolled, freeze, expected) in [
        (START, SECOND + 10, vec![1, 2]),
        (SECOND + 9, SECOND + 10, vec![2]),
        (SECOND + 10, SECOND + 10, vec![]),
        // The last day has no moment before the freeze.
        (START, SECOND, vec![1]),
        (START, SECOND - 1, vec![1]),
        (START, 0, vec![1]),
        // Frozen at its end or later it is a whole day.
        (END - 1, END, vec![2]),
        (END - 1, END + 7, vec![2]),
        (END, END + 7, vec![]),
    ] {
        let mut roster = Roster::default();
        enrol(&mut roster, 1, enrolled);
        assert_eq!(days(&partial, &roster, freeze), expected, "enrolled {enrolled}, frozen {freeze}");
    }
    let mut roster = Roster::default();
    enrol(&mut roster, 1, SECOND + 10);
    assert_eq!(
        days(&everything(), &roster, SECOND + 10),
        [2],
        "without a partial day the freeze ends nothing"
    );
}

#[test]
fn a_device_is_in_scope_by_any_class_it_had_that_day_and_by_its_group() {
    let mut roster = Roster::default();
    enrol(&mut roster, 1, START);
    roster.class_act(9, Timestamp(START + 1), &class(1, Class::Server, SECOND + 5)).unwrap();
    let scope = |classes: &[Class], groups: &[&str]| Plan {
        scope: Scope { classes: classes.to_vec(), groups: groups.iter().map(|group| name(group)).collect() },
        ..everything()
    };
    for (plan, expected) in [
        (scope(&[], &[]), vec![1, 2]),
        (scope(&[Class::Laptop], &[]), vec![1, 2]),
        (scope(&[Class::Server], &[]), vec![2]),
        (scope(&[Class::Server, Class::Laptop], &["office"]), vec![1, 2]),
        (scope(&[Class::Desktop], &[]), vec![]),
        (scope(&[], &["field"]), vec![]),
        (scope(&[], &["field", "office"]), vec![1, 2]),
        (scope(&[Class::Laptop], &["field"]), vec![]),
    ] {
        assert_eq!(days(&plan, &roster, END), expected, "{:?}", plan.scope);
    }
    // A class that lasts from a day's first instant to its second leaves the day in both scopes.
    let mut roster = Roster::default();
    enrol(&mut roster, 1, START);
    roster.class_act(9, Timestamp(START), &class(1, Class::Server, SECOND + 1)).unwrap();
    assert_eq!(days(&scope(&[Class::Laptop], &[]), &roster, END), [1, 2]);
    let mut roster = Roster::default();
    enrol(&mut roster, 1, START);
    roster.class_act(9, Timestamp(START), &class(1, Class::Server, SECOND)).unwrap();
    assert_eq!(days(&scope(&[Class::Laptop], &[]), &roster, END), [1]);
}

#[test]
fn units_are_ordered_as_text_where_digits_come_before_letters() {
    let mut roster = Roster::default();
    for number in [0, 0xff, 0x80, 0xd0] {
        enrol(&mut roster, number, START);
    }
    let frame = Frame::of(&everything(), &name("edr"), &roster, Timestamp(END));
    let lines: Vec<String> = frame.units.iter().map(ToString::to_string).collect();
    let firsts: Vec<_> = lines.iter().step_by(2).map(|line| line.split_at(3).0.to_owned()).collect();
    // 0xd0 begins with the value 26, which is the digit 2; 0xff with 31, the digit 7.
    assert_eq!(firsts, ["d-2", "d-7", "d-a", "d-q"]);
    assert!(lines[0].ends_with("/2026-06-01/edr") && lines[1].ends_with("/2026-06-02/edr"), "{lines:?}");
    assert_eq!(frame.population(), (lines.join("\n") + "\n").into_bytes());
    assert_eq!(frame.digest(), Digest::of(&frame.population()));
    assert_eq!(crate::draw::Population::parse(&frame.population()).unwrap().count(), 8);
}

#[test]
fn nobody_in_scope_is_an_empty_file() {
    let frame = Frame::of(&everything(), &name("edr"), &Roster::default(), Timestamp(END));
    assert_eq!((frame.population(), frame.units), (Vec::new(), Vec::new()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_population_is_sorted_unique_and_only_of_devices_in_service(
        enrolled in prop::collection::btree_map(any::<u8>(), START - 5..END + 5, 0..12),
        freeze in START - 5..END + 5,
        partial_day: bool,
    ) {
        let mut roster = Roster::default();
        for (number, at) in &enrolled {
            enrol(&mut roster, *number, *at);
        }
        let plan = Plan { partial_day, ..everything() };
        let frame = Frame::of(&plan, &name("edr"), &roster, Timestamp(freeze));
        let text = String::from_utf8(frame.population()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        prop_assert!(lines.is_sorted_by(|a, b| a.as_bytes() < b.as_bytes()));
        let last_end = if partial_day { freeze.min(END) } else { END };
        let expected: usize = enrolled
            .values()
            .map(|at| usize::from(*at < SECOND) + usize::from(*at < last_end && SECOND < last_end))
            .sum();
        prop_assert_eq!(lines.len(), expected);
    }
}
