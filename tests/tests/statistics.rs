//! Sample sizes, upper limits and draws against every vector of the audit methodology.
//!
//! The file of vectors is named by `TALLYSTICK_AUDIT_VECTORS`; without it these tests fail. It holds the
//! AICPA Audit Guide's tables as exact rationals give them, AuditSampler's hypergeometric sizes,
//! Rivest's transcripts of both samplers, and one golden draw.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::num::NonZeroU64;

use evidence::draw::{self, Draw, Method, Population, Seed};
use evidence::ids::Digest;
use evidence::stats::{self, SAMPLE_SIZE_MAX, SampleSize};
use serde_json::Value;

const VARIABLE: &str = "TALLYSTICK_AUDIT_VECTORS";

/// The part of the vectors under a JSON pointer.
fn vectors(pointer: &str) -> Value {
    let Some(path) = std::env::var_os(VARIABLE) else {
        panic!("set {VARIABLE} to the path of audit_vectors.json; ./check does");
    };
    let bytes =
        std::fs::read(&path).unwrap_or_else(|error| panic!("{VARIABLE} = {}: {error}", path.display()));
    let all: Value =
        serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    all.pointer(pointer).unwrap_or_else(|| panic!("{} has no {pointer}", path.display())).clone()
}

fn rows(pointer: &str, expected_count: usize) -> Vec<Value> {
    let rows = vectors(pointer).as_array().unwrap().clone();
    assert_eq!(rows.len(), expected_count, "{pointer}");
    rows
}

fn integer(row: &Value, member: &str) -> u64 {
    row[member].as_u64().unwrap_or_else(|| panic!("{row} has no count {member}"))
}

fn basis_points(row: &Value, member: &str) -> u32 {
    u32::try_from(integer(row, member)).unwrap()
}

fn text<'a>(row: &'a Value, member: &str) -> &'a str {
    row[member].as_str().unwrap_or_else(|| panic!("{row} has no text {member}"))
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect()
}

fn units(drawn: &[draw::Drawn]) -> Vec<&str> {
    drawn.iter().map(|drawn| drawn.unit.as_str()).collect()
}

fn digest(row: &Value, member: &str) -> Digest {
    Digest::from_hex(text(row, member)).unwrap()
}

#[test]
fn all_cells_of_the_tables_of_sample_sizes() {
    for (pointer, cells, risk_bp) in
        [("/attribute_planning/alpha_0.05", 194, 500), ("/attribute_planning/alpha_0.10", 198, 1_000)]
    {
        for row in rows(pointer, cells) {
            let (tolerable, expected) = (basis_points(&row, "tdr_bp"), basis_points(&row, "edr_bp"));
            let published = SampleSize { n: integer(&row, "n"), acceptance: integer(&row, "k") };
            let planned = stats::plan_attribute(risk_bp, tolerable, expected, SAMPLE_SIZE_MAX);
            assert_eq!(planned, Ok(published), "{pointer} {row}");
        }
    }
}

/// Where floating point plans another size than exact arithmetic and the published table.
#[test]
fn floating_point_pitfalls_are_avoided() {
    for row in rows("/attribute_planning/float_pitfalls", 2) {
        assert_eq!(text(&row, "alpha"), "0.10");
        let (tolerable, expected) = (basis_points(&row, "tdr_bp"), basis_points(&row, "edr_bp"));
        let planned = stats::plan_attribute(1_000, tolerable, expected, SAMPLE_SIZE_MAX).unwrap();
        assert_eq!(planned.n, integer(&row, "n"));
        assert_ne!(planned.n, integer(&row, "float_wrong_n"));
    }
}

/// The one known misprint: table A-2 says 112 where P(X ≤ 4 | 112, 7 %) = 0.1007 is above its 10 %.
#[test]
fn the_published_112_does_not_meet_its_own_risk_and_113_does() {
    let [row] = &rows("/attribute_planning/published_differences", 1)[..] else { unreachable!() };
    let ratio = |bp| stats::Ratio::from_basis_points(bp).unwrap();
    let tolerable = basis_points(row, "tdr_bp");
    let (published, exact) = (integer(row, "published_n"), integer(row, "exact_n"));
    assert_eq!((published, exact), (112, 113));
    assert_eq!(stats::binomial_cdf_at_most(4, published, ratio(tolerable), ratio(1_000)), Ok(false));
    for expected in row["edr_bp"].as_array().unwrap() {
        let expected = u32::try_from(expected.as_u64().unwrap()).unwrap();
        let planned = stats::plan_attribute(1_000, tolerable, expected, SAMPLE_SIZE_MAX);
        assert_eq!(planned, Ok(SampleSize { n: exact, acceptance: 4 }));
    }
}

