//! The look of the live machine, as a statement takes it, and the files that stand behind it.

use std::sync::Arc;

use evidence::ids::Digest;

use crate::attest::Observed;
use crate::run::Look;
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

/// The look of the live machine, through the probes.
pub fn live_look() -> Look {
    Arc::new(|| {
        let host = crate::host::LiveHost;
        let look =
            crate::observe::observe(probes::Platform::current(), &host).map_err(|error| error.to_string())?;
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
