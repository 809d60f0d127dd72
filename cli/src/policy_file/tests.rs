//! The shipped policy, and where errors point.

use super::*;

const BASELINE: &str = include_str!("../../../docs/policies/baseline.toml");

const ACCOUNTS: &str = include_str!("../../../docs/policies/accounts.toml");

/// The baseline with one piece of text replaced, and the line that text stands on.
fn edited(from: &str, to: &str) -> (String, usize) {
    assert_eq!(BASELINE.matches(from).count(), 1, "{from:?} must occur once");
    let line = BASELINE.split(from).next().unwrap().matches('\n').count() + 1;
    (BASELINE.replace(from, to), line)
}

fn refused(from: &str, to: &str) -> (PolicyFileError, usize) {
    let (text, line) = edited(from, to);
    (parse(&text).unwrap_err(), line)
}

#[test]
fn the_baseline_has_one_rule_per_control_and_survives_the_ledger() {
    let policy = parse(BASELINE).unwrap();
    let ids: Vec<_> = policy.controls.iter().map(|control| control.id.as_str()).collect();
    assert_eq!(ids, ["disk-encryption", "edr", "os-patch", "screen-lock"]);
    for control in &policy.controls {
        assert!(!control.mapping.is_empty() && !control.remedy.is_empty() && !control.rationale.is_empty());
        assert!(!control.remedy.contains("  ") && !control.remedy.ends_with('\n'));
    }
    let bytes = policy.to_json().to_bytes();
    assert_eq!(Policy::parse(Value::parse(&bytes).unwrap()).unwrap(), policy);
}

#[test]
fn the_further_policy_shares_no_rule_with_the_baseline_and_survives_the_ledger() {
    let policy = parse(ACCOUNTS).unwrap();
    let ids: Vec<_> = policy.controls.iter().map(|control| control.id.as_str()).collect();
    assert_eq!(ids, ["local-administrators", "mdm-enrolment", "password-manager"]);
    for control in &policy.controls {
        assert!(!control.mapping.is_empty() && !control.remedy.is_empty() && !control.rationale.is_empty());
        assert!(!control.remedy.contains("  ") && !control.remedy.ends_with('\n'));
        assert!(parse(BASELINE).unwrap().controls.iter().all(|other| other.id != control.id));
    }
    let bytes = policy.to_json().to_bytes();
    assert_eq!(Policy::parse(Value::parse(&bytes).unwrap()).unwrap(), policy);
}

#[test]
fn the_order_of_controls_in_the_file_does_not_matter() {
    let header = "[[controls]]";
    let mut parts = BASELINE.split(header);
    let head = parts.next().unwrap();
    let mut controls: Vec<_> = parts.collect();
    controls.reverse();
    let reversed = format!("{head}{header}{}", controls.join(header));
    assert_ne!(reversed, BASELINE);
    assert_eq!(parse(&reversed), parse(BASELINE));
}

#[test]
fn a_mistyped_fact_is_named_with_its_line_path_and_choices() {
    let (error, line) = refused(r#"fact = "purpose""#, r#"fact = "purpos""#);
    assert_eq!(error.line, line);
    assert!(error.problem.starts_with("controls[0].condition.is.of[0].fact: "), "{error}");
    assert!(error.problem.contains("purpose, mount, filesystem, encryption"), "{error}");
}

#[test]
fn a_value_of_another_type_points_at_the_value() {
    let (error, line) =
        refused(r#"fact = "reboot_required", value = "no""#, r#"fact = "reboot_required", value = 0"#);
    assert_eq!(error.line, line);
    assert!(error.column > 30, "{error}");
    assert!(error.problem.contains("controls[2].condition.of[2].value: must be yes or no"), "{error}");
}

#[test]
fn a_boolean_is_refused_with_what_to_write() {
    let (error, line) =
        refused(r#"fact = "trusted_path", value = "yes""#, r#"fact = "trusted_path", value = true"#);
    assert_eq!((error.line, error.problem.contains("write \"yes\"")), (line, true));
}

#[test]
fn a_missing_member_points_at_its_control() {
    let (error, _) = refused("severity = \"medium\"\n", "");
    let control = BASELINE.split("id = \"screen-lock\"").next().unwrap().matches('\n').count();
    assert_eq!((error.line, error.problem.as_str()), (control, "controls[3].severity: is missing"));
}

#[test]
fn what_toml_refuses_has_its_line() {
    let (error, line) = refused("severity = \"medium\"", "severity = medium");
    assert_eq!(error.line, line);
}

#[test]
fn floats_dates_and_great_integers_are_refused() {
    for (value, problem) in [
        ("20160.5", "whole number"),
        ("2026-01-01", "date"),
        ("9007199254740992", "beyond"),
        ("-1", "must not be negative"),
    ] {
        let (error, _) = refused("minutes = 20160 }", &format!("minutes = {value} }}"));
        assert!(error.problem.contains(problem), "{value}: {error}");
    }
}

#[test]
fn a_deep_file_is_refused_and_not_followed() {
    let deep = format!("policy = \"x\"\ntitle = \"x\"\ncontrols = {}{}", "[".repeat(70), "]".repeat(70));
    assert!(parse(&deep).unwrap_err().problem.contains("nested too deeply"));
    let dotted = format!("{} = 1", vec!["a"; 70].join("."));
    assert!(parse(&dotted).is_err());
}

#[test]
fn an_unknown_member_is_refused_where_it_stands() {
    let (error, line) = refused("sla_minutes = 4320", "sla_minutes = 4320\nsla_hours = 72");
    assert_eq!(error.line, line + 1);
    assert!(error.problem.contains("sla_hours"), "{error}");
}

#[test]
fn the_rule_vectors_judge_by_the_conditions_of_the_baseline() {
    let vectors = include_bytes!("../../../evidence/testdata/rules_vectors.json");
    let Value::Object(mut vectors) = Value::parse_any(vectors).unwrap() else { panic!("an object") };
    let Some(Value::Object(mut conditions)) = vectors.remove("baseline") else { panic!("an object") };
    // The vectors also have conditions for controls that the shipped policy does not ask for.
    for control in parse(BASELINE).unwrap().controls.iter().chain(&parse(ACCOUNTS).unwrap().controls) {
        assert_eq!(conditions.remove(control.id.as_str()), Some(control.condition.to_json()));
    }
}