/// 231 cells at each of two risks: the printed tenth is the exact limit rounded up, and the exact limit
/// rounds to the vector's six decimals.
#[test]
fn all_cells_of_the_tables_of_upper_limits() {
    let mut rounded_otherwise = 0;
    for row in rows("/upper_limit_percent/rows", 231) {
        let (n, k) = (integer(&row, "n"), integer(&row, "k"));
        for (member, risk_bp) in [("ul95", 500), ("ul90", 1_000)] {
            let expected = row[member].as_f64().unwrap();
            let limit = stats::upper_limit(n, k, risk_bp).unwrap();
            assert_eq!(limit.printed(), format!("{:.1}", (expected * 10.0).ceil() / 10.0), "{member} {row}");
            let percent: f64 = limit.percent().parse().unwrap();
            assert!((percent - expected).abs() <= 0.000_000_501, "{member} {row}: {percent}");
            rounded_otherwise += u32::from(limit.printed() != format!("{expected:.1}"));
        }
    }
    // Rounded to the nearest tenth, 217 cells would differ from the published tables.
    assert_eq!(rounded_otherwise, 217);
}

#[test]
fn all_sample_sizes_of_finite_populations() {
    for row in rows("/hypergeometric_planning/rows", 17) {
        let population = integer(&row, "N");
        let risk_bp = if row["alpha"].as_f64().unwrap() < 0.07 { 500 } else { 1_000 };
        let (tolerable, expected) =
            (100 * basis_points(&row, "tdr_pct"), 100 * basis_points(&row, "edr_pct"));
        assert_eq!(stats::tolerable_units(population, tolerable), Ok(integer(&row, "D_tol")), "{row}");
        let planned = stats::plan_hypergeometric(population, risk_bp, tolerable, expected, SAMPLE_SIZE_MAX);
        assert_eq!(planned.map(|planned| planned.n), Ok(integer(&row, "n")), "{row}");
    }
}

#[test]
fn all_upper_limits_of_finite_populations() {
    for row in rows("/hypergeometric_upper_limit/rows", 15) {
        let (population, n, k) = (integer(&row, "N"), integer(&row, "n"), integer(&row, "k"));
        for (member, risk_bp) in [("D95", 500), ("D90", 1_000)] {
            let limit = stats::upper_limit_finite(population, n, k, risk_bp);
            assert_eq!(limit, Ok(integer(&row, member)), "{member} {row}");
        }
    }
}

/// Ten transcripts with replacement and one without.
#[test]
fn all_transcripts_of_rivest_2011() {
    let mut without_replacement = 0;
    for case in rows("/rivest_2011/cases", 11) {
        assert_eq!(integer(&case, "a"), 1);
        let (seed, count) = (text(&case, "seed"), NonZeroU64::new(integer(&case, "b")).unwrap());
        let take = usize::try_from(integer(&case, "n")).unwrap();
        let expected: Vec<u64> =
            case["expected"].as_array().unwrap().iter().map(|pick| pick.as_u64().unwrap()).collect();
        assert_eq!(expected.len(), take);
        if case["replacement"].as_bool().unwrap() {
            let picks = draw::rivest2011_rows(seed, count).take(take).map(|(_, row)| row);
            assert_eq!(picks.collect::<Vec<_>>(), expected, "{case}");
        } else {
            let names: Vec<String> = (1..=count.get()).map(|row| row.to_string()).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let drawn = draw::rivest2011(seed, &names, take);
            let picks: Vec<u64> = drawn.iter().map(|drawn| drawn.unit.parse().unwrap()).collect();
            assert_eq!(picks, expected, "{case}");
            without_replacement += 1;
        }
    }
    assert_eq!(without_replacement, 1);
}

