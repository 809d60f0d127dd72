use std::num::NonZeroU64;

use proptest::prelude::*;

use super::*;

/// The twelve units of the golden draw: three devices on four days.
fn golden_population() -> Population {
    let days =
        |device: &'static str| (1..=4).map(move |day| format!("dev-{device}/2026-02-0{day}/disk-encryption"));
    Population::from_units(["a", "b", "c"].into_iter().flat_map(days)).unwrap()
}

fn golden_seed(beacon: Option<&Beacon>) -> Seed {
    let plan = concat!(
        r#"{"control":"disk-encryption","engagement":"ENG-TEST-1","sample_size":4,"#,
        r#""window_end":"2026-03-31","window_start":"2026-01-01"}"#
    );
    let population = golden_population();
    Seed::of(&Digest::of(plan.as_bytes()), &population.sha256(), population.count(), &golden_nonce(), beacon)
}

fn golden_nonce() -> [u8; 32] {
    std::array::from_fn(|i| u8::try_from(i).unwrap())
}

fn names(drawn: &[Drawn]) -> Vec<&str> {
    drawn.iter().map(|drawn| drawn.unit.as_str()).collect()
}

#[test]
fn the_golden_draw_without_a_beacon() {
    assert_eq!(
        golden_population().sha256().hex(),
        "07b15f78ad7936352a9add9cef4eb8aed71824d50a0c5d350a54157f68262c1c"
    );
    assert_eq!(
        commitment(&golden_nonce()).hex(),
        "4d85eb08db1f296f78a37b6090e65188c6866e079bfe876785abca916f3539bc"
    );
    let seed = golden_seed(None);
    assert_eq!(seed.digest().hex(), "d161394c8ba6041ca3de8dd55be1fba39ae7dd8770b9b4207f2cce3c0fe85b0e");
    // 77 digits and a leading zero.
    assert_eq!(
        seed.decimal(),
        "094705164982390595804166206954041932342101165280130370360168027115866445863694"
    );
    let draw = Draw::of(Method::Consistent, &seed.decimal(), &golden_population(), 4, 0);
    let expected = ["dev-c/2026-02-04", "dev-c/2026-02-02", "dev-a/2026-02-04", "dev-a/2026-02-03"];
    assert_eq!(names(&draw.selected), expected.map(|unit| format!("{unit}/disk-encryption")));
}

#[test]
fn the_golden_draw_with_a_beacon() {
    let digest = |hex: &str| Digest::from_hex(hex).unwrap();
    let beacon = Beacon {
        chain_hash: digest("52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971"),
        round: 657_413,
        randomness: digest("fc1873a13f3545aeade8401532ef5519920652eee6b0d2b19ca12643b87b3587").0,
    };
    let seed = golden_seed(Some(&beacon));
    assert_eq!(seed.digest().hex(), "dd84a91772ea6787c3e886a7376193159b4a4d73dc9dbcb5d150b08dad6360b5");
    let draw = Draw::of(Method::Rivest2011, &seed.decimal(), &golden_population(), 4, 0);
    let rows: Vec<String> = golden_population().units().map(ToOwned::to_owned).collect();
    assert_eq!(names(&draw.selected), [&rows[2], &rows[4], &rows[8], &rows[3]]);
}

/// The examples in the documentation of consistent_sampler 1.0.10.
#[test]
fn tickets_are_those_of_consistent_sampler() {
    assert_eq!(
        ticket("01382438112797316654", "AB-130"),
        "0.26299714122838008416507544297546663599715395525154425586041245287750224561854"
    );
    let order = consistent("314159", ["A-1", "A-2", "A-3", "B-1", "B-2", "B-3"], 9);
    let expected = [
        ("B-2", "0.410310858"),
        ("B-3", "0.470960291"),
        ("A-3", "0.471438751"),
        ("A-2", "0.567089805"),
        ("B-1", "0.9781715679"),
        ("A-1", "0.9828515724"),
    ];
    assert_eq!(order.len(), expected.len());
    for (drawn, (unit, start)) in order.iter().zip(expected) {
        assert!(drawn.unit == unit && drawn.ticket.starts_with(start), "{drawn:?}");
    }
}

