use evidence::judge::State;

use super::*;
use crate::table::WIDTH_COLUMNS;

fn day(label: &str, states: &[(&str, &str)]) -> PostureReply {
    let rows = states.iter().map(|(control, state)| PostureRow {
        control: (*control).to_owned(),
        state: (*state).to_owned(),
        because: format!("why on {label}"),
        ..PostureRow::default()
    });
    PostureReply { day: label.to_owned(), rows: rows.collect(), ..PostureReply::default() }
}

fn args(from: Option<&str>, to: Option<&str>) -> HistoryArgs {
    let label = |text: &str| text.parse().unwrap();
    HistoryArgs {
        device: DeviceId::from_bytes([7; 16]),
        control: None,
        from: from.map(label),
        to: to.map(label),
    }
}

fn written(postures: &[PostureReply]) -> String {
    let mut out = Vec::new();
    write_history(&mut out, DeviceId::from_bytes([7; 16]), postures).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn days_of_one_state_are_one_line_with_the_last_reason() {
    let text = written(&[
        day("2026-11-01", &[("os-patch", "PASS"), ("disk-encryption", "PASS")]),
        day("2026-11-02", &[("os-patch", "DEVIATION"), ("disk-encryption", "PASS")]),
        day("2026-11-03", &[("os-patch", "DEVIATION"), ("disk-encryption", "PASS")]),
    ]);
    assert_eq!(
        text,
        "Device d-a4dqobyha4dqobyha4dqobyha4, 2026-11-01 to 2026-11-03 (UTC), each day by\n\
         its own policy.\n\
         CONTROL          STATE      FROM        TO          DAYS\n\
         disk-encryption  PASS       2026-11-01  2026-11-03  3\n    why on 2026-11-03\n\
         os-patch         PASS       2026-11-01  2026-11-01  1\n    why on 2026-11-01\n\
         os-patch         DEVIATION  2026-11-02  2026-11-03  2\n    why on 2026-11-03\n\
         Units: 2 DEVIATION, 4 PASS.\n"
    );
}

#[test]
fn a_day_without_a_judgement_is_never_bridged() {
    let days = [
        day("2026-11-01", &[("os-patch", "PASS")]),
        day("2026-11-02", &[]),
        day("2026-11-03", &[("os-patch", "PASS")]),
    ];
    assert_eq!(runs(&days).len(), 2);
    assert!(written(&days).contains("On 1 of 3 days nothing was judged"));
    assert!(written(&days[1..2]).contains("On 1 of 1 days nothing was judged"));
}

#[test]
fn every_state_fits_the_table() {
    let names: Vec<String> = State::ALL.iter().map(|state| format!("{}-{state}", "c".repeat(40))).collect();
    let rows: Vec<(&str, &str)> =
        names.iter().zip(State::ALL).map(|(name, state)| (name.as_str(), state.as_str())).collect();
    for line in written(&[day("2026-11-01", &rows)]).lines() {
        assert!(line.chars().count() <= WIDTH_COLUMNS, "{line}");
    }
}

#[test]
fn days_are_counted_over_leap_days_and_bounded() {
    let today: DayLabel = "2028-03-01".parse().unwrap();
    let asked = |from, to| args(from, to).days(today);
    let days = asked(Some("2028-02-28"), None).unwrap();
    let days: Vec<String> = days.iter().map(ToString::to_string).collect();
    assert_eq!(days, ["2028-02-28", "2028-02-29", "2028-03-01"]);
    let month = asked(None, None).unwrap();
    assert_eq!((month.len(), month[0].to_string()), (30, "2028-02-01".to_owned()));
    assert_eq!(asked(None, Some("1970-01-02")).unwrap().len(), 2);
    assert!(asked(None, Some("2028-03-02")).unwrap_err().to_string().contains("has not come yet"));
    assert!(
        asked(Some("2028-03-01"), Some("2028-02-01")).unwrap_err().to_string().contains("after the last")
    );
    assert_eq!(asked(Some("2026-12-28"), None).unwrap().len(), 430);
    assert!(asked(Some("2026-12-27"), None).unwrap_err().to_string().contains("431 days"));
}
