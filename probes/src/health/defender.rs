//! Microsoft Defender: `mdatp health --output json`, and the moments WMI gives.

use proto::Impairment;
use serde_json::Value;

use super::{Health, word};

const MS_A_MINUTE: u64 = 60_000;
/// Real-time protection of Linux works through one of these, that of macOS through the last.
const SUBSYSTEMS: [&str; 3] = ["fanotify", "ebpf", "endpoint_security_extension"];

/// `healthy` alone says yes in passive mode with real-time protection off, and `displayValue` says whether to show a
/// setting, so only `value` counts.
pub(super) fn health(text: &str, mac: bool) -> Option<Health> {
    let json: Value = serde_json::from_str(text).ok()?;
    let flag = |name: &str| json.get(name)?.as_bool();
    let setting = |name: &str| json.get(name)?.get("value")?.as_bool();
    let passive = setting("passiveModeEnabled");
    let real_time = setting("realTimeProtectionEnabled");
    let definitions = json.get("definitionsStatus").and_then(|status| status.get("$type")?.as_str());
    let subsystem = json.get("realTimeProtectionSubsystem").and_then(Value::as_str);
    let mut signs = vec![
        (passive.map(|passive| !passive), Impairment::Passive),
        (real_time, Impairment::Disabled),
        (flag("licensed"), Impairment::NotRegistered),
        (word(definitions, &["upToDate"], &["outOfDate"]), Impairment::Outdated),
    ];
    if mac {
        signs.push((flag("fullDiskAccessEnabled"), Impairment::MissingPermission));
    }
    signs.push((flag("healthy"), Impairment::Unhealthy));
    let minutes = |name: &str| json.get(name)?.as_str()?.parse::<u64>().ok().map(|ms| ms / MS_A_MINUTE);
    Some(Health {
        passive,
        attached: (real_time == Some(true) && subsystem.is_some_and(|s| SUBSYSTEMS.contains(&s)))
            .then_some(true),
        definitions_minutes: minutes("definitionsUpdated"),
        ..Health::of(&signs)
    })
}

/// The minute since 1970 of a moment as WMI writes it: `20261130081500.000000+060`, the offset in minutes.
pub(crate) fn minutes_of_cim(text: &str) -> Option<u64> {
    let (digits, rest) = text.split_at_checked(14)?;
    let (fraction, offset) = rest.strip_prefix('.')?.split_at_checked(6)?;
    let (sign, offset) = offset.split_at_checked(1)?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(digits) || !is_number(fraction) || offset.len() != 3 || !is_number(offset) {
        return None;
    }
    let part = |from: usize, to: usize| digits.get(from..to)?.parse::<u64>().ok();
    let minutes = super::lines::minutes(part(0, 4)?, part(4, 6)?, part(6, 8)?, part(8, 10)?, part(10, 12)?)?;
    let offset: u64 = offset.parse().ok()?;
    match sign {
        "+" => minutes.checked_sub(offset),
        "-" => minutes.checked_add(offset),
        _ => None,
    }
}
