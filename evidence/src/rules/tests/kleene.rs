//! The laws of the logic, over all values.

use crate::rules::Truth::{self, False, True, Unknown};

const ALL: [Truth; 3] = [True, False, Unknown];

#[test]
fn and_is_the_least_and_or_the_greatest_of_false_unknown_true() {
    let rank = |truth| match truth {
        False => 0,
        Unknown => 1,
        True => 2,
    };
    for a in ALL {
        for b in ALL {
            assert_eq!(rank(a.and(b)), rank(a).min(rank(b)), "{a:?} and {b:?}");
            assert_eq!(rank(a.or(b)), rank(a).max(rank(b)), "{a:?} or {b:?}");
            assert_eq!(a.and(b).negated(), a.negated().or(b.negated()), "De Morgan");
        }
        assert_eq!(rank(a.negated()), 2 - rank(a));
        assert_eq!(a.negated().negated(), a);
    }
}

#[test]
fn knowing_less_never_decides() {
    // a is below b in information when it is unknown or equal: every operation keeps that order.
    let below = |a: Truth, b: Truth| a == Unknown || a == b;
    for (a, b) in ALL.into_iter().flat_map(|a| ALL.map(|b| (a, b))).filter(|(a, b)| below(*a, *b)) {
        assert!(below(a.negated(), b.negated()));
        for c in ALL {
            assert!(below(a.and(c), b.and(c)) && below(a.or(c), b.or(c)), "{a:?} {b:?} {c:?}");
        }
    }
}
