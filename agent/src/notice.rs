//! What enrolment tells the person at the machine, in six lines: what is collected and what never, how long it is kept,
//! who sees it, and how to see it oneself.

use probes::PROBES;

use crate::spool::{HISTORY_DAYS, Limits};
use crate::wrap::{COLUMNS, wrap_to};

/// After so many days a collector's usual rule erases what a device said. The operator may set another.
pub const COLLECTOR_DAYS_USUAL: u64 = 730;
/// Columns before the words of a line.
const INDENT: usize = 10;
/// Lines that the list of what is collected may take: with the other four they are six.
const COLLECTED_LINES: usize = 2;
/// Bytes in a MiB.
const MIB: u64 = 1024 * 1024;

/// A control in a word or two for people. One that is not listed is called by its id.
fn word(control: &str) -> String {
    match control {
        "automatic-updates" => "updates",
        "device-identity" => "serial numbers",
        "disk-encryption" => "disk encryption",
        "edr" => "EDR",
        "host-firewall" => "firewall",
        "local-administrators" => "how many admins",
        "mdm-enrolment" => "MDM",
        "os-patch" => "patches",
        "password-manager" => "password manager",
        "remote-access" => "remote access",
        "screen-lock" => "screen lock",
        "secure-boot" => "secure boot",
        "time-sync" => "clock",
        other => return other.replace('-', " "),
    }
    .to_owned()
}

/// What is collected: every control that is looked at, and what a statement and the enrolment say beside them.
fn collected() -> String {
    let controls: Vec<String> = PROBES.iter().map(|probe| word(probe.control)).collect();
    format!("{}; kind and name of this machine", controls.join(", "))
}

/// The six lines.
pub fn lines() -> String {
    let collected = collected();
    // A list that grows makes lines wider rather than more.
    let mut columns = COLUMNS;
    let mut out = String::new();
    loop {
        wrap_to(columns, "collected ", INDENT, &collected, &mut out);
        if out.lines().count() <= COLLECTED_LINES {
            break;
        }
        out.clear();
        columns += 1;
    }
    let here = Limits::default().history_bytes_max / MIB;
    for (label, words) in [
        ("never", "key strokes, screens, contents of files, browsing, messages, places".to_owned()),
        (
            "kept",
            format!(
                "here {HISTORY_DAYS} days or {here} MiB; there sealed, by the usual rule {COLLECTOR_DAYS_USUAL} days"
            ),
        ),
        ("seen by", "admins and analysts of your company, and auditors; public: only hashes".to_owned()),
        ("see it", "tallystick-agent sent, status, probe, questions: no root needed".to_owned()),
    ] {
        wrap_to(usize::MAX, &format!("{label:<9} "), INDENT, &words, &mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use probes::PROBES;

    use super::{lines, word};

    #[test]
    fn six_lines_name_every_control_and_fit_a_terminal() {
        let said = lines();
        assert_eq!(said.lines().count(), 6, "{said}");
        for probe in &PROBES {
            assert!(said.contains(&word(probe.control)), "{}: {said}", probe.control);
        }
        // No control goes by the word of another.
        let words: std::collections::BTreeSet<String> =
            PROBES.iter().map(|probe| word(probe.control)).collect();
        assert_eq!(words.len(), PROBES.len());
        assert!(said.lines().skip(2).all(|line| line.len() <= 80), "{said}");
        assert!(said.lines().all(|line| line.len() <= 110), "{said}");
        assert!(
            said.contains("400 days or 32 MiB") && said.contains("kind and name of this machine"),
            "{said}"
        );
    }
}
