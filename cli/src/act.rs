//! Acts of this person: signed here, kept as files, carried to the log.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};
use evidence::acts::{Act, ActId, Body};
use evidence::ids::Digest;
use evidence::keys::SecretKey;
use evidence::leaf::{Kind, PAYLOAD_BYTES_MAX};
use evidence::time::{Clock, Timestamp};
use proto::{PutActReply, PutActRequest};
use serde_json::json;

use crate::client::{Caller, answer};
use crate::files;

/// An act as it is signed: its bytes are final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SignedAct {
    /// Where in the log it belongs.
    pub(crate) kind: Kind,
    /// The act's JSON: of a plan, plan.json.
    pub(crate) payload: Vec<u8>,
    /// The envelope with the signature.
    pub(crate) envelope: Vec<u8>,
}

/// What a person says beside an act that must stay erasable; the act itself holds only its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Detail {
    bytes: Vec<u8>,
    random: [u8; 32],
}

impl Detail {
    /// The detail `text` under new random bytes.
    pub(crate) fn new(text: &str) -> anyhow::Result<Self> {
        Ok(Self { bytes: text.as_bytes().to_vec(), random: random()? })
    }

    /// What the act names it by.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of_parts(&[&self.random, &self.bytes])
    }
}

/// `N` bytes of the operating system's randomness.
pub(crate) fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).context("the operating system gave no random bytes")?;
    Ok(bytes)
}

impl SignedAct {
    /// Signs `body` for the log `origin` with a new id. What a collector would refuse for its form is refused here.
    pub(crate) fn sign(body: Body, origin: &str, key: &SecretKey, clock: &dyn Clock) -> anyhow::Result<Self> {
        let id = ActId::from_bytes(random()?);
        let envelope = Act::sign(body, origin, id, clock.now(), key).encode();
        Self::open(envelope)
    }

    fn open(envelope: Vec<u8>) -> anyhow::Result<Self> {
        if envelope.len() > PAYLOAD_BYTES_MAX {
            bail!(
                "the act has {} bytes with its signature, the log takes {PAYLOAD_BYTES_MAX}",
                envelope.len()
            );
        }
        let (opened, act) = Act::open(&envelope)?;
        Ok(Self { kind: act.body.kind(), payload: opened.payload, envelope })
    }

    /// Reads an act file. Its signature is the log's to check: the signer's key is not in the file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = files::read(path, "the act file", PAYLOAD_BYTES_MAX)?;
        Self::open(bytes).with_context(|| format!("{} is not an act file", path.display()))
    }

    /// Writes a new act file.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        files::create(path, "the act file", &self.envelope)
    }

    /// Carries the act to the log, and checks that the answer is about these bytes.
    pub(crate) async fn carry(
        &self,
        caller: &mut Caller,
        detail: Option<Detail>,
    ) -> anyhow::Result<PutActReply> {
        let (detail, detail_salt) =
            detail.map(|detail| (detail.bytes, detail.random.to_vec())).unwrap_or_default();
        let request = PutActRequest {
            kind_stream: self.kind.stream.number().into(),
            kind: self.kind.number.into(),
            envelope: self.envelope.clone(),
            detail,
            detail_salt,
        };
        let reply = answer(caller.people.put_act(request)).await?;
        if reply.payload_sha256 != Digest::of(&self.payload).as_bytes() {
            bail!(
                "the collector answered about another act than the one sent: do not rely on entry {}",
                reply.index
            );
        }
        Ok(reply)
    }
}

/// Writes where an entry of the log now is. `what` begins the sentence, as in `The plan`.
pub(crate) fn write_reply(
    out: &mut dyn Write,
    json: bool,
    what: &str,
    reply: &PutActReply,
) -> anyhow::Result<()> {
    if json {
        writeln!(out, "{}", reply_json(reply))?;
    } else {
        let received = Timestamp(reply.received_ms).rfc3339();
        writeln!(out, "{what} is entry {} of the log, received {received}.", reply.index)?;
    }
    Ok(())
}

/// An entry of the log, for machines.
pub(crate) fn reply_json(reply: &PutActReply) -> serde_json::Value {
    json!({
        "index": reply.index,
        "received_ms": reply.received_ms,
        "stream_sequence": reply.stream_sequence,
        "payload_sha256": data_encoding::HEXLOWER.encode(&reply.payload_sha256),
    })
}

#[cfg(test)]
mod tests;
