//! Health commands that print lines `name: value` or a table.

use std::collections::BTreeMap;

use proto::Impairment;

use super::{Health, word};

const MINUTES_A_DAY: u64 = 24 * 60;
const MINUTES_AN_HOUR: u64 = 60;

/// Values by name of lines `name: value`; `None` for a line of another form, or a name told twice.
pub(super) fn section(text: &str) -> Option<BTreeMap<&str, &str>> {
    let mut values = BTreeMap::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (name, value) = line.split_once(':')?;
        if values.insert(name.trim(), value.trim()).is_some() {
            return None;
        }
    }
    Some(values)
}

/// The lines below a heading that begins its line, up to the next such heading, those of further headings among them.
/// `None` when there is no such heading, several, a name is told twice, or a line that is none of `headings` has no
/// value: what belongs to the line before it would be lost.
pub(super) fn named_section<'a>(
    text: &'a str,
    heading: &str,
    headings: &[&str],
) -> Option<BTreeMap<&'a str, &'a str>> {
    let mut found: Option<BTreeMap<&str, &str>> = None;
    let mut inside = false;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        if !line.starts_with([' ', '\t']) {
            inside = line.trim().trim_end_matches(':') == heading;
            if inside && found.replace(BTreeMap::new()).is_some() {
                return None;
            }
        } else if let (true, Some(values)) = (inside, found.as_mut()) {
            let Some((name, value)) = line.split_once(':') else {
                if headings.contains(&line.trim()) {
                    continue;
                }
                return None;
            };
            // Carbon Black lists several states under this one name.
            if values.insert(name.trim(), value.trim()).is_some() && name.trim() != "LiveResponse" {
                return None;
            }
        }
    }
    found
}

/// Cisco: `Status: Connected`, `Mode: Normal`, `Faults: None`.
pub(super) fn ampcli(text: &str) -> Option<Health> {
    // The program logs how it logs, in brackets, before it answers.
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('[')).collect();
    let text = lines.join("\n");
    let values = section(&text)?;
    let value = |name: &str| values.get(name).copied();
    Some(Health::of(&[
        (
            word(value("Status"), &["Connected"], &["Disconnected", "Offline", "Connecting..."]),
            Impairment::Disconnected,
        ),
        (word(value("Mode"), &["Normal"], &["Degraded", "Disabled"]), Impairment::Reduced),
        (value("Faults").map(|faults| faults == "None"), Impairment::Unhealthy),
    ]))
}

/// Bitdefender: `  - Antimalware status: On`, and when the content was updated.
pub(super) fn bduitool(text: &str) -> Option<Health> {
    let values = section(text)?;
    let value = |name: &str| values.get(name).copied();
    Some(Health {
        definitions_minutes: value("Last security content update").and_then(bitdefender_minutes),
        ..Health::of(&[(word(value("- Antimalware status"), &["On"], &["Off"]), Impairment::Disabled)])
    })
}

/// The minute of `2023-08-24 at 11:44:37 GMT+2`.
fn bitdefender_minutes(text: &str) -> Option<u64> {
    let (date, rest) = text.split_once(" at ")?;
    let (time, zone) = rest.split_once(" GMT")?;
    let numbers = |text: &str, by: char| -> Option<[u64; 3]> {
        let parts: Vec<u64> = text.split(by).map(|part| part.parse().ok()).collect::<Option<_>>()?;
        parts.try_into().ok()
    };
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, _] = numbers(time, ':')?;
    let local = minutes(year, month, day, hour, minute)?;
    if zone.is_empty() {
        return Some(local);
    }
    let (hours, extra) = zone.get(1..)?.split_once(':').unwrap_or((zone.get(1..)?, "0"));
    let offset = hours.parse::<u64>().ok()?.checked_mul(MINUTES_AN_HOUR)?.checked_add(extra.parse().ok()?)?;
    if zone.starts_with('+') {
        local.checked_sub(offset)
    } else if zone.starts_with('-') {
        local.checked_add(offset)
    } else {
        None
    }
}

