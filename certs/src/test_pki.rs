//! A throw-away installation for tests: authorities, certificates and revocation lists at a chosen moment.

#![expect(clippy::expect_used, reason = "test support: a failure here must stop the test that asked")]

use std::sync::Arc;
use std::time::Duration;

use evidence::enrolment::TlsPublicKey;
use evidence::ids::{DeviceId, PersonId};
use evidence::time::Timestamp;
use evidence::trust_domain::TrustDomain;
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::pki_types::{CertificateDer, ServerName};

use crate::{
    AuthorityKeys, Clock, Identity, Issued, Issuer, IssuingAuthority, NewAuthorities, Order, Pin, Population,
    RevocationOrder, Revoked, Role, Serial, Subject, SystemClock, TlsKey, Token, TrustedAuthority,
};

/// Life of test certificates.
const LIFETIME: Duration = Duration::from_hours(1);

/// A throw-away installation.
#[derive(Debug)]
pub struct TestPki {
    /// Its trust domain.
    pub trust_domain: TrustDomain,
    /// When its certificates are made.
    pub now: Timestamp,
    /// Root and authorities.
    pub authorities: NewAuthorities,
}

/// A clock that always says the same.
struct FixedClock(Timestamp);

impl evidence::time::Clock for FixedClock {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// A clock that always says `moment`.
pub fn clock_at(moment: Timestamp) -> Clock {
    Arc::new(SystemClock(Arc::new(FixedClock(moment))))
}

/// `N` random bytes.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// A new serial.
pub fn serial() -> Serial {
    Serial::from_random(random())
}

/// A new key.
pub fn key() -> TlsKey {
    TlsKey::generate().expect("a key")
}

impl TestPki {
    /// A new installation at `now`.
    pub fn new(trust_domain: &str, now: Timestamp) -> Self {
        let trust_domain: TrustDomain = trust_domain.parse().expect("a trust domain");
        let keys = AuthorityKeys { root: key(), agents: key(), people: key(), servers: key() };
        let serials = [serial(), serial(), serial(), serial()];
        let authorities =
            NewAuthorities::create(&trust_domain, keys, serials, now).expect("authorities can be made");
        Self { trust_domain, now, authorities }
    }

    /// The authority of `population`.
    pub fn authority(&self, population: Population) -> &IssuingAuthority {
        match population {
            Population::Agents => &self.authorities.agents,
            Population::People => &self.authorities.people,
            Population::Servers => &self.authorities.servers,
        }
    }

    /// This installation's clock, standing still at [`TestPki::now`].
    pub fn clock(&self) -> Clock {
        clock_at(self.now)
    }

    /// Issues for `subject` by the right authority, for one hour.
    pub fn issue(&self, subject: &Subject, public_key: &TlsPublicKey) -> Issued {
        let order = Order { subject, public_key, serial: serial(), now: self.now, lifetime: LIFETIME };
        self.authority(subject.population()).issue(&order).expect("a certificate is issued")
    }

    /// A new key and a certificate for `subject`, with its serial. Servers' chains end with the root.
    pub fn identity(&self, subject: &Subject) -> (Identity, Serial) {
        let key = key();
        let issued = self.issue(subject, key.public());
        let mut chain = vec![issued.certificate, self.authority(subject.population()).certificate().clone()];
        if subject.population() == Population::Servers {
            chain.push(self.root().clone());
        }
        (Identity { chain, key }, issued.serial)
    }

    /// A new device's identity.
    pub fn agent(&self, device: DeviceId) -> (Identity, Serial) {
        self.identity(&Subject::Agent(device))
    }

    /// A person's identity.
    pub fn person(&self, role: Role, person: PersonId) -> (Identity, Serial) {
        self.identity(&Subject::Person(role, person))
    }

    /// A server's identity for one name or address.
    pub fn server(&self, name: &str) -> Identity {
        let name = ServerName::try_from(name.to_owned()).expect("a server name");
        self.identity(&Subject::Server(vec![name])).0
    }

    /// The authority of `population` as a listener trusts it, with `revoked` on its list.
    pub fn trusted(&self, population: Population, revoked: &[Serial]) -> TrustedAuthority {
        let authority = self.authority(population);
        let revoked: Vec<Revoked> =
            revoked.iter().map(|&serial| Revoked { serial, since: self.now }).collect();
        let order = RevocationOrder { number: 1, now: self.now, revoked: &revoked };
        let list = authority.revocation_list(&order).expect("a revocation list is issued");
        TrustedAuthority { certificate: authority.certificate().clone(), revocation_list: list.der }
    }

    /// The root's certificate.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.authorities.root
    }

    /// The root's pin.
    pub fn pin(&self) -> Pin {
        Pin::of(self.root()).expect("the root can be read")
    }

    /// A new token.
    pub fn token(&self) -> Token {
        Token::new(random(), self.pin())
    }
}
