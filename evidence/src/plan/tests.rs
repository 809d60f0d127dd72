//! Plans: what is refused and for which member, the limits themselves, and the days.

use super::*;
use crate::samples::acts::{Log, NONCE, START, name, plan};
use crate::time::DAY_MS;

fn payload(plan: Plan) -> Vec<u8> {
    let mut log = Log::begun();
    log.add(Body::Plan(Box::new(plan)), "analyst").unwrap().encode()
}

fn reread(plan: &Plan) -> Result<Plan, String> {
    let act = Act {
        common: Act::parse(&payload(self::plan())).unwrap().common,
        body: Body::Plan(Box::new(plan.clone())),
    };
    match Plan::open(&act.encode()) {
        Ok((plan, hash)) => {
            assert_eq!(hash, Digest::of(&act.encode()));
            Ok(plan)
        }
        Err(ActError::Json(JsonError::Member { path, .. })) => Err(path),
        Err(error) => panic!("{error}"),
    }
}

fn days(count: u64) -> Vec<PlanDay> {
    (0..count)
        .map(|number| PlanDay {
            label: DayLabel::from_days_since_1970(START / DAY_MS + number),
            start: Timestamp(START + number * DAY_MS),
        })
        .collect()
}

fn controls(count: usize) -> Vec<Name> {
    (0..count).map(|number| name(&format!("c{number:03}"))).collect()
}

#[test]
fn plans_outside_the_limits_are_refused_for_the_member() {
    let end = Timestamp(START + 500 * DAY_MS);
    let swapped = vec![days(2)[1], days(2)[0]];
    let same_start = vec![days(2)[0], PlanDay { start: days(2)[0].start, ..days(2)[1] }];
    for (member, plan) in [
        ("controls", Plan { controls: vec![], ..plan() }),
        ("controls", Plan { controls: controls(65), ..plan() }),
        ("controls", Plan { controls: vec![name("os-patch"), name("edr")], ..plan() }),
        ("controls", Plan { controls: vec![name("edr"), name("edr")], ..plan() }),
        ("days", Plan { days: vec![], ..plan() }),
        ("days", Plan { days: days(401), end, ..plan() }),
        ("days", Plan { days: swapped, ..plan() }),
        ("days", Plan { days: same_start, ..plan() }),
        ("days", Plan { days: vec![days(1)[0], days(1)[0]], ..plan() }),
        ("end", Plan { end: days(2)[1].start, ..plan() }),
        ("end", Plan { end: Timestamp(0), ..plan() }),
        ("sample_size", Plan { sample_size: 0, acceptance: 0, ..plan() }),
        ("sample_size", Plan { sample_size: 10_001, ..plan() }),
        ("sample_size", Plan { reserves: 10_001, ..plan() }),
        ("acceptance", Plan { acceptance: 21, ..plan() }),
        ("risk_bp", Plan { risk_bp: 0, ..plan() }),
        ("risk_bp", Plan { risk_bp: 10_000, ..plan() }),
        ("tolerable_bp", Plan { tolerable_bp: 0, ..plan() }),
        ("tolerable_bp", Plan { tolerable_bp: 10_000, ..plan() }),
        ("tolerable_bp", Plan { expected_bp: 10_000, ..plan() }),
    ] {
        assert_eq!(reread(&plan), Err(member.to_owned()), "{plan:?}");
    }
}

#[test]
fn plans_at_the_limits_come_back() {
    for plan in [
        plan(),
        Plan { controls: controls(64), ..plan() },
        Plan { controls: controls(1), ..plan() },
        Plan { days: days(400), end: Timestamp(START + 400 * DAY_MS), ..plan() },
        Plan { days: days(1), end: Timestamp(START + 1), ..plan() },
        Plan { sample_size: 1, acceptance: 1, reserves: 0, ..plan() },
        Plan { sample_size: 10_000, acceptance: 10_000, reserves: 10_000, ..plan() },
        Plan { risk_bp: 1, tolerable_bp: 1, expected_bp: 9_999, ..plan() },
        Plan { risk_bp: 9_999, tolerable_bp: 9_999, expected_bp: 0, ..plan() },
        Plan { method: Method::Rivest2011, partial_day: false, replace_not_applicable: false, ..plan() },
        Plan { scope: Scope::default(), supersedes: None, ..plan() },
    ] {
        assert_eq!(reread(&plan).as_ref(), Ok(&plan));
    }
}

