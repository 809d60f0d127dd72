//! The device's certificate, beside the stream that it is needed for: renewed in time, and asked for anew when it has ended.

use std::sync::Arc;
use std::time::Duration;

use super::{HEARTBEAT_INTERVAL, Live, UploadError, Uploader, random};
use crate::health::Health;
use crate::identity::Identity;
use crate::renewal;

/// The header and value with which a collector says that keys are revoked, and the TLS alert's name (RFC 8446 section 6.2).
const REVOKED_HEADER: (&str, &str) = ("tallystick-reason", "revoked");
const REVOKED_ALERT: &str = "CertificateRevoked";

/// Whether a collector refuses this device for good: by its word, or already in the handshake. HTTP/2 keeps of a TLS alert
/// nothing but its text.
pub(crate) fn is_revoked(status: &tonic::Status) -> bool {
    let (header, value) = REVOKED_HEADER;
    if status.metadata().get(header).is_some_and(|found| found == value) {
        return true;
    }
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if error.to_string().contains(REVOKED_ALERT) {
            return true;
        }
        source = error.source();
    }
    false
}

impl Uploader {
    /// Remembers that the collector did not take this device's certificate.
    pub(super) async fn note_refusal(&self, error: &(dyn std::error::Error + Send + Sync + 'static)) {
        if renewal::refuses_certificate(error) {
            self.device.lock().await.renewal.refused = true;
        }
    }

    /// Gets a new certificate by the attestation key when the one there is has ended, by this clock or the collector's.
    pub(super) async fn recover_if_needed(&self, health: &mut Health) -> Result<(), UploadError> {
        let (state, identity, refused) = {
            let device = self.device.lock().await;
            (device.state().clone(), device.identity.clone(), device.renewal.refused)
        };
        let ended = identity.life().is_some_and(|life| life.ends <= self.clock.now());
        if !ended && !refused {
            return Ok(());
        }
        tracing::info!(
            "The certificate has ended or is refused: asking for a new one by the attestation key."
        );
        let recovered = tokio::select! {
            () = self.cancel.cancelled() => return Ok(()),
            recovered = renewal::recover(&state, &identity, &self.proxies, Arc::clone(&self.clock)) => recovered,
        };
        match recovered {
            Ok(identity) => {
                self.renewed(identity, health).await;
                Ok(())
            }
            // By this clock it has not ended: perhaps the refusal was about something else, and the next try shows it.
            Err(error) => {
                self.device.lock().await.renewal.refused = false;
                Err(error.into())
            }
        }
    }

    async fn renewed(&self, identity: Identity, health: &mut Health) {
        let ends = identity.life().map(|life| life.ends.rfc3339()).unwrap_or_default();
        tracing::info!(ends, "This device has a new certificate.");
        let mut device = self.device.lock().await;
        device.identity = identity;
        device.renewal.done();
        health.renewal = None;
        Self::keep(health, &device);
    }

    /// How long until a new certificate is due.
    pub(super) async fn renewal_in(&self) -> Duration {
        let device = self.device.lock().await;
        let now = self.clock.now();
        let due = device.identity.life().map(|life| device.renewal.due(&life, now));
        due.map_or(HEARTBEAT_INTERVAL, |due| Duration::from_millis(due.ms().saturating_sub(now.ms())))
    }

    /// Asks for a new certificate; whether there is one. While it is asked nothing else goes over the stream.
    pub(super) async fn renew(&self, live: &Live, health: &mut Health) -> bool {
        let (state, identity) = {
            let device = self.device.lock().await;
            (device.state().clone(), device.identity.clone())
        };
        match renewal::renew(&state, &identity, live.channel.clone(), live.exporter).await {
            Ok(identity) => {
                self.renewed(identity, health).await;
                true
            }
            Err(error) => {
                let text = crate::Causes(&error).to_string();
                tracing::warn!(error = %text, "The certificate was not renewed; it is tried again.");
                health.renewal = Some(text);
                let mut device = self.device.lock().await;
                device.renewal.failed(self.clock.now(), random());
                Self::keep(health, &device);
                false
            }
        }
    }
}
