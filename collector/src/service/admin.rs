//! Tokens and users: the same code behind the admin socket and beside a stopped server.

use std::sync::Arc;

use certs::{Issuer, Order, PERSON_LIFETIME, Role, Serial, Subject};
use evidence::acts::{Act, Body, KeyOf, KeyStep};
use evidence::enrolment::TlsPublicKey;
use evidence::ids::{Digest, PersonId};
use evidence::leaf::Kind;
use evidence::time::Timestamp;
use proto::{
    AuthorityStanding, ChangeAuthorityRequest, CreateTokenRequest, CreateUserReply, CreateUserRequest,
    PutActReply, ReadAuthorityRequest, RenewUserReply, RenewUserRequest,
};
use rpc::v1::admin_server::Admin;
use tonic::{Request, Response, Status};

use super::status;
use crate::identity::Identities;
use crate::rollover::Rollover;
use crate::state::{Detail, PutAct, State, StateError, random};

/// The admin service.
pub struct AdminService {
    state: Arc<State>,
    identities: Arc<Identities>,
}

impl AdminService {
    /// The service over what the collector shares.
    pub fn new(state: Arc<State>, identities: Arc<Identities>) -> Self {
        Self { state, identities }
    }

    /// Logs a token act and the records of serial numbers before it.
    pub async fn token(&self, request: CreateTokenRequest) -> Result<PutAct, StateError> {
        let details = request.serials.into_iter().map(|record| {
            let random = <[u8; 32]>::try_from(record.salt.as_slice())
                .map_err(|_| StateError::Invalid("salt must be 32 bytes".to_owned()))?;
            Ok(Detail { random, bytes: record.detail })
        });
        let details = details.collect::<Result<Vec<_>, StateError>>()?;
        self.state.put_act_with(Kind::TOKEN, request.envelope, details).await
    }

    /// Logs a person act and issues the person's certificate.
    pub async fn user(&self, request: CreateUserRequest) -> Result<CreateUserReply, StateError> {
        let invalid = |text: &str| StateError::Invalid(text.to_owned());
        let tls_key = TlsPublicKey::from_spki_der(&request.tls_spki)
            .map_err(|error| StateError::Invalid(error.to_string()))?;
        let (_, act) = Act::open_as(&request.envelope, Kind::PERSON)
            .map_err(|error| StateError::Invalid(error.to_string()))?;
        let Body::Person(person) = act.body else { return Err(invalid("not a person act")) };
        if person.tls_key != tls_key.id() {
            return Err(invalid("the act names another TLS key than the one that came with it"));
        }
        let random = <[u8; 32]>::try_from(request.detail_salt.as_slice())
            .map_err(|_| invalid("detail_salt must be 32 bytes"))?;
        let detail = Detail { random, bytes: request.detail };
        let entry = self.state.put_act(Kind::PERSON, request.envelope, Some(detail)).await?;
        let role = certificate_role(person.role);
        let chain = person_chain(&self.identities, role, person.person, &tls_key, self.state.clock.now())?;
        Ok(CreateUserReply { entry: Some(reply(&entry)), chain, person: person.person.to_string() })
    }

    /// Issues a fresh certificate to a person on the roster. Nothing is logged: key and role stay what the roster says.
    pub fn renew(&self, request: &RenewUserRequest) -> Result<RenewUserReply, StateError> {
        let tls_key = TlsPublicKey::from_spki_der(&request.tls_spki)
            .map_err(|error| StateError::Invalid(error.to_string()))?;
        let (person, role) = {
            let book = self.state.book();
            let found = book.authority.roster().persons().find(|person| person.tls_key == tls_key.id());
            found.map(|person| (person.person, person.role)).ok_or_else(|| {
                StateError::Refused("nobody on the roster has this key: `user create` admits it".into())
            })?
        };
        let now = self.state.clock.now();
        let chain = person_chain(&self.identities, certificate_role(role), person, &tls_key, now)?;
        Ok(RenewUserReply { chain, person: person.to_string(), role: role.as_str().to_owned() })
    }
}