/// Minutes since 1970 of a moment of the Gregorian calendar in UTC.
pub(super) fn minutes(year: u64, month: u64, day: u64, hour: u64, minute: u64) -> Option<u64> {
    let sound = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60;
    if !sound {
        return None;
    }
    // Days of the civil calendar, with years that begin in March so that a leap day is the last of its year.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1;
    /// Days from the first of March of year 0 to 1970.
    const EPOCH_DAYS: u64 = 719_468;
    Some(days.checked_sub(EPOCH_DAYS)? * MINUTES_A_DAY + hour * MINUTES_AN_HOUR + minute)
}

/// Cortex: a table `Name PID User Status Command`; a name may have blanks, so rows are read from the number on.
pub(super) fn cytool(text: &str, mac: bool) -> Option<Health> {
    let mut rows = text.lines().filter(|line| !line.trim().is_empty());
    let head: Vec<&str> = rows.next()?.split_whitespace().collect();
    if head != ["Name", "PID", "User", "Status", "Command"] {
        return None;
    }
    let mut states: BTreeMap<String, String> = BTreeMap::new();
    for row in rows {
        let words: Vec<&str> = row.split_whitespace().collect();
        let number = words.iter().position(|word| word.parse::<u32>().is_ok())?;
        let (name, rest) = words.split_at_checked(number)?;
        let state = rest.get(2)?;
        if name.is_empty() || states.insert(name.join(" "), (*state).to_owned()).is_some() {
            return None;
        }
    }
    let state = |name: &str, good: &str| match states.get(name).map(String::as_str) {
        None => Some(false),
        Some(found) => word(Some(found), &[good], &["Stopped", "Not Running", "Unloaded"]),
    };
    let mut signs = vec![(state("pmd", "Running"), Impairment::Partial)];
    let mut attached = None;
    if mac {
        attached = state("kproc-ctrl", "Loaded");
        signs.push((state("authorized", "Running"), Impairment::Partial));
        signs.push((attached, Impairment::NotAttached));
    }
    Some(Health { attached, ..Health::of(&signs) })
}

/// Trend Micro: one line `AgentStatus.agentState: green` after an index of names such as `AgentStatus.13: agentState`.
pub(super) fn dsa_query(text: &str) -> Option<Health> {
    let mut states = text.lines().filter_map(|line| line.strip_prefix("AgentStatus.agentState: "));
    let state = states.next()?;
    if states.next().is_some() {
        return None;
    }
    Some(Health::of(&[(
        word(Some(state), &["green"], &["red", "yellow", "grey", "gray", "amber"]),
        Impairment::Unhealthy,
    )]))
}

/// Carbon Black Cloud: sections of lines, with tabs on Linux and blanks on macOS.
pub(super) fn repcli(text: &str, mac: bool) -> Option<Health> {
    let sensor = named_section(text, if mac { "Sensor State" } else { "Sensor Status" }, &[])?;
    let cloud = named_section(text, "Cloud Status", &[])?;
    let state = sensor.get("State").copied();
    let mut signs = vec![
        (word(state, &["Enabled"], &["Bypass", "Disabled", "Quarantine"]), Impairment::Disabled),
        (word(cloud.get("Registered").copied(), &["Yes"], &["No"]), Impairment::NotRegistered),
    ];
    let mut attached = None;
    if mac {
        let general = named_section(text, "General Info", &[])?;
        let value = |name: &str| general.get(name).copied();
        attached = word(value("Kernel File Filter"), &["Connected"], &["Disconnected", "Not Connected"]);
        signs.extend([
            (attached, Impairment::NotAttached),
            (
                word(value("System Extension"), &["Running"], &["Not Running", "Stopped"]),
                Impairment::NotAttached,
            ),
            (
                word(sensor.get("FullDiskAccess").copied(), &["Enabled"], &["NotEnabled"]),
                Impairment::MissingPermission,
            ),
        ]);
    }
    let passive = (state == Some("Bypass")).then_some(true);
    Some(Health { passive, attached, ..Health::of(&signs) })
}
