//! Private certificates: who may issue them, what is in them, how a connection is checked with them.
//!
//! In scope: the root and three issuing authorities, P-256 TLS keys, enrolment tokens, who a peer is, and rustls
//! configurations. The TLS provider (ring) is chosen here only.
//! Not in scope: files, sockets, clocks. Time and serials are arguments; texts are PEM in and out. Randomness is used
//! in two places that cannot take it as an argument: making a P-256 key, and ring's ECDSA signatures.

mod authority;
mod crypto;
mod issue;
mod life;
mod peer;
pub mod pem;
mod person_key;
mod profile;
mod revocation;
#[cfg(any(test, feature = "test-pki"))]
pub mod test_pki;
mod tls;
mod tls_key;
mod token;

pub use authority::{AuthorityError, AuthorityKeys, IssuingAuthority, NewAuthorities, Population};
pub use issue::{
    AGENT_LIFETIME, IssueError, Issued, Issuer, MAX_LIFETIME, Order, PERSON_LIFETIME, SERVER_LIFETIME,
    Serial, Subject,
};
pub use life::{CertificateLife, RECOVERY_LIFETIME};
pub use peer::{Peer, PeerCertificate, PeerError, Role};
pub use person_key::{PERSON_KEY_BYTES_MAX, PersonKey, PersonKeyError, PersonPublicKey};
pub use profile::{PROFILE_BYTES_MAX, Profile};
pub use revocation::{REVOCATION_LIST_LIFETIME, RevocationList, RevocationOrder, Revoked};
/// What [`mutual_client`] and its siblings give, for whoever hands it on.
pub use rustls::ClientConfig;
pub use tls::{
    CertificateWords, Clock, Identity, Presented, SystemClock, TlsError, TrustedAuthority, enrolment_client,
    examining_client, examining_enrolment_client, http1_client, http1_listener, mutual_client,
    mutual_listener, open_listener, public_client, public_listener,
};
pub use tls_key::{TlsKey, TlsKeyError};
pub use token::{Pin, Token, TokenError, TokenSecret};
