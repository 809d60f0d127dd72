use clap::Parser;
use evidence::keys::SecretKey;
use evidence::time::Clock;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    plan: PlanArgs,
}

struct At(u64);

impl Clock for At {
    fn now(&self) -> Timestamp {
        Timestamp(self.0)
    }
}

const SOUND: [&str; 14] = [
    "--engagement",
    "new",
    "--auditor-key",
    "auditor.pub",
    "--sample-size",
    "93",
    "--acceptance",
    "1",
    "--risk",
    "5%",
    "--tolerable",
    "5%",
    "--out",
    "plan.json",
];

/// The plan of `flags` beside sound ones, signed and read back by the rules, or why it is refused.
fn plan(flags: &[&str]) -> Result<Plan, String> {
    let line = Line::try_parse_from([&["plan"], SOUND.as_slice(), flags].concat())
        .map_err(|error| error.to_string())?;
    let key = SecretKey::from_seed(&[1; 32]).unwrap();
    let plan = line
        .plan
        .plan(*key.public(), EngagementId::from_bytes([2; 16]))
        .map_err(|error| format!("{error:#}"))?;
    let signed = SignedAct::sign(Body::Plan(Box::new(plan.clone())), "a.example/log/main", &key, &At(1))
        .map_err(|error| format!("{error:#}"))?;
    let known = KnownPlan::parse(&signed.payload).unwrap();
    assert_eq!(known.plan, plan);
    assert_eq!(known.hash, Digest::of(&signed.payload));
    assert_eq!(known.origin, "a.example/log/main");
    Ok(plan)
}

#[test]
fn flags_become_a_plan_that_the_rules_accept() {
    let plan = plan(&[
        "--control",
        "screen-lock",
        "--control",
        "disk-encryption",
        "--day",
        "2026-11-21",
        "--day",
        "2026-11-20",
        "--class",
        "server",
        "--class",
        "laptop",
        "--group",
        "berlin",
        "--reserves",
        "10",
        "--expected",
        "0.5%",
        "--replace-not-applicable",
        "--method",
        "rivest2011",
        "--supersedes",
        &"ab".repeat(32),
    ])
    .unwrap();
    let names: Vec<String> = plan.controls.iter().map(Name::to_string).collect();
    assert_eq!(names, ["disk-encryption", "screen-lock"]);
    let labels: Vec<String> = plan.days.iter().map(|day| day.label.to_string()).collect();
    assert_eq!(labels, ["2026-11-20", "2026-11-21"]);
    // 2026-11-20 and 2026-11-22 as `date -u +%s` prints them.
    assert_eq!(plan.days[0].start, Timestamp(1_795_132_800_000));
    assert_eq!(plan.end, Timestamp(1_795_305_600_000));
    assert_eq!(plan.scope.classes, [Class::Laptop, Class::Server]);
    assert_eq!(plan.method, Method::Rivest2011);
    assert_eq!((plan.sample_size, plan.reserves, plan.acceptance), (93, 10, 1));
    assert_eq!((plan.risk_bp, plan.tolerable_bp, plan.expected_bp), (500, 500, 50));
    assert!(plan.replace_not_applicable && !plan.partial_day);
    assert_eq!(plan.supersedes, Some(Digest([0xab; 32])));
}

#[test]
fn a_range_is_its_days_with_both_ends() {
    let plan = plan(&["--control", "edr", "--from", "2026-02-27", "--to", "2026-03-01"]).unwrap();
    let labels: Vec<String> = plan.days.iter().map(|day| day.label.to_string()).collect();
    assert_eq!(labels, ["2026-02-27", "2026-02-28", "2026-03-01"]);
    assert_eq!(plan.end.ms() - plan.days[0].start.ms(), 3 * DAY_MS);
}

#[test]
fn a_partial_day_ends_at_the_freeze() {
    let plan = plan(&["--control", "edr", "--day", "2026-11-22", "--partial-day"]).unwrap();
    let start = plan.days[0].start.ms();
    assert!(plan.partial_day);
    assert_eq!(plan.spans(Timestamp(start + 17))[0].end, Timestamp(start + 17));
    assert_eq!(plan.spans(Timestamp(start + 2 * DAY_MS))[0].end, Timestamp(start + DAY_MS));
}

#[test]
fn mistakes_are_named() {
    let cases: [(&[&str], &str); 10] = [
        (&["--day", "2026-11-20"], "--control"),
        (&["--control", "edr"], "--day"),
        (&["--control", "edr", "--from", "2026-11-20"], "--to"),
        (&["--control", "edr", "--from", "2026-11-20", "--to", "2026-11-19"], "lies after"),
        (&["--control", "edr", "--from", "2024-01-01", "--to", "2026-11-19"], "at most 400 days"),
        (
            &["--control", "edr", "--day", "2026-11-20", "--from", "2026-11-20", "--to", "2026-11-20"],
            "cannot be used",
        ),
        (&["--control", "edr", "--day", "2026-11-18", "--day", "2026-11-20"], "missing between"),
        (&["--control", "edr", "--day", "2026-11-20", "--day", "2026-11-20"], "given twice"),
        (&["--control", "edr", "--control", "edr", "--day", "2026-11-20"], "given twice"),
        (&["--control", "edr", "--day", "2026-11-31"], "YYYY-MM-DD"),
    ];
    for (flags, expected) in cases {
        let error = plan(flags).unwrap_err();
        assert!(error.contains(expected), "{flags:?}: {error}");
    }
}

#[test]
fn limits_of_the_format_hold_before_anything_is_signed_away() {
    let error = plan(&["--control", "edr", "--day", "2026-11-20", "--reserves", "10001"]).unwrap_err();
    assert!(error.contains("reserves at most 10000"), "{error}");
}
