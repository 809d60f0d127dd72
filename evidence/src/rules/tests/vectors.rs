//! The vectors that every verifier must agree on: evidence/testdata/rules_vectors.json.

use std::collections::BTreeSet;

use crate::facts::{self, Facts};
use crate::json::{JsonError, Members, Value};
use crate::rules::Condition;
use prost::Message as _;

const VECTORS: &str = include_str!("../../../testdata/rules_vectors.json");

fn rows(member: &str) -> Vec<Members> {
    Members::of(Value::parse_any(VECTORS.as_bytes()).unwrap(), "").unwrap().objects(member).unwrap()
}

#[test]
fn every_case_has_its_value() {
    let mut names = BTreeSet::new();
    for mut case in rows("cases") {
        let name = case.text("name").unwrap();
        let control = case.text("control").unwrap();
        let schema = facts::schema(&control).unwrap();
        let minute = case.count("minute").unwrap();
        let facts = Facts::from_json(schema, &case.value("facts").unwrap())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let condition = Condition::parse(case.value("condition").unwrap(), "condition", schema)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let expected = case.text("expected").unwrap();
        case.finish().unwrap();
        assert_eq!(condition.evaluate(&facts, minute).as_str(), expected, "{name}");
        let explanation = condition.explain(&facts, minute);
        assert_eq!(explanation.truth.as_str(), expected, "{name}");
        assert!(!explanation.causes.is_empty(), "{name}: something decided");
        assert!(!explanation.line(&facts, minute).is_empty(), "{name}");
        assert!(names.insert(name), "names are unique");
    }
    assert!(names.len() >= 120, "{}", names.len());
    assert!(names.iter().filter(|name| name.starts_with("peer ")).count() >= 25);
}

#[test]
fn every_refused_condition_is_refused_at_its_path() {
    let rows = rows("refused");
    assert!(rows.len() >= 40);
    for mut row in rows {
        let name = row.text("name").unwrap();
        let schema = facts::schema(&row.text("control").unwrap()).unwrap();
        let at = row.text("path").unwrap();
        let path = if at.is_empty() { "c".to_owned() } else { format!("c.{at}") };
        match Condition::parse(row.value("condition").unwrap(), "c", schema) {
            Err(JsonError::Member { path: found, .. }) => assert_eq!(found, path, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn every_message_has_its_facts() {
    let mut controls = BTreeSet::new();
    for mut row in rows("messages") {
        let name = row.text("name").unwrap();
        let control = row.text("control").unwrap();
        let bytes = data_encoding::HEXLOWER.decode(row.text("protobuf").unwrap().as_bytes()).unwrap();
        let message = proto::Facts::decode(bytes.as_slice()).unwrap();
        assert_eq!(message.encode_to_vec(), bytes, "{name} is canonical");
        assert_eq!(facts::control_of(&message), Some(control.as_str()), "{name}");
        let schema = facts::schema(&control).unwrap();
        let expected = Facts::from_json(schema, &row.value("facts").unwrap()).unwrap();
        assert_eq!(Facts::of(&message), expected, "{name}");
        controls.insert(control);
    }
    assert_eq!(controls.len(), facts::CONTROLS.len());
}

#[test]
fn baseline_conditions_are_sound() {
    let mut baseline =
        Members::of(Value::parse_any(VECTORS.as_bytes()).unwrap(), "").unwrap().object("baseline").unwrap();
    for control in facts::CONTROLS {
        let condition = baseline.value(control).unwrap();
        let parsed = Condition::parse(condition.clone(), control, facts::schema(control).unwrap()).unwrap();
        assert_eq!(parsed.to_json(), condition);
    }
    baseline.finish().unwrap();
}

/// The baseline condition of a control, for the property tests.
pub(super) fn baseline(control: &str) -> Condition {
    let mut baseline =
        Members::of(Value::parse_any(VECTORS.as_bytes()).unwrap(), "").unwrap().object("baseline").unwrap();
    Condition::parse(baseline.value(control).unwrap(), control, facts::schema(control).unwrap()).unwrap()
}
