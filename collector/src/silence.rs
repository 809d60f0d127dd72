//! Devices that say nothing any more: told once, in the collector's log. A laptop that is lost, wiped, or whose agent was
//! removed looks like this, and nothing else here would show it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use proto::DeviceRow;
use tokio_util::sync::CancellationToken;

use crate::fleet;
use crate::state::State;

/// Between two looks: silence is counted in days.
const LOOK_INTERVAL: Duration = Duration::from_hours(1);
/// Devices named in one look at most: when a site is cut off, the count says more than a thousand lines.
const NAMED_MAX: usize = 20;

/// Looks until cancelled.
pub(crate) async fn watch(state: Arc<State>, cancel: CancellationToken) {
    let mut told = BTreeSet::new();
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = looks.tick() => {}
        }
        let state = Arc::clone(&state);
        match tokio::task::spawn_blocking(move || fleet::devices(&state, false)).await {
            Ok(Ok(rows)) => {
                let new = news(&rows, &mut told);
                for row in new.iter().take(NAMED_MAX) {
                    let hours = row.silent_ms / 3_600_000;
                    tracing::warn!(
                        device = row.device,
                        group = row.group,
                        hours,
                        "ALERT: a device is silent."
                    );
                }
                if !new.is_empty() {
                    let (devices, all) = (new.len(), told.len());
                    tracing::warn!(devices, all, "Devices have gone silent: `tallystick devices`.");
                }
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "The log could not be read to look for silent devices; run fsck.");
            }
            Err(error) => tracing::error!(%error, "Looking for silent devices has failed."),
        }
    }
}

/// Devices that are silent and were not before. One that spoke again may be told of again.
fn news<'a>(rows: &'a [DeviceRow], told: &mut BTreeSet<String>) -> Vec<&'a DeviceRow> {
    let silent = |row: &&DeviceRow| row.silent_ms > 0;
    let now: BTreeSet<String> = rows.iter().filter(silent).map(|row| row.device.clone()).collect();
    let new = rows.iter().filter(silent).filter(|row| !told.contains(&row.device)).collect();
    *told = now;
    new
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proto::DeviceRow;

    use super::news;

    #[test]
    fn silence_is_told_once_until_the_device_speaks_again() {
        let row =
            |device: &str, silent_ms| DeviceRow { device: device.into(), silent_ms, ..DeviceRow::default() };
        let mut told = BTreeSet::new();
        assert_eq!(news(&[row("a", 0), row("b", 5)], &mut told).len(), 1);
        assert_eq!(news(&[row("a", 1), row("b", 6)], &mut told)[0].device, "a");
        assert!(news(&[row("a", 2), row("b", 7)], &mut told).is_empty());
        assert!(news(&[row("a", 0), row("b", 8)], &mut told).is_empty());
        assert_eq!(news(&[row("a", 1), row("b", 9)], &mut told)[0].device, "a");
    }
}
