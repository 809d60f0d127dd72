use proptest::prelude::*;

use super::*;

fn scope() -> impl Strategy<Value = Scope> {
    let device = (any::<[u8; 16]>(), 0..4_000_000_000_000_u64)
        .prop_map(|(instance, ms)| Scope::device(InstanceId::from_bytes(instance), Timestamp(ms)));
    let stream = (1..=4_u8, 0..4_000_000_000_000_u64)
        .prop_map(|(stream, ms)| Scope::stream(Stream::from_number(stream).unwrap(), Timestamp(ms)));
    prop_oneof![device, stream]
}

proptest! {
    #[test]
    fn a_scope_is_read_back_and_no_other_bytes_are_one(scope in scope(), place in 0..SCOPE_BYTES, flip in 1..=255_u8) {
        let bytes = scope.encode();
        prop_assert_eq!(Scope::parse(&bytes), Some(scope));
        let mut other = bytes;
        other[place] ^= flip;
        prop_assert!(Scope::parse(&other).is_none_or(|read| read != scope && read.encode() == other));
    }

    #[test]
    fn a_moment_lies_in_exactly_its_own_scope(instance in any::<[u8; 16]>(), ms in 0..4_000_000_000_000_u64) {
        let (instance, at) = (InstanceId::from_bytes(instance), Timestamp(ms));
        let scope = Scope::device(instance, at);
        prop_assert!(scope.holds(Stream::Device, at) && at < scope.end());
        prop_assert!(!scope.holds(Stream::Device, scope.end()) && !scope.holds(Stream::Roster, at));
        let next = Scope::device(instance, scope.end());
        prop_assert!(next > scope && next.end() > scope.end());
    }
}

#[test]
fn quarters_begin_and_end_where_the_calendar_says() {
    let at = |day: &str| day.parse::<DayLabel>().unwrap().start_utc();
    let cases = [
        ("1970-01-01", "1970-q1", "1970-04-01"),
        ("2024-02-29", "2024-q1", "2024-04-01"),
        ("2026-06-30", "2026-q2", "2026-07-01"),
        ("2026-09-30", "2026-q3", "2026-10-01"),
        ("2026-12-31", "2026-q4", "2027-01-01"),
    ];
    for (day, quarter, end) in cases {
        let found = Quarter::of(at(day));
        assert_eq!((found.to_string().as_str(), found.end()), (quarter, at(end)), "{day}");
        assert_eq!(quarter.parse::<Quarter>().unwrap(), found);
    }
    for wrong in ["2026-q0", "2026-q5", "2026-Q1", "+026-q1", "026-q1", "2026-q1 ", "1969-q1", "2026q1", ""] {
        assert!(wrong.parse::<Quarter>().is_err(), "{wrong}");
    }
}

#[test]
fn only_scopes_of_devices_are_erased() {
    let year = |stream| Scope::Stream { stream, year: 2026 };
    assert_eq!(Stream::CHAINED.map(|stream| year(stream).is_erasable()), [false; 4]);
    assert!(Scope::device(InstanceId::from_bytes([1; 16]), Timestamp(0)).is_erasable());
}
