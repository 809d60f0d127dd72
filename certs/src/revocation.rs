//! Revocation lists: full ones, one per issuing authority, checked at every handshake together with their own end.

use std::time::Duration;

use evidence::ids::Digest;
use evidence::time::Timestamp;
use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509Certificate};

use crate::crypto;
use crate::issue::{BACKDATE, IssueError, Serial, after, before, x509_time};
use crate::tls::TrustedAuthority;

/// How long a list holds. It is written again every hour, so a collector that cannot write it has a day to be mended
/// before nobody can connect any more.
pub const REVOCATION_LIST_LIFETIME: Duration = Duration::from_hours(24);

/// One revoked certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revoked {
    /// Its serial.
    pub serial: Serial,
    /// Since when.
    pub since: Timestamp,
}

/// One revocation list to be issued.
#[derive(Debug, Clone)]
pub struct RevocationOrder<'a> {
    /// The list's number, higher than every number before.
    pub number: u64,
    /// Now.
    pub now: Timestamp,
    /// Every revoked certificate that has not ended yet; each handshake reads them all, so ended ones are left out.
    pub revoked: &'a [Revoked],
}

/// A revocation list that was issued.
#[derive(Debug, Clone)]
pub struct RevocationList {
    /// The list.
    pub der: CertificateRevocationListDer<'static>,
    /// Until when it holds.
    pub next_update: Timestamp,
}

pub(crate) fn parameters(
    order: &RevocationOrder<'_>,
) -> Result<(CertificateRevocationListParams, Timestamp), IssueError> {
    let next_update = after(order.now, REVOCATION_LIST_LIFETIME);
    let revoked_certs = order
        .revoked
        .iter()
        .map(|revoked| {
            Ok(RevokedCertParams {
                serial_number: revoked.serial.for_rcgen(),
                revocation_time: x509_time(revoked.since)?.into(),
                reason_code: Some(RevocationReason::Unspecified),
                invalidity_date: None,
            })
        })
        .collect::<Result<Vec<_>, IssueError>>()?;
    let params = CertificateRevocationListParams {
        this_update: x509_time(before(order.now, BACKDATE))?.into(),
        next_update: x509_time(next_update)?.into(),
        crl_number: SerialNumber::from(order.number),
        issuing_distribution_point: None,
        revoked_certs,
        key_identifier_method: KeyIdMethod::Sha256,
    };
    Ok((params, next_update))
}

/// Why a list that was found or brought is not used. Its authority's holders stay out until there is a good one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// There is none.
    #[error("there is no revocation list")]
    Missing,
    /// Not a list.
    #[error("the revocation list cannot be read")]
    Unreadable,
    /// Another authority's, or changed.
    #[error("the revocation list was not issued by this authority")]
    Foreign,
    /// Its time is over.
    #[error("the revocation list ended at {}", .0.rfc3339())]
    Ended(Timestamp),
    /// An older list than one that was in use.
    #[error(
        "the revocation list has number {found}, and one of number {known} was in use: an older copy was put back"
    )]
    RolledBack {
        /// Its number.
        found: u64,
        /// The highest that was seen.
        known: u64,
    },
}

/// A list that may be used, or what is to be known before one is.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The authority's certificate.
    pub certificate: CertificateDer<'static>,
    /// Its list, if there is one.
    pub list: Option<Vec<u8>>,
    /// The highest number seen of this authority.
    pub number_min: u64,
}

impl Candidate {
    /// The authority with its list, if the list is its own, holds now, and is no older than one seen before.
    pub fn check(self, now: Timestamp) -> Result<TrustedAuthority, ListError> {
        let bytes = self.list.ok_or(ListError::Missing)?;
        let (_, authority) =
            X509Certificate::from_der(&self.certificate).map_err(|_| ListError::Unreadable)?;
        let (rest, list) = CertificateRevocationList::from_der(&bytes).map_err(|_| ListError::Unreadable)?;
        if !rest.is_empty() {
            return Err(ListError::Unreadable);
        }
        let key = &authority.tbs_certificate.subject_pki.subject_public_key.data;
        let signed = crypto::ecdsa_holds(key, list.tbs_cert_list.as_ref(), &list.signature_value.data);
        if list.issuer().as_raw() != authority.subject().as_raw() || !signed {
            return Err(ListError::Foreign);
        }
        let ends = list.next_update().and_then(|time| u64::try_from(time.timestamp()).ok());
        let ends = Timestamp(ends.ok_or(ListError::Unreadable)?.saturating_mul(1000));
        if now >= ends {
            return Err(ListError::Ended(ends));
        }
        let found = number(&list).ok_or(ListError::Unreadable)?;
        if found < self.number_min {
            return Err(ListError::RolledBack { found, known: self.number_min });
        }
        let revocation_list = CertificateRevocationListDer::from(bytes);
        Ok(TrustedAuthority { certificate: self.certificate, revocation_list })
    }
}

/// The authorities whose lists may be used, and why those of the others may not: one bad list keeps out its own
/// authority's holders and nobody else.
pub fn usable(
    candidates: Vec<Candidate>,
    now: Timestamp,
) -> (Vec<TrustedAuthority>, Vec<(Digest, ListError)>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for candidate in candidates {
        let fingerprint = Digest::of(&candidate.certificate);
        match candidate.check(now) {
            Ok(authority) => good.push(authority),
            Err(error) => bad.push((fingerprint, error)),
        }
    }
    (good, bad)
}

/// The number of a list, if it can be read. Nothing else of it is checked.
pub fn list_number(der: &[u8]) -> Option<u64> {
    let (_, list) = CertificateRevocationList::from_der(der).ok()?;
    number(&list)
}

fn number(list: &CertificateRevocationList<'_>) -> Option<u64> {
    list.crl_number().and_then(|number| u64::try_from(number).ok())
}
