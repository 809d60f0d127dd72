//! Revocation lists: full ones, one per issuing authority, checked at every handshake together with their own end.

use std::time::Duration;

use evidence::time::Timestamp;
use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::CertificateRevocationListDer;

use crate::issue::{BACKDATE, IssueError, Serial, after, before, x509_time};

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
