//! Acts of the operations stream: what was erased, and what must not be.

use super::roster::optional;
use crate::erasure::Scope;
use crate::ids::{DeviceId, Digest, Name, PersonId};
use crate::json::{self, JsonError, Members, Value, object};

/// Scopes one tombstone names at most, so that it fits an entry.
pub const SCOPES_MAX: usize = 400;
/// Devices one hold names at most.
const DEVICES_MAX: usize = 400;

/// The keys of these scopes are erased, and with them the payloads of every entry in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// Why, as an id: `retention`, or what a person decided by.
    pub rule: Name,
    /// Days the rule keeps statements; 0 for a rule that is not about age.
    pub days: u64,
    /// Who asked for it; none for the retention rule of the configuration.
    pub requested_by: Option<PersonId>,
    /// Ascending; scopes of devices only.
    pub scopes: Vec<Scope>,
    /// Size of the log when it was decided: every entry of the scopes lies below.
    pub up_to: u64,
}

impl Tombstone {
    pub(super) fn take(members: &mut Members) -> Result<Self, JsonError> {
        let scopes = members
            .objects("scopes")?
            .into_iter()
            .map(|mut item| {
                let scope =
                    Scope::Device { instance: item.parsed("instance")?, quarter: item.parsed("quarter")? };
                item.finish()?;
                Ok(scope)
            })
            .collect::<Result<Vec<_>, JsonError>>()?;
        if scopes.is_empty() || scopes.len() > SCOPES_MAX || !scopes.is_sorted_by(|a, b| a < b) {
            return Err(members.problem("scopes", "must be 1 to 400, ascending, each once"));
        }
        let requested_by = match members.array("requested_by")?.as_slice() {
            [] => None,
            [Value::String(person)] => Some(
                person.parse().map_err(|_| members.problem("requested_by", "must hold no or one person"))?,
            ),
            _ => return Err(members.problem("requested_by", "must hold no or one person")),
        };
        Ok(Self {
            rule: members.parsed("rule")?,
            days: members.count("days")?,
            requested_by,
            scopes,
            up_to: members.count("up_to")?,
        })
    }

    pub(super) fn members(&self) -> Vec<(&'static str, Value)> {
        let scope = |scope: &Scope| match scope {
            Scope::Device { instance, quarter } => Some(object([
                ("instance", json::text(instance.to_string())),
                ("quarter", json::text(quarter.to_string())),
            ])),
            // No tombstone can name one: none is ever read or built with it.
            Scope::Stream { .. } => None,
        };
        vec![
            ("rule", json::text(self.rule.as_str())),
            ("days", json::count(self.days)),
            ("requested_by", optional(self.requested_by.map(|person| json::text(person.to_string())))),
            ("scopes", Value::Array(self.scopes.iter().filter_map(scope).collect())),
            ("up_to", json::count(self.up_to)),
        ]
    }
}

/// Nothing of these devices is erased while it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Its name, used once to add it and once to release it.
    pub hold: Name,
    /// Whether it begins or ends.
    pub holds: bool,
    /// The devices, ascending; none: every device.
    pub devices: Vec<DeviceId>,
    /// The detail record with the reason.
    pub detail: Digest,
}

impl Hold {
    pub(super) fn take(members: &mut Members) -> Result<Self, JsonError> {
        let devices = members
            .array("devices")?
            .iter()
            .map(|device| match device {
                Value::String(device) => device.parse().ok(),
                _ => None,
            })
            .collect::<Option<Vec<DeviceId>>>()
            .filter(|devices| devices.len() <= DEVICES_MAX && devices.is_sorted_by(|a, b| a < b))
            .ok_or_else(|| members.problem("devices", "must be at most 400 devices, ascending, each once"))?;
        let hold = Self {
            hold: members.parsed("hold")?,
            holds: members.flag("holds")?,
            devices,
            detail: members.digest("detail")?,
        };
        if hold.holds || hold.devices.is_empty() {
            Ok(hold)
        } else {
            Err(members.problem("devices", "must be empty where a hold ends: it ends as a whole"))
        }
    }

    pub(super) fn members(&self) -> Vec<(&'static str, Value)> {
        let devices = self.devices.iter().map(|device| json::text(device.to_string())).collect();
        vec![
            ("hold", json::text(self.hold.as_str())),
            ("holds", json::count(self.holds.into())),
            ("devices", Value::Array(devices)),
            ("detail", json::hex(&self.detail)),
        ]
    }
}
