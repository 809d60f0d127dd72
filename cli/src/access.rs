//! `access`: who read what.

use clap::Args;
use evidence::time::DayLabel;
use proto::{AccessRequest, AccessRow};
use serde_json::json;

use crate::client::answer;
use crate::command::Context;
use crate::table::{Column, Table};

/// Arguments of `access`.
#[derive(Debug, Args)]
pub(crate) struct AccessArgs {
    /// From this day on (UTC); without it, as far back as the collector keeps
    #[arg(long, value_name = "YYYY-MM-DD")]
    from: Option<DayLabel>,
    /// Up to this day, with it (UTC); without it, today
    #[arg(long, value_name = "YYYY-MM-DD")]
    to: Option<DayLabel>,
}

impl AccessArgs {
    /// Prints the entries, and what is counted and not logged yet.
    pub(crate) async fn run(&self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let text = |day: Option<DayLabel>| day.map(|day| day.to_string()).unwrap_or_default();
        let request = AccessRequest { from_day: text(self.from), to_day: text(self.to) };
        let mut caller = context.options.connect(context.clock.clone()).await?;
        let rows = answer(caller.people.access(request)).await?.rows;
        if context.options.json {
            let rows: Vec<_> = rows.iter().map(row_json).collect();
            writeln!(context.out, "{}", json!({ "access": rows }))?;
            return Ok(());
        }
        if rows.is_empty() {
            writeln!(context.out, "Nobody read anything in that time.")?;
            return Ok(());
        }
        let mut table = Table::new([
            Column::firm("DAY"),
            Column::firm("PERSON"),
            Column::firm("ENTRY"),
            Column::wrapping("WHAT"),
        ]);
        for row in &rows {
            let entry = if row.logged { row.index.to_string() } else { "-".to_owned() };
            table.row([row.day.clone(), row.person.clone(), entry, words(row)]);
        }
        Ok(table.write(context.out)?)
    }
}

fn words(row: &AccessRow) -> String {
    if !row.device.is_empty() {
        return format!("first look at {}", row.device);
    }
    let calls: Vec<String> = row.calls.iter().map(|call| format!("{} {}", call.count, call.call)).collect();
    calls.join(", ")
}

fn row_json(row: &AccessRow) -> serde_json::Value {
    let calls: Vec<_> =
        row.calls.iter().map(|call| json!({ "call": call.call, "count": call.count })).collect();
    json!({
        "index": row.logged.then_some(row.index),
        "person": row.person,
        "day": row.day,
        "device": Some(&row.device).filter(|device| !device.is_empty()),
        "calls": calls,
    })
}
