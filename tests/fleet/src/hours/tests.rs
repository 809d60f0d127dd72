use super::*;

#[test]
fn people_work_by_day_and_servers_always() {
    let year = 365 * DAY;
    let begin = 20_819 * DAY;
    let server = Calendar::new(Hours::Always, 1, 1);
    assert_eq!(server.on_from(begin + 7), begin + 7);
    for device in 0..40 {
        let person = Calendar::new(Hours::Work, 1, device);
        let minutes = (begin..begin + year).step_by(15).filter(|minute| person.on_from(*minute) == *minute);
        let share = minutes.count() * 15 * 100 / usize::try_from(year).unwrap_or(usize::MAX);
        // Ten hours on some 225 days are a quarter of a year.
        assert!((18..33).contains(&share), "device {device}: {share} %");
        let longest = (begin..begin + year).step_by(60).map(|minute| person.on_from(minute) - minute).max();
        assert!(longest.is_some_and(|minutes| minutes < 25 * DAY), "device {device}: {longest:?}");
    }
}

#[test]
fn spells_come_and_go() {
    let mut seeded = Seeded::new(3);
    let mut spells = Spells::new(&mut seeded, 1_000, 10_000, 500);
    let held = (1_000..1_001_000).filter(|minute| spells.holds(*minute, &mut seeded)).count();
    // A hundred spells of 263 minutes each on average.
    assert!((15_000..40_000).contains(&held), "{held}");
}
