use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: Pure,
}

/// What the command line prints, or why it is refused.
fn output(line: &[&str]) -> Result<String, String> {
    let line = Line::try_parse_from([&["audit"], line].concat()).map_err(|error| error.to_string())?;
    let mut out = Vec::new();
    line.command.run(&mut out).map_err(|error| format!("{error:#}"))?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn size_prints_json() {
    assert_eq!(
        output(&["size", "--risk", "5%", "--tolerable", "5%", "--expected", "1%", "--json"]).unwrap(),
        "{\"n\":93,\"acceptance\":1,\"distribution\":\"binomial\",\"risk_bp\":500,\"tolerable_bp\":500,\
         \"expected_bp\":100}\n"
    );
    assert_eq!(
        output(&[
            "size",
            "--risk",
            "10%",
            "--tolerable",
            "5%",
            "--expected",
            "2%",
            "--population",
            "500",
            "--json"
        ])
        .unwrap(),
        "{\"n\":99,\"acceptance\":2,\"distribution\":\"hypergeometric\",\"risk_bp\":1000,\"tolerable_bp\":500,\
         \"expected_bp\":200,\"population\":500,\"tolerable_units\":25}\n"
    );
}

#[test]
fn size_prints_sentences() {
    assert_eq!(
        output(&["size", "--risk", "5%", "--tolerable", "2.5%"]).unwrap(),
        "Sample size 119, acceptance number 0.\n\
         If 2.5% of the units deviated, a sample of 119 would show 0 or fewer deviations with a probability of \
         at most 5% (binomial, 0% expected).\n"
    );
}

#[test]
fn bound_prints_json() {
    assert_eq!(
        output(&["bound", "--n", "60", "--deviations", "2", "--risk", "5%", "--json"]).unwrap(),
        "{\"n\":60,\"deviations\":2,\"risk_bp\":500,\"upper_limit_percent\":10.123589492417,\
         \"printed\":\"10.2\"}\n"
    );
    let finite =
        output(&["bound", "--n", "60", "--deviations", "2", "--risk", "5%", "--population", "500", "--json"]);
    assert!(finite.unwrap().ends_with("\"printed\":\"10.2\",\"population\":500,\"upper_limit_units\":48}\n"));
}

#[test]
fn bound_prints_sentences() {
    assert_eq!(
        output(&["bound", "--n", "25", "--deviations", "0", "--risk", "5%", "--population", "250"]).unwrap(),
        "Upper limit 11.3% for 0 deviations in 25 units at 5% risk (one-sided Clopper-Pearson, rounded up from \
         11.292814500685%).\n\
         Upper limit 26 of 250 units in all (hypergeometric, same risk).\n"
    );
}

/// A population file with this text, and the arguments that draw from it.
fn draw(text: &str, more: &[&str]) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("population.txt");
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    output(&[&["draw", "--population", file], more].concat()).map_err(|error| error.replace(file, "FILE"))
}

const SIX: &str = "A-1\nA-2\nA-3\nB-1\nB-2\nB-3\n";

#[test]
fn draw_prints_json() {
    let printed = draw(SIX, &["--seed", "314159", "--n", "2", "--json"]).unwrap();
    let value: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((&value["count"], &value["method"]), (&6.into(), &"consistent".into()));
    let selected = value["selected"].as_array().unwrap();
    assert_eq!(selected.len(), 2);
    for (drawn, (unit, ticket)) in selected.iter().zip([("B-2", "0.410310858"), ("B-3", "0.470960291")]) {
        assert_eq!(drawn["unit"], unit);
        assert!(drawn["ticket"].as_str().unwrap().starts_with(ticket));
    }
}

#[test]
fn draw_prints_a_list() {
    let printed = draw(SIX, &["--seed", "1", "--n", "1", "--method", "rivest2011"]).unwrap();
    // SHA-256("1,1") mod 6, computed with Python's hashlib, is 4.
    assert_eq!(
        printed,
        "Drew 1 of 6 units by rivest2011; population SHA-256 d1758d67c051c6f4e8d601adb4c8570d02f4859507c3f13bd7381ca562ccb483.\n   1  1  B-2\n"
    );
}

#[test]
fn what_cannot_be_computed_is_refused_with_a_reason() {
    let refused = |line: &[&str]| output(line).unwrap_err();
    assert!(refused(&["size", "--risk", "5", "--tolerable", "5%"]).contains("written like 5%"));
    assert!(refused(&["size", "--risk", "0%", "--tolerable", "5%"]).contains("risk must lie above 0%"));
    assert!(
        refused(&["size", "--risk", "5%", "--tolerable", "1%", "--expected", "2%"])
            .contains("below the tolerable")
    );
    assert!(
        refused(&["size", "--risk", "5%", "--tolerable", "5%", "--population", "0"]).contains("--population")
    );
    assert!(
        refused(&["bound", "--n", "2", "--deviations", "3", "--risk", "5%"]).contains("more deviations than")
    );
    assert!(
        refused(&["bound", "--n", "9", "--deviations", "3", "--risk", "5%", "--population", "8"])
            .contains("cannot come from a population of 8")
    );

    let seeded = |text: &str, n: &str| draw(text, &["--seed", "1", "--n", n]).unwrap_err();
    assert_eq!(seeded(SIX, "7"), "cannot draw 7 units: FILE holds 6; ask for 6 or fewer");
    assert!(seeded("b\na\n", "1").starts_with("FILE is not a population file: line 2 is out of order"));
    assert!(seeded("a\r\n", "1").contains("line 1 holds a carriage return"));
    assert!(draw(SIX, &["--seed", "", "--n", "1"]).unwrap_err().contains("seed is empty"));
    assert!(draw(SIX, &["--seed", "1", "--n", "1", "--method", "dice"]).unwrap_err().contains("rivest2011"));
    let missing = ["draw", "--population", "no/such/file", "--seed", "1", "--n", "1"];
    assert!(refused(&missing).starts_with("cannot open the population file no/such/file"));
}
