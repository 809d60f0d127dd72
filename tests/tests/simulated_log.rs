//! A simulated log from `init --simulated` to both verifiers: a fleet of twenty devices over ten days, enrolled, admitted,
//! judged, sampled and exported, with the time of the simulation and no other.

#![expect(clippy::expect_used, clippy::panic, reason = "a test stops at what it cannot do")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use certs::{PersonKey, TlsKey};
use collector::admit::{Standing, admit};
use collector::audit;
use collector::clock::SimulatedClock;
use collector::node::Node;
use collector::sequencer::{Device, Outcome};
use collector::state::{Detail, PutAct, State};
use evidence::acts::{Act, ActId, Body, Commitment, Enrolment, Reveal, Token};
use evidence::draw::commitment;
use evidence::enrolment::Transcript;
use evidence::ids::{Digest, EngagementId};
use evidence::json::Value;
use evidence::keys::SecretKey;
use evidence::plan::{Method, Plan, PlanDay, Scope};
use evidence::policy::Policy;
use evidence::set::Files;
use evidence::time::{Clock as _, DAY_MS, Timestamp};
use evidence::trust::{MadeBy, Trust};
use fleet::{BEGIN_DEFAULT, Fleet, Order};
use tests::process::{Ran, run};
use tests::programs;
use tests::world::random;

const DAYS: u64 = 10;
const DEVICES: usize = 20;
/// The first day is for enrolments; the fleet begins on the next.
const FLEET_BEGIN: Timestamp = Timestamp(BEGIN_DEFAULT.ms() + DAY_MS);
const END: Timestamp = Timestamp(FLEET_BEGIN.ms() + DAYS * DAY_MS);
const POLICY: &[u8] = br#"{"controls":[{"classes":[],"condition":{"fact":"pending_security","op":"eq","value":0},"grace_minutes":0,"groups":[],"id":"os-patch","mapping":[],"max_age_minutes":10080,"rationale":"r","remedy":"r","severity":"high","sla_minutes":0,"title":"t"}],"policy":"simulated","title":"t"}"#;

struct Simulation {
    folder: tempfile::TempDir,
    clock: Arc<SimulatedClock>,
    node: Node,
    admin: SecretKey,
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn init(folder: &Path, more: &[&str]) -> Ran {
    let key = PersonKey::new(&[8; 32]).expect("a key");
    std::fs::write(folder.join("admin.pub"), key.public().encode()).expect("the public key");
    let data = folder.join("data");
    let (dir, admin) = (text(&data), text(&folder.join("admin.pub")));
    let (root, profile) = (text(&folder.join("root.key")), text(&folder.join("profile")));
    let line = ["init", "--dir", &dir, "--admin", &admin, "--root-key-out", &root, "--profile-out", &profile];
    let rest = ["--trust-domain", "example.org", "--server-name", "127.0.0.1", "--accept-rollback-blindness"];
    run(programs!().collector, [&line[..], &rest, &["--ballast-bytes", "0"], more].concat())
}

impl Simulation {
    fn begin() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let made = init(folder.path(), &["--simulated"]);
        assert_eq!(made.code, Some(0), "{made:?}");
        let data = folder.path().join("data");
        let config = data.join("collector.toml");
        let faster = std::fs::read_to_string(&config).expect("the configuration");
        let faster = faster.replace("checkpoint_interval_ms = 1000", "checkpoint_interval_ms = 5");
        std::fs::write(&config, faster).expect("the configuration");
        let clock = Arc::new(SimulatedClock::default());
        let node = Node::open_simulated(&data, Arc::clone(&clock), |_| {}).expect("a simulated log");
        assert_eq!(clock.now(), BEGIN_DEFAULT, "the genesis is the beginning of time");
        let admin = SecretKey::from_seed(&[8; 32]).expect("the key of `init`");
        Self { folder, clock, node, admin }
    }

    fn state(&self) -> &Arc<State> {
        &self.node.state
    }

    async fn put(&self, body: Body, key: &SecretKey) -> PutAct {
        let (id, kind) = (ActId::from_bytes(random()), body.kind());
        let envelope = Act::sign(body, self.state().origin(), id, self.clock.now(), key).encode();
        self.state().put_act(kind, envelope, None).await.expect("the act is admitted")
    }

