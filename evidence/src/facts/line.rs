//! Facts in one line for people: what the employee and the security team read beside a state.

use super::{Facts, Value};

impl Facts {
    fn word(&self, name: &str) -> Option<&str> {
        match self.value(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    fn number(&self, name: &str) -> Option<u64> {
        match self.value(name) {
            Some(Value::Integer(number)) => Some(*number),
            _ => None,
        }
    }

    /// One item of `list` of a control, in words, for example `/ on ext4: not encrypted (1 of 1 disk plain)`.
    pub fn item_line(&self, list: &str) -> String {
        match list {
            "volumes" => volume(self),
            "products" => product(self),
            "users" => lock_setting(self),
            "filters" => firewall_filter(self),
            "identifiers" => identifier(self),
            "managers" => manager_product(self),
            _ => self.word(super::ITEM).unwrap_or("unknown").to_owned(),
        }
    }

    /// The fact `name` of a control, in words; ages are counted from `observed_minute`.
    pub fn fact_line(&self, name: &str, observed_minute: u64) -> String {
        match (name, self.value(name)) {
            ("pending_security", Some(Value::Integer(number))) => {
                format!("{} not installed", counted(*number, "security update"))
            }
            ("pending_other", Some(Value::Integer(number))) => {
                format!("{} not installed", counted(*number, "other update"))
            }
            ("lists_minutes", Some(Value::Integer(minute))) => {
                format!("package lists refreshed {}", age(*minute, observed_minute))
            }
            ("installed_minutes", Some(Value::Integer(minute))) => {
                format!("newest package change {}", age(*minute, observed_minute))
            }
            ("reboot_required", Some(Value::Text(word))) if word == "yes" => {
                "a restart is needed to finish an update".to_owned()
            }
            ("reboot_required", Some(Value::Text(_))) => "no restart is needed".to_owned(),
            (_, Some(Value::Text(text))) => format!("{name} is {text}"),
            (_, Some(Value::Integer(number))) => format!("{name} is {number}"),
            (_, None) => format!("{name} is unknown"),
        }
    }
}

fn counted(number: u64, noun: &str) -> String {
    match number {
        0 => format!("no {noun}s"),
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

fn age(minute: u64, observed_minute: u64) -> String {
    const HOUR: u64 = 60;
    const DAY: u64 = 24 * HOUR;
    match observed_minute.checked_sub(minute) {
        None => "after the observation, by the device's clock".to_owned(),
        Some(minutes) if minutes >= 2 * DAY => format!("{} days before", minutes / DAY),
        Some(minutes) if minutes >= 2 * HOUR => format!("{} hours before", minutes / HOUR),
        Some(minutes) => format!("{} before", counted(minutes, "minute")),
    }
}

fn volume(volume: &Facts) -> String {
    let place = match (volume.word("mount"), volume.word("purpose")) {
        (Some(mount), _) => mount,
        (None, Some(purpose)) => purpose,
        (None, None) => "a volume",
    };
    let filesystem = volume.word("filesystem").map(|name| format!(" on {name}")).unwrap_or_default();
    let leaves = volume.number("leaves").unwrap_or(0);
    let plain = leaves.saturating_sub(volume.number("leaves_encrypted").unwrap_or(0));
    let state = match volume.word("encryption") {
        Some("none") => format!("not encrypted ({plain} of {} plain)", counted(leaves, "disk")),
        Some("partial") => format!("partly encrypted ({plain} of {} plain)", counted(leaves, "disk")),
        Some("full") => "encrypted".to_owned(),
        Some("memory") => "in memory only".to_owned(),
        _ => "encryption unknown".to_owned(),
    };
    let purpose = match volume.word("purpose") {
        Some("boot" | "efi") => ", a boot volume",
        _ => "",
    };
    format!("{place}{filesystem}: {state}{purpose}")
}

fn product(product: &Facts) -> String {
    let name = product.word("product").unwrap_or("a product");
    let kind = product.word("kind").map(|kind| format!(" ({kind})")).unwrap_or_default();
    let said = [
        ("running", "running from its own path", "not running from its own path", "running unknown"),
        ("trusted_path", "path trusted", "path can be written by others", "path unknown"),
        ("unit_active", "unit active", "unit not active", "unit unknown"),
    ];
    if product.word("installed") == Some("no") && product.word("running") != Some("yes") {
        return format!("{name}{kind}: not installed");
    }
    let words: Vec<_> = said
        .into_iter()
        .map(|(fact, yes, no, unknown)| match product.word(fact) {
            Some("yes") => yes,
            Some(_) => no,
            None => unknown,
        })
        .collect();
    format!("{name}{kind}: {}{}", words.join(", "), effect(product))
}

/// What it does, where an agent asked: nothing is said of what nothing is known to ask.
fn effect(product: &Facts) -> String {
    let effective = match (product.word("effective"), product.word("health_source")) {
        (Some("yes"), _) => ", effective".to_owned(),
        (Some(_), _) => {
            let why = product.word("impairment").unwrap_or("no reason told").replace('_', " ");
            format!(", not effective ({why})")
        }
        (None, Some("vendor")) => ", effect unknown".to_owned(),
        (None, _) => String::new(),
    };
    let attached = match product.word("attached") {
        Some("yes") => ", attached",
        Some(_) => ", not attached",
        None => "",
    };
    format!("{attached}{effective}")
}

fn firewall_filter(filter: &Facts) -> String {
    let scope = filter.word("scope").unwrap_or("some traffic");
    let incoming = match (filter.word("incoming"), filter.word("enabled")) {
        (Some("block"), _) => "incoming traffic is blocked unless a rule allows it",
        (Some(_), Some("no")) => "no firewall",
        (Some(_), _) => "incoming traffic is allowed unless a rule blocks it",
        (None, _) => "unknown",
    };
    let open = match filter.number("open_interfaces") {
        Some(0) => String::new(),
        Some(number) => format!(", {} to a whole interface", counted(number, "open rule")),
        None => ", open interfaces unknown".to_owned(),
    };
    format!("{scope}: {incoming}{open}")
}

fn identifier(identifier: &Facts) -> String {
    let kind = identifier.word("kind").unwrap_or("an identifier").replace('_', " ");
    match (identifier.word("value"), identifier.word("placeholder")) {
        (Some(value), _) => format!("{kind}: {value}"),
        (None, Some("yes")) => format!("{kind}: a placeholder"),
        (None, _) => format!("{kind}: unknown"),
    }
}

fn manager_product(manager: &Facts) -> String {
    let name = manager.word("product").unwrap_or("a password manager");
    let state = match manager.word("installed") {
        Some("yes") => "installed",
        Some(_) => "not installed",
        None => "unknown",
    };
    format!("{name}: {state}")
}

fn lock_setting(setting: &Facts) -> String {
    let desktop = setting.word("desktop").unwrap_or("a desktop");
    let scope = match setting.word("scope") {
        Some("session") => " session",
        Some("system_default") => " default",
        _ => "",
    };
    let idle = match setting.number("idle_seconds") {
        Some(0) => "never blanks".to_owned(),
        Some(seconds) => format!("blanks after {seconds} s idle"),
        None => "idle time unknown".to_owned(),
    };
    let delay = match setting.number("delay_seconds") {
        Some(seconds) => format!("password {seconds} s later"),
        None => "password delay unknown".to_owned(),
    };
    let enabled = match setting.word("enabled") {
        Some("yes") => "lock on",
        Some(_) => "lock off",
        None => "lock unknown",
    };
    format!("{desktop}{scope}: {enabled}, {idle}, {delay}")
}
