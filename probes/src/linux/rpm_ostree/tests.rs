use super::*;

#[test]
fn a_newer_image_waits_before_the_one_that_runs() {
    let of = |booted: &[&str]| {
        let rows: Vec<String> =
            booted.iter().map(|b| format!(r#"{{"booted": {b}, "staged": false}}"#)).collect();
        runs_first(&format!(r#"{{"deployments": [{}], "cached-update": null}}"#, rows.join(", ")))
    };
    assert_eq!(of(&["true"]), Some(true));
    assert_eq!(of(&["true", "false"]), Some(true));
    assert_eq!(of(&["false", "true"]), Some(false));
    for unclear in [&[][..], &["false"], &["true", "true"], &["null"], &["1", "true"]] {
        assert_eq!(of(unclear), None, "{unclear:?}");
    }
    assert_eq!(runs_first("{}"), None);
    assert_eq!(runs_first(""), None);
}
