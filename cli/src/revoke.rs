//! `revoke`: the keys of a lost or stolen machine, or of a person who left, are good no more from the entry on.

use anyhow::bail;
use clap::Args;
use evidence::acts::{Body, Revoke, RevokeReason, RevokedOf};
use evidence::ids::{DeviceId, PersonId};

use crate::act::{Detail, SignedAct, write_reply};
use crate::command::Context;

/// Longest detail, in bytes: a paragraph, far below what a detail record holds.
const DETAIL_BYTES_MAX: usize = 2_000;

/// Arguments of `revoke`.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// A device: its certificates and its attestation keys
    #[arg(long, value_name = "ID", required_unless_present = "person", conflicts_with = "person")]
    device: Option<DeviceId>,
    /// A person: certificates and signing key
    #[arg(long, value_name = "ID")]
    person: Option<PersonId>,
    /// lost, stolen, compromised, cloned, left or other
    #[arg(long, value_name = "REASON")]
    reason: RevokeReason,
    /// More words; kept beside the log, where they can be erased
    #[arg(long, value_name = "TEXT")]
    detail: Option<String>,
}

impl RevokeArgs {
    /// Revokes. Connections are cut, calls and handshakes refused before this returns or in the moment after.
    pub(crate) async fn run(&self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let of = match (self.device, self.person) {
            (Some(device), None) => RevokedOf::Device(device),
            (None, Some(person)) => RevokedOf::Person(person),
            _ => bail!("name one: --device ID or --person ID"),
        };
        if self.detail.as_ref().is_some_and(|text| text.is_empty() || text.len() > DETAIL_BYTES_MAX) {
            bail!("--detail takes 1 to {DETAIL_BYTES_MAX} bytes of text");
        }
        let mut caller = context.options.connect(context.clock.clone()).await?;
        let detail = self.detail.as_deref().map(Detail::new).transpose()?;
        let act = Revoke { of, reason: self.reason, detail: detail.as_ref().map(Detail::digest) };
        let clock = context.clock.as_ref();
        let signed = SignedAct::sign(Body::Revoke(act), &caller.profile.origin, &caller.signing, clock)?;
        let reply = signed.carry(&mut caller, detail).await?;
        write_reply(context.out, context.options.json, "The revocation", &reply)
    }
}
