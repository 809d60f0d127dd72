//! Devices over time: what holds from when, and which of two changes at one millisecond wins.

use proptest::prelude::*;

use super::*;
use crate::samples::acts::{class, device, enrolment, name, request, retire, token};
use crate::time::DAY_MS;

/// What happens to the device after its enrolment: (effective_at, received, change).
#[derive(Debug, Clone, Copy)]
enum Event {
    Class(u64, u64, Class),
    Retire(u64, u64),
}

use Event::{Class as ToClass, Retire as Out};

const ENROLLED: u64 = 100;

fn roster(events: &[Event]) -> Roster {
    let mut roster = Roster::default();
    roster.token_act(1, &token(1)).unwrap();
    let (act, tls) = (enrolment(1), Digest::of(b"tls"));
    roster.enrolment_act(1, Timestamp(ENROLLED), &act, tls, &request(&act)).unwrap();
    for (event, index) in events.iter().zip(2..) {
        match event {
            ToClass(at, received, to) => {
                roster.class_act(index, Timestamp(*received), &class(1, *to, *at)).unwrap();
            }
            Out(at, received) => roster.retire_act(index, Timestamp(*received), &retire(1, *at)).unwrap(),
        }
    }
    roster
}

/// (start, end, class) of the device; no end is `u64::MAX`.
fn spans(events: &[Event]) -> Vec<(u64, u64, Class)> {
    let roster = roster(events);
    let spans = roster.device(&device(1)).unwrap().spans();
    assert!(spans.iter().all(|span| span.group == name("office")));
    spans.into_iter().map(|span| (span.start.0, span.end.0, span.class)).collect()
}

const MAX: u64 = u64::MAX;
use Class::{Desktop, Laptop, Server};

#[test]
fn a_device_is_in_service_from_its_enrolment_on() {
    assert_eq!(spans(&[]), [(100, MAX, Laptop)]);
    let roster = roster(&[]);
    let record = roster.device(&device(1)).unwrap();
    assert_eq!(record.at(Timestamp(99)), None);
    assert_eq!(record.at(Timestamp(100)), Some((Laptop, name("office"))));
    assert_eq!(record.enrolled, Timestamp(100));
}

#[test]
fn a_change_holds_from_its_effective_time_and_never_before_its_receipt() {
    assert_eq!(spans(&[ToClass(500, 200, Desktop)]), [(100, 500, Laptop), (500, MAX, Desktop)]);
    assert_eq!(spans(&[ToClass(200, 200, Desktop)]), [(100, 200, Laptop), (200, MAX, Desktop)]);
    assert_eq!(spans(&[ToClass(50, 200, Desktop)]), [(100, 200, Laptop), (200, MAX, Desktop)]);
    assert_eq!(spans(&[Out(500, 200)]), [(100, 500, Laptop)]);
    assert_eq!(spans(&[Out(0, 200)]), [(100, 200, Laptop)]);
}

#[test]
fn at_equal_milliseconds_the_later_index_wins() {
    assert_eq!(spans(&[ToClass(100, 100, Desktop)]), [(100, MAX, Desktop)]);
    assert_eq!(
        spans(&[ToClass(300, 200, Desktop), ToClass(300, 200, Server)]),
        [(100, 300, Laptop), (300, MAX, Server)]
    );
    // The one was received early for 300, the other at 300.
    assert_eq!(
        spans(&[ToClass(300, 200, Desktop), ToClass(0, 300, Server)]),
        [(100, 300, Laptop), (300, MAX, Server)]
    );
    assert_eq!(spans(&[Out(0, 100)]), []);
    assert_eq!(spans(&[Out(300, 200), ToClass(300, 300, Server)]), [(100, 300, Laptop)]);
    assert_eq!(spans(&[ToClass(300, 200, Server), Out(300, 300)]), [(100, 300, Laptop)]);
}

#[test]
fn changes_hold_in_the_order_of_time_whatever_the_order_of_entries() {
    assert_eq!(
        spans(&[ToClass(500, 200, Desktop), ToClass(400, 210, Server)]),
        [(100, 400, Laptop), (400, 500, Server), (500, MAX, Desktop)]
    );
}

#[test]
fn the_first_retirement_counts_and_nothing_follows_it() {
    assert_eq!(spans(&[Out(500, 200), Out(300, 250)]), [(100, 300, Laptop)]);
    assert_eq!(spans(&[Out(300, 200), Out(500, 250)]), [(100, 300, Laptop)]);
    assert_eq!(spans(&[Out(300, 200), ToClass(400, 400, Server)]), [(100, 300, Laptop)]);
    // A class that was to come after the retirement never comes, whichever entry came first.
    assert_eq!(spans(&[ToClass(400, 150, Server), Out(300, 200)]), [(100, 300, Laptop)]);
    let retired = roster(&[ToClass(200, 150, Desktop), Out(300, 200)]);
    let record = retired.device(&device(1)).unwrap();
    assert_eq!(record.at(Timestamp(299)), Some((Desktop, name("office"))));
    assert_eq!(record.at(Timestamp(300)), None);
    assert_eq!(record.last_known(), Some((Desktop, name("office"))));
    assert_eq!(roster(&[Out(0, 100)]).device(&device(1)).unwrap().last_known(), None);
}

