//! What only a build for tests can change: the collector's time and the life of devices' certificates. Without the feature
//! `failpoints`, which no released program has, these are constants.

#[cfg(not(feature = "failpoints"))]
use std::time::Duration;

/// How far ahead of the system's clock this program's is, milliseconds.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub const fn clock_ahead_ms() -> u64 {
    0
}

/// Life of a device's certificate.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub const fn agent_lifetime() -> Duration {
    certs::AGENT_LIFETIME
}

#[cfg(feature = "failpoints")]
pub use set::{agent_lifetime, clock_ahead_ms};

#[cfg(feature = "failpoints")]
mod set {
    use std::sync::OnceLock;
    use std::time::Duration;

    fn number(variable: &str) -> Option<u64> {
        let text = std::env::var(variable).ok()?;
        let number = text.parse().ok();
        if number.is_none() {
            // A test that sets nothing would test nothing.
            tracing::error!(variable, text, "Not a number; stopping.");
            std::process::abort();
        }
        number
    }

    /// `TALLYSTICK_CLOCK_AHEAD_SECONDS`.
    pub fn clock_ahead_ms() -> u64 {
        static AHEAD: OnceLock<u64> = OnceLock::new();
        *AHEAD.get_or_init(|| number("TALLYSTICK_CLOCK_AHEAD_SECONDS").unwrap_or(0).saturating_mul(1000))
    }

    /// `TALLYSTICK_AGENT_CERTIFICATE_SECONDS`.
    pub fn agent_lifetime() -> Duration {
        static LIFETIME: OnceLock<Option<u64>> = OnceLock::new();
        let set = *LIFETIME.get_or_init(|| number("TALLYSTICK_AGENT_CERTIFICATE_SECONDS"));
        set.map_or(certs::AGENT_LIFETIME, Duration::from_secs)
    }
}
