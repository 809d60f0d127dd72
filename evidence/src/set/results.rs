//! `results/<control>.json`: the whole population's states, beside which the sample can be laid.

use std::collections::BTreeMap;

use crate::ids::{DeviceId, Name, UnitId};
use crate::json::{self, JsonError, Members, Value, object};

/// How many units of each state, states that occur only.
pub type Counts = BTreeMap<String, u64>;

/// One device's counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceCounts {
    /// The device.
    pub device: DeviceId,
    /// Its units by state.
    pub counts: Counts,
}

/// A unit that is not PASS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitRow {
    /// The unit.
    pub unit: UnitId,
    /// Its state.
    pub state: String,
    /// Why.
    pub because: String,
}

/// `results/<control>.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Results {
    /// The control.
    pub control: Name,
    /// Over the population.
    pub counts: Counts,
    /// By device, in the order of their text.
    pub devices: Vec<DeviceCounts>,
    /// Every unit that is not PASS, in the order of their text.
    pub units: Vec<UnitRow>,
}

/// {state: n}
pub fn counts_value(counts: &Counts) -> Value {
    Value::Object(counts.iter().map(|(state, n)| (state.clone(), json::count(*n))).collect())
}

fn take_counts(members: &mut Members, key: &str) -> Result<Counts, JsonError> {
    let Value::Object(items) = members.value(key)? else {
        return Err(members.problem(key, "must be an object"));
    };
    items
        .into_iter()
        .map(|(state, value)| match value {
            Value::Integer(n) if n > 0 => Ok((state, n.unsigned_abs())),
            _ => Err(members.problem(key, "must count states that occur")),
        })
        .collect()
}

impl Results {
    /// Tallies the units of one control: (unit, state, because), in any order.
    pub fn tally(control: &Name, judged: &[(UnitId, &str, &str)]) -> Self {
        let mut counts = Counts::new();
        let mut devices: BTreeMap<String, DeviceCounts> = BTreeMap::new();
        let mut units: BTreeMap<String, UnitRow> = BTreeMap::new();
        for (unit, state, because) in judged {
            *counts.entry((*state).to_owned()).or_default() += 1;
            let device = devices
                .entry(unit.device.to_string())
                .or_insert_with(|| DeviceCounts { device: unit.device, counts: Counts::new() });
            *device.counts.entry((*state).to_owned()).or_default() += 1;
            if *state != "PASS" {
                let row = UnitRow {
                    unit: unit.clone(),
                    state: (*state).to_owned(),
                    because: (*because).to_owned(),
                };
                units.insert(unit.to_string(), row);
            }
        }
        Self {
            control: control.clone(),
            counts,
            devices: devices.into_values().collect(),
            units: units.into_values().collect(),
        }
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let devices = self
            .devices
            .iter()
            .map(|row| {
                object([
                    ("device", json::text(row.device.to_string())),
                    ("counts", counts_value(&row.counts)),
                ])
            })
            .collect();
        let units = self
            .units
            .iter()
            .map(|row| {
                object([
                    ("unit", json::text(row.unit.to_string())),
                    ("state", json::text(&row.state)),
                    ("because", json::text(&row.because)),
                ])
            })
            .collect();
        object([
            ("control", json::text(self.control.as_str())),
            ("counts", counts_value(&self.counts)),
            ("devices", Value::Array(devices)),
            ("units", Value::Array(units)),
        ])
        .to_bytes()
    }

    /// Reads results.
    pub fn parse(bytes: &[u8]) -> Result<Self, JsonError> {
        let mut members = Members::of(Value::parse(bytes)?, "")?;
        let devices = members
            .objects("devices")?
            .into_iter()
            .map(|mut item| {
                let row = DeviceCounts {
                    device: item.parsed("device")?,
                    counts: take_counts(&mut item, "counts")?,
                };
                item.finish()?;
                Ok(row)
            })
            .collect::<Result<Vec<_>, JsonError>>()?;
        let units = members
            .objects("units")?
            .into_iter()
            .map(|mut item| {
                let row = UnitRow {
                    unit: item.parsed("unit")?,
                    state: item.text("state")?,
                    because: item.text("because")?,
                };
                item.finish()?;
                Ok(row)
            })
            .collect::<Result<Vec<_>, JsonError>>()?;
        if !devices.is_sorted_by(|a, b| a.device.to_string() < b.device.to_string()) {
            return Err(members.problem("devices", "must ascend, each once"));
        }
        if !units.is_sorted_by(|a, b| a.unit.to_string() < b.unit.to_string()) {
            return Err(members.problem("units", "must ascend, each once"));
        }
        let results = Self {
            control: members.parsed("control")?,
            counts: take_counts(&mut members, "counts")?,
            devices,
            units,
        };
        members.finish()?;
        Ok(results)
    }
}
