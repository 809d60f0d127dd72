//! `token create`: who may enrol, how many, until when.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, bail};
use certs::{Pin, Token};
use clap::{Args, Subcommand};
use evidence::acts::{self, Body, SERIAL_RECORDS_MAX, USES_MAX};
use evidence::ids::{Class, Name};
use evidence::json::{self, Value};
use evidence::newcomer::VALUE_BYTES_MAX;
use evidence::time::{Clock as _, Timestamp};
use proto::{CreateTokenRequest, DetailRecord};

use super::{Directory, answer, person_key, sign};
use crate::admin_client::Admin;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::secrets;
use crate::state::{DETAIL_BYTES_MAX, Detail, random};

/// Life of a token by default: long enough to carry it to a machine.
const LIFE_DEFAULT: &str = "1h";
/// Longest life of a token for one device without a list, hours: nobody waits longer for one machine.
const HOURS_MAX_ONE: u64 = 72;
/// Longest life of any token, hours: a roll-out takes weeks, and a forgotten token should not wait for a year.
const HOURS_MAX_MANY: u64 = 90 * 24;
/// Largest file of serial numbers in bytes: what the records of one token hold.
const SERIALS_BYTES_MAX: u64 = (SERIAL_RECORDS_MAX * DETAIL_BYTES_MAX) as u64;

/// Commands about tokens.
#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token: for one device, or for as many as --uses says.
    ///
    /// With --serials a device whose serial number is listed enrols once by itself, and any other one waits for
    /// `tallystick devices approve`; with --approve all wait.
    Create(TokenArguments),
}

#[derive(Debug, Args)]
pub(super) struct TokenArguments {
    #[command(flatten)]
    directory: Directory,
    /// Key file of the admin who issues it.
    #[arg(long, value_name = "FILE", env = "TALLYSTICK_KEY")]
    key: PathBuf,
    /// Class of the devices: laptop, desktop, server, vm, container.
    #[arg(long)]
    class: Class,
    /// Group of the devices.
    #[arg(long)]
    group: Name,
    /// How many devices it enrols (1 to 100000) [default: 1, or as many as --serials lists].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=USES_MAX))]
    uses: Option<u64>,
    /// Life: 1h to 72h, and up to 90d with --uses, --serials or --approve.
    #[arg(long, value_name = "TIME", default_value = LIFE_DEFAULT, conflicts_with = "hours")]
    expires: Life,
    /// Life in hours.
    #[arg(long)]
    hours: Option<u64>,
    /// File of serial numbers, one a line.
    #[arg(long, value_name = "FILE")]
    serials: Option<PathBuf>,
    /// Let nobody in by the token alone: a person approves each device.
    #[arg(long)]
    approve: bool,
    /// File to write the token to, readable by you alone; without it the token is printed.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// A length of time in whole hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Life {
    hours: u64,
}

impl FromStr for Life {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no length of time: write 12h or 14d");
        let (unit, number) = match (text.strip_suffix('h'), text.strip_suffix('d')) {
            (Some(number), _) => (1, number),
            (_, Some(number)) => (24, number),
            _ => return Err(wrong()),
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        number.checked_mul(unit).filter(|hours| *hours > 0).map(|hours| Self { hours }).ok_or_else(wrong)
    }
}

/// Runs a command about tokens.
pub(super) async fn run(command: TokenCommand, out: &mut impl Write) -> anyhow::Result<()> {
    let TokenCommand::Create(arguments) = command;
    let key = person_key(&arguments.key)?;
    let config = Config::read(&arguments.directory.dir.join("collector.toml"))?;
    let serials = arguments.serials.as_deref().map(read_serials).transpose()?.unwrap_or_default();
    let details = records(&serials)?;
    let uses = arguments.uses.unwrap_or_else(|| (serials.len() as u64).max(1));
    let many = uses > 1 || arguments.approve || !serials.is_empty();
    let hours = arguments.hours.unwrap_or(arguments.expires.hours);
    let hours_max = if many { HOURS_MAX_MANY } else { HOURS_MAX_ONE };
    if !(1..=hours_max).contains(&hours) {
        bail!("this token may live for 1 to {hours_max} hours, not {hours}");
    }
    let token = Token::new(random()?, pin(&arguments.directory.dir)?);
    let now = SystemClock.now();
    let expires_at = Timestamp(now.0.saturating_add(hours.saturating_mul(3_600_000)));
    let token_hash = token.secret.hash();
    let body = Body::Token(acts::Token {
        token_hash,
        class: arguments.class,
        group: arguments.group,
        expires_at,
        uses,
        approve: arguments.approve,
        serials: details.iter().map(Detail::digest).collect(),
    });
    let envelope = sign(body, &config.origin, now, &key)?;
    let serial_records = details
        .into_iter()
        .map(|detail| DetailRecord { detail: detail.bytes, salt: detail.random.to_vec() })
        .collect();
    let request = CreateTokenRequest { envelope, serials: serial_records };
    let entry = Admin::at(&arguments.directory.dir).await?.create_token(request).await?;
    let text = token.text();
    let mut members = vec![
        ("index", json::count(entry.index)),
        ("token_hash", json::hex(&token_hash)),
        ("expires_at", json::text(expires_at.rfc3339())),
        ("uses", json::count(uses)),
        ("serials", json::count(serials.len() as u64)),
        ("approve", json::count(arguments.approve.into())),
    ];
    let note = match &arguments.out {
        Some(path) => {
            secrets::write_new(path, text.as_bytes())?;
            let devices = if uses == 1 { "one device".to_owned() } else { format!("{uses} devices") };
            let until = expires_at.rfc3339();
            format!("Token written to {}; it enrols {devices} until {until}.", path.display())
        }
        None => {
            members.push(("token", json::text(text.as_str())));
            text.to_string()
        }
    };
    let value = Value::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect());
    answer(out, arguments.directory.json, &value, &note)
}

