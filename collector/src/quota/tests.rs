use proptest::prelude::*;

use super::*;

fn device(number: u8) -> DeviceId {
    DeviceId::from_bytes([number; 16])
}

fn quotas() -> Arc<Quotas> {
    Quotas::new(&Quota::default())
}

/// Takes and gives back at once, as long as it may.
fn taken(stream: &StreamPlace, bytes: usize, now: Instant, most: u32) -> (u32, Option<Over>) {
    for count in 0..most {
        if let Err(over) = stream.take(bytes, now) {
            return (count, Some(over));
        }
    }
    (most, None)
}

#[test]
fn a_device_gets_its_burst_and_then_its_rate() {
    let quotas = quotas();
    let (begun, stream) = (Instant::now(), quotas.stream(device(1)).expect("a stream"));
    let (count, over) = taken(&stream, 1_000, begun, 10_000);
    assert_eq!(count, STATEMENTS_AT_ONCE);
    assert_eq!(over, Some(Over { cause: Cause::Statements, wait: WAIT_MIN }));
    // Whoever obeys finds a second's worth; whoever does not has lost nothing by asking.
    let (count, over) = taken(&stream, 1_000, begun + WAIT_MIN, 10_000);
    assert_eq!((count, over.map(|over| over.cause)), (STATEMENTS_PER_SECOND, Some(Cause::Statements)));
    // Another device is not concerned.
    let other = quotas.stream(device(2)).expect("a stream");
    assert_eq!(taken(&other, 1_000, begun, STATEMENTS_AT_ONCE), (STATEMENTS_AT_ONCE, None));
    // After a rest the burst is whole again, and not more.
    let (count, _) = taken(&stream, 1_000, begun + Duration::from_mins(10), 10_000);
    assert_eq!(count, STATEMENTS_AT_ONCE);
}

#[test]
fn bytes_of_a_minute_and_of_a_day_are_bounded() {
    let quotas = quotas();
    let (begun, stream) = (Instant::now(), quotas.stream(device(1)).expect("a stream"));
    let (count, over) = taken(&stream, 65_536, begun, 10_000);
    assert_eq!((count, over.map(|over| over.cause)), (5 * 16, Some(Cause::MinuteBytes)));
    // A device that sends the largest statements as fast as it may.
    let (mut now, mut bytes, mut days) = (begun, 65_536 * u64::from(count), 0);
    while now < begun + DAY {
        match stream.take(65_536, now) {
            Ok(_) => bytes += 65_536,
            Err(over) => {
                days += u32::from(over.cause == Cause::DayBytes);
                now += over.wait;
            }
        }
    }
    assert!(days > 0, "the day never refused");
    let most = 2 * u64::from(MIB_PER_DAY) * MIB;
    assert!(bytes <= most, "{bytes} bytes in a day and the rest of the one before");
    assert!(bytes >= most - MIB, "{bytes} bytes: less than it may");
}

#[test]
fn nobody_fills_the_writers_queue_nor_the_memory() {
    let quotas = Quotas::new(&Quota {
        statements_per_second: 1_000_000,
        statements_at_once: 1_000_000,
        mib_per_minute: 100_000,
        mib_per_day: 1_000_000,
    });
    let now = Instant::now();
    let stream = quotas.stream(device(1)).expect("a stream");
    let mut places: Vec<Place> = (0..SHARE_MAX).map(|_| stream.take(1, now).expect("a place")).collect();
    let over = stream.take(1, now).expect_err("its share is used up");
    assert_eq!(over, Over { cause: Cause::Share, wait: BUSY_WAIT });
    // A second stream of the same device has no share of its own.
    let second = quotas.stream(device(1)).expect("a stream");
    assert_eq!(second.take(1, now).expect_err("one share"), over);
    places.pop();
    places.push(second.take(1, now).expect("one was answered"));
    drop(places);

    // All devices together: as many bytes as may lie in memory.
    let (mut places, mut streams) = (Vec::new(), Vec::new());
    let over = 'full: loop {
        let number = u8::try_from(streams.len()).expect("memory is full before");
        let stream = quotas.stream(device(number)).expect("a stream");
        for _ in 0..SHARE_MAX {
            match stream.take(65_536, now) {
                Ok(place) => places.push(place),
                Err(over) => break 'full over,
            }
        }
        streams.push(stream);
    };
    assert_eq!(over, Over { cause: Cause::Memory, wait: BUSY_WAIT });
    assert_eq!(places.len() as u64 * 65_536, BYTES_WAITING_MAX);
    drop(places);
    assert_eq!(quotas.bytes_waiting.load(Ordering::Relaxed), 0);
    let refused = quotas.refused();
    assert_eq!(refused.map(|(_, count)| count), [0, 0, 0, 2, 1]);
}

#[test]
fn a_device_has_so_many_streams_and_accounts_are_let_go() {
    let quotas = quotas();
    let now = Instant::now();
    let streams: Vec<_> = (0..STREAMS_MAX).map(|_| quotas.stream(device(1)).expect("a stream")).collect();
    assert!(quotas.stream(device(1)).is_none());
    drop(quotas.stream(device(2)).expect("another's stream"));
    let place = streams.first().expect("a stream").take(65_536, now).expect("a place");
    drop(streams);
    let stream = quotas.stream(device(1)).expect("there is room again");
    drop(stream);
    quotas.look_after(now);
    assert_eq!(quotas.accounts().len(), 1, "one still waits for the writer");
    drop(place);
    quotas.look_after(now);
    assert_eq!(quotas.accounts().len(), 1, "and bytes are owed");
    quotas.look_after(now + DAY);
    assert_eq!(quotas.accounts().len(), 0);
}

#[test]
fn a_quota_of_nothing_is_named() {
    assert_eq!(Quota::default().zero(), None);
    assert_eq!(Quota { mib_per_day: 0, ..Quota::default() }.zero(), Some("mib_per_day"));
}

proptest! {
    /// Whatever a device sends and whenever: in no window of time more than the burst and the rate of that time.
    #[test]
    fn no_window_holds_more_than_burst_and_rate(gaps in prop::collection::vec(0_u64..400, 1..2_000)) {
        let quotas = quotas();
        let begun = Instant::now();
        let stream = quotas.stream(device(1)).expect("a stream");
        let (mut ms, mut taken) = (0, Vec::new());
        for gap in gaps {
            // Mostly in bursts.
            ms += if gap < 350 { 0 } else { gap };
            if stream.take(100, begun + Duration::from_millis(ms)).is_ok() {
                taken.push(ms);
            }
        }
        for (first, from) in taken.iter().enumerate().step_by(37) {
            for (last, to) in taken.iter().enumerate().skip(first).step_by(41) {
                let most = u64::from(STATEMENTS_AT_ONCE) + (to - from) * u64::from(STATEMENTS_PER_SECOND) / 1000 + 1;
                prop_assert!((last - first) as u64 <= most, "{} between {from} and {to}", last - first);
            }
        }
    }
}
