//! Policies: round trips, refusals with paths, and who a control applies to.

use proptest::prelude::*;

use super::{Criterion, Policy, Severity, Strength};
use crate::ids::Class;
use crate::json::{JsonError, Value};

/// A policy with the given controls, each `(id, condition)`, over everything that the format needs.
pub(crate) fn policy(controls: &[(&str, &str)]) -> Policy {
    let controls: Vec<_> = controls.iter().map(|(id, condition)| control(id, condition)).collect();
    parse(&format!(r#"{{"controls":[{}],"policy":"p","title":"P"}}"#, controls.join(","))).unwrap()
}

fn control(id: &str, condition: &str) -> String {
    format!(
        r#"{{"classes":["laptop"],"condition":{condition},"grace_minutes":0,"groups":[],"id":"{id}","mapping":[{{"framework":"SOC 2","ref":"CC6.1","strength":"partial"}}],"max_age_minutes":60,"rationale":"because","remedy":"do","severity":"high","sla_minutes":5,"title":"T"}}"#
    )
}

const PATCHED: &str = r#"{"fact":"pending_security","op":"eq","value":0}"#;

fn parse(text: &str) -> Result<Policy, JsonError> {
    Policy::parse(Value::parse_any(text.as_bytes()).unwrap())
}

/// The path that is reported when `from` becomes `to` in a sound policy of two controls.
fn refused(from: &str, to: &str) -> String {
    let text = format!(
        r#"{{"controls":[{},{}],"policy":"p","title":"P"}}"#,
        control("edr", r#"{"is":{"fact":"running","op":"eq","value":"yes"},"list":"products","op":"some"}"#),
        control("os-patch", PATCHED)
    );
    assert!(text.contains(from), "{from}");
    assert!(parse(&text).is_ok());
    match parse(&text.replace(from, to)) {
        Err(JsonError::Member { path, .. }) => path,
        other => panic!("{from} -> {to}: {other:?}"),
    }
}

#[test]
fn a_policy_is_its_canonical_text() {
    let text = format!(r#"{{"controls":[{}],"policy":"p","title":"P"}}"#, control("os-patch", PATCHED));
    let policy = Policy::parse(Value::parse(text.as_bytes()).unwrap()).unwrap();
    assert_eq!(policy.to_json().encode(), text);
    let control = policy.control("os-patch").unwrap();
    assert_eq!((control.severity, control.max_age_minutes, control.sla_minutes), (Severity::High, 60, 5));
    let criterion = Criterion {
        framework: "SOC 2".to_owned(),
        reference: "CC6.1".to_owned(),
        strength: Strength::Partial,
    };
    assert_eq!(control.mapping, [criterion]);
    assert_eq!(policy.control("edr"), None);
}

#[test]
fn what_is_wrong_is_named_by_its_path() {
    for (from, to, path) in [
        (r#""policy":"p""#, r#""policy":"P""#, "policy"),
        (r#""policy":"p""#, r#""policy":"p","note":"x""#, "note"),
        (r#""id":"edr""#, r#""id":"firewall""#, "controls[0].id"),
        (r#""id":"edr""#, r#""id":"os-patch""#, "controls[0].condition.list"),
        (r#""value":0"#, r#""value":"0""#, "controls[1].condition.value"),
        (r#""value":"yes""#, r#""value":"true""#, "controls[0].condition.is.value"),
        (r#"["laptop"]"#, r#"["phone"]"#, "controls[0].classes"),
        (r#""groups":[]"#, r#""groups":["A"]"#, "controls[0].groups"),
        (r#""max_age_minutes":60"#, r#""max_age_minutes":0"#, "controls[0].max_age_minutes"),
        (r#""grace_minutes":0"#, r#""grace_minutes":-1"#, "controls[0].grace_minutes"),
        (r#""sla_minutes":5"#, r#""sla_minutes":"5""#, "controls[0].sla_minutes"),
        (r#""severity":"high""#, r#""severity":"urgent""#, "controls[0].severity"),
        (r#""strength":"partial""#, r#""strength":"full""#, "controls[0].mapping[0].strength"),
        (r#""ref":"CC6.1""#, r#""reference":"CC6.1""#, "controls[0].mapping[0].ref"),
        (r#""remedy":"do","#, "", "controls[0].remedy"),
        (r#""title":"T""#, r#""title":"T","weight":1"#, "controls[0].weight"),
    ] {
        assert_eq!(refused(from, to), path, "{from} -> {to}");
    }
}

#[test]
fn controls_ascend_one_each() {
    let some = r#"{"is":{"fact":"running","op":"exists"},"list":"products","op":"some"}"#;
    for controls in [
        [control("os-patch", PATCHED), control("edr", some)],
        [control("os-patch", PATCHED), control("os-patch", PATCHED)],
    ] {
        let text = format!(r#"{{"controls":[{}],"policy":"p","title":"P"}}"#, controls.join(","));
        assert!(matches!(parse(&text), Err(JsonError::Member { path, .. }) if path == "controls[1].id"));
    }
}

#[test]
fn empty_lists_of_classes_and_groups_mean_all() {
    let mut control = policy(&[("os-patch", PATCHED)]).controls.remove(0);
    let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
    assert!(control.applies_to(Class::Laptop, &a) && !control.applies_to(Class::Vm, &a));
    control.groups = vec!["b".parse().unwrap()];
    assert!(!control.applies_to(Class::Laptop, &a) && control.applies_to(Class::Laptop, &b));
    control.classes.clear();
    assert!(control.applies_to(Class::Vm, &b) && !control.applies_to(Class::Vm, &a));
}

proptest! {
    #[test]
    fn any_change_of_a_byte_is_read_strictly(at in any::<prop::sample::Index>(), byte in 0x20_u8..0x7f) {
        let text = format!(r#"{{"controls":[{}],"policy":"p","title":"P"}}"#, control("os-patch", PATCHED));
        let mut bytes = text.into_bytes();
        let position = at.index(bytes.len());
        bytes[position] = byte;
        // Whatever is still read is written as it was.
        if let Ok(value) = Value::parse(&bytes)
            && let Ok(policy) = Policy::parse(value)
        {
            prop_assert_eq!(policy.to_json().to_bytes(), bytes);
        }
    }
}
