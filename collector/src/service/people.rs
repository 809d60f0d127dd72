//! What people ask. Who may call what stands in one table; an act's own signature decides whether it counts.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use certs::{Peer, Role};
use evidence::ids::Digest;
use evidence::leaf::Kind;
use evidence::note::{Note, TlogProof, VerifierKey};
use proto::{
    ConfigurationsReply, ConfigurationsRequest, ConflictsReply, ConflictsRequest, DevicesReply,
    DevicesRequest, DrawReply, DrawnControl, FirstEntry, GenesisRequest, LatestCheckpointReply,
    LatestCheckpointRequest, PayloadsPart, PayloadsRequest, PendingReply, PendingRequest, PlanRef, PlanRow,
    PlansReply, PlansRequest, PostureReply, PostureRequest, ProofReply, ProofRequest, PutActReply,
    PutActRequest, SetPart, WhoAmIReply, WhoAmIRequest,
};
use rpc::v1::people_server::People;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::admin::reply;
use super::payloads::PayloadCopies;
use super::turns::Turns;
use super::{key_changes, status};
use crate::enrolling::Enrolling;
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

/// The calls of this service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Who the collector takes the caller for.
    WhoAmI,
    /// Carries an act to the log.
    PutAct,
    /// Today's states.
    Posture,
    /// The roster's devices.
    Devices,
    /// Enrolments that wait.
    Pending,
    /// Devices that contradict each other.
    Conflicts,
    /// Fleet configurations.
    Configurations,
    /// Newest checkpoint.
    LatestCheckpoint,
    /// Inclusion of an entry.
    Proof,
    /// The first entry, with its payload.
    Genesis,
    /// Plans and their stages.
    Plans,
    /// Freeze a frame.
    Freeze,
    /// Draw.
    Draw,
    /// Build and fetch a set.
    Export,
    /// Copy the sealed payloads.
    Payloads,
}

/// Who may call what: the one table. Agents may call nothing here.
pub const TABLE: [(Call, &[Role]); 15] = {
    const ALL: &[Role] = &[Role::Admin, Role::Analyst, Role::Auditor];
    const STAFF: &[Role] = &[Role::Admin, Role::Analyst];
    [
        (Call::WhoAmI, ALL),
        (Call::PutAct, ALL),
        (Call::Posture, STAFF),
        (Call::Devices, STAFF),
        (Call::Pending, STAFF),
        (Call::Conflicts, STAFF),
        (Call::Configurations, STAFF),
        (Call::LatestCheckpoint, ALL),
        (Call::Proof, ALL),
        (Call::Genesis, ALL),
        (Call::Plans, ALL),
        (Call::Freeze, STAFF),
        (Call::Draw, STAFF),
        (Call::Export, ALL),
        (Call::Payloads, &[Role::Admin, Role::Auditor]),
    ]
};

/// The roles that may make a call.
fn roles(call: Call) -> &'static [Role] {
    TABLE.iter().find(|(listed, _)| *listed == call).map_or(&[], |(_, roles)| *roles)
}

/// Whether a role may make a call.
pub fn may(role: Role, call: Call) -> bool {
    roles(call).contains(&role)
}

/// The service.
pub struct PeopleService {
    state: Arc<State>,
    enrolling: Arc<Enrolling>,
    payloads: Arc<PayloadCopies>,
    exports: Arc<Turns>,
    queries: Arc<Turns>,
}

/// A person the collector knows.
struct Caller {
    person: String,
    role: Role,
}

impl PeopleService {
    /// The service over what the collector shares, and its folder of payload bundles.
    pub fn new(state: Arc<State>, enrolling: Arc<Enrolling>, payloads: &Path) -> Self {
        let (exports, queries) = (Turns::of_exports(), Turns::of_queries());
        Self { state, enrolling, payloads: Arc::new(PayloadCopies::new(payloads)), exports, queries }
    }

    /// The caller, if the roster still has them with this role and TLS key, and the table lets them.
    fn caller<T>(&self, request: &Request<T>, call: Call) -> Result<Caller, Status> {
        let certificate = request.extensions().get::<PeerInfo>().and_then(|info| info.certificate.as_ref());
        let denied = |text: &str| Status::permission_denied(text.to_owned());
        let Some(certificate) = certificate else {
            return Err(Status::unauthenticated("this listener is for people with a certificate"));
        };
        let Peer::Person { role, id } = certificate.peer else {
            return Err(denied("devices may not ask here"));
        };
        let book = self.state.book();
        let known = book.authority.roster().persons().any(|person| {
            person.person == id
                && person.tls_key == certificate.tls_key
                && super::admin::certificate_role(person.role) == role
        });
        if !known {
            return Err(denied("you are not on the roster with this key and role: ask an admin"));
        }
        if !may(role, call) {
            let who: Vec<&str> = roles(call).iter().map(|role| role.as_str()).collect();
            return Err(Status::permission_denied(format!(
                "the role {role} may not do this; an {} may",
                who.join(" or ")
            )));
        }
        Ok(Caller { person: id.to_string(), role })
    }
}

