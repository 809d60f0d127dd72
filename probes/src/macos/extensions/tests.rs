use super::*;

fn list(rows: &[&str]) -> Answer {
    let head = "--- com.apple.system_extension.endpoint_security (Go to 'System Settings')\n\
                enabled\tactive\tteamID\tbundleID (version)\tname\t[state]\n";
    let text = format!("{} extension(s)\n{head}{}", rows.len(), rows.concat());
    Answer::Output { status: 0, stdout: text.into_bytes(), stderr: vec![] }
}

const CISCO: &str = "*\t*\tDE8Y96K9QP\tcom.cisco.endpoint.svc.securityextension (1.15.5/837)\tAMP Security\t[activated enabled]\n";

#[test]
fn only_both_marks_and_the_exact_state_count() {
    let active = |row: &str| rows(&list(&[row])).map(|rows| rows[0].is_active);
    assert_eq!(active(CISCO), Some(true));
    assert_eq!(active(&CISCO.replace("enabled]", "waiting for user]").replacen('*', "", 1)), Some(false));
    assert_eq!(active(&CISCO.replace("enabled]", "waiting for user]")), Some(false));
    assert_eq!(active(&CISCO.replace("enabled]", "disabled]")), Some(false));
    assert_eq!(active(&CISCO.replacen('*', "", 1)), Some(false));
    assert_eq!(active(&CISCO.replace("activated enabled", "activated enabled for now")), Some(false));
    // Another shape of a row is no list at all.
    for broken in [
        CISCO.replace("*\t*", "x\t*"),
        CISCO.replace("DE8Y96K9QP", "DE8Y96K9"),
        CISCO.replace(" (1.15.5/837)", ""),
        CISCO.replace("]\n", "\n"),
        CISCO.replace('\t', " "),
    ] {
        assert_eq!(active(&broken), None, "{broken}");
    }
}

#[test]
fn a_lost_row_shows() {
    let whole = list(&[CISCO, CISCO]);
    let Answer::Output { stdout, .. } = &whole else { panic!("an output") };
    assert_eq!(rows(&whole).map(|rows| rows.len()), Some(2));
    let text = String::from_utf8(stdout.clone()).unwrap();
    let cut = |text: String| Answer::Output { status: 0, stdout: text.into_bytes(), stderr: vec![] };
    assert_eq!(rows(&cut(text.replacen(CISCO, "", 1))), None);
    assert_eq!(rows(&cut(text.trim_end().to_owned())), None);
    assert_eq!(rows(&cut("0 extension(s)\n".to_owned())), Some(vec![]));
    assert_eq!(rows(&cut(String::new())), None);
}
