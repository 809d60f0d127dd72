use evidence::json::Value;
use evidence::statement::Attestation;
use evidence::time::MINUTE_MS;
use proto::observation::Outcome;

use super::*;

/// A minute of these tests: 2026-11-22T00:00Z.
const MINUTE: u64 = 20_779 * 1440;

fn policy(condition: &str) -> Policy {
    let text = format!(
        r#"{{"controls":[{{"classes":[],"condition":{condition},"grace_minutes":30,"groups":[],"id":"os-patch","mapping":[],"max_age_minutes":60,"rationale":"r","remedy":"do","severity":"high","sla_minutes":5,"title":"T"}}],"policy":"p","title":"P"}}"#
    );
    Policy::parse(Value::parse_any(text.as_bytes()).unwrap()).unwrap()
}

/// Nothing may be pending.
fn strict() -> Policy {
    policy(r#"{"fact":"pending_security","op":"eq","value":0}"#)
}

/// Nine may be pending.
fn lenient() -> Policy {
    policy(r#"{"fact":"pending_security","op":"lt","value":10}"#)
}

/// A statement with so many patches pending; none: it could not look.
fn attestation(minute: u64, pending: Option<u32>) -> Attestation {
    let patch = |pending| proto::OsPatch {
        os: "debian".into(),
        pending_security: Some(pending),
        ..Default::default()
    };
    let outcome = match pending {
        Some(pending) => {
            Outcome::Observed(proto::Facts { control: Some(proto::facts::Control::OsPatch(patch(pending))) })
        }
        None => Outcome::Unavailable(proto::Unavailable {
            reason: proto::Reason::Timeout.into(),
            question: String::new(),
        }),
    };
    let observation = proto::Observation {
        control: "os-patch".into(),
        probe_version: 1,
        kept_minutes: None,
        outcome: Some(outcome),
    };
    let fields = proto::Attestation {
        wall_minutes: MINUTE + minute,
        observations: vec![observation],
        ..Default::default()
    };
    Attestation { device: DeviceId::from_bytes([7; 16]), fields }
}

/// In which minute the deviation began: statements of one minute each, oldest first, each with its policy. The policy in
/// force came in minute 100, the device's class in minute `span`.
fn beginning(statements: &[(Option<u32>, Option<&Policy>)], span: u64) -> u64 {
    let at = |minute: u64| Timestamp((MINUTE + minute) * MINUTE_MS);
    let id: Name = "os-patch".parse().unwrap();
    let mut beginnings = Beginnings::of(std::iter::once(&id), at(100), at(span));
    let numbered: Vec<_> = (0_u64..).zip(statements).collect();
    for (minute, (pending, policy)) in numbered.into_iter().rev() {
        let attestation = attestation(minute, *pending);
        let received = Timestamp(at(minute).ms() + 5);
        beginnings.take(&Sighting { index: minute, received, attestation: &attestation }, *policy);
        if beginnings.are_found() {
            break;
        }
    }
    beginnings.end()[&id].minutes() - MINUTE
}

#[test]
fn a_deviation_began_with_the_first_of_its_unbroken_run() {
    let rules = strict();
    let rules = Some(&rules);
    let run = |pending: &[Option<u32>]| {
        let statements: Vec<_> = pending.iter().map(|pending| (*pending, rules)).collect();
        beginning(&statements, 0)
    };
    assert_eq!(run(&[Some(0), Some(1), Some(2), Some(1)]), 1);
    assert_eq!(run(&[Some(1), Some(0), Some(1)]), 2);
    // Whoever stops the look gets no more time: not to know ends nothing.
    assert_eq!(run(&[Some(0), Some(1), None, Some(1)]), 1);
    assert_eq!(run(&[Some(0), None, None, Some(1)]), 3, "what was not known is no deviation");
    assert_eq!(run(&[Some(1), Some(1)]), 0, "as old as what was read");
}

#[test]
fn no_one_is_late_by_a_rule_that_was_not_there() {
    let (strict, lenient) = (strict(), lenient());
    let (old, new) = (Some(&lenient), Some(&strict));
    // Met under the rule of then: it deviates since the newer one came, or since the first statement under it.
    assert_eq!(beginning(&[(Some(5), old), (Some(5), old)], 0), 100);
    assert_eq!(beginning(&[(Some(5), old), (Some(5), new), (Some(5), new)], 0), 1);
    // Not met under both: a new version of the policy gives no more time.
    assert_eq!(beginning(&[(Some(0), old), (Some(50), old), (Some(50), new)], 0), 1);
    // Before there was a policy nothing was asked; and a rule that applies by a change of class applies from then.
    assert_eq!(beginning(&[(Some(50), None), (Some(50), new)], 0), 1);
    assert_eq!(beginning(&[(Some(50), new), (Some(50), new)], 40), 40);
}

#[test]
fn the_time_to_remedy_is_the_controls_own_else_its_grace() {
    let mut rule = strict().controls.pop().unwrap();
    assert_eq!(limit(&rule), Some(5));
    rule.sla_minutes = 0;
    assert_eq!(limit(&rule), Some(30));
    rule.grace_minutes = 0;
    assert_eq!(limit(&rule), None);
}
