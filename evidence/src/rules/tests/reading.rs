//! Round trips, errors for people, and arbitrary input.

use proptest::prelude::*;

use super::monotone::{any_condition, any_control};
use crate::facts;
use crate::json::{JsonError, Value, object, text};
use crate::rules::Condition;

fn problem(control: &str, condition: Value) -> String {
    let error = Condition::parse(condition, "controls[2].condition", facts::schema(control).unwrap());
    error.unwrap_err().to_string()
}

#[test]
fn an_unknown_fact_is_answered_with_the_facts_there_are() {
    let error = problem(
        "os-patch",
        object([
            ("op", text("all")),
            ("of", Value::Array(vec![object([("op", text("exists")), ("fact", text("pending"))])])),
        ]),
    );
    assert!(
        error.starts_with("controls[2].condition.of[0].fact: \"pending\" is no fact of os-patch"),
        "{error}"
    );
    assert!(error.contains("pending_security"), "{error}");
}

#[test]
fn a_value_of_another_kind_is_answered_with_kind_and_meaning() {
    let eq = object([("op", text("eq")), ("fact", text("reboot_required")), ("value", Value::Integer(0))]);
    assert_eq!(
        problem("os-patch", eq),
        "controls[2].condition.value: must be yes or no: reboot_required is an installed update waits for a restart"
    );
}

#[test]
fn a_list_asked_for_as_a_fact_is_answered_with_every_and_some() {
    let exists = object([("op", text("exists")), ("fact", text("volumes"))]);
    assert!(problem("disk-encryption", exists).contains("with every or some"));
}

/// JSON of the shapes that conditions have, mostly wrong.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "op",
        "of",
        "fact",
        "value",
        "values",
        "list",
        "is",
        "minutes",
        "all",
        "any",
        "not",
        "eq",
        "in",
        "every",
        "some",
        "exists",
        "age_at_most",
        "version_at_least",
        "os",
        "volumes",
        "layers",
        "encryption",
        ".",
        "full",
        "yes",
        "1.2",
        "",
    ]);
    let leaf = prop_oneof![
        word.clone().prop_map(text),
        any::<i32>().prop_map(|n| Value::Integer(n.into())),
        any::<String>().prop_map(Value::String),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::btree_map(word.clone().prop_map(str::to_owned), inner, 0..5)
                .prop_map(Value::Object),
        ]
    })
}

proptest! {
    #[test]
    fn any_sound_condition_survives_writing_and_reading(
        (control, condition) in any_control().prop_flat_map(|c| (Just(c), any_condition(c)))
    ) {
        let bytes = condition.to_json().to_bytes();
        let read = Condition::parse(Value::parse(&bytes).unwrap(), "c", facts::schema(control).unwrap());
        prop_assert_eq!(read, Ok(condition));
    }

    #[test]
    fn arbitrary_json_is_read_or_refused_with_a_path(json in any_json(), control in any_control()) {
        match Condition::parse(json.clone(), "c", facts::schema(control).unwrap()) {
            Ok(condition) => prop_assert_eq!(condition.to_json(), json),
            Err(JsonError::Member { path, .. }) => prop_assert!(path.starts_with('c')),
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    #[test]
    fn arbitrary_json_is_facts_or_refused(json in any_json(), control in any_control()) {
        let schema = facts::schema(control).unwrap();
        if let Ok(read) = facts::Facts::from_json(schema, &json) {
            prop_assert_eq!(facts::Facts::from_json(schema, &read.to_json(schema)), Ok(read));
        }
    }
}