fn pin(dir: &Path) -> anyhow::Result<Pin> {
    let root = std::fs::read_to_string(dir.join("certs").join("root.pem"))
        .context("cannot read the root certificate")?;
    let root = certs::pem::certificate(&root).context("root.pem")?;
    Pin::of(&root).context("the root certificate has no key that can be pinned")
}

/// The serial numbers of a file: lines, trimmed, ascending, each once.
fn read_serials(path: &Path) -> anyhow::Result<Vec<String>> {
    let length = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
    if length > SERIALS_BYTES_MAX.saturating_mul(2) {
        bail!("{} has {length} bytes: one token lists at most {SERIALS_BYTES_MAX}", path.display());
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut serials: Vec<String> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if let Some(bad) =
        serials.iter().find(|line| line.len() > VALUE_BYTES_MAX || line.contains(char::is_control))
    {
        bail!("{}: {bad:?} is no serial number", path.display());
    }
    serials.sort();
    serials.dedup();
    if serials.is_empty() {
        bail!(
            "{} lists no serial number: nobody could enrol without approval; say --approve for that",
            path.display()
        );
    }
    Ok(serials)
}

/// The detail records of a list.
fn records(serials: &[String]) -> anyhow::Result<Vec<Detail>> {
    let mut records: Vec<Vec<u8>> = Vec::new();
    for serial in serials {
        let line = serial.len().saturating_add(1);
        match records.last_mut() {
            Some(last) if last.len().saturating_add(line) <= DETAIL_BYTES_MAX => {
                last.extend_from_slice(serial.as_bytes());
                last.push(b'\n');
            }
            _ => records.push([serial.as_bytes(), b"\n"].concat()),
        }
    }
    if records.len() > SERIAL_RECORDS_MAX {
        bail!("these serial numbers are too many for one token: divide the list among several");
    }
    records.into_iter().map(|bytes| Ok(Detail { random: random()?, bytes })).collect()
}

#[cfg(test)]
mod tests {
    use super::{DETAIL_BYTES_MAX, Life, records};
    use evidence::newcomer::serial_lines;

    #[test]
    fn lengths_of_time_are_hours_and_days() {
        let hours = |text: &str| text.parse::<Life>().map(|life| life.hours).ok();
        assert_eq!(hours("1h"), Some(1));
        assert_eq!(hours("14d"), Some(14 * 24));
        for bad in ["", "h", "0h", "14", "-1d", "1w", "99999999999999999999d"] {
            assert_eq!(hours(bad), None, "{bad}");
        }
    }

    #[test]
    fn five_thousand_serial_numbers_fit_and_are_found_again() {
        let serials: Vec<String> = (0..5_000).map(|number| format!("5CG{number:07}")).collect();
        let records = records(&serials).unwrap();
        assert!(records.len() <= 4 && records.iter().all(|record| record.bytes.len() <= DETAIL_BYTES_MAX));
        let read: Vec<&str> =
            records.iter().flat_map(|record| serial_lines(&record.bytes).unwrap()).collect();
        assert_eq!(read, serials.iter().map(String::as_str).collect::<Vec<_>>());
        let many: Vec<String> = (0..40_000).map(|number| format!("5CG{number:07}")).collect();
        assert!(super::records(&many).is_err());
    }
}
