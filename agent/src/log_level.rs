//! How much the running agent logs, changed while it runs.

use std::sync::OnceLock;

use tracing_subscriber::Registry;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::reload;

/// The running filter; empty where the environment has chosen the level, or nothing is logged.
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// A filter that [`set`] can change, unless `fixed`.
pub(crate) fn filter(targets: Targets, fixed: bool) -> reload::Layer<Targets, Registry> {
    let (layer, handle) = reload::Layer::new(targets);
    if !fixed {
        // A second initialisation, as in tests, keeps the first.
        let _first_stays = FILTER.set(handle);
    }
    layer
}

/// Logs so much from now on: error, warn, info or debug.
pub(crate) fn set(level: &str) {
    let Ok(level) = level.parse::<LevelFilter>() else { return };
    if let Some(handle) = FILTER.get()
        && handle.reload(Targets::new().with_default(level)).is_err()
    {
        tracing::warn!("The log level could not be changed.");
    }
}