    async fn enrol(&self, device: &fleet::Device) {
        let (class, group) = (device.kind.class.parse().expect("a class"), "fleet".parse().expect("a group"));
        let token_hash = Digest::of(&random::<32>());
        let expires_at = Timestamp(self.clock.now().ms() + DAY_MS);
        let token =
            Token { token_hash, class, group, expires_at, uses: 1, approve: false, serials: Vec::new() };
        self.put(Body::Token(token.clone()), &self.admin).await;
        let tls_key = TlsKey::generate().expect("a key");
        let detail = Detail { random: random(), bytes: br#"{"host_name":"simulated"}"#.to_vec() };
        let transcript = Transcript {
            trust_domain: "example.org".parse().expect("a name"),
            enrolment_id: random(),
            nonce: random(),
            exporter: random(),
            token_hash,
            tls_key: tls_key.public().clone(),
            attestation_key: *device.key.public(),
            facts_commitment: detail.digest(),
        }
        .encode();
        let enrolment = Enrolment {
            device: device.id,
            instance: device.instance,
            class,
            group: token.group,
            attestation_key: *device.key.public(),
            token_hash,
            sig_ed25519: device.key.sign(&transcript).to_vec(),
            sig_p256: tls_key.sign(&transcript).expect("a signature").to_vec(),
            transcript,
            certificate: Digest::of(&random::<32>()),
            key_level: evidence::acts::KeyLevel::K0,
            serial: None,
        };
        let body = Body::Enrolment(Box::new(enrolment));
        self.state().operate_with(move |_| Ok((Some(detail), body))).await.expect("it is enrolled");
    }

    /// Everything the fleet says up to the end, through the gate and the writer; how much that was.
    async fn live(&self, fleet: &mut Fleet) -> usize {
        let state = self.state();
        let mut stored = 0;
        loop {
            let published = state.ledger.checkpoint().expect("the enrolments are covered");
            fleet.see(published.checkpoint.clone());
            let made = fleet.next().expect("without end");
            if made.received >= END {
                return stored;
            }
            self.clock.advance(made.received);
            let peer = fleet.devices().get(made.device).expect("a device").id;
            let admitted = admit(
                made.envelope.bytes(),
                &peer,
                |instance| Standing::of(state.book().authority.roster(), instance, made.received),
                state.origin(),
                |size| state.ledger.root_at(size).ok(),
                |_| None,
            )
            .expect("it is admitted");
            let device = Device::of(&admitted.statement, &admitted.envelope);
            let answer = state.sequencer.submit(device).expect("the queue is empty").await;
            let outcome = answer.expect("an answer").expect("it can be stored");
            let Outcome::Stored(receipt) = outcome else { panic!("{outcome:?}") };
            assert_eq!(receipt.received, made.received, "no other time than the simulation's");
            stored += 1;
        }
    }

    /// From the plan to the set. Gives the set and what an auditor believes.
    async fn audit(&self) -> (Files, Trust) {
        let auditor = SecretKey::from_seed(&[9; 32]).expect("a key");
        let state = self.state();
        let day = |number: u64| {
            let start = Timestamp(FLEET_BEGIN.ms() + number * DAY_MS);
            PlanDay { label: start.day(), start }
        };
        let plan = Plan {
            engagement: EngagementId::from_bytes(random()),
            auditor_key: *auditor.public(),
            controls: vec!["os-patch".parse().expect("a control")],
            days: (0..DAYS).map(day).collect(),
            end: END,
            scope: Scope::default(),
            method: Method::Consistent,
            sample_size: 12,
            reserves: 3,
            acceptance: 0,
            risk_bp: 500,
            tolerable_bp: 500,
            expected_bp: 100,
            partial_day: false,
            replace_not_applicable: true,
            supersedes: None,
        };
        let plan_hash = self.put(Body::Plan(Box::new(plan)), &self.admin).await.payload_sha256;
        let size = state.ledger.size();
        let pinned = state.wait_for_checkpoint(size).await.expect("a checkpoint").checkpoint.clone();
        let nonce: [u8; 32] = random();
        let act = Commitment { plan_hash, commitment: commitment(&nonce), checkpoint: pinned.clone() };
        self.put(Body::Commitment(act), &auditor).await;
        self.clock.advance(END);
        audit::freeze(state, plan_hash).await.expect("the last day is over");
        self.put(Body::Reveal(Reveal { plan_hash, nonce: Digest(nonce) }), &auditor).await;
        audit::draw(state, plan_hash).await.expect("it is revealed");
        let files = audit::export(state, plan_hash).await.expect("it is drawn");
        let trust = Trust {
            trust_domain: "example.org".to_owned(),
            origin: state.origin().to_owned(),
            log_keys: state.log_keys().to_vec(),
            witness_policy: Trust::no_witnesses(state.log_keys().last().expect("a log key")),
            checkpoints: vec![pinned],
            auditor_key: *auditor.public(),
            made_by: MadeBy::Auditor,
            accept_simulated: true,
        };
        (files, trust)
    }

    fn write(&self, files: &Files, name: &str) -> PathBuf {
        let set = self.folder.path().join(name);
        for (path, bytes) in files {
            let path = set.join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder of the set");
            std::fs::write(path, bytes).expect("a file of the set");
        }
        set
    }

    /// Both verifiers over a set: their exit codes and what they say of check 20.
    fn verified(&self, set: &Path, trust: &Trust) -> Vec<(Option<i32>, String)> {
        let file = self.folder.path().join("trust.json");
        std::fs::write(&file, trust.encode()).expect("the trust file");
        let line = [text(set), "--trust".to_owned(), text(&file)];
        let mut second = Command::new("python3");
        let verify = Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle/verify.py");
        second.arg("-B").arg(verify).args(&line);
        [run(programs!().verify, line), tests::process::run_command(second)]
            .map(|ran| {
                let said = ran.out.lines().find(|line| line.contains(" simulated")).unwrap_or_default();
                assert!(!said.is_empty(), "{}{}", ran.out, ran.err);
                (ran.code, said.to_owned())
            })
            .to_vec()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_simulated_days_are_audited_and_refused_unless_accepted() {
    let simulation = Simulation::begin();
    let mut fleet = Fleet::new(&Order { begin: FLEET_BEGIN, ..Order::of(3, DEVICES) }).expect("a fleet");
    for device in fleet.devices() {
        simulation.enrol(device).await;
    }
    let policy = Policy::parse(Value::parse(POLICY).expect("canonical")).expect("a policy");
    simulation.put(Body::Policy(policy), &simulation.admin).await;
    let size = simulation.state().ledger.size();
    simulation.state().wait_for_checkpoint(size).await.expect("a checkpoint");
    let stored = simulation.live(&mut fleet).await;
    assert!(stored > DEVICES * 10, "{stored}");
    let (files, trust) = simulation.audit().await;
    let set = simulation.write(&files, "set");
    for (code, said) in simulation.verified(&set, &trust) {
        assert!(code == Some(0) && said.contains("[ok]"), "{code:?} {said}");
    }
    let refusing = Trust { accept_simulated: false, ..trust };
    for (code, said) in simulation.verified(&set, &refusing) {
        assert!(code == Some(1) && said.contains("[FAILED]"), "{code:?} {said}");
    }
    let Simulation { folder, node, .. } = simulation;
    node.close();
    // It is opened again with its own time, and never with the system's.
    let data = folder.path().join("data");
    let refused = Node::open(&data, |_| {}).err().expect("a server does not open it").to_string();
    assert!(refused.contains("simulated"), "{refused}");
    let clock = Arc::new(SimulatedClock::default());
    Node::open_simulated(&data, Arc::clone(&clock), |_| {}).expect("a simulation opens it").close();
    assert!(clock.now() >= END);
}

#[test]
fn only_a_log_that_says_so_takes_simulated_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = init(folder.path(), &["--label", "main/simulated"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("/simulated"), "{refused:?}");
    let made = init(folder.path(), &[]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let data = folder.path().join("data");
    let clock = Arc::new(SimulatedClock::new(BEGIN_DEFAULT));
    let refused = Node::open_simulated(&data, clock, |_| {}).err().expect("its time is real").to_string();
    assert!(refused.contains("init --simulated"), "{refused}");
    let wrong = init(folder.path(), &["--simulated", "2027-02-30"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
}
