use proptest::prelude::*;

use super::*;

fn bp(basis_points: u32) -> Ratio {
    Ratio::from_basis_points(basis_points).unwrap()
}

#[test]
fn a_ratio_is_in_lowest_terms_and_between_0_and_1() {
    let quarter = bp(2_500);
    assert_eq!((quarter.numerator(), quarter.denominator()), (1, 4));
    assert_eq!(Ratio::new(2, 1), Err(StatsError::NotARatio { numerator: 2, denominator: 1 }));
    assert_eq!(Ratio::new(0, 0), Err(StatsError::NotARatio { numerator: 0, denominator: 0 }));
}

/// Cells of the AICPA tables A-1 (5 %) and A-2 (10 %): risk, tolerable, expected, n, acceptance.
#[test]
fn sample_sizes_are_those_of_the_published_tables() {
    for (risk, tolerable, expected, n, acceptance) in [
        (500, 200, 0, 149, 0),
        (500, 500, 0, 59, 0),
        (500, 500, 100, 93, 1),
        (500, 500, 200, 181, 4),
        (500, 300, 225, 1_466, 33),
        (500, 700, 600, 1_832, 110),
        (500, 400, 325, 1_936, 63),
        (500, 2_000, 1_750, 720, 126),
        (1_000, 1_000, 0, 22, 0),
        (1_000, 500, 100, 77, 1),
        (1_000, 900, 800, 1_437, 115),
    ] {
        let plan = plan_attribute(risk, tolerable, expected, SAMPLE_SIZE_MAX).unwrap();
        assert_eq!(plan, SampleSize { n, acceptance }, "{risk} {tolerable} {expected}");
    }
}

/// A double's 0.035 × 400 lies above 14, so floating point plans 423 and 1,313.
#[test]
fn expected_deviations_are_not_rounded_by_binary_fractions() {
    assert_eq!(plan_attribute(1_000, 500, 350, 2_000), Ok(SampleSize { n: 400, acceptance: 14 }));
    assert_eq!(plan_attribute(1_000, 800, 700, 2_000), Ok(SampleSize { n: 1_300, acceptance: 91 }));
}

/// Table A-2 prints 112 for 7 % tolerable and 3.25 % or 3.50 % expected. The exact
/// P(X ≤ 4 | 112, 7 %) is 0.1007, above the 10 % of the table, and the first n that meets it is 113.
#[test]
fn the_misprint_of_112_is_113() {
    for expected in [325, 350] {
        assert_eq!(plan_attribute(1_000, 700, expected, 2_000), Ok(SampleSize { n: 113, acceptance: 4 }));
    }
    assert_eq!(binomial_cdf_at_most(4, 112, bp(700), bp(1_000)), Ok(false));
    assert_eq!(binomial_cdf_at_most(4, 113, bp(700), bp(1_000)), Ok(true));
}

#[test]
fn a_finite_population_needs_fewer_units() {
    for (population, risk, tolerable, expected, n) in [
        (500, 1_000, 500, 200, 99),
        (500, 500, 400, 100, 140),
        (500, 500, 900, 600, 196),
        (5_000, 500, 400, 100, 154),
        (36_000, 500, 400, 100, 156),
        (4, 500, 500, 0, 4),
        (12, 1_000, 1_000, 0, 8),
        (100, 1_000, 500, 0, 37),
        (130, 1_000, 500, 0, 36),
    ] {
        let plan = plan_hypergeometric(population, risk, tolerable, expected, SAMPLE_SIZE_MAX).unwrap();
        assert_eq!(plan.n, n, "{population} {risk} {tolerable} {expected}");
    }
    assert_eq!(tolerable_units(130, 500), Ok(7));
    // One deviation is expected and one is already intolerable: no sample can tell them apart.
    assert_eq!(
        plan_hypergeometric(10, 500, 500, 100, SAMPLE_SIZE_MAX),
        Err(StatsError::NoSampleSize { tried_max: 10 })
    );
}

#[test]
fn impossible_plans_are_refused() {
    assert_eq!(
        plan_attribute(500, 500, 500, 2_000),
        Err(StatsError::ExpectedNotBelowTolerable { expected_bp: 500, tolerable_bp: 500 })
    );
    assert_eq!(
        plan_attribute(0, 500, 100, 2_000),
        Err(StatsError::RateOutOfRange { what: "risk", basis_points: 0 })
    );
    assert_eq!(
        plan_attribute(500, 10_000, 100, 2_000),
        Err(StatsError::RateOutOfRange { what: "tolerable rate", basis_points: 10_000 })
    );
    assert_eq!(plan_attribute(500, 200, 0, 148), Err(StatsError::NoSampleSize { tried_max: 148 }));
    assert_eq!(
        plan_hypergeometric(0, 500, 500, 0, 10),
        Err(StatsError::PopulationOutOfRange { population: 0 })
    );
}

/// Cells of the tables A-3 (5 %) and A-4 (10 %). The long forms were bisected with Python's fractions.
#[test]
fn upper_limits_are_rounded_up_as_in_the_published_tables() {
    for (n, k, risk, printed, percent) in [
        (20, 10, 500, "69.9", "69.804608871351"),
        (25, 0, 500, "11.3", "11.292814500685"),
        (25, 0, 1_000, "8.8", "8.798916064410"),
        (45, 0, 1_000, "5.0", "4.988149268186"),
        (60, 2, 500, "10.2", "10.123589492417"),
        (93, 1, 500, "5.0", "4.999397838799"),
        (100, 3, 1_000, "6.6", "6.558575150290"),
        (200, 4, 500, "4.6", "4.518041499472"),
    ] {
        let limit = upper_limit(n, k, risk).unwrap();
        assert_eq!(
            (limit.printed().as_str(), limit.percent().as_str()),
            (printed, percent),
            "{n} {k} {risk}"
        );
    }
}

