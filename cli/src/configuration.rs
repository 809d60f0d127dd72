//! `config`: the fleet configuration, an admin's act that every agent it is for obeys.

use anyhow::{Context as _, bail};
use clap::Subcommand;
use evidence::acts::{Act, Body, Configuration};
use evidence::ids::Name;
use evidence::leaf::Kind;
use evidence::time::Timestamp;
use proto::{ConfigurationRow, ConfigurationsRequest};
use serde_json::json;
use toml::Table as Toml;

use crate::act::write_reply;
use crate::client::{Caller, answer};
use crate::command::Context;
use crate::files;
use crate::fleet::{FileArgs, minute, sign};
use crate::table::{Column, Table, clean};

/// Largest file, bytes: 64 control names and an address.
const FILE_BYTES_MAX: usize = 16 * 1024;
/// Minutes between looks, where the file says nothing: the agent's own default.
const INTERVAL_MINUTES_DEFAULT: u64 = 360;

/// Commands about the fleet configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Sign a configuration file (TOML) and put it into the log
    ///
    /// Members: interval_minutes (5 to 1440), disabled (controls), proxy, log_level (error, warn, info, debug), and percent (1
    /// to 100): the devices it is for so far. The same settings with more percent reach more devices and lose none.
    Put(FileArgs),
    /// Print the newest configuration, and the one before for devices outside its percent
    Show,
    /// Print every configuration
    History,
}

impl ConfigCommand {
    /// Puts or shows.
    pub(crate) async fn run(&self, context: &mut Context<'_>) -> anyhow::Result<()> {
        match self {
            Self::Put(args) => {
                let bytes = files::read(&args.file, "the configuration file", FILE_BYTES_MAX)?;
                let text = String::from_utf8(bytes)
                    .with_context(|| format!("{} is not UTF-8", args.file.display()))?;
                let mut configuration = parse(&text).with_context(|| args.file.display().to_string())?;
                let mut caller = context.options.connect(context.clock.clone()).await?;
                let newest = rows(&mut caller).await?.last().map_or(0, |(_, newest)| newest.number);
                configuration.number = newest.saturating_add(1);
                let signed = sign(&caller, Body::Configuration(configuration), context)?;
                let reply = signed.carry(&mut caller, None).await?;
                write_reply(context.out, context.options.json, "The configuration", &reply)
            }
            Self::Show => show(context, true).await,
            Self::History => show(context, false).await,
        }
    }
}

/// The configuration a file describes; its number is given when it is put.
fn parse(text: &str) -> anyhow::Result<Configuration> {
    let mut table: Toml =
        text.parse().map_err(|error: toml::de::Error| anyhow::anyhow!("{}", error.message()))?;
    let mut number = |name: &str, default: u64| -> anyhow::Result<u64> {
        match table.remove(name) {
            None => Ok(default),
            Some(value) => value
                .as_integer()
                .and_then(|value| u64::try_from(value).ok())
                .with_context(|| format!("{name} must be a number")),
        }
    };
    let (percent, interval_minutes) =
        (number("percent", 100)?, number("interval_minutes", INTERVAL_MINUTES_DEFAULT)?);
    let mut text = |name: &str| -> anyhow::Result<Option<String>> {
        match table.remove(name) {
            None => Ok(None),
            Some(toml::Value::String(value)) => Ok(Some(value)),
            Some(_) => bail!("{name} must be a text"),
        }
    };
    let (proxy, log_level) = (text("proxy")?, text("log_level")?.unwrap_or_else(|| "info".to_owned()));
    let mut disabled = match table.remove("disabled") {
        None => Vec::new(),
        Some(toml::Value::Array(items)) => items
            .into_iter()
            .map(|item| {
                let name = item.as_str().context("disabled must be a list of control names")?;
                let is_known = evidence::facts::CONTROLS.contains(&name);
                if !is_known {
                    bail!("disabled: there is no control {name:?}");
                }
                Ok(name.parse::<Name>()?)
            })
            .collect::<anyhow::Result<Vec<_>>>()?,
        Some(_) => bail!("disabled must be a list of control names"),
    };
    disabled.sort();
    disabled.dedup();
    if let Some(unknown) = table.keys().next() {
        bail!(
            "{unknown} is no member of a fleet configuration: it can name no program, path or host to look at"
        );
    }
    Ok(Configuration { number: 1, percent, interval_minutes, disabled, proxy, log_level })
}

