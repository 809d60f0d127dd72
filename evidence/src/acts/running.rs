//! Acts of the operations stream about running the fleet: renewed certificates, who read what, configuration.

use super::roster::{optional, take_signature};
use crate::ids::{DeviceId, Digest, InstanceId, Name, PersonId};
use crate::json::{self, JsonError, Members, Value, object};
use crate::time::DayLabel;

/// First bytes of what a device's place in the rings is the hash of.
const RING_LABEL: &[u8] = b"tallystick/ring/v1\0";
/// First bytes of what stands for a token in the transcript of a renewal.
const RENEWAL_LABEL: &[u8] = b"tallystick/renewal/v1\0";
/// Different calls one access summary counts at most.
const CALLS_MAX: usize = 64;
/// Controls a configuration switches off at most: every one there may be.
const DISABLED_MAX: usize = 64;
/// Longest proxy address in bytes.
const PROXY_BYTES_MAX: usize = 512;
/// Shortest interval between looks, in minutes: a look costs a laptop's battery.
pub const INTERVAL_MINUTES_MIN: u64 = 5;
/// Longest: a day, so that every day has evidence.
pub const INTERVAL_MINUTES_MAX: u64 = 1_440;
/// Words of how much an agent logs, least first.
pub const LOG_LEVELS: [&str; 4] = ["error", "warn", "info", "debug"];

/// What stands for the token in the transcript of the renewal with this number.
pub fn renewal_digest(instance: &InstanceId, generation: u64) -> Digest {
    Digest::of_parts(&[RENEWAL_LABEL, instance.as_bytes(), &generation.to_be_bytes()])
}

/// A device has another TLS key and certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// The device.
    pub device: DeviceId,
    /// Its instance.
    pub instance: InstanceId,
    /// Whether the old certificate had ended: the attestation key alone proved who it is.
    pub recovery: bool,
    /// 1, 2, 3… within the instance.
    pub generation: u64,
    /// SHA-256 of the certificate (DER) it had.
    pub previous: Digest,
    /// SHA-256 of the certificate it got.
    pub certificate: Digest,
    /// As at an enrolment; its token is [`renewal_digest`].
    pub transcript: Vec<u8>,
    /// By the attestation key, 64 bytes.
    pub sig_ed25519: Vec<u8>,
    /// By the new TLS key, 64 bytes, r ‖ s.
    pub sig_p256: Vec<u8>,
}

impl Renewal {
    pub(super) fn take(members: &mut Members) -> Result<Self, JsonError> {
        Ok(Self {
            device: members.parsed("device")?,
            instance: members.parsed("instance")?,
            recovery: members.flag("recovery")?,
            generation: members.count("generation")?,
            previous: members.digest("previous")?,
            certificate: members.digest("certificate")?,
            transcript: members.base64("transcript")?,
            sig_ed25519: take_signature(members, "sig_ed25519")?,
            sig_p256: take_signature(members, "sig_p256")?,
        })
    }

    pub(super) fn members(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("device", json::text(self.device.to_string())),
            ("instance", json::text(self.instance.to_string())),
            ("recovery", json::count(self.recovery.into())),
            ("generation", json::count(self.generation)),
            ("previous", json::hex(&self.previous)),
            ("certificate", json::hex(&self.certificate)),
            ("transcript", json::base64(&self.transcript)),
            ("sig_ed25519", json::base64(&self.sig_ed25519)),
            ("sig_p256", json::base64(&self.sig_p256)),
        ]
    }
}

/// Who read what: one person's day, or the first look at one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessSummary {
    /// Who read.
    pub person: PersonId,
    /// The UTC day.
    pub day: DayLabel,
    /// The device that was looked at by name; none in a day's summary.
    pub device: Option<DeviceId>,
    /// (call, how often), ascending by call, each at least once.
    pub calls: Vec<(String, u64)>,
}

impl AccessSummary {
    pub(super) fn take(members: &mut Members) -> Result<Self, JsonError> {
        let mut devices = members.parsed_list("device")?;
        let device = devices.pop();
        if !devices.is_empty() {
            return Err(members.problem("device", "must have no or one item"));
        }
        let calls = members
            .objects("calls")?
            .into_iter()
            .map(|mut item| {
                let call = (item.text("call")?, item.count("count")?);
                item.finish()?;
                Ok(call)
            })
            .collect::<Result<Vec<_>, JsonError>>()?;
        let sound = !calls.is_empty()
            && calls.len() <= CALLS_MAX
            && calls.is_sorted_by(|a, b| a.0 < b.0)
            && calls.iter().all(|(call, count)| *count > 0 && !call.is_empty());
        if !sound {
            return Err(members.problem("calls", "must be 1 to 64, ascending, each counted at least once"));
        }
        Ok(Self { person: members.parsed("person")?, day: members.parsed("day")?, device, calls })
    }

