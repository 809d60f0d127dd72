//! The three bounds: who is a deviation where, replacement, and their order. Limits are those of the
//! published table A-3 (one-sided Clopper-Pearson, rounded up), risk 5 %; 13 of 60 computed with exact
//! fractions.

use proptest::prelude::*;

use super::{Evaluation, evaluated};
use crate::judge::State::{self, Deviation, Indeterminate, Missing, NotApplicable, Pass};
use crate::keys::SecretKey;
use crate::plan::{Method, Plan, PlanDay, Scope};
use crate::time::{DAY_MS, DayLabel, Timestamp};

/// A plan of two days, 2026-11-21 and 2026-11-22, with risk 5 % and tolerable rate 5 %.
pub(crate) fn plan() -> Plan {
    let first = 20_778;
    let day =
        |days: u64| PlanDay { label: DayLabel::from_days_since_1970(days), start: Timestamp(days * DAY_MS) };
    Plan {
        engagement: crate::ids::EngagementId::from_bytes([1; 16]),
        auditor_key: *SecretKey::from_seed(&[3; 32]).unwrap().public(),
        controls: vec!["edr".parse().unwrap()],
        days: vec![day(first), day(first + 1)],
        end: Timestamp((first + 2) * DAY_MS),
        scope: Scope { classes: Vec::new(), groups: Vec::new() },
        method: Method::Consistent,
        sample_size: 60,
        reserves: 2,
        acceptance: 0,
        risk_bp: 500,
        tolerable_bp: 500,
        expected_bp: 0,
        partial_day: false,
        replace_not_applicable: true,
        supersedes: None,
    }
}

fn of(sample: &[State]) -> Evaluation {
    Evaluation::of(&"edr".parse().unwrap(), sample, &plan()).unwrap()
}

fn sample(counts: &[(State, usize)]) -> Vec<State> {
    counts.iter().flat_map(|(state, n)| std::iter::repeat_n(*state, *n)).collect()
}

#[test]
fn each_bound_reads_the_sample_in_its_way() {
    let evaluation =
        of(&sample(&[(Pass, 47), (Deviation, 1), (Indeterminate, 1), (Missing, 1), (NotApplicable, 10)]));
    assert_eq!(
        evaluation.to_json().encode(),
        r#"{"classified":{"deviations":3,"n":50,"supports":0,"upper_limit":"14.8"},"control":"edr","optimistic":{"deviations":1,"n":60,"supports":0,"upper_limit":"7.7"},"sample":60,"states":{"DEVIATION":1,"INDETERMINATE":1,"MISSING":1,"NOT_APPLICABLE":10,"PASS":47},"strict":{"deviations":13,"n":60,"supports":0,"upper_limit":"32.3"}}"#
    );
}

#[test]
fn what_is_not_applicable_helps_only_the_optimistic_bound() {
    let evaluation = of(&sample(&[(Pass, 50), (NotApplicable, 10)]));
    let bound = |bound: &super::Bound| (bound.n, bound.deviations, bound.upper_limit.clone(), bound.supports);
    assert_eq!(bound(&evaluation.optimistic), (60, 0, "4.9".to_owned(), true));
    assert_eq!(bound(&evaluation.classified), (50, 0, "5.9".to_owned(), false));
    assert_eq!(bound(&evaluation.strict), (60, 10, "26.7".to_owned(), false));
}

#[test]
fn nothing_supports_nothing() {
    for states in [vec![], sample(&[(NotApplicable, 3)])] {
        let classified = of(&states).classified;
        assert_eq!((classified.n, classified.upper_limit.as_str(), classified.supports), (0, "100.0", false));
    }
    let all = of(&[Deviation]).optimistic;
    assert_eq!((all.upper_limit.as_str(), all.supports), ("100.0", false));
}

#[test]
fn a_sample_without_deviations_supports_from_59_units_on() {
    for (n, supports) in [(58, false), (59, true)] {
        let evaluation = of(&sample(&[(Pass, n)]));
        assert_eq!(evaluation.strict.supports, supports, "{n}");
        assert_eq!(evaluation.optimistic, evaluation.strict);
    }
}

#[test]
fn a_unit_that_is_not_applicable_gives_way_to_the_next_reserve() {
    let selected = [NotApplicable, Pass, NotApplicable, NotApplicable];
    let reserves = [Deviation, NotApplicable];
    // The second reserve is taken whatever it is, and with none left the unit stays.
    assert_eq!(evaluated(&selected, &reserves, true), [Deviation, Pass, NotApplicable, NotApplicable]);
    assert_eq!(evaluated(&selected, &[Pass, Missing, Pass], true), [Pass, Pass, Missing, Pass]);
    assert_eq!(evaluated(&selected, &reserves, false), selected);
}

proptest! {
    #[test]
    fn the_strict_bound_is_never_better_than_the_others(
        states in prop::collection::vec(prop::sample::select(State::ALL.to_vec()), 0..80)
    ) {
        let evaluation = of(&states);
        let tenths = |text: &str| text.replace('.', "").parse::<u64>().unwrap();
        let [optimistic, classified, strict] = [&evaluation.optimistic, &evaluation.classified, &evaluation.strict];
        prop_assert!(tenths(&optimistic.upper_limit) <= tenths(&strict.upper_limit));
        prop_assert!(tenths(&classified.upper_limit) <= tenths(&strict.upper_limit) || classified.n < strict.n);
        prop_assert!(optimistic.deviations <= classified.deviations && classified.deviations <= strict.deviations);
        prop_assert!(optimistic.supports || !strict.supports);
        prop_assert_eq!(evaluation.states.values().sum::<u64>(), evaluation.sample);
        for bound in [optimistic, classified, strict] {
            prop_assert!(bound.deviations <= bound.n && bound.n <= evaluation.sample);
        }
    }
}
