//! A collector for tests: real TLS and gRPC in this process, a [`FakeLog`] behind.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Instant;

use certs::test_pki::TestPki;
use certs::{Population, Subject, Token};
use evidence::enrolment::{EXPORTER_LABEL, TlsPublicKey, Transcript};
use evidence::ids::{DeviceId, Digest};
use evidence::time::Clock as _;
use proto::enrol_reply::Step as Reply;
use proto::enrol_request::Step as Request;
use rpc::v1::enrolment_server::{Enrolment, EnrolmentServer};
use rpc::v1::ingest_server::{Ingest, IngestServer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use tonic::{Response, Status, Streaming};

use crate::clock::SystemClock;
use crate::fake_log::{FakeLog, ORIGIN, say};

/// The instance every device gets.
pub(crate) const INSTANCE: [u8; 16] = [1; 16];

type Enrolled = (Vec<u8>, proto::Enrolled);

/// What the listeners share.
pub(crate) struct FakeCollector {
    pub(crate) pki: TestPki,
    pub(crate) log: Mutex<FakeLog>,
    pub(crate) token: Token,
    /// By enrolment id: the attestation key, and the answer.
    pub(crate) enrolled: Mutex<HashMap<Vec<u8>, Enrolled>>,
    /// So many finished enrolments end without an answer.
    pub(crate) lose_answers: AtomicU32,
    /// So many envelopes are stored before the stream breaks.
    pub(crate) break_after: AtomicU32,
    /// Every envelope is refused for this reason.
    pub(crate) refuse: Mutex<Option<proto::RefusedReason>>,
    /// The next envelopes are not taken: the agent is asked to wait so many milliseconds, and begin again.
    pub(crate) slow: Mutex<VecDeque<u32>>,
    /// When each envelope came.
    pub(crate) came: Mutex<Vec<Instant>>,
    /// Streams that were opened.
    pub(crate) streams: AtomicU32,
}

struct Guarded(TlsStream<TcpStream>);

impl Connected for Guarded {
    type ConnectInfo = [u8; 32];

    fn connect_info(&self) -> [u8; 32] {
        let (_, session) = self.0.get_ref();
        session.export_keying_material([0; 32], EXPORTER_LABEL, Some(b"")).unwrap()
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

async fn listen(config: Arc<rustls::ServerConfig>) -> (String, ReceiverStream<std::io::Result<Guarded>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, incoming) = mpsc::channel(4);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            // A handshake that fails is the client's affair.
            if let Ok(stream) = TlsAcceptor::from(Arc::clone(&config)).accept(tcp).await
                && sender.send(Ok(Guarded(stream))).await.is_err()
            {
                return;
            }
        }
    });
    (address, ReceiverStream::new(incoming))
}

impl FakeCollector {
    /// Starts both listeners; gives their addresses, enrolment first.
    pub(crate) async fn start() -> (Arc<Self>, String, String) {
        let pki = TestPki::new("example.org", SystemClock.now());
        let token = pki.token();
        let this = Arc::new(Self {
            pki,
            log: Mutex::new(FakeLog::new(3)),
            token,
            enrolled: Mutex::default(),
            lose_answers: AtomicU32::new(0),
            break_after: AtomicU32::new(u32::MAX),
            refuse: Mutex::new(None),
            slow: Mutex::default(),
            came: Mutex::default(),
            streams: AtomicU32::new(0),
        });
        let server = this.pki.server("127.0.0.1");
        let open = certs::open_listener(&server, this.pki.clock()).unwrap();
        let trusted = [this.pki.trusted(Population::Agents, &[])];
        let mutual = certs::mutual_listener(&server, &trusted, this.pki.clock()).unwrap();
        let (enrol, incoming) = listen(open).await;
        let service = EnrolmentServer::new(Service(Arc::clone(&this)));
        tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
        let (agents, incoming) = listen(mutual).await;
        let service = IngestServer::new(Service(Arc::clone(&this)));
        tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
        (this, enrol, agents)
    }

    fn enrol(
        &self,
        nonce: [u8; 32],
        begin: &[u8],
        finish: &proto::EnrolFinish,
        exporter: [u8; 32],
    ) -> proto::Enrolled {
        let transcript = Transcript {
            trust_domain: self.pki.trust_domain.clone(),
            enrolment_id: begin.try_into().unwrap(),
            nonce,
            exporter,
            token_hash: Digest::of(&finish.token_secret),
            tls_key: TlsPublicKey::from_spki_der(&finish.tls_spki).unwrap(),
            attestation_key: evidence::keys::PublicKey::from_slice(&finish.attestation_key).unwrap(),
            facts_commitment: Digest::of_parts(&[&finish.detail_salt, &finish.detail]),
        };
        Transcript::verify(&transcript.encode(), &finish.sig_ed25519, &finish.sig_p256).unwrap();
        assert_eq!(transcript.token_hash, self.token.secret.hash());
        let mut enrolled = self.enrolled.lock().unwrap();
        if let Some((key, answer)) = enrolled.get(begin) {
            assert_eq!(key, &finish.attestation_key, "a retry with another key");
            return answer.clone();
        }
        let device = DeviceId::from_bytes([2; 16]);
        let issued = self.pki.issue(&Subject::Agent(device), &transcript.tls_key);
        let authority = certs::Issuer::certificate(self.pki.authority(Population::Agents)).to_vec();
        let log = self.log.lock().unwrap();
        let answer = proto::Enrolled {
            device: device.to_string(),
            instance: INSTANCE.to_vec(),
            certificate: issued.certificate.to_vec(),
            chain: vec![authority, self.pki.root().to_vec()],
            origin: ORIGIN.into(),
            log_vkeys: vec![log.pinned().keys[0].vkey()],
            witness_policy: "quorum none\n".into(),
            checkpoint: log.note(),
            enrolment_index: 2,
            first_entry: None,
            predecessor_consistency: Vec::new(),
        };
        enrolled.insert(begin.to_vec(), (finish.attestation_key.clone(), answer.clone()));
        answer
    }
}

