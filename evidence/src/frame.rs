//! The frame: which units a plan is about, from plan, roster and calendar alone. docs/FORMAT.md section 10.

use crate::ids::{Digest, Name, UnitId};
use crate::plan::Plan;
use crate::roster::Roster;
use crate::time::Timestamp;

/// Every unit of one control, in the order of the population file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Sorted bytewise, unique.
    pub units: Vec<UnitId>,
}

impl Frame {
    /// The frame of one control. `roster` must hold exactly the entries the freeze names; `freeze` is the
    /// received_ms of the freeze leaf, which ends a partial last day.
    pub fn of(plan: &Plan, control: &Name, roster: &Roster, freeze: Timestamp) -> Self {
        let days = plan.spans(freeze);
        let mut units = Vec::new();
        for (device, record) in roster.devices() {
            let spans = record.spans();
            for day in &days {
                let within = |span: &&crate::roster::ServiceSpan| {
                    span.start < day.end && day.start < span.end && day.start < day.end
                };
                if spans.iter().filter(within).any(|span| plan.scope.holds(span.class, &span.group)) {
                    units.push(UnitId { device: *device, day: day.label, control: control.clone() });
                }
            }
        }
        // Devices sort by their bytes, unit ids by their base32 text: base32's letters come before its digits
        // in value, after them in ASCII.
        units.sort_by_cached_key(ToString::to_string);
        Self { units }
    }

    /// The population file.
    pub fn population(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for unit in &self.units {
            out.extend_from_slice(unit.to_string().as_bytes());
            out.push(b'\n');
        }
        out
    }

    /// SHA-256 of the population file.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.population())
    }
}

#[cfg(test)]
mod tests;
