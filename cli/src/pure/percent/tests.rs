use super::*;

#[test]
fn percentages_are_exact_and_print_as_written() {
    for (text, basis_points) in [
        ("5%", 500),
        ("0%", 0),
        ("0.5%", 50),
        ("2.25%", 225),
        ("0.01%", 1),
        ("12.05%", 1_205),
        ("100%", 10_000),
    ] {
        let percent: Percent = text.parse().unwrap();
        assert_eq!((percent.basis_points(), percent.to_string().as_str()), (basis_points, text));
    }
    assert_eq!("5.00%".parse::<Percent>().unwrap().to_string(), "5%");
}

#[test]
fn everything_else_is_refused() {
    for text in [
        "", "%", "5", "0.05", "5 %", " 5%", "+5%", "-5%", "5.%", ".5%", "5.123%", "1e1%", "100.01%", "101%",
        "1000%", "5%%", "5,5%", "5.+1%", "٥%", "NaN%",
    ] {
        assert_eq!(text.parse::<Percent>(), Err(NotAPercentage), "{text:?}");
    }
}
