//! Where the program's own log lines go.

use tracing_subscriber::filter::{LevelFilter, Targets};

/// Targets with levels, not an `EnvFilter`: that brings a regular expression engine of half a megabyte.
pub(crate) fn log_to_stderr(as_json: bool, level: LevelFilter) {
    use tracing_subscriber::{fmt, layer::SubscriberExt as _, registry, util::SubscriberInitExt as _};
    let wanted = std::env::var("TALLYSTICK_LOG").ok().and_then(|text| text.parse().ok());
    let fixed = wanted.is_some();
    let targets = wanted.unwrap_or_else(|| Targets::new().with_default(level));
    let targets = crate::log_level::filter(targets, fixed);
    let lines = fmt::layer().with_writer(std::io::stderr);
    // A second initialisation, as in tests, keeps the first.
    let _first_stays = if as_json {
        registry().with(targets).with(lines.json()).try_init()
    } else {
        registry().with(targets).with(lines).try_init()
    };
}