    pub(super) fn members(&self) -> Vec<(&'static str, Value)> {
        let call = |(call, count): &(String, u64)| {
            object([("call", json::text(call)), ("count", json::count(*count))])
        };
        vec![
            ("person", json::text(self.person.to_string())),
            ("day", json::text(self.day.to_string())),
            ("device", optional(self.device.map(|device| json::text(device.to_string())))),
            ("calls", Value::Array(self.calls.iter().map(call).collect())),
        ]
    }
}

/// What every agent is told. It can never add a program, a path or a host to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// 1, 2, 3…: the newest holds.
    pub number: u64,
    /// Percent of the devices it is for so far; the others keep the one before.
    pub percent: u64,
    /// Minutes between looks.
    pub interval_minutes: u64,
    /// Controls that are not looked at, ascending: `unavailable(disabled_by_config)`.
    pub disabled: Vec<Name>,
    /// Address of the proxy the agent goes through; none: as the machine is set.
    pub proxy: Option<String>,
    /// One of [`LOG_LEVELS`].
    pub log_level: String,
}

impl Configuration {
    /// Whether it is for a device: its place, 0 to 99, is below `percent`. The place depends on the device and on what the
    /// configuration sets, not on number and percent: the same settings with more percent reach the same devices and more.
    pub fn is_for(&self, device: &DeviceId) -> bool {
        let settings = self.members().into_iter().filter(|(name, _)| !matches!(*name, "number" | "percent"));
        let settings =
            Value::Object(settings.map(|(name, value)| (name.to_owned(), value)).collect()).to_bytes();
        let place = Digest::of_parts(&[RING_LABEL, device.as_bytes(), Digest::of(&settings).as_bytes()]);
        let number = place.0.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
        number.checked_rem(100).unwrap_or_default() < self.percent
    }

    pub(super) fn take(members: &mut Members) -> Result<Self, JsonError> {
        let disabled = members.parsed_list::<Name>("disabled")?;
        if disabled.len() > DISABLED_MAX || !disabled.is_sorted_by(|a, b| a < b) {
            return Err(members.problem("disabled", "must be at most 64 controls, ascending, each once"));
        }
        let proxy = match members.array("proxy")?.as_slice() {
            [] => None,
            [Value::String(proxy)] if !proxy.is_empty() && proxy.len() <= PROXY_BYTES_MAX => {
                Some(proxy.clone())
            }
            _ => return Err(members.problem("proxy", "must hold no or one address of at most 512 bytes")),
        };
        let configuration = Self {
            number: members.count("number")?,
            percent: members.count("percent")?,
            interval_minutes: members.count("interval_minutes")?,
            disabled,
            proxy,
            log_level: members.text("log_level")?,
        };
        if configuration.number == 0 {
            return Err(members.problem("number", "begins at 1"));
        }
        if !(1..=100).contains(&configuration.percent) {
            return Err(members.problem("percent", "must be 1 to 100"));
        }
        if !(INTERVAL_MINUTES_MIN..=INTERVAL_MINUTES_MAX).contains(&configuration.interval_minutes) {
            return Err(members.problem("interval_minutes", "must be 5 to 1440"));
        }
        if !LOG_LEVELS.contains(&configuration.log_level.as_str()) {
            return Err(members.problem("log_level", "must be error, warn, info or debug"));
        }
        Ok(configuration)
    }

    pub(super) fn members(&self) -> Vec<(&'static str, Value)> {
        let disabled = self.disabled.iter().map(|control| json::text(control.as_str())).collect();
        vec![
            ("number", json::count(self.number)),
            ("percent", json::count(self.percent)),
            ("interval_minutes", json::count(self.interval_minutes)),
            ("disabled", Value::Array(disabled)),
            ("proxy", optional(self.proxy.as_ref().map(json::text))),
            ("log_level", json::text(&self.log_level)),
        ]
    }
}