#[test]
fn words_of_later_releases_are_refused() {
    let sound = String::from_utf8(payload(plan())).unwrap();
    for (from, to, member) in [
        (r#""unit":"device-day""#, r#""unit":"device""#, "unit"),
        (r#""beacon":"none""#, r#""beacon":"drand""#, "beacon"),
        (r#""strata":[]"#, r#""strata":[1]"#, "strata"),
        (r#""method":"consistent""#, r#""method":"random""#, "method"),
        (r#""label":"2026-06-02""#, r#""label":"2026-06-31""#, "days[1].label"),
        (r#""classes":["laptop"]"#, r#""classes":["toaster"]"#, "scope.classes"),
    ] {
        assert!(sound.contains(from), "{from} is not in {sound}");
        match Plan::open(sound.replacen(from, to, 1).as_bytes()) {
            Err(ActError::Json(JsonError::Member { path, .. })) => assert_eq!(path, member),
            other => panic!("{to}: {other:?}"),
        }
    }
}

#[test]
fn another_act_is_no_plan() {
    let mut log = Log::begun();
    let policy = log.add(Body::Policy(crate::samples::acts::policy()), "analyst").unwrap().encode();
    assert_eq!(Plan::open(&policy), Err(ActError::Unknown("policy".into())));
    assert!(Plan::open(b"{}").is_err());
}

#[test]
fn days_end_where_the_next_begins_and_the_last_at_the_end_or_the_freeze() {
    let whole = Plan { partial_day: false, ..plan() };
    let ends = |plan: &Plan, freeze: u64| -> Vec<u64> {
        plan.spans(Timestamp(freeze)).iter().map(|span| span.end.0 - START).collect()
    };
    assert_eq!(ends(&whole, 0), [DAY_MS, 2 * DAY_MS]);
    assert_eq!(ends(&plan(), START + DAY_MS + 5), [DAY_MS, DAY_MS + 5]);
    assert_eq!(ends(&plan(), START + 9 * DAY_MS), [DAY_MS, 2 * DAY_MS]);
    // A hole between labels belongs to the day before it: days follow each other without one.
    let hole = Plan { days: vec![days(4)[0], days(4)[3]], end: Timestamp(START + 4 * DAY_MS), ..whole };
    assert_eq!(ends(&hole, 0), [3 * DAY_MS, 4 * DAY_MS]);
}

#[test]
fn the_draw_depends_on_everything_public_and_takes_no_more_than_there_is() {
    let units = b"d-a/2026-06-01/edr\nd-b/2026-06-01/edr\nd-c/2026-06-01/edr\n";
    let population = Population::parse(units).unwrap();
    let (hash, control) = (Digest::of(b"plan"), name("edr"));
    let plan = Plan { sample_size: 2, reserves: 5, acceptance: 0, ..plan() };
    let draw = |hash: &Digest, nonce: &Digest| plan.draw(hash, &control, &population, nonce);
    let record = draw(&hash, &NONCE);
    assert_eq!((record.draw.selected.len(), record.draw.reserves.len()), (2, 1));
    assert_eq!(record.bytes(), draw(&hash, &NONCE).bytes());
    assert_ne!(record.seed.digest(), draw(&Digest::of(b"other"), &NONCE).seed.digest());
    assert_ne!(record.seed.digest(), draw(&hash, &Digest::of(b"other")).seed.digest());
}

#[test]
fn an_empty_list_of_the_scope_means_all() {
    let (office, field) = (name("office"), name("field"));
    let all = Scope::default();
    assert!(Class::ALL.iter().all(|class| all.holds(*class, &office)));
    let some = Scope { classes: vec![Class::Laptop], groups: vec![office.clone()] };
    assert!(some.holds(Class::Laptop, &office));
    assert!(!some.holds(Class::Laptop, &field) && !some.holds(Class::Server, &office));
}
