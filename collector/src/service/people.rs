//! What people ask. Who may call what stands in [`crate::roles`]; an act's own signature decides whether it counts.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use certs::{Peer, Role};
use evidence::acts::{Act, Body, Commitment, Reveal};
use evidence::ids::{Digest, EngagementId, PersonId};
use evidence::leaf::Kind;
use evidence::note::{Note, TlogProof, VerifierKey};
use evidence::time::DayLabel;
use proto::{
    AccessReply, AccessRequest, ConfigurationsReply, ConfigurationsRequest, ConflictsReply, ConflictsRequest,
    DevicesReply, DevicesRequest, DrawReply, DrawnControl, FirstEntry, GenesisRequest, LatestCheckpointReply,
    LatestCheckpointRequest, PayloadsPart, PayloadsRequest, PendingReply, PendingRequest, PlanRef, PlanRow,
    PlansReply, PlansRequest, PostureReply, PostureRequest, ProofReply, ProofRequest, PutActReply,
    PutActRequest, RenewSelfReply, RenewSelfRequest, SetPart, WhoAmIReply, WhoAmIRequest,
};
use rpc::v1::people_server::People;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::access::AccessBook;
use super::admin::{person_chain, reply};
use super::payloads::PayloadCopies;
use super::turns::Turns;
use super::{key_changes, status};
use crate::enrolling::Enrolling;
use crate::identity::Identities;
use crate::listen::PeerInfo;
use crate::state::{DETAIL_BYTES_MAX, Detail, State};
use crate::succession::first_entry;
use crate::{audit, fleet, posture};

/// Bytes of a file sent in one part of a set: well below the message limit of every gRPC library.
pub(super) const PART_BYTES: usize = 256 * 1024;
/// Parts that may wait for the network.
pub(super) const PARTS_WAITING_MAX: usize = 4;
/// How long a part may wait for a reader that does not read: what is sent lies in memory, and others wait for the turn.
pub(super) const SLOW_READER_MAX: Duration = Duration::from_secs(30);

/// The service.
pub struct PeopleService {
    state: Arc<State>,
    identities: Arc<Identities>,
    access: Arc<AccessBook>,
    enrolling: Arc<Enrolling>,
    payloads: Arc<PayloadCopies>,
    exports: Arc<Turns>,
    queries: Arc<Turns>,
}

/// A person the collector knows.
struct Caller {
    person: PersonId,
    role: Role,
    /// The engagements an auditor is kept to; none: every one.
    engagements: Vec<EngagementId>,
    tls_key: Digest,
}

impl PeopleService {
    /// The service over what the collector shares, and its folder of payload bundles.
    pub fn new(
        state: Arc<State>,
        identities: Arc<Identities>,
        access: Arc<AccessBook>,
        enrolling: Arc<Enrolling>,
        payloads: &Path,
    ) -> Self {
        let (exports, queries) = (Turns::of_exports(), Turns::of_queries());
        let payloads = Arc::new(PayloadCopies::new(payloads));
        Self { state, identities, access, enrolling, payloads, exports, queries }
    }

    /// The caller, if the roster still has them with this role and TLS key. What the role may do the gate has asked.
    fn caller<T>(&self, request: &Request<T>, call: &'static str) -> Result<Caller, Status> {
        let certificate = request.extensions().get::<PeerInfo>().and_then(|info| info.certificate.as_ref());
        let denied = |text: &str| Status::permission_denied(text.to_owned());
        let Some(certificate) = certificate else {
            return Err(Status::unauthenticated("this listener is for people with a certificate"));
        };
        let Peer::Person { role, id } = certificate.peer else {
            return Err(denied("devices may not ask here"));
        };
        let engagements = {
            let book = self.state.book();
            let mut persons = book.authority.roster().persons();
            let known = persons.find(|person| {
                person.person == id
                    && person.tls_key == certificate.tls_key
                    && super::admin::certificate_role(person.role) == role
            });
            known.map(|person| person.engagements.clone())
        };
        let Some(engagements) = engagements else {
            return Err(denied("you are not on the roster with this key and role: ask an admin"));
        };
        self.access.count(id, call);
        Ok(Caller { person: id, role, engagements, tls_key: certificate.tls_key })
    }

    /// The plan, if it is one of the caller's engagements. To an auditor of others it does not exist.
    fn plan_of(&self, caller: &Caller, bytes: &[u8]) -> Result<Digest, Status> {
        let hash = plan_hash(bytes)?;
        let book = self.state.book();
        let plan = book.authority.ceremony(&hash).map(|ceremony| &ceremony.plan);
        // Without such a plan the step itself says so.
        if caller.engagements.is_empty() || plan.is_some_and(|plan| caller.has(&plan.engagement)) {
            return Ok(hash);
        }
        Err(Status::permission_denied("there is no such plan in your engagements: ask an admin"))
    }
}

