//! Moments as Windows writes them, in whole minutes since 1970 UTC.

use evidence::time::DayLabel;

use crate::question::Question;

/// The machine's own clock: probes read none, and a pause that has ended is told apart by it only.
pub(crate) const NOW: Question =
    Question::Wmi { namespace: r"root\CIMV2", class: "Win32_OperatingSystem", names: &["LocalDateTime"] };
/// Seconds from 1601, where Windows counts from, to 1970.
pub(crate) const EPOCH_SECONDS: u64 = 11_644_473_600;
/// Windows counts in units of 100 ns.
pub(crate) const UNITS_PER_SECOND: u64 = 10_000_000;
const MINUTES_A_DAY: u64 = 24 * 60;

/// A FILETIME: units of 100 ns since 1601.
pub(crate) fn filetime_minutes(units: u64) -> Option<u64> {
    Some((units / UNITS_PER_SECOND).checked_sub(EPOCH_SECONDS)? / 60)
}

/// WMI's form, `20261130164700.000000+060`: local time, and how many minutes it is ahead of UTC.
pub(crate) fn wmi_minutes(text: &str) -> Option<u64> {
    let (stamp, fraction) = text.split_once('.')?;
    if stamp.len() != 14 || !text.is_ascii() {
        return None;
    }
    let (digits, offset) = (fraction.get(..6)?, fraction.get(6..)?);
    let (sign, offset) = (offset.get(..1)?, offset.get(1..)?);
    if !is_digits(digits) || offset.len() != 3 {
        return None;
    }
    let local = minutes(
        &format!("{}-{}-{}", stamp.get(..4)?, stamp.get(4..6)?, stamp.get(6..8)?),
        stamp.get(8..10)?,
        stamp.get(10..12)?,
        stamp.get(12..)?,
    )?;
    match sign {
        "+" => local.checked_sub(number(offset)?),
        "-" => local.checked_add(number(offset)?),
        _ => None,
    }
}

/// `2026-12-05T10:00:00Z`.
pub(crate) fn iso_minutes(text: &str) -> Option<u64> {
    let (day, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut parts = time.split(':');
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    minutes(day, hour, minute, second)
}

fn minutes(day: &str, hour: &str, minute: &str, second: &str) -> Option<u64> {
    let day: DayLabel = day.parse().ok()?;
    let two = |text: &str, most: u64| number(text).filter(|n| text.len() == 2 && *n <= most);
    two(second, 60)?;
    Some(day.days_since_1970() * MINUTES_A_DAY + two(hour, 23)? * 60 + two(minute, 59)?)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn number(text: &str) -> Option<u64> {
    is_digits(text).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-30T15:47Z.
    const MINUTES: u64 = (20_787 * 24 + 15) * 60 + 47;

    #[test]
    fn one_moment_in_three_forms() {
        assert_eq!(wmi_minutes("20261130164700.000000+060"), Some(MINUTES));
        assert_eq!(wmi_minutes("20261130104759.999999-300"), Some(MINUTES));
        assert_eq!(iso_minutes("2026-11-30T15:47:00Z"), Some(MINUTES));
        let units = (MINUTES * 60 + EPOCH_SECONDS) * UNITS_PER_SECOND;
        assert_eq!(filetime_minutes(units), Some(MINUTES));
    }

    #[test]
    fn nothing_else_is_a_moment() {
        for text in
            ["", "20261130164700", "20261130164700.000000", "20261131164700.000000+060", "é.000000+060"]
        {
            assert_eq!(wmi_minutes(text), None, "{text}");
        }
        for text in [
            "",
            "1796052420",
            "2026-11-30",
            "2026-11-30T15:47:00",
            "30.11.2026 15:47",
            "2026-11-30T+1:47:00Z",
        ] {
            assert_eq!(iso_minutes(text), None, "{text}");
        }
        assert_eq!(filetime_minutes(0), None);
    }
}
