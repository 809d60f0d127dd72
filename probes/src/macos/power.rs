//! When the display goes dark, by source of power, as `pmset -g custom` prints it.

use crate::question::Answer;

/// The arguments.
pub(crate) const CUSTOM: [&str; 2] = ["-g", "custom"];
/// Sections by their heading. Power of a UPS lasts minutes and is left out.
const MAINS: &str = "AC Power:";
const BATTERY: &str = "Battery Power:";
const SECONDS_A_MINUTE: u32 = 60;

/// Seconds until the display goes dark, 0 for never: on the mains, and on battery where there is one.
///
/// `None` unless the mains are among them, since every Mac has them and they come last on one with a battery.
pub(crate) fn display_sleep(answer: &Answer) -> Option<Vec<u32>> {
    let mut sections: Vec<(&str, Option<u32>)> = Vec::new();
    for line in answer.whole_text()?.lines() {
        if !line.starts_with(' ') {
            if !line.ends_with(" Power:") || sections.iter().any(|(heading, _)| *heading == line) {
                return None;
            }
            sections.push((line, None));
            continue;
        }
        let mut words = line.split_whitespace();
        if words.next() != Some("displaysleep") {
            sections.last()?;
            continue;
        }
        let minutes: u32 = words.next()?.parse().ok()?;
        let section = sections.last_mut()?;
        // Twice in one section: a heading was lost.
        if section.1.replace(minutes.checked_mul(SECONDS_A_MINUTE)?).is_some() || words.next().is_some() {
            return None;
        }
    }
    if !sections.iter().any(|(heading, _)| *heading == MAINS) {
        return None;
    }
    sections
        .iter()
        .filter(|(heading, _)| [MAINS, BATTERY].contains(heading))
        .map(|(_, seconds)| *seconds)
        .collect()
}
