//! Crash points of a renewal, and a clock that a test sets. Without the feature `failpoints`, which no released program has,
//! every function here is empty.
//!
//! | point | a crash here leaves |
//! |---|---|
//! | `renewal-key-kept` | a new key without a certificate: used by the next try |
//! | `renewal-answered` | the same; the collector has logged the renewal and gives the same certificate again |
//! | `renewal-identity-written` | an identity whose key still lies in `renewal/`, and is found there |
//! | `renewal-key-renamed` | a renewed identity, and an empty folder |

/// Every point, in its order.
pub const POINTS: [&str; 4] =
    ["renewal-key-kept", "renewal-answered", "renewal-identity-written", "renewal-key-renamed"];

/// Kills this process if `point` is the one asked for.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn reach(_point: &'static str) {}

/// How far ahead of the system's clock this program's is, milliseconds.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub const fn clock_ahead_ms() -> u64 {
    0
}

/// Kills this process if `point` is the one that `TALLYSTICK_AGENT_FAILPOINT` names.
#[cfg(all(feature = "failpoints", unix))]
pub fn reach(point: &'static str) {
    let Ok(named) = std::env::var("TALLYSTICK_AGENT_FAILPOINT") else { return };
    if !POINTS.contains(&named.as_str()) {
        // A test that names no point would pass without testing anything.
        std::process::abort();
    }
    if named != point {
        return;
    }
    let own = rustix::process::getpid();
    let _sent = rustix::process::kill_process(own, rustix::process::Signal::KILL);
    // SIGKILL may take a moment to arrive; nothing may happen after this point.
    loop {
        std::thread::park();
    }
}

/// The same where no signal can be sent.
#[cfg(all(feature = "failpoints", not(unix)))]
pub fn reach(_point: &'static str) {}

/// `TALLYSTICK_CLOCK_AHEAD_SECONDS`.
#[cfg(feature = "failpoints")]
pub fn clock_ahead_ms() -> u64 {
    static AHEAD: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    *AHEAD.get_or_init(|| match std::env::var("TALLYSTICK_CLOCK_AHEAD_SECONDS") {
        Err(_) => 0,
        Ok(text) => {
            text.parse().map_or_else(|_| std::process::abort(), |seconds: u64| seconds.saturating_mul(1000))
        }
    })
}
