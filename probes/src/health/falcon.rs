//! CrowdStrike Falcon: `falconctl` of Linux prints options, that of macOS statistics.

use std::collections::BTreeMap;

use proto::Impairment;

use super::{Health, word};

const NOT_SET: &str = "is not set";

/// `-g`: `cid="…", aid="…", rfm-state=false, version = 7.1.0.`, on one or several lines.
///
/// An option that is not set says `rfm-state is not set`: the sensor has not told yet, which is not "false".
pub(super) fn options(text: &str) -> Option<Health> {
    let mut options: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    for part in text.split([',', '\n']).map(str::trim) {
        // The list ends in a full stop, which a version also has inside.
        let part = part.strip_suffix('.').unwrap_or(part);
        let (name, value) = match (part.split_once('='), part.strip_suffix(NOT_SET)) {
            (Some((name, value)), _) => (name, Some(value.trim().trim_matches('"'))),
            (None, Some(name)) => (name, None),
            (None, None) if part.is_empty() => continue,
            (None, None) => return None,
        };
        if options.insert(name.trim(), value.filter(|value| !value.is_empty())).is_some() {
            return None;
        }
    }
    let set = |name: &str| options.get(name).map(Option::is_some);
    let reduced = options.get("rfm-state").copied().flatten();
    let attached = word(reduced, &["false"], &["true"]);
    Some(Health {
        attached,
        ..Health::of(&[
            (set("cid"), Impairment::NotRegistered),
            (set("aid"), Impairment::NotRegistered),
            (attached, Impairment::Reduced),
        ])
    })
}

/// `stats agent_info`: lines `name: value` below `=== agent_info ===`.
pub(super) fn agent_info(text: &str) -> Option<Health> {
    let values = super::lines::section(text.strip_prefix("=== agent_info ===\n")?)?;
    let value = |name: &str| values.get(name).copied();
    let known = |name: &str| value(name).map(|id| !id.is_empty());
    let status = match value("Sensor status") {
        // Only newer sensors print it.
        None => Some(true),
        Some(found) => word(Some(found), &["loaded"], &["not loaded", "unloaded"]),
    };
    Some(Health::of(&[
        (known("agentID"), Impairment::NotRegistered),
        (known("customerID"), Impairment::NotRegistered),
        (word(value("Sensor operational"), &["true"], &["false"]), Impairment::Reduced),
        (status, Impairment::Disabled),
    ]))
}
