//! The look of the live machine, as a statement takes it, and the files that stand behind it.

use std::sync::Arc;

use evidence::ids::Digest;
use probes::{Host, Platform};

use crate::attest::Observed;
use crate::clock::SystemClock;
use crate::fleet::Switches;
use crate::observe::observe_but;
use crate::recall::print::LivePrints;
use crate::recall::{ANSWERS_FILE, Recall, When};
use crate::run::Look;
use crate::state::StateDirectory;
use crate::watch::files::Files;

/// What one look gave.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What may be signed.
    pub observed: Observed,
    /// What stands behind it and can be watched.
    pub files: Files,
}

impl From<Observed> for Seen {
    /// A look with nothing to watch.
    fn from(observed: Observed) -> Self {
        Self { observed, files: Files::default() }
    }
}

/// The look of the live machine, through the probes. What package managers said is kept in `state`.
pub fn live_look(
    state: &StateDirectory,
    host: impl Host + Copy + Send + Sync + 'static,
    switches: Switches,
) -> Look {
    let path = state.file(ANSWERS_FILE);
    Arc::new(move || {
        // Only root's answers: others may be asked from folders of their own, which nobody compares.
        let is_off = |control: &str| switches.is_off(control);
        let look = if is_root() {
            let now = || When::now(&SystemClock);
            observe_but(Platform::current(), &Recall::open(host, LivePrints, &path, now), &is_off)
        } else {
            observe_but(Platform::current(), &host, &is_off)
        };
        let look = look.map_err(|error| error.to_string())?;
        Ok(Seen {
            files: Files::of(&look.answers),
            observed: Observed {
                observations: look.observations,
                asset: look.asset,
                answers_digest: Digest(look.answers_digest),
                catalogue_digest: Digest(probes::catalogue_digest()),
            },
        })
    })
}

#[cfg(unix)]
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(not(unix))]
fn is_root() -> bool {
    false
}