impl PeopleService {
    /// An auditor who is kept to engagements carries nothing but the steps of their own plans.
    fn may_carry(&self, caller: &Caller, kind: Kind, envelope: &[u8]) -> Result<(), Status> {
        let (_, act) =
            Act::open_as(envelope, kind).map_err(|error| Status::invalid_argument(error.to_string()))?;
        match act.body {
            Body::Commitment(Commitment { plan_hash, .. }) | Body::Reveal(Reveal { plan_hash, .. }) => {
                self.plan_of(caller, plan_hash.as_bytes()).map(drop)
            }
            _ => Err(Status::permission_denied(
                "you are kept to your engagements: of acts you carry commitments and reveals of their plans",
            )),
        }
    }
}

impl Caller {
    fn has(&self, engagement: &EngagementId) -> bool {
        self.engagements.is_empty() || self.engagements.contains(engagement)
    }
}

fn plan_hash(bytes: &[u8]) -> Result<Digest, Status> {
    Digest::from_slice(bytes).map_err(|_| Status::invalid_argument("plan_hash must be 32 bytes"))
}

#[tonic::async_trait]
impl People for PeopleService {
    async fn who_am_i(&self, request: Request<WhoAmIRequest>) -> Result<Response<WhoAmIReply>, Status> {
        let caller = self.caller(&request, "WhoAmI")?;
        Ok(Response::new(WhoAmIReply {
            person: caller.person.to_string(),
            role: caller.role.as_str().to_owned(),
            trust_domain: self.state.trust_domain().to_owned(),
            origin: self.state.origin().to_owned(),
            log_vkeys: self.state.log_keys().iter().map(VerifierKey::vkey).collect(),
        }))
    }

    async fn put_act(&self, request: Request<PutActRequest>) -> Result<Response<PutActReply>, Status> {
        let caller = self.caller(&request, "PutAct")?;
        let request = request.into_inner();
        let number = |number: u32| u8::try_from(number).unwrap_or(u8::MAX);
        let kind = Kind::new(number(request.kind_stream), number(request.kind))
            .ok_or_else(|| Status::invalid_argument("this kind of entry is not known"))?;
        if kind == Kind::PERSON || kind == Kind::TOKEN {
            return Err(Status::permission_denied(
                "persons and tokens are made on the collector's own machine: tallystick-collector user|token create",
            ));
        }
        if !caller.engagements.is_empty() {
            self.may_carry(&caller, kind, &request.envelope)?;
        }
        if request.detail.len() > DETAIL_BYTES_MAX {
            return Err(Status::invalid_argument("the detail is too long"));
        }
        let detail = match request.detail_salt.as_slice() {
            [] if request.detail.is_empty() => None,
            salt => Some(Detail {
                random: <[u8; 32]>::try_from(salt)
                    .map_err(|_| Status::invalid_argument("detail_salt must be 32 bytes"))?,
                bytes: request.detail,
            }),
        };
        let stored =
            self.state.put_act(kind, request.envelope, detail).await.map_err(|error| status(&error))?;
        Ok(Response::new(reply(&stored)))
    }

