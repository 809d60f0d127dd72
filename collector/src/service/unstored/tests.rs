use super::*;

fn full(free: u64) -> SubmitError {
    SubmitError::Full { what: format!("{free} bytes are free") }
}

#[test]
fn the_first_is_told_at_once_and_the_rest_once_per_interval() {
    let (mut line, begin) = (Line::default(), Instant::now());
    let at = |seconds| begin + Duration::from_secs(seconds);
    assert_eq!(line.due(at(0)), None, "nothing happened");
    let mut told = Vec::new();
    // Ten a second for 150 seconds.
    for tenth in 0..1_500 {
        line.count(&full(tenth));
        let now = begin + Duration::from_millis(tenth * 100);
        told.extend(line.due(now).map(|due| (tenth / 10, due.statements)));
    }
    assert_eq!(told, [(0, 1), (60, 600), (120, 600)]);
    assert_eq!(line.due(at(179)), None);
    let rest = line.due(at(180)).unwrap();
    assert_eq!(rest.statements, 299, "none is forgotten when it stops");
    assert!(rest.reason.contains("1499 bytes are free"), "the newest reason: {}", rest.reason);
    assert_eq!(line.due(at(1_000)), None);
    line.count(&full(0));
    assert_eq!(line.due(at(1_000)).map(|due| due.statements), Some(1), "at once again");
}

#[test]
fn a_full_disk_is_not_hidden_by_a_busy_moment() {
    let (unstored, now) = (Unstored::default(), Instant::now());
    unstored.count(&SubmitError::Busy, now);
    unstored.count(&SubmitError::Busy, now);
    unstored.count(&full(0), now);
    let left = |line: &Mutex<Line>| line.lock().unwrap().statements;
    assert_eq!((left(&unstored.full), left(&unstored.other)), (0, 1));
    unstored.tell(now + LINE_INTERVAL);
    assert_eq!((left(&unstored.full), left(&unstored.other)), (0, 0));
}
