//! One key or certificate at two places.

use std::time::Instant;

use evidence::statement::Statement;

use super::Session;

impl Session {
    /// Two statements of one key: kept as proof, and somebody is told, once.
    pub(super) async fn fork(&self, sequence: u64, known_index: Option<u64>, envelope: Vec<u8>) {
        let (Some(instance), Some(first)) = (self.instance, known_index) else {
            tracing::error!(device = %self.device, sequence, "ALERT: a chain begins with something before it.");
            return;
        };
        match self.state.record_conflict(instance, sequence, first, envelope).await {
            Ok(Some(index)) => {
                let conflicts = self.state.conflicts.count();
                tracing::error!(
                    device = %self.device, %instance, sequence, first, index, conflicts,
                    "ALERT: one key signed two statements for one place: the device was cloned, or its disk restored. \
                     `tallystick devices conflicts`"
                );
            }
            Ok(None) => {}
            Err(error) => tracing::error!(device = %self.device, %error, "A conflict could not be logged."),
        }
    }

    /// Looks whether the same certificate speaks from two places.
    pub(super) fn hear(&self, statement: &Statement) {
        let boot = statement.attestation().map(|attestation| attestation.fields.boot.as_slice());
        let twice = self.state.conflicts.live().hear(
            &statement.instance,
            self.stream,
            statement.sequence,
            boot,
            Instant::now(),
        );
        if let Some(what) = twice {
            tracing::error!(
                device = %self.device, instance = %statement.instance, what = what.as_str(),
                "ALERT: one certificate is in use at two places at once. `tallystick devices conflicts`"
            );
        }
    }
}