#[test]
fn a_span_within_an_interval_shares_a_moment_with_it() {
    let roster = roster(&[ToClass(200, 150, Desktop), Out(300, 250)]);
    let record = roster.device(&device(1)).unwrap();
    let within = |start, end| -> Vec<Class> {
        record.spans_within(Timestamp(start), Timestamp(end)).iter().map(|span| span.class).collect()
    };
    assert_eq!(within(0, 100), []);
    assert_eq!(within(0, 101), [Laptop]);
    assert_eq!(within(199, 201), [Laptop, Desktop]);
    assert_eq!(within(200, 201), [Desktop]);
    assert_eq!(within(299, 400), [Desktop]);
    assert_eq!(within(300, 400), []);
    assert_eq!(within(150, 150), []);
    assert_eq!(within(160, 150), []);
}

#[test]
fn a_day_of_service_is_a_day_with_a_moment_of_it() {
    let mut roster = Roster::default();
    roster.token_act(1, &token(1)).unwrap();
    roster
        .enrolment_act(1, Timestamp(2 * DAY_MS - 1), &enrolment(1), Digest::of(b"tls"), &Digest::ZERO)
        .unwrap();
    roster.retire_act(2, Timestamp(2 * DAY_MS), &retire(1, 3 * DAY_MS)).unwrap();
    let days: Vec<bool> =
        (0..5).map(|day| roster.in_service_on(&device(1), DayLabel::from_days_since_1970(day))).collect();
    assert_eq!(days, [false, true, true, false, false]);
    assert!(!roster.in_service_on(&device(2), DayLabel::from_days_since_1970(1)));
}

#[test]
fn a_token_is_good_once_and_until_it_expires() {
    let mut roster = Roster::default();
    let hash = token(1).token_hash;
    let expires = token(1).expires_at;
    assert_eq!(roster.check_token(&hash, Timestamp(0)), Err(RosterError::TokenUnknown));
    roster.token_act(1, &token(1)).unwrap();
    assert_eq!(roster.token_act(1, &token(1)), Err(RosterError::TokenTwice));
    assert_eq!(roster.check_token(&hash, Timestamp(expires.0 - 1)), Ok(&token(1)));
    assert_eq!(roster.check_token(&hash, expires), Err(RosterError::TokenExpired(expires)));
    let before = roster.clone();
    let late = roster.enrolment_act(1, expires, &enrolment(1), Digest::of(b"tls"), &Digest::ZERO);
    assert_eq!((late, &roster), (Err(RosterError::TokenExpired(expires)), &before));
    roster
        .enrolment_act(1, Timestamp(expires.0 - 1), &enrolment(1), Digest::of(b"tls"), &Digest::ZERO)
        .unwrap();
    assert_eq!(roster.check_token(&hash, Timestamp(0)), Err(RosterError::TokenUsed(device(1))));
    assert_eq!(roster.token(&hash).unwrap().used_by, [device(1)]);
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    // Few moments, so that many of them are equal.
    let event = (90..112_u64, 0..4_u64, 0..4_u8).prop_map(|(at, wait, kind)| (at, wait, kind));
    prop::collection::vec(event, 0..7).prop_map(|rows| {
        let mut received = ENROLLED;
        rows.into_iter()
            .map(|(at, wait, kind)| {
                received += wait;
                match kind {
                    0 => Out(at, received),
                    1 => ToClass(at, received, Laptop),
                    2 => ToClass(at, received, Desktop),
                    _ => ToClass(at, received, Server),
                }
            })
            .collect()
    })
}

/// The class at a moment, by the words of the format.
fn by_the_format(events: &[Event], moment: u64) -> Option<Class> {
    let mut effective: Vec<(u64, usize, Option<Class>)> = vec![(ENROLLED, 0, Some(Laptop))];
    for (event, index) in events.iter().zip(1..) {
        effective.push(match *event {
            ToClass(at, received, to) => (at.max(received), index, Some(to)),
            Out(at, received) => (at.max(received), index, None),
        });
    }
    effective.retain(|(at, _, _)| *at <= moment);
    effective.sort_by_key(|(at, index, _)| (*at, *index));
    if effective.iter().any(|(_, _, class)| class.is_none()) {
        return None;
    }
    effective.last().and_then(|(_, _, class)| *class)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn spans_say_what_holds_at_every_moment(events in events()) {
        let roster = roster(&events);
        let record = roster.device(&device(1)).unwrap();
        let spans = record.spans();
        for pair in spans.windows(2) {
            prop_assert!(pair[0].end <= pair[1].start);
        }
        prop_assert!(spans.iter().all(|span| span.start < span.end && span.start.0 >= ENROLLED));
        for moment in 85..130 {
            prop_assert_eq!(
                record.at(Timestamp(moment)).map(|(class, _)| class),
                by_the_format(&events, moment),
                "at {}", moment
            );
        }
    }

    #[test]
    fn an_entry_changes_nothing_before_its_receipt(events in events()) {
        let (Some(last), earlier) = (events.last(), roster(&events[..events.len().saturating_sub(1)])) else {
            return Ok(());
        };
        let (ToClass(_, received, _) | Out(_, received)) = *last;
        let (before, after) = (earlier, roster(&events));
        for moment in 85..received {
            prop_assert_eq!(
                before.device(&device(1)).unwrap().at(Timestamp(moment)),
                after.device(&device(1)).unwrap().at(Timestamp(moment))
            );
        }
    }
}
