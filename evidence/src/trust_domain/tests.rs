use super::*;

#[test]
fn dns_names_in_lower_case_are_trust_domains() {
    for good in ["example.com", "a", "evidence.example.com", "x-1.y2", "1.2.3", &"a".repeat(63)] {
        assert_eq!(good.parse::<TrustDomain>().expect(good).to_string(), good);
    }
}

#[test]
fn everything_else_is_refused() {
    let long = vec!["a".repeat(63); 4].join(".");
    for bad in [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "Example.com",
        "a_b",
        "-a",
        "a-",
        "a b",
        "a/b",
        "a%2e",
        "ä.de",
        "a:1",
        "a\0",
        &"a".repeat(64),
        &long,
    ] {
        assert!(bad.parse::<TrustDomain>().is_err(), "{bad:?} was accepted");
    }
}
