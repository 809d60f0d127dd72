//! How the system asks this program to stop.

use anyhow::Context as _;

/// Completes when the system asks this program to stop: SIGTERM or SIGINT.
#[cfg(unix)]
pub(crate) fn signal() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Completes when the system asks this program to stop: Ctrl-C, Ctrl-Break, the window closed, the machine going down. A
/// service is asked in another way.
#[cfg(windows)]
pub(crate) fn signal() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::windows;
    let what = "cannot wait for a signal of the console";
    let mut interrupt = windows::ctrl_c().context(what)?;
    let mut stop = windows::ctrl_break().context(what)?;
    let mut close = windows::ctrl_close().context(what)?;
    let mut shutdown = windows::ctrl_shutdown().context(what)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = stop.recv() => {}
            _ = close.recv() => {}
            _ = shutdown.recv() => {}
        }
    })
}