impl AdminService {
    /// Takes a step of a change of an authority.
    pub async fn change(&self, request: &ChangeAuthorityRequest) -> Result<AuthorityStanding, StateError> {
        let invalid = |text: String| StateError::Invalid(text);
        let of: KeyOf = request.of.parse().map_err(|error| invalid(format!("of: {error}")))?;
        let step: KeyStep = request.step.parse().map_err(|error| invalid(format!("step: {error}")))?;
        let certificate = Digest::from_slice(&request.certificate)
            .map_err(|error| invalid(format!("certificate: {error}")))?;
        let rollover = Rollover::new(&self.state, &self.identities);
        let index = rollover.step(of, step, certificate, request.anyway).await?;
        self.authority(&request.of, index)
    }

    /// How a change of an authority stands.
    pub fn authority(&self, of: &str, index: u64) -> Result<AuthorityStanding, StateError> {
        let of: KeyOf = of.parse().map_err(|error| StateError::Invalid(format!("of: {error}")))?;
        let standing = Rollover::new(&self.state, &self.identities).standing(of)?;
        let bytes =
            |digest: Option<Digest>| digest.map(|digest| digest.as_bytes().to_vec()).unwrap_or_default();
        Ok(AuthorityStanding {
            issuing: bytes(Some(standing.trusted.issuing)),
            prepared: bytes(standing.trusted.prepared),
            retiring: bytes(standing.trusted.retiring),
            issuing_begins_ms: standing.issuing.begins.ms(),
            issuing_ends_ms: standing.issuing.ends.ms(),
            holders: standing.holders,
            devices: standing.devices,
            held_until_ms: standing.held_until.map_or(0, Timestamp::ms),
            index,
        })
    }
}

/// A fresh certificate for a person: certificate, issuing CA, root.
pub fn person_chain(
    identities: &Identities,
    role: Role,
    person: PersonId,
    tls_key: &TlsPublicKey,
    now: Timestamp,
) -> Result<Vec<Vec<u8>>, StateError> {
    let order = Order {
        subject: &Subject::Person(role, person),
        public_key: tls_key,
        serial: Serial::from_random(random()?),
        now,
        lifetime: PERSON_LIFETIME,
    };
    let people = identities.people().map_err(|error| StateError::Refused(error.to_string()))?;
    let issued = people.issue(&order).map_err(|error| StateError::Refused(error.to_string()))?;
    // Kept before anybody has it: a revocation must find its serial number.
    identities.keep_issued(&issued.certificate, now).map_err(|error| {
        tracing::error!(error = %error, "An issued certificate could not be kept.");
        StateError::Refused("the certificate could not be kept; try again".into())
    })?;
    Ok(vec![issued.certificate.to_vec(), people.certificate().to_vec(), identities.root().to_vec()])
}

/// The certificate's role of a roster role.
pub const fn certificate_role(role: evidence::acts::Role) -> Role {
    match role {
        evidence::acts::Role::Admin => Role::Admin,
        evidence::acts::Role::Analyst => Role::Analyst,
        evidence::acts::Role::Auditor => Role::Auditor,
    }
}

/// The wire form of where an act was stored.
pub fn reply(entry: &PutAct) -> PutActReply {
    PutActReply {
        index: entry.index,
        received_ms: entry.received.0,
        stream_sequence: entry.stream_sequence,
        payload_sha256: entry.payload_sha256.as_bytes().to_vec(),
    }
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn create_token(
        &self,
        request: Request<CreateTokenRequest>,
    ) -> Result<Response<PutActReply>, Status> {
        let entry = self.token(request.into_inner()).await.map_err(|error| status(&error))?;
        Ok(Response::new(reply(&entry)))
    }

    async fn create_user(
        &self,
        request: Request<CreateUserRequest>,
    ) -> Result<Response<CreateUserReply>, Status> {
        let answer = self.user(request.into_inner()).await.map_err(|error| status(&error))?;
        Ok(Response::new(answer))
    }

    async fn renew_user(
        &self,
        request: Request<RenewUserRequest>,
    ) -> Result<Response<RenewUserReply>, Status> {
        Ok(Response::new(self.renew(request.get_ref()).map_err(|error| status(&error))?))
    }

    async fn change_authority(
        &self,
        request: Request<ChangeAuthorityRequest>,
    ) -> Result<Response<AuthorityStanding>, Status> {
        Ok(Response::new(self.change(request.get_ref()).await.map_err(|error| status(&error))?))
    }

    async fn read_authority(
        &self,
        request: Request<ReadAuthorityRequest>,
    ) -> Result<Response<AuthorityStanding>, Status> {
        Ok(Response::new(self.authority(&request.get_ref().of, 0).map_err(|error| status(&error))?))
    }
}
