//! Taking information away never decides anything.
//!
//! What holds, for every condition that can be read, `not` and `exists` included: let g be the facts f after
//! any number of these: an optional fact or an enum is absent; a text is emptied; rows of a list that has a
//! truncated flag are dropped and the flag is set; the whole observation has no facts. Then the value over g
//! is the value over f or unknown. So no pass and no deviation is ever made by losing facts. What does not
//! hold, and why the format says otherwise: rows dropped without the flag can change a value (the probes must
//! set it), and a plain integer has no absent form (`leaves` is 0, not unknown).

use proptest::prelude::*;
use proptest::sample::Index;

use super::vectors::baseline;
use crate::facts::tests::messages as observed;
use crate::facts::{self, Facts, Kind, Schema};
use crate::rules::{Comparison, Condition, Literal, Truth};

/// A minute around which the facts of these tests lie.
pub(super) const MINUTE: u64 = 29_000_000;

pub(super) fn any_control() -> impl Strategy<Value = &'static str> {
    prop::sample::select(facts::CONTROLS.to_vec())
}

/// Any condition over a control's facts, of moderate size.
pub(super) fn any_condition(control: &str) -> BoxedStrategy<Condition> {
    over(facts::schema(control).unwrap(), 3)
}

fn over(schema: &'static Schema, depth: u32) -> BoxedStrategy<Condition> {
    let mut leaves: Vec<BoxedStrategy<Condition>> = Vec::new();
    for field in schema.fields {
        leaves.push(match &field.kind {
            Kind::List { item, .. } => (over(item, depth.saturating_sub(1)), any::<bool>())
                .prop_map(|(is, every)| {
                    let (list, is) = (field.name.to_owned(), Box::new(is));
                    if every { Condition::Every { list, is } } else { Condition::Some { list, is } }
                })
                .boxed(),
            kind => leaf(field.name, kind),
        });
    }
    let leaf = prop::strategy::Union::new(leaves);
    if depth == 0 {
        return leaf.boxed();
    }
    leaf.prop_recursive(depth, 12, 3, |inner| {
        let of = prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            of.clone().prop_map(Condition::All),
            of.prop_map(Condition::Any),
            inner.prop_map(|condition| Condition::Not(Box::new(condition))),
        ]
    })
    .prop_filter("depth", |condition| levels(condition) <= crate::rules::DEPTH_MAX)
    .boxed()
}

fn levels(condition: &Condition) -> usize {
    1 + match condition {
        Condition::All(of) | Condition::Any(of) => of.iter().map(levels).max().unwrap_or(0),
        Condition::Not(of) => levels(of),
        Condition::Every { is, .. } | Condition::Some { is, .. } => levels(is),
        _ => 0,
    }
}

fn literal(kind: &Kind) -> BoxedStrategy<Literal> {
    let word = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        prop::sample::select(words).prop_map(Literal::Text).boxed()
    };
    match kind {
        Kind::Integer => {
            prop_oneof![-1_i64..4, 28_999_990_i64..29_000_010].prop_map(Literal::Integer).boxed()
        }
        Kind::Flag => word(&["yes", "no"]),
        Kind::Choice(names) => word(names),
        Kind::Text | Kind::List { .. } => word(observed::TEXTS),
    }
}

fn leaf(name: &'static str, kind: &'static Kind) -> BoxedStrategy<Condition> {
    let fact = name.to_owned();
    let ordered = matches!(kind, Kind::Integer);
    let comparison = if ordered {
        vec![Comparison::Eq, Comparison::Ne, Comparison::Lt, Comparison::Le, Comparison::Gt, Comparison::Ge]
    } else {
        vec![Comparison::Eq, Comparison::Ne]
    };
    let (a, b) = (fact.clone(), fact.clone());
    let compare = (prop::sample::select(comparison), literal(kind))
        .prop_map(move |(comparison, value)| Condition::Compare { comparison, fact: a.clone(), value });
    let within = prop::collection::vec(literal(kind), 1..4)
        .prop_map(move |values| Condition::In { fact: b.clone(), values });
    let exists = Just(Condition::Exists { fact: fact.clone() });
    let special = match kind {
        Kind::Integer => {
            (0_u64..10).prop_map(move |minutes| Condition::AgeAtMost { fact: fact.clone(), minutes }).boxed()
        }
        Kind::Text => prop::sample::select(vec!["0", "1", "12", "12.4"])
            .prop_map(move |value| Condition::VersionAtLeast { fact: fact.clone(), value: value.to_owned() })
            .boxed(),
        _ => exists.clone().boxed(),
    };
    prop_oneof![compare, within, exists, special].boxed()
}

fn value(condition: &Condition, message: &proto::Facts) -> Truth {
    condition.evaluate(&Facts::of(message), MINUTE)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(768))]

    #[test]
    fn losing_facts_never_decides_any_condition(
        (condition, message) in any_control()
            .prop_flat_map(|control| (any_condition(control), observed::any_facts(control))),
        losses in prop::collection::vec(any::<Index>(), 1..6),
    ) {
        let before = value(&condition, &message);
        let mut poorer = message;
        for loss in losses {
            observed::lose(&mut poorer, loss);
            let after = value(&condition, &poorer);
            prop_assert!(after == before || after == Truth::Unknown, "{:?} became {:?}", before, after);
        }
    }

    #[test]
    fn losing_facts_never_passes_the_baseline(
        (control, message) in any_control().prop_flat_map(|c| (Just(c), observed::any_facts(c))),
        loss in any::<Index>(),
    ) {
        let condition = baseline(control);
        let before = value(&condition, &message);
        let mut poorer = message;
        observed::lose(&mut poorer, loss);
        let after = value(&condition, &poorer);
        prop_assert!(after != Truth::True || before == Truth::True);
        prop_assert_eq!(value(&condition, &proto::Facts { control: None }), Truth::Unknown);
    }

    #[test]
    fn what_decided_alone_decides(
        (condition, message) in any_control()
            .prop_flat_map(|control| (any_condition(control), observed::any_facts(control))),
    ) {
        let facts = Facts::of(&message);
        let explanation = condition.explain(&facts, MINUTE);
        prop_assert_eq!(explanation.truth, condition.evaluate(&facts, MINUTE));
        prop_assert!(!explanation.causes.is_empty());
        prop_assert!(!explanation.line(&facts, MINUTE).contains('\n'));
        if !explanation.cut {
            let alone = observed::only(&facts, &explanation.causes);
            prop_assert_eq!(condition.evaluate(&alone, MINUTE), explanation.truth);
        }
    }
}

#[test]
fn the_baseline_can_pass_so_that_the_properties_are_not_empty() {
    let passes = facts::CONTROLS
        .into_iter()
        .filter(|control| {
            let mut runner = proptest::test_runner::TestRunner::deterministic();
            let strategy = observed::any_facts(control);
            (0..4_000).any(|_| {
                let message = strategy.new_tree(&mut runner).unwrap().current();
                value(&baseline(control), &message) == Truth::True
            })
        })
        .count();
    assert_eq!(passes, facts::CONTROLS.len());
}