fn plan_hash(bytes: &[u8]) -> Result<Digest, Status> {
    Digest::from_slice(bytes).map_err(|_| Status::invalid_argument("plan_hash must be 32 bytes"))
}

#[tonic::async_trait]
impl People for PeopleService {
    async fn who_am_i(&self, request: Request<WhoAmIRequest>) -> Result<Response<WhoAmIReply>, Status> {
        let caller = self.caller(&request, Call::WhoAmI)?;
        Ok(Response::new(WhoAmIReply {
            person: caller.person,
            role: caller.role.as_str().to_owned(),
            trust_domain: self.state.trust_domain().to_owned(),
            origin: self.state.origin().to_owned(),
            log_vkeys: self.state.log_keys().iter().map(VerifierKey::vkey).collect(),
        }))
    }

    async fn put_act(&self, request: Request<PutActRequest>) -> Result<Response<PutActReply>, Status> {
        self.caller(&request, Call::PutAct)?;
        let request = request.into_inner();
        let number = |number: u32| u8::try_from(number).unwrap_or(u8::MAX);
        let kind = Kind::new(number(request.kind_stream), number(request.kind))
            .ok_or_else(|| Status::invalid_argument("this kind of entry is not known"))?;
        if kind == Kind::PERSON || kind == Kind::TOKEN {
            return Err(Status::permission_denied(
                "persons and tokens are made on the collector's own machine: tallystick-collector user|token create",
            ));
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
        let caller = self.caller(&request, Call::Posture)?;
        let _turn = self.queries.take(&caller.person).await?;
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
        let reply =
            tokio::task::block_in_place(|| posture::posture(&self.state, day, device, control.as_ref()))
                .map_err(|error| status(&error.into()))?;
        Ok(Response::new(reply))
    }

    async fn devices(&self, request: Request<DevicesRequest>) -> Result<Response<DevicesReply>, Status> {
        let caller = self.caller(&request, Call::Devices)?;
        let _turn = self.queries.take(&caller.person).await?;
        let versions = request.get_ref().versions;
        let rows = tokio::task::block_in_place(|| fleet::devices(&self.state, versions))
            .map_err(|error| status(&error.into()))?;
        Ok(Response::new(DevicesReply { rows }))
    }

    async fn pending(&self, request: Request<PendingRequest>) -> Result<Response<PendingReply>, Status> {
        self.caller(&request, Call::Pending)?;
        let rows = fleet::pending(&self.enrolling, self.state.clock.now());
        Ok(Response::new(PendingReply { rows }))
    }

    async fn conflicts(
        &self,
        request: Request<ConflictsRequest>,
    ) -> Result<Response<ConflictsReply>, Status> {
        self.caller(&request, Call::Conflicts)?;
        let rows = tokio::task::block_in_place(|| fleet::conflicts(&self.state, &self.enrolling))
            .map_err(|error| status(&error.into()))?;
        Ok(Response::new(ConflictsReply { rows }))
    }

    async fn configurations(
        &self,
        request: Request<ConfigurationsRequest>,
    ) -> Result<Response<ConfigurationsReply>, Status> {
        self.caller(&request, Call::Configurations)?;
        let rows = tokio::task::block_in_place(|| fleet::configurations(&self.state))
            .map_err(|error| status(&error.into()))?;
        Ok(Response::new(ConfigurationsReply { rows }))
    }

    async fn latest_checkpoint(
        &self,
        request: Request<LatestCheckpointRequest>,
    ) -> Result<Response<LatestCheckpointReply>, Status> {
        self.caller(&request, Call::LatestCheckpoint)?;
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
        self.caller(&request, Call::Proof)?;
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
        self.caller(&request, Call::Genesis)?;
        let published = self.state.wait_for_checkpoint(1).await.map_err(|error| status(&error))?;
        let first = first_entry(&self.state.ledger, &published).map_err(|error| status(&error.into()))?;
        Ok(Response::new(first))
    }

    async fn plans(&self, request: Request<PlansRequest>) -> Result<Response<PlansReply>, Status> {
        self.caller(&request, Call::Plans)?;
        let book = self.state.book();
        let rows = book
            .authority
            .ceremonies()
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
        let caller = self.caller(&request, Call::Freeze)?;
        let _turn = self.queries.take(&caller.person).await?;
        let hash = plan_hash(&request.into_inner().plan_hash)?;
        let stored = audit::freeze(&self.state, hash).await.map_err(|error| status(&error))?;
        Ok(Response::new(reply(&stored)))
    }

    async fn draw(&self, request: Request<PlanRef>) -> Result<Response<DrawReply>, Status> {
        let caller = self.caller(&request, Call::Draw)?;
        let _turn = self.queries.take(&caller.person).await?;
        let hash = plan_hash(&request.into_inner().plan_hash)?;
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
        let caller = self.caller(&request, Call::Export)?;
        let hash = plan_hash(&request.into_inner().plan_hash)?;
        let turn = self.exports.take(&caller.person).await?;
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
        let caller = self.caller(&request, Call::Payloads)?;
        let copies = Arc::clone(&self.payloads);
        let outgoing = copies.send(&self.state, request.into_inner(), caller.person)?;
        Ok(Response::new(ReceiverStream::new(outgoing)))
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
