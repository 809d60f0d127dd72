//! Elastic Defend: what the Elastic Agent says of its component `endpoint`. The agent alone is telemetry.

use proto::Impairment;
use serde_json::Value;

use super::{Health, word};

/// `state` of the agent's protocol: 2 is healthy, 3 degraded, 4 failed; some releases print the name.
const HEALTHY: [&str; 2] = ["2", "HEALTHY"];
const BROKEN: [&str; 4] = ["3", "4", "DEGRADED", "FAILED"];
const COMPONENT: &str = "endpoint";

/// `status --output json`.
pub(super) fn status(text: &str) -> Option<Health> {
    let json: Value = serde_json::from_str(text).ok()?;
    let components = json.get("components")?.as_array()?;
    let mut endpoints =
        components.iter().filter(|c| c.get("name").and_then(Value::as_str) == Some(COMPONENT));
    let Some(endpoint) = endpoints.next() else {
        return Some(Health::of(&[(Some(false), Impairment::NotRegistered)]));
    };
    if endpoints.next().is_some() {
        return None;
    }
    let units = endpoint.get("units")?.as_array()?;
    let mut signs = vec![(state(endpoint), Impairment::Unhealthy)];
    signs.extend(units.iter().map(|unit| (state(unit), Impairment::Partial)));
    (!units.is_empty()).then(|| Health::of(&signs))
}

fn state(part: &Value) -> Option<bool> {
    let state = match part.get("state")? {
        Value::Number(number) => number.to_string(),
        Value::String(name) => name.clone(),
        _ => return None,
    };
    word(Some(state.as_str()), &HEALTHY, &BROKEN)
}
