use evidence::json;
use evidence::time::Timestamp;

use super::{Judgement, OLD_MINUTES, REMEDY_CHARS_MAX, TEXT_CHARS_MAX, VERDICTS_MAX};
use crate::state::StateDirectory;

/// 2025-02-19T21:20Z.
const MINUTE: u64 = 29_000_000;

fn at(minutes: u64) -> Timestamp {
    Timestamp(minutes * 60_000 + 30_000)
}

fn verdict(control: &str, state: &str, due: Option<u64>) -> proto::Verdict {
    proto::Verdict {
        control: control.into(),
        state: state.into(),
        reason: "swap /swapfile is none".into(),
        remedy: if state == "DEVIATION" {
            "Save your work,\nthen ask your IT team.".into()
        } else {
            String::new()
        },
        due_minutes: due,
    }
}

fn posture() -> proto::Posture {
    proto::Posture {
        verdicts: vec![
            verdict("edr", "PASS", None),
            verdict("os-patch", "INDETERMINATE", None),
            verdict("disk-encryption", "DEVIATION", Some(MINUTE + 3 * 1440)),
            verdict("screen-lock", "NOT_APPLICABLE", None),
            verdict("later-control", "PASS_LATE", None),
        ],
        judged_minutes: MINUTE,
        policy: "baseline".into(),
        sequence: Some(12),
    }
}

#[test]
fn what_fails_comes_first_with_what_to_do_and_until_when() {
    let kept = Judgement::of(posture(), at(MINUTE));
    let expected = "\
judged       2025-02-19T21:20Z, 5 minutes ago, by policy baseline, from
             statement 12
  failing    disk-encryption, due 2025-02-22T21:20Z, in 2 days
             why: swap /swapfile is none
             do: Save your work, then ask your IT team.
  unknown    os-patch
             why: swap /swapfile is none
  passing    edr
  exempt     screen-lock
             why: swap /swapfile is none
  PASS_LATE  later-control
             why: swap /swapfile is none
";
    assert_eq!(Judgement::words(Some(&kept), at(MINUTE + 5)), expected);
    assert!(kept.fails());
    let late = Judgement::words(Some(&kept), at(MINUTE + 4 * 1440));
    assert!(late.contains("disk-encryption, was due 2025-02-22T21:20Z, 1 day ago\n"), "{late}");
}

#[test]
fn never_judged_and_judged_long_ago_are_said() {
    assert!(Judgement::words(None, at(MINUTE)).contains("never: the collector has not said"));
    let kept = Judgement::of(posture(), at(MINUTE));
    assert!(!kept.is_old(at(MINUTE + OLD_MINUTES)));
    assert!(!Judgement::words(Some(&kept), at(MINUTE + OLD_MINUTES)).contains("This is old"));
    let old = at(MINUTE + OLD_MINUTES + 1);
    assert!(Judgement::words(Some(&kept), old).contains("2 days ago") && kept.is_old(old));
    assert!(Judgement::words(Some(&kept), old).contains("This is old"));
}

#[test]
fn the_age_counts_whichever_clock_is_ahead() {
    // The collector's clock is a year ahead: the age is what this device's own clock says.
    let posture = proto::Posture { judged_minutes: MINUTE + 365 * 1440, ..posture() };
    let kept = Judgement::of(posture, at(MINUTE));
    assert!(kept.is_old(at(MINUTE + OLD_MINUTES + 1)), "a judgement from the future grows old too");
    let words = Judgement::words(Some(&kept), at(MINUTE));
    assert!(words.contains("This machine's clock was 365 days behind the collector's."), "{words}");
    // Numbers that are no time.
    let posture = proto::Posture { judged_minutes: u64::MAX, ..super::tests::posture() };
    let kept = Judgement::of(posture, at(MINUTE));
    assert!(Judgement::words(Some(&kept), at(0)).contains("9999-12-31"));
}

#[test]
fn a_collectors_text_is_cut_and_cannot_move_the_cursor() {
    let long = proto::Verdict {
        control: "\u{1b}[2Jedr\u{7}".into(),
        state: "DEVIATION".into(),
        reason: "r".repeat(TEXT_CHARS_MAX + 1),
        remedy: "ä ".repeat(REMEDY_CHARS_MAX),
        due_minutes: Some(u64::MAX),
    };
    let posture = proto::Posture { verdicts: vec![long; VERDICTS_MAX + 1], ..posture() };
    let kept = Judgement::of(posture, at(MINUTE));
    assert_eq!(kept.verdicts.len(), VERDICTS_MAX);
    assert_eq!(kept.verdicts[0].control, "[2Jedr");
    assert_eq!(kept.verdicts[0].reason.chars().count(), TEXT_CHARS_MAX);
    assert_eq!(kept.verdicts[0].remedy.chars().count(), REMEDY_CHARS_MAX);
    let words = Judgement::words(Some(&kept), at(MINUTE));
    assert!(words.chars().all(|c| c == '\n' || !c.is_control()));
    let wide = words.lines().filter(|line| line.chars().count() > 80);
    assert!(
        wide.clone().all(|line| line.trim().starts_with("rrr")),
        "only a word longer than a line: {:?}",
        wide.collect::<Vec<_>>()
    );
}

#[test]
fn it_is_kept_for_everybody_and_damage_is_not_an_answer() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let state = StateDirectory::new(folder.path());
    assert_eq!(Judgement::read(&state), None);
    let kept = Judgement::of(posture(), at(MINUTE));
    kept.write(&state).unwrap();
    assert_eq!(Judgement::read(&state), Some(kept.clone()));
    let path = state.file(super::JUDGEMENT_FILE);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    let members = Judgement::members(Some(&kept), at(MINUTE + 7));
    let json = json::object(members).encode();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["posture"][2]["due"][0], "1740259200000");
    assert_eq!((&json["judged_age_minutes"][0], &json["judged_is_old"]), (&7.into(), &0.into()));
    std::fs::write(&path, "{").unwrap();
    assert_eq!(Judgement::read(&state), None);
}
