//! How long a certificate lives, who issued it, and when its holder asks for the next one.

use std::time::Duration;

use evidence::ids::Digest;
use evidence::time::Timestamp;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::issue::{BACKDATE, after};

/// A certificate is renewed after this share of its life: a laptop that is away for a third of it still comes in time.
const RENEWAL_NUMERATOR: u64 = 2;
/// The share's lower half.
const RENEWAL_DENOMINATOR: u64 = 3;
/// A renewal lies at most so many hundredths of the life before or after that, so that a fleet that enrolled on one day
/// does not come back on one day.
const JITTER_HUNDREDTHS: u64 = 10;
/// How long after its certificate ended a device may come back by its attestation key alone: a laptop in a drawer over a
/// parental leave or a stock of spares; what was away for longer is met by a person first.
pub const RECOVERY_LIFETIME: Duration = Duration::from_hours(24 * 90);

/// What is in a certificate about its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CertificateLife {
    /// SHA-256 of the issuer's distinguished name: every authority has a name of its own.
    pub issuer: Digest,
    /// SHA-256 of the holder's distinguished name.
    pub subject: Digest,
    /// SHA-256 of the key's SubjectPublicKeyInfo.
    pub key: Digest,
    /// When it was issued: it says five minutes less.
    pub begins: Timestamp,
    /// Its end.
    pub ends: Timestamp,
    /// SHA-256 of the certificate.
    pub fingerprint: Digest,
}

impl CertificateLife {
    /// Reads a certificate; none if it is none.
    pub fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let time = |seconds: i64| Some(Timestamp(u64::try_from(seconds).ok()?.saturating_mul(1000)));
        let validity = certificate.validity();
        Some(Self {
            issuer: Digest::of(certificate.issuer().as_raw()),
            subject: Digest::of(certificate.subject().as_raw()),
            key: Digest::of(certificate.tbs_certificate.subject_pki.raw),
            begins: after(time(validity.not_before.timestamp())?, BACKDATE),
            ends: time(validity.not_after.timestamp())?,
            fingerprint: Digest::of(der),
        })
    }

    /// Its length, milliseconds.
    pub fn length_ms(&self) -> u64 {
        self.ends.ms().saturating_sub(self.begins.ms())
    }

    /// When its holder asks for the next one: after two thirds of its life, a tenth of it earlier or later. The same
    /// moment whenever it is asked, as the certificate itself is the dice.
    pub fn renewal_due(&self) -> Timestamp {
        let length = self.length_ms();
        let span = length.saturating_mul(JITTER_HUNDREDTHS) / 100;
        let dice =
            self.fingerprint.as_bytes().first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let jitter = dice.checked_rem(span.saturating_mul(2).saturating_add(1)).unwrap_or(0);
        let middle = length.saturating_mul(RENEWAL_NUMERATOR) / RENEWAL_DENOMINATOR;
        Timestamp(self.begins.ms().saturating_add(middle).saturating_sub(span).saturating_add(jitter))
    }

    /// Until when its holder may come back without it.
    pub fn recovery_ends(&self) -> Timestamp {
        after(self.ends, RECOVERY_LIFETIME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Population;
    use crate::issue::{AGENT_LIFETIME, Issuer as _, Order, Subject};
    use crate::test_pki::{TestPki, key, random, serial};
    use evidence::ids::DeviceId;
    use evidence::time::DAY_MS;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    #[test]
    fn a_fleet_of_one_day_renews_between_the_17th_and_the_23rd_day_and_evenly() {
        let pki = TestPki::new("evidence.example.com", NOW);
        let mut days = [0_u32; 31];
        let holder = key();
        for _ in 0..700 {
            let order = Order {
                subject: &Subject::Agent(DeviceId::from_bytes(random())),
                public_key: holder.public(),
                serial: serial(),
                now: NOW,
                lifetime: AGENT_LIFETIME,
            };
            let issued = pki.authority(Population::Agents).issue(&order).unwrap();
            let life = CertificateLife::read(&issued.certificate).unwrap();
            assert_eq!((life.begins, life.ends.ms()), (NOW, NOW.ms() + 30 * DAY_MS));
            let after = life.renewal_due().ms() - NOW.ms();
            assert!((17 * DAY_MS..=23 * DAY_MS).contains(&after), "{after}");
            assert_eq!(life.renewal_due(), CertificateLife::read(&issued.certificate).unwrap().renewal_due());
            days[usize::try_from(after / DAY_MS).unwrap()] += 1;
            assert_eq!(life.recovery_ends().ms(), life.ends.ms() + 90 * DAY_MS);
            let authority = CertificateLife::read(pki.authority(Population::Agents).certificate()).unwrap();
            assert_eq!(life.issuer, authority.subject);
        }
        // 700 over six days: 117 each, with a standard deviation below 10.
        assert!(days[17..23].iter().all(|count| (60..180).contains(count)), "{days:?}");
    }
}
