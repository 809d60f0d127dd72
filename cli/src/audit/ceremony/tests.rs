use evidence::acts::Act;
use evidence::ids::EngagementId;
use evidence::note::{Checkpoint, VerifierKey};
use evidence::plan::{Method, Plan, PlanDay, Scope};
use evidence::time::{DAY_MS, DayLabel, Timestamp};
use evidence::trust::MadeBy;

use super::*;

const ORIGIN: &str = "evidence.example.com/log/main";

struct At(u64);

impl Clock for At {
    fn now(&self) -> Timestamp {
        Timestamp(self.0)
    }
}

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32]).unwrap()
}

fn plan_for(origin: &str) -> KnownPlan {
    let day = DayLabel::from_days_since_1970(20_000);
    let plan = Plan {
        engagement: EngagementId::from_bytes([2; 16]),
        auditor_key: *key(1).public(),
        controls: vec!["edr".parse().unwrap()],
        days: vec![PlanDay { label: day, start: day.start_utc() }],
        end: Timestamp(day.start_utc().ms() + DAY_MS),
        scope: Scope::default(),
        method: Method::Consistent,
        sample_size: 5,
        reserves: 0,
        acceptance: 0,
        risk_bp: 500,
        tolerable_bp: 500,
        expected_bp: 0,
        partial_day: false,
        replace_not_applicable: false,
        supersedes: None,
    };
    let signed = SignedAct::sign(Body::Plan(Box::new(plan)), origin, &key(8), &At(1)).unwrap();
    KnownPlan::parse(&signed.payload).unwrap()
}

fn trust() -> Trust {
    let log_key = VerifierKey::new(ORIGIN, *key(3).public()).unwrap();
    let at = |size, n| Checkpoint { origin: ORIGIN.to_owned(), size, root: Digest([n; 32]) };
    Trust {
        trust_domain: "evidence.example.com".to_owned(),
        origin: ORIGIN.to_owned(),
        witness_policy: Trust::no_witnesses(&log_key),
        log_keys: vec![log_key],
        checkpoints: vec![at(7, 7), at(9, 9), at(8, 8)],
        auditor_key: *key(1).public(),
        made_by: MadeBy::Auditor,
        accept_simulated: false,
    }
}

/// A plan and a trust file for the auditor of a key file.
pub(crate) fn write_samples(key_file: &str, plan_file: &str, trust_file: &str) {
    let secret = std::fs::read(key_file).unwrap();
    let auditor = certs::PersonKey::parse(&secret).unwrap().signing;
    let plan = Plan { auditor_key: *auditor.public(), ..plan_for(ORIGIN).plan };
    let signed = SignedAct::sign(Body::Plan(Box::new(plan)), ORIGIN, &key(8), &At(1)).unwrap();
    std::fs::write(plan_file, &signed.payload).unwrap();
    let trust = Trust { auditor_key: *auditor.public(), ..trust() };
    std::fs::write(trust_file, trust.encode()).unwrap();
}

#[test]
fn a_commitment_binds_plan_nonce_and_the_newest_pinned_checkpoint() {
    let plan = plan_for(ORIGIN);
    let signed = commitment(&plan, &[6; 32], &trust(), &key(1), &At(5)).unwrap();
    let (envelope, act) = Act::open(&signed.envelope).unwrap();
    envelope.verify(key(1).public()).unwrap();
    assert_eq!(act.common.origin, ORIGIN);
    let Body::Commitment(made) = act.body else { panic!("not a commitment") };
    assert_eq!(made.plan_hash, plan.hash);
    assert_eq!(made.checkpoint.size, 9);
    assert_eq!(
        made.commitment,
        Digest::of(&[b"evidence-draw/auditor-nonce/v1\0".as_slice(), &[6; 32]].concat())
    );
    // The nonce itself must not be in what is handed over.
    let hex = Digest([6; 32]).hex();
    assert!(!String::from_utf8(signed.payload).unwrap().contains(&hex));
}

#[test]
fn a_reveal_holds_the_nonce() {
    let plan = plan_for(ORIGIN);
    let signed = reveal(&plan, &[6; 32], &key(1), &At(5)).unwrap();
    let (envelope, act) = Act::open(&signed.envelope).unwrap();
    envelope.verify(key(1).public()).unwrap();
    assert_eq!(act.body, Body::Reveal(Reveal { plan_hash: plan.hash, nonce: Digest([6; 32]) }));
}

#[test]
fn what_the_log_would_refuse_is_refused_before_it_leaves() {
    let plan = plan_for(ORIGIN);
    commitment(&plan, &[6; 32], &trust(), &key(2), &At(5)).unwrap_err();
    reveal(&plan, &[6; 32], &key(2), &At(5)).unwrap_err();
    commitment(&plan_for("other.example/log/x"), &[6; 32], &trust(), &key(1), &At(5)).unwrap_err();
    let unpinned = Trust { checkpoints: Vec::new(), ..trust() };
    let error = commitment(&plan, &[6; 32], &unpinned, &key(1), &At(5)).unwrap_err().to_string();
    assert!(error.contains("trust pin"), "{error}");
    let others = Trust { auditor_key: *key(2).public(), ..trust() };
    commitment(&plan, &[6; 32], &others, &key(1), &At(5)).unwrap_err();
}

#[test]
fn a_nonce_is_shown_to_a_frozen_plan_only() {
    let hash = Digest([1; 32]);
    let row = |stage: &str| {
        vec![PlanRow { plan_hash: hash.as_bytes().to_vec(), stage: stage.to_owned(), ..PlanRow::default() }]
    };
    is_frozen(&hash, &row("frozen")).unwrap();
    for stage in ["planned", "committed", "revealed", "drawn", "exported", ""] {
        is_frozen(&hash, &row(stage)).unwrap_err();
    }
    is_frozen(&Digest([2; 32]), &row("frozen")).unwrap_err();
}

#[test]
fn a_nonce_file_is_64_hex_digits() {
    let hex = Digest([6; 32]).hex();
    assert_eq!(*nonce(hex.as_bytes()).unwrap(), [6; 32]);
    assert_eq!(*nonce(format!("{hex}\n").as_bytes()).unwrap(), [6; 32]);
    for bad in ["", "06", hex.trim_start_matches('0'), &hex.replace('6', "g"), &format!("{hex}\n\n")] {
        assert!(nonce(bad.as_bytes()).is_none(), "{bad:?}");
    }
}
