//! New keys: of a device by its old one, renewed TLS keys, authorities and the log's own key.

use super::{Authority, AuthorityError};
use crate::acts::{KeyChange, NewKey, ReKey, Renewal, log_key_text, re_key_digest, renewal_digest};
use crate::enrolment::{Transcript, TranscriptError};
use crate::ids::Digest;
use crate::keys::PublicKey;
use crate::roster::RosterError;
use crate::time::Timestamp;

impl Authority {
    /// A transcript of this log over `token`, by a device's new keys.
    fn transcript(
        &self,
        bytes: &[u8],
        [ed25519, p256]: [&[u8]; 2],
        token: Digest,
        key: &PublicKey,
    ) -> Result<Transcript, AuthorityError> {
        let transcript = Transcript::verify(bytes, ed25519, p256)?;
        let trust_domain = self.roster.genesis().map(|genesis| genesis.trust_domain.as_str());
        if Some(transcript.trust_domain.as_str()) != trust_domain {
            return Err(AuthorityError::TranscriptMember("trust domain"));
        }
        if transcript.token_hash != token {
            return Err(AuthorityError::TranscriptMember("token"));
        }
        if transcript.attestation_key != *key {
            return Err(AuthorityError::TranscriptMember("attestation key"));
        }
        Ok(transcript)
    }

    pub(super) fn re_key(&mut self, index: u64, act: &ReKey) -> Result<(), AuthorityError> {
        let signatures = [act.sig_ed25519.as_slice(), &act.sig_p256];
        let token = re_key_digest(&act.previous);
        let transcript = self.transcript(&act.transcript, signatures, token, &act.attestation_key)?;
        let previous = self.roster.speaking(&act.device, &act.previous).map_err(AuthorityError::Roster)?.key;
        previous
            .verify(&act.transcript, &act.sig_previous)
            .map_err(|error| AuthorityError::Transcript(TranscriptError::AttestationSignature(error)))?;
        self.roster.re_key_act(index, act, transcript.tls_key.id()).map_err(AuthorityError::Roster)
    }

    pub(super) fn renewal(
        &mut self,
        index: u64,
        received: Timestamp,
        act: &Renewal,
    ) -> Result<(), AuthorityError> {
        let key = self.roster.speaking(&act.device, &act.instance).map_err(AuthorityError::Roster)?.key;
        let signatures = [act.sig_ed25519.as_slice(), &act.sig_p256];
        let token = renewal_digest(&act.instance, act.generation);
        let transcript = self.transcript(&act.transcript, signatures, token, &key)?;
        self.roster.renewal_act(index, received, act, transcript.tls_key.id()).map_err(AuthorityError::Roster)
    }

    pub(super) fn key_change(&mut self, index: u64, act: &KeyChange) -> Result<(), AuthorityError> {
        if let NewKey::Log { key, endorsement, possession } = &act.key {
            if key.name() != self.origin {
                let what = "the new log key is not named after the origin";
                return Err(AuthorityError::Admission(RosterError::KeyChange(what)));
            }
            let text = log_key_text(&self.origin, key);
            let old = self.roster.authorities().log_keys().last().ok_or(AuthorityError::Genesis)?;
            old.1.key().verify(&text, endorsement).map_err(|_| AuthorityError::LogKey("old"))?;
            key.key().verify(&text, possession).map_err(|_| AuthorityError::LogKey("new"))?;
        }
        self.roster.key_change_act(index, act).map_err(AuthorityError::Admission)
    }
}
