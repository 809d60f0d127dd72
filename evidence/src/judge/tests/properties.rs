//! What holds of every unit: order does not matter, the worst rules, what lies outside changes nothing.

use super::*;

const WORDS: [&str; 5] = ["pass", "deviation", "unknown", "unavailable", "absent"];

/// (index, device's minute, milliseconds from observation to receipt, word), around the day and its
/// boundaries.
type Row = (u64, u64, u64, &'static str);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let first = START / MINUTE_MS;
    let minute = prop_oneof![first - 2..first + 3, first + 1438..first + 1443, first..first + 1440];
    let delay = prop_oneof![0..3_u64, 60 * MINUTE_MS - 1..60 * MINUTE_MS + 2, 0..DAY_MS];
    prop::collection::btree_map(0..40_u64, (minute, delay, prop::sample::select(WORDS.to_vec())), 0..8)
        .prop_map(|rows| {
            rows.into_iter().map(|(index, (minute, delay, word))| (index, minute, delay, word)).collect()
        })
}

fn day_or_part() -> impl Strategy<Value = Day> {
    prop_oneof![
        Just(day()),
        (1..DAY_MS, 2..40_u64).prop_map(|(length, freeze)| Day {
            start: Timestamp(START),
            end: Timestamp(START + length),
            freeze_index: Some(freeze),
        })
    ]
}

fn attestations(rows: &[Row]) -> Vec<Attestation> {
    rows.iter().map(|(_, minute, _, word)| attestation(*minute, "os-patch", patch(word))).collect()
}

fn sightings<'a>(rows: &[Row], attestations: &'a [Attestation]) -> Vec<Sighting<'a>> {
    rows.iter()
        .zip(attestations)
        .map(|((index, minute, delay, _), attestation)| {
            sighting(*index, minute * MINUTE_MS + delay, attestation)
        })
        .collect()
}

/// The states from worst to best, as the format lists them.
fn rank(state: State) -> usize {
    let order = [State::Deviation, State::Indeterminate, State::Pass, State::NotApplicable];
    order.iter().position(|other| *other == state).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn order_does_not_matter(rows in rows(), day in day_or_part(), seed in any::<prop::sample::Index>()) {
        let said = attestations(&rows);
        let ordered = sightings(&rows, &said);
        let mut shuffled = ordered.clone();
        if !shuffled.is_empty() {
            let by = seed.index(shuffled.len());
            shuffled.rotate_left(by);
            if by % 2 == 0 {
                shuffled.reverse();
            }
        }
        let unit = judged(&day, &ordered);
        prop_assert_eq!(&judged(&day, &shuffled), &unit);
        prop_assert!(unit.counted.is_sorted());
    }

    #[test]
    fn the_state_is_the_worst_of_the_states_of_each(rows in rows(), day in day_or_part()) {
        let said = attestations(&rows);
        let all = sightings(&rows, &said);
        let alone: Vec<_> = all
            .iter()
            .map(|one| judged(&day, std::slice::from_ref(one)))
            .filter(|unit| unit.state != State::Missing)
            .collect();
        let unit = judged(&day, &all);
        match alone.iter().map(|unit| rank(unit.state)).min() {
            None => prop_assert_eq!(short(&unit), (State::Missing, "no-evidence", None)),
            Some(worst) => {
                prop_assert_eq!(rank(unit.state), worst);
                let first = alone
                    .iter()
                    .filter(|alone| alone.state == unit.state)
                    .min_by_key(|alone| alone.decided_by)
                    .unwrap();
                prop_assert_eq!(short(&unit), short(first));
            }
        }
        prop_assert_eq!(unit.counted.len(), alone.len());
    }

    #[test]
    fn what_does_not_count_changes_nothing(rows in rows(), day in day_or_part()) {
        let said = attestations(&rows);
        let all = sightings(&rows, &said);
        let unit = judged(&day, &all);
        let counting: Vec<_> = all.into_iter().filter(|one| unit.counted.contains(&one.index)).collect();
        prop_assert_eq!(judged(&day, &counting), unit);
    }

    #[test]
    fn nothing_behind_the_freeze_or_observed_outside_counts(rows in rows(), day in day_or_part()) {
        let said = attestations(&rows);
        for one in sightings(&rows, &said) {
            let counts = judged(&day, &[one]).counted == [one.index];
            let wall = one.attestation.fields.wall_minutes * MINUTE_MS;
            let observed = wall.min(one.received.ms());
            let expected = (day.start.ms()..day.end.ms()).contains(&observed)
                && one.received.ms() - observed <= 60 * MINUTE_MS
                && day.freeze_index.is_none_or(|freeze| one.index < freeze);
            prop_assert_eq!(counts, expected);
        }
    }

    #[test]
    fn erasing_never_makes_a_state_better_than_what_is_left(
        rows in rows(), day in day_or_part(), taken in any::<u64>(),
    ) {
        let said = attestations(&rows);
        let all = sightings(&rows, &said);
        let whole = judged(&day, &all);
        let (gone, left): (Vec<_>, Vec<_>) = all.iter().partition(|one| taken >> (one.index % 64) & 1 == 1);
        let left: Vec<_> = left.into_iter().copied().collect();
        let erased: Vec<_> =
            gone.iter().map(|one| Erased { index: one.index, received: one.received }).collect();
        let (alone, with) = (judged(&day, &left), judged_without(&day, &left, &erased));
        if alone.state == State::Missing {
            prop_assert_eq!(with.state, State::Missing);
        } else {
            prop_assert!(rank(with.state) <= rank(alone.state));
            prop_assert!(with.state == alone.state || with.because == "erased");
        }
        // Whatever counted and is gone now, nobody can call the unit sound any more.
        if gone.iter().any(|one| whole.counted.contains(&one.index)) {
            prop_assert!(!matches!(with.state, State::Pass | State::NotApplicable));
        }
        prop_assert!(with.counted.is_sorted());
    }

    #[test]
    fn spans_apply_as_their_moments_do(
        // Spans in whole milliseconds around a day of ten: every moment can be asked.
        spans in prop::collection::vec((0..16_u64, 0..16_u64, any::<bool>()), 0..4),
    ) {
        let day = Day { start: Timestamp(3), end: Timestamp(13), freeze_index: None };
        let rules = rules();
        let entries = [PolicyEntry { index: 1, received: Timestamp(0), policy: &rules }];
        let service: Vec<_> = spans
            .iter()
            .map(|(start, end, laptop)| {
                span(*start, *end, if *laptop { Class::Laptop } else { Class::Server }, "g")
            })
            .collect();
        let unit = judge_unit(&day, "os-patch", &entries, &service, &[]);
        let some_moment = (3..13).any(|moment| {
            spans.iter().any(|(start, end, laptop)| *laptop && (*start..*end).contains(&moment))
        });
        let expected = if some_moment { State::Missing } else { State::NotApplicable };
        prop_assert_eq!(unit.state, expected);
    }
}
