//! Bounds by hand, and that they never say more than their marks.

use proptest::prelude::*;

use super::*;

/// 2026-06-02T01:00:00Z.
const ONE_OCLOCK: u64 = 1_780_362_000;

fn policy(quorum: &str) -> WitnessPolicy {
    let key = |seed: u8| *crate::keys::SecretKey::from_seed(&[seed; 32]).unwrap().public();
    let mut text = String::new();
    for (name, seed) in [("a", 1), ("b", 2), ("c", 3)] {
        let key = crate::note::WitnessKey::new(&format!("{name}.example"), key(seed)).unwrap();
        text = format!("{text}witness {name} {}\n", key.vkey());
    }
    WitnessPolicy::parse(format!("{text}{quorum}").as_bytes()).unwrap()
}

const ALL: &str = "group g all a b c\nquorum g\n";
const TWO: &str = "group g 2 a b c\nquorum g\n";
const ANY: &str = "group g any a b c\nquorum g\n";

fn lines(times: &[(&str, u64)]) -> Vec<(String, u64)> {
    times.iter().map(|(name, seconds)| ((*name).to_owned(), *seconds)).collect()
}

fn names(letters: &str) -> Vec<String> {
    letters.chars().map(String::from).collect()
}

#[test]
fn a_quorum_stands_for_its_first_and_its_last_second() {
    let told = lines(&[("a", 10), ("b", 20), ("c", 30)]);
    for (quorum, by, since) in [
        (ALL, Some((30, "abc")), Some((10, "abc"))),
        (TWO, Some((20, "ab")), Some((20, "bc"))),
        (ANY, Some((10, "a")), Some((30, "c"))),
        ("quorum b\n", Some((20, "ab")), Some((20, "bc"))),
        ("quorum none\n", None, None),
    ] {
        let [by, since] = [by, since]
            .map(|row: Option<(u64, &str)>| row.map(|(seconds, names)| (seconds, names.to_owned())));
        let policy = policy(quorum);
        let row = |mark: Option<Witnessed>| mark.map(|mark| (mark.seconds, mark.witnesses.concat()));
        assert_eq!(
            (row(cosigned_by(&policy, &told)), row(cosigned_since(&policy, &told))),
            (by, since),
            "{quorum}"
        );
        assert_eq!(cosigned_by(&policy, &[]), None);
    }
    // Equal seconds count together; what is no time counts not at all.
    let policy = policy(TWO);
    let same = lines(&[("a", 10), ("b", 10), ("c", 10)]);
    assert_eq!(cosigned_by(&policy, &same), Some(Witnessed { seconds: 10, witnesses: names("abc") }));
    let far = lines(&[("a", 10), ("b", SECONDS_MAX + 1), ("c", u64::MAX)]);
    assert_eq!(cosigned_by(&policy, &far), None);
    assert_eq!(cosigned_since(&policy, &far), None);
    let last = lines(&[("a", 10), ("b", SECONDS_MAX)]);
    assert_eq!(cosigned_by(&policy, &last), Some(Witnessed { seconds: SECONDS_MAX, witnesses: names("ab") }));
}

