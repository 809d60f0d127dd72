//! The look of the live machine, as a statement takes it.

use std::sync::Arc;

use evidence::ids::Digest;

use crate::attest::Observed;
use crate::run::Look;

/// The look of the live machine, through the probes.
pub fn live_look() -> Look {
    Arc::new(|| {
        let host = crate::host::LiveHost;
        let look =
            crate::observe::observe(probes::Platform::current(), &host).map_err(|error| error.to_string())?;
        Ok(Observed {
            observations: look.observations,
            asset: look.asset,
            answers_digest: Digest(look.answers_digest),
            catalogue_digest: Digest(probes::catalogue_digest()),
        })
    })
}
