use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use certs::test_pki::TestPki;
use certs::{Peer, PeerCertificate, Role};
use evidence::ids::{DeviceId, PersonId};
use evidence::time::Timestamp;
use tonic::Code;
use tower::ServiceExt as _;

use super::*;
use crate::denylist::Holder;

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const DEVICE: DeviceId = DeviceId::from_bytes([1; 16]);
const PERSON: PersonId = PersonId::from_bytes([2; 16]);

fn info(peer: Option<Peer>) -> PeerInfo {
    let pki = TestPki::new("evidence.example.com", NOW);
    let certificate = peer.map(|peer| {
        let identity = match peer {
            Peer::Agent(device) => pki.agent(device).0,
            Peer::Person { role, id } => pki.person(role, id).0,
        };
        PeerCertificate::read(&identity.chain[0], &pki.trust_domain, peer.population()).unwrap()
    });
    PeerInfo { certificate, address: "127.0.0.1:1".parse().unwrap(), exporter: [0; 32] }
}

/// What a call is answered, and whether the service saw it.
async fn call(gate: &Gate, peer: Option<Peer>, path: &str) -> (Code, Option<String>, bool) {
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    let service = gate.layer(tower::service_fn(move |_: Request<Body>| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Ok::<_, std::convert::Infallible>(Response::new(Body::empty())) }
    }));
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = path.parse().unwrap();
    request.extensions_mut().insert(info(peer));
    let answer = service.oneshot(request).await.unwrap();
    let status = Status::from_header_map(answer.headers());
    let reason = answer.headers().get(REASON).map(|value| value.to_str().unwrap().to_owned());
    (status.map_or(Code::Ok, |status| status.code()), reason, seen.load(Ordering::Relaxed) == 1)
}

#[tokio::test]
async fn whoever_is_revoked_reaches_no_service_of_any_listener() {
    let denylist = Arc::new(Denylist::default());
    let admin = Peer::Person { role: Role::Admin, id: PERSON };
    let paths = [
        (Listener::Agents, Peer::Agent(DEVICE), "/tallystick.v1.Ingest/Submit"),
        (Listener::Agents, Peer::Agent(DEVICE), "/grpc.health.v1.Health/Check"),
        (Listener::People, admin, "/tallystick.v1.People/PutAct"),
        (Listener::People, admin, "/grpc.health.v1.Health/Watch"),
        (Listener::People, admin, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"),
    ];
    for (listener, peer, path) in paths {
        let gate = Gate::new(listener, Arc::clone(&denylist));
        assert_eq!(call(&gate, Some(peer), path).await, (Code::Ok, None, true), "{path}");
    }
    for holder in [Holder::Device(DEVICE), Holder::Person(PERSON)] {
        denylist.deny(holder, Denied { index: 5, since: NOW });
    }
    for (listener, peer, path) in paths {
        let gate = Gate::new(listener, Arc::clone(&denylist));
        let refused = (Code::PermissionDenied, Some(REVOKED.to_owned()), false);
        assert_eq!(call(&gate, Some(peer), path).await, refused, "{path}");
    }
    assert_eq!(denylist.calls_refused.load(Ordering::Relaxed), 5);
}

#[tokio::test]
async fn what_the_table_does_not_give_reaches_no_service() {
    let gate = |listener| Gate::new(listener, Arc::default());
    let person = |role| Some(Peer::Person { role, id: PERSON });
    let denied = (Code::PermissionDenied, None, false);
    for (listener, peer, path) in [
        (Listener::People, person(Role::Auditor), "/tallystick.v1.People/Posture"),
        (Listener::People, person(Role::Analyst), "/tallystick.v1.People/Access"),
        (Listener::People, None, "/tallystick.v1.People/WhoAmI"),
        (Listener::People, Some(Peer::Agent(DEVICE)), "/tallystick.v1.People/WhoAmI"),
        (Listener::Agents, person(Role::Admin), "/tallystick.v1.Ingest/Submit"),
        (Listener::Agents, None, "/grpc.health.v1.Health/Check"),
    ] {
        assert_eq!(call(&gate(listener), peer, path).await, denied, "{path}");
    }
    // A call of another listener, one without a row, and what is no path of a call.
    for path in [
        "/tallystick.v1.Admin/CreateUser",
        "/tallystick.v1.People/Everything",
        "/tallystick.v1.People/WhoAmI/",
        "/tallystick.v1.people/WhoAmI",
        "/",
    ] {
        let answer = call(&gate(Listener::People), person(Role::Admin), path).await;
        assert_eq!(answer, (Code::Unimplemented, None, false), "{path}");
    }
    let allowed = (Code::Ok, None, true);
    let posture = "/tallystick.v1.People/Posture";
    assert_eq!(call(&gate(Listener::People), person(Role::Analyst), posture).await, allowed);
    assert_eq!(call(&gate(Listener::Enrol), None, "/tallystick.v1.Enrolment/Enrol").await, allowed);
    assert_eq!(call(&gate(Listener::Socket), None, "/tallystick.v1.Admin/CreateUser").await, allowed);
}