fn marks() -> Marks {
    Marks {
        received: Timestamp(ONE_OCLOCK * 1000),
        simulated: false,
        anchored: None,
        covered: None,
        committed: None,
        earlier: None,
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it stands where a mark may be none")]
fn by(seconds: u64) -> Option<Witnessed> {
    Some(Witnessed { seconds, witnesses: names("ab") })
}

#[test]
fn the_best_clocks_are_told() {
    let at = |hours: u64| Some(Timestamp((ONE_OCLOCK + hours * 3600) * 1000));
    let ago = |hours: u64| Some(Timestamp((ONE_OCLOCK - hours * 3600) * 1000));
    let rows = [
        (marks(), "not before: unknown, not after 2026-06-02 01:00:00 (log's clock)"),
        (
            Marks { earlier: ago(2), ..marks() },
            "between 2026-06-01 23:00:00 (log's clock) and 2026-06-02 01:00:00 (log's clock)",
        ),
        (
            Marks { earlier: ago(1), committed: ago(2), ..marks() },
            "between 2026-06-01 23:00:00 (auditor's clock) and 2026-06-02 01:00:00 (log's clock)",
        ),
        (
            Marks { anchored: by(ONE_OCLOCK - 7200), earlier: ago(1), committed: ago(1), ..marks() },
            "between 2026-06-01 23:00:00 (2 witnesses: a, b) and 2026-06-02 01:00:00 (log's clock)",
        ),
        (
            Marks { covered: by(ONE_OCLOCK + 60), ..marks() },
            "not before: unknown, not after 2026-06-02 01:01:01 (2 witnesses: a, b)",
        ),
        (
            Marks { anchored: by(ONE_OCLOCK), covered: by(ONE_OCLOCK), ..marks() },
            "between 2026-06-02 01:00:00 (2 witnesses: a, b) and 2026-06-02 01:00:01 (2 witnesses: a, b)",
        ),
        // An auditor whose clock is ahead of the statement's receipt tells nothing.
        (
            Marks { committed: at(1), ..marks() },
            "not before: unknown, not after 2026-06-02 01:00:00 (log's clock)",
        ),
        (
            Marks { committed: at(1), earlier: ago(1), ..marks() },
            "between 2026-06-02 00:00:00 (log's clock) and 2026-06-02 01:00:00 (log's clock)",
        ),
        // Clocks that cross a little: the interval spans both.
        (
            Marks { anchored: by(ONE_OCLOCK + 300), ..marks() },
            "between 2026-06-02 01:00:00 (log's clock) and 2026-06-02 01:05:00 (2 witnesses: a, b)",
        ),
        (
            Marks { anchored: by(ONE_OCLOCK + 299), covered: by(ONE_OCLOCK - 2), ..marks() },
            "between 2026-06-02 00:59:59 (2 witnesses: a, b) and 2026-06-02 01:04:59 (2 witnesses: a, b)",
        ),
        // Time that is made up has nothing to do with the witnesses'.
        (
            Marks { simulated: true, anchored: by(1), covered: by(2), earlier: ago(1), ..marks() },
            "between 2026-06-02 00:00:00 (log's clock) and 2026-06-02 01:00:00 (log's clock)",
        ),
        // Parts of a second never make it narrower.
        (
            Marks {
                received: Timestamp(ONE_OCLOCK * 1000 + 1),
                earlier: Some(Timestamp(ONE_OCLOCK * 1000 - 1)),
                ..marks()
            },
            "between 2026-06-02 00:59:59 (log's clock) and 2026-06-02 01:00:01 (log's clock)",
        ),
        (
            Marks { received: Timestamp(u64::MAX), ..marks() },
            "not before: unknown, not after the end of 9999 (log's clock)",
        ),
        (
            Marks { received: Timestamp(0), ..marks() },
            "not before: unknown, not after 1970-01-01 00:00:00 (log's clock)",
        ),
    ];
    for (marks, text) in rows {
        assert_eq!(marks.interval().unwrap().to_string(), text, "{marks:?}");
    }
}

#[test]
fn clocks_that_cannot_all_be_right_are_an_error() {
    for (marks, error) in [
        (Marks { anchored: by(ONE_OCLOCK + 301), ..marks() }, Contradiction::ReceivedEarly),
        (Marks { covered: by(ONE_OCLOCK - 302), ..marks() }, Contradiction::ReceivedLate),
        (
            Marks { anchored: by(ONE_OCLOCK + 300), covered: by(ONE_OCLOCK - 2), ..marks() },
            Contradiction::Witnesses,
        ),
        (
            Marks { anchored: by(ONE_OCLOCK), covered: by(ONE_OCLOCK - 302), ..marks() },
            Contradiction::Witnesses,
        ),
    ] {
        assert_eq!(marks.interval(), Err(error), "{marks:?}");
    }
    for good in [
        Marks { anchored: by(ONE_OCLOCK + 300), ..marks() },
        Marks { covered: by(ONE_OCLOCK - 301), ..marks() },
        Marks { anchored: by(ONE_OCLOCK + 300), covered: by(ONE_OCLOCK), ..marks() },
    ] {
        assert!(good.interval().is_ok(), "{good:?}");
    }
}

fn any_mark() -> impl Strategy<Value = Option<Witnessed>> {
    let seconds = prop_oneof![8 => ONE_OCLOCK - 900..ONE_OCLOCK + 900, 1 => any::<u64>()];
    prop::option::of(seconds.prop_map(|seconds| Witnessed { seconds, witnesses: names("ab") }))
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![8 => (ONE_OCLOCK - 900) * 1000..(ONE_OCLOCK + 900) * 1000, 1 => any::<u64>()]
        .prop_map(Timestamp)
}

fn any_marks() -> impl Strategy<Value = Marks> {
    let claims = (prop::option::of(any_time()), prop::option::of(any_time()));
    (any_time(), prop::bool::weighted(0.1), any_mark(), any_mark(), claims).prop_map(
        |(received, simulated, anchored, covered, (committed, earlier))| Marks {
            received,
            simulated,
            anchored,
            covered,
            committed,
            earlier,
        },
    )
}

fn cosignatures() -> impl Strategy<Value = Vec<(String, u64)>> {
    let time = prop_oneof![8 => 0_u64..60, 1 => any::<u64>()];
    prop::collection::btree_map(prop::sample::select(vec!["a", "b", "c"]), time, 0..4)
        .prop_map(|told| told.into_iter().map(|(name, seconds)| (name.to_owned(), seconds)).collect())
}

proptest! {
    #[test]
    fn an_interval_is_never_empty(marks in any_marks()) {
        if let Ok(Interval { not_before: Some(before), not_after }) = marks.interval() {
            prop_assert!(before.at <= not_after.at);
        }
    }

    /// Every bound told is one of the marks or wider, and by whose clock it says.
    #[test]
    fn no_bound_is_narrower_than_its_clock_says(marks in any_marks()) {
        let Ok(interval) = marks.interval() else { return Ok(()) };
        let Interval { not_before, not_after } = interval.clone();
        let ends: Vec<Bound> = not_before.into_iter().chain([not_after]).collect();
        for end in ends {
            let ms = end.at.ms();
            let holds = match end.clocks {
                Clocks::Witnesses(_) => [(&marks.anchored, 0), (&marks.covered, 1)]
                    .iter()
                    .any(|(mark, more)| mark.as_ref().is_some_and(|mark| mark.seconds.saturating_add(*more).saturating_mul(1000) == ms)),
                Clocks::Auditor => marks.committed == Some(end.at),
                Clocks::Log => marks.received == end.at || marks.earlier == Some(end.at),
            };
            prop_assert!(holds, "{end:?}");
        }
        if let (Some(covered), false) = (&marks.covered, marks.simulated) && covered.seconds <= SECONDS_MAX {
            prop_assert!(interval.not_after.at.ms() >= (covered.seconds + 1) * 1000);
        }
        if let (Some(anchored), Some(before)) = (&marks.anchored, &interval.not_before)
            && !marks.simulated && anchored.seconds <= SECONDS_MAX
        {
            prop_assert!(before.at.ms() <= anchored.seconds * 1000);
        }
    }

    /// A cosignature taken away never makes what witnesses stand for narrower.
    #[test]
    fn a_lost_cosignature_never_helps(told in cosignatures(), lost in 0_usize..3, quorum in 0_usize..4) {
        let policy = policy([ALL, TWO, ANY, "quorum b\n"][quorum]);
        let mut fewer = told.clone();
        if lost < fewer.len() {
            fewer.remove(lost);
        }
        if let Some(less) = cosigned_by(&policy, &fewer) {
            prop_assert!(cosigned_by(&policy, &told).is_some_and(|all| all.seconds <= less.seconds));
        }
        if let Some(less) = cosigned_since(&policy, &fewer) {
            prop_assert!(cosigned_since(&policy, &told).is_some_and(|all| all.seconds >= less.seconds));
        }
    }
}