#[test]
fn all_first_tickets_of_consistent_sampler() {
    let sampler = vectors("/consistent_sampler");
    assert_eq!(
        draw::ticket("01382438112797316654", "AB-130"),
        text(&sampler["functions"], "first_fraction(\"AB-130\",\"01382438112797316654\")")
    );

    let expected = sampler["no_replacement_seed_314159"].as_array().unwrap();
    let population = Population::from_units(expected.iter().map(|row| row[1].as_str().unwrap())).unwrap();
    let order = draw::consistent("314159", population.units(), usize::MAX);
    assert_eq!(order.len(), 6);
    for (drawn, row) in order.iter().zip(expected) {
        assert_eq!(drawn.unit, row[1].as_str().unwrap());
        assert!(drawn.ticket.starts_with(row[0].as_str().unwrap()), "{drawn:?} {row}");
    }

    // Arlo draws with replacement, whose later tickets this product never makes; the first ticket of each
    // unit is the same. Its ids are Python tuples, hashed as Python prints them.
    let arlo = &sampler["arlo_replacement_digits18"];
    let firsts: Vec<_> =
        arlo["expected"].as_array().unwrap().iter().filter(|row| row[2].as_u64() == Some(1)).collect();
    assert_eq!(firsts.len(), 18);
    for row in firsts {
        let id = format!("('{}', {})", row[1][0].as_str().unwrap(), row[1][1].as_u64().unwrap());
        let ticket = draw::ticket(text(arlo, "seed"), &id);
        assert!(ticket.starts_with(row[0].as_str().unwrap()), "{id}: {ticket}");
    }
}

/// Plan, population, commitment, seed with and without a beacon, and the draws from both.
#[test]
fn the_golden_draw() {
    let golden = vectors("/proposed_draw");
    let plan_hash = Digest::of(text(&golden, "plan_jcs").as_bytes());
    assert_eq!(plan_hash, digest(&golden, "plan_sha256"));
    let population = Population::from_units(texts(&golden["population"])).unwrap();
    assert_eq!(population.sha256(), digest(&golden, "population_sha256"));
    assert_eq!(population.count(), integer(&golden, "population_count"));
    let nonce = digest(&golden, "auditor_nonce").0;
    assert_eq!(draw::commitment(&nonce), digest(&golden, "auditor_commitment"));

    let beacon = draw::Beacon {
        chain_hash: digest(&golden, "beacon_chain"),
        round: integer(&golden, "beacon_round"),
        randomness: digest(&golden, "beacon_randomness").0,
    };
    let seed = |beacon| Seed::of(&plan_hash, &population.sha256(), population.count(), &nonce, beacon);
    let with_beacon = seed(Some(&beacon));
    assert_eq!(with_beacon.digest(), digest(&golden, "seed"));
    assert_eq!(with_beacon.decimal(), text(&golden, "seed_dec"));
    let whole = Draw::of(Method::Consistent, &with_beacon.decimal(), &population, 12, 0).selected;
    let tickets = golden["tickets"].as_array().unwrap();
    assert_eq!((whole.len(), tickets.len()), (12, 12));
    for (drawn, row) in whole.iter().zip(tickets) {
        assert_eq!(drawn.unit, row[0].as_str().unwrap());
        assert!(drawn.ticket.starts_with(row[1].as_str().unwrap()), "{drawn:?} {row}");
    }
    let four = Draw::of(Method::Consistent, &with_beacon.decimal(), &population, 4, 0);
    assert_eq!(units(&four.selected), texts(&golden["sample_n4"]));
    assert_eq!(four.first_not_taken.as_ref(), whole.get(4));
    let by_rows = Draw::of(Method::Rivest2011, &with_beacon.decimal(), &population, 4, 0);
    let listed: Vec<&str> = population.units().collect();
    let expected = golden["rivest_1_12_n4"].as_array().unwrap().iter();
    let expected = expected.map(|row| listed[usize::try_from(row.as_u64().unwrap() - 1).unwrap()]);
    assert_eq!(units(&by_rows.selected), expected.collect::<Vec<_>>());

    // Without a beacon the formats' own golden seed holds; its decimal form needs the padding.
    let without = seed(None);
    assert_eq!(without.digest().hex(), "d161394c8ba6041ca3de8dd55be1fba39ae7dd8770b9b4207f2cce3c0fe85b0e");
    assert_eq!(
        without.decimal(),
        "094705164982390595804166206954041932342101165280130370360168027115866445863694"
    );
    let drawn = Draw::of(Method::Consistent, &without.decimal(), &population, 4, 0).selected;
    let expected = ["dev-c/2026-02-04", "dev-c/2026-02-02", "dev-a/2026-02-04", "dev-a/2026-02-03"];
    assert_eq!(units(&drawn), expected.map(|unit| format!("{unit}/disk-encryption")));
}