async fn rows(caller: &mut Caller) -> anyhow::Result<Vec<(ConfigurationRow, Configuration)>> {
    let rows = answer(caller.people.configurations(ConfigurationsRequest {})).await?.rows;
    rows.into_iter()
        .map(|row| {
            let (_, act) = Act::open_as(&row.envelope, Kind::CONFIGURATION)
                .context("the collector's answer holds no configuration")?;
            let Body::Configuration(configuration) = act.body else {
                bail!("the collector's answer holds another act");
            };
            Ok((row, configuration))
        })
        .collect()
}

async fn show(context: &mut Context<'_>, in_force: bool) -> anyhow::Result<()> {
    let mut caller = context.options.connect(context.clock.clone()).await?;
    let mut rows = rows(&mut caller).await?;
    if in_force {
        // Those that some device is told, and the newest in any case.
        let newest = rows.last().map(|(row, _)| row.index);
        rows.retain(|(row, _)| row.devices > 0 || Some(row.index) == newest);
    }
    if context.options.json {
        let rows: Vec<_> = rows.iter().map(|(row, configuration)| row_json(row, configuration)).collect();
        writeln!(context.out, "{}", json!({"configurations": rows}))?;
        return Ok(());
    }
    if rows.is_empty() {
        writeln!(
            context.out,
            "There is no fleet configuration: each agent goes by its own (`tallystick config put FILE`)."
        )?;
        return Ok(());
    }
    let mut table = Table::new([
        Column::firm("NUMBER"),
        Column::firm("PERCENT"),
        Column::firm("MINUTES"),
        Column::firm("LOG LEVEL"),
        Column::firm("RECEIVED"),
        Column::firm("DEVICES"),
    ]);
    for (row, configuration) in &rows {
        let disabled: Vec<&str> = configuration.disabled.iter().map(Name::as_str).collect();
        let off = if disabled.is_empty() {
            "nothing is switched off".to_owned()
        } else {
            format!("off: {}", disabled.join(", "))
        };
        let proxy =
            configuration.proxy.as_deref().map_or_else(String::new, |proxy| format!("; proxy {proxy}"));
        let cells = [
            configuration.number.to_string(),
            configuration.percent.to_string(),
            configuration.interval_minutes.to_string(),
            configuration.log_level.clone(),
            minute(Timestamp(row.received_ms)),
            row.devices.to_string(),
        ];
        table.row_with_note(cells, &clean(&format!("Entry {}; {off}{proxy}", row.index)));
    }
    Ok(table.write(context.out)?)
}

fn row_json(row: &ConfigurationRow, configuration: &Configuration) -> serde_json::Value {
    let disabled: Vec<&str> = configuration.disabled.iter().map(Name::as_str).collect();
    json!({
        "index": row.index,
        "received_ms": row.received_ms,
        "devices": row.devices,
        "number": configuration.number,
        "percent": configuration.percent,
        "interval_minutes": configuration.interval_minutes,
        "disabled": disabled,
        "proxy": configuration.proxy,
        "log_level": configuration.log_level,
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_file_names_what_is_built_in_and_nothing_else() {
        let configuration = parse("disabled = [\"remote-access\", \"edr\"]\npercent = 10\n").unwrap();
        assert_eq!((configuration.percent, configuration.interval_minutes), (10, 360));
        let disabled: Vec<String> = configuration.disabled.iter().map(ToString::to_string).collect();
        assert_eq!(disabled, ["edr", "remote-access"]);
        for (text, named) in [
            ("program = \"/bin/sh\"", "program is no member"),
            ("path = [\"/etc/shadow\"]", "path is no member"),
            ("disabled = [\"everything\"]", "no control \"everything\""),
            ("disabled = \"edr\"", "must be a list"),
            ("percent = \"all\"", "percent must be a number"),
            ("percent = -1", "percent must be a number"),
            ("proxy = 3", "proxy must be a text"),
            ("percent =", ""),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
