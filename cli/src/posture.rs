//! `posture`: how every device stands on one day, and why.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::bail;
use clap::Args;
use evidence::ids::{DeviceId, Name};
use evidence::judge::State;
use evidence::time::{DayLabel, MINUTE_MS, Timestamp};
use proto::{PostureReply, PostureRequest, PostureRow};
use serde_json::json;

use crate::client::{Caller, answer};
use crate::command::{Context, Outcome};
use crate::fleet::minute;
use crate::table::{Column, Table, clean, write_wrapped};

/// Arguments of `posture`.
#[derive(Debug, Args)]
pub(crate) struct PostureArgs {
    /// Only this device
    #[arg(long, value_name = "ID")]
    device: Option<DeviceId>,
    /// Only this control
    #[arg(long, value_name = "ID")]
    control: Option<Name>,
    /// Only devices of this group
    #[arg(long, value_name = "GROUP")]
    group: Option<Name>,
    /// Print only units in this state, such as DEVIATION (several: again, or with commas); the exit code is still of all that
    /// was asked for
    #[arg(long = "state", value_name = "STATE", value_delimiter = ',', value_parser = state)]
    states: Vec<State>,
    /// A day of the calendar (UTC) instead of today
    #[arg(long, value_name = "YYYY-MM-DD")]
    day: Option<DayLabel>,
}

/// A state by its name, in capitals or not.
fn state(text: &str) -> Result<State, String> {
    text.to_ascii_uppercase().replace('-', "_").parse().map_err(|_| {
        let names: Vec<&str> = State::ALL.iter().map(|state| state.as_str()).collect();
        format!("no state is called {text}; there are {}", names.join(", "))
    })
}

impl PostureArgs {
    /// Prints the state of every unit asked for. The answer is "no" unless each of them passed or is not concerned.
    pub(crate) async fn run(&self, context: &mut Context<'_>) -> anyhow::Result<Outcome> {
        let mut caller = context.options.connect(context.clock.clone()).await?;
        let mut posture = ask(&mut caller, self.device, self.control.as_ref(), self.day).await?;
        if let Some(group) = &self.group {
            posture.rows.retain(|row| row.group == group.as_str());
        }
        let outcome = outcome(&posture.rows);
        let hidden = self.narrow(&mut posture);
        if context.options.json {
            writeln!(context.out, "{}", posture_json(&posture))?;
        } else if posture.rows.is_empty() && hidden > 0 {
            let line = format!("Day {} (UTC): none of {hidden} units is in such a state.", posture.day);
            writeln!(context.out, "{}", clean(&line))?;
        } else {
            write_posture(context.out, &posture)?;
        }
        Ok(outcome)
    }

    /// Takes out what `--state` did not ask for; how many that were.
    fn narrow(&self, posture: &mut PostureReply) -> usize {
        let all = posture.rows.len();
        if !self.states.is_empty() {
            posture.rows.retain(|row| row.state.parse().is_ok_and(|state| self.states.contains(&state)));
        }
        all.saturating_sub(posture.rows.len())
    }
}

/// The posture of a day (without one: of today, as of now).
pub(crate) async fn ask(
    caller: &mut Caller,
    device: Option<DeviceId>,
    control: Option<&Name>,
    day: Option<DayLabel>,
) -> anyhow::Result<PostureReply> {
    let request = PostureRequest {
        device: device.map(|device| device.to_string()).unwrap_or_default(),
        control: control.map(Name::to_string).unwrap_or_default(),
        day: day.map(|day| day.to_string()).unwrap_or_default(),
    };
    let posture = answer(caller.people.posture(request)).await?;
    if let Some(day) = day
        && posture.day != day.to_string()
    {
        // An older collector would answer about today.
        bail!(
            "asked for {day}, the collector answered for {}: it cannot show another day",
            clean(&posture.day)
        );
    }
    Ok(posture)
}

/// Done when there is something to judge and all of it passed or is not concerned; words this client does not know
/// count against.
pub(crate) fn outcome(rows: &[PostureRow]) -> Outcome {
    let good =
        |row: &PostureRow| matches!(row.state.parse::<State>(), Ok(State::Pass | State::NotApplicable));
    if !rows.is_empty() && rows.iter().all(good) { Outcome::Done } else { Outcome::No }
}

pub(crate) fn write_posture(out: &mut dyn Write, posture: &PostureReply) -> anyhow::Result<()> {
    let policy = if posture.policy.is_empty() {
        "no policy is in force (`tallystick policy put FILE.toml`)".to_owned()
    } else {
        format!("policy {} of entry {}", posture.policy, posture.policy_index)
    };
    write_wrapped(out, &clean(&format!("Day {} (UTC), {policy}.", posture.day)), 0)?;
    if posture.rows.is_empty() {
        writeln!(out, "Nothing to judge: no device in service and no control match.")?;
        return Ok(());
    }
    let mut table = Table::new([
        Column::firm("DEVICE"),
        Column::wrapping("CONTROL"),
        Column::firm("STATE"),
        Column::firm("OBSERVED"),
    ]);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &posture.rows {
        *counts.entry(&row.state).or_default() += 1;
        let observed = match row.observed_minutes {
            0 => "-".to_owned(),
            minutes => minute(Timestamp(minutes.saturating_mul(MINUTE_MS))),
        };
        let cells = [row.device.clone(), row.control.clone(), row.state.clone(), observed];
        table.row_with_note(cells, &row.because);
    }
    table.write(out)?;
    let counts: Vec<String> = counts.into_iter().map(|(state, count)| format!("{count} {state}")).collect();
    write_wrapped(out, &clean(&format!("Units: {}.", counts.join(", "))), 0)?;
    Ok(())
}

pub(crate) fn posture_json(posture: &PostureReply) -> serde_json::Value {
    json!({
        "day": posture.day,
        "policy": posture.policy,
        "policy_index": posture.policy_index,
        "rows": posture.rows.iter().map(row_json).collect::<Vec<_>>(),
    })
}

/// A unit for machines.
pub(crate) fn row_json(row: &PostureRow) -> serde_json::Value {
    json!({
        "device": row.device,
        "class": row.class,
        "group": row.group,
        "control": row.control,
        "state": row.state,
        "because": row.because,
        "observed_minutes": row.observed_minutes,
        "index": row.index,
    })
}

#[cfg(test)]
mod tests;