    async fn posture(&self, request: Request<PostureRequest>) -> Result<Response<PostureReply>, Status> {
        let caller = self.caller(&request, "Posture")?;
        let _turn = self.queries.take(&caller.person.to_string()).await?;
        let request = request.into_inner();
        let device = match request.device.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| Status::invalid_argument("device must be a device id"))?),
        };
        let control = match request.control.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| Status::invalid_argument("control must be a control id"))?),
        };
        let day = match request.day.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| Status::invalid_argument("day must be YYYY-MM-DD"))?),
        };
        if let Some(device) = device {
            // In the log before the answer is given.
            self.access.look(caller.person, device).await.map_err(|error| status(&error))?;
        }
        let reply =
            tokio::task::block_in_place(|| posture::posture(&self.state, day, device, control.as_ref()))
                .map_err(|error| status(&error.into()))?;
        Ok(Response::new(reply))
    }

    async fn devices(&self, request: Request<DevicesRequest>) -> Result<Response<DevicesReply>, Status> {
        let caller = self.caller(&request, "Devices")?;
        let _turn = self.queries.take(&caller.person.to_string()).await?;
        let versions = request.get_ref().versions;
        let rows = tokio::task::block_in_place(|| fleet::devices(&self.state, versions))
            .map_err(|error| status(&error.into()))?;
        Ok(Response::new(DevicesReply { rows }))
    }

    async fn pending(&self, request: Request<PendingRequest>) -> Result<Response<PendingReply>, Status> {
        self.caller(&request, "Pending")?;
        let rows = fleet::pending(&self.enrolling, self.state.clock.now());
        Ok(Response::new(PendingReply { rows }))
    }

    async fn conflicts(
        &self,
        request: Request<ConflictsRequest>,
    ) -> Result<Response<ConflictsReply>, Status> {
        self.caller(&request, "Conflicts")?;
        let rows = tokio::task::block_in_place(|| fleet::conflicts(&self.state, &self.enrolling))
            .map_err(|error| status(&error.into()))?;
        Ok(Response::new(ConflictsReply { rows }))
    }

    async fn configurations(
        &self,
        request: Request<ConfigurationsRequest>,
    ) -> Result<Response<ConfigurationsReply>, Status> {
        self.caller(&request, "Configurations")?;
        let rows = tokio::task::block_in_place(|| fleet::configurations(&self.state))
            .map_err(|error| status(&error.into()))?;
        Ok(Response::new(ConfigurationsReply { rows }))
    }

    async fn latest_checkpoint(
        &self,
        request: Request<LatestCheckpointRequest>,
    ) -> Result<Response<LatestCheckpointReply>, Status> {
        self.caller(&request, "LatestCheckpoint")?;
        let from = request.into_inner().from_size;
        let published = self.state.wait_for_checkpoint(1).await.map_err(|error| status(&error))?;
        let size = published.checkpoint.size;
        if from > size {
            return Err(Status::failed_precondition(format!(
                "this log's newest checkpoint has {size} entries, fewer than the {from} you know: keep your checkpoint, \
                 it shows that the log went back"
            )));
        }
        let consistency = self.state.ledger.consistency(from, size).map_err(|error| status(&error.into()))?;
        Ok(Response::new(LatestCheckpointReply {
            note: published.note.clone(),
            consistency: consistency.iter().map(|hash| hash.0.to_vec()).collect(),
            key_changes: key_changes(&self.state),
        }))
    }

    async fn proof(&self, request: Request<ProofRequest>) -> Result<Response<ProofReply>, Status> {
        self.caller(&request, "Proof")?;
        let index = request.into_inner().index;
        if index >= self.state.ledger.size() {
            return Err(Status::not_found(format!("there is no entry {index}")));
        }
        let published = self.state.wait_for_checkpoint(index + 1).await.map_err(|error| status(&error))?;
        let read = |error: crate::ledger::ReadError| status(&error.into());
        let leaf = self.state.ledger.leaf(index).map_err(read)?;
        let hashes = self.state.ledger.inclusion(index, published.checkpoint.size).map_err(read)?;
        let note = Note::parse(published.note.as_bytes())
            .map_err(|_| Status::internal("the newest checkpoint cannot be read"))?;
        let proof = TlogProof { extra: None, index, hashes, note };
        Ok(Response::new(ProofReply { tlog_proof: proof.encode(), leaf: leaf.encode() }))
    }

    async fn genesis(&self, request: Request<GenesisRequest>) -> Result<Response<FirstEntry>, Status> {
        self.caller(&request, "Genesis")?;
        let published = self.state.wait_for_checkpoint(1).await.map_err(|error| status(&error))?;
        let first = first_entry(&self.state.ledger, &published).map_err(|error| status(&error.into()))?;
        Ok(Response::new(first))
    }

    async fn plans(&self, request: Request<PlansRequest>) -> Result<Response<PlansReply>, Status> {
        let caller = self.caller(&request, "Plans")?;
        let book = self.state.book();
        let rows = book
            .authority
            .ceremonies()
            .filter(|(_, ceremony)| caller.has(&ceremony.plan.engagement))
            .map(|(hash, ceremony)| {
                let stage = if !ceremony.exports.is_empty() {
                    "exported"
                } else if ceremony.draw.is_some() {
                    "drawn"
                } else if ceremony.reveal.is_some() {
                    "revealed"
                } else if ceremony.freeze.is_some() {
                    "frozen"
                } else if ceremony.commitment.is_some() {
                    "committed"
                } else {
                    "planned"
                };
                let frozen = ceremony.freeze.as_ref().map(|step| step.act.populations.as_slice());
                PlanRow {
                    plan_hash: hash.as_bytes().to_vec(),
                    engagement: ceremony.plan.engagement.to_string(),
                    controls: ceremony.plan.controls.iter().map(ToString::to_string).collect(),
                    stage: stage.to_owned(),
                    plan_index: ceremony.plan_index,
                    population: frozen
                        .unwrap_or_default()
                        .iter()
                        .map(|population| population.count)
                        .collect(),
                }
            })
            .collect();
        Ok(Response::new(PlansReply { rows }))
    }

    async fn freeze(&self, request: Request<PlanRef>) -> Result<Response<PutActReply>, Status> {
        let caller = self.caller(&request, "Freeze")?;
        let _turn = self.queries.take(&caller.person.to_string()).await?;
        let hash = self.plan_of(&caller, &request.into_inner().plan_hash)?;
        let stored = audit::freeze(&self.state, hash).await.map_err(|error| status(&error))?;
        Ok(Response::new(reply(&stored)))
    }

    async fn draw(&self, request: Request<PlanRef>) -> Result<Response<DrawReply>, Status> {
        let caller = self.caller(&request, "Draw")?;
        let _turn = self.queries.take(&caller.person.to_string()).await?;
        let hash = self.plan_of(&caller, &request.into_inner().plan_hash)?;
        let (stored, draws) = audit::draw(&self.state, hash).await.map_err(|error| status(&error))?;
        let controls = draws
            .into_iter()
            .map(|(control, record)| DrawnControl {
                control: control.to_string(),
                units: record.draw.selected.iter().map(|drawn| drawn.unit.clone()).collect(),
                tickets: record.draw.selected.iter().map(|drawn| drawn.ticket.clone()).collect(),
            })
            .collect();
        Ok(Response::new(DrawReply { entry: Some(reply(&stored)), controls }))
    }

    type ExportStream = ReceiverStream<Result<SetPart, Status>>;

    async fn export(&self, request: Request<PlanRef>) -> Result<Response<Self::ExportStream>, Status> {
        let caller = self.caller(&request, "Export")?;
        let hash = self.plan_of(&caller, &request.into_inner().plan_hash)?;
        let turn = self.exports.take(&caller.person.to_string()).await?;
        let (parts, outgoing) = tokio::sync::mpsc::channel(PARTS_WAITING_MAX);
        let state = Arc::clone(&self.state);
        tokio::spawn(async move {
            // Until the last part is sent: so long the set lies in memory.
            let _turn = turn;
            match audit::export(&state, hash).await {
                Ok(files) => {
                    tracing::info!(person = %caller.person, plan = %hash, files = files.len(), "Sampling set exported.");
                    let count = files.len() as u64;
                    for (path, bytes) in files {
                        if send_file(&parts, &path, &bytes, count).await.is_err() {
                            return;
                        }
                    }
                }
                // A caller that is gone does not wait for the answer.
                Err(error) => drop(parts.send(Err(status(&error))).await),
            }
        });
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }

    type PayloadsStream = ReceiverStream<Result<PayloadsPart, Status>>;

    async fn payloads(
        &self,
        request: Request<PayloadsRequest>,
    ) -> Result<Response<Self::PayloadsStream>, Status> {
        let caller = self.caller(&request, "Payloads")?;
        if !caller.engagements.is_empty() {
            return Err(Status::permission_denied(
                "the payload bundles are of every engagement, and you are kept to yours: ask an admin",
            ));
        }
        let copies = Arc::clone(&self.payloads);
        let outgoing = copies.send(&self.state, request.into_inner(), caller.person.to_string())?;
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }

    async fn renew(&self, request: Request<RenewSelfRequest>) -> Result<Response<RenewSelfReply>, Status> {
        let caller = self.caller(&request, "Renew")?;
        let key = request
            .extensions()
            .get::<PeerInfo>()
            .and_then(|info| info.certificate.as_ref())
            .map(|certificate| certificate.public_key.clone())
            .filter(|key| key.id() == caller.tls_key)
            .ok_or_else(|| Status::internal("the connection's key is not known"))?;
        let now = self.state.clock.now();
        let chain = person_chain(&self.identities, caller.role, caller.person, &key, now)
            .map_err(|error| status(&error))?;
        tracing::info!(person = %caller.person, "A person renewed their certificate.");
        Ok(Response::new(RenewSelfReply { chain }))
    }

    async fn access(&self, request: Request<AccessRequest>) -> Result<Response<AccessReply>, Status> {
        self.caller(&request, "Access")?;
        let request = request.into_inner();
        let day = |text: &str| match text {
            "" => Ok(None),
            text => text
                .parse::<DayLabel>()
                .map(Some)
                .map_err(|_| Status::invalid_argument("a day is YYYY-MM-DD")),
        };
        let rows = self.access.rows(day(&request.from_day)?, day(&request.to_day)?);
        Ok(Response::new(AccessReply { rows }))
    }
}

type Parts = tokio::sync::mpsc::Sender<Result<SetPart, Status>>;

async fn send_file(parts: &Parts, path: &str, bytes: &[u8], files: u64) -> Result<(), ()> {
    let mut chunks = bytes.chunks(PART_BYTES).peekable();
    loop {
        let data = chunks.next().unwrap_or_default().to_vec();
        let end = chunks.peek().is_none();
        let part = SetPart { path: path.to_owned(), data, end, files };
        parts.send_timeout(Ok(part), SLOW_READER_MAX).await.map_err(|_| ())?;
        if end {
            return Ok(());
        }
    }
}
