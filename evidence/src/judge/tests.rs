//! The five rules of FORMAT.md section 9 at their boundaries, and what holds of any unit.

use proptest::prelude::*;
use proto::observation::Outcome;

use super::{Day, Erased, PolicyEntry, Sighting, State, UnitState, judge_unit, judge_with_erased, reason};
use crate::ids::{Class, DeviceId};
use crate::policy::Policy;
use crate::policy::tests::policy;
use crate::roster::ServiceSpan;
use crate::statement::Attestation;
use crate::time::{DAY_MS, MINUTE_MS, Timestamp};

mod properties;

/// The day of these tests: 2026-11-22 in UTC.
const START: u64 = 20_779 * DAY_MS;
const END: u64 = START + DAY_MS;

const PATCHED: &str = r#"{"fact":"pending_security","op":"eq","value":0}"#;
const EDR: &str = r#"{"is":{"fact":"running","op":"eq","value":"yes"},"list":"products","op":"some"}"#;
const LOCKED: &str = r#"{"is":{"fact":"enabled","op":"eq","value":"yes"},"list":"users","op":"every"}"#;

fn rules() -> Policy {
    policy(&[("edr", EDR), ("os-patch", PATCHED), ("screen-lock", LOCKED)])
}

fn day() -> Day {
    Day { start: Timestamp(START), end: Timestamp(END), freeze_index: None }
}

fn span(start: u64, end: u64, class: Class, group: &str) -> ServiceSpan {
    ServiceSpan { start: Timestamp(start), end: Timestamp(end), class, group: group.parse().unwrap() }
}

fn in_service() -> Vec<ServiceSpan> {
    vec![span(0, u64::MAX, Class::Laptop, "g")]
}

/// What an attestation says of os-patch, by a word.
fn patch(word: &str) -> Option<Outcome> {
    let observed = |pending_security| {
        let patch = proto::OsPatch { os: "debian".to_owned(), pending_security, ..Default::default() };
        Some(Outcome::Observed(proto::Facts { control: Some(proto::facts::Control::OsPatch(patch)) }))
    };
    match word {
        "pass" => observed(Some(0)),
        "deviation" => observed(Some(1)),
        "unknown" => observed(None),
        "unavailable" => Some(unavailable(proto::Reason::NoPrivilege)),
        _ => None,
    }
}

fn unavailable(reason: proto::Reason) -> Outcome {
    Outcome::Unavailable(proto::Unavailable { reason: reason.into(), question: String::new() })
}

/// An attestation at a time of the device's clock, with one observation.
fn attestation(wall_minutes: u64, control: &str, outcome: Option<Outcome>) -> Attestation {
    let observation =
        proto::Observation { control: control.to_owned(), probe_version: 1, outcome, kept_minutes: None };
    let observations = vec![observation];
    let fields = proto::Attestation { wall_minutes, observations, ..Default::default() };
    Attestation { device: DeviceId::from_bytes([7; 16]), fields }
}

fn sighting(index: u64, received: u64, attestation: &Attestation) -> Sighting<'_> {
    Sighting { index, received: Timestamp(received), attestation }
}