#[test]
fn an_empty_or_wholly_deviating_sample_limits_nothing() {
    for (n, k) in [(0, 0), (1, 1), (40, 40)] {
        let limit = upper_limit(n, k, 500).unwrap();
        assert_eq!((limit.printed().as_str(), limit.percent().as_str()), ("100.0", "100.000000000000"));
        assert_eq!(supports(n, k, 9_999, 500), Ok(false));
    }
    assert_eq!(upper_limit(3, 4, 500), Err(StatsError::MoreDeviationsThanUnits { sample: 3, deviations: 4 }));
    assert_eq!(upper_limit(10_001, 4, 500), Err(StatsError::SampleTooLarge { sample: 10_001 }));
}

/// 0.95 of 1 unit: P(X ≤ 0 | 1, 95 %) is exactly 5 %, so the limit is exactly 95 % and not a step more.
#[test]
fn an_exact_limit_is_not_rounded_up() {
    let limit = upper_limit(1, 0, 500).unwrap();
    assert_eq!((limit.printed().as_str(), limit.percent().as_str()), ("95.0", "95.000000000000"));
    assert_eq!(supports(1, 0, 9_500, 500), Ok(true));
    assert_eq!(supports(1, 0, 9_499, 500), Ok(false));
}

#[test]
fn finite_limits_count_units() {
    for (population, n, k, at_5, at_10) in [
        (50, 25, 2, 9, 8),
        (52, 5, 0, 22, 18),
        (250, 25, 2, 55, 48),
        (500, 60, 2, 48, 41),
        (1_000, 60, 1, 74, 61),
        (7, 7, 3, 3, 3),
        (9, 4, 4, 9, 9),
        (9, 0, 0, 9, 9),
    ] {
        assert_eq!(upper_limit_finite(population, n, k, 500), Ok(at_5), "{population} {n} {k}");
        assert_eq!(upper_limit_finite(population, n, k, 1_000), Ok(at_10), "{population} {n} {k}");
    }
    assert_eq!(
        upper_limit_finite(5, 6, 0, 500),
        Err(StatsError::SampleAbovePopulation { sample: 6, population: 5 })
    );
}

/// The definition: the first n of all, one after the other.
fn first_size_by_definition(risk: u32, tolerable: u32, expected: u32, n_max: u64) -> Option<SampleSize> {
    (1..=n_max).find_map(|n| {
        let acceptance = (u64::from(expected) * n).div_ceil(10_000);
        let met = binomial_cdf_at_most(acceptance, n, bp(tolerable), bp(risk)).unwrap();
        met.then_some(SampleSize { n, acceptance })
    })
}

/// Numbers of samples of `n` units with at most `k` deviating, counted one by one over all subsets.
fn counted_at_most(k: u64, population: u64, deviating: u64, n: u64) -> (u64, u64) {
    let subsets = (0..1_u64 << population).filter(|set| u64::from(set.count_ones()) == n);
    subsets.fold((0, 0), |(met, all), set| {
        let seen = u64::from((set & ((1 << deviating) - 1)).count_ones());
        (met + u64::from(seen <= k), all + 1)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn drawing_one_by_one_finds_the_first_size_of_the_definition(
        risk in 100_u32..3_000, tolerable in 300_u32..4_000, expected_percent in 0_u32..90,
    ) {
        let expected = tolerable * expected_percent / 100;
        let planned = plan_attribute(risk, tolerable, expected, 120).ok();
        prop_assert_eq!(planned, first_size_by_definition(risk, tolerable, expected, 120));
    }

    #[test]
    fn the_hypergeometric_share_is_that_of_counted_subsets(
        population in 1_u64..=11, a in 0_u64..=11, b in 0_u64..=11, c in 0_u64..=11, risk in 1_u32..10_000,
    ) {
        let (deviating, n) = (a.min(population), b.min(population));
        let k = c.min(n);
        let (met, all) = counted_at_most(k, population, deviating, n);
        let expected = met * 10_000 <= u64::from(risk) * all;
        prop_assert_eq!(hypergeometric_cdf_at_most(k, population, deviating, n, bp(risk)), Ok(expected));
    }

    #[test]
    fn a_sample_supports_exactly_the_rates_from_its_limit_on(
        n in 0_u64..150, k in 0_u64..12, risk in 1_u32..5_000,
    ) {
        let k = k.min(n);
        let tenths = u32::try_from(upper_limit(n, k, risk).unwrap().tenths_of_percent()).unwrap();
        if (1..1_000).contains(&tenths) {
            prop_assert_eq!(supports(n, k, tenths * 10, risk), Ok(true));
        }
        if tenths > 1 {
            prop_assert_eq!(supports(n, k, (tenths - 1) * 10, risk), Ok(false));
        }
    }

    #[test]
    fn the_long_form_of_a_limit_rounds_up_to_the_printed_one(n in 0_u64..120, k in 0_u64..9, risk in 1_u32..5_000) {
        let limit = upper_limit(n, k.min(n), risk).unwrap();
        let digits: u64 = limit.percent().replace('.', "").parse().unwrap();
        prop_assert_eq!(digits.div_ceil(100_000_000_000), limit.tenths_of_percent());
    }
}