/// Rivest's own transcript, and the test that ColoradoRLA took from it: pick 32 repeats row 611.
#[test]
fn rows_are_those_of_rivest_2011() {
    let seed = "3546311556112163624615351222";
    let count = NonZeroU64::new(876).unwrap();
    let rows: Vec<(u64, u64)> = rivest2011_rows(seed, count).take(3).collect();
    assert_eq!(rows, [(1, 740), (2, 180), (3, 264)]);
    let names: Vec<String> = (1..=876).map(|row| format!("{row}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let drawn = rivest2011(seed, &names, 33);
    let tail: Vec<(&str, &str)> = drawn[29..].iter().map(|d| (d.ticket.as_str(), d.unit.as_str())).collect();
    assert_eq!(tail, [("30", "490"), ("31", "461"), ("33", "251"), ("34", "471")]);
}

#[test]
fn a_draw_takes_reserves_and_shows_the_next_unit() {
    let population = golden_population();
    for method in [Method::Consistent, Method::Rivest2011] {
        let whole = Draw::of(method, "7", &population, 12, 0);
        let draw = Draw::of(method, "7", &population, 3, 2);
        assert_eq!(draw.selected, whole.selected[..3]);
        assert_eq!(draw.reserves, whole.selected[3..5]);
        assert_eq!(draw.first_not_taken.as_ref(), whole.selected.get(5));
        assert_eq!((whole.selected.len(), whole.first_not_taken), (12, None));
        let beyond = Draw::of(method, "7", &population, 10, u64::MAX);
        assert_eq!((beyond.selected.len(), beyond.reserves.len(), beyond.first_not_taken), (10, 2, None));
        let nothing = Draw::of(method, "7", &Population::parse(b"").unwrap(), 3, 2);
        assert_eq!(nothing, Draw { selected: vec![], reserves: vec![], first_not_taken: None });
    }
}

#[test]
fn a_record_is_canonical_json() {
    let seed = golden_seed(None);
    let population = Population::from_units(["u1", "u2", "u3"]).unwrap();
    let control: crate::ids::Name = "disk-encryption".parse().unwrap();
    let record = DrawRecord::of(control, Method::Rivest2011, &population, seed, 1, 1);
    let text = String::from_utf8(record.bytes()).unwrap();
    // Rows 1 + (SHA-256("0947…3694," ‖ i) mod 3) computed with Python's hashlib: 2, 2, 3, 3, 2, 2, 1.
    let expected = concat!(
        r#"{"control":"disk-encryption","count":3,"first_not_taken":[{"ticket":"7","unit":"u1"}],"#,
        r#""method":"rivest2011","population_sha256":"51e81da11b468d9cc8b5b9796fa783101dcbdbd59ec76bc9357c5db16bbf6881","reserves":[{"ticket":"3","unit":"u3"}],"#,
        r#""seed":"d161394c8ba6041ca3de8dd55be1fba39ae7dd8770b9b4207f2cce3c0fe85b0e","#,
        r#""seed_dec":"094705164982390595804166206954041932342101165280130370360168027115866445863694","#,
        r#""selected":[{"ticket":"1","unit":"u2"}]}"#
    );
    assert_eq!(text, expected);
}

#[test]
fn a_population_file_has_one_form() {
    let parse = |text: &str| Population::parse(text.as_bytes());
    let population = parse("a\nb c\nü\n").unwrap();
    assert_eq!(population.units().collect::<Vec<_>>(), ["a", "b c", "ü"]);
    assert_eq!((population.count(), population.bytes()), (3, "a\nb c\nü\n".as_bytes()));
    assert_eq!(parse("a\nb"), Err(PopulationError::NoLineFeed { line: 2 }));
    assert_eq!(Population::parse(b"a\n\xff\n"), Err(PopulationError::NotText { line: 2 }));
    assert_eq!(parse("\n"), Err(PopulationError::Empty { line: 1 }));
    assert_eq!(parse("a\n\nb\n"), Err(PopulationError::Empty { line: 2 }));
    let carriage_return = PopulationError::Forbidden { line: 1, character: "carriage return" };
    assert_eq!(parse("a\r\nb\r\n"), Err(carriage_return));
    assert_eq!(parse("a\nb\0\n"), Err(PopulationError::Forbidden { line: 2, character: "NUL" }));
    assert_eq!(parse("a\nb\nb\n"), Err(PopulationError::Repeated { line: 3 }));
    // Bytewise: capital letters first, "-" before "/", and no regard for numbers.
    assert_eq!(parse("a\nB\n"), Err(PopulationError::Unsorted { line: 2 }));
    assert_eq!(parse("a/2\na-1\n"), Err(PopulationError::Unsorted { line: 2 }));
    assert_eq!(parse("a2\na10\n"), Err(PopulationError::Unsorted { line: 2 }));
    let long = format!("a\n{}\n", "x".repeat(UNIT_BYTES_MAX + 1));
    assert_eq!(parse(&long), Err(PopulationError::TooLong { line: 2, bytes: UNIT_BYTES_MAX + 1 }));
    assert_eq!(
        Population::from_units(["b", "a\nc"]),
        Err(PopulationError::Forbidden { line: 1, character: "line feed" })
    );
}

/// Some distinct units in some order, and how many to take of them.
fn frames() -> impl Strategy<Value = (Vec<String>, usize)> {
    let units = proptest::collection::hash_set("[a-z0-9/-]{1,8}", 1..40);
    let shuffled = units.prop_map(|set| set.into_iter().collect::<Vec<_>>()).prop_shuffle();
    shuffled.prop_flat_map(|units| {
        let take = 0..=units.len();
        (Just(units), take)
    })
}

fn as_texts(units: &[String]) -> Vec<&str> {
    units.iter().map(String::as_str).collect()
}

proptest! {
    #[test]
    fn the_order_of_the_input_does_not_matter((units, take) in frames(), seed in "[0-9]{1,20}") {
        let mut sorted = as_texts(&units);
        sorted.sort_unstable();
        prop_assert_eq!(consistent(&seed, as_texts(&units), take), consistent(&seed, sorted, take));
    }

    #[test]
    fn a_longer_sample_begins_with_the_shorter((units, take) in frames(), seed in "[0-9]{1,20}") {
        let texts = as_texts(&units);
        for (short, long) in [
            (consistent(&seed, texts.clone(), take), consistent(&seed, texts.clone(), take + 1)),
            (rivest2011(&seed, &texts, take), rivest2011(&seed, &texts, take + 1)),
        ] {
            prop_assert_eq!(short.len(), take);
            prop_assert_eq!(&short[..], &long[..take]);
        }
    }

    #[test]
    fn each_unit_is_drawn_once((units, _) in frames(), seed in "[0-9]{1,20}") {
        let mut expected = as_texts(&units);
        expected.sort_unstable();
        for order in [consistent(&seed, as_texts(&units), 99), rivest2011(&seed, &as_texts(&units), 99)] {
            let mut drawn = names(&order);
            drawn.sort_unstable();
            prop_assert_eq!(&drawn, &expected);
        }
    }

    #[test]
    fn removing_a_unit_that_was_not_drawn_leaves_the_sample((units, take) in frames(), seed in "[0-9]{1,20}") {
        let order = consistent(&seed, as_texts(&units), units.len());
        for removed in &order[take..] {
            let rest = units.iter().map(String::as_str).filter(|unit| *unit != removed.unit);
            prop_assert_eq!(consistent(&seed, rest, take), &order[..take]);
        }
    }

    #[test]
    fn a_population_survives_its_file((units, _) in frames()) {
        let population = Population::from_units(&units).unwrap();
        prop_assert_eq!(Population::parse(population.bytes()), Ok(population.clone()));
        prop_assert_eq!(population.units().count(), units.len());
    }

    #[test]
    fn any_bytes_are_parsed_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(population) = Population::parse(&bytes) {
            prop_assert_eq!(population.bytes(), &bytes[..]);
        }
    }
}