/// The state of os-patch under a policy logged at 0, of a laptop in service for ever.
fn judged(day: &Day, sightings: &[Sighting<'_>]) -> UnitState {
    let rules = rules();
    let entries = [PolicyEntry { index: 1, received: Timestamp(0), policy: &rules }];
    judge_unit(day, "os-patch", &entries, &in_service(), sightings)
}

/// The same with attestations that were erased.
fn judged_without(day: &Day, sightings: &[Sighting<'_>], erased: &[Erased]) -> UnitState {
    let rules = rules();
    let entries = [PolicyEntry { index: 1, received: Timestamp(0), policy: &rules }];
    judge_with_erased(day, "os-patch", &entries, &in_service(), sightings, erased)
}

fn short(unit: &UnitState) -> (State, &'static str, Option<u64>) {
    (unit.state, unit.because, unit.decided_by)
}

#[test]
fn the_policy_is_the_last_one_logged_before_the_end() {
    let (old, new) = (rules(), policy(&[("edr", EDR)]));
    let pass = attestation(START / MINUTE_MS, "os-patch", patch("pass"));
    let sightings = [sighting(5, START + 1, &pass)];
    let state = |new_received: u64| {
        let entries = [
            PolicyEntry { index: 9, received: Timestamp(new_received), policy: &new },
            PolicyEntry { index: 1, received: Timestamp(0), policy: &old },
        ];
        let unit = judge_unit(&day(), "os-patch", &entries, &in_service(), &sightings);
        (unit.state, unit.because, unit.policy_index, unit.counted)
    };
    assert_eq!(state(END), (State::Pass, "condition", Some(1), vec![5]));
    // The newer policy has no os-patch: it is in force all the same, and nothing counts under it.
    assert_eq!(state(END - 1), (State::Indeterminate, "no-policy", Some(9), vec![]));
    let none = judge_unit(&day(), "os-patch", &[], &in_service(), &sightings);
    assert_eq!((none.because, none.policy_index, none.decided_by), ("no-policy", None, None));
}

#[test]
fn policies_of_one_millisecond_are_told_apart_by_index() {
    let (old, new) = (rules(), policy(&[("edr", EDR)]));
    for swap in [false, true] {
        let mut entries = [
            PolicyEntry { index: 1, received: Timestamp(50), policy: &old },
            PolicyEntry { index: 2, received: Timestamp(50), policy: &new },
        ];
        if swap {
            entries.reverse();
        }
        assert_eq!(day().policy(&entries).unwrap().index, 2);
    }
}

#[test]
fn a_partial_day_sees_only_what_was_logged_before_the_freeze() {
    let freeze = START + 10 * MINUTE_MS;
    let partial = Day { start: Timestamp(START), end: Timestamp(freeze), freeze_index: Some(10) };
    let (old, new) = (rules(), policy(&[("edr", EDR)]));
    let entries = [
        PolicyEntry { index: 1, received: Timestamp(0), policy: &old },
        // Same millisecond as the freeze, behind it.
        PolicyEntry { index: 11, received: Timestamp(freeze), policy: &new },
    ];
    assert_eq!(partial.policy(&entries).unwrap().index, 1);
    let early = attestation(START / MINUTE_MS, "os-patch", patch("pass"));
    let bad = attestation(START / MINUTE_MS + 1, "os-patch", patch("deviation"));
    let late = attestation(START / MINUTE_MS + 20, "os-patch", patch("deviation"));
    let unit = judged(
        &partial,
        &[
            sighting(8, freeze - 5, &early),
            sighting(9, freeze, &late), // observed = received = the end: outside
            sighting(11, freeze, &bad), // behind the freeze
        ],
    );
    assert_eq!((short(&unit), unit.counted), ((State::Pass, "condition", Some(8)), vec![8]));
    // A policy in the freeze's millisecond but before its index is in force.
    let before = [PolicyEntry { index: 9, received: Timestamp(freeze), policy: &new }];
    assert_eq!(partial.policy(&before).unwrap().index, 9);
}

#[test]
fn the_control_applies_if_one_moment_of_the_day_is_among_its_classes_and_groups() {
    let rules = rules();
    let entries = [PolicyEntry { index: 1, received: Timestamp(0), policy: &rules }];
    let because = |spans: &[ServiceSpan]| judge_unit(&day(), "os-patch", &entries, spans, &[]).because;
    let laptop = |start, end| span(start, end, Class::Laptop, "g");
    let server = |start, end| span(start, end, Class::Server, "g");
    assert_eq!(because(&[laptop(END - 1, u64::MAX)]), "no-evidence");
    assert_eq!(because(&[laptop(END, u64::MAX)]), "class", "begins with the next day");
    assert_eq!(because(&[laptop(0, START + 1)]), "no-evidence");
    assert_eq!(because(&[laptop(0, START)]), "class", "retired in the first millisecond of the day");
    assert_eq!(because(&[laptop(START + 5, START + 5), server(START + 5, END)]), "class", "no moment");
    assert_eq!(because(&[server(0, START + 9), laptop(START + 9, END)]), "no-evidence");
    assert_eq!(because(&[server(0, u64::MAX)]), "class");
    assert_eq!(because(&[]), "class");
}

#[test]
fn class_and_group_must_be_right_in_the_same_state() {
    let mut rules = rules();
    rules.controls[1].groups = vec!["right".parse().unwrap()];
    let entries = [PolicyEntry { index: 1, received: Timestamp(0), policy: &rules }];
    let spans =
        [span(START, START + 9, Class::Laptop, "wrong"), span(START + 9, END, Class::Server, "right")];
    let unit = judge_unit(&day(), "os-patch", &entries, &spans, &[]);
    assert_eq!(short(&unit), (State::NotApplicable, "class", None));
    assert_eq!(unit.policy_index, Some(1));
}

#[test]
fn an_observation_counts_in_the_day_it_was_made_if_it_came_in_time() {
    let first = START / MINUTE_MS;
    let last = END / MINUTE_MS - 1;
    // (device's minute, received, counts): max_age is 60 minutes.
    for (wall, received, counts) in [
        (first, START, true),
        (first - 1, START, false),
        (last, END + MINUTE_MS, true),
        (last + 1, END + MINUTE_MS, false),
        (last + 1, END - 1, true), // a clock ahead: observed when received
        (u64::MAX, END - 1, true), // saturates, then the same
        (u64::MAX, END, false),
        (first, START + 60 * MINUTE_MS, true), // exactly max_age
        (first, START + 60 * MINUTE_MS + 1, false),
        (0, START + 1, false),
    ] {
        let attestation = attestation(wall, "os-patch", patch("pass"));
        let unit = judged(&day(), &[sighting(3, received, &attestation)]);
        let expected = if counts {
            ((State::Pass, "condition", Some(3)), vec![3])
        } else {
            ((State::Missing, "no-evidence", None), vec![])
        };
        assert_eq!((short(&unit), unit.counted), expected, "{wall} {received}");
    }
}

#[test]
fn ages_are_counted_from_the_observation_not_from_the_receipt() {
    let rules = policy(&[("os-patch", r#"{"fact":"lists_minutes","minutes":0,"op":"age_at_most"}"#)]);
    let entries = [PolicyEntry { index: 1, received: Timestamp(0), policy: &rules }];
    let first = START / MINUTE_MS;
    let lists = |minute| {
        let patch = proto::OsPatch { lists_minutes: Some(minute), ..Default::default() };
        Some(Outcome::Observed(proto::Facts { control: Some(proto::facts::Control::OsPatch(patch)) }))
    };
    let state = |wall, minute, received| {
        let attestation = attestation(wall, "os-patch", lists(minute));
        judge_unit(&day(), "os-patch", &entries, &in_service(), &[sighting(1, received, &attestation)]).state
    };
    assert_eq!(state(first, first, START + 59 * MINUTE_MS), State::Pass);
    assert_eq!(state(first, first - 1, START), State::Deviation);
    assert_eq!(state(first, first + 1, START + 5 * MINUTE_MS), State::Indeterminate);
    // A clock that runs ahead does not make the lists older than they are: the receipt bounds it.
    assert_eq!(state(first + 300, first, START + MINUTE_MS - 1), State::Pass);
}

#[test]
fn each_outcome_has_its_state_and_word() {
    use proto::Reason;
    let first = START / MINUTE_MS;
    let say = |control: &str, about: &str, outcome| {
        let rules = rules();
        let entries = [PolicyEntry { index: 1, received: Timestamp(0), policy: &rules }];
        let attestation = attestation(first, about, outcome);
        let unit = judge_unit(&day(), control, &entries, &in_service(), &[sighting(4, START, &attestation)]);
        assert_eq!(unit.decided_by, Some(4));
        (unit.state, unit.because)
    };
    assert_eq!(say("os-patch", "os-patch", patch("pass")), (State::Pass, "condition"));
    assert_eq!(say("os-patch", "os-patch", patch("deviation")), (State::Deviation, "condition"));
    assert_eq!(say("os-patch", "os-patch", patch("unknown")), (State::Indeterminate, "unknown-fact"));
    assert_eq!(say("os-patch", "os-patch", None), (State::Indeterminate, "no-observation"));
    assert_eq!(say("os-patch", "edr", patch("pass")), (State::Indeterminate, "no-observation"));
    assert_eq!(say("edr", "edr", patch("pass")), (State::Indeterminate, "no-observation"));
    let empty = Some(Outcome::Observed(proto::Facts { control: None }));
    assert_eq!(say("os-patch", "os-patch", empty), (State::Indeterminate, "no-observation"));
    let reasons = (1..).map_while(|number| Reason::try_from(number).ok());
    let words: Vec<_> = reasons
        .map(|why| {
            let expected =
                why.as_str_name().strip_prefix("REASON_").unwrap().to_lowercase().replace('_', "-");
            assert_eq!(reason(why), expected);
            let (state, because) = say("os-patch", "os-patch", Some(unavailable(why)));
            assert_eq!((state, because), (State::Indeterminate, reason(why)));
            because
        })
        .collect();
    assert_eq!(words.len(), 13);
}

#[test]
fn only_a_proof_of_headless_that_proves_it_makes_screen_lock_not_applicable() {
    let rules = rules();
    let entries = [PolicyEntry { index: 1, received: Timestamp(0), policy: &rules }];
    let say = |control: &str, proof: Option<proto::Headless>| {
        let proof = proof.map(proto::not_applicable::Proof::Headless);
        let outcome = Some(Outcome::NotApplicable(proto::NotApplicable { proof }));
        let attestation = attestation(START / MINUTE_MS, control, outcome);
        let unit = judge_unit(&day(), control, &entries, &in_service(), &[sighting(4, START, &attestation)]);
        (unit.state, unit.because)
    };
    let proved = proto::Headless { default_target: "multi-user.target".to_owned(), ..Default::default() };
    assert_eq!(say("screen-lock", Some(proved.clone())), (State::NotApplicable, "headless"));
    for contradicted in [
        proto::Headless { display_manager: true, ..proved.clone() },
        proto::Headless { graphical_sessions: 1, ..proved.clone() },
        proto::Headless { desktop_installed: true, ..proved.clone() },
    ] {
        assert_eq!(say("screen-lock", Some(contradicted)), (State::Indeterminate, "unproved"));
    }
    assert_eq!(say("screen-lock", None), (State::Indeterminate, "unproved"));
    assert_eq!(say("edr", Some(proved)), (State::Indeterminate, "unproved"));
}

#[test]
fn the_worst_observation_decides_and_of_equals_the_lowest_index() {
    let first = START / MINUTE_MS;
    let say: Vec<_> = ["pass", "unknown", "absent", "deviation", "deviation"]
        .into_iter()
        .zip(first..)
        .map(|(word, minute)| attestation(minute, "os-patch", patch(word)))
        .collect();
    let sightings: Vec<_> = say
        .iter()
        .zip([30, 29, 28, 21, 20])
        .map(|(a, index)| sighting(index, START + 9 * MINUTE_MS, a))
        .collect();
    let unit = judged(&day(), &sightings);
    assert_eq!(short(&unit), (State::Deviation, "condition", Some(20)));
    assert_eq!(unit.counted, [20, 21, 28, 29, 30]);
    let unit = judged(&day(), &sightings[..3]);
    assert_eq!(short(&unit), (State::Indeterminate, "no-observation", Some(28)), "its word is the lowest's");
    assert_eq!(short(&judged(&day(), &sightings[..1])), (State::Pass, "condition", Some(30)));
}

#[test]
fn the_states_have_sixteen_names() {
    let names: Vec<_> = State::ALL.iter().map(|state| state.as_str()).collect();
    // The line of FORMAT.md.
    assert_eq!(
        names.join(" "),
        "PASS FAIL_WITHIN_GRACE DEVIATION INDETERMINATE MISSING NOT_IN_OPERATION PASS_LATE DEVIATION_LATE \
         CARRIED WAIVED WAIVER_INVALID NOT_APPLICABLE CONFLICT EVIDENCE_UNRELIABLE UNCOVERED NO_OCCURRENCE"
    );
    assert!(State::ALL.iter().all(|state| state.as_str().parse() == Ok(*state)));
    assert!("pass".parse::<State>().is_err());
}

#[test]
fn the_days_of_a_plan_and_its_partial_day() {
    let mut plan = crate::evaluation::tests::plan();
    let label = |text: &str| text.parse().unwrap();
    let (first, second) = (START - DAY_MS, START);
    let whole =
        |start: u64| Day { start: Timestamp(start), end: Timestamp(start + DAY_MS), freeze_index: None };
    let freeze = Timestamp(END - 5);
    let days = Day::of_plan(&plan, Timestamp(END), 9);
    assert_eq!(days, [(label("2026-11-21"), whole(first)), (label("2026-11-22"), whole(second))].into());
    plan.partial_day = true;
    let days = Day::of_plan(&plan, freeze, 9);
    let part = Day { start: Timestamp(second), end: freeze, freeze_index: Some(9) };
    assert_eq!(days, [(label("2026-11-21"), whole(first)), (label("2026-11-22"), part)].into());
    // A freeze at the end or later makes no part.
    assert_eq!(Day::of_plan(&plan, Timestamp(END), 9)[&label("2026-11-22")], whole(second));
}

#[test]
fn an_erased_attestation_may_lie_in_the_days_before_its_receipt_as_far_as_the_policy_allows() {
    let lies =
        |received, minutes| Erased { index: 1, received: Timestamp(received) }.may_lie_in(&day(), minutes);
    assert!(!lies(START - 1, 1440), "it was received before the day began");
    assert!(lies(START, 0) && lies(END - 1, 0));
    assert!(!lies(END, 0) && lies(END, 1));
    assert!(lies(END + DAY_MS - 1, 1440) && !lies(END + DAY_MS, 1440));
    assert!(lies(u64::MAX, u64::MAX), "saturates");
}

#[test]
fn what_is_erased_is_indeterminate_at_best_and_missing_where_nothing_is_left() {
    let minute = START / MINUTE_MS;
    let [good, bad] = ["pass", "deviation"].map(|word| attestation(minute + 5, "os-patch", patch(word)));
    let gone = [Erased { index: 7, received: Timestamp(START + 1) }];
    let after = |index, said| vec![sighting(index, START + 6 * MINUTE_MS, said)];
    assert_eq!(
        short(&judged_without(&day(), &after(9, &good), &gone)),
        (State::Indeterminate, "erased", Some(7))
    );
    assert_eq!(
        short(&judged_without(&day(), &after(9, &bad), &gone)),
        (State::Deviation, "condition", Some(9))
    );
    let nothing = judged_without(&day(), &[], &gone);
    assert_eq!((short(&nothing), nothing.counted), ((State::Missing, "erased", None), vec![7]));
    let elsewhere = [Erased { index: 7, received: Timestamp(START - 1) }];
    assert_eq!(short(&judged_without(&day(), &[], &elsewhere)), (State::Missing, "no-evidence", None));
    let part = Day { freeze_index: Some(7), ..day() };
    assert_eq!(short(&judged_without(&part, &after(3, &good), &gone)), (State::Pass, "condition", Some(3)));
}