/// The services own their collector, as their tasks outlive a call.
struct Service(Arc<FakeCollector>);

impl Service {
    async fn enrolment(
        self,
        mut messages: Streaming<proto::EnrolRequest>,
        exporter: [u8; 32],
        replies: mpsc::Sender<Result<proto::EnrolReply, Status>>,
    ) {
        let Ok(Some(proto::EnrolRequest { step: Some(Request::Begin(begin)) })) = messages.message().await
        else {
            return;
        };
        let nonce: [u8; 32] = certs::test_pki::random();
        let trust_domain = self.0.pki.trust_domain.as_str().to_owned();
        let reply = Reply::Nonce(proto::EnrolNonce { nonce: nonce.to_vec(), trust_domain });
        replies.send(Ok(proto::EnrolReply { step: Some(reply) })).await.unwrap();
        let Ok(Some(proto::EnrolRequest { step: Some(Request::Finish(finish)) })) = messages.message().await
        else {
            return;
        };
        let answer = self.0.enrol(nonce, &begin.enrolment_id, &finish, exporter);
        let lost =
            self.0.lose_answers.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        let reply = match lost {
            Ok(_) => Err(Status::unavailable("the answer is lost")),
            Err(_) => Ok(proto::EnrolReply { step: Some(Reply::Enrolled(answer)) }),
        };
        replies.send(reply).await.unwrap();
    }

    async fn submission(
        self,
        mut messages: Streaming<proto::FromAgent>,
        answers: mpsc::Sender<Result<proto::ToAgent, Status>>,
    ) {
        while let Ok(Some(proto::FromAgent { item: Some(item) })) = messages.message().await {
            let envelope = matches!(item, proto::from_agent::Item::Envelope(_));
            let refuse = envelope.then(|| *self.0.refuse.lock().unwrap()).flatten();
            let slow = envelope.then(|| self.0.slow.lock().unwrap().pop_front()).flatten();
            if envelope {
                self.0.came.lock().unwrap().push(Instant::now());
            }
            let said = if let Some(ms) = slow {
                let sequence = self.0.log.lock().unwrap().next;
                let wait = proto::to_agent::Item::SlowDown(proto::SlowDown { ms });
                vec![say(wait), say(proto::to_agent::Item::Expect(proto::Expect { sequence }))]
            } else if let Some(reason) = refuse {
                let refused = proto::Refused { sequence: 0, reason: reason.into(), detail: "no".into() };
                vec![say(proto::to_agent::Item::Refused(refused))]
            } else {
                let mut log = self.0.log.lock().unwrap();
                let mut said = log.answer(item);
                if envelope {
                    said.push(log.checkpoint());
                    let newest = log.next - 1;
                    said.push(log.proved(newest));
                }
                said
            };
            let left = self.0.break_after.load(Ordering::SeqCst);
            if envelope && left != u32::MAX {
                self.0.break_after.store(left.saturating_sub(1), Ordering::SeqCst);
                if left == 0 {
                    self.0.break_after.store(u32::MAX, Ordering::SeqCst);
                    // Stored, and the answer is lost with the stream.
                    return;
                }
            }
            for message in said {
                if answers.send(Ok(message)).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[tonic::async_trait]
impl Enrolment for Service {
    type RecoverStream = ReceiverStream<Result<proto::RenewReply, Status>>;

    async fn recover(
        &self,
        _request: tonic::Request<Streaming<proto::RenewRequest>>,
    ) -> Result<Response<Self::RecoverStream>, Status> {
        Err(Status::unimplemented("this one renews nothing"))
    }

    type EnrolStream = ReceiverStream<Result<proto::EnrolReply, Status>>;

    async fn enrol(
        &self,
        request: tonic::Request<Streaming<proto::EnrolRequest>>,
    ) -> Result<Response<Self::EnrolStream>, Status> {
        let exporter = *request.extensions().get::<[u8; 32]>().unwrap();
        let (sender, replies) = mpsc::channel(2);
        tokio::spawn(Self(Arc::clone(&self.0)).enrolment(request.into_inner(), exporter, sender));
        Ok(Response::new(ReceiverStream::new(replies)))
    }
}

#[tonic::async_trait]
impl Ingest for Service {
    type RenewStream = ReceiverStream<Result<proto::RenewReply, Status>>;

    async fn renew(
        &self,
        _request: tonic::Request<Streaming<proto::RenewRequest>>,
    ) -> Result<Response<Self::RenewStream>, Status> {
        Err(Status::unimplemented("this one renews nothing"))
    }

    type SubmitStream = ReceiverStream<Result<proto::ToAgent, Status>>;

    async fn submit(
        &self,
        request: tonic::Request<Streaming<proto::FromAgent>>,
    ) -> Result<Response<Self::SubmitStream>, Status> {
        self.0.streams.fetch_add(1, Ordering::SeqCst);
        let (sender, answers) = mpsc::channel(64);
        tokio::spawn(Self(Arc::clone(&self.0)).submission(request.into_inner(), sender));
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}
