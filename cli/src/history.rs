//! `history`: how one device stood, day by day.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Context as _, bail};
use clap::Args;
use evidence::ids::{DeviceId, Name};
use evidence::time::DayLabel;
use indicatif::{ProgressBar, ProgressStyle};
use proto::{PostureReply, PostureRow};
use serde_json::json;

use crate::command::{Context, Outcome};
use crate::posture::{ask, outcome, row_json};
use crate::table::{Column, Table, clean, write_wrapped};

/// Days shown unless told otherwise: a month.
const DAYS_DEFAULT: u64 = 30;
/// Most days at once: the longest window of an audit, and a month on either side. Each is a question to the collector.
const DAYS_MAX: u64 = 430;

/// Arguments of `history`.
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// Device id
    #[arg(value_name = "ID")]
    device: DeviceId,
    /// Only this control
    #[arg(long, value_name = "ID")]
    control: Option<Name>,
    /// First day (UTC); unset, 29 days before the last
    #[arg(long, value_name = "YYYY-MM-DD")]
    from: Option<DayLabel>,
    /// Last day (UTC); unset, today, as of now
    #[arg(long, value_name = "YYYY-MM-DD")]
    to: Option<DayLabel>,
}

/// Days that follow each other, of one control in one state.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    control: String,
    state: String,
    from: String,
    to: String,
    days: usize,
    /// Why, on its last day.
    because: String,
}

impl HistoryArgs {
    /// Prints each control's states. The answer is "no" unless all of them passed or were not concerned.
    pub(crate) async fn run(&self, context: &mut Context<'_>) -> anyhow::Result<Outcome> {
        let days = self.days(context.clock.now().day())?;
        let mut caller = context.options.connect(context.clock.clone()).await?;
        // Draws nothing when standard error is not a terminal.
        let bar = if context.options.json {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(u64::try_from(days.len()).unwrap_or(u64::MAX))
        };
        bar.set_style(
            ProgressStyle::with_template("{bar:40} {pos}/{len} days")
                .context("the progress bar's template")?,
        );
        let mut postures = Vec::new();
        for day in days {
            postures.push(ask(&mut caller, Some(self.device), self.control.as_ref(), Some(day)).await?);
            bar.inc(1);
        }
        bar.finish_and_clear();
        let rows: Vec<PostureRow> = postures.iter().flat_map(|posture| posture.rows.clone()).collect();
        if context.options.json {
            writeln!(context.out, "{}", history_json(self.device, &postures))?;
        } else {
            write_history(context.out, self.device, &postures)?;
        }
        Ok(outcome(&rows))
    }

    /// The days asked for, first to last.
    fn days(&self, today: DayLabel) -> anyhow::Result<Vec<DayLabel>> {
        let last = self.to.unwrap_or(today);
        if last > today {
            bail!("--to {last} has not come yet: today is {today} (UTC)");
        }
        let end = last.days_since_1970();
        let begin = match self.from {
            Some(first) => first.days_since_1970(),
            None => end.saturating_sub(DAYS_DEFAULT - 1),
        };
        let days = (end + 1).saturating_sub(begin);
        if days == 0 {
            bail!("--from lies after the last day, {last}");
        }
        if days > DAYS_MAX {
            bail!(
                "that is {days} days, and {DAYS_MAX} are the most at once: ask in parts, with --from and --to"
            );
        }
        Ok((begin..=end).map(DayLabel::from_days_since_1970).collect())
    }
}

/// The runs of each control, controls by name, days ascending. A day on which a control was not judged ends a run.
fn runs(postures: &[PostureReply]) -> Vec<Run> {
    let mut runs: Vec<(usize, Run)> = Vec::new();
    for (position, posture) in postures.iter().enumerate() {
        for row in &posture.rows {
            let open = runs.iter_mut().rev().find(|(_, run)| run.control == row.control);
            match open {
                Some((last, run)) if *last + 1 == position && run.state == row.state => {
                    *last = position;
                    run.to.clone_from(&posture.day);
                    run.days += 1;
                    run.because.clone_from(&row.because);
                }
                _ => runs.push((
                    position,
                    Run {
                        control: row.control.clone(),
                        state: row.state.clone(),
                        from: posture.day.clone(),
                        to: posture.day.clone(),
                        days: 1,
                        because: row.because.clone(),
                    },
                )),
            }
        }
    }
    let mut runs: Vec<Run> = runs.into_iter().map(|(_, run)| run).collect();
    // Stable: the days of a control stay in their order.
    runs.sort_by(|a, b| a.control.cmp(&b.control));
    runs
}

fn write_history(out: &mut dyn Write, device: DeviceId, postures: &[PostureReply]) -> anyhow::Result<()> {
    let (Some(first), Some(last)) = (postures.first(), postures.last()) else { return Ok(()) };
    let head = format!("Device {device}, {} to {} (UTC), each day by its own policy.", first.day, last.day);
    write_wrapped(out, &clean(&head), 0)?;
    let empty = postures.iter().filter(|posture| posture.rows.is_empty()).count();
    let mut table = Table::new([
        Column::wrapping("CONTROL"),
        Column::firm("STATE"),
        Column::firm("FROM"),
        Column::firm("TO"),
        Column::firm("DAYS"),
    ]);
    let runs = runs(postures);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for run in &runs {
        *counts.entry(&run.state).or_default() += run.days;
        let cells =
            [run.control.clone(), run.state.clone(), run.from.clone(), run.to.clone(), run.days.to_string()];
        table.row_with_note(cells, &run.because);
    }
    if !runs.is_empty() {
        table.write(out)?;
        let counts: Vec<String> =
            counts.into_iter().map(|(state, count)| format!("{count} {state}")).collect();
        write_wrapped(out, &clean(&format!("Units: {}.", counts.join(", "))), 0)?;
    }
    if empty > 0 {
        let line = format!(
            "On {empty} of {} days nothing was judged: the device was not in service, or no policy was in force.",
            postures.len()
        );
        write_wrapped(out, &line, 0)?;
    }
    Ok(())
}

fn history_json(device: DeviceId, postures: &[PostureReply]) -> serde_json::Value {
    let days: Vec<_> = postures
        .iter()
        .map(|posture| {
            json!({
                "day": posture.day,
                "policy": posture.policy,
                "policy_index": posture.policy_index,
                "rows": posture.rows.iter().map(row_json).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({"device": device.to_string(), "days": days})
}

#[cfg(test)]
mod tests;
