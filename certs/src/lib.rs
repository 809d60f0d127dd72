//! Private certificates: who may issue them, what is in them, how a connection is checked with them.
//!
//! In scope: the root and three issuing authorities, P-256 TLS keys, enrolment tokens, who a peer is, and rustls
//! configurations. The TLS provider (ring) is chosen here only.
//! Not in scope: files, sockets, clocks. Time and serials are arguments; texts are PEM in and out. Randomness is used
//! in two places that cannot take it as an argument: making a P-256 key, and ring's ECDSA signatures. A passphrase may be
//! asked for at the terminal, here and nowhere else, so that every program asks alike.

mod authority;
mod crypto;
mod held_key;
mod issue;
mod life;
mod passphrase;
mod peer;
pub mod pem;
mod person_key;
mod profile;
pub mod residency;
mod revocation;
#[cfg(any(test, feature = "test-pki"))]
pub mod test_pki;
mod tls;
mod tls_key;
mod token;

pub use authority::{AuthorityError, AuthorityKeys, IssuingAuthority, NewAuthorities, Population};
pub use held_key::{HeldIdentity, HeldKey, HeldKeyError};
pub use issue::{
    AGENT_LIFETIME, IssueError, Issued, Issuer, MAX_LIFETIME, Order, PERSON_LIFETIME, SERVER_LIFETIME,
    Serial, Subject,
};
pub use life::{CertificateLife, RECOVERY_LIFETIME};
pub use passphrase::{PASSPHRASE_BYTES_MAX, PASSPHRASE_CHARACTERS_MIN, Passphrase, PassphraseError};
pub use peer::{Peer, PeerCertificate, PeerError, Role};
pub use person_key::{PERSON_KEY_BYTES_MAX, PersonKey, PersonKeyError, PersonPublicKey};
pub use profile::{PROFILE_BYTES_MAX, Profile};
pub use revocation::{
    Candidate, ListError, REVOCATION_LIST_LIFETIME, RevocationList, RevocationOrder, Revoked, list_number,
    usable,
};
/// What [`mutual_client`] and its siblings give, for whoever hands it on.
pub use rustls::ClientConfig;
pub use tls::{
    CertificateWords, ClientIdentity, Clock, Identity, Presented, SystemClock, TlsError, TrustedAuthority,
    WithoutIdentity, enrolment_client, examining_client, examining_enrolment_client, http1_client,
    http1_listener, mutual_client, mutual_listener, open_listener, public_client, public_listener,
};
pub use tls_key::{TlsKey, TlsKeyError};
pub use token::{Pin, Token, TokenError, TokenSecret};
